// RUN: daqkf-opt %s -p 'nn-merge{target=tiny}' | filecheck %s

// What has no bias gets zeros beside the other's. A kernel goes once nothing calls it.
// CHECK-NOT: @layer.0.query(
// CHECK: func.func @layer.0.query_key(%{{.*}}: tensor<?x2xf32>) -> tensor<?x3xf32> {
// CHECK-NEXT: spaq.constant dense<{{\[\[}}1.000000e+00, 2.000000e+00, 3.000000e+00], [1.000000e+00, 2.000000e+00, 3.000000e+00]]>
// CHECK-NEXT: spaq.matmul
// CHECK-NEXT: spaq.constant dense<[0.000000e+00, 0.000000e+00, 5.000000e-01]>
// CHECK-NEXT: %[[SUM:.*]] = spaq.add
// CHECK-NEXT: func.return %[[SUM]]

// The same kernel twice, and a function of the sums.
// CHECK: func.func @gate_gate
// CHECK: %[[SUM:.*]] = spaq.matmul
// CHECK-NEXT: %[[GATE:.*]] = spaq.activation "silu" %[[SUM]]
// CHECK-NEXT: func.return %[[GATE]]

// CHECK-LABEL: @main
// CHECK: %[[QK:.*]] = nn.linear @layer.0.query_key %x {node = "layer.0.query_key"} : (tensor<4x?x2xf32>) -> tensor<4x?x3xf32>
// CHECK-NEXT: %[[TWO:.*]] = nn.constant dense<2> : tensor<1xi64>
// CHECK-NEXT: %[[THREE:.*]] = nn.constant dense<3> : tensor<1xi64>
// CHECK-NEXT: %k = nn.slice %[[QK]], %[[TWO]], %[[THREE]] {node = "layer.0.key", axes = array<i64: 2>, steps = array<i64: 1>} : {{.*}} -> tensor<4x?x1xf32>
// CHECK: %q = nn.slice %[[QK]], {{.*}} {node = "layer.0.query", {{.*}} -> tensor<4x?x2xf32>
// CHECK: %[[G:.*]] = nn.linear @gate_gate %x
// CHECK: %h = nn.slice %[[G]]
// CHECK: %g = nn.slice %[[G]]
// Other activations, and the 30 outputs that the 32 results of the target have no room for.
// CHECK: %o = nn.linear @layer.0.key %q
// CHECK: %w = nn.linear @layer.0.wide %x
// CHECK: func.return %q, %k, %g, %h, %o, %w
func.func @layer.0.query(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<[[1.0, 2.0], [1.0, 2.0]]> : tensor<2x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  func.return %0 : tensor<?x2xf32>
}
func.func @layer.0.key(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = spaq.constant dense<3.0> : tensor<2x1xf32>
  %b = spaq.constant dense<0.5> : tensor<1xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x1xf32>) -> tensor<?x1xf32>
  %1 = spaq.add %0, %b : (tensor<?x1xf32>, tensor<1xf32>) -> tensor<?x1xf32>
  func.return %1 : tensor<?x1xf32>
}
func.func @gate(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = spaq.constant dense<3.0> : tensor<2x1xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x1xf32>) -> tensor<?x1xf32>
  %1 = spaq.activation "silu" %0 : tensor<?x1xf32> -> tensor<?x1xf32>
  func.return %1 : tensor<?x1xf32>
}
func.func @layer.0.wide(%x: tensor<?x2xf32>) -> tensor<?x30xf32> {
  %w = spaq.constant dense<3.0> : tensor<2x30xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x30xf32>) -> tensor<?x30xf32>
  func.return %0 : tensor<?x30xf32>
}
func.func @main(%x: tensor<4x?x2xf32>) -> (tensor<4x?x2xf32>, tensor<4x?x1xf32>, tensor<4x?x1xf32>, tensor<4x?x1xf32>, tensor<4x?x1xf32>, tensor<4x?x30xf32>) {
  %q = nn.linear @layer.0.query %x : (tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
  %g = nn.linear @gate %x : (tensor<4x?x2xf32>) -> tensor<4x?x1xf32>
  %k = nn.linear @layer.0.key %x : (tensor<4x?x2xf32>) -> tensor<4x?x1xf32>
  %h = nn.linear @gate %x : (tensor<4x?x2xf32>) -> tensor<4x?x1xf32>
  %o = nn.linear @layer.0.key %q : (tensor<4x?x2xf32>) -> tensor<4x?x1xf32>
  %w = nn.linear @layer.0.wide %x : (tensor<4x?x2xf32>) -> tensor<4x?x30xf32>
  func.return %q, %k, %g, %h, %o, %w : tensor<4x?x2xf32>, tensor<4x?x1xf32>, tensor<4x?x1xf32>, tensor<4x?x1xf32>, tensor<4x?x1xf32>, tensor<4x?x30xf32>
}
