// RUN: daqkf-opt %s -p nn-outline --split-input-file | filecheck %s
// RUN: daqkf-opt %s -p 'nn-outline{least=7}' --split-input-file | filecheck %s --check-prefix=LEAST

// A layer is its product, bias and function, and has the name of its weights.
// CHECK-LABEL: func.func @layer.0.up(
// CHECK-SAME: %x: tensor<?x2xf32>) -> tensor<?x3xf32> {
// CHECK-NEXT: %weights = spaq.constant dense<{{.*}}> : tensor<2x3xf32>
// CHECK-NEXT: %0 = spaq.matmul %x, %weights
// CHECK-NEXT: %bias = spaq.constant dense<5.000000e-01> : tensor<3xf32>
// CHECK-NEXT: %1 = spaq.add %0, %bias
// CHECK-NEXT: %2 = spaq.activation "relu" %1
// CHECK-NEXT: func.return %2
// CHECK-NEXT: }
// The same weights twice, the second time behind a product that two read.
// CHECK-NEXT: func.func @layer.0.up.1(%x: tensor<?x2xf32>) -> tensor<?x3xf32> attributes {node = "layer.0.up"} {
// CHECK-NEXT: %weights =
// CHECK-NEXT: %0 = spaq.matmul
// CHECK-NEXT: func.return %0
// CHECK-NEXT: }
// CHECK-NEXT: func.func @_down(%x: tensor<?x3xf32>) -> tensor<?x1xf32> attributes {node = "/down"} {
// CHECK: func.func @main
// CHECK-NEXT: %b = nn.constant
// CHECK-NEXT: %y = nn.linear @layer.0.up %x {node = "layer.0.up"} : (tensor<4x?x2xf32>) -> tensor<4x?x3xf32>
// CHECK-NEXT: %z = nn.linear @layer.0.up.1 %x {node = "layer.0.up.1"} : (tensor<4x?x2xf32>) -> tensor<4x?x3xf32>
// CHECK-NEXT: %p = nn.elementwise add %z, %b
// CHECK-NEXT: %n = nn.elementwise neg %z
// CHECK-NEXT: %d = nn.linear @_down %y {node = "_down"} : (tensor<4x?x3xf32>) -> tensor<4x?x1xf32>
// CHECK-NEXT: func.return %p, %n, %d

// LEAST-NOT: spaq
func.func @main(%x: tensor<4x?x2xf32>) -> (tensor<4x?x3xf32>, tensor<4x?x3xf32>, tensor<4x?x1xf32>) {
  %w = nn.constant {node = "layer.0.up.weight"} dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>
  %b = nn.constant dense<0.5> : tensor<3xf32>
  %0 = nn.matmul %x, %w {node = "/up/MatMul"} : (tensor<4x?x2xf32>, tensor<2x3xf32>) -> tensor<4x?x3xf32>
  %1 = nn.elementwise add %b, %0 : (tensor<3xf32>, tensor<4x?x3xf32>) -> tensor<4x?x3xf32>
  %y = nn.elementwise relu %1 : (tensor<4x?x3xf32>) -> tensor<4x?x3xf32>
  %z = nn.matmul %x, %w : (tensor<4x?x2xf32>, tensor<2x3xf32>) -> tensor<4x?x3xf32>
  %p = nn.elementwise add %z, %b : (tensor<4x?x3xf32>, tensor<3xf32>) -> tensor<4x?x3xf32>
  %n = nn.elementwise neg %z : (tensor<4x?x3xf32>) -> tensor<4x?x3xf32>
  %v = nn.constant dense<1.0> : tensor<3x1xf32>
  %d = nn.matmul %y, %v {node = "/down/MatMul"} : (tensor<4x?x3xf32>, tensor<3x1xf32>) -> tensor<4x?x1xf32>
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
