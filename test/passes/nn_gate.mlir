// RUN: daqkf-opt %s -p 'nn-gate{target="%S/targets/gates.toml" host-cycles=100}' | filecheck %s
// RUN: daqkf-opt %s -p 'nn-gate{target="%S/targets/gates.toml"}' | filecheck %s --check-prefix=COSTS
// RUN: daqkf-opt %s -p nn-gate | filecheck %s --check-prefix=UNIT

// Gates and values in turns; what has no bias gets zeros beside the other's.
// CHECK-NOT: @mlp.gate(
// CHECK: func.func @mlp.gate_up(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
// CHECK-NEXT: %weights = spaq.constant dense<{{\[\[}}1.000000e+00, 5.000000e+00, 2.000000e+00, 6.000000e+00], [3.000000e+00, 7.000000e+00, 4.000000e+00, 8.000000e+00]]>
// CHECK-NEXT: %[[SUM:.*]] = spaq.matmul %x, %weights
// CHECK-NEXT: %bias = spaq.constant dense<[0.000000e+00, 5.000000e-01, 0.000000e+00, 1.500000e+00]>
// CHECK-NEXT: %[[ALL:.*]] = spaq.add %[[SUM]], %bias
// CHECK-NEXT: %[[GATED:.*]] = spaq.gate "silu" %[[ALL]] : tensor<?x4xf32> -> tensor<?x2xf32>
// CHECK-NEXT: func.return %[[GATED]]

// Either comes first; and neither bias is there.
// CHECK: func.func @gelu_plain(
// CHECK-NOT: spaq.add
// CHECK: spaq.gate "gelu"

// CHECK-LABEL: func.func @main
// CHECK: %h = nn.linear @mlp.gate_up %x {node = "mlp.gate_up"} : (tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
// CHECK: %i = nn.linear @gelu_plain %x
// Other activations, a gate that is read twice, two functions, and 17 gates for 32 results.
// CHECK: nn.elementwise mul %{{.*}} {host = "34 results, and the target has room for 32"}
// CHECK-NOT: host
// COSTS: %h = nn.elementwise mul %{{.*}} {host = "34 cycles a tile, the host's 16"}
// UNIT: %h = nn.elementwise mul %{{.*}} {host = "the target has no unit for it"}
func.func @mlp.gate(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.activation "silu" %0 : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %1 : tensor<?x2xf32>
}
func.func @mlp.up(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<[[5.0, 6.0], [7.0, 8.0]]> : tensor<2x2xf32>
  %b = spaq.constant dense<[0.5, 1.5]> : tensor<2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.add %0, %b : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  func.return %1 : tensor<?x2xf32>
}
func.func @gelu(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.activation "gelu" %0 : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %1 : tensor<?x2xf32>
}
func.func @plain(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  func.return %0 : tensor<?x2xf32>
}
func.func @wide_gate(%x: tensor<?x2xf32>) -> tensor<?x17xf32> {
  %w = spaq.constant dense<1.0> : tensor<2x17xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x17xf32>) -> tensor<?x17xf32>
  %1 = spaq.activation "silu" %0 : tensor<?x17xf32> -> tensor<?x17xf32>
  func.return %1 : tensor<?x17xf32>
}
func.func @wide_up(%x: tensor<?x2xf32>) -> tensor<?x17xf32> {
  %w = spaq.constant dense<2.0> : tensor<2x17xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x17xf32>) -> tensor<?x17xf32>
  func.return %0 : tensor<?x17xf32>
}
func.func @main(%x: tensor<4x?x2xf32>, %y: tensor<4x?x2xf32>) -> (
    tensor<4x?x2xf32>, tensor<4x?x2xf32>, tensor<4x?x17xf32>,
    tensor<4x?x2xf32>, tensor<4x?x2xf32>, tensor<4x?x2xf32>, tensor<4x?x2xf32>) {
  %g = nn.linear @mlp.gate %x : (tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
  %u = nn.linear @mlp.up %x : (tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
  %h = nn.elementwise mul %g, %u : (tensor<4x?x2xf32>, tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
  %p = nn.linear @plain %x : (tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
  %e = nn.linear @gelu %x : (tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
  %i = nn.elementwise mul %p, %e : (tensor<4x?x2xf32>, tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
  %wg = nn.linear @wide_gate %x : (tensor<4x?x2xf32>) -> tensor<4x?x17xf32>
  %wu = nn.linear @wide_up %x : (tensor<4x?x2xf32>) -> tensor<4x?x17xf32>
  %w = nn.elementwise mul %wg, %wu : (tensor<4x?x17xf32>, tensor<4x?x17xf32>) -> tensor<4x?x17xf32>
  %o = nn.linear @plain %y : (tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
  %f = nn.linear @gelu %x : (tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
  %j = nn.elementwise mul %f, %o : (tensor<4x?x2xf32>, tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
  %q = nn.linear @plain %x : (tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
  %t = nn.linear @gelu %x : (tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
  %k = nn.elementwise mul %t, %q : (tensor<4x?x2xf32>, tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
  %r = nn.linear @gelu %x : (tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
  %v = nn.linear @gelu %x : (tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
  %l = nn.elementwise mul %r, %v : (tensor<4x?x2xf32>, tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
  func.return %h, %i, %w, %j, %k, %l, %t : tensor<4x?x2xf32>, tensor<4x?x2xf32>, tensor<4x?x17xf32>,
    tensor<4x?x2xf32>, tensor<4x?x2xf32>, tensor<4x?x2xf32>, tensor<4x?x2xf32>
}
