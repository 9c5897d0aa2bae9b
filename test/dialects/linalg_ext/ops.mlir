// RUN: %roundtrip | filecheck %s

// CHECK-LABEL: func.func @products
func.func @products(%a: tensor<?x2x3xf32>, %b: tensor<?x3x4xf32>, %c: tensor<?x2x4xf32>)
    -> tensor<?x2x4xf32> {
  // CHECK: linalg.batch_matmul ins(%a, %b : tensor<?x2x3xf32>, tensor<?x3x4xf32>) outs(%c : tensor<?x2x4xf32>) -> tensor<?x2x4xf32>
  %d = linalg.batch_matmul ins(%a, %b : tensor<?x2x3xf32>, tensor<?x3x4xf32>)
    outs(%c : tensor<?x2x4xf32>) -> tensor<?x2x4xf32>
  func.return %d : tensor<?x2x4xf32>
}

// CHECK-LABEL: func.func @widened
func.func @widened(%a: tensor<2x3xi8>, %b: tensor<3x4xi8>, %c: tensor<2x4xi32>) -> tensor<2x4xi32> {
  // CHECK: linalg.matmul ins(%a, %b : tensor<2x3xi8>, tensor<3x4xi8>) outs(%c : tensor<2x4xi32>) -> tensor<2x4xi32>
  %d = linalg.matmul ins(%a, %b : tensor<2x3xi8>, tensor<3x4xi8>)
    outs(%c : tensor<2x4xi32>) -> tensor<2x4xi32>
  func.return %d : tensor<2x4xi32>
}
