// passes: dfke-fuse,dfke-specialize-bitwidth,dfke-schedule{target=generic family=dense},lower-dfke-to-rpea
// Features out of order, for elements without addresses: they were read in order.
func.func @layer(%x: tensor<?x3xi8>) -> tensor<?x1xi8> {
  %g = spaq.gather %x columns dense<[2, 0]> : tensor<2xi32> : tensor<?x3xi8> -> tensor<?x2xi8>
  %w = spaq.constant dense<[[3], [-2]]> : tensor<2x1xi8>
  %0 = spaq.matmul %g, %w : (tensor<?x2xi8>, tensor<2x1xi8>) -> tensor<?x1xi32>
  %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<4> : tensor<1xi32> : tensor<?x1xi32> -> tensor<?x1xi8>
  func.return %1 : tensor<?x1xi8>
}
