// RUN: not daqkf-opt %s -p 'spaq-quantize{method=guess}' 2>&1 | filecheck %s --check-prefix=METHOD
// RUN: not daqkf-opt %s -p 'spaq-quantize{cycles-weight=-1.0}' 2>&1 | filecheck %s --check-prefix=WEIGHT
// RUN: not daqkf-opt %s -p 'spaq-quantize{max-shift=-1}' 2>&1 | filecheck %s --check-prefix=SHIFT

// METHOD: :3: spaq.matmul: spaq-quantize: unknown method 'guess' (known: lloyd-max, optimal)
// WEIGHT: :3: spaq.matmul: spaq-quantize: the weight of cycles must be 0 or above, not -1
// SHIFT: :3: spaq.matmul: spaq-quantize: max_shift must be 0..7, not -1

func.func @layer(%x: tensor<?x7xf32>) -> tensor<?x1xf32> {
  %c = spaq.calibrated %x absmax 1.0 : tensor<?x7xf32> -> tensor<?x7xf32>
  %w = spaq.constant dense<[[7.0], [6.9], [-2.0], [-2.1], [0.0], [0.5], [-7.1]]> : tensor<7x1xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x7xf32>, tensor<7x1xf32>) -> tensor<?x1xf32>
  %1 = spaq.calibrated %0 absmax 5.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  func.return %1 : tensor<?x1xf32>
}
