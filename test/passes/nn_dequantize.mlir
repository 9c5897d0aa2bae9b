// RUN: daqkf-opt %s -p nn-dequantize --split-input-file | filecheck %s
// RUN: daqkf-opt %s -p 'nn-dequantize{requantize=true}' --split-input-file | filecheck %s --check-prefix=ANEW

// A rounding stays with its saturation. Without it, levels of ±127·0.5 are bounds.
// CHECK-LABEL: @pair
// CHECK: nn.quantize
// CHECK-NEXT: nn.dequantize
// ANEW-LABEL: @pair
// ANEW-NEXT: %0 = nn.constant dense<-6.550000e+01> : tensor<f32>
// ANEW-NEXT: %r = nn.elementwise max %x, %0
// ANEW-NEXT: %1 = nn.constant dense<6.200000e+01> : tensor<f32>
// ANEW-NEXT: %r_1 = nn.elementwise min %r, %1
// ANEW-NEXT: func.return %r_1
func.func @pair(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %s = nn.constant dense<0.5> : tensor<f32>
  %z = nn.constant dense<3> : tensor<i8>
  %s2 = nn.constant dense<0.5> : tensor<f32>
  %q = nn.quantize %x, %s, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<i8>) -> tensor<?x2xi8>
  %r = nn.dequantize %q, %s2, %z {axis = 1 : i64} : (tensor<?x2xi8>, tensor<f32>, tensor<i8>) -> tensor<?x2xf32>
  func.return %r : tensor<?x2xf32>
}

// -----

// The zero point at the low end is a ReLU.
// ANEW-LABEL: @relu
// ANEW-NEXT: %r = nn.elementwise relu %x
// ANEW-NEXT: %0 = nn.constant dense<1.275000e+02> : tensor<f32>
// ANEW-NEXT: nn.elementwise min %r, %0
func.func @relu(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %s = nn.constant dense<0.5> : tensor<f32>
  %z = nn.constant dense<0> : tensor<ui8>
  %q = nn.quantize %x, %s, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<ui8>) -> tensor<?x2xui8>
  %r = nn.dequantize %q, %s, %z {axis = 1 : i64} : (tensor<?x2xui8>, tensor<f32>, tensor<ui8>) -> tensor<?x2xf32>
  func.return %r : tensor<?x2xf32>
}

// -----

// What is between 0 and 1 reaches no bound.
// ANEW-LABEL: @within
// ANEW-NEXT: %g = nn.elementwise sigmoid %x
// ANEW-NEXT: func.return %g
func.func @within(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %s = nn.constant dense<0.0078125> : tensor<f32>
  %z = nn.constant dense<0> : tensor<ui8>
  %g = nn.elementwise sigmoid %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %q = nn.quantize %g, %s, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<ui8>) -> tensor<?x2xui8>
  %r = nn.dequantize %q, %s, %z {axis = 1 : i64} : (tensor<?x2xui8>, tensor<f32>, tensor<ui8>) -> tensor<?x2xf32>
  func.return %r : tensor<?x2xf32>
}

// -----

// With another scale it is something else.
// ANEW-LABEL: @other
// ANEW: nn.quantize
// ANEW: nn.dequantize
func.func @other(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %s = nn.constant dense<0.5> : tensor<f32>
  %z = nn.constant dense<3> : tensor<i8>
  %s2 = nn.constant dense<0.25> : tensor<f32>
  %q = nn.quantize %x, %s, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<i8>) -> tensor<?x2xi8>
  %r = nn.dequantize %q, %s2, %z {axis = 1 : i64} : (tensor<?x2xi8>, tensor<f32>, tensor<i8>) -> tensor<?x2xf32>
  func.return %r : tensor<?x2xf32>
}

// -----

// Constants are rounded to even, and clipped to the range of the type: here 7 of i4.
// CHECK-LABEL: @constants
// CHECK-NEXT: %w = nn.constant {node = "w"} dense<[[1.000000e+00, -2.000000e+00], [3.500000e+00, 1.000000e+00]]> : tensor<2x2xf32>
// CHECK-NEXT: func.return %w
func.func @constants() -> tensor<2x2xf32> {
  %w = nn.constant {node = "w"} dense<[[1.25, -0.5], [9.0, 0.25]]> : tensor<2x2xf32>
  %s = nn.constant dense<[0.5, 0.25]> : tensor<2xf32>
  %s2 = nn.constant dense<[0.5, 1.0]> : tensor<2xf32>
  %z = nn.constant dense<0> : tensor<i4>
  %q = nn.quantize %w, %s, %z {axis = 1 : i64} : (tensor<2x2xf32>, tensor<2xf32>, tensor<i4>) -> tensor<2x2xi4>
  %z2 = nn.constant dense<[0, 0]> : tensor<2xi4>
  %r = nn.dequantize %q, %s2, %z2 {axis = 1 : i64} : (tensor<2x2xi4>, tensor<2xf32>, tensor<2xi4>) -> tensor<2x2xf32>
  func.return %r : tensor<2x2xf32>
}

