// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.ones((2, 1)))"
// RUN: not daqkf-opt %s -p 'dfke-dispatch{samples="%t.npy" kinds=uniform,uniform magnitudes=1,2}' 2>&1 | filecheck %s

// CHECK: daqkf-opt: {{.*}}dfke_dispatch-layers-invalid.mlir:8:3: spaq.matmul: dfke-dispatch: expected one float layer in the module, not 2
func.func @layers(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %w = spaq.constant dense<1.0> : tensor<1x1xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x1xf32>, tensor<1x1xf32>) -> tensor<?x1xf32>
  %1 = spaq.matmul %0, %w : (tensor<?x1xf32>, tensor<1x1xf32>) -> tensor<?x1xf32>
  func.return %1 : tensor<?x1xf32>
}
