// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.ones((2, 3)))"
// RUN: not daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy"}' 2>&1 | filecheck %s --check-prefix=SHAPE
// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.full((2, 1), numpy.nan))"
// RUN: not daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy"}' 2>&1 | filecheck %s --check-prefix=NAN
// RUN: python -c "import numpy; x = numpy.ones((3, 1)); x[2] = numpy.inf; numpy.save('%t.npy', x)"
// RUN: not daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy"}' 2>&1 | filecheck %s --check-prefix=INF
// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.full((2, 1), 1e30))"
// RUN: not daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy"}' 2>&1 | filecheck %s --check-prefix=OVER
// RUN: not daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy" granularity=row}' 2>&1 | filecheck %s --check-prefix=ROW
// RUN: not daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy" clip=kl}' 2>&1 | filecheck %s --check-prefix=CLIP
// RUN: not daqkf-opt %s -p 'spaq-calibrate{samples="nowhere.npy"}' 2>&1 | filecheck %s --check-prefix=FILE

// SHAPE: daqkf-opt: {{.*}}spaq_calibrate-invalid.mlir:20:1: func.func: spaq-calibrate: calibration samples: an array of shape (2, 3) is not a tensor<?x1xf32>
// NAN: daqkf-opt: spaq-calibrate: calibration samples contain NaN or infinity, first in row 0, feature 0
// INF: daqkf-opt: spaq-calibrate: calibration samples contain NaN or infinity, first in row 2, feature 0
// OVER: :22:3: spaq.matmul: spaq-calibrate: calibration samples: a sum is beyond float32
// ROW: daqkf-opt: spaq-calibrate: unknown granularity 'row' (known: tensor, channel)
// CLIP: daqkf-opt: spaq-calibrate: unknown clip 'kl' (known: absmax, mse, pooled)
// FILE: daqkf-opt: spaq-calibrate: {{.*}}nowhere.npy
func.func @layer(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %w = spaq.constant dense<1.0e10> : tensor<1x1xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x1xf32>, tensor<1x1xf32>) -> tensor<?x1xf32>
  func.return %0 : tensor<?x1xf32>
}
