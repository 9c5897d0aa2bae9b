// RUN: daqkf-opt %s -p 'nn-pre-norm{target="wide-norm"}' --split-input-file | filecheck %s
// RUN: python -c "import numpy as n; n.savez('%t.npz', input0=n.array([[8, 1, -1]], 'f4'))"
// RUN: daqkf-opt %s -p 'nn-pre-norm{target="wide-norm" samples="%t.npz"}' --split-input-file | filecheck %s --check-prefix=RANGES
// RUN: daqkf-opt %s -p 'nn-pre-norm{target="tiny"}' --split-input-file | filecheck %s --check-prefix=TINY
// RUN: daqkf-opt %s -p 'nn-pre-norm{target="wide-memory:result_depth=8"}' --split-input-file | filecheck %s --check-prefix=SMALL
// RUN: daqkf-opt %s -p 'nn-pre-norm{target="wide-memory"}' --split-input-file | filecheck %s --check-prefix=WIDE

// Both products read what is normalised behind a kernel, whose rows have 1 as their largest magnitude. The sign of γ goes to weights.
// CHECK-LABEL: @two
// CHECK-NEXT: %[[A:.*]] = nn.elementwise abs %x
// CHECK-NEXT: %[[M:.*]] = nn.reduce max %[[A]] {axes = array<i64: -1>, keep}
// CHECK: %[[E:.*]] = nn.elementwise max %[[M]]
// CHECK-NEXT: %[[R:.*]] = nn.elementwise div %x, %[[E]]
// CHECK-NEXT: %[[D:.*]] = nn.constant dense<{{\[\[}}1.000000e+00, 0.000000e+00, 0.000000e+00], [0.000000e+00, 1.000000e+00, 0.000000e+00], [0.000000e+00, 0.000000e+00, 1.000000e+00]]>
// CHECK: %[[P:.*]] = nn.matmul %[[R]], %[[D]] {node = "n", unscaled, exact}
// CHECK-NEXT: %[[N:.*]] = nn.rms_norm %[[P]], %{{.*}} {node = "n", unscaled, epsilon = 1.000000e-05 : f64}
// CHECK: nn.constant {node = "w"} dense<{{\[\[}}{{[^-]*}}], [-{{.*}}], [{{[^-]*}}]]>
// CHECK: nn.matmul %[[N]], %{{.*}} {node = "a", unscaled}
// CHECK: nn.matmul %[[N]], %{{.*}} {node = "b", unscaled}

// The first feature is eight times as large as the others beside the size of the row.
// RANGES-LABEL: @two
// RANGES: %[[S:.*]] = nn.constant dense<[1.000000e+00, 1.250000e-01, 1.250000e-01]>
// RANGES-NEXT: nn.elementwise div %x, %[[S]]
// RANGES: nn.constant dense<{{\[\[}}1.000000e+00, 0.000000e+00, 0.000000e+00], [0.000000e+00, 1.250000e-01, 0.000000e+00], [0.000000e+00, 0.000000e+00, 1.250000e-01]]>

// TINY-LABEL: @two
// TINY: nn.rms_norm %x, %g {node = "n", host = "the target has no unit for it", epsilon = 1.000000e-05 : f64}
// SMALL-LABEL: @two
// SMALL: host = "10 rows of results behind it, and the target has room for 8"
func.func @two(%x: tensor<?x3xf32>) -> (tensor<?x3xf32>, tensor<?x2xf32>) {
  %g = nn.constant dense<[1.0, -1.0, 1.0]> : tensor<3xf32>
  %n = nn.rms_norm %x, %g {node = "n", epsilon = 1.0e-5 : f64} : (tensor<?x3xf32>, tensor<3xf32>) -> tensor<?x3xf32>
  %w = nn.constant {node = "w"} dense<1.0> : tensor<3x3xf32>
  %a = nn.matmul %n, %w {node = "a"} : (tensor<?x3xf32>, tensor<3x3xf32>) -> tensor<?x3xf32>
  %v = nn.constant {node = "v"} dense<1.0> : tensor<3x2xf32>
  %b = nn.matmul %n, %v {node = "b"} : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  func.return %a, %b : tensor<?x3xf32>, tensor<?x2xf32>
}

// -----

// What is gated stays on the array until it has met the product behind, unless results can be int16.
// CHECK-LABEL: @gated
// CHECK: nn.matmul {{.*}} {node = "n", unscaled, exact}
// CHECK: nn.matmul {{.*}} {node = "gate", unscaled}
// CHECK: nn.matmul {{.*}} {node = "up", unscaled}
// CHECK: nn.elementwise silu
// CHECK: nn.elementwise mul
// CHECK: nn.matmul {{.*}} {node = "down", unscaled}
// RANGES-LABEL: @gated
// TINY-LABEL: @gated
// SMALL-LABEL: @gated
// WIDE-LABEL: @gated
// WIDE: nn.matmul {{.*}} {node = "gate", unscaled}
// WIDE: nn.elementwise silu {{.*}} {host = "results of int16 have no table"}
// WIDE-NOT: node = "down", unscaled
func.func @gated(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
  %g = nn.constant dense<1.0> : tensor<3xf32>
  %n = nn.rms_norm %x, %g {node = "n", epsilon = 1.0e-5 : f64} : (tensor<?x3xf32>, tensor<3xf32>) -> tensor<?x3xf32>
  %w = nn.constant dense<1.0> : tensor<3x2xf32>
  %a = nn.matmul %n, %w {node = "gate"} : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  %b = nn.matmul %n, %w {node = "up"} : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  %s = nn.elementwise silu %a : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %m = nn.elementwise mul %s, %b : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %v = nn.constant dense<1.0> : tensor<2x3xf32>
  %y = nn.matmul %m, %v {node = "down"} : (tensor<?x2xf32>, tensor<2x3xf32>) -> tensor<?x3xf32>
  func.return %y : tensor<?x3xf32>
}

// -----

// CHECK-LABEL: @host
// CHECK: host = "not only products with constant weights read it"
// CHECK-NOT: unscaled
// RANGES-LABEL: @host
// TINY-LABEL: @host
// SMALL-LABEL: @host
func.func @host(%x: tensor<?x3xf32>) -> (tensor<?x3xf32>, tensor<?x3xf32>) {
  %g = nn.constant dense<1.0> : tensor<3xf32>
  %n = nn.rms_norm %x, %g {node = "n", epsilon = 1.0e-5 : f64} : (tensor<?x3xf32>, tensor<3xf32>) -> tensor<?x3xf32>
  %w = nn.constant dense<1.0> : tensor<3x3xf32>
  %a = nn.matmul %n, %w {node = "a"} : (tensor<?x3xf32>, tensor<3x3xf32>) -> tensor<?x3xf32>
  func.return %a, %n : tensor<?x3xf32>, tensor<?x3xf32>
}
