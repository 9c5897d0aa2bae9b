// RUN: daqkf-opt %s -p 'spaq-quantize{magnitudes=3}' | filecheck %s
// RUN: daqkf-opt %s -p 'spaq-quantize{kind=codebook magnitudes=2}' | filecheck %s --check-prefix=CODEBOOK
// RUN: daqkf-opt %s -p 'spaq-quantize{magnitudes=3 exact=true}' | filecheck %s --check-prefix=EXACT

// Channel 0 needs two of the three magnitudes, channel 1 is zero: it gets a scale that resolves its bias.
// The array is quantised to 127 steps of 2.54: scale 0.02.
func.func @layer(%x: tensor<?x3xf32>) -> tensor<?x2xf32> {
  %c = spaq.calibrated %x absmax 2.54 : tensor<?x3xf32> -> tensor<?x3xf32>
  // CHECK: %[[Q:.*]] = spaq.quantize %x scale 2.000000e-02 : tensor<?x3xf32> -> tensor<?x3xi8>
  // CHECK: %w = spaq.constant scales dense<[1.000000e+00, {{.*}}]> : tensor<2xf32> dense<[[-1, 0], [2, 0], [0, 0]]> : tensor<3x2xi8, #spaq.encoding<#spaq.sparsity<nonzeros = 2, column_nonzeros = 2, pattern = "unstructured">, #spaq.levels<kind = "uniform", magnitudes = 3, maximum = 3>>>
  // CODEBOOK: dense<[[-1, 0], [2, 0], [0, 0]]> : tensor<3x2xi8, {{.*}}#spaq.levels<kind = "codebook", magnitudes = 2, maximum = 5>>>
  // EXACT: %w = spaq.constant scales dense<[1.000000e+00, {{.*}}]> : tensor<2xf32> dense<[[-1, 0], [2, 0], [0, 0]]>
  %w = spaq.constant dense<[[-1.0, 0.0], [2.0, 0.0], [0.0, 0.0]]> : tensor<3x2xf32>
  // CHECK: %[[P:.*]] = spaq.matmul %[[Q]], %w : {{.*}} -> tensor<?x2xi32>
  %0 = spaq.matmul %c, %w : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  // CHECK: %b = spaq.constant dense<[50, 12800]> : tensor<2xi32>
  %b = spaq.constant dense<[1.0, 2.0]> : tensor<2xf32>
  // CHECK: %[[S:.*]] = spaq.add %[[P]], %b : (tensor<?x2xi32>, tensor<2xi32>) -> tensor<?x2xi32>
  %1 = spaq.add %0, %b : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %2 = spaq.calibrated %1 absmax 5.08 : tensor<?x2xf32> -> tensor<?x2xf32>
  // A ratio of 0.02 · 1 / 0.04 is 32768 / 2^16.
  // CHECK: %[[R:.*]] = spaq.requantize %[[S]] multiplier dense<32768> : tensor<2xi32> shift dense<[16, 23]> : tensor<2xi32>
  // CHECK: %[[A:.*]] = spaq.activation "relu" %[[R]] table dense<"0x000102{{.*}}00">
  %3 = spaq.activation "relu" %2 : tensor<?x2xf32> -> tensor<?x2xf32>
  %4 = spaq.calibrated %3 absmax 5.08 : tensor<?x2xf32> -> tensor<?x2xf32>
  // CHECK: %[[Y:.*]] = spaq.dequantize %[[A]] scale 4.000000e-02 : tensor<?x2xi8> -> tensor<?x2xf32>
  // CHECK-NEXT: func.return %[[Y]]
  func.return %4 : tensor<?x2xf32>
}
