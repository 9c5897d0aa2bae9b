// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.array([[2.0, 0.0], [0.0, 1.0]]))"
// RUN: daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy"}' | filecheck %s
// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.array([[2.0, 0.0], [0.0, -50.0]]))"
// RUN: daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy"}' | filecheck %s --check-prefix=FAR
// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.zeros((3, 2)))"
// RUN: not daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy"}' 2>&1 | filecheck %s --check-prefix=LONG

// LONG: spaq-calibrate: calibration samples: spaq.attention: a sequence of 3 tokens; it is for 1..2

// All samples are one sequence. Scores are 4, 1 and 0 times a half; the results lie between values.
// CHECK-LABEL: func.func @layer
// CHECK: %[[X:.*]] = spaq.calibrated %x absmax dense<[2.000000e+00, 1.000000e+00]>
// CHECK: %[[S:.*]] = spaq.matmul %[[X]], %w
// CHECK-NEXT: %[[Q:.*]] = spaq.calibrated %[[S]] absmax dense<[2.000000e+00, 1.000000e+00]>
// CHECK-NEXT: %[[Y:.*]] = spaq.attention %[[Q]], %[[Q]], %[[Q]] heads 1 tokens 2 scale 5.000000e-01 scores 2.000000e+00 :
// CHECK-NEXT: %[[Z:.*]] = spaq.calibrated %[[Y]] absmax dense<[1.76{{.*}}, 0.622{{.*}}]>
// CHECK-NEXT: func.return %[[Z]]
// The largest score counts, as it has a share.
// FAR: scale 5.000000e-01 scores 1.250000e+03 :
func.func @layer(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<[[1.0, 0.0], [0.0, 1.0]]> : tensor<2x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %y = spaq.attention %0, %0, %0 heads 1 tokens 2 scale 0.5
    : (tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  func.return %y : tensor<?x2xf32>
}
