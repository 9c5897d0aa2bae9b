// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.ones((2, 3)))"
// RUN: not daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy"}' 2>&1 | filecheck %s --check-prefix=SHAPE
// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.full((2, 1), numpy.nan))"
// RUN: not daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy"}' 2>&1 | filecheck %s --check-prefix=NAN
// RUN: not daqkf-opt %s -p 'spaq-calibrate{samples="nowhere.npy"}' 2>&1 | filecheck %s --check-prefix=FILE

// SHAPE: daqkf-opt: spaq-calibrate: calibration samples: an array of shape (2, 3) is not a tensor<?x1xf32>
// NAN: daqkf-opt: spaq-calibrate: calibration samples contain NaN or infinity
// FILE: daqkf-opt: spaq-calibrate: {{.*}}nowhere.npy
func.func @layer(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %w = spaq.constant dense<1.0> : tensor<1x1xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x1xf32>, tensor<1x1xf32>) -> tensor<?x1xf32>
  func.return %0 : tensor<?x1xf32>
}
