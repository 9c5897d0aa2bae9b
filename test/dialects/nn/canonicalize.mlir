// RUN: daqkf-opt %s -p canonicalize --split-input-file | filecheck %s

// What gives what it reads falls away, and what nothing reads.
// CHECK-LABEL: @identities
// CHECK-NEXT: func.return %x, %x, %x, %x, %x, %y, %y, %y, %x
func.func @identities(%x: tensor<?x3xf32>, %y: tensor<2x3xf32>, %n: tensor<?xi64>)
    -> (tensor<?x3xf32>, tensor<?x3xf32>, tensor<?x3xf32>, tensor<?x3xf32>, tensor<?x3xf32>,
        tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3xf32>, tensor<?x3xf32>) {
  %dead = nn.elementwise neg %x : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %w = nn.constant dense<1.0> : tensor<9xf32>
  %a = nn.cast %x : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %0 = nn.transpose %x {axes = array<i64: 1, 0>} : (tensor<?x3xf32>) -> tensor<3x?xf32>
  %b = nn.transpose %0 {axes = array<i64: 1, 0>} : (tensor<3x?xf32>) -> tensor<?x3xf32>
  %e = nn.constant dense<[-1, 3]> : tensor<2xi64>
  %c = nn.reshape %x, %e : (tensor<?x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  %1 = nn.shape %x : (tensor<?x3xf32>) -> tensor<2xi64>
  %d = nn.reshape %x, %1 : (tensor<?x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  %one = nn.constant dense<[1, 3]> : tensor<2xi64>
  %f = nn.expand %x, %one : (tensor<?x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  %all = nn.constant dense<[0, 1]> : tensor<2xi64>
  %g = nn.gather %y, %all {axis = 0 : i64} : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<2x3xf32>
  %from = nn.constant dense<0> : tensor<1xi64>
  %to = nn.constant dense<3> : tensor<1xi64>
  %h = nn.slice %y, %from, %to {axes = array<i64: 1>, steps = array<i64: 1>}
    : (tensor<2x3xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x3xf32>
  %i = nn.concat %y {axis = 0 : i64} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %2 = nn.unsqueeze %x {axes = array<i64: 0>} : (tensor<?x3xf32>) -> tensor<1x?x3xf32>
  %j = nn.squeeze %2 {axes = array<i64: -3>} : (tensor<1x?x3xf32>) -> tensor<?x3xf32>
  func.return %a, %b, %c, %d, %f, %g, %h, %i, %j
    : tensor<?x3xf32>, tensor<?x3xf32>, tensor<?x3xf32>, tensor<?x3xf32>, tensor<?x3xf32>,
      tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3xf32>, tensor<?x3xf32>
}

// -----

// What may change something stays: rows in another order, an extent that may be another, a type
// that says more, a step back.
// CHECK-LABEL: @no_identities
// CHECK: nn.gather
// CHECK: nn.reshape
// CHECK: nn.expand
// CHECK: nn.slice
// CHECK: nn.slice
// CHECK: nn.cast
func.func @no_identities(%x: tensor<?x3xf32>, %y: tensor<2x3xf32>)
    -> (tensor<2x3xf32>, tensor<?x3xf32>, tensor<?x3xf32>, tensor<2x3xf32>, tensor<?x3xf32>, tensor<2x3xf32>) {
  %turned = nn.constant dense<[1, 0]> : tensor<2xi64>
  %a = nn.gather %y, %turned {axis = 0 : i64} : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<2x3xf32>
  %e = nn.constant dense<[2, 3]> : tensor<2xi64>
  %b = nn.reshape %x, %e : (tensor<?x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  %c = nn.expand %x, %e : (tensor<?x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  %from = nn.constant dense<0> : tensor<1xi64>
  %to = nn.constant dense<2> : tensor<1xi64>
  %d = nn.slice %y, %from, %to {axes = array<i64: 0>, steps = array<i64: -1>}
    : (tensor<2x3xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x3xf32>
  %f = nn.slice %x, %from, %to {axes = array<i64: 0>, steps = array<i64: 1>}
    : (tensor<?x3xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x3xf32>
  %g = nn.cast %x : (tensor<?x3xf32>) -> tensor<2x3xf32>
  func.return %a, %b, %c, %d, %f, %g
    : tensor<2x3xf32>, tensor<?x3xf32>, tensor<?x3xf32>, tensor<2x3xf32>, tensor<?x3xf32>, tensor<2x3xf32>
}

// -----

// Two transpositions are one.
// CHECK-LABEL: @orders
// CHECK-NEXT: %b = nn.transpose %x {node = "keys", axes = array<i64: 0, 2, 3, 1>}
// CHECK-NEXT: func.return %b
func.func @orders(%x: tensor<?x?x2x4xf32>) -> tensor<?x2x4x?xf32> {
  %a = nn.transpose %x {axes = array<i64: 0, 2, 1, 3>} : (tensor<?x?x2x4xf32>) -> tensor<?x2x?x4xf32>
  %b = nn.transpose %a {node = "keys", axes = array<i64: 0, 1, 3, 2>} : (tensor<?x2x?x4xf32>) -> tensor<?x2x4x?xf32>
  func.return %b : tensor<?x2x4x?xf32>
}

// -----

// What is of constants is a constant, by the name that they have.
// CHECK-LABEL: @constants
// CHECK-NEXT: %[[T:.*]] = nn.constant {node = "up.weight"} dense<{{\[\[}}1.000000e+00, 3.000000e+00], [2.000000e+00, 4.000000e+00]]> : tensor<2x2xf32>
// CHECK-NEXT: %[[P:.*]] = nn.matmul %x, %[[T]]
// CHECK-NEXT: %[[C:.*]] = nn.constant dense<[2, 3, 5]> : tensor<3xi64>
// CHECK-NEXT: %[[M:.*]] = nn.constant dense<[true, false]> : tensor<2xi1>
// CHECK-NEXT: func.return %[[P]], %[[C]], %[[M]]
func.func @constants(%x: tensor<?x2xf32>) -> (tensor<?x2xf32>, tensor<3xi64>, tensor<2xi1>) {
  %w = nn.constant {node = "up.weight"} dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %t = nn.transpose %w {node = "turn", axes = array<i64: 1, 0>} : (tensor<2x2xf32>) -> tensor<2x2xf32>
  %p = nn.matmul %x, %t : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %four = nn.constant dense<[1, 2, 3, 4]> : tensor<4xi64>
  %from = nn.constant dense<1> : tensor<1xi64>
  %to = nn.constant dense<-1> : tensor<1xi64>
  %a = nn.slice %four, %from, %to {axes = array<i64: 0>, steps = array<i64: 1>}
    : (tensor<4xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %sum = nn.reduce sum %a {axes = array<i64: 0>, keep} : (tensor<2xi64>) -> tensor<1xi64>
  %c = nn.concat %a, %sum {axis = 0 : i64} : (tensor<2xi64>, tensor<1xi64>) -> tensor<3xi64>
  %last = nn.constant dense<1> : tensor<i64>
  %two = nn.gather %a, %last {axis = 0 : i64} : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  %m = nn.elementwise less %a, %two : (tensor<2xi64>, tensor<i64>) -> tensor<2xi1>
  func.return %p, %c, %m : tensor<?x2xf32>, tensor<3xi64>, tensor<2xi1>
}

// -----

// Extents that types say are constants, one by one.
// CHECK-LABEL: @extents
// CHECK-NEXT: %[[A:.*]] = nn.constant dense<[2, 3]> : tensor<2xi64>
// CHECK-NEXT: %[[S:.*]] = nn.shape %x
// CHECK-NEXT: nn.constant dense<0>
// CHECK-NEXT: %[[C:.*]] = nn.constant dense<3> : tensor<i64>
// CHECK-NEXT: %[[D:.*]] = nn.gather %[[S]]
// CHECK-NEXT: %[[E:.*]] = nn.constant dense<3> : tensor<1xi64>
// CHECK-NEXT: func.return %[[A]], %[[C]], %[[D]], %[[E]]
func.func @extents(%x: tensor<?x3xf32>, %y: tensor<2x3xf32>) -> (tensor<2xi64>, tensor<i64>, tensor<i64>, tensor<1xi64>) {
  %a = nn.shape %y : (tensor<2x3xf32>) -> tensor<2xi64>
  %b = nn.shape %x : (tensor<?x3xf32>) -> tensor<2xi64>
  %one = nn.constant dense<1> : tensor<i64>
  %zero = nn.constant dense<0> : tensor<i64>
  %c = nn.gather %b, %one {axis = 0 : i64} : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  %d = nn.gather %b, %zero {axis = 0 : i64} : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  %from = nn.constant dense<1> : tensor<1xi64>
  %to = nn.constant dense<2> : tensor<1xi64>
  %e = nn.slice %b, %from, %to {axes = array<i64: 0>, steps = array<i64: 1>}
    : (tensor<2xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  func.return %a, %c, %d, %e : tensor<2xi64>, tensor<i64>, tensor<i64>, tensor<1xi64>
}

// -----

// No text makes constants that are large beside it: what has other readers stays, and what would
// be more than is said, or is none.
// CHECK-LABEL: @sizes
// CHECK: nn.transpose
// CHECK: nn.expand
// CHECK: nn.gather
// CHECK: nn.expand
func.func @sizes() -> (tensor<64x64xf32>, tensor<64x64xf32>, tensor<4096x4096xf32>, tensor<f32>, tensor<2xf32>) {
  %w = nn.constant dense<1.0> : tensor<64x64xf32>
  %a = nn.transpose %w {axes = array<i64: 1, 0>} : (tensor<64x64xf32>) -> tensor<64x64xf32>
  %one = nn.constant dense<1.0> : tensor<f32>
  %far = nn.constant dense<4096> : tensor<2xi64>
  %b = nn.expand %one, %far : (tensor<f32>, tensor<2xi64>) -> tensor<4096x4096xf32>
  %beyond = nn.constant dense<7> : tensor<i64>
  %vector = nn.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %c = nn.gather %vector, %beyond {axis = 0 : i64} : (tensor<2xf32>, tensor<i64>) -> tensor<f32>
  %d = nn.expand %one, %far : (tensor<f32>, tensor<2xi64>) -> tensor<2xf32>
  func.return %w, %a, %b, %c, %d : tensor<64x64xf32>, tensor<64x64xf32>, tensor<4096x4096xf32>, tensor<f32>, tensor<2xf32>
}

// -----

// Nothing is lost by scaling integers up and quantising them again.
// CHECK-LABEL: @lossless
// CHECK-NEXT: func.return %q
func.func @lossless(%q: tensor<?x2xi8>) -> tensor<?x2xi8> {
  %s = nn.constant dense<[0.5, 0.1]> : tensor<2xf32>
  %z = nn.constant dense<3> : tensor<i8>
  %x = nn.dequantize %q, %s, %z {axis = 1 : i64} : (tensor<?x2xi8>, tensor<2xf32>, tensor<i8>) -> tensor<?x2xf32>
  %y = nn.quantize %x, %s, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<2xf32>, tensor<i8>) -> tensor<?x2xi8>
  func.return %y : tensor<?x2xi8>
}

// -----

// The other way round rounds and saturates; and something is lost of 32 bits, by a scale that
// is 0 or another.
// CHECK-LABEL: @lossy
// CHECK-COUNT-4: nn.dequantize
func.func @lossy(%x: tensor<?x2xf32>, %q: tensor<?x2xi8>, %i: tensor<?x2xi32>) -> (tensor<?x2xf32>, tensor<?x2xi8>, tensor<?x2xi8>, tensor<?x2xi32>) {
  %s = nn.constant dense<0.5> : tensor<f32>
  %t = nn.constant dense<0.25> : tensor<f32>
  %o = nn.constant dense<0.0> : tensor<f32>
  %z = nn.constant dense<3> : tensor<i8>
  %zi = nn.constant dense<0> : tensor<i32>
  %0 = nn.quantize %x, %s, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<i8>) -> tensor<?x2xi8>
  %a = nn.dequantize %0, %s, %z {axis = 1 : i64} : (tensor<?x2xi8>, tensor<f32>, tensor<i8>) -> tensor<?x2xf32>
  %1 = nn.dequantize %q, %s, %z {axis = 1 : i64} : (tensor<?x2xi8>, tensor<f32>, tensor<i8>) -> tensor<?x2xf32>
  %b = nn.quantize %1, %t, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<i8>) -> tensor<?x2xi8>
  %2 = nn.dequantize %q, %o, %z {axis = 1 : i64} : (tensor<?x2xi8>, tensor<f32>, tensor<i8>) -> tensor<?x2xf32>
  %c = nn.quantize %2, %o, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<i8>) -> tensor<?x2xi8>
  %3 = nn.dequantize %i, %s, %zi {axis = 1 : i64} : (tensor<?x2xi32>, tensor<f32>, tensor<i32>) -> tensor<?x2xf32>
  %d = nn.quantize %3, %s, %zi {axis = 1 : i64} : (tensor<?x2xf32>, tensor<f32>, tensor<i32>) -> tensor<?x2xi32>
  func.return %a, %b, %c, %d : tensor<?x2xf32>, tensor<?x2xi8>, tensor<?x2xi8>, tensor<?x2xi32>
}
