// RUN: daqkf-opt %s -p 'spaq-prune{sparsity=0.5}' | filecheck %s
// RUN: daqkf-opt %s -p 'spaq-prune{sparsity=0}' | filecheck %s --check-prefix=KEEP

func.func @layer(%x: tensor<?x2xf32>) -> tensor<?x3xf32> {
  // The three smallest of six go; a zero counts as one of them.
  // CHECK: %w = spaq.constant dense<[[0.000000e+00, -4.000000e+00, 3.000000e+00], [0.000000e+00, 0.000000e+00, 5.000000e+00]]> : tensor<2x3xf32>
  // KEEP: %w = spaq.constant dense<[[1.000000e+00, -4.000000e+00, 3.000000e+00], [0.000000e+00, -2.000000e+00, 5.000000e+00]]> : tensor<2x3xf32>
  %w = spaq.constant dense<[[1.0, -4.0, 3.0], [0.0, -2.0, 5.0]]> : tensor<2x3xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x3xf32>) -> tensor<?x3xf32>
  func.return %0 : tensor<?x3xf32>
}
