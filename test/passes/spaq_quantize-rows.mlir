// RUN: daqkf-opt %s -p 'spaq-quantize{exact=true split=0.5}' | filecheck %s

// What is added comes first in the rows; it is one column a feature, and so is what is normalised.
// CHECK-LABEL: func.func @tail(%x: tensor<?x4xf32>) -> tensor<?x2xf32>
// CHECK: %r = spaq.columns %x from 0
// CHECK: %c = spaq.columns %x from 2
// CHECK: %[[R:.*]] = spaq.quantize %r scale dense<[1.000000e+02, 5.000000e+02]>
// CHECK: %[[C:.*]] = spaq.quantize %c scale 1.000000e+00
// CHECK: %[[SUM:.*]] = spaq.matmul %[[C]], %w
// CHECK-NEXT: %[[ADDED:.*]] = spaq.residual %[[SUM]], %[[R]] multiplier dense<[100, 500]> : tensor<2xi32> : (tensor<?x2xi32>, tensor<?x2xi8>) -> tensor<?x2xi32>
// Four times the range is two powers of two.
// CHECK-NEXT: %[[V:.*]] = spaq.requantize %[[ADDED]] multiplier
// CHECK-NEXT: %[[Z:.*]] = spaq.normalize %[[V]] exponent dense<[0, 2]>
// β is in steps of γ / 1024.
// CHECK-NEXT: %[[B:.*]] = spaq.constant dense<[512, -1024]> : tensor<2xi32>
// CHECK-NEXT: %[[Y:.*]] = spaq.add %[[Z]], %[[B]] : (tensor<?x2xi18>, tensor<2xi32>) -> tensor<?x2xi32>
// CHECK-NEXT: spaq.requantize %[[Y]] multiplier
// CHECK-NEXT: %n = spaq.dequantize
// CHECK-NEXT: func.return %n
func.func @tail(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %r = spaq.columns %x from 0 : tensor<?x4xf32> -> tensor<?x2xf32>
  %rc = spaq.calibrated %r absmax dense<[12700.0, 63500.0]> : tensor<2xf64> : tensor<?x2xf32> -> tensor<?x2xf32>
  %c = spaq.columns %x from 2 : tensor<?x4xf32> -> tensor<?x2xf32>
  %cc = spaq.calibrated %c absmax 127.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  %w = spaq.constant dense<[[1.0, 0.0], [0.0, 2.0]]> : tensor<2x2xf32>
  %0 = spaq.matmul %cc, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.residual %0, %rc : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %2 = spaq.calibrated %1 absmax dense<[12000.0, 48000.0]> : tensor<2xf64> : tensor<?x2xf32> -> tensor<?x2xf32>
  %gamma = spaq.constant dense<[1.0, 0.5]> : tensor<2xf32>
  %beta = spaq.constant dense<[0.5, -0.5]> : tensor<2xf32>
  %n = spaq.layer_norm %2, %gamma, %beta epsilon 1.0e-12
    : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %3 = spaq.calibrated %n absmax dense<[2.0, 1.0]> : tensor<2xf64> : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %3 : tensor<?x2xf32>
}

// What is added and read has a larger scale for a feature of large range, which is read twice.
// CHECK-LABEL: func.func @both
// CHECK: %[[X:.*]] = spaq.quantize %x scale dense<[2.500000e+00, 5.000000e+00]>
// CHECK: %[[TWICE:.*]] = spaq.gather %[[X]] columns dense<[0, 1, 1]> : tensor<3xi32> : tensor<?x2xi8> -> tensor<?x3xi8>
// CHECK: dense<{{\[\[}}1, 0], [2, 3], [2, 3]]> : tensor<3x2xi8,
// CHECK: spaq.matmul %[[TWICE]]
// CHECK: spaq.residual %{{.*}}, %[[X]] multiplier dense<[1, 2]>
func.func @both(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %c = spaq.calibrated %x absmax dense<[127.0, 635.0]> : tensor<2xf64> : tensor<?x2xf32> -> tensor<?x2xf32>
  %w = spaq.constant dense<[[1.0, 0.0], [2.0, 3.0]]> : tensor<2x2xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.residual %0, %c : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %2 = spaq.calibrated %1 absmax 2540.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %2 : tensor<?x2xf32>
}

// Gates have one scale, and each value its own; so has each product, unless a product reads it.
// CHECK-LABEL: func.func @gated
// CHECK: %[[SUM:.*]] = spaq.matmul
// CHECK-NEXT: %[[V:.*]] = spaq.requantize %[[SUM]] multiplier dense<[32768, 47663, 32768, 47663]> : tensor<4xi32> shift dense<[17, 18, 17, 18]>
// CHECK-NEXT: %[[P:.*]] = spaq.gate "relu" %[[V]] table dense<"0x000102
// CHECK-SAME: 7E7F00{{(00)*}}"> : tensor<256xi8> : tensor<?x4xi8> -> tensor<?x2xi16>
// CHECK-NEXT: %[[Y:.*]] = spaq.requantize %[[P]] multiplier
// CHECK-NEXT: spaq.dequantize %[[Y]] scale dense<[8.800000e+01, 2.200000e+01]>
func.func @gated(%x: tensor<?x1xf32>) -> tensor<?x2xf32> {
  %c = spaq.calibrated %x absmax 127.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  %w = spaq.constant dense<[[1.0, 2.0, 1.0, 8.0]]> : tensor<1x4xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x1xf32>, tensor<1x4xf32>) -> tensor<?x4xf32>
  %1 = spaq.calibrated %0 absmax dense<[508.0, 635.0, 254.0, 635.0]> : tensor<4xf64> : tensor<?x4xf32> -> tensor<?x4xf32>
  %2 = spaq.gate "relu" %1 : tensor<?x4xf32> -> tensor<?x2xf32>
  %3 = spaq.calibrated %2 absmax dense<[10160.0, 2540.0]> : tensor<2xf64> : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %3 : tensor<?x2xf32>
}
