// RUN: daqkf-opt %s -p nn-outline --split-input-file | filecheck %s
// RUN: daqkf-opt %s -p 'nn-outline{least=7}' --split-input-file | filecheck %s --check-prefix=LEAST
// RUN: daqkf-opt %s -p 'nn-outline{host="block.up"}' --split-input-file | filecheck %s --check-prefix=HOST

// HOST-NOT: func.func @block.up(
// HOST: nn.matmul {{.*}}host = "int8 is too coarse for it"
// HOST: func.func @

// A layer is its product, bias and function, and has the name of its node.
// CHECK-LABEL: func.func @block.up(
// CHECK-SAME: %x: tensor<?x2xf32>) -> tensor<?x3xf32> {
// CHECK-NEXT: %weights = spaq.constant dense<{{.*}}> : tensor<2x3xf32>
// CHECK-NEXT: %0 = spaq.matmul %x, %weights
// CHECK-NEXT: %bias = spaq.constant dense<5.000000e-01> : tensor<3xf32>
// CHECK-NEXT: %1 = spaq.add %0, %bias
// CHECK-NEXT: %2 = spaq.activation "relu" %1
// CHECK-NEXT: func.return %2
// CHECK-NEXT: }
// The same weights twice, the second time behind a product that two read, and that a tool has
// named, so that the name is that of the weights.
// CHECK-NEXT: func.func @layer.0.up(%x: tensor<?x2xf32>) -> tensor<?x3xf32> {
// CHECK-NEXT: %weights =
// CHECK-NEXT: %0 = spaq.matmul
// CHECK-NEXT: func.return %0
// CHECK-NEXT: }
// CHECK-NEXT: func.func @down_proj(%x: tensor<?x3xf32>) -> tensor<?x1xf32> attributes {node = "down/proj"} {
// CHECK: func.func @main
// CHECK-NEXT: %b = nn.constant
// CHECK-NEXT: %y = nn.linear @block.up %x {node = "block.up"} : (tensor<4x?x2xf32>) -> tensor<4x?x3xf32>
// CHECK-NEXT: %z = nn.linear @layer.0.up %x {node = "layer.0.up"} : (tensor<4x?x2xf32>) -> tensor<4x?x3xf32>
// CHECK-NEXT: %p = nn.elementwise add %z, %b
// CHECK-NEXT: %n = nn.elementwise neg %z
// CHECK-NEXT: %d = nn.linear @down_proj %y {node = "down_proj"} : (tensor<4x?x3xf32>) -> tensor<4x?x1xf32>
// CHECK-NEXT: func.return %p, %n, %d

// LEAST-NOT: spaq
func.func @main(%x: tensor<4x?x2xf32>) -> (tensor<4x?x3xf32>, tensor<4x?x3xf32>, tensor<4x?x1xf32>) {
  %w = nn.constant {node = "layer.0.up.weight"} dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>
  %b = nn.constant dense<0.5> : tensor<3xf32>
  %0 = nn.matmul %x, %w {node = "block.up/MatMul"} : (tensor<4x?x2xf32>, tensor<2x3xf32>) -> tensor<4x?x3xf32>
  %1 = nn.elementwise add %b, %0 : (tensor<3xf32>, tensor<4x?x3xf32>) -> tensor<4x?x3xf32>
  %y = nn.elementwise relu %1 : (tensor<4x?x3xf32>) -> tensor<4x?x3xf32>
  %z = nn.matmul %x, %w {node = "node_MatMul_7"} : (tensor<4x?x2xf32>, tensor<2x3xf32>) -> tensor<4x?x3xf32>
  %p = nn.elementwise add %z, %b : (tensor<4x?x3xf32>, tensor<3xf32>) -> tensor<4x?x3xf32>
  %n = nn.elementwise neg %z : (tensor<4x?x3xf32>) -> tensor<4x?x3xf32>
  %v = nn.constant dense<1.0> : tensor<3x1xf32>
  %d = nn.matmul %y, %v {node = "/down/proj/Gemm_1"} : (tensor<4x?x3xf32>, tensor<3x1xf32>) -> tensor<4x?x1xf32>
  func.return %p, %n, %d : tensor<4x?x3xf32>, tensor<4x?x3xf32>, tensor<4x?x1xf32>
}

// -----

// Not a layer: a product of activations, of many matrices, on the left, and of doubles.
// CHECK-LABEL: @others
// CHECK-NOT: nn.linear
func.func @others(%x: tensor<2x2xf32>, %d: tensor<2x2xf64>) -> (tensor<2x2xf32>, tensor<3x2x2xf32>, tensor<2x2xf32>, tensor<2x2xf64>) {
  %w = nn.constant dense<1.0> : tensor<2x2xf32>
  %m = nn.constant dense<1.0> : tensor<3x2x2xf32>
  %e = nn.constant dense<1.0> : tensor<2x2xf64>
  %0 = nn.matmul %x, %x : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  %1 = nn.matmul %x, %m : (tensor<2x2xf32>, tensor<3x2x2xf32>) -> tensor<3x2x2xf32>
  %2 = nn.matmul %w, %x : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  %3 = nn.matmul %d, %e : (tensor<2x2xf64>, tensor<2x2xf64>) -> tensor<2x2xf64>
  func.return %0, %1, %2, %3 : tensor<2x2xf32>, tensor<3x2x2xf32>, tensor<2x2xf32>, tensor<2x2xf64>
}

// -----

