// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.ones((3, 2)))"
// RUN: not daqkf-opt %s -p 'spaq-quantize{accuracy=0.99}' 2>&1 | filecheck %s --check-prefix=ONE
// RUN: not daqkf-opt %s -p 'spaq-quantize{samples="%t.npy" accuracy=0.99 words=9}' 2>&1 | filecheck %s --check-prefix=ONE
// RUN: not daqkf-opt %s -p 'spaq-quantize{samples="%t.npy" accuracy=2}' 2>&1 | filecheck %s --check-prefix=COSINE
// RUN: not daqkf-opt %s -p 'spaq-quantize{samples="%t.npy" words=1}' 2>&1 | filecheck %s --check-prefix=WORDS
// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.array([[1.0, 1.0], [1.0, numpy.nan]]))"
// RUN: not daqkf-opt %s -p 'spaq-quantize{samples="%t.npy"}' 2>&1 | filecheck %s --check-prefix=NAN

// ONE: spaq-quantize: give accuracy or words, one of them, with samples and float weights
// COSINE: spaq-quantize: accuracy must be a cosine below 1 or like 25dB, not '2'
// WORDS: spaq-quantize: the least stream words that can be had is 2, not 1
// NAN: spaq-quantize: sample [1, 1] is nan
func.func @layer(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %c = spaq.calibrated %x absmax 1.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  %w = spaq.constant dense<[[0.7, 3.1], [2.9, -1.3]]> : tensor<2x2xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.calibrated %0 absmax 5.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %1 : tensor<?x2xf32>
}
