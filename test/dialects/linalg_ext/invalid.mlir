// RUN: %invalid | filecheck %s

// CHECK: inferred input/output operand #1 has shape's dimension #1 to be 3, but found 5
func.func @extents(%a: tensor<6x2x3xf32>, %b: tensor<6x5x4xf32>, %c: tensor<6x2x4xf32>) {
  %d = linalg.batch_matmul ins(%a, %b : tensor<6x2x3xf32>, tensor<6x5x4xf32>)
    outs(%c : tensor<6x2x4xf32>) -> tensor<6x2x4xf32>
  func.return
}

// -----

// CHECK: expected operand #0 of rank 2 to match the result count of indexing_map #0, 3
func.func @rank(%a: tensor<2x3xf32>, %b: tensor<6x3x4xf32>, %c: tensor<6x2x4xf32>) {
  %d = linalg.batch_matmul ins(%a, %b : tensor<2x3xf32>, tensor<6x3x4xf32>)
    outs(%c : tensor<6x2x4xf32>) -> tensor<6x2x4xf32>
  func.return
}