// -----

// The range of the levels is that of what is quantised, and nothing saturates. The scale of the
// weights, here 0.5 · [1, 4], is theirs.
// CHECK-LABEL: @dynamic
// CHECK-NEXT: %w = nn.constant {node = "w"} dense<[[5.000000e-01, -2.000000e+00], [1.000000e+00, 6.000000e+00]]> : tensor<2x2xf32>
// CHECK-NEXT: %p = nn.matmul %x, %w {node = "up"}
// CHECK-NEXT: func.return %p
func.func @dynamic(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %low = nn.reduce min %x {axes = array<i64: 0, 1>} : (tensor<?x2xf32>) -> tensor<f32>
  %high = nn.reduce max %x {axes = array<i64: 0, 1>} : (tensor<?x2xf32>) -> tensor<f32>
  %zero = nn.constant dense<0.0> : tensor<f32>
  %l = nn.elementwise min %low, %zero : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %h = nn.elementwise max %high, %zero : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %range = nn.elementwise sub %h, %l : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %steps = nn.constant dense<255.0> : tensor<f32>
  %step = nn.elementwise div %range, %steps : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %flat = nn.elementwise equal %step, %zero : (tensor<f32>, tensor<f32>) -> tensor<i1>
  %s = nn.elementwise where %flat, %steps, %step : (tensor<i1>, tensor<f32>, tensor<f32>) -> tensor<f32>
  %first = nn.constant dense<0> : tensor<ui8>
  %n = nn.elementwise neg %l : (tensor<f32>) -> tensor<f32>
  %z = nn.quantize %n, %s, %first {axis = 0 : i64} : (tensor<f32>, tensor<f32>, tensor<ui8>) -> tensor<ui8>
  %q = nn.quantize %x, %s, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<ui8>) -> tensor<?x2xui8>
  %c = nn.cast %q : (tensor<?x2xui8>) -> tensor<?x2xi32>
  %o = nn.cast %z : (tensor<ui8>) -> tensor<i32>
  %d = nn.elementwise sub %c, %o : (tensor<?x2xi32>, tensor<i32>) -> tensor<?x2xi32>
  %w = nn.constant {node = "w"} dense<[[1, -1], [2, 3]]> : tensor<2x2xi32>
  %p = nn.matmul %d, %w {node = "up"} : (tensor<?x2xi32>, tensor<2x2xi32>) -> tensor<?x2xi32>
  %f = nn.cast %p : (tensor<?x2xi32>) -> tensor<?x2xf32>
  %half = nn.constant dense<0.5> : tensor<f32>
  %t = nn.constant dense<[1.0, 4.0]> : tensor<2xf32>
  %0 = nn.elementwise mul %s, %half : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %1 = nn.elementwise mul %0, %t : (tensor<f32>, tensor<2xf32>) -> tensor<2xf32>
  %y = nn.elementwise mul %f, %1 : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  func.return %y : tensor<?x2xf32>
}

// -----

