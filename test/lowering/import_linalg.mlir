// RUN: daqkf-translate --from linalg %s | filecheck %s
// RUN: daqkf-translate --from linalg %s | daqkf-opt -p nn-raise,nn-outline | filecheck %s --check-prefix=RAISED

// A block of an encoder, as torch-mlir prints it. test_import_linalg.py runs it against NumPy.

// CHECK: func.func @main(%arg0: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> attributes {inputs = ["arg0"]}
// CHECK: nn.reduce sum %arg0 {{.*}}axes = array<i64: 2>, keep}
// CHECK: nn.matmul {{.*}} : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
// CHECK-NEXT: nn.elementwise add {{.*}} : (tensor<?x?x8xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>
// CHECK: nn.reduce max {{.*}} -> tensor<?x2x?x1xf32>
// CHECK: nn.elementwise less_equal
// CHECK: func.return

// RAISED: func.func @batch_matmul.{{[0-9]+}}(%x: tensor<?x8xf32>) -> tensor<?x8xf32>
// RAISED: nn.layer_norm
// RAISED: nn.linear @batch_matmul
// RAISED: nn.softmax
// RAISED: nn.elementwise silu
// RAISED: nn.elementwise relu

#id = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#last = affine_map<(d0, d1, d2) -> (d2)>
#kept = affine_map<(d0, d1, d2) -> (d0, d1, 0)>
#matrix = affine_map<(d0, d1, d2) -> (d1, d2)>
#id4 = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#swap = affine_map<(d0, d1, d2, d3) -> (d0, d2, d1, d3)>
module attributes {torch.debug_module_name = "Block"} {
  ml_program.global private mutable @global_seed(dense<0> : tensor<i64>) : tensor<i64>
  func.func @forward(%arg0: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c0_i64 = arith.constant 0 : i64
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %least = arith.constant 0xFF800000 : f32
    %features = arith.constant 8.0 : f32
    %eps = arith.constant 1.000000e-05 : f64
    %w = arith.constant dense<"0x3333B33E85EB513FC3F5A83E6666A6BFC3F5683F6666E63E713D0ABFE17A143FEC51B83EE17A943E8FC2F53CCDCC0C3FA4703DBF0AD723BE8FC2F5BE9A99193F0AD7233DE17A94BE14AE47BFB81E85BE0AD7233C295C8FBEB81EA53FAE47813FA4702DC085EBF1BF7B142EBE3D0AD7BE3D0A573EAE47613E14AE07407B148EBF5C8FC2BE5C8F02406666263FC3F5283F5C8F02BF3333D3BF7B142E3EAE47E13DA4709DBF7B142EBF295C8FBDD7A370BFCDCCCCBDCDCCCC3D0AD7233D5C8F02BF3D0A173F0AD7633F0AD7A33E85EB51BF48E13A3F000000BFAE47613FC3F588BFC3F5683F0AD7A3BC0000A0BF52B89EBECDCC4C3D713D8A3E48E17ABF7B148EBF"> : tensor<8x8xf32>
    %gamma = arith.constant dense<"0xCDCC4C3ED7A3F0BE8FC2753E5C8F423F3333D3BF0000803EF6289C3F9A9999BE"> : tensor<8xf32>
    %beta = arith.constant dense<"0x295C4FBF0000403F0000803E6666663F3333B3BEA470BDBFAE47E1BD6666E6BE"> : tensor<8xf32>
    %b = tensor.dim %arg0, %c0 : tensor<?x?x8xf32>
    %l = tensor.dim %arg0, %c1 : tensor<?x?x8xf32>
    %same = arith.cmpi eq, %l, %l : index
    cf.assert %same, "mismatched size for broadcast"
    // Layer normalisation.
    %1 = tensor.empty(%b, %l) : tensor<?x?x1xf32>
    %x0 = tensor.empty(%b, %l) : tensor<?x?x8xf32>
    %2 = linalg.fill ins(%zero : f32) outs(%1 : tensor<?x?x1xf32>) -> tensor<?x?x1xf32>
    %3 = linalg.generic {indexing_maps = [#id, #kept], iterator_types = ["parallel", "parallel", "reduction"]} ins(%arg0 : tensor<?x?x8xf32>) outs(%2 : tensor<?x?x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %s = arith.addf %in, %out : f32
      linalg.yield %s : f32
    } -> tensor<?x?x1xf32>
    %4 = linalg.generic {indexing_maps = [#kept, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%3 : tensor<?x?x1xf32>) outs(%1 : tensor<?x?x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %s = arith.divf %in, %features : f32
      linalg.yield %s : f32
    } -> tensor<?x?x1xf32>
    %5 = linalg.generic {indexing_maps = [#kept, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%4 : tensor<?x?x1xf32>) outs(%x0 : tensor<?x?x8xf32>) {
    ^bb0(%in: f32, %out: f32):
      linalg.yield %in : f32
    } -> tensor<?x?x8xf32>
    %6 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%arg0, %5 : tensor<?x?x8xf32>, tensor<?x?x8xf32>) outs(%x0 : tensor<?x?x8xf32>) {
    ^bb0(%in: f32, %in_1: f32, %out: f32):
      %s = arith.subf %in, %in_1 : f32
      linalg.yield %s : f32
    } -> tensor<?x?x8xf32>
    %7 = linalg.generic {indexing_maps = [#id, #kept], iterator_types = ["parallel", "parallel", "reduction"]} ins(%6 : tensor<?x?x8xf32>) outs(%2 : tensor<?x?x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %q = arith.mulf %in, %in : f32
      %s = arith.addf %q, %out : f32
      linalg.yield %s : f32
    } -> tensor<?x?x1xf32>
    %8 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%7 : tensor<?x?x1xf32>) outs(%1 : tensor<?x?x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %d = arith.divf %in, %features : f32
      %e = arith.truncf %eps : f64 to f32
      %s = arith.addf %d, %e : f32
      %r = math.rsqrt %s : f32
      linalg.yield %r : f32
    } -> tensor<?x?x1xf32>
    %9 = linalg.generic {indexing_maps = [#id, #kept, #last, #last, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%6, %8, %gamma, %beta : tensor<?x?x8xf32>, tensor<?x?x1xf32>, tensor<8xf32>, tensor<8xf32>) outs(%x0 : tensor<?x?x8xf32>) {
    ^bb0(%in: f32, %in_1: f32, %in_2: f32, %in_3: f32, %out: f32):
      %p = arith.mulf %in, %in_1 : f32
      %q = arith.mulf %p, %in_2 : f32
      %s = arith.addf %q, %in_3 : f32
      linalg.yield %s : f32
    } -> tensor<?x?x8xf32>
    // A linear layer: one matrix for the batch.
    %10 = tensor.empty() : tensor<8x8xf32>
    %11 = linalg.transpose ins(%w : tensor<8x8xf32>) outs(%10 : tensor<8x8xf32>) permutation = [1, 0]
    %12 = tensor.empty(%b) : tensor<?x8x8xf32>
    %13 = linalg.generic {indexing_maps = [#matrix, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%11 : tensor<8x8xf32>) outs(%12 : tensor<?x8x8xf32>) {
    ^bb0(%in: f32, %out: f32):
      linalg.yield %in : f32
    } -> tensor<?x8x8xf32>
    %14 = linalg.fill ins(%zero : f32) outs(%x0 : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
    %15 = linalg.batch_matmul ins(%9, %13 : tensor<?x?x8xf32>, tensor<?x8x8xf32>) outs(%14 : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
    %16 = linalg.generic {indexing_maps = [#id, #last, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%15, %beta : tensor<?x?x8xf32>, tensor<8xf32>) outs(%x0 : tensor<?x?x8xf32>) {
    ^bb0(%in: f32, %in_1: f32, %out: f32):
      %s = arith.addf %in, %in_1 : f32
      linalg.yield %s : f32
    } -> tensor<?x?x8xf32>
    // Heads of it attend to one another.
    %17 = tensor.expand_shape %16 [[0], [1], [2, 3]] output_shape [%b, %l, 2, 4] : tensor<?x?x8xf32> into tensor<?x?x2x4xf32>
    %18 = tensor.empty(%b, %l) : tensor<?x2x?x4xf32>
    %19 = linalg.generic {indexing_maps = [#id4, #swap], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%17 : tensor<?x?x2x4xf32>) outs(%18 : tensor<?x2x?x4xf32>) {
    ^bb0(%in: f32, %out: f32):
      linalg.yield %in : f32
    } -> tensor<?x2x?x4xf32>
    %20 = tensor.empty(%b, %l, %l) : tensor<?x2x?x?xf32>
    %21 = linalg.fill ins(%zero : f32) outs(%20 : tensor<?x2x?x?xf32>) -> tensor<?x2x?x?xf32>
    %22 = linalg.generic {indexing_maps = [affine_map<(b, h, m, n, k) -> (b, h, m, k)>, affine_map<(b, h, m, n, k) -> (b, h, n, k)>, affine_map<(b, h, m, n, k) -> (b, h, m, n)>], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]} ins(%19, %19 : tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) outs(%21 : tensor<?x2x?x?xf32>) {
    ^bb0(%in: f32, %in_1: f32, %out: f32):
      %p = arith.mulf %in, %in_1 : f32
      %s = arith.addf %p, %out : f32
      linalg.yield %s : f32
    } -> tensor<?x2x?x?xf32>
    %23 = tensor.empty(%b, %l) : tensor<?x2x?xf32>
    %24 = linalg.fill ins(%least : f32) outs(%23 : tensor<?x2x?xf32>) -> tensor<?x2x?xf32>
    %25 = tensor.empty(%b, %l) : tensor<?x2x?xi64>
    %26 = linalg.fill ins(%c0_i64 : i64) outs(%25 : tensor<?x2x?xi64>) -> tensor<?x2x?xi64>
    %27:2 = linalg.generic {indexing_maps = [#id4, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%22 : tensor<?x2x?x?xf32>) outs(%24, %26 : tensor<?x2x?xf32>, tensor<?x2x?xi64>) {
    ^bb0(%in: f32, %out: f32, %out_1: i64):
      %i = linalg.index 3 : index
      %j = arith.index_cast %i : index to i64
      %m = arith.maximumf %in, %out : f32
      %c = arith.cmpf ogt, %in, %out : f32
      %s = arith.select %c, %j, %out_1 : i64
      linalg.yield %m, %s : f32, i64
    } -> (tensor<?x2x?xf32>, tensor<?x2x?xi64>)
    %28 = tensor.expand_shape %27#0 [[0], [1], [2, 3]] output_shape [%b, 2, %l, 1] : tensor<?x2x?xf32> into tensor<?x2x?x1xf32>
    %29 = linalg.generic {indexing_maps = [#id4, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, 0)>, #id4], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%22, %28 : tensor<?x2x?x?xf32>, tensor<?x2x?x1xf32>) outs(%20 : tensor<?x2x?x?xf32>) {
    ^bb0(%in: f32, %in_1: f32, %out: f32):
      %s = arith.subf %in, %in_1 : f32
      %e = math.exp %s : f32
      linalg.yield %e : f32
    } -> tensor<?x2x?x?xf32>
    %30 = tensor.empty(%b, %l) : tensor<?x2x?x1xf32>
    %31 = linalg.fill ins(%zero : f32) outs(%30 : tensor<?x2x?x1xf32>) -> tensor<?x2x?x1xf32>
    %32 = linalg.generic {indexing_maps = [#id4, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, 0)>], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%29 : tensor<?x2x?x?xf32>) outs(%31 : tensor<?x2x?x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %s = arith.addf %in, %out : f32
      linalg.yield %s : f32
    } -> tensor<?x2x?x1xf32>
    %33 = linalg.generic {indexing_maps = [#id4, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, 0)>, #id4], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%29, %32 : tensor<?x2x?x?xf32>, tensor<?x2x?x1xf32>) outs(%20 : tensor<?x2x?x?xf32>) {
    ^bb0(%in: f32, %in_1: f32, %out: f32):
      %s = arith.divf %in, %in_1 : f32
      linalg.yield %s : f32
    } -> tensor<?x2x?x?xf32>
    %34 = linalg.fill ins(%zero : f32) outs(%18 : tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32>
    %35 = linalg.generic {indexing_maps = [affine_map<(b, h, m, n, k) -> (b, h, m, k)>, affine_map<(b, h, m, n, k) -> (b, h, k, n)>, affine_map<(b, h, m, n, k) -> (b, h, m, n)>], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]} ins(%33, %19 : tensor<?x2x?x?xf32>, tensor<?x2x?x4xf32>) outs(%34 : tensor<?x2x?x4xf32>) {
    ^bb0(%in: f32, %in_1: f32, %out: f32):
      %p = arith.mulf %in, %in_1 : f32
      %s = arith.addf %p, %out : f32
      linalg.yield %s : f32
    } -> tensor<?x2x?x4xf32>
    %36 = tensor.empty(%b, %l) : tensor<?x?x2x4xf32>
    %37 = linalg.transpose ins(%35 : tensor<?x2x?x4xf32>) outs(%36 : tensor<?x?x2x4xf32>) permutation = [0, 2, 1, 3]
    %38 = tensor.collapse_shape %37 [[0], [1], [2, 3]] : tensor<?x?x2x4xf32> into tensor<?x?x8xf32>
    // SiLU, ReLU, and the residual.
    %39 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%38, %arg0 : tensor<?x?x8xf32>, tensor<?x?x8xf32>) outs(%x0 : tensor<?x?x8xf32>) {
    ^bb0(%in: f32, %in_1: f32, %out: f32):
      %n = arith.negf %in : f32
      %e = math.exp %n : f32
      %d = arith.addf %e, %one : f32
      %g = arith.divf %one, %d : f32
      %s = arith.mulf %g, %in : f32
      %c = arith.cmpf ugt, %in_1, %zero : f32
      %r = arith.select %c, %in_1, %zero : f32
      %y = arith.addf %s, %r : f32
      linalg.yield %y : f32
    } -> tensor<?x?x8xf32>
    return %39 : tensor<?x?x8xf32>
  }
}
