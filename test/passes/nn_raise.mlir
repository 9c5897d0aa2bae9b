// RUN: daqkf-opt %s -p nn-raise --split-input-file | filecheck %s

// The whole goes by the name of its last node; what nothing reads any more falls away.
// CHECK-LABEL: @gelu
// CHECK-NEXT: %y = nn.elementwise gelu %x {node = "act/Mul_1"} : (tensor<?x2xf32>) -> tensor<?x2xf32>
// CHECK-NEXT: func.return %y
func.func @gelu(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %root = nn.constant dense<1.41421354> : tensor<f32>
  %one = nn.constant dense<1.0> : tensor<f32>
  %half = nn.constant dense<0.5> : tensor<f32>
  %0 = nn.elementwise div %x, %root : (tensor<?x2xf32>, tensor<f32>) -> tensor<?x2xf32>
  %1 = nn.elementwise erf %0 : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %2 = nn.elementwise add %1, %one : (tensor<?x2xf32>, tensor<f32>) -> tensor<?x2xf32>
  %3 = nn.elementwise mul %x, %2 : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %y = nn.elementwise mul %3, %half {node = "act/Mul_1"} : (tensor<?x2xf32>, tensor<f32>) -> tensor<?x2xf32>
  func.return %y : tensor<?x2xf32>
}

// -----

// What something else reads stays.
// CHECK-LABEL: @silu
// CHECK-NEXT: %s = nn.elementwise sigmoid %x
// CHECK-NEXT: %y = nn.elementwise silu %x
// CHECK-NEXT: func.return %s, %y
func.func @silu(%x: tensor<?x2xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  %s = nn.elementwise sigmoid %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %y = nn.elementwise mul %s, %x : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  func.return %s, %y : tensor<?x2xf32>, tensor<?x2xf32>
}

// -----

// CHECK-LABEL: @layer_norm
// CHECK-NEXT: %g = nn.constant
// CHECK-NEXT: %b = nn.constant
// CHECK-NEXT: %y = nn.layer_norm %x, %g, %b {epsilon = 1.250000e-01 : f64}
// CHECK-NEXT: func.return %y
func.func @layer_norm(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %g = nn.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %b = nn.constant dense<[3.0, 4.0]> : tensor<2xf32>
  %two = nn.constant dense<2.0> : tensor<f32>
  %e = nn.constant dense<0.125> : tensor<f32>
  %0 = nn.reduce mean %x {axes = array<i64: -1>, keep} : (tensor<?x2xf32>) -> tensor<?x1xf32>
  %1 = nn.elementwise sub %x, %0 : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  %2 = nn.elementwise pow %1, %two : (tensor<?x2xf32>, tensor<f32>) -> tensor<?x2xf32>
  %3 = nn.reduce mean %2 {axes = array<i64: 1>, keep} : (tensor<?x2xf32>) -> tensor<?x1xf32>
  %4 = nn.elementwise add %3, %e : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %5 = nn.elementwise sqrt %4 : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %6 = nn.elementwise div %1, %5 : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  %7 = nn.elementwise mul %6, %g : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %y = nn.elementwise add %7, %b : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  func.return %y : tensor<?x2xf32>
}

// -----

// CHECK-LABEL: @softmax
// CHECK-NEXT: %y = nn.softmax %x {axis = -1 : i64}
// CHECK-NEXT: func.return %y
func.func @softmax(%x: tensor<*xf32>) -> tensor<*xf32> {
  %0 = nn.reduce max %x {axes = array<i64: -1>, keep} : (tensor<*xf32>) -> tensor<*xf32>
  %1 = nn.elementwise sub %x, %0 : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %2 = nn.elementwise exp %1 : (tensor<*xf32>) -> tensor<*xf32>
  %3 = nn.reduce sum %2 {axes = array<i64: -1>, keep} : (tensor<*xf32>) -> tensor<*xf32>
  %y = nn.elementwise div %2, %3 : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  func.return %y : tensor<*xf32>
}

// -----

