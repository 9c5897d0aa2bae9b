// RUN: not daqkf-opt %s -p 'dfke-fuse{rows=true}' 2>&1 | filecheck %s --check-prefix=OPTION
// RUN: daqkf-opt %s -p dfke-fuse | filecheck %s

// OPTION: daqkf-opt: dfke-fuse: unknown option 'rows' (it has none)
// OPTION-NOT: {{.}}

// Sums that are not requantised, or that are read twice before they are, cannot leave an array.
// CHECK-NOT: dfke.
func.func @sums(%x: tensor<?x1xi8>) -> tensor<?x1xi32> {
  %w = spaq.constant dense<1> : tensor<1x1xi8>
  %0 = spaq.matmul %x, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
  func.return %0 : tensor<?x1xi32>
}
func.func @twice(%x: tensor<?x1xi8>) -> (tensor<?x1xi8>, tensor<?x1xi32>) {
  %w = spaq.constant dense<1> : tensor<1x1xi8>
  %0 = spaq.matmul %x, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
  %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
    : tensor<?x1xi32> -> tensor<?x1xi8>
  func.return %1, %0 : tensor<?x1xi8>, tensor<?x1xi32>
}
// Weights that are no constant are in no stream.
func.func @argument(%x: tensor<?x1xi8>, %w: tensor<1x1xi8>) -> tensor<?x1xi8> {
  %0 = spaq.matmul %x, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
  %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
    : tensor<?x1xi32> -> tensor<?x1xi8>
  func.return %1 : tensor<?x1xi8>
}
