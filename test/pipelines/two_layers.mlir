// RUN: daqkf-opt %s --pipeline quantize | filecheck %s
// RUN: daqkf-opt %s --pipeline program | filecheck %s --check-prefix=PROGRAM

// Between the layers the activations stay int8.
// CHECK: spaq.quantize
// CHECK: spaq.activation "relu" %[[R:.*]] table
// CHECK-NOT: spaq.quantize
// CHECK: spaq.requantize
// CHECK-NEXT: spaq.dequantize
// CHECK-NEXT: func.return

// PROGRAM: rpea.array @array
// PROGRAM: rpea.program @network_program_0 on @array features 2
// PROGRAM: rpea.program @network_program_1 on @array features 3
// PROGRAM: %[[A:.*]] = spaq.quantize
// PROGRAM-NEXT: %[[B:.*]] = rpea.run @network_program_0(%[[A]])
// PROGRAM-NEXT: %[[C:.*]] = rpea.run @network_program_1(%[[B]])
// PROGRAM-NEXT: spaq.dequantize %[[C]]
func.func @network(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %c = spaq.calibrated %x absmax 1.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  %w = spaq.constant dense<[[0.0, 2.0, 1.0], [-1.0, 0.0, 1.0]]> : tensor<2x3xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x2xf32>, tensor<2x3xf32>) -> tensor<?x3xf32>
  %1 = spaq.calibrated %0 absmax 2.0 : tensor<?x3xf32> -> tensor<?x3xf32>
  %2 = spaq.activation "relu" %1 : tensor<?x3xf32> -> tensor<?x3xf32>
  %3 = spaq.calibrated %2 absmax 2.0 : tensor<?x3xf32> -> tensor<?x3xf32>
  %v = spaq.constant dense<[[0.0, 2.0], [-1.0, 0.0], [3.0, 1.0]]> : tensor<3x2xf32>
  %4 = spaq.matmul %3, %v : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  %5 = spaq.calibrated %4 absmax 9.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %5 : tensor<?x2xf32>
}
