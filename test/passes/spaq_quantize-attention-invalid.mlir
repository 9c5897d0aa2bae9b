// RUN: %invalid -p 'spaq-quantize{exact=true}' | filecheck %s

// CHECK: spaq-quantize: the scores of spaq.attention have no range; run spaq-calibrate
func.func @layer(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %xc = spaq.calibrated %x absmax 127.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  %wq = spaq.constant dense<[[1.0, 0.0], [0.0, 2.0]]> : tensor<2x2xf32>
  %sq = spaq.matmul %xc, %wq : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %q = spaq.calibrated %sq absmax dense<[127.0, 63.5]> : tensor<2xf64> : tensor<?x2xf32> -> tensor<?x2xf32>
  %wk = spaq.constant dense<[[1.0, 0.0], [0.0, 2.0]]> : tensor<2x2xf32>
  %sk = spaq.matmul %xc, %wk : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %k = spaq.calibrated %sk absmax dense<[127.0, 254.0]> : tensor<2xf64> : tensor<?x2xf32> -> tensor<?x2xf32>
  %wv = spaq.constant dense<[[1.0, 0.0], [0.0, 2.0]]> : tensor<2x2xf32>
  %sv = spaq.matmul %xc, %wv : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %v = spaq.calibrated %sv absmax dense<[127.0, 1270.0]> : tensor<2xf64> : tensor<?x2xf32> -> tensor<?x2xf32>
  %a = spaq.attention %q, %k, %v heads 1 tokens 6 scale 0.5
    : (tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %y = spaq.calibrated %a absmax dense<[127.0, 1270.0]> : tensor<2xf64> : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %y : tensor<?x2xf32>
}

// -----

// CHECK: spaq-quantize: the result of spaq.attention has no spaq.calibrated range
func.func @layer(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %xc = spaq.calibrated %x absmax 127.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  %wq = spaq.constant dense<[[1.0, 0.0], [0.0, 2.0]]> : tensor<2x2xf32>
  %sq = spaq.matmul %xc, %wq : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %q = spaq.calibrated %sq absmax dense<[127.0, 63.5]> : tensor<2xf64> : tensor<?x2xf32> -> tensor<?x2xf32>
  %wk = spaq.constant dense<[[1.0, 0.0], [0.0, 2.0]]> : tensor<2x2xf32>
  %sk = spaq.matmul %xc, %wk : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %k = spaq.calibrated %sk absmax dense<[127.0, 254.0]> : tensor<2xf64> : tensor<?x2xf32> -> tensor<?x2xf32>
  %wv = spaq.constant dense<[[1.0, 0.0], [0.0, 2.0]]> : tensor<2x2xf32>
  %sv = spaq.matmul %xc, %wv : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %v = spaq.calibrated %sv absmax dense<[127.0, 1270.0]> : tensor<2xf64> : tensor<?x2xf32> -> tensor<?x2xf32>
  %a = spaq.attention %q, %k, %v heads 1 tokens 6 scale 0.5 scores 127.0
    : (tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  func.return %a : tensor<?x2xf32>
}
