// RUN: daqkf-opt %s --verify-diagnostics -p dfke-specialize-bitwidth | filecheck %s

// CHECK: dfke_specialize_bitwidth-invalid.mlir:[[# @LINE + 2]]:3: dfke.kernel: dfke-specialize-bitwidth: the sums of a kernel with 1 features need 33 bits, more than 32
func.func @layer(%x: tensor<?x1xi8>) -> tensor<?x1xi8> {
  %y = dfke.kernel(%k = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %w = spaq.constant dense<1> : tensor<1x1xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
    %b = spaq.constant dense<2147483647> : tensor<1xi32>
    %1 = spaq.add %0, %b : (tensor<?x1xi32>, tensor<1xi32>) -> tensor<?x1xi32>
    %2 = spaq.requantize %1 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      : tensor<?x1xi32> -> tensor<?x1xi8>
    dfke.yield %2 : tensor<?x1xi8>
  }
  func.return %y : tensor<?x1xi8>
}
