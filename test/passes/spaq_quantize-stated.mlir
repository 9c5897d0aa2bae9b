// RUN: daqkf-opt %s -p 'spaq-quantize{keep=true}' | filecheck %s
// RUN: daqkf-opt %s -p 'spaq-quantize{magnitudes=2 keep=true}' | filecheck %s --check-prefix=FEW

// Scales that are stated by a rounding stay; and so do levels that the weights are multiples by:
// 3, -2 and 1 times 0.1 in channel 0, and 1 and 0 times 7 in channel 1. Two magnitudes are too few
// for channel 0.
// CHECK-LABEL: @stated
// CHECK-NEXT: %q = spaq.quantize %x scale 5.000000e-01
// CHECK-NEXT: %w = spaq.constant scales dense<[1.000000e-01, 7.000000e+00]> : tensor<2xf32> dense<[[3, 1], [-2, 0], [1, 1]]>
// CHECK-NEXT: [[P:%.*]] = spaq.matmul %q, %w
// CHECK-NEXT: [[R:%.*]] = spaq.requantize [[P]] multiplier dense<[52429, 57344]> : tensor<2xi32> shift dense<[20, 14]> : tensor<2xi32>
// CHECK-NEXT: [[A:%.*]] = spaq.activation "relu" [[R]] table dense<"0x000102
// CHECK-NEXT: %v = spaq.constant
// CHECK-NEXT: [[S:%.*]] = spaq.matmul [[A]], %v
// CHECK-NEXT: [[T:%.*]] = spaq.requantize [[S]]
// CHECK-NEXT: %y = spaq.dequantize [[T]] scale 2.000000e+00
// CHECK-NEXT: func.return %y
// FEW: %w = spaq.constant scales dense<[{{.*}}, 7.000000e+00]> : tensor<2xf32> dense<[[2, 1], [-{{.*}}, 0], [1, 1]]>
func.func @stated(%x: tensor<?x3xf32>) -> tensor<?x1xf32> {
  %q = spaq.quantize %x scale 0.5 : tensor<?x3xf32> -> tensor<?x3xi8>
  %d = spaq.dequantize %q scale 0.5 : tensor<?x3xi8> -> tensor<?x3xf32>
  %w = spaq.constant dense<[[0.3, 7.0], [-0.2, 0.0], [0.1, 7.0]]> : tensor<3x2xf32>
  %0 = spaq.matmul %d, %w : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  %c = spaq.calibrated %0 absmax 9.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  %1 = spaq.activation "relu" %c : tensor<?x2xf32> -> tensor<?x2xf32>
  %2 = spaq.quantize %1 scale 1.0 : tensor<?x2xf32> -> tensor<?x2xi8>
  %3 = spaq.dequantize %2 scale 1.0 : tensor<?x2xi8> -> tensor<?x2xf32>
  %4 = spaq.quantize %3 scale 1.0 : tensor<?x2xf32> -> tensor<?x2xi8>
  %5 = spaq.dequantize %4 scale 1.0 : tensor<?x2xi8> -> tensor<?x2xf32>
  %v = spaq.constant dense<[[1.0], [-1.0]]> : tensor<2x1xf32>
  %6 = spaq.matmul %5, %v : (tensor<?x2xf32>, tensor<2x1xf32>) -> tensor<?x1xf32>
  %7 = spaq.quantize %6 scale 2.0 : tensor<?x1xf32> -> tensor<?x1xi8>
  %y = spaq.dequantize %7 scale 2.0 : tensor<?x1xi8> -> tensor<?x1xf32>
  func.return %y : tensor<?x1xf32>
}
