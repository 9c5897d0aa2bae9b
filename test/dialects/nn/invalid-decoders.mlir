// RUN: %invalid | filecheck %s

// CHECK: epsilon is a number from 0 on, not -1.0
func.func @f(%x: tensor<?x8xf32>, %g: tensor<8xf32>) {
  %0 = nn.rms_norm %x, %g {epsilon = -1.0 : f64} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  func.return
}

// -----

// CHECK: gamma is a vector, not tensor<8x1xf32>
func.func @f(%x: tensor<?x8xf32>, %g: tensor<8x1xf32>) {
  %0 = nn.rms_norm %x, %g {epsilon = 1.0e-5 : f64} : (tensor<?x8xf32>, tensor<8x1xf32>) -> tensor<?x8xf32>
  func.return
}

// -----

// CHECK: a number has no dimension to normalise over
func.func @f(%x: tensor<f32>, %g: tensor<8xf32>) {
  %0 = nn.rms_norm %x, %g {epsilon = 1.0e-5 : f64} : (tensor<f32>, tensor<8xf32>) -> tensor<f32>
  func.return
}

// -----

// CHECK: 8 features, 4 of gamma
func.func @f(%x: tensor<?x8xf32>, %g: tensor<4xf32>) {
  %0 = nn.rms_norm %x, %g {epsilon = 1.0e-5 : f64} : (tensor<?x8xf32>, tensor<4xf32>) -> tensor<?x8xf32>
  func.return
}

// -----

// CHECK: a base is a positive number, not 0.0
func.func @f(%x: tensor<?x4x6xf32>, %p: tensor<?xi64>) {
  %0 = nn.rotary halves %x, %p {base = 0.0 : f64} : (tensor<?x4x6xf32>, tensor<?xi64>) -> tensor<?x4x6xf32>
  func.return
}

// -----

// CHECK: factors are positive numbers
func.func @f(%x: tensor<?x4x6xf32>, %p: tensor<?xi64>) {
  %0 = nn.rotary halves %x, %p {base = 2.0 : f64, factors = array<f64: 1.0, -1.0, 1.0>} : (tensor<?x4x6xf32>, tensor<?xi64>) -> tensor<?x4x6xf32>
  func.return
}

// -----

// CHECK: heads are {{\[}}..., T, H, D], not tensor<4x6xf32>
func.func @f(%x: tensor<4x6xf32>, %p: tensor<i64>) {
  %0 = nn.rotary halves %x, %p {base = 2.0 : f64} : (tensor<4x6xf32>, tensor<i64>) -> tensor<4x6xf32>
  func.return
}

// -----

// CHECK: positions of tensor<3x4x6xf32> are not tensor<2xi64>
func.func @f(%x: tensor<3x4x6xf32>, %p: tensor<2xi64>) {
  %0 = nn.rotary halves %x, %p {base = 2.0 : f64} : (tensor<3x4x6xf32>, tensor<2xi64>) -> tensor<3x4x6xf32>
  func.return
}

// -----

// CHECK: an even number of features turns, not 5
func.func @f(%x: tensor<?x4x6xf32>, %p: tensor<?xi64>) {
  %0 = nn.rotary halves %x, %p {base = 2.0 : f64, features = 5 : i64} : (tensor<?x4x6xf32>, tensor<?xi64>) -> tensor<?x4x6xf32>
  func.return
}

// -----

// CHECK: 8 features of 6 turn
func.func @f(%x: tensor<?x4x6xf32>, %p: tensor<?xi64>) {
  %0 = nn.rotary halves %x, %p {base = 2.0 : f64, features = 8 : i64} : (tensor<?x4x6xf32>, tensor<?xi64>) -> tensor<?x4x6xf32>
  func.return
}

// -----

// CHECK: 3 pairs turn, which 2 factors are not of
func.func @f(%x: tensor<?x4x6xf32>, %p: tensor<?xi64>) {
  %0 = nn.rotary halves %x, %p {base = 2.0 : f64, factors = array<f64: 1.0, 1.0>} : (tensor<?x4x6xf32>, tensor<?xi64>) -> tensor<?x4x6xf32>
  func.return
}

// -----