// A zero point that is not that of the range: what is below it saturates, and stays so.
// CHECK-LABEL: @other_range
// CHECK: %q = nn.quantize %x
// CHECK: nn.dequantize %q
// CHECK: nn.matmul
func.func @other_range(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %low = nn.reduce min %x {axes = array<i64: 0, 1>} : (tensor<?x2xf32>) -> tensor<f32>
  %high = nn.reduce max %x {axes = array<i64: 0, 1>} : (tensor<?x2xf32>) -> tensor<f32>
  %range = nn.elementwise sub %high, %low : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %steps = nn.constant dense<255.0> : tensor<f32>
  %step = nn.elementwise div %range, %steps : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %zero = nn.constant dense<0.0> : tensor<f32>
  %flat = nn.elementwise equal %step, %zero : (tensor<f32>, tensor<f32>) -> tensor<i1>
  %s = nn.elementwise where %flat, %steps, %step : (tensor<i1>, tensor<f32>, tensor<f32>) -> tensor<f32>
  %z = nn.constant dense<3> : tensor<ui8>
  %q = nn.quantize %x, %s, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<ui8>) -> tensor<?x2xui8>
  %c = nn.cast %q : (tensor<?x2xui8>) -> tensor<?x2xi32>
  %o = nn.constant dense<3> : tensor<i32>
  %d = nn.elementwise sub %c, %o : (tensor<?x2xi32>, tensor<i32>) -> tensor<?x2xi32>
  %w = nn.constant {node = "w"} dense<[[1, -1], [2, 3]]> : tensor<2x2xi32>
  %p = nn.matmul %d, %w {node = "up"} : (tensor<?x2xi32>, tensor<2x2xi32>) -> tensor<?x2xi32>
  %f = nn.cast %p : (tensor<?x2xi32>) -> tensor<?x2xf32>
  %half = nn.constant dense<0.5> : tensor<f32>
  %t = nn.constant dense<[1.0, 4.0]> : tensor<2xf32>
  %0 = nn.elementwise mul %s, %half : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %1 = nn.elementwise mul %0, %t : (tensor<f32>, tensor<2xf32>) -> tensor<2xf32>
  %y = nn.elementwise mul %f, %1 : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  func.return %y : tensor<?x2xf32>
}

// -----

// Another scale may saturate, and the rounding stays in front of the product.
// CHECK-LABEL: @product
// CHECK: [[Q:%.*]] = nn.quantize %x, %s, %z
// CHECK-NEXT: [[D:%.*]] = nn.dequantize [[Q]], %s, %z
// CHECK-NEXT: %w = nn.constant {node = "w"} dense<[[5.000000e-01, -5.000000e-01], [1.000000e+00, 1.500000e+00]]> : tensor<2x2xf32>
// CHECK-NEXT: [[P:%.*]] = nn.matmul [[D]], %w {node = "up"}
// CHECK-NEXT: func.return [[P]]
func.func @product(%x: tensor<?x2xf32>, %s: tensor<f32>) -> tensor<?x2xf32> {
  %z = nn.constant dense<3> : tensor<ui8>
  %q = nn.quantize %x, %s, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<ui8>) -> tensor<?x2xui8>
  %c = nn.cast %q : (tensor<?x2xui8>) -> tensor<?x2xi32>
  %o = nn.constant dense<3> : tensor<i32>
  %d = nn.elementwise sub %c, %o : (tensor<?x2xi32>, tensor<i32>) -> tensor<?x2xi32>
  %w = nn.constant {node = "w"} dense<[[1, -1], [2, 3]]> : tensor<2x2xi32>
  %p = nn.matmul %d, %w {node = "up"} : (tensor<?x2xi32>, tensor<2x2xi32>) -> tensor<?x2xi32>
  %f = nn.cast %p : (tensor<?x2xi32>) -> tensor<?x2xf32>
  %half = nn.constant dense<0.5> : tensor<f32>
  %0 = nn.elementwise mul %s, %half : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %y = nn.elementwise mul %f, %0 : (tensor<?x2xf32>, tensor<f32>) -> tensor<?x2xf32>
  func.return %y : tensor<?x2xf32>
}

// -----

// Without the scale of the activations, or with another zero point, it is something else.
// CHECK-LABEL: @something
// CHECK-COUNT-2: nn.cast
func.func @something(%x: tensor<?x2xf32>, %s: tensor<f32>) -> tensor<?x2xf32> {
  %z = nn.constant dense<3> : tensor<ui8>
  %q = nn.quantize %x, %s, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<ui8>) -> tensor<?x2xui8>
  %c = nn.cast %q : (tensor<?x2xui8>) -> tensor<?x2xi32>
  %o = nn.constant dense<4> : tensor<i32>
  %d = nn.elementwise sub %c, %o : (tensor<?x2xi32>, tensor<i32>) -> tensor<?x2xi32>
  %w = nn.constant dense<[[1, -1], [2, 3]]> : tensor<2x2xi32>
  %p = nn.matmul %d, %w : (tensor<?x2xi32>, tensor<2x2xi32>) -> tensor<?x2xi32>
  %f = nn.cast %p : (tensor<?x2xi32>) -> tensor<?x2xf32>
  %y = nn.elementwise mul %f, %s : (tensor<?x2xf32>, tensor<f32>) -> tensor<?x2xf32>
  func.return %y : tensor<?x2xf32>
}
