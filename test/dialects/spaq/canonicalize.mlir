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

// Zeros that are added to integers of the same type, a table that gives every byte itself, and a
// range that is stated already change nothing.
// CHECK-LABEL: @nothing
// CHECK-NEXT: func.return %x, %y
func.func @nothing(%x: tensor<?x1xi32>, %y: tensor<?x1xi8>) -> (tensor<?x1xi32>, tensor<?x1xi8>) {
  %b = spaq.constant dense<0> : tensor<1xi32>
  %0 = spaq.add %x, %b : (tensor<?x1xi32>, tensor<1xi32>) -> tensor<?x1xi32>
  %1 = spaq.activation "table" %y table dense<[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, -128, -127, -126, -125, -124, -123, -122, -121, -120, -119, -118, -117, -116, -115, -114, -113, -112, -111, -110, -109, -108, -107, -106, -105, -104, -103, -102, -101, -100, -99, -98, -97, -96, -95, -94, -93, -92, -91, -90, -89, -88, -87, -86, -85, -84, -83, -82, -81, -80, -79, -78, -77, -76, -75, -74, -73, -72, -71, -70, -69, -68, -67, -66, -65, -64, -63, -62, -61, -60, -59, -58, -57, -56, -55, -54, -53, -52, -51, -50, -49, -48, -47, -46, -45, -44, -43, -42, -41, -40, -39, -38, -37, -36, -35, -34, -33, -32, -31, -30, -29, -28, -27, -26, -25, -24, -23, -22, -21, -20, -19, -18, -17, -16, -15, -14, -13, -12, -11, -10, -9, -8, -7, -6, -5, -4, -3, -2, -1]> : tensor<256xi8> : tensor<?x1xi8> -> tensor<?x1xi8>
  func.return %0, %1 : tensor<?x1xi32>, tensor<?x1xi8>
}

// CHECK-LABEL: @stated_twice
// CHECK-NEXT: %0 = spaq.calibrated %x absmax 3
// CHECK-NEXT: func.return %0
func.func @stated_twice(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %0 = spaq.calibrated %x absmax 3.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  %1 = spaq.calibrated %0 absmax 3.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  func.return %1 : tensor<?x1xf32>
}

// A sum that widens or is of floats, a bias that is not known, another table and another range stay.
// CHECK-LABEL: @something
// CHECK-COUNT-3: spaq.add
// CHECK: spaq.activation "table"
// CHECK-COUNT-2: spaq.calibrated
func.func @something(%x: tensor<?x1xi16>, %b: tensor<1xi16>, %f: tensor<?x1xf32>, %y: tensor<?x1xi8>)
    -> (tensor<?x1xi32>, tensor<?x1xi16>, tensor<?x1xf32>, tensor<?x1xi8>) {
  %z = spaq.constant dense<0> : tensor<1xi32>
  %r = spaq.constant dense<0.0> : tensor<1xf32>
  %0 = spaq.add %x, %z : (tensor<?x1xi16>, tensor<1xi32>) -> tensor<?x1xi32>
  %1 = spaq.add %x, %b : (tensor<?x1xi16>, tensor<1xi16>) -> tensor<?x1xi16>
  %2 = spaq.add %f, %r : (tensor<?x1xf32>, tensor<1xf32>) -> tensor<?x1xf32>
  %3 = spaq.activation "table" %y table dense<0> : tensor<256xi8> : tensor<?x1xi8> -> tensor<?x1xi8>
  %4 = spaq.calibrated %2 absmax 3.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  %5 = spaq.calibrated %4 absmax 2.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  func.return %0, %1, %5, %3 : tensor<?x1xi32>, tensor<?x1xi16>, tensor<?x1xf32>, tensor<?x1xi8>
}

// Wide results that are quantised again become int8.
// CHECK-LABEL: @wide
// CHECK: spaq.dequantize
// CHECK-NEXT: spaq.quantize
func.func @wide(%x: tensor<?x2xi16>) -> tensor<?x2xi8> {
  %0 = spaq.dequantize %x scale 0.5 : tensor<?x2xi16> -> tensor<?x2xf32>
  %1 = spaq.quantize %0 scale 0.5 : tensor<?x2xf32> -> tensor<?x2xi8>
  func.return %1 : tensor<?x2xi8>
}
