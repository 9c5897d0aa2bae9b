// RUN: daqkf-opt %s -p nn-dequantize --split-input-file | filecheck %s

// What is quantised and scaled up again at once goes on as it was.
// CHECK-LABEL: @pair
// CHECK-NEXT: %y = nn.elementwise relu %x
// CHECK-NEXT: func.return %y
func.func @pair(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %s = nn.constant dense<0.5> : tensor<f32>
  %z = nn.constant dense<3> : tensor<i8>
  %s2 = nn.constant dense<0.5> : tensor<f32>
  %q = nn.quantize %x, %s, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<i8>) -> tensor<?x2xi8>
  %r = nn.dequantize %q, %s2, %z {axis = 1 : i64} : (tensor<?x2xi8>, tensor<f32>, tensor<i8>) -> tensor<?x2xf32>
  %y = nn.elementwise relu %r : (tensor<?x2xf32>) -> tensor<?x2xf32>
  func.return %y : tensor<?x2xf32>
}

// -----

// With another scale it does not.
// CHECK-LABEL: @other
// CHECK: nn.quantize
// CHECK: nn.dequantize
func.func @other(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %s = nn.constant dense<0.5> : tensor<f32>
  %z = nn.constant dense<3> : tensor<i8>
  %s2 = nn.constant dense<0.25> : tensor<f32>
  %q = nn.quantize %x, %s, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<i8>) -> tensor<?x2xi8>
  %r = nn.dequantize %q, %s2, %z {axis = 1 : i64} : (tensor<?x2xi8>, tensor<f32>, tensor<i8>) -> tensor<?x2xf32>
  func.return %r : tensor<?x2xf32>
}

// -----

// The scale of the activations cancels; that of the weights, here 0.5 · [1, 4], is theirs.
// CHECK-LABEL: @product
// CHECK-NEXT: %w = nn.constant {node = "w"} dense<[[5.000000e-01, -2.000000e+00], [1.000000e+00, 6.000000e+00]]> : tensor<2x2xf32>
// CHECK-NEXT: %p = nn.matmul %x, %w {node = "up"}
// CHECK-NEXT: func.return %p
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
  %t = nn.constant dense<[1.0, 4.0]> : tensor<2xf32>
  %0 = nn.elementwise mul %s, %half : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %1 = nn.elementwise mul %0, %t : (tensor<f32>, tensor<2xf32>) -> tensor<2xf32>
  %y = nn.elementwise mul %f, %1 : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
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
