// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.array([[7.0, 3.0], [1.0, 3.0]]))"
// RUN: daqkf-opt %s -p 'spaq-prune{sparsity=0.5}' | filecheck %s --check-prefix=MAGNITUDE
// RUN: daqkf-opt %s -p 'spaq-prune{sparsity=0.5 samples="%t.npy"}' | filecheck %s --check-prefix=CONSTANT
// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.array([[1.0, 1.0], [-3.0, -3.0], [2.0, 2.0]]))"
// RUN: daqkf-opt %s -p 'spaq-prune{sparsity=0.5 samples="%t.npy"}' | filecheck %s --check-prefix=EQUAL

func.func @layer(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  // Without samples the smaller weight goes, and nothing makes up for it.
  // MAGNITUDE: %w = spaq.constant dense<[[0.000000e+00], [2.000000e+00]]> : tensor<2x1xf32>
  // A feature that never varies is a matter of the bias: 2 · 3 is added there.
  // CONSTANT: %w = spaq.constant dense<{{\[\[}}1.000000{{.*}}], [0.000000e+00]]> : tensor<2x1xf32>
  // Of two features that are always equal one can do what both did, but for the damping.
  // EQUAL: %w = spaq.constant dense<{{\[\[}}0.000000e+00], [2.99{{.*}}]]> : tensor<2x1xf32>
  %w = spaq.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x1xf32>) -> tensor<?x1xf32>
  // MAGNITUDE: %b = spaq.constant dense<1.000000e+01> : tensor<1xf32>
  // CONSTANT: %b = spaq.constant dense<1.600000e+01> : tensor<1xf32>
  // EQUAL: %b = spaq.constant dense<1.000000e+01> : tensor<1xf32>
  %b = spaq.constant dense<[10.0]> : tensor<1xf32>
  %1 = spaq.add %0, %b : (tensor<?x1xf32>, tensor<1xf32>) -> tensor<?x1xf32>
  func.return %1 : tensor<?x1xf32>
}
