// RUN: %invalid | filecheck %s

// CHECK: attention of 1 heads is over tensors {{\[}}B, 1, …]
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v mask %m {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: 4 columns meet 3 rows
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x3x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v mask %m {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x3x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: 5 keys, 6 values
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x6x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v mask %m {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x6x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: queries of tensor<2x1x3x4xf32> give results of tensor<2x1x2x4xf32>
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v mask %m {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x2x4xf32>
  func.return
}

// -----

// CHECK: a mask is of {{\[}}B, 1 or 1, 1, S], not tensor<2x1x3x5xf32>
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x3x5xf32>) {
  %0 = nn.attention %q, %k, %v mask %m {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x3x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: levels are 1..127, not 128
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v mask %m {levels = 128 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: results need 1 positive steps, of 1 heads
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v mask %m {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.0>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: a scale is a positive number, not -0.5
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v mask %m {levels = 15 : i64, scale = -0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: multipliers of shares are of 1..65535, one for each of 1 heads
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v mask %m {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 0>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: shifts of shares are of 1..47, one for each of 1 heads
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v mask %m {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 48>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: the table has 256 i8 entries, none below 0
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v mask %m {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<-1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: the table has 256 i8 entries, none below 0
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v mask %m {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<1> : tensor<255xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: attention of no heads
func.func @f(%q: tensor<2x?x3x4xf32>, %k: tensor<2x?x4x5xf32>, %v: tensor<2x?x5x4xf32>, %m: tensor<2x?x1x5xf32>) {
  %0 = nn.attention %q, %k, %v mask %m {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x?x3x4xf32>, tensor<2x?x4x5xf32>, tensor<2x?x5x4xf32>, tensor<2x?x1x5xf32>) -> tensor<2x?x3x4xf32>
  func.return
}

// -----

// CHECK: shares need 1 positive steps, of 1 heads
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v mask %m {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5, 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: shifts of results are of 1..47, one for each of 1 heads
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v mask %m {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8, 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: scores need 1 positive steps, of 1 heads
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v mask %m {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 0.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}
