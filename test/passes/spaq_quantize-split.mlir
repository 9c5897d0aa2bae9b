// RUN: daqkf-opt %s -p 'spaq-quantize{magnitudes=3 exact=true split=0.5}' | filecheck %s
// RUN: daqkf-opt %s -p 'spaq-quantize{magnitudes=3 exact=true split=0}' | filecheck %s --check-prefix=NONE

// Feature 1 reaches three times as far as the others and may have two more columns; they have its
// weights. Behind relu, channel 2 has twice the range: one more output with its weights, whose
// bias is 127 steps of the sums lower. The next layer repeats the weights of feature 2 likewise.
// What leaves it has a scale for each channel, 1.1 times as wide as the range.
func.func @network(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  // CHECK: %[[Q:.*]] = spaq.quantize %x scale 1.000000e+00 split dense<1> : tensor<2xi32> : tensor<?x4xf32> -> tensor<?x6xi8>
  // NONE: spaq.quantize %x scale 3.000000e+00 : tensor<?x4xf32> -> tensor<?x4xi8>
  %c = spaq.calibrated %x absmax dense<[127.0, 381.0, 127.0, 12.7]> : tensor<4xf64>
    : tensor<?x4xf32> -> tensor<?x4xf32>
  // CHECK: %w = spaq.constant {{.*}} dense<{{\[\[}}1, 0, 2, 2], [-1, 1, 0, 0], [0, 0, 1, 1], [0, 1, 1, 1], [-1, 1, 0, 0], [-1, 1, 0, 0]]> : tensor<6x4xi8
  // NONE: tensor<4x3xi8
  %w = spaq.constant dense<[[1.0, 0.0, 2.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 1.0]]>
    : tensor<4x3xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  // CHECK: spaq.constant dense<[0, 0, 0, -254]> : tensor<4xi32>
  // NONE-NOT: spaq.add
  %1 = spaq.calibrated %0 absmax dense<[381.0, 254.0, 508.0]> : tensor<3xf64>
    : tensor<?x3xf32> -> tensor<?x3xf32>
  // CHECK: spaq.requantize {{.*}} multiplier dense<32768> : tensor<4xi32> shift dense<16> : tensor<4xi32>
  // CHECK: spaq.activation "relu" {{.*}} : tensor<?x4xi8> -> tensor<?x4xi8>
  %2 = spaq.activation "relu" %1 : tensor<?x3xf32> -> tensor<?x3xf32>
  %3 = spaq.calibrated %2 absmax dense<[254.0, 127.0, 508.0]> : tensor<3xf64>
    : tensor<?x3xf32> -> tensor<?x3xf32>
  // CHECK: %v = spaq.constant {{.*}} dense<{{\[\[}}1, 0], [0, 1], [1, 2], [1, 2]]> : tensor<4x2xi8
  %v = spaq.constant dense<[[1.0, 0.0], [0.0, 1.0], [1.0, 2.0]]> : tensor<3x2xf32>
  %4 = spaq.matmul %3, %v : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  %5 = spaq.calibrated %4 absmax dense<[1270.0, 2540.0]> : tensor<2xf64>
    : tensor<?x2xf32> -> tensor<?x2xf32>
  // CHECK: spaq.dequantize {{.*}} scale dense<[1.100000e+01, 2.200000e+01]> : tensor<2xf64> : tensor<?x2xi8> -> tensor<?x2xf32>
  func.return %5 : tensor<?x2xf32>
}
