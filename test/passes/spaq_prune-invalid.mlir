// RUN: not daqkf-opt %s -p 'spaq-prune{sparsity=1.0}' 2>&1 | filecheck %s --check-prefix=ONE
// RUN: not daqkf-opt %s -p 'spaq-prune{sparsity=-0.5}' 2>&1 | filecheck %s --check-prefix=BELOW
// RUN: not daqkf-opt %s -p spaq-prune 2>&1 | filecheck %s --check-prefix=MISSING

// ONE: daqkf-opt: spaq-prune: sparsity must be 0 <= sparsity < 1, not 1.0
// BELOW: daqkf-opt: spaq-prune: sparsity must be 0 <= sparsity < 1, not -0.5
// MISSING: daqkf-opt: spaq-prune requires argument "sparsity"
func.func @layer(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %w = spaq.constant dense<1.0> : tensor<1x1xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x1xf32>, tensor<1x1xf32>) -> tensor<?x1xf32>
  func.return %0 : tensor<?x1xf32>
}
