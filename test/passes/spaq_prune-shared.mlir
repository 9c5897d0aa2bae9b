// RUN: daqkf-opt %s -p 'spaq-prune{sparsity=0.5}' | filecheck %s
// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.random.default_rng(0).normal(size=(40, 2)) @ [[1, 0.3], [0.8, 1]])"
// RUN: daqkf-opt %s -p 'spaq-prune{sparsity=0.5 samples="%t.npy"}' | filecheck %s --check-prefix=SAMPLES

// Two products of the same weights and biases: by magnitude they stay the same.
// CHECK: %w = spaq.constant dense<{{\[\[}}1.000000e+00, 0.000000e+00], [0.000000e+00, 2.000000e+00]]>
// CHECK-NEXT: %b = spaq.constant
// CHECK-NEXT: spaq.matmul %x, %w
// CHECK: spaq.matmul %{{.*}}, %w

// With samples each product has its own, as they read something else.
// SAMPLES: %[[W2:.*]] = spaq.constant dense<{{\[\[}}1.{{[0-9]*}}, 0.000000e+00], [0.000000e+00, 2.
// SAMPLES-NEXT: %[[W1:.*]] = spaq.constant dense<{{\[\[}}1.{{[0-9]*}}, 0.000000e+00], [0.000000e+00, 2.
// SAMPLES-NEXT: %[[B2:.*]] = spaq.constant dense<[
// SAMPLES-NEXT: %[[B1:.*]] = spaq.constant dense<[
// SAMPLES-NEXT: spaq.matmul %x, %[[W1]]
// SAMPLES-NEXT: spaq.add %{{.*}}, %[[B1]]
// SAMPLES-NEXT: spaq.matmul %{{.*}}, %[[W2]]
// SAMPLES-NEXT: spaq.add %{{.*}}, %[[B2]]
func.func @layers(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<[[1.0, 0.1], [0.2, 2.0]]> : tensor<2x2xf32>
  %b = spaq.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.add %0, %b : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %2 = spaq.matmul %1, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %3 = spaq.add %2, %b : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  func.return %3 : tensor<?x2xf32>
}
