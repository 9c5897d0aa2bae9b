// RUN: %invalid | filecheck %s

// Rows that share exponents.

// CHECK: a reach of 1..7 bits, not 8
func.func @reach(%x: tensor<?x2xi16>) {
  %q, %e = spaq.requantize_rows %x multiplier dense<3> : tensor<2xi32>
    shift dense<9> : tensor<2xi32> reach 8 : tensor<?x2xi16> -> tensor<?x2xi8>, tensor<?x1xi8>
  func.return
}

// -----

// CHECK: a token has one exponent
func.func @exponents(%x: tensor<?x2xi16>) {
  %q, %e = spaq.requantize_rows %x multiplier dense<3> : tensor<2xi32>
    shift dense<9> : tensor<2xi32> reach 3 : tensor<?x2xi16> -> tensor<?x2xi8>, tensor<?x2xi8>
  func.return
}

// -----

// CHECK: input and result differ in shape
func.func @shape(%x: tensor<?x2xi16>) {
  %q, %e = spaq.requantize_rows %x multiplier dense<3> : tensor<3xi32>
    shift dense<9> : tensor<3xi32> reach 3 : tensor<?x2xi16> -> tensor<?x3xi8>, tensor<?x1xi8>
  func.return
}

// -----

// CHECK: shift of channel 0 is outside 1..47
func.func @shift(%x: tensor<?x2xi16>) {
  %q, %e = spaq.requantize_rows %x multiplier dense<3> : tensor<2xi32>
    shift dense<0> : tensor<2xi32> reach 3 : tensor<?x2xi16> -> tensor<?x2xi8>, tensor<?x1xi8>
  func.return
}

// -----

// CHECK: a token has one exponent
func.func @one(%x: tensor<?x2xi16>, %e: tensor<?x2xi8>) {
  %0 = spaq.scale_rows %x, %e reach 3 : (tensor<?x2xi16>, tensor<?x2xi8>) -> tensor<?x2xi19>
  func.return
}

// -----

// CHECK: rows are scaled over f32 alone, or over integers of 8..32 bits
func.func @kinds(%x: tensor<?x2xi16>, %e: tensor<?x1xi8>) {
  %0 = spaq.scale_rows %x, %e reach 3 : (tensor<?x2xi16>, tensor<?x1xi8>) -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: a reach is 1..7 bits
func.func @calibrated(%x: tensor<?x2xf32>) {
  %0 = spaq.calibrated %x absmax 2.0 reach 0 : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return
}