// CHECK: a scale is a positive number, not -0.5
func.func @f(%q: tensor<3x4x2xf32>, %k: tensor<3x2x2xf32>, %v: tensor<3x2x5xf32>, %pk: tensor<?x2x2xf32>, %pv: tensor<?x2x5xf32>) {
  %0, %1, %2 = nn.cached_attention %q, %k, %v past %pk, %pv {scale = -0.5 : f64}
    : (tensor<3x4x2xf32>, tensor<3x2x2xf32>, tensor<3x2x5xf32>, tensor<?x2x2xf32>, tensor<?x2x5xf32>) -> (tensor<3x20xf32>, tensor<?x2x2xf32>, tensor<?x2x5xf32>)
  func.return
}

// -----

// CHECK: queries, keys and values are {{\[}}..., tokens, heads, features], all of one rank
func.func @f(%q: tensor<3x4x2xf32>, %k: tensor<3x4xf32>, %v: tensor<3x2x5xf32>, %pk: tensor<?x2x2xf32>, %pv: tensor<?x2x5xf32>) {
  %0, %1, %2 = nn.cached_attention %q, %k, %v past %pk, %pv {scale = 0.5 : f64}
    : (tensor<3x4x2xf32>, tensor<3x4xf32>, tensor<3x2x5xf32>, tensor<?x2x2xf32>, tensor<?x2x5xf32>) -> (tensor<3x20xf32>, tensor<?x2x2xf32>, tensor<?x2x5xf32>)
  func.return
}

// -----

// CHECK: 3 heads of queries do not share 2 of keys
func.func @f(%q: tensor<3x3x2xf32>, %k: tensor<3x2x2xf32>, %v: tensor<3x2x5xf32>, %pk: tensor<?x2x2xf32>, %pv: tensor<?x2x5xf32>) {
  %0, %1, %2 = nn.cached_attention %q, %k, %v past %pk, %pv {scale = 0.5 : f64}
    : (tensor<3x3x2xf32>, tensor<3x2x2xf32>, tensor<3x2x5xf32>, tensor<?x2x2xf32>, tensor<?x2x5xf32>) -> (tensor<3x20xf32>, tensor<?x2x2xf32>, tensor<?x2x5xf32>)
  func.return
}

// -----

// CHECK: queries, keys, past keys, present keys of {{\[}}2, 3] features
func.func @f(%q: tensor<3x4x3xf32>, %k: tensor<3x2x2xf32>, %v: tensor<3x2x5xf32>, %pk: tensor<?x2x2xf32>, %pv: tensor<?x2x5xf32>) {
  %0, %1, %2 = nn.cached_attention %q, %k, %v past %pk, %pv {scale = 0.5 : f64}
    : (tensor<3x4x3xf32>, tensor<3x2x2xf32>, tensor<3x2x5xf32>, tensor<?x2x2xf32>, tensor<?x2x5xf32>) -> (tensor<3x20xf32>, tensor<?x2x2xf32>, tensor<?x2x5xf32>)
  func.return
}

// -----

// CHECK: values, past values, present values of {{\[}}5, 6] features
func.func @f(%q: tensor<3x4x2xf32>, %k: tensor<3x2x2xf32>, %v: tensor<3x2x5xf32>, %pk: tensor<?x2x2xf32>, %pv: tensor<?x2x6xf32>) {
  %0, %1, %2 = nn.cached_attention %q, %k, %v past %pk, %pv {scale = 0.5 : f64}
    : (tensor<3x4x2xf32>, tensor<3x2x2xf32>, tensor<3x2x5xf32>, tensor<?x2x2xf32>, tensor<?x2x6xf32>) -> (tensor<3x20xf32>, tensor<?x2x2xf32>, tensor<?x2x5xf32>)
  func.return
}

// -----

// CHECK: keys and values of {{\[}}2, 4] heads
func.func @f(%q: tensor<3x4x2xf32>, %k: tensor<3x2x2xf32>, %v: tensor<3x4x5xf32>, %pk: tensor<?x2x2xf32>, %pv: tensor<?x2x5xf32>) {
  %0, %1, %2 = nn.cached_attention %q, %k, %v past %pk, %pv {scale = 0.5 : f64}
    : (tensor<3x4x2xf32>, tensor<3x2x2xf32>, tensor<3x4x5xf32>, tensor<?x2x2xf32>, tensor<?x2x5xf32>) -> (tensor<3x20xf32>, tensor<?x2x2xf32>, tensor<?x2x5xf32>)
  func.return
}

