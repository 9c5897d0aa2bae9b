// RUN: not daqkf-opt %s -p 'spaq-quantize{magnitudes=2 exact=true}' 2>&1 | filecheck %s --check-prefix=BEYOND
// RUN: not daqkf-opt %s -p 'spaq-quantize{kind=codebook magnitudes=1 maximum=9 exact=true}' 2>&1 | filecheck %s --check-prefix=MANY
// RUN: daqkf-opt %s -p 'spaq-quantize{magnitudes=3 exact=true}' | filecheck %s

// BEYOND: spaq-quantize: weight [1, 0] is -3, not a level within ±2
// MANY: spaq-quantize: channel 0 has 2 magnitudes, more than the 1 of its level set
// CHECK: dense<{{\[\[}}2], [-3]]> : tensor<2x1xi8
func.func @layer(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %c = spaq.calibrated %x absmax 1.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  %w = spaq.constant dense<[[2.0], [-3.0]]> : tensor<2x1xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x2xf32>, tensor<2x1xf32>) -> tensor<?x1xf32>
  %1 = spaq.calibrated %0 absmax 5.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  func.return %1 : tensor<?x1xf32>
}
