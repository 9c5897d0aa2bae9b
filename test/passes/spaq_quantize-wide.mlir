// RUN: daqkf-opt %s -p 'spaq-quantize{magnitudes=3 wide-results="*"}' | filecheck %s
// RUN: daqkf-opt %s -p 'spaq-quantize{magnitudes=3 wide-results="first","*whole"}' | filecheck %s --check-prefix=NAMED
// RUN: daqkf-opt %s -p 'spaq-quantize{magnitudes=3}' | filecheck %s --check-prefix=NARROW

// A scale of four times the range over 32767 steps: 0.5 and 1. The input has one of 0.02.
// CHECK-LABEL: func.func @whole
// CHECK: %[[R:.*]] = spaq.requantize %{{.*}} multiplier dense<41943>{{.*}} shift dense<[20, 21]>{{.*}} : tensor<?x2xi32> -> tensor<?x2xi16>
// CHECK: %[[Y:.*]] = spaq.dequantize %[[R]] scale dense<[5.000000e-01, 1.000000e+00]> : tensor<2xf64> : tensor<?x2xi16> -> tensor<?x2xf32>
// CHECK-NEXT: func.return %[[Y]]
// NAMED-LABEL: func.func @whole
// NAMED: tensor<?x2xi16>
// NARROW-NOT: i16
func.func @whole(%x: tensor<?x3xf32>) -> tensor<?x2xf32> {
  %c = spaq.calibrated %x absmax 2.54 : tensor<?x3xf32> -> tensor<?x3xf32>
  %w = spaq.constant dense<[[-1.0, 1.0], [2.0, 0.0], [0.0, 0.0]]> : tensor<3x2xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.calibrated %0 absmax dense<[4095.875, 8191.75]> : tensor<2xf64> : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %1 : tensor<?x2xf32>
}

// A function's table gives int8.
// CHECK-LABEL: func.func @function
// CHECK-NOT: i16
// NAMED-LABEL: func.func @function
// NAMED-NOT: i16
func.func @function(%x: tensor<?x3xf32>) -> tensor<?x2xf32> {
  %c = spaq.calibrated %x absmax 2.54 : tensor<?x3xf32> -> tensor<?x3xf32>
  %w = spaq.constant dense<[[-1.0, 1.0], [2.0, 0.0], [0.0, 0.0]]> : tensor<3x2xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.calibrated %0 absmax 5.08 : tensor<?x2xf32> -> tensor<?x2xf32>
  %2 = spaq.activation "relu" %1 : tensor<?x2xf32> -> tensor<?x2xf32>
  %3 = spaq.calibrated %2 absmax 5.08 : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %3 : tensor<?x2xf32>
}

// Two products follow one another on the array: what the second one reads is int8, and what leaves is wide.
// CHECK-LABEL: func.func @two
// CHECK: spaq.requantize {{.*}} -> tensor<?x2xi8>
// CHECK: spaq.requantize {{.*}} -> tensor<?x2xi16>
func.func @two(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %c = spaq.calibrated %x absmax 2.54 : tensor<?x2xf32> -> tensor<?x2xf32>
  %w = spaq.constant dense<[[-1.0, 1.0], [2.0, 0.0]]> : tensor<2x2xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.calibrated %0 absmax 5.08 : tensor<?x2xf32> -> tensor<?x2xf32>
  %2 = spaq.matmul %1, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %3 = spaq.calibrated %2 absmax 5.08 : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %3 : tensor<?x2xf32>
}

// CHECK-LABEL: func.func @first
// NAMED-LABEL: func.func @first
// NAMED: spaq.dequantize %{{.*}} : tensor<?x2xi16> -> tensor<?x2xf32>
func.func @first(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %c = spaq.calibrated %x absmax 2.54 : tensor<?x2xf32> -> tensor<?x2xf32>
  %w = spaq.constant dense<[[-1.0, 1.0], [2.0, 0.0]]> : tensor<2x2xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.calibrated %0 absmax 5.08 : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %1 : tensor<?x2xf32>
}

// CHECK-LABEL: func.func @other
// NAMED-LABEL: func.func @other
// NAMED-NOT: i16
func.func @other(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %c = spaq.calibrated %x absmax 2.54 : tensor<?x2xf32> -> tensor<?x2xf32>
  %w = spaq.constant dense<[[-1.0, 1.0], [2.0, 0.0]]> : tensor<2x2xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.calibrated %0 absmax 5.08 : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %1 : tensor<?x2xf32>
}