// Constants that broadcast make the result larger than what the function would read.
// CHECK-LABEL: @wider
// CHECK-NOT: nn.layer_norm
// CHECK-NOT: "gelu"
func.func @wider(%x: tensor<?x1xf32>, %z: tensor<2xf32>) -> (tensor<?x2xf32>, tensor<1x2xf32>) {
  %g = nn.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %two = nn.constant dense<2.0> : tensor<f32>
  %e = nn.constant dense<0.125> : tensor<f32>
  %0 = nn.reduce mean %x {axes = array<i64: -1>, keep} : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %1 = nn.elementwise sub %x, %0 : (tensor<?x1xf32>, tensor<?x1xf32>) -> tensor<?x1xf32>
  %2 = nn.elementwise pow %1, %two : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %3 = nn.reduce mean %2 {axes = array<i64: 1>, keep} : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %4 = nn.elementwise add %3, %e : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %5 = nn.elementwise sqrt %4 : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %6 = nn.elementwise div %1, %5 : (tensor<?x1xf32>, tensor<?x1xf32>) -> tensor<?x1xf32>
  %7 = nn.elementwise mul %6, %g : (tensor<?x1xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %y = nn.elementwise add %7, %g : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>

  %root = nn.constant dense<1.41421354> : tensor<f32>
  %one = nn.constant dense<1.0> : tensor<f32>
  %half = nn.constant dense<0.5> : tensor<1x1xf32>
  %8 = nn.elementwise div %z, %root : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %9 = nn.elementwise erf %8 : (tensor<2xf32>) -> tensor<2xf32>
  %10 = nn.elementwise add %9, %one : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %11 = nn.elementwise mul %z, %10 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %w = nn.elementwise mul %11, %half : (tensor<2xf32>, tensor<1x1xf32>) -> tensor<1x2xf32>
  func.return %y, %w : tensor<?x2xf32>, tensor<1x2xf32>
}

// -----

// CHECK-LABEL: @relu
// CHECK: %a = nn.elementwise relu %x
// CHECK-NEXT: %b = nn.elementwise relu %x
// CHECK-NEXT: func.return %a, %b
func.func @relu(%x: tensor<?x2xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  %zero = nn.constant dense<0.0> : tensor<f32>
  %a = nn.elementwise max %zero, %x : (tensor<f32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %0 = nn.elementwise less_equal %x, %zero : (tensor<?x2xf32>, tensor<f32>) -> tensor<?x2xi1>
  %1 = nn.elementwise not %0 : (tensor<?x2xi1>) -> tensor<?x2xi1>
  %b = nn.elementwise where %1, %x, %zero : (tensor<?x2xi1>, tensor<?x2xf32>, tensor<f32>) -> tensor<?x2xf32>
  func.return %a, %b : tensor<?x2xf32>, tensor<?x2xf32>
}

// -----

// What is NaN would come out as NaN, not as 0; and what is not compared with 0.
// CHECK-LABEL: @no_relu
// CHECK-NOT: "relu"
func.func @no_relu(%x: tensor<?x2xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>, tensor<3x2xf32>) {
  %zero = nn.constant dense<0.0> : tensor<f32>
  %one = nn.constant dense<1.0> : tensor<f32>
  %0 = nn.elementwise greater %x, %zero : (tensor<?x2xf32>, tensor<f32>) -> tensor<?x2xi1>
  %a = nn.elementwise where %0, %x, %zero : (tensor<?x2xi1>, tensor<?x2xf32>, tensor<f32>) -> tensor<?x2xf32>
  %b = nn.elementwise max %one, %x : (tensor<f32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %1 = nn.constant dense<[1.0, -1.0]> : tensor<2xf32>
  %2 = nn.constant dense<0.0> : tensor<3x2xf32>
  %c = nn.elementwise max %1, %2 : (tensor<2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
  func.return %a, %b, %c : tensor<?x2xf32>, tensor<?x2xf32>, tensor<3x2xf32>
}

// -----

// CHECK-LABEL: @sigmoid
// CHECK: %a = nn.elementwise sigmoid %x
// CHECK-NEXT: %b = nn.elementwise sigmoid %x
// CHECK-NEXT: %c = nn.elementwise silu %x
// CHECK-NEXT: %d = nn.elementwise silu %x
// CHECK-NEXT: func.return
func.func @sigmoid(%x: tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) {
  %one = nn.constant dense<1.0> : tensor<f32>
  %0 = nn.elementwise neg %x : (tensor<2xf32>) -> tensor<2xf32>
  %1 = nn.elementwise exp %0 : (tensor<2xf32>) -> tensor<2xf32>
  %2 = nn.elementwise add %1, %one : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %a = nn.elementwise div %one, %2 : (tensor<f32>, tensor<2xf32>) -> tensor<2xf32>
  %b = nn.elementwise reciprocal %2 : (tensor<2xf32>) -> tensor<2xf32>
  %c = nn.elementwise div %x, %2 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %d = nn.elementwise mul %a, %x : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  func.return %a, %b, %c, %d : tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>
}

// -----

// CHECK-LABEL: @no_sigmoid
// CHECK-NOT: "sigmoid"
// CHECK-NOT: "silu"
func.func @no_sigmoid(%x: tensor<2xf32>, %z: tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) {
  %one = nn.constant dense<1.0> : tensor<f32>
  %two = nn.constant dense<2.0> : tensor<f32>
  %0 = nn.elementwise exp %x : (tensor<2xf32>) -> tensor<2xf32>
  %1 = nn.elementwise add %0, %one : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %a = nn.elementwise div %one, %1 : (tensor<f32>, tensor<2xf32>) -> tensor<2xf32>
  %2 = nn.elementwise neg %x : (tensor<2xf32>) -> tensor<2xf32>
  %3 = nn.elementwise exp %2 : (tensor<2xf32>) -> tensor<2xf32>
  %4 = nn.elementwise add %3, %one : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %b = nn.elementwise div %two, %4 : (tensor<f32>, tensor<2xf32>) -> tensor<2xf32>
  %c = nn.elementwise div %z, %4 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  func.return %a, %b, %c : tensor<2xf32>, tensor<2xf32>, tensor<2xf32>
}

// -----

// CHECK-LABEL: @mean
// CHECK: %a = nn.reduce mean %x {axes = array<i64: 1>, keep}
// CHECK: %b = nn.reduce mean %x {axes = array<i64: 1>}
// CHECK: func.return
func.func @mean(%x: tensor<?x4xf32>) -> (tensor<?x1xf32>, tensor<?xf32>) {
  %n = nn.constant dense<4.0> : tensor<f32>
  %part = nn.constant dense<0.25> : tensor<f32>
  %0 = nn.reduce sum %x {axes = array<i64: 1>, keep} : (tensor<?x4xf32>) -> tensor<?x1xf32>
  %a = nn.elementwise div %0, %n : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %1 = nn.reduce sum %x {axes = array<i64: 1>} : (tensor<?x4xf32>) -> tensor<?xf32>
  %b = nn.elementwise mul %part, %1 : (tensor<f32>, tensor<?xf32>) -> tensor<?xf32>
  func.return %a, %b : tensor<?x1xf32>, tensor<?xf32>
}

// -----

// A variance by N - 1, a maximum, and a number of rows that is not known.
// CHECK-LABEL: @no_mean
// CHECK-NOT: "mean"
func.func @no_mean(%x: tensor<?x4096xf32>) -> (tensor<?x1xf32>, tensor<?x1xf32>, tensor<1x4096xf32>) {
  %n = nn.constant dense<4096.0> : tensor<f32>
  %less = nn.constant dense<4095.0> : tensor<f32>
  %0 = nn.reduce sum %x {axes = array<i64: 1>, keep} : (tensor<?x4096xf32>) -> tensor<?x1xf32>
  %a = nn.elementwise div %0, %less : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %1 = nn.reduce max %x {axes = array<i64: 1>, keep} : (tensor<?x4096xf32>) -> tensor<?x1xf32>
  %b = nn.elementwise div %1, %n : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %2 = nn.reduce sum %x {axes = array<i64: 0>, keep} : (tensor<?x4096xf32>) -> tensor<1x4096xf32>
  %c = nn.elementwise div %2, %n : (tensor<1x4096xf32>, tensor<f32>) -> tensor<1x4096xf32>
  func.return %a, %b, %c : tensor<?x1xf32>, tensor<?x1xf32>, tensor<1x4096xf32>
}
