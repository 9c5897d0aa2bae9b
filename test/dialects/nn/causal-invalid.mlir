// RUN: %invalid | filecheck %s

// Causal attention in int8.

// CHECK: steps of 1 heads, for keys and values of tensor<?x3x4xf32>
func.func @main(%q: tensor<?x3x4xf32>, %k: tensor<?x3x4xf32>, %v: tensor<?x3x4xf32>) {
  %y, %keys, %values = nn.causal_attention %q, %k, %v past %k, %v {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<0> : tensor<256xi8>}
    : (tensor<?x3x4xf32>, tensor<?x3x4xf32>, tensor<?x3x4xf32>, tensor<?x3x4xf32>, tensor<?x3x4xf32>)
    -> (tensor<?x12xf32>, tensor<?x3x4xf32>, tensor<?x3x4xf32>)
  func.return
}

// -----

// CHECK: the table has 0 for -128, which keys read that are not seen
func.func @main(%q: tensor<?x3x4xf32>, %k: tensor<?x1x4xf32>, %v: tensor<?x1x4xf32>) {
  %y, %keys, %values = nn.causal_attention %q, %k, %v past %k, %v {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<?x3x4xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>)
    -> (tensor<?x12xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>)
  func.return
}

// -----

// CHECK: 0 heads of queries for 1 of keys and values
func.func @main(%q: tensor<?x0x4xf32>, %k: tensor<?x1x4xf32>, %v: tensor<?x1x4xf32>) {
  %y, %keys, %values = nn.causal_attention %q, %k, %v past %k, %v {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<0> : tensor<256xi8>}
    : (tensor<?x0x4xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>)
    -> (tensor<?x0xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>)
  func.return
}

// -----

// CHECK: keys of tensor<?x1x4xf32> and values of tensor<?x1x2xf32> differ in their features
func.func @main(%q: tensor<?x3x4xf32>, %k: tensor<?x1x4xf32>, %v: tensor<?x1x2xf32>) {
  %y, %keys, %values = nn.causal_attention %q, %k, %v past %k, %v {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<0> : tensor<256xi8>}
    : (tensor<?x3x4xf32>, tensor<?x1x4xf32>, tensor<?x1x2xf32>, tensor<?x1x4xf32>, tensor<?x1x2xf32>)
    -> (tensor<?x6xf32>, tensor<?x1x4xf32>, tensor<?x1x2xf32>)
  func.return
}

// -----

// CHECK: keys need 1 positive steps, of 1 heads
func.func @main(%q: tensor<?x3x4xf32>, %k: tensor<?x1x4xf32>, %v: tensor<?x1x4xf32>) {
  %y, %keys, %values = nn.causal_attention %q, %k, %v past %k, %v {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.0>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<0> : tensor<256xi8>}
    : (tensor<?x3x4xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>)
    -> (tensor<?x12xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>)
  func.return
}

// -----

// CHECK: 3 heads of queries do not share 2 of keys
func.func @main(%q: tensor<?x3x4xf32>, %k: tensor<?x2x4xf32>, %v: tensor<?x2x4xf32>) {
  %y, %keys, %values = nn.causal_attention %q, %k, %v past %k, %v {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<0> : tensor<256xi8>}
    : (tensor<?x3x4xf32>, tensor<?x2x4xf32>, tensor<?x2x4xf32>, tensor<?x2x4xf32>, tensor<?x2x4xf32>)
    -> (tensor<?x12xf32>, tensor<?x2x4xf32>, tensor<?x2x4xf32>)
  func.return
}