// -----

// CHECK: queries, keys, values of {{\[}}3, 4] tokens
func.func @f(%q: tensor<3x4x2xf32>, %k: tensor<4x2x2xf32>, %v: tensor<3x2x5xf32>, %pk: tensor<?x2x2xf32>, %pv: tensor<?x2x5xf32>) {
  %0, %1, %2 = nn.cached_attention %q, %k, %v past %pk, %pv {scale = 0.5 : f64}
    : (tensor<3x4x2xf32>, tensor<4x2x2xf32>, tensor<3x2x5xf32>, tensor<?x2x2xf32>, tensor<?x2x5xf32>) -> (tensor<3x20xf32>, tensor<?x2x2xf32>, tensor<?x2x5xf32>)
  func.return
}

// -----

// CHECK: past keys, past values of {{\[}}1, 2] tokens
func.func @f(%q: tensor<3x4x2xf32>, %k: tensor<3x2x2xf32>, %v: tensor<3x2x5xf32>, %pk: tensor<1x2x2xf32>, %pv: tensor<2x2x5xf32>) {
  %0, %1, %2 = nn.cached_attention %q, %k, %v past %pk, %pv {scale = 0.5 : f64}
    : (tensor<3x4x2xf32>, tensor<3x2x2xf32>, tensor<3x2x5xf32>, tensor<1x2x2xf32>, tensor<2x2x5xf32>) -> (tensor<3x20xf32>, tensor<?x2x2xf32>, tensor<?x2x5xf32>)
  func.return
}

// -----

// CHECK: 1 and 3 tokens are not 5 present keys
func.func @f(%q: tensor<3x4x2xf32>, %k: tensor<3x2x2xf32>, %v: tensor<3x2x5xf32>, %pk: tensor<1x2x2xf32>, %pv: tensor<?x2x5xf32>) {
  %0, %1, %2 = nn.cached_attention %q, %k, %v past %pk, %pv {scale = 0.5 : f64}
    : (tensor<3x4x2xf32>, tensor<3x2x2xf32>, tensor<3x2x5xf32>, tensor<1x2x2xf32>, tensor<?x2x5xf32>) -> (tensor<3x20xf32>, tensor<5x2x2xf32>, tensor<?x2x5xf32>)
  func.return
}

// -----

// CHECK: batches of {{\[}}1, 7] sequences
func.func @f(%q: tensor<7x3x4x2xf32>, %k: tensor<1x3x2x2xf32>, %v: tensor<?x3x2x5xf32>, %pk: tensor<?x?x2x2xf32>, %pv: tensor<?x?x2x5xf32>) {
  %0, %1, %2 = nn.cached_attention %q, %k, %v past %pk, %pv {scale = 0.5 : f64}
    : (tensor<7x3x4x2xf32>, tensor<1x3x2x2xf32>, tensor<?x3x2x5xf32>, tensor<?x?x2x2xf32>, tensor<?x?x2x5xf32>) -> (tensor<7x3x20xf32>, tensor<?x?x2x2xf32>, tensor<?x?x2x5xf32>)
  func.return
}

// -----

// CHECK: attention of tensor<3x4x2xf32> does not give tensor<3x8xf32>
func.func @f(%q: tensor<3x4x2xf32>, %k: tensor<3x2x2xf32>, %v: tensor<3x2x5xf32>, %pk: tensor<?x2x2xf32>, %pv: tensor<?x2x5xf32>) {
  %0, %1, %2 = nn.cached_attention %q, %k, %v past %pk, %pv {scale = 0.5 : f64}
    : (tensor<3x4x2xf32>, tensor<3x2x2xf32>, tensor<3x2x5xf32>, tensor<?x2x2xf32>, tensor<?x2x5xf32>) -> (tensor<3x8xf32>, tensor<?x2x2xf32>, tensor<?x2x5xf32>)
  func.return
}
