// RUN: daqkf-opt %s --split-input-file --verify-diagnostics | filecheck %s
// RUN: daqkf-opt %s --split-input-file --verify-diagnostics --print-debuginfo | filecheck %s --check-prefix=PRINTED

// Each error names the line and the column in the file, not in its chunk.
// CHECK: places.mlir:[[# @LINE + 2]]:3: spaq.concat: 2 features together, not 3
func.func @sum(%x: tensor<?x2xf32>) {
  %0 = spaq.concat %x : (tensor<?x2xf32>) -> tensor<?x3xf32>
  func.return
}

// -----

// Attributes are verified as they are read.
// CHECK: places.mlir:[[# @LINE + 2]]:3: test.op: a tile has an extent above 0, not 0
func.func @attribute(%x: tensor<?x2xf32>) {
  "test.op"() {a = #spaq.analysis<tile = 0, dynamic_range = 0.0 : f64, entropy = 1.0 : f64, channel_nonzeros = dense<1> : tensor<1xi32>, tile_nonzeros = dense<1> : tensor<1x1xi32>>} : () -> ()
  func.return
}

// -----

// PRINTED: func.return loc("{{.*}}places.mlir":[[# @LINE + 2]]:3)
func.func @right() {
  func.return
}
