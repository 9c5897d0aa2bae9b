// RUN: daqkf-opt %s -p 'spaq-quantize{kind=ternary}' | filecheck %s --check-prefix=TERNARY
// RUN: daqkf-opt %s -p 'spaq-quantize{kind=binary}' | filecheck %s --check-prefix=BINARY
// RUN: daqkf-opt %s -p 'spaq-quantize{kind=codebook magnitudes=2 maximum=7}' | filecheck %s --check-prefix=ERRORS
// RUN: daqkf-opt %s -p 'spaq-quantize{kind=codebook magnitudes=2 maximum=7 cycles-weight=2}' | filecheck %s --check-prefix=ERRORS
// RUN: daqkf-opt %s -p 'spaq-quantize{kind=codebook magnitudes=2 maximum=7 cycles-weight=20}' | filecheck %s --check-prefix=CYCLES
// RUN: daqkf-opt %s -p 'spaq-quantize{kind=codebook magnitudes=2 maximum=7 cycles-weight=2.0 max-shift=0}' | filecheck %s --check-prefix=CYCLES
// RUN: daqkf-opt %s -p 'spaq-quantize{magnitudes=5}' | filecheck %s --check-prefix=ITERATED
// RUN: daqkf-opt %s -p 'spaq-quantize{magnitudes=5 method=optimal}' | filecheck %s --check-prefix=OPTIMAL

// Binary leaves no weight at zero but the one that is zero.
// TERNARY: scales dense<7.000000e+00> {{.*}} dense<{{\[\[}}1], [1], [0], [0], [0], [0], [-1]]>
// TERNARY-SAME: #spaq.levels<kind = "ternary", magnitudes = 1, maximum = 1>
// BINARY: scales dense<4.26666641> {{.*}} dense<{{\[\[}}1], [1], [-1], [-1], [0], [1], [-1]]>
// BINARY-SAME: #spaq.levels<kind = "binary", magnitudes = 1, maximum = 1>

// A gap of 5 levels takes two steps, or five where a step is one level; a gap of 2 takes fewer.
// ERRORS: dense<{{\[\[}}7], [7], [-2], [-2], [0], [0], [-7]]>
// CYCLES: dense<{{\[\[}}3], [3], [-1], [-1], [0], [0], [-3]]>

// The iteration ends in a local optimum, with an error of 0.448 instead of 0.424.
// ITERATED: scales dense<1.762000e+00> {{.*}} dense<{{\[\[}}4], [4], [-1], [-1], [0], [0], [-4]]>
// OPTIMAL: scales dense<2.31379318> {{.*}} dense<{{\[\[}}3], [3], [-1], [-1], [0], [0], [-3]]>

func.func @layer(%x: tensor<?x7xf32>) -> tensor<?x1xf32> {
  %c = spaq.calibrated %x absmax 1.0 : tensor<?x7xf32> -> tensor<?x7xf32>
  %w = spaq.constant dense<[[7.0], [6.9], [-2.0], [-2.1], [0.0], [0.5], [-7.1]]> : tensor<7x1xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x7xf32>, tensor<7x1xf32>) -> tensor<?x1xf32>
  %1 = spaq.calibrated %0 absmax 5.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  func.return %1 : tensor<?x1xf32>
}
