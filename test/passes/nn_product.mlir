// RUN: python -c "import numpy; numpy.savez('%t.npz', input0=numpy.full((1, 1, 2), 127, 'f4'), input1=numpy.full((2, 1), -254, 'f4'), input2=numpy.eye(1))"
// RUN: daqkf-opt %s -p 'nn-product{samples="%t.npz"}' | filecheck %s

// Steps of 1, 2 and 508: a sum is 2 / 508 of a step of the result.
// CHECK: %y = nn.product %x, %w {node = "scores", lhs_step = 1.000000e+00 : f64, rhs_step = 2.000000e+00 : f64, result_step = 5.080000e+02 : f64, multiplier = {{[0-9]+}} : i64, shift = {{[0-9]+}} : i64} : (tensor<?x1x2xf32>, tensor<2x1xf32>) -> tensor<?x1x1xf32>
// Constant weights, vectors and doubles stay what they are.
// CHECK: nn.matmul
// CHECK-NEXT: nn.matmul
// CHECK-NEXT: nn.matmul
// CHECK-NOT: nn.product
func.func @main(%x: tensor<?x1x2xf32>, %w: tensor<2x1xf32>, %d: tensor<1x1xf64>) -> tensor<?x1x1xf32> {
  %y = nn.matmul %x, %w {node = "scores"} : (tensor<?x1x2xf32>, tensor<2x1xf32>) -> tensor<?x1x1xf32>
  %c = nn.constant dense<1.0> : tensor<2x1xf32>
  %v = nn.squeeze %w {axes = array<i64: 1>} : (tensor<2x1xf32>) -> tensor<2xf32>
  %0 = nn.matmul %x, %c : (tensor<?x1x2xf32>, tensor<2x1xf32>) -> tensor<?x1x1xf32>
  %1 = nn.matmul %x, %v : (tensor<?x1x2xf32>, tensor<2xf32>) -> tensor<?x1xf32>
  %2 = nn.matmul %d, %d : (tensor<1x1xf64>, tensor<1x1xf64>) -> tensor<1x1xf64>
  func.return %y : tensor<?x1x1xf32>
}
