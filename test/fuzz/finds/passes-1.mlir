// passes: nn-dequantize
// A zero point that is not that of the range, which is a ReLU: the rounding fell away with it.
func.func @main(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %low = nn.reduce min %x {axes = array<i64: 0, 1>} : (tensor<?x2xf32>) -> tensor<f32>
  %high = nn.reduce max %x {axes = array<i64: 0, 1>} : (tensor<?x2xf32>) -> tensor<f32>
  %range = nn.elementwise sub %high, %low : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %steps = nn.constant dense<255.0> : tensor<f32>
  %s = nn.elementwise div %range, %steps : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %z = nn.constant dense<3> : tensor<ui8>
  %q = nn.quantize %x, %s, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<ui8>) -> tensor<?x2xui8>
  %y = nn.dequantize %q, %s, %z {axis = 1 : i64} : (tensor<?x2xui8>, tensor<f32>, tensor<ui8>) -> tensor<?x2xf32>
  func.return %y : tensor<?x2xf32>
}
