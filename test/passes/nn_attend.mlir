// RUN: daqkf-opt %s -p 'nn-outline,nn-attend{target="%S/targets/sequences.toml" tokens=16},nn-chain{target="%S/targets/sequences.toml"}' | filecheck %s
// RUN: daqkf-opt %s -p 'nn-outline,nn-attend' | filecheck %s --check-prefix=NONE
// RUN: daqkf-opt %s -p 'nn-outline,nn-attend{target="%S/targets/sequences.toml" tokens=1000}' | filecheck %s --check-prefix=NONE

// Keys, values, queries and what reads the results are one kernel.
// CHECK-LABEL: func.func @query_key_value_out(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
// CHECK: %[[K:.*]] = spaq.matmul %x, %{{.*}} : (tensor<?x4xf32>, tensor<4x8xf32>) -> tensor<?x8xf32>
// CHECK: %[[V:.*]] = spaq.matmul %x, %{{.*}} : (tensor<?x4xf32>, tensor<4x8xf32>) -> tensor<?x8xf32>
// CHECK: %[[Q:.*]] = spaq.matmul %x, %{{.*}} : (tensor<?x4xf32>, tensor<4x8xf32>) -> tensor<?x8xf32>
// CHECK: %[[C:.*]] = spaq.attention %[[Q]], %[[K]], %[[V]] heads 2 tokens 16 scale 5.000000e-01
// CHECK: spaq.matmul %[[C]]
// CHECK-LABEL: func.func @main
// CHECK-NOT: nn.softmax
// CHECK: %y = nn.linear @query_key_value_out %x mask %m
// CHECK-NEXT: func.return %y
// NONE: nn.softmax
func.func @main(%x: tensor<1x?x4xf32>, %m: tensor<1x1x1x?xf32>) -> tensor<1x?x2xf32> {
  %query = nn.constant {node = "query.weight"} dense<1.0> : tensor<4x8xf32>
  %key = nn.constant {node = "key.weight"} dense<2.0> : tensor<4x8xf32>
  %value = nn.constant {node = "value.weight"} dense<3.0> : tensor<4x8xf32>
  %out = nn.constant {node = "out.weight"} dense<4.0> : tensor<8x2xf32>
  %by_head = nn.constant dense<[0, 0, 2, 4]> : tensor<4xi64>
  %whole = nn.constant dense<[0, 0, 8]> : tensor<3xi64>
  %half = nn.constant dense<0.5> : tensor<1xf32>
  %q0 = nn.matmul %x, %query : (tensor<1x?x4xf32>, tensor<4x8xf32>) -> tensor<1x?x8xf32>
  %q1 = nn.reshape %q0, %by_head : (tensor<1x?x8xf32>, tensor<4xi64>) -> tensor<1x?x2x4xf32>
  %q = nn.transpose %q1 {axes = array<i64: 0, 2, 1, 3>} : (tensor<1x?x2x4xf32>) -> tensor<1x2x?x4xf32>
  %k0 = nn.matmul %x, %key : (tensor<1x?x4xf32>, tensor<4x8xf32>) -> tensor<1x?x8xf32>
  %k1 = nn.reshape %k0, %by_head : (tensor<1x?x8xf32>, tensor<4xi64>) -> tensor<1x?x2x4xf32>
  %k2 = nn.transpose %k1 {axes = array<i64: 0, 2, 1, 3>} : (tensor<1x?x2x4xf32>) -> tensor<1x2x?x4xf32>
  %k = nn.transpose %k2 {axes = array<i64: 0, 1, 3, 2>} : (tensor<1x2x?x4xf32>) -> tensor<1x2x4x?xf32>
  %v0 = nn.matmul %x, %value : (tensor<1x?x4xf32>, tensor<4x8xf32>) -> tensor<1x?x8xf32>
  %v1 = nn.reshape %v0, %by_head : (tensor<1x?x8xf32>, tensor<4xi64>) -> tensor<1x?x2x4xf32>
  %v = nn.transpose %v1 {axes = array<i64: 0, 2, 1, 3>} : (tensor<1x?x2x4xf32>) -> tensor<1x2x?x4xf32>
  %0 = nn.matmul %q, %k : (tensor<1x2x?x4xf32>, tensor<1x2x4x?xf32>) -> tensor<1x2x?x?xf32>
  %1 = nn.elementwise mul %0, %half : (tensor<1x2x?x?xf32>, tensor<1xf32>) -> tensor<1x2x?x?xf32>
  %2 = nn.elementwise add %1, %m : (tensor<1x2x?x?xf32>, tensor<1x1x1x?xf32>) -> tensor<1x2x?x?xf32>
  %3 = nn.softmax %2 {axis = -1 : i64} : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %4 = nn.matmul %3, %v : (tensor<1x2x?x?xf32>, tensor<1x2x?x4xf32>) -> tensor<1x2x?x4xf32>
  %5 = nn.transpose %4 {axes = array<i64: 0, 2, 1, 3>} : (tensor<1x2x?x4xf32>) -> tensor<1x?x2x4xf32>
  %6 = nn.reshape %5, %whole : (tensor<1x?x2x4xf32>, tensor<3xi64>) -> tensor<1x?x8xf32>
  %y = nn.matmul %6, %out : (tensor<1x?x8xf32>, tensor<8x2xf32>) -> tensor<1x?x2xf32>
  func.return %y : tensor<1x?x2xf32>
}