// A constant that is no bias of the channels is added on the host.
// CHECK-LABEL: func.func @kernel(
// CHECK-NOT: spaq.add
// CHECK: func.func @rows
// CHECK: nn.linear @kernel
// CHECK-NEXT: nn.elementwise add
func.func @rows(%x: tensor<3x2xf32>) -> tensor<3x1xf32> {
  %w = nn.constant dense<1.0> : tensor<2x1xf32>
  %b = nn.constant dense<[[1.0], [2.0], [3.0]]> : tensor<3x1xf32>
  %0 = nn.matmul %x, %w : (tensor<3x2xf32>, tensor<2x1xf32>) -> tensor<3x1xf32>
  %1 = nn.elementwise add %0, %b : (tensor<3x1xf32>, tensor<3x1xf32>) -> tensor<3x1xf32>
  func.return %1 : tensor<3x1xf32>
}

// -----

// A file's levels: the kernel rounds what it reads and gives by the scales stated. int8 is 128 below
// uint8, which the bias makes up for: 128 · 0.5 · (3, 2), less 128 · 0.25 for the results.
// CHECK-LABEL: func.func @kernel(
// CHECK-NEXT: %0 = spaq.quantize %x scale 5.000000e-01
// CHECK-NEXT: %1 = spaq.dequantize %0 scale 5.000000e-01
// CHECK-NEXT: %weights =
// CHECK-NEXT: %2 = spaq.matmul %1, %weights
// CHECK-NEXT: %bias = spaq.constant dense<[1.610000e+02, 9.800000e+01]>
// CHECK-NEXT: %3 = spaq.add %2, %bias
// CHECK-NEXT: %4 = spaq.quantize %3 scale 2.500000e-01
// CHECK-NEXT: %5 = spaq.dequantize %4 scale 2.500000e-01
// CHECK-NEXT: func.return %5
// CHECK: func.func @levels
// CHECK: %d = nn.dequantize %q, %s, %0
// CHECK-NEXT: %r = nn.linear @kernel %d
// CHECK-NEXT: %1 = nn.constant dense<128> : tensor<ui8>
// CHECK-NEXT: %p = nn.quantize %r, %t, %1
// CHECK-NEXT: %y = nn.dequantize %p, %t, %z
func.func @levels(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %s = nn.constant dense<0.5> : tensor<f32>
  %t = nn.constant dense<0.25> : tensor<f32>
  %z = nn.constant dense<0> : tensor<ui8>
  %w = nn.constant dense<[[1.0, -1.0], [2.0, 3.0]]> : tensor<2x2xf32>
  %b = nn.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %q = nn.quantize %x, %s, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<ui8>) -> tensor<?x2xui8>
  %d = nn.dequantize %q, %s, %z {axis = 1 : i64} : (tensor<?x2xui8>, tensor<f32>, tensor<ui8>) -> tensor<?x2xf32>
  %m = nn.matmul %d, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %a = nn.elementwise add %m, %b : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %r = nn.elementwise relu %a : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %p = nn.quantize %r, %t, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<ui8>) -> tensor<?x2xui8>
  %y = nn.dequantize %p, %t, %z {axis = 1 : i64} : (tensor<?x2xui8>, tensor<f32>, tensor<ui8>) -> tensor<?x2xf32>
  func.return %y : tensor<?x2xf32>
}

// -----

// int8 without zero points is the array's, and the kernel reads what the file quantises. A function
// between two roundings becomes the kernel's; levels of i4 have the host's saturation besides.
// CHECK-LABEL: func.func @kernel(
// CHECK-NEXT: spaq.quantize %x scale 5.000000e-01
// CHECK-NEXT: spaq.dequantize
// CHECK: spaq.matmul
// CHECK-NEXT: spaq.quantize {{.*}} scale 2.500000e-01
// CHECK-NEXT: spaq.dequantize
// CHECK-NEXT: spaq.activation "tanh"
// CHECK-NEXT: spaq.quantize {{.*}} scale 1.250000e-01
// CHECK-NEXT: [[Y:%.*]] = spaq.dequantize
// CHECK-NEXT: func.return [[Y]]
// CHECK: func.func @between
// CHECK: %g = nn.linear @kernel %x
// CHECK: nn.quantize %g, {{.*}} -> tensor<?x2xi4>
func.func @between(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %s = nn.constant dense<0.5> : tensor<f32>
  %t = nn.constant dense<0.25> : tensor<f32>
  %u = nn.constant dense<0.125> : tensor<f32>
  %z = nn.constant dense<0> : tensor<i8>
  %n = nn.constant dense<0> : tensor<i4>
  %w = nn.constant dense<[[1.0, -1.0], [2.0, 3.0]]> : tensor<2x2xf32>
  %q = nn.quantize %x, %s, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<i8>) -> tensor<?x2xi8>
  %d = nn.dequantize %q, %s, %z {axis = 1 : i64} : (tensor<?x2xi8>, tensor<f32>, tensor<i8>) -> tensor<?x2xf32>
  %m = nn.matmul %d, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %p = nn.quantize %m, %t, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<i8>) -> tensor<?x2xi8>
  %r = nn.dequantize %p, %t, %z {axis = 1 : i64} : (tensor<?x2xi8>, tensor<f32>, tensor<i8>) -> tensor<?x2xf32>
  %g = nn.elementwise tanh %r : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %o = nn.quantize %g, %u, %n {axis = 1 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<i4>) -> tensor<?x2xi4>
  %y = nn.dequantize %o, %u, %n {axis = 1 : i64} : (tensor<?x2xi4>, tensor<f32>, tensor<i4>) -> tensor<?x2xf32>
  func.return %y : tensor<?x2xf32>
}
