// RUN: %invalid | filecheck %s

// CHECK: value and result differ in type
%c = "nn.constant"() <{value = dense<1> : tensor<2xi32>}> : () -> tensor<3xi32>

// -----

// CHECK: no array storage for elements of type f16
%c = nn.constant dense<1.0> : tensor<2xf16>

// -----

// CHECK: a tensor is expected, not i32
func.func @f(%x: i32) {
  %y = nn.shape %x : (i32) -> tensor<1xi64>
  func.return
}

// -----

// CHECK: no array storage for elements of type index
func.func @f(%x: tensor<2xf32>) {
  %y = nn.cast %x : (tensor<2xf32>) -> tensor<2xindex>
  func.return
}

// -----

// CHECK: add is of 2 tensors, not of 1
func.func @f(%x: tensor<2xf32>) {
  %y = nn.elementwise add %x : (tensor<2xf32>) -> tensor<2xf32>
  func.return
}

// -----

// CHECK: extents [2, 3] do not broadcast
func.func @f(%x: tensor<?x2xf32>, %y: tensor<1x3xf32>) {
  %z = nn.elementwise add %x, %y : (tensor<?x2xf32>, tensor<1x3xf32>) -> tensor<?x3xf32>
  func.return
}

// -----

// CHECK: 2 columns meet 3 rows
func.func @f(%x: tensor<?x2xf32>, %y: tensor<3x4xf32>) {
  %z = nn.matmul %x, %y : (tensor<?x2xf32>, tensor<3x4xf32>) -> tensor<?x4xf32>
  func.return
}

// -----

