// RUN: daqkf-opt %s -p 'spaq-quantize{keep=true kind=codebook magnitudes=2 maximum=9}' | filecheck %s
// RUN: daqkf-opt %s -p 'spaq-quantize{keep=true kind=codebook magnitudes=1 maximum=9}' | filecheck %s --check-prefix=FEW

// A codebook that has the levels of all channels takes them as they are, without common factors;
// one of a single magnitude is fitted to the weights.
// CHECK-LABEL: @codes
// CHECK: %w = spaq.constant scales dense<[{{0.09999.*|1.000000e-01}}, 2.500000e-01]> : tensor<2xf32> dense<[[9, 3], [-2, 0], [2, -1]]>
// FEW: %w = spaq.constant scales dense<{{.*}}> : tensor<2xf32> dense<{{\[\[1, 1\], \[(0|-1), 0\], \[(0|1), (0|-1)\]\]}}>
func.func @codes(%x: tensor<?x3xf32>) -> tensor<?x2xf32> {
  %q = spaq.quantize %x scale 0.5 : tensor<?x3xf32> -> tensor<?x3xi8>
  %d = spaq.dequantize %q scale 0.5 : tensor<?x3xi8> -> tensor<?x3xf32>
  %w = spaq.constant dense<[[0.9, 0.75], [-0.2, 0.0], [0.2, -0.25]]> : tensor<3x2xf32>
  %0 = spaq.matmul %d, %w : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  %c = spaq.calibrated %0 absmax 9.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %c : tensor<?x2xf32>
}
