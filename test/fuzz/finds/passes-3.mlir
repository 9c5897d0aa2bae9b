// passes: canonicalize
// A scale for each of one feature: the interpreter took it for one of all.
func.func @layer(%x: tensor<?x1xf32>) -> tensor<?x1xi8> {
  %q = spaq.quantize %x scale dense<0.25> : tensor<1xf64> : tensor<?x1xf32> -> tensor<?x1xi8>
  func.return %q : tensor<?x1xi8>
}
