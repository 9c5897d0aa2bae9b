module {
  func.func @main(%arg0: tensor<2x4xf32>) -> tensor<2x2xf32> {
    %w = arith.constant dense<"0x0000803F000000400000A040000000C0"> : tensor<2x2xf32>
    %zero = arith.constant 0.0 : f32
    %e = tensor.expand_shape %arg0 [[0], [1, 2]] output_shape [2, 2, 2] : tensor<2x4xf32> into tensor<2x2x2xf32>
    %c = tensor.collapse_shape %e [[0, 1], [2]] : tensor<2x2x2xf32> into tensor<4x2xf32>
    %s = tensor.extract_slice %c[0, 0] [2, 2] [1, 1] : tensor<4x2xf32> to tensor<2x2xf32>
    %0 = tensor.empty() : tensor<2x2xf32>
    %1 = linalg.fill ins(%zero : f32) outs(%0 : tensor<2x2xf32>) -> tensor<2x2xf32>
    %t = linalg.transpose ins(%s : tensor<2x2xf32>) outs(%0 : tensor<2x2xf32>) permutation = [1, 0]
    %2 = linalg.matmul ins(%t, %w : tensor<2x2xf32>, tensor<2x2xf32>) outs(%1 : tensor<2x2xf32>) -> tensor<2x2xf32>
    return %2 : tensor<2x2xf32>
  }
}
