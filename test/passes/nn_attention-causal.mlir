// RUN: python -c "import numpy as n; n.savez('%t.npz', input0=n.full((1, 2, 2), 127, 'f4'), input1=n.array([[[1, 0]]], 'f4'), input2=n.array([[[62, 0]]], 'f4'), input3=n.array([[[31, 0]]], 'f4'))"
// RUN: daqkf-opt %s -p 'nn-attention{samples="%t.npz" target="%S/targets/decodes.toml" host-cycles=1000 levels=31}' | filecheck %s
// RUN: daqkf-opt %s -p 'nn-attention{samples="%t.npz" target="%S/targets/decodes.toml" host-cycles=1000 tokens=64}' | filecheck %s
// RUN: daqkf-opt %s -p 'nn-attention{samples="%t.npz" target="%S/targets/decodes.toml" host-cycles=1000 tokens=65}' | filecheck %s --check-prefix=ROOM
// RUN: daqkf-opt %s -p 'nn-attention{samples="%t.npz" target="%S/targets/decodes.toml" host-cycles=2}' | filecheck %s --check-prefix=COSTS
// RUN: daqkf-opt %s -p 'nn-attention{samples="%t.npz" target="%S/targets/attends.toml"}' | filecheck %s --check-prefix=UNIT

// Two heads of queries read one of keys and values. Scores reach 3937, those of the past.
// CHECK-LABEL: func.func @main
// CHECK-NEXT: %y, %keys, %values = nn.causal_attention %q, %k, %v past %pk, %v {node = "heads", levels = {{31|127}} : i64, scale = 5.000000e-01 : f64, query_step = 1.000000e+00 : f64, {{.*}}score_step = 3.100000e+01 : f64, score_multipliers = array<i64: {{[0-9]+}}>,
// CHECK-SAME: 7F0000
// CHECK-SAME: -> (tensor<?x4xf32>, tensor<?x1x2xf32>, tensor<?x1x2xf32>)
// Values of more features than keys are the host's.
// CHECK: nn.cached_attention %q, %k, %w past %pk, %w {host = "its keys have 2 features, and its values 4", scale
// ROOM: nn.cached_attention %q, %k, %v past %pk, %v {node = "heads", host = "65 keys of 1 heads, and the target has room for 64"
// COSTS: nn.cached_attention %q, %k, %v past %pk, %v {node = "heads", host = "{{[0-9]+}} cycles a tile, the host's 8"
// UNIT: nn.cached_attention %q, %k, %v past %pk, %v {node = "heads", host = "the target has no unit for a softmax that is causal"
func.func @main(
    %q: tensor<?x2x2xf32>, %k: tensor<?x1x2xf32>, %pk: tensor<?x1x2xf32>, %v: tensor<?x1x2xf32>
) -> (tensor<?x4xf32>, tensor<?x8xf32>) {
  %y, %keys, %values = nn.cached_attention %q, %k, %v past %pk, %v {node = "heads", scale = 0.5 : f64}
    : (tensor<?x2x2xf32>, tensor<?x1x2xf32>, tensor<?x1x2xf32>, tensor<?x1x2xf32>, tensor<?x1x2xf32>)
    -> (tensor<?x4xf32>, tensor<?x1x2xf32>, tensor<?x1x2xf32>)
  %w = nn.concat %v, %v {axis = -1 : i64} : (tensor<?x1x2xf32>, tensor<?x1x2xf32>) -> tensor<?x1x4xf32>
  %z, %other, %others = nn.cached_attention %q, %k, %w past %pk, %w {scale = 0.5 : f64}
    : (tensor<?x2x2xf32>, tensor<?x1x2xf32>, tensor<?x1x4xf32>, tensor<?x1x2xf32>, tensor<?x1x4xf32>)
    -> (tensor<?x8xf32>, tensor<?x1x2xf32>, tensor<?x1x4xf32>)
  func.return %y, %z : tensor<?x4xf32>, tensor<?x8xf32>
}
