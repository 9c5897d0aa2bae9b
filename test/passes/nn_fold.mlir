// RUN: daqkf-opt %s -p nn-fold --split-input-file | filecheck %s

// A batch normalisation behind a convolution: its scale goes into the weights, its shift into the
// bias, and the transposition behind the function.
// CHECK-LABEL: @convolution
// CHECK-NEXT: %r = nn.im2col %x
// CHECK-NEXT: %w = nn.constant {node = "w"} dense<{{\[\[}}2.000000e+00, 8.000000e+00], [6.000000e+00, 1.600000e+01]]>
// CHECK-NEXT: %p = nn.matmul %r, %w : (tensor<?x3x2xf32>, tensor<2x2xf32>) -> tensor<?x3x2xf32>
// CHECK-NEXT: %t = nn.constant dense<[1.250000e+00, 4.500000e+00]> : tensor<2xf32>
// CHECK-NEXT: %e = nn.elementwise add %p, %t
// CHECK-NEXT: %f = nn.elementwise relu %e : (tensor<?x3x2xf32>) -> tensor<?x3x2xf32>
// CHECK-NEXT: %f_1 = nn.transpose %f {axes = array<i64: 0, 2, 1>}
// CHECK-NEXT: func.return %f_1
func.func @convolution(%x: tensor<?x1x4xf32>) -> tensor<?x2x3xf32> {
  %w = nn.constant {node = "w"} dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %b = nn.constant dense<[0.5, 1.0]> : tensor<2xf32>
  %s = nn.constant dense<[[2.0], [4.0]]> : tensor<2x1xf32>
  %t = nn.constant dense<[[[0.25], [0.5]]]> : tensor<1x2x1xf32>
  %r = nn.im2col %x {kernel = array<i64: 2>, strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, fill = 0.0 : f64} : (tensor<?x1x4xf32>) -> tensor<?x3x2xf32>
  %p = nn.matmul %r, %w : (tensor<?x3x2xf32>, tensor<2x2xf32>) -> tensor<?x3x2xf32>
  %q = nn.elementwise add %p, %b : (tensor<?x3x2xf32>, tensor<2xf32>) -> tensor<?x3x2xf32>
  %c = nn.transpose %q {axes = array<i64: 0, 2, 1>} : (tensor<?x3x2xf32>) -> tensor<?x2x3xf32>
  %d = nn.elementwise mul %c, %s : (tensor<?x2x3xf32>, tensor<2x1xf32>) -> tensor<?x2x3xf32>
  %e = nn.elementwise add %d, %t : (tensor<?x2x3xf32>, tensor<1x2x1xf32>) -> tensor<?x2x3xf32>
  %f = nn.elementwise relu %e : (tensor<?x2x3xf32>) -> tensor<?x2x3xf32>
  func.return %f : tensor<?x2x3xf32>
}

// -----

// Also by a number, by quotients and differences; and what has other readers stays as it is.
// CHECK-LABEL: @numbers
// CHECK: %w_1 = nn.constant dense<{{\[\[}}5.000000e-01, 1.000000e+00], [1.500000e+00, 2.000000e+00]]>
// CHECK-NEXT: %p = nn.matmul %x, %w_1
// CHECK-NEXT: %v = nn.constant dense<[-1.000000e+00, -3.000000e+00]>
// CHECK-NEXT: %r = nn.elementwise add %p, %v
// CHECK-NEXT: %s = nn.matmul %x, %w :
// CHECK-NEXT: %t = nn.elementwise mul %s, %n
func.func @numbers(%x: tensor<?x2xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>) {
  %w = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %n = nn.constant dense<2.0> : tensor<f32>
  %v = nn.constant dense<[1.0, 3.0]> : tensor<2xf32>
  %p = nn.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %q = nn.elementwise div %p, %n : (tensor<?x2xf32>, tensor<f32>) -> tensor<?x2xf32>
  %r = nn.elementwise sub %q, %v : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %s = nn.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %t = nn.elementwise mul %s, %n : (tensor<?x2xf32>, tensor<f32>) -> tensor<?x2xf32>
  func.return %r, %s, %t : tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>
}

// -----

