// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.ones((2, 2)))"
// RUN: not daqkf-opt %s -p 'dfke-dispatch{samples="%t.npy" kinds=uniform,uniform magnitudes=1,2}' 2>&1 | filecheck %s

// CHECK: daqkf-opt: {{.*}}dfke_dispatch-residual-invalid.mlir:10:3: spaq.residual: dfke-dispatch: runs in a chain, and an array picks among variants or chains kernels
// CHECK-NOT: {{.}}
func.func @layer(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %c = spaq.calibrated %x absmax 3.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  %w = spaq.constant dense<[[1.0, 2.0], [-0.4, 0.0]]> : tensor<2x2xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.residual %0, %c : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %2 = spaq.calibrated %1 absmax 6.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %2 : tensor<?x2xf32>
}
