// RUN: daqkf-opt %s -p nn-scale --split-input-file | filecheck %s
// RUN: python -c "import numpy as n; n.savez('%t.npz', input0=n.array([[4, 1]], 'f4'))"
// RUN: daqkf-opt %s -p 'nn-scale{samples="%t.npz"}' --split-input-file | filecheck %s --check-prefix=FEATURES
// RUN: daqkf-opt %s -p 'nn-scale{samples="%t.npz" keep=true}' --split-input-file | filecheck %s --check-prefix=KEEP

// Weights that are levels stay such; the middle of the rows is above 0, about 2 halves of their extent.
// KEEP-LABEL: @rows
// KEEP-SAME: scaled
// KEEP-NEXT: %y = nn.reduce max %x
// KEEP: nn.constant {node = "w"} dense<{{\[\[}}1.000000e+00, 2.000000e+00, 3.000000e+00], [4.000000e+00, 5.000000e+00, 6.000000e+00]]>

// With samples whose features reach 4 and 1, the second has half the scale of the first.
// FEATURES-LABEL: @rows
// FEATURES-NEXT: %y = nn.constant dense<[1.000000e+00, 5.000000e-01]> : tensor<2xf32>
// FEATURES-NEXT: %y_1 = nn.elementwise div %x, %y
// FEATURES: nn.constant {node = "w"} dense<{{\[\[}}1.000000e+00, 2.000000e+00, 3.000000e+00], [2.000000e+00, 2.500000e+00, 3.000000e+00]]>

// Rows are brought to -1 … 1 by the middle and half of the extent of each.
// CHECK-LABEL: @rows
// CHECK-NEXT: %y = nn.reduce max %x {axes = array<i64: -1>, keep}
// CHECK-NEXT: %y_1 = nn.reduce min %x {axes = array<i64: -1>, keep}
// CHECK: %y_4 = nn.elementwise mul %y_3, %y_2
// CHECK: %y_8 = nn.elementwise max %y_6, %y_7
// CHECK-NEXT: %y_9 = nn.elementwise sub %x, %y_4
// CHECK-NEXT: %y_10 = nn.elementwise div %y_9, %y_8
// CHECK-NEXT: %y_11 = nn.constant {node = "w"}
// CHECK-NEXT: %y_12 = nn.matmul %y_10, %y_11
// CHECK-NEXT: %y_13 = nn.elementwise mul %y_12, %y_8
// CHECK-NEXT: %y_14 = nn.constant dense<[5.000000e+00, 7.000000e+00, 9.000000e+00]>
// CHECK-NEXT: %y_15 = nn.elementwise mul %y_4, %y_14
// CHECK-NEXT: %y_16 = nn.elementwise add %y_13, %y_15
func.func @rows(%x: tensor<?x2xf32>) -> tensor<?x3xf32> {
  %w = nn.constant {node = "w"} dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>
  %y = nn.matmul %x, %w : (tensor<?x2xf32>, tensor<2x3xf32>) -> tensor<?x3xf32>
  func.return %y : tensor<?x3xf32>
}
