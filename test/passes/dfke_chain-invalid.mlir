// RUN: not daqkf-opt %s -p 'dfke-chain{kernels=2}' 2>&1 | filecheck %s --check-prefix=OPTION
// RUN: daqkf-opt %s -p dfke-chain | filecheck %s

// OPTION: daqkf-opt: dfke-chain: unknown option 'kernels' (it has none)
// OPTION-NOT: {{.}}

// Kernels without schedules are in no chain, as nobody knows whether they fit together.
// CHECK-NOT: dfke.chain
func.func @unscheduled(%x: tensor<?x1xi8>) -> tensor<?x1xi8> {
  %0 = dfke.kernel(%k = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %w = spaq.constant dense<1> : tensor<1x1xi8>
    %a = spaq.matmul %k, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
    %b = spaq.requantize %a multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      : tensor<?x1xi32> -> tensor<?x1xi8>
    dfke.yield %b : tensor<?x1xi8>
  }
  %1 = dfke.kernel(%k = %0) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %w = spaq.constant dense<1> : tensor<1x1xi8>
    %a = spaq.matmul %k, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
    %b = spaq.requantize %a multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      : tensor<?x1xi32> -> tensor<?x1xi8>
    dfke.yield %b : tensor<?x1xi8>
  }
  func.return %1 : tensor<?x1xi8>
}
