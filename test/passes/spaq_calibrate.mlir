// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.array([[1.0, -2.0], [0.5, 3.0]]))"
// RUN: daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy"}' | filecheck %s
// RUN: daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy" granularity=tensor}' | filecheck %s --check-prefix=TENSOR
// RUN: python -c "import numpy; x = numpy.linspace(-1, 1, 10001); y = x.copy(); y[0] = 1.1; numpy.save('%t.npy', numpy.stack([x, y], 1))"
// RUN: daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy" clip=mse}' | filecheck %s --check-prefix=MSE
// RUN: daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy" clip=pooled}' | filecheck %s --check-prefix=POOLED

// Ranges of the input, of the complete sum and of the result; not of the product alone.
func.func @layer(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  // TENSOR: spaq.calibrated %x absmax 3.000000e+00 :
  // POOLED: spaq.calibrated %x absmax dense<[1.000000e+00, 1.1000000
  // The one outlier of feature 1 is clipped.
  // MSE: spaq.calibrated %x absmax dense<[1.000000e+00, 1.056
  // CHECK: %[[X:.*]] = spaq.calibrated %x absmax dense<[1.000000e+00, 3.000000e+00]> : tensor<2xf64> : tensor<?x2xf32> -> tensor<?x2xf32>
  %w = spaq.constant dense<[[1.0, 0.0], [0.0, -1.0]]> : tensor<2x2xf32>
  %b = spaq.constant dense<[0.0, 1.0]> : tensor<2xf32>
  // CHECK: %[[P:.*]] = spaq.matmul %[[X]], %w
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  // CHECK-NEXT: %[[S:.*]] = spaq.add %[[P]], %b
  %1 = spaq.add %0, %b : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  // CHECK-NEXT: %[[C:.*]] = spaq.calibrated %[[S]] absmax dense<[1.000000e+00, 3.000000e+00]>
  // CHECK-NEXT: %[[A:.*]] = spaq.activation "relu" %[[C]]
  %2 = spaq.activation "relu" %1 : tensor<?x2xf32> -> tensor<?x2xf32>
  // CHECK-NEXT: %[[R:.*]] = spaq.calibrated %[[A]] absmax dense<[1.000000e+00, 3.000000e+00]>
  // TENSOR: spaq.calibrated {{.*}} absmax 3.000000e+00
  // CHECK-NEXT: func.return %[[R]]
  func.return %2 : tensor<?x2xf32>
}
