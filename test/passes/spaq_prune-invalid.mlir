// RUN: not daqkf-opt %s -p 'spaq-prune{sparsity=1.0}' 2>&1 | filecheck %s --check-prefix=ONE
// RUN: not daqkf-opt %s -p 'spaq-prune{sparsity=-0.5}' 2>&1 | filecheck %s --check-prefix=BELOW
// RUN: not daqkf-opt %s -p spaq-prune 2>&1 | filecheck %s --check-prefix=MISSING
// RUN: not daqkf-opt %s -p 'spaq-prune{sparsity=0.5 samples="nowhere.npy"}' 2>&1 | filecheck %s --check-prefix=FILE
// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.ones((2, 3)))"
// RUN: not daqkf-opt %s -p 'spaq-prune{sparsity=0.5 samples="%t.npy"}' 2>&1 | filecheck %s --check-prefix=SHAPE
// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.array([[1.0], [numpy.nan]]))"
// RUN: not daqkf-opt %s -p 'spaq-prune{sparsity=0.5 samples="%t.npy"}' 2>&1 | filecheck %s --check-prefix=NAN

// ONE: daqkf-opt: spaq-prune: sparsity must be 0 <= sparsity < 1, not 1.0
// BELOW: daqkf-opt: spaq-prune: sparsity must be 0 <= sparsity < 1, not -0.5
// MISSING: daqkf-opt: spaq-prune: the option 'sparsity' is required
// FILE: daqkf-opt: spaq-prune: {{.*}}nowhere.npy
// SHAPE: daqkf-opt: {{.*}}spaq_prune-invalid.mlir:16:1: func.func: spaq-prune: samples: an array of shape (2, 3) is not a tensor<?x1xf32>
// NAN: daqkf-opt: spaq-prune: sample [1, 0] is nan
func.func @layer(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %w = spaq.constant dense<1.0> : tensor<1x1xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x1xf32>, tensor<1x1xf32>) -> tensor<?x1xf32>
  func.return %0 : tensor<?x1xf32>
}
