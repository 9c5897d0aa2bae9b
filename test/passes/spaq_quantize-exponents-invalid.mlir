// RUN: not daqkf-opt %s -p 'spaq-quantize' 2>&1 | filecheck %s

// CHECK: :10:3: spaq.gate: spaq-quantize: rows share exponents that no product alone takes back
func.func @gated(%x: tensor<?x1xf32>) -> tensor<?x2xf32> {
  %c = spaq.calibrated %x absmax 127.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  %w = spaq.constant dense<[[1.0, 2.0, 1.0, 8.0]]> : tensor<1x4xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x1xf32>, tensor<1x4xf32>) -> tensor<?x4xf32>
  %1 = spaq.calibrated %0 absmax dense<[508.0, 635.0, 254.0, 635.0]> : tensor<4xf64>
    : tensor<?x4xf32> -> tensor<?x4xf32>
  %2 = spaq.gate "relu" %1 : tensor<?x4xf32> -> tensor<?x2xf32>
  %3 = spaq.calibrated %2 absmax dense<[10160.0, 2540.0]> : tensor<2xf64> reach 3
    : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %3 : tensor<?x2xf32>
}
