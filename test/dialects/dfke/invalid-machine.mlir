// RUN: daqkf-opt %s --split-input-file --parsing-diagnostics | filecheck %s

// CHECK: lanes cannot be 0
"test.op"() {a = #dfke.machine<pes = 1, lanes = 0, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 4>} : () -> ()

// -----

// CHECK: activation_depth must be a power of two above 1, not 3
"test.op"() {a = #dfke.machine<pes = 1, lanes = 1, post_lanes = 1, max_shift = 1, activation_depth = 3,
  stream_depth = 4, parameter_depth = 4, result_depth = 4>} : () -> ()

// -----

// CHECK: post_lanes 2 do not divide 3 lanes
"test.op"() {a = #dfke.machine<pes = 1, lanes = 3, post_lanes = 2, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 4>} : () -> ()

// -----

// CHECK: pes cannot be beyond 1024, as 1025 is
"test.op"() {a = #dfke.machine<pes = 1025, lanes = 1, post_lanes = 1, max_shift = 0,
  activation_depth = 4, stream_depth = 4, parameter_depth = 4, result_depth = 4>} : () -> ()
