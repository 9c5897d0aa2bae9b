// RUN: daqkf-opt %s -p canonicalize | filecheck %s

// Nothing is lost between int8 and the same int8, with one scale or with one for each feature.
// CHECK-LABEL: @same_scales
// CHECK-NEXT: %0 = spaq.concat %x, %x
// CHECK-NEXT: func.return %0
func.func @same_scales(%x: tensor<?x2xi8>) -> tensor<?x4xi8> {
  %0 = spaq.dequantize %x scale 0.1 : tensor<?x2xi8> -> tensor<?x2xf32>
  %1 = spaq.quantize %0 scale 0.1 : tensor<?x2xf32> -> tensor<?x2xi8>
  %2 = spaq.dequantize %x scale dense<[0.1, 0.3]> : tensor<2xf64> : tensor<?x2xi8> -> tensor<?x2xf32>
  %3 = spaq.quantize %2 scale dense<[0.1, 0.3]> : tensor<2xf64> : tensor<?x2xf32> -> tensor<?x2xi8>
  %4 = spaq.concat %1, %3 : (tensor<?x2xi8>, tensor<?x2xi8>) -> tensor<?x4xi8>
  func.return %4 : tensor<?x4xi8>
}

// Other scales round anew, and extra columns share out a value anew.
// CHECK-LABEL: @kept
// CHECK-COUNT-2: spaq.quantize
func.func @kept(%x: tensor<?x2xi8>, %z: tensor<?x3xi8>) -> (tensor<?x2xi8>, tensor<?x3xi8>) {
  %0 = spaq.dequantize %x scale 0.1 : tensor<?x2xi8> -> tensor<?x2xf32>
  %1 = spaq.quantize %0 scale 0.2 : tensor<?x2xf32> -> tensor<?x2xi8>
  %2 = spaq.dequantize %z scale 0.1 split dense<1> : tensor<1xi32> : tensor<?x3xi8> -> tensor<?x2xf32>
  %3 = spaq.quantize %2 scale 0.1 split dense<1> : tensor<1xi32> : tensor<?x2xf32> -> tensor<?x3xi8>
  func.return %1, %3 : tensor<?x2xi8>, tensor<?x3xi8>
}

// CHECK-LABEL: @identities
// CHECK-NEXT: func.return %x, %x, %x
func.func @identities(%x: tensor<?x3xi8>) -> (tensor<?x3xi8>, tensor<?x3xi8>, tensor<?x3xi8>) {
  %0 = spaq.gather %x columns dense<[0, 1, 2]> : tensor<3xi32> : tensor<?x3xi8> -> tensor<?x3xi8>
  %1 = spaq.columns %x from 0 : tensor<?x3xi8> -> tensor<?x3xi8>
  %2 = spaq.concat %x : (tensor<?x3xi8>) -> tensor<?x3xi8>
  func.return %0, %1, %2 : tensor<?x3xi8>, tensor<?x3xi8>, tensor<?x3xi8>
}

// CHECK-LABEL: @composed
// CHECK-NEXT: %0 = spaq.gather %x columns dense<[2, 0, 2]>
// CHECK-NEXT: %1 = spaq.columns %x from 2 : tensor<?x3xi8> -> tensor<?x1xi8>
// CHECK-NEXT: func.return %0, %1
func.func @composed(%x: tensor<?x3xi8>) -> (tensor<?x3xi8>, tensor<?x1xi8>) {
  %0 = spaq.gather %x columns dense<[0, 2]> : tensor<2xi32> : tensor<?x3xi8> -> tensor<?x2xi8>
  %1 = spaq.gather %0 columns dense<[1, 0, 1]> : tensor<3xi32> : tensor<?x2xi8> -> tensor<?x3xi8>
  %2 = spaq.columns %x from 1 : tensor<?x3xi8> -> tensor<?x2xi8>
  %3 = spaq.columns %2 from 1 : tensor<?x2xi8> -> tensor<?x1xi8>
  func.return %1, %3 : tensor<?x3xi8>, tensor<?x1xi8>
}

// A constant that nobody reads goes.
// CHECK-LABEL: @dead
// CHECK-NEXT: func.return
func.func @dead() {
  %w = spaq.constant dense<1> : tensor<1x1xi8>
  func.return
}
