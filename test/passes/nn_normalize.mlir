// RUN: daqkf-opt %s -p 'nn-normalize{target="%S/targets/rows.toml" host-cycles=100}' --split-input-file | filecheck %s
// RUN: daqkf-opt %s -p 'nn-normalize{target="%S/targets/rows.toml"}' --split-input-file | filecheck %s --check-prefix=COSTS
// RUN: daqkf-opt %s -p nn-normalize --split-input-file | filecheck %s --check-prefix=UNIT

// What is added is what the kernel reads.
// CHECK-LABEL: func.func @same
// CHECK: %0 = spaq.matmul %x, %w
// CHECK-NEXT: %1 = spaq.residual %0, %x : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
// CHECK-NEXT: %gamma = spaq.constant dense<[5.000000e-01, 2.000000e+00]> : tensor<2xf32>
// CHECK-NEXT: %beta = spaq.constant dense<[0.000000e+00, 1.000000e+00]> : tensor<2xf32>
// CHECK-NEXT: %2 = spaq.layer_norm %1, %gamma, %beta epsilon 1.000000e-12
// CHECK-NEXT: func.return %2
// CHECK: %z = nn.linear @same %x {node = "same"} : (tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
// CHECK-NEXT: func.return %z
// COSTS: nn.linear @same %x :
// COSTS: nn.layer_norm %s, %g, %b {host = "164 cycles a tile, the host's 16", epsilon
// UNIT: nn.layer_norm {{.*}}host = "the target has no unit for it"
func.func @same(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<1.0> : tensor<2x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  func.return %0 : tensor<?x2xf32>
}
func.func @main(%x: tensor<4x?x2xf32>) -> tensor<4x?x2xf32> {
  %y = nn.linear @same %x : (tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
  %s = nn.elementwise add %x, %y : (tensor<4x?x2xf32>, tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
  %g = nn.constant dense<[0.5, 2.0]> : tensor<2xf32>
  %b = nn.constant dense<[0.0, 1.0]> : tensor<2xf32>
  %z = nn.layer_norm %s, %g, %b {epsilon = 1.0e-12 : f64}
    : (tensor<4x?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<4x?x2xf32>
  func.return %z : tensor<4x?x2xf32>
}

// -----

// It comes from elsewhere; and the kernel is called a second time.
// CHECK-LABEL: func.func @other(
// CHECK-NOT: spaq.residual
// CHECK-LABEL: func.func @other.1(%rows: tensor<?x5xf32>) -> tensor<?x2xf32>
// CHECK-NEXT: %residual = spaq.columns %rows from 0 : tensor<?x5xf32> -> tensor<?x2xf32>
// CHECK-NEXT: %x = spaq.columns %rows from 2 : tensor<?x5xf32> -> tensor<?x3xf32>
// CHECK: spaq.residual %{{.*}}, %residual
// CHECK: %[[ROWS:.*]] = nn.concat %r, %x {axis = 1 : i64} : (tensor<?x2xf32>, tensor<?x3xf32>) -> tensor<?x5xf32>
// CHECK: %z = nn.linear @other.1 %[[ROWS]] {node = "other.1"}
func.func @other(%x: tensor<?x3xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<1.0> : tensor<3x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  func.return %0 : tensor<?x2xf32>
}
func.func @main(%x: tensor<?x3xf32>, %r: tensor<?x2xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  %y = nn.linear @other %x : (tensor<?x3xf32>) -> tensor<?x2xf32>
  %s = nn.elementwise add %y, %r : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %g = nn.constant dense<1.0> : tensor<2xf32>
  %z = nn.layer_norm %s, %g, %g {epsilon = 0.0 : f64}
    : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %t = nn.linear @other %x : (tensor<?x3xf32>) -> tensor<?x2xf32>
  func.return %z, %t : tensor<?x2xf32>, tensor<?x2xf32>
}

// -----

// Without a residual; and what stays on the host.
// CHECK-LABEL: func.func @rectified
// CHECK-NOT: spaq.layer_norm
// CHECK-LABEL: func.func @alone.1
// CHECK: spaq.layer_norm
// CHECK: %a = nn.linear @alone.1
// CHECK: nn.layer_norm %{{.*}} {host = "it is not of a kernel's sums alone", epsilon
// CHECK: nn.layer_norm %{{.*}} {host = "its scale is zero somewhere, or not finite", epsilon
func.func @alone(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<1.0> : tensor<2x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  func.return %0 : tensor<?x2xf32>
}
func.func @rectified(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<1.0> : tensor<2x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.activation "relu" %0 : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %1 : tensor<?x2xf32>
}
func.func @main(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %g = nn.constant dense<1.0> : tensor<2xf32>
  %n = nn.constant dense<[1.0, 0.0]> : tensor<2xf32>
  %0 = nn.linear @alone %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %a = nn.layer_norm %0, %g, %g {epsilon = 0.0 : f64}
    : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %1 = nn.linear @rectified %a : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %b = nn.layer_norm %1, %g, %g {epsilon = 0.0 : f64}
    : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %2 = nn.linear @alone %b : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %c = nn.layer_norm %2, %n, %g {epsilon = 0.0 : f64}
    : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  func.return %c : tensor<?x2xf32>
}

// -----

// The host puts in the sign of a negative scale.
// CHECK-LABEL: func.func @signed
// CHECK: %gamma = spaq.constant dense<[1.000000e+00, 2.000000e+00]>
// CHECK-NEXT: %beta = spaq.constant dense<[3.000000e+00, -4.000000e+00]>
// CHECK: %[[Y:.*]] = nn.linear @signed %x
// CHECK-NEXT: %[[SIGNS:.*]] = nn.constant dense<[1.000000e+00, -1.000000e+00]> : tensor<2xf32>
// CHECK-NEXT: %[[Z:.*]] = nn.elementwise mul %[[Y]], %[[SIGNS]]
// CHECK-NEXT: func.return %[[Z]]
func.func @signed(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<1.0> : tensor<2x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  func.return %0 : tensor<?x2xf32>
}
func.func @main(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %g = nn.constant dense<[1.0, -2.0]> : tensor<2xf32>
  %b = nn.constant dense<[3.0, 4.0]> : tensor<2xf32>
  %0 = nn.linear @signed %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %a = nn.layer_norm %0, %g, %b {epsilon = 0.0 : f64}
    : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  func.return %a : tensor<?x2xf32>
}

// -----

// By the root mean square: there is no shift, and the mean stays.
// CHECK-LABEL: func.func @rms
// CHECK: %1 = spaq.residual %0, %x
// CHECK-NEXT: %gamma = spaq.constant dense<[5.000000e-01, 2.000000e+00]> : tensor<2xf32>
// CHECK-NEXT: %2 = spaq.rms_norm %1, %gamma epsilon 1.000000e-05 : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
// CHECK-NEXT: func.return %2
// CHECK: %[[Z:.*]] = nn.linear @rms %x
// CHECK: nn.elementwise mul %[[Z]]
// COSTS: nn.rms_norm %s, %g {host = "164 cycles a tile, the host's 16", epsilon
// UNIT: nn.rms_norm {{.*}}host = "the target has no unit for it"
func.func @rms(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<1.0> : tensor<2x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  func.return %0 : tensor<?x2xf32>
}
func.func @main(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %g = nn.constant dense<[-0.5, 2.0]> : tensor<2xf32>
  %y = nn.linear @rms %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %s = nn.elementwise add %x, %y : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %z = nn.rms_norm %s, %g {epsilon = 1.0e-5 : f64}
    : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  func.return %z : tensor<?x2xf32>
}

// -----

// CHECK: nn.rms_norm %{{.*}} {host = "its scale or shift is no constant", epsilon
// CHECK: nn.rms_norm %{{.*}} {host = "it is not of a kernel's sums alone", epsilon
func.func @sums(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<1.0> : tensor<2x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  func.return %0 : tensor<?x2xf32>
}
func.func @main(%x: tensor<?x2xf32>, %g: tensor<2xf32>) -> tensor<?x2xf32> {
  %y = nn.linear @sums %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %z = nn.rms_norm %y, %g {epsilon = 1.0e-5 : f64}
    : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %o = nn.constant dense<1.0> : tensor<2xf32>
  %n = nn.rms_norm %z, %o {epsilon = 1.0e-5 : f64}
    : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  func.return %n : tensor<?x2xf32>
}
