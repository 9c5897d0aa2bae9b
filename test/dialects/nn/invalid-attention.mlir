// RUN: %invalid | filecheck %s

// CHECK: attention of 1 heads is over tensors {{\[}}B, 1, …]
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v, %m {levels = 15 : i64, scale = 0.5 : f64,
      scales = array<f64: 0.5, 1.0, 0.5, 0.5, 0.5, 0.5>, multipliers = array<i64: 3, 4, 5>,
      shifts = array<i64: 6, 7, 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: 4 columns meet 3 rows
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x3x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v, %m {levels = 15 : i64, scale = 0.5 : f64,
      scales = array<f64: 0.5, 1.0, 0.5, 0.5, 0.5, 0.5>, multipliers = array<i64: 3, 4, 5>,
      shifts = array<i64: 6, 7, 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x3x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: 5 keys, 6 values
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x6x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v, %m {levels = 15 : i64, scale = 0.5 : f64,
      scales = array<f64: 0.5, 1.0, 0.5, 0.5, 0.5, 0.5>, multipliers = array<i64: 3, 4, 5>,
      shifts = array<i64: 6, 7, 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x6x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: queries of tensor<2x1x3x4xf32> give results of tensor<2x1x2x4xf32>
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v, %m {levels = 15 : i64, scale = 0.5 : f64,
      scales = array<f64: 0.5, 1.0, 0.5, 0.5, 0.5, 0.5>, multipliers = array<i64: 3, 4, 5>,
      shifts = array<i64: 6, 7, 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x2x4xf32>
  func.return
}

// -----

// CHECK: a mask is of {{\[}}B, 1 or 1, 1, S], not tensor<2x1x3x5xf32>
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x3x5xf32>) {
  %0 = nn.attention %q, %k, %v, %m {levels = 15 : i64, scale = 0.5 : f64,
      scales = array<f64: 0.5, 1.0, 0.5, 0.5, 0.5, 0.5>, multipliers = array<i64: 3, 4, 5>,
      shifts = array<i64: 6, 7, 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x3x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: levels are 1..127, not 128
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v, %m {levels = 128 : i64, scale = 0.5 : f64,
      scales = array<f64: 0.5, 1.0, 0.5, 0.5, 0.5, 0.5>, multipliers = array<i64: 3, 4, 5>,
      shifts = array<i64: 6, 7, 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: scales are 6 positive numbers
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v, %m {levels = 15 : i64, scale = 0.5 : f64,
      scales = array<f64: 0.5, 1.0, 0.5, 0.5, 0.5, 0.0>, multipliers = array<i64: 3, 4, 5>,
      shifts = array<i64: 6, 7, 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: scales are 6 positive numbers
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v, %m {levels = 15 : i64, scale = -0.5 : f64,
      scales = array<f64: 0.5, 1.0, 0.5, 0.5, 0.5, 0.5>, multipliers = array<i64: 3, 4, 5>,
      shifts = array<i64: 6, 7, 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: multipliers are of 1..65535, three for each head
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v, %m {levels = 15 : i64, scale = 0.5 : f64,
      scales = array<f64: 0.5, 1.0, 0.5, 0.5, 0.5, 0.5>, multipliers = array<i64: 3, 0, 5>,
      shifts = array<i64: 6, 7, 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: shifts are of 1..47, three for each head
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v, %m {levels = 15 : i64, scale = 0.5 : f64,
      scales = array<f64: 0.5, 1.0, 0.5, 0.5, 0.5, 0.5>, multipliers = array<i64: 3, 4, 5>,
      shifts = array<i64: 6, 48, 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: the table has 256 i8 entries, none below 0
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v, %m {levels = 15 : i64, scale = 0.5 : f64,
      scales = array<f64: 0.5, 1.0, 0.5, 0.5, 0.5, 0.5>, multipliers = array<i64: 3, 4, 5>,
      shifts = array<i64: 6, 7, 8>, table = dense<-1> : tensor<256xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}

// -----

// CHECK: the table has 256 i8 entries, none below 0
func.func @f(%q: tensor<2x1x3x4xf32>, %k: tensor<2x1x4x5xf32>, %v: tensor<2x1x5x4xf32>, %m: tensor<2x1x1x5xf32>) {
  %0 = nn.attention %q, %k, %v, %m {levels = 15 : i64, scale = 0.5 : f64,
      scales = array<f64: 0.5, 1.0, 0.5, 0.5, 0.5, 0.5>, multipliers = array<i64: 3, 4, 5>,
      shifts = array<i64: 6, 7, 8>, table = dense<1> : tensor<255xi8>}
    : (tensor<2x1x3x4xf32>, tensor<2x1x4x5xf32>, tensor<2x1x5x4xf32>, tensor<2x1x1x5xf32>) -> tensor<2x1x3x4xf32>
  func.return
}
