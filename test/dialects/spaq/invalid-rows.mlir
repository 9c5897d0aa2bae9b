// RUN: %invalid | filecheck %s

// CHECK: a residual without multipliers is over f32, in the shape of the input
func.func @shape(%x: tensor<?x2xf32>, %r: tensor<?x3xf32>) {
  %0 = spaq.residual %x, %r : (tensor<?x2xf32>, tensor<?x3xf32>) -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: spaq.residual: elements are f32 or i8, not i20
func.func @kinds(%x: tensor<?x2xi20>, %r: tensor<?x2xi20>) {
  %0 = spaq.residual %x, %r multiplier dense<1> : tensor<2xi32>
    : (tensor<?x2xi20>, tensor<?x2xi20>) -> tensor<?x2xi24>
  func.return
}

// -----

// CHECK: a residual of 1 columns for 2 features
func.func @narrow(%x: tensor<?x2xi20>, %r: tensor<?x1xi8>) {
  %0 = spaq.residual %x, %r multiplier dense<1> : tensor<2xi32>
    : (tensor<?x2xi20>, tensor<?x1xi8>) -> tensor<?x2xi24>
  func.return
}

// -----

// CHECK: multiplier of channel 1 is outside 0..65535
func.func @multiplier(%x: tensor<?x2xi20>, %r: tensor<?x2xi8>) {
  %0 = spaq.residual %x, %r multiplier dense<[0, 65536]> : tensor<2xi32>
    : (tensor<?x2xi20>, tensor<?x2xi8>) -> tensor<?x2xi24>
  func.return
}

// -----

// CHECK: beta has one f32 for each of the 2 features
func.func @beta(%x: tensor<?x2xf32>, %g: tensor<2xf32>, %b: tensor<3xf32>) {
  %0 = spaq.layer_norm %x, %g, %b epsilon 1.0e-05
    : (tensor<?x2xf32>, tensor<2xf32>, tensor<3xf32>) -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: epsilon is negative
func.func @epsilon(%x: tensor<?x2xf32>, %g: tensor<2xf32>) {
  %0 = spaq.layer_norm %x, %g, %g epsilon -1.0
    : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: gamma has one f32 for each of the 2 features
func.func @gamma(%x: tensor<?x2xf32>, %g: tensor<3xf32>) {
  %0 = spaq.rms_norm %x, %g epsilon 1.0e-05 : (tensor<?x2xf32>, tensor<3xf32>) -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: epsilon is negative
func.func @rms_epsilon(%x: tensor<?x2xf32>, %g: tensor<2xf32>) {
  %0 = spaq.rms_norm %x, %g epsilon -1.0 : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: an epsilon of 2 features is 0..536870911
func.func @large_epsilon(%x: tensor<?x2xi8>) {
  %0 = spaq.normalize rms %x exponent dense<0> : tensor<2xi32> epsilon 536870912
    : tensor<?x2xi8> -> tensor<?x2xi18>
  func.return
}

// -----

// CHECK: an epsilon of 2 features is 0..536870911
func.func @negative_epsilon(%x: tensor<?x2xi8>) {
  %0 = spaq.normalize %x exponent dense<0> : tensor<2xi32> epsilon -1
    : tensor<?x2xi8> -> tensor<?x2xi18>
  func.return
}

// -----

// CHECK: spaq.normalize: Expected attribute i18 but got i20
func.func @result(%x: tensor<?x2xi8>) {
  %0 = spaq.normalize %x exponent dense<0> : tensor<2xi32> : tensor<?x2xi8> -> tensor<?x2xi20>
  func.return
}

// -----

// CHECK: exponent of channel 0 is outside 0..7
func.func @exponent(%x: tensor<?x2xi8>) {
  %0 = spaq.normalize %x exponent dense<[8, 0]> : tensor<2xi32> : tensor<?x2xi8> -> tensor<?x2xi18>
  func.return
}

// -----

// CHECK: 2049 features to normalise; at most 2048
func.func @many(%x: tensor<?x2049xi8>) {
  %0 = spaq.normalize %x exponent dense<0> : tensor<2049xi32>
    : tensor<?x2049xi8> -> tensor<?x2049xi18>
  func.return
}

// -----

// CHECK: features 3..4 of 4
func.func @beyond(%x: tensor<?x4xf32>) {
  %0 = spaq.columns %x from 3 : tensor<?x4xf32> -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: column 2 of 2 features
func.func @outside(%x: tensor<?x2xi8>) {
  %0 = spaq.gather %x columns dense<2> : tensor<3xi32> : tensor<?x2xi8> -> tensor<?x3xi8>
  func.return
}

// -----

// CHECK: columns must have one entry for each of the 4 output channels
func.func @gathered(%x: tensor<?x2xi8>) {
  %0 = spaq.gather %x columns dense<1> : tensor<1xi32> : tensor<?x2xi8> -> tensor<?x4xi8>
  func.return
}

// -----

// CHECK: 4 features together, not 5
func.func @together(%x: tensor<?x2xi8>) {
  %0 = spaq.concat %x, %x : (tensor<?x2xi8>, tensor<?x2xi8>) -> tensor<?x5xi8>
  func.return
}

// -----

// CHECK: spaq.concat: attribute i8 expected from variable 'Element', but got f32
func.func @types(%x: tensor<?x2xi8>, %y: tensor<?x2xf32>) {
  %0 = spaq.concat %x, %y : (tensor<?x2xi8>, tensor<?x2xf32>) -> tensor<?x4xi8>
  func.return
}

// -----

// CHECK: 5 features are no gates and values
func.func @odd(%x: tensor<?x5xf32>) {
  %0 = spaq.gate "silu" %x : tensor<?x5xf32> -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: spaq.gate of this input is of tensor<?x2xi16>
func.func @bits(%x: tensor<?x4xi8>) {
  %0 = spaq.gate "silu" %x table dense<1> : tensor<256xi8> : tensor<?x4xi8> -> tensor<?x2xi20>
  func.return
}

// -----

// CHECK: spaq.gate over i8 needs a table of 256 i8 entries
func.func @table(%x: tensor<?x4xi8>) {
  %0 = spaq.gate "silu" %x : tensor<?x4xi8> -> tensor<?x2xi16>
  func.return
}
