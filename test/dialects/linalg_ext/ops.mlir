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

// CHECK-LABEL: func.func @vectors
func.func @vectors(%a: tensor<2x3xf32>, %v: tensor<3xf32>, %w: tensor<2xf32>)
    -> (tensor<2xf32>, tensor<3xf32>) {
  // CHECK: linalg.matvec ins(%a, %v : tensor<2x3xf32>, tensor<3xf32>) outs(%w : tensor<2xf32>) -> tensor<2xf32>
  %c = linalg.matvec ins(%a, %v : tensor<2x3xf32>, tensor<3xf32>)
    outs(%w : tensor<2xf32>) -> tensor<2xf32>
  // CHECK: linalg.vecmat ins(%w, %a : tensor<2xf32>, tensor<2x3xf32>) outs(%v : tensor<3xf32>) -> tensor<3xf32>
  %d = linalg.vecmat ins(%w, %a : tensor<2xf32>, tensor<2x3xf32>)
    outs(%v : tensor<3xf32>) -> tensor<3xf32>
  func.return %c, %d : tensor<2xf32>, tensor<3xf32>
}

// CHECK-LABEL: func.func @results
func.func @results(%a: tensor<2x3xf32>, %m: tensor<2xf32>, %s: tensor<2xf32>)
    -> (tensor<2xf32>, tensor<2xf32>) {
  // CHECK: linalg.generic {{.*}} ins(%a : tensor<2x3xf32>) outs(%m, %s : tensor<2xf32>, tensor<2xf32>) attrs = {{.*}}k = 1 : i64} {
  // CHECK: } -> (tensor<2xf32>, tensor<2xf32>)
  %r:2 = linalg.generic {
      indexing_maps = [
        affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0)>, affine_map<(d0, d1) -> (d0)>
      ],
      iterator_types = ["parallel", "reduction"]
    } ins(%a : tensor<2x3xf32>) outs(%m, %s : tensor<2xf32>, tensor<2xf32>) attrs = {k = 1 : i64} {
  ^bb0(%in: f32, %most: f32, %sum: f32):
    %0 = arith.maximumf %in, %most : f32
    %1 = arith.addf %in, %sum : f32
    linalg.yield %0, %1 : f32, f32
  } -> (tensor<2xf32>, tensor<2xf32>)
  func.return %r#0, %r#1 : tensor<2xf32>, tensor<2xf32>
}

// CHECK-LABEL: func.func @across
func.func @across(%a: tensor<2x3xf32>, %b: tensor<4x3xf32>, %c: tensor<2x4xf32>) -> tensor<2x4xf32> {
  // CHECK: linalg.matmul indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d2)>, affine_map<(d0, d1, d2) -> (d1, d2)>, affine_map<(d0, d1, d2) -> (d0, d1)>] ins(%a, %b : tensor<2x3xf32>, tensor<4x3xf32>) outs(%c : tensor<2x4xf32>) -> tensor<2x4xf32>
  %d = linalg.matmul indexing_maps = [
      affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>,
      affine_map<(m, n, k) -> (m, n)>
    ] ins(%a, %b : tensor<2x3xf32>, tensor<4x3xf32>) outs(%c : tensor<2x4xf32>) -> tensor<2x4xf32>
  func.return %d : tensor<2x4xf32>
}
