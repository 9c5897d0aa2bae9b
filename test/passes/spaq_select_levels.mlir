// RUN: daqkf-opt %s -p 'spaq-select-levels{sqnr=8}' | filecheck %s
// RUN: daqkf-opt %s -p 'spaq-select-levels{sqnr=8 target=tiny},spaq-quantize' | filecheck %s --check-prefix=FOLLOWED
// RUN: daqkf-opt %s -p 'spaq-select-levels{sqnr=40}' | filecheck %s --check-prefix=FINE
// RUN: daqkf-opt %s -p spaq-quantize | filecheck %s --check-prefix=UNSTATED

// Equal magnitudes look as if one level will do for 8 dB, and not for 40: nothing is fitted to know more.
func.func @layer(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %c = spaq.calibrated %x absmax 1.0 : tensor<?x4xf32> -> tensor<?x4xf32>
  %w = spaq.constant dense<[[3.0, 0.0], [-3.0, 0.5], [3.0, 0.5], [3.0, -0.5]]> : tensor<4x2xf32>
  // CHECK: spaq.matmul {{.*}} {spaq.levels = #spaq.levels<kind = "uniform", magnitudes = 1, maximum = 1>}
  // FINE: spaq.matmul {{.*}} {spaq.levels = #spaq.levels<kind = "{{uniform|codebook}}", magnitudes = {{[1-9][0-9]+}}, maximum = {{[0-9]+}}>}
  // FOLLOWED: #spaq.levels<kind = "uniform", magnitudes = 1, maximum = 1>>
  // FOLLOWED: spaq.matmul
  // FOLLOWED-NOT: {spaq.levels
  // UNSTATED: #spaq.levels<kind = "uniform", magnitudes = 127, maximum = 127>>
  %0 = spaq.matmul %c, %w : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.calibrated %0 absmax 12.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %1 : tensor<?x2xf32>
}
