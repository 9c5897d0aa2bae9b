// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.ones((2, 2)))"
// RUN: python -c "import numpy; numpy.save('%t.wide.npy', numpy.ones((2, 3)))"
// RUN: python -c "import numpy; numpy.save('%t.nan.npy', numpy.full((2, 2), numpy.nan))"
// RUN: not daqkf-opt %s -p 'dfke-dispatch{samples="%t.npy" kinds=uniform,uniform magnitudes=1}' 2>&1 | filecheck %s --check-prefix=LISTS
// RUN: not daqkf-opt %s -p 'dfke-dispatch{samples="%t.npy" kinds=uniform,uneven magnitudes=1,1}' 2>&1 | filecheck %s --check-prefix=KIND
// RUN: not daqkf-opt %s -p 'dfke-dispatch{samples="%t.npy" kinds=uniform,uniform magnitudes=1,2 sparsities=0.0,2.0}' 2>&1 | filecheck %s --check-prefix=SPARSITY
// RUN: not daqkf-opt %s -p 'dfke-dispatch{samples="%t.npy" kinds=uniform,uniform magnitudes=1,2 buckets=3}' 2>&1 | filecheck %s --check-prefix=BUCKETS
// RUN: not daqkf-opt %s -p 'dfke-dispatch{samples="%t.npy" kinds=uniform,uniform magnitudes=1,2 budget=-1}' 2>&1 | filecheck %s --check-prefix=BUDGET
// RUN: not daqkf-opt %s -p 'dfke-dispatch{samples="%t.npy" kinds=uniform,uniform magnitudes=1,2 target=moon}' 2>&1 | filecheck %s --check-prefix=TARGET
// RUN: not daqkf-opt %s -p 'dfke-dispatch{samples="%t.wide.npy" kinds=uniform,uniform magnitudes=1,2}' 2>&1 | filecheck %s --check-prefix=SHAPE
// RUN: not daqkf-opt %s -p 'dfke-dispatch{samples="%t.nan.npy" kinds=uniform,uniform magnitudes=1,2}' 2>&1 | filecheck %s --check-prefix=NAN
// RUN: python -c "import numpy; numpy.save('%t.text.npy', numpy.array([['a', 'b']]))"
// RUN: not daqkf-opt %s -p 'dfke-dispatch{samples="%t.text.npy" kinds=uniform,uniform magnitudes=1,2}' 2>&1 | filecheck %s --check-prefix=NAN
// RUN: not daqkf-opt %s -p 'dfke-dispatch{samples="nowhere.npy" kinds=uniform,uniform magnitudes=1,2}' 2>&1 | filecheck %s --check-prefix=FILE
// RUN: not daqkf-opt %s -p 'spaq-quantize,dfke-dispatch{samples="%t.npy" kinds=uniform,uniform magnitudes=1,2}' 2>&1 | filecheck %s --check-prefix=LAYERS

// RUN: sed 's/^activation_depth.*/activation_depth = 2/' %S/../../hw_targets/targets/tiny.toml > %t.toml
// RUN: not daqkf-opt %s -p 'dfke-dispatch{samples="%t.npy" kinds=uniform,uniform magnitudes=1,2 target="%t.toml"}' 2>&1 | filecheck %s --check-prefix=ROOM

// LISTS: daqkf-opt: dfke-dispatch: kinds, magnitudes, maxima and sparsities need as many entries
// KIND: daqkf-opt: dfke-dispatch: unknown kind of level set 'uneven'
// SPARSITY: daqkf-opt: spaq-prune: sparsity must be 0 <= sparsity < 1, not 2.0
// BUCKETS: daqkf-opt: dfke-dispatch: a decision's table has a power of two of entries, 2..64, not 3
// BUDGET: daqkf-opt: dfke-dispatch: an error budget must be at least 0 output steps, not -1
// TARGET: daqkf-opt: dfke-dispatch: unknown target 'moon'
// SHAPE: daqkf-opt: {{.*}}dfke_dispatch-invalid.mlir:31:1: func.func: dfke-dispatch: the samples of a dispatch: an array of shape (2, 3) is not a tensor<?x2xf32>
// NAN: daqkf-opt: dfke-dispatch: the samples of a dispatch must be finite numbers [T, K]
// FILE: daqkf-opt: dfke-dispatch: {{.*}}nowhere.npy
// LAYERS: daqkf-opt: {{.*}}dfke_dispatch-invalid.mlir:31:1: func.func: dfke-dispatch: expected one float layer in the module, not 0
// ROOM: daqkf-opt: {{.*}}dfke_dispatch-invalid.mlir:34:3: dfke.kernel: dfke-dispatch: 2 features; the target holds at most 1
func.func @layer(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %c = spaq.calibrated %x absmax 3.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  %w = spaq.constant dense<[[1.0], [-0.4]]> : tensor<2x1xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x2xf32>, tensor<2x1xf32>) -> tensor<?x1xf32>
  %1 = spaq.calibrated %0 absmax 3.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  func.return %1 : tensor<?x1xf32>
}
