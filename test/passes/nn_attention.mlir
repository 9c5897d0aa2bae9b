// RUN: python -c "import numpy as n; n.savez('%t.npz', input0=n.full((1, 1, 1, 2), 127, 'f4'), input1=n.array([[[[1, 31], [0, 0]]]], 'f4'), input2=n.array([[[[62, 0], [0, 31]]]], 'f4'), input3=n.zeros((1, 1, 1, 2), 'f4'))"
// RUN: daqkf-opt %s -p 'nn-attention{samples="%t.npz" target="%S/targets/attends.toml" host-cycles=1000 levels=31}' | filecheck %s
// RUN: daqkf-opt %s -p 'nn-attention{samples="%t.npz" target="%S/targets/attends.toml" host-cycles=2}' | filecheck %s --check-prefix=COSTS
// RUN: daqkf-opt %s -p 'nn-attention{samples="%t.npz"}' | filecheck %s --check-prefix=UNIT

// Steps: queries of 1, scores of 15.5 as they reach 1968.5, keys of 1, shares of 1 / 127, values of 2.
// CHECK-LABEL: func.func @main
// CHECK-NEXT: nn.constant
// CHECK-NEXT: %y = nn.attention %q, %k, %v mask %m {node = "context", levels = 31 : i64, scale = 5.000000e-01 : f64, query_step = 1.000000e+00 : f64, key_steps = array<f64: 1.000000e+00>, score_step = 1.550000e+01 : f64, score_multipliers = array<i64: {{[0-9]+}}>, score_shifts = array<i64: {{[0-9]+}}>, share_steps = array<f64: {{0.00787[0-9]+}}>, {{.*}}, value_steps = array<f64: 2.000000e+00>, {{.*}}, table = dense<"0x
// CHECK-SAME: 7F0000
// CHECK-SAME: : (tensor<1x1x1x2xf32>, tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>, tensor<1x1x1x2xf32>) -> tensor<1x1x1x2xf32>
// CHECK-NOT: nn.softmax %{{[0-9]+}} {axis = -1
// Along another axis.
// CHECK: nn.softmax %{{.*}} {host = "it is not of products of heads, with a mask that is the same for all queries", axis = 0 : i64}
// COSTS: nn.softmax %{{.*}} {host = "{{[0-9]+}} cycles a tile, the host's 8", axis = -1
// UNIT: nn.softmax %{{.*}} {host = "the target has no unit for it", axis = -1
func.func @main(
    %q: tensor<1x1x1x2xf32>, %k: tensor<1x1x2x2xf32>, %v: tensor<1x1x2x2xf32>, %m: tensor<1x1x1x2xf32>
) -> (tensor<1x1x1x2xf32>, tensor<1x1x1x2xf32>) {
  %half = nn.constant dense<0.5> : tensor<1xf32>
  %0 = nn.matmul %q, %k : (tensor<1x1x1x2xf32>, tensor<1x1x2x2xf32>) -> tensor<1x1x1x2xf32>
  %1 = nn.elementwise mul %0, %half : (tensor<1x1x1x2xf32>, tensor<1xf32>) -> tensor<1x1x1x2xf32>
  %2 = nn.elementwise add %1, %m : (tensor<1x1x1x2xf32>, tensor<1x1x1x2xf32>) -> tensor<1x1x1x2xf32>
  %3 = nn.softmax %2 {axis = -1 : i64} : (tensor<1x1x1x2xf32>) -> tensor<1x1x1x2xf32>
  %y = nn.matmul %3, %v {node = "context"} : (tensor<1x1x1x2xf32>, tensor<1x1x2x2xf32>) -> tensor<1x1x1x2xf32>
  %4 = nn.matmul %q, %k : (tensor<1x1x1x2xf32>, tensor<1x1x2x2xf32>) -> tensor<1x1x1x2xf32>
  %5 = nn.softmax %4 {axis = 0 : i64} : (tensor<1x1x1x2xf32>) -> tensor<1x1x1x2xf32>
  %z = nn.matmul %5, %v : (tensor<1x1x1x2xf32>, tensor<1x1x2x2xf32>) -> tensor<1x1x1x2xf32>
  func.return %y, %z : tensor<1x1x1x2xf32>, tensor<1x1x1x2xf32>
}
