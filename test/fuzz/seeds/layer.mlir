#id = affine_map<(d0, d1) -> (d0, d1)>
#last = affine_map<(d0, d1) -> (d1)>
module {
  func.func @main(%arg0: tensor<?x2xf32>) -> tensor<?x3xf32> {
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %w = arith.constant dense<[[1.0, -0.5, 0.25], [0.0, 2.0, -1.0]]> : tensor<2x3xf32>
    %b = arith.constant dense<[0.5, -0.5, 1.0]> : tensor<3xf32>
    %n = tensor.dim %arg0, %c0 : tensor<?x2xf32>
    %0 = tensor.empty(%n) : tensor<?x3xf32>
    %1 = linalg.fill ins(%zero : f32) outs(%0 : tensor<?x3xf32>) -> tensor<?x3xf32>
    %2 = linalg.matmul ins(%arg0, %w : tensor<?x2xf32>, tensor<2x3xf32>) outs(%1 : tensor<?x3xf32>) -> tensor<?x3xf32>
    %3 = linalg.generic {indexing_maps = [#id, #last, #id], iterator_types = ["parallel", "parallel"]} ins(%2, %b : tensor<?x3xf32>, tensor<3xf32>) outs(%0 : tensor<?x3xf32>) {
    ^bb0(%in: f32, %in_0: f32, %out: f32):
      %s = arith.addf %in, %in_0 : f32
      %r = arith.maximumf %s, %zero : f32
      linalg.yield %r : f32
    } -> tensor<?x3xf32>
    return %3 : tensor<?x3xf32>
  }
}