// Of scalars there are no channels.
// CHECK-LABEL: @scalar
// CHECK: nn.elementwise mul
func.func @scalar(%x: tensor<f32>) -> tensor<f32> {
  %n = nn.constant dense<2.0> : tensor<f32>
  %y = nn.elementwise mul %x, %n : (tensor<f32>, tensor<f32>) -> tensor<f32>
  func.return %y : tensor<f32>
}

// -----

// Two convolutions that are added, and a function that reads a sum twice.
// CHECK-LABEL: @residual
// CHECK: %e = nn.elementwise add %a, %b
// CHECK-NEXT: %g = nn.elementwise sigmoid %e
// CHECK-NEXT: %h = nn.elementwise mul %e, %g
// CHECK-NEXT: nn.transpose %h
// CHECK-NEXT: %i = nn.elementwise add %c, %z
func.func @residual(%x: tensor<?x3x2xf32>, %y: tensor<?x3x2xf32>, %z: tensor<?x2x3xf32>) -> (tensor<?x2x3xf32>, tensor<?x2x3xf32>) {
  %w = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %a = nn.matmul %x, %w : (tensor<?x3x2xf32>, tensor<2x2xf32>) -> tensor<?x3x2xf32>
  %b = nn.matmul %y, %w : (tensor<?x3x2xf32>, tensor<2x2xf32>) -> tensor<?x3x2xf32>
  %c = nn.transpose %a {axes = array<i64: 0, 2, 1>} : (tensor<?x3x2xf32>) -> tensor<?x2x3xf32>
  %d = nn.transpose %b {axes = array<i64: 0, 2, 1>} : (tensor<?x3x2xf32>) -> tensor<?x2x3xf32>
  %e = nn.elementwise add %c, %d : (tensor<?x2x3xf32>, tensor<?x2x3xf32>) -> tensor<?x2x3xf32>
  %g = nn.elementwise sigmoid %e : (tensor<?x2x3xf32>) -> tensor<?x2x3xf32>
  %h = nn.elementwise mul %e, %g : (tensor<?x2x3xf32>, tensor<?x2x3xf32>) -> tensor<?x2x3xf32>
  %i = nn.elementwise add %c, %z : (tensor<?x2x3xf32>, tensor<?x2x3xf32>) -> tensor<?x2x3xf32>
  func.return %h, %i : tensor<?x2x3xf32>, tensor<?x2x3xf32>
}

// -----

// Integers are gathered, and padded by their zero point.
// CHECK-LABEL: @quantised
// CHECK: %r = nn.im2col %x {{.*}}fill = 7.000000e+00 : f64} : (tensor<?x1x4xui8>) -> tensor<?x3x2xui8>
// CHECK-NEXT: %d = nn.dequantize %r, %s, %z
// CHECK-NEXT: %p = nn.matmul %d, %w
// CHECK-NEXT: %q = nn.quantize %p, %s, %t {{.*}}-> tensor<?x3x2xi8>
// CHECK-NEXT: nn.transpose %q
func.func @quantised(%x: tensor<?x1x4xui8>) -> tensor<?x2x3xi8> {
  %w = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %s = nn.constant dense<0.5> : tensor<f32>
  %z = nn.constant dense<7> : tensor<ui8>
  %t = nn.constant dense<2> : tensor<i8>
  %d = nn.dequantize %x, %s, %z {axis = 1 : i64} : (tensor<?x1x4xui8>, tensor<f32>, tensor<ui8>) -> tensor<?x1x4xf32>
  %r = nn.im2col %d {kernel = array<i64: 2>, strides = array<i64: 2>, dilations = array<i64: 1>, pads = array<i64: 1, 1>, fill = 0.0 : f64} : (tensor<?x1x4xf32>) -> tensor<?x3x2xf32>
  %p = nn.matmul %r, %w : (tensor<?x3x2xf32>, tensor<2x2xf32>) -> tensor<?x3x2xf32>
  %c = nn.transpose %p {axes = array<i64: 0, 2, 1>} : (tensor<?x3x2xf32>) -> tensor<?x2x3xf32>
  %q = nn.quantize %c, %s, %t {axis = 1 : i64} : (tensor<?x2x3xf32>, tensor<f32>, tensor<i8>) -> tensor<?x2x3xi8>
  func.return %q : tensor<?x2x3xi8>
}
