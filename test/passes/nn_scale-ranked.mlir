// RUN: python -c "import numpy as n; n.savez('%t.npz', input0=n.array([[4, -8]], 'f4'))"
// RUN: daqkf-opt %s -p 'nn-scale{ranked=w},nn-outline' | filecheck %s
// RUN: daqkf-opt %s -p 'nn-scale{ranked=w samples="%t.npz"}' | filecheck %s --check-prefix=FEATURES
// RUN: daqkf-opt %s -p 'nn-scale{ranked=other}' | filecheck %s --check-prefix=OTHER

// The kernel is marked, and reads one more feature, whose weights are 0.
// CHECK: func.func @w(%x: tensor<?x3xf32>) -> tensor<?x2xf32> attributes {ranked} {
// CHECK: spaq.constant dense<{{\[\[}}1.000000e+00, 2.000000e+00], [4.000000e+00, 5.000000e+00], [0.000000e+00, 0.000000e+00]]>

// A row's extent is its largest magnitude, at least the number beside the features; nothing is added behind.
// CHECK: func.func @rows
// CHECK-NEXT: %y = nn.elementwise abs %x
// CHECK-NEXT: %y_1 = nn.reduce max %y {axes = array<i64: -1>, keep}
// CHECK-NEXT: %y_2 = nn.constant dense<1.000000e+00> : tensor<f32>
// CHECK-NEXT: %y_3 = nn.elementwise max %y_1, %y_2
// CHECK-NEXT: %y_4 = nn.elementwise min %y_3, %y_2
// CHECK-NEXT: %y_5 = nn.concat %x, %y_4 {axis = 1 : i64}
// CHECK-NEXT: %y_6 = nn.elementwise div %y_5, %y_3
// CHECK-NEXT: %y_7 = nn.linear @w %y_6
// CHECK-NEXT: %y_8 = nn.elementwise mul %y_7, %y_3
// CHECK-NEXT: func.return %y_8

// On samples that reach 8, behind the scales of features, the number is a sixteenth of that.
// FEATURES: nn.elementwise div %x
// FEATURES: nn.constant dense<5.000000e-01> : tensor<f32>
// FEATURES: nn.matmul {{.*}} {ranked}

// OTHER-NOT: ranked
func.func @rows(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = nn.constant {node = "w"} dense<[[1.0, 2.0], [4.0, 5.0]]> : tensor<2x2xf32>
  %y = nn.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  func.return %y : tensor<?x2xf32>
}