// CHECK: a product of scalars is none of matrices
func.func @f(%x: tensor<?x2xf32>, %y: tensor<f32>) {
  %z = nn.matmul %x, %y : (tensor<?x2xf32>, tensor<f32>) -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: no function @nowhere with a body
func.func @f(%x: tensor<?x2xf32>) {
  %y = nn.linear @nowhere %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: no function @elsewhere with a body
func.func private @elsewhere(tensor<?x2xf32>) -> tensor<?x2xf32>
func.func @f(%x: tensor<?x2xf32>) {
  %y = nn.linear @elsewhere %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: @k is no kernel of [T, K] → [T, N]
func.func @k(%x: tensor<?x2xf32>, %y: tensor<?x2xf32>) -> tensor<?x2xf32> {
  func.return %x : tensor<?x2xf32>
}
func.func @f(%x: tensor<?x2xf32>) {
  %y = nn.linear @k %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: @k has 2 columns, tensor<4x?x3xf32> has not
func.func @k(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  func.return %x : tensor<?x2xf32>
}
func.func @f(%x: tensor<4x?x2xf32>) {
  %y = nn.linear @k %x : (tensor<4x?x2xf32>) -> tensor<4x?x3xf32>
  func.return
}

// -----

// CHECK: @k has 2 columns, tensor<f32> has not
func.func @k(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  func.return %x : tensor<?x2xf32>
}
func.func @f(%x: tensor<f32>) {
  %y = nn.linear @k %x : (tensor<f32>) -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: 2 columns meet 3 rows
func.func @f(%x: tensor<?x2xf32>, %y: tensor<3x4xf32>) {
  %z = nn.product %x, %y {multiplier = 1 : i64, shift = 1 : i64, lhs_step = 0.5 : f64, rhs_step = 0.5 : f64, result_step = 1.0 : f64}
    : (tensor<?x2xf32>, tensor<3x4xf32>) -> tensor<?x4xf32>
  func.return
}

// -----

// CHECK: tensor<2xf32> is no matrix, nor many
func.func @f(%x: tensor<?x2xf32>, %y: tensor<2xf32>) {
  %z = nn.product %x, %y {multiplier = 1 : i64, shift = 1 : i64, lhs_step = 0.5 : f64, rhs_step = 0.5 : f64, result_step = 1.0 : f64}
    : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?xf32>
  func.return
}

// -----

// CHECK: steps are positive numbers, not 0.0
func.func @f(%x: tensor<2x2xf32>) {
  %z = nn.product %x, %x {multiplier = 1 : i64, shift = 1 : i64, lhs_step = 0.5 : f64, rhs_step = 0.0 : f64, result_step = 1.0 : f64}
    : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  func.return
}

// -----

// CHECK: steps are positive numbers, not inf
func.func @f(%x: tensor<2x2xf32>) {
  %z = nn.product %x, %x {multiplier = 1 : i64, shift = 1 : i64, lhs_step = 0.5 : f64, rhs_step = 0x7FF0000000000000 : f64, result_step = 1.0 : f64}
    : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  func.return
}

// -----

// CHECK: multipliers are 1..65535, not 65536
func.func @f(%x: tensor<2x2xf32>) {
  %z = nn.product %x, %x {multiplier = 65536 : i64, shift = 1 : i64, lhs_step = 0.5 : f64, rhs_step = 0.5 : f64, result_step = 1.0 : f64}
    : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  func.return
}

// -----

// CHECK: shifts are 1..47, not 48
func.func @f(%x: tensor<2x2xf32>) {
  %z = nn.product %x, %x {multiplier = 1 : i64, shift = 48 : i64, lhs_step = 0.5 : f64, rhs_step = 0.5 : f64, result_step = 1.0 : f64}
    : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  func.return
}

// -----

// CHECK: epsilon is negative
func.func @f(%x: tensor<2x2xf32>, %g: tensor<2xf32>) {
  %z = nn.layer_norm %x, %g, %g {epsilon = -1.0 : f64} : (tensor<2x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<2x2xf32>
  func.return
}

// -----

// CHECK: axis 2 of a tensor of 2 dimensions
func.func @f(%x: tensor<2x2xf32>) {
  %z = nn.softmax %x {axis = 2 : i64} : (tensor<2x2xf32>) -> tensor<2x2xf32>
  func.return
}

// -----

// CHECK: axis -3 of a tensor of 2 dimensions
func.func @f(%x: tensor<2x2xf32>) {
  %z = nn.reduce sum %x {axes = array<i64: 0, -3>} : (tensor<2x2xf32>) -> tensor<2xf32>
  func.return
}

// -----

// CHECK: Expected attribute i64 but got i32
func.func @f(%x: tensor<2x2xf32>) {
  %z = nn.reduce sum %x {axes = array<i32: 0>} : (tensor<2x2xf32>) -> tensor<2xf32>
  func.return
}

// -----

// CHECK: axis 2 of a tensor of 2 dimensions
func.func @f(%x: tensor<?x2xf32>, %s: tensor<3xf32>, %z: tensor<3xi8>) {
  %q = nn.quantize %x, %s, %z {axis = 2 : i64} : (tensor<?x2xf32>, tensor<3xf32>, tensor<3xi8>) -> tensor<?x2xi8>
  func.return
}

// -----

// CHECK: elements are integers, not f32
func.func @f(%x: tensor<?x2xf32>, %s: tensor<f32>) {
  %q = nn.quantize %x, %s, %s {axis = 0 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<f32>) -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: quantised numbers are integers of 2 to 32 bits, not i64
func.func @f(%x: tensor<?x2xf32>, %s: tensor<f32>, %z: tensor<i64>) {
  %q = nn.quantize %x, %s, %z {axis = 0 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<i64>) -> tensor<?x2xi64>
  func.return
}

// -----

// CHECK: quantised numbers are integers of 2 to 32 bits, not i64
func.func @f(%x: tensor<?x2xi64>, %s: tensor<f32>, %z: tensor<i64>) {
  %y = nn.dequantize %x, %s, %z {axis = 0 : i64} : (tensor<?x2xi64>, tensor<f32>, tensor<i64>) -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: attribute ui8 expected from variable 'Level', but got i8
func.func @f(%x: tensor<?x2xf32>, %s: tensor<f32>, %z: tensor<ui8>) {
  %q = nn.quantize %x, %s, %z {axis = 0 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<ui8>) -> tensor<?x2xi8>
  func.return
}

// -----

// CHECK: attribute f32 expected from variable 'Scale', but got f64
func.func @f(%x: tensor<?x2xi8>, %s: tensor<f32>, %z: tensor<i8>) {
  %y = nn.dequantize %x, %s, %z {axis = 0 : i64} : (tensor<?x2xi8>, tensor<f32>, tensor<i8>) -> tensor<?x2xf64>
  func.return
}

// -----

// CHECK: [0, 0] is no order of 2 dimensions
func.func @f(%x: tensor<2x2xf32>) {
  %z = nn.transpose %x {axes = array<i64: 0, 0>} : (tensor<2x2xf32>) -> tensor<2x2xf32>
  func.return
}

// -----

// CHECK: axis 3 of a tensor of 3 dimensions
func.func @f(%x: tensor<2x2xf32>) {
  %z = nn.unsqueeze %x {axes = array<i64: 3>} : (tensor<2x2xf32>) -> tensor<2x2x1xf32>
  func.return
}

// -----

// CHECK: axis 2 of a tensor of 2 dimensions
func.func @f(%x: tensor<2x1xf32>) {
  %z = nn.squeeze %x {axes = array<i64: 2>} : (tensor<2x1xf32>) -> tensor<2xf32>
  func.return
}

// -----

// CHECK: axis 1 of a tensor of 1 dimensions
func.func @f(%x: tensor<4xf32>, %i: tensor<i64>) {
  %z = nn.gather %x, %i {axis = 1 : i64} : (tensor<4xf32>, tensor<i64>) -> tensor<f32>
  func.return
}

// -----

// CHECK: nothing to put together
func.func @f() {
  %z = nn.concat {axis = 0 : i64} : () -> tensor<0xf32>
  func.return
}

// -----

// CHECK: axis 1 of a tensor of 1 dimensions
func.func @f(%x: tensor<4xf32>) {
  %z = nn.concat %x {axis = 1 : i64} : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

// CHECK: one step for each axis
func.func @f(%x: tensor<4xf32>, %i: tensor<1xi64>) {
  %z = nn.slice %x, %i, %i {axes = array<i64: 0>, steps = array<i64: 1, 1>}
    : (tensor<4xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<?xf32>
  func.return
}

// -----

// CHECK: a step of 0
func.func @f(%x: tensor<4xf32>, %i: tensor<1xi64>) {
  %z = nn.slice %x, %i, %i {axes = array<i64: 0>, steps = array<i64: 0>}
    : (tensor<4xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<?xf32>
  func.return
}

// -----

// CHECK: axis 1 of a tensor of 1 dimensions
func.func @f(%x: tensor<4xf32>, %i: tensor<1xi64>) {
  %z = nn.slice %x, %i, %i {axes = array<i64: 1>, steps = array<i64: 1>}
    : (tensor<4xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<?xf32>
  func.return
}

// -----

// CHECK: a mask is of [B, 1, 1, L] for sequences [B, L, K], not tensor<?x2x1x?xf32> for tensor<?x?x2xf32>
func.func @k(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  func.return %x : tensor<?x2xf32>
}
func.func @f(%x: tensor<?x?x2xf32>, %m: tensor<?x2x1x?xf32>) {
  %y = nn.linear @k %x mask %m : (tensor<?x?x2xf32>, tensor<?x2x1x?xf32>) -> tensor<?x?x2xf32>
  func.return
}

// -----

// CHECK: add is of elements of one type, not of f32, i32
func.func @f(%x: tensor<2xf32>, %y: tensor<2xi32>) {
  %z = nn.elementwise add %x, %y : (tensor<2xf32>, tensor<2xi32>) -> tensor<2xf32>
  func.return
}

// -----

// CHECK: less is of elements of one type, not of f32, i32
func.func @f(%x: tensor<2xf32>, %y: tensor<2xi32>) {
  %z = nn.elementwise less %x, %y : (tensor<2xf32>, tensor<2xi32>) -> tensor<2xi1>
  func.return
}

// -----

// CHECK: equal has i1 where the elements are f32
func.func @f(%x: tensor<2xf32>) {
  %z = nn.elementwise equal %x, %x : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  func.return
}

// -----

// CHECK: and has i1 where the elements are i8
func.func @f(%x: tensor<2xi8>) {
  %z = nn.elementwise and %x, %x : (tensor<2xi8>, tensor<2xi8>) -> tensor<2xi8>
  func.return
}

// -----

// CHECK: where has i1 where the elements are f32
func.func @f(%x: tensor<2xf32>) {
  %z = nn.elementwise where %x, %x, %x : (tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  func.return
}

// -----

// CHECK: pow is of elements of one type, not of f32, f64
func.func @f(%x: tensor<2xf32>, %y: tensor<2xi64>) {
  %z = nn.elementwise pow %x, %y : (tensor<2xf32>, tensor<2xi64>) -> tensor<2xf64>
  func.return
}

// -----

// CHECK: attribute f32 expected from variable 'Element', but got i32
func.func @f(%x: tensor<2x2xf32>, %y: tensor<2x2xi32>) {
  %z = nn.matmul %x, %y : (tensor<2x2xf32>, tensor<2x2xi32>) -> tensor<2x2xf32>
  func.return
}

// -----

// CHECK: attribute f32 expected from variable 'Element', but got f64
func.func @f(%x: tensor<2x2xf32>) {
  %z = nn.transpose %x {axes = array<i64: 1, 0>} : (tensor<2x2xf32>) -> tensor<2x2xf64>
  func.return
}

// -----

// CHECK: attribute f32 expected from variable 'Element', but got i8
func.func @f(%x: tensor<2xf32>, %y: tensor<2xi8>) {
  %z = nn.concat %x, %y {axis = 0 : i64} : (tensor<2xf32>, tensor<2xi8>) -> tensor<4xf32>
  func.return
}

// -----

// CHECK: elements are f32 or f64, not i32
func.func @f(%x: tensor<2x2xi32>) {
  %z = nn.softmax %x {axis = 1 : i64} : (tensor<2x2xi32>) -> tensor<2x2xi32>
  func.return
}

// -----

// CHECK: elements are integers, not f32
func.func @f(%x: tensor<2x2xf32>) {
  %z = nn.gather %x, %x {axis = 0 : i64} : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2x2xf32>
  func.return
}

// -----

// CHECK: Expected attribute i64 but got i32
func.func @f(%x: tensor<2x2xf32>) {
  %z = nn.shape %x : (tensor<2x2xf32>) -> tensor<2xi32>
  func.return
}

// -----

// CHECK: Expected attribute f32 but got f64
func.func @k(%x: tensor<?x2xf64>) -> tensor<?x2xf64> {
  func.return %x : tensor<?x2xf64>
}
func.func @f(%x: tensor<?x2xf64>) {
  %y = nn.linear @k %x : (tensor<?x2xf64>) -> tensor<?x2xf64>
  func.return
}

// -----

// CHECK: a kernel of 1 dimensions has as many strides and dilations, and twice as many pads
func.func @f(%x: tensor<?x4x8xf32>) {
  %0 = nn.im2col %x {kernel = array<i64: 3>, strides = array<i64: 2>, dilations = array<i64: 1>, pads = array<i64: 1>, fill = 0.0 : f64} : (tensor<?x4x8xf32>) -> tensor<?x4x12xf32>
  func.return
}

// -----

// CHECK: extents, strides and dilations are at least 1
func.func @f(%x: tensor<?x4x8xf32>) {
  %0 = nn.im2col %x {kernel = array<i64: 3>, strides = array<i64: 0>, dilations = array<i64: 1>, pads = array<i64: 1, 0>, fill = 0.0 : f64} : (tensor<?x4x8xf32>) -> tensor<?x4x12xf32>
  func.return
}

// -----

// CHECK: an image is padded by at least 0 elements
func.func @f(%x: tensor<?x4x8xf32>) {
  %0 = nn.im2col %x {kernel = array<i64: 3>, strides = array<i64: 2>, dilations = array<i64: 1>, pads = array<i64: -1, 0>, fill = 0.0 : f64} : (tensor<?x4x8xf32>) -> tensor<?x4x12xf32>
  func.return
}

// -----

// CHECK: images are padded with finite numbers
func.func @f(%x: tensor<?x4x8xf32>) {
  %0 = nn.im2col %x {kernel = array<i64: 3>, strides = array<i64: 2>, dilations = array<i64: 1>, pads = array<i64: 1, 0>, fill = 0x7FF0000000000000 : f64} : (tensor<?x4x8xf32>) -> tensor<?x4x12xf32>
  func.return
}

// -----

// CHECK: has not two dimensions more than the kernel's 1
func.func @f(%x: tensor<?x8xf32>) {
  %0 = nn.im2col %x {kernel = array<i64: 3>, strides = array<i64: 2>, dilations = array<i64: 1>, pads = array<i64: 1, 0>, fill = 0.0 : f64} : (tensor<?x8xf32>) -> tensor<?x4x12xf32>
  func.return
}

// -----

// CHECK: 2 images, 3 with windows
func.func @f(%x: tensor<2x4x8xf32>) {
  %0 = nn.im2col %x {kernel = array<i64: 3>, strides = array<i64: 2>, dilations = array<i64: 1>, pads = array<i64: 1, 0>, fill = 0.0 : f64} : (tensor<2x4x8xf32>) -> tensor<3x4x12xf32>
  func.return
}

// -----

// CHECK: windows of 4 channels have 12 elements, not 13
func.func @f(%x: tensor<?x4x8xf32>) {
  %0 = nn.im2col %x {kernel = array<i64: 3>, strides = array<i64: 2>, dilations = array<i64: 1>, pads = array<i64: 1, 0>, fill = 0.0 : f64} : (tensor<?x4x8xf32>) -> tensor<?x4x13xf32>
  func.return
}

// -----

// CHECK: there are windows at {{\[}}4] positions, not at {{\[}}5]
func.func @f(%x: tensor<?x4x8xf32>) {
  %0 = nn.im2col %x {kernel = array<i64: 3>, strides = array<i64: 2>, dilations = array<i64: 1>, pads = array<i64: 1, 0>, fill = 0.0 : f64} : (tensor<?x4x8xf32>) -> tensor<?x5x12xf32>
  func.return
}

// -----

// CHECK: a window of 19 elements on 8, padded by 1 and 0
func.func @f(%x: tensor<?x4x8xf32>) {
  %0 = nn.im2col %x {kernel = array<i64: 3>, strides = array<i64: 2>, dilations = array<i64: 9>, pads = array<i64: 1, 0>, fill = 0.0 : f64} : (tensor<?x4x8xf32>) -> tensor<?x4x12xf32>
  func.return
}

// -----

// CHECK: the windows make an image of extents {{\[}}8], not {{\[}}9]
func.func @f(%x: tensor<?x4x12xf32>) {
  %0 = nn.col2im %x {kernel = array<i64: 3>, strides = array<i64: 2>, dilations = array<i64: 1>, pads = array<i64: 1, 0>} : (tensor<?x4x12xf32>) -> tensor<?x4x9xf32>
  func.return
}

// -----

// CHECK: an image of extents {{\[}}-3]
func.func @f(%x: tensor<?x4x12xf32>) {
  %0 = nn.col2im %x {kernel = array<i64: 3>, strides = array<i64: 2>, dilations = array<i64: 1>, pads = array<i64: 12, 0>} : (tensor<?x4x12xf32>) -> tensor<?x4x9xf32>
  func.return
}
