// RUN: daqkf-opt %s -p 'dfke-specialize-bitwidth,dfke-schedule{target="tiny:wide_results=true"},dfke-chain' | filecheck %s

// A kernel with wide results is the last of its chain.
// CHECK-LABEL: @last
// CHECK: dfke.chain{{.*}} -> tensor<?x2xi16>
func.func @last(%x: tensor<?x2xi8>) -> tensor<?x2xi16> {
  %a = dfke.kernel(%k = %x) : tensor<?x2xi8> -> tensor<?x2xi8> {
    %w = spaq.constant dense<[[1, 0], [0, -1]]> : tensor<2x2xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
    %1 = spaq.requantize %0 multiplier dense<1> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : tensor<?x2xi32> -> tensor<?x2xi8>
    dfke.yield %1 : tensor<?x2xi8>
  }
  %b = dfke.kernel(%k = %a) : tensor<?x2xi8> -> tensor<?x2xi16> {
    %w = spaq.constant dense<[[1, 0], [0, -1]]> : tensor<2x2xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
    %1 = spaq.requantize %0 multiplier dense<1> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : tensor<?x2xi32> -> tensor<?x2xi16>
    dfke.yield %1 : tensor<?x2xi16>
  }
  func.return %b : tensor<?x2xi16>
}

// What the host makes int8 of wide results is not what they are.
// CHECK-LABEL: @first
// CHECK: spaq.dequantize
// CHECK-NEXT: spaq.quantize
func.func @first(%x: tensor<?x2xi8>) -> tensor<?x2xi8> {
  %a = dfke.kernel(%k = %x) : tensor<?x2xi8> -> tensor<?x2xi16> {
    %w = spaq.constant dense<[[1, 0], [0, -1]]> : tensor<2x2xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
    %1 = spaq.requantize %0 multiplier dense<1> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : tensor<?x2xi32> -> tensor<?x2xi16>
    dfke.yield %1 : tensor<?x2xi16>
  }
  %f = spaq.dequantize %a scale 0.5 : tensor<?x2xi16> -> tensor<?x2xf32>
  %q = spaq.quantize %f scale 0.5 : tensor<?x2xf32> -> tensor<?x2xi8>
  %b = dfke.kernel(%k = %q) : tensor<?x2xi8> -> tensor<?x2xi8> {
    %w = spaq.constant dense<[[1, 0], [0, -1]]> : tensor<2x2xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
    %1 = spaq.requantize %0 multiplier dense<1> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : tensor<?x2xi32> -> tensor<?x2xi8>
    dfke.yield %1 : tensor<?x2xi8>
  }
  func.return %b : tensor<?x2xi8>
}
