// RUN: daqkf-opt %s --split-input-file --parsing-diagnostics | filecheck %s

// CHECK: unknown sparsity pattern 'checkered'
"test.op"() {a = #spaq.sparsity<nonzeros = 1, column_nonzeros = 1, pattern = "checkered">} : () -> ()

// -----

// CHECK: a pattern N:M needs 1 <= N <= M, not '3:2'
"test.op"() {a = #spaq.sparsity<nonzeros = 1, column_nonzeros = 1, pattern = "3:2">} : () -> ()

// -----

// CHECK: the blocks of a pattern need extents above 0, not 'block:4x0'
"test.op"() {a = #spaq.sparsity<nonzeros = 1, column_nonzeros = 1, pattern = "block:4x0">} : () -> ()

// -----

// CHECK: dynamic_range is of another kind
"test.op"() {a = #spaq.analysis<tile = 1, dynamic_range = 0 : i32, entropy = 1.0 : f64, channel_nonzeros = dense<1> : tensor<1xi32>, tile_nonzeros = dense<1> : tensor<1x1xi32>>} : () -> ()

// -----

// CHECK: counts of non-zeros cannot be negative
"test.op"() {a = #spaq.sparsity<nonzeros = -1, column_nonzeros = 1, pattern = "dense">} : () -> ()

// -----

// CHECK: unknown kind of level set 'free' (known: uniform, codebook, ternary, binary)
"test.op"() {a = #spaq.levels<kind = "free", magnitudes = 1, maximum = 1>} : () -> ()

// -----

// CHECK: a level set needs 1 <= magnitudes <= maximum <= 127, not 3 magnitudes up to 2
"test.op"() {a = #spaq.levels<kind = "codebook", magnitudes = 3, maximum = 2>} : () -> ()

// -----

// CHECK: the magnitudes of a uniform level set are 1..maximum
"test.op"() {a = #spaq.levels<kind = "uniform", magnitudes = 3, maximum = 7>} : () -> ()

// -----

// CHECK: a ternary level set has one magnitude, 1
"test.op"() {a = #spaq.levels<kind = "ternary", magnitudes = 1, maximum = 7>} : () -> ()

// -----

// CHECK: a binary level set has one magnitude, 1
"test.op"() {a = #spaq.levels<kind = "binary", magnitudes = 3, maximum = 3>} : () -> ()

// -----

// CHECK: expected a number or a dense constant
func.func @f(%x: tensor<?x2xf32>) {
  %0 = spaq.calibrated %x absmax "much" : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: spaq.activation: unknown function 'geluu' (known: relu, gelu, gelu_tanh, silu, sigmoid, tanh, table)
func.func @misspelled(%x: tensor<?x1xf32>) {
  %0 = spaq.activation "geluu" %x : tensor<?x1xf32> -> tensor<?x1xf32>
  func.return
}

// -----

"test.op"() {
  // CHECK: test.op: unknown function 'geluu'
  a = #spaq<function "geluu">
} : () -> ()
