// RUN: daqkf-opt %s -p dfke-fuse,dfke-specialize-bitwidth | filecheck %s

// CHECK-LABEL: func.func @wide
func.func @wide(%x: tensor<?x2xi8>) -> tensor<?x2xf32> {
  // CHECK-NEXT: %[[Y:.*]] = dfke.kernel(%[[K:.*]] = %x) running_sum i10 : tensor<?x2xi8> -> tensor<?x2xi16> {
  // CHECK: spaq.requantize %{{.*}} -> tensor<?x2xi16>
  // CHECK: }
  // CHECK-NEXT: spaq.dequantize %[[Y]]
  %w = spaq.constant dense<1> : tensor<2x2xi8>
  %b = spaq.constant dense<7> : tensor<2xi32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
  %1 = spaq.add %0, %b : (tensor<?x2xi32>, tensor<2xi32>) -> tensor<?x2xi32>
  %2 = spaq.requantize %1 multiplier dense<3> : tensor<2xi32> shift dense<1> : tensor<2xi32>
    : tensor<?x2xi32> -> tensor<?x2xi16>
  %3 = spaq.dequantize %2 scale 0.5 : tensor<?x2xi16> -> tensor<?x2xf32>
  func.return %3 : tensor<?x2xf32>
}
