// RUN: daqkf-opt %s --split-input-file --parsing-diagnostics | filecheck %s

// CHECK: pes cannot be 0
rpea.array @array <pes = 0, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4, stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9, accumulator_width = 10, sum_width = 11>

// -----

// CHECK: post_lanes 3 do not divide 2 lanes
rpea.array @array <pes = 2, lanes = 2, post_lanes = 3, max_shift = 1, activation_depth = 4, stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9, accumulator_width = 10, sum_width = 11>

// -----

// CHECK: stream_depth must be a power of two above 1, not 5
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4, stream_depth = 5, parameter_depth = 2, result_depth = 2, running_sum_width = 9, accumulator_width = 10, sum_width = 11>

// -----

// CHECK: max_shift 8 is beyond the largest level
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 8, activation_depth = 4, stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9, accumulator_width = 10, sum_width = 11>

// -----

// CHECK: the running sum must be wider than an activation
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4, stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 8, accumulator_width = 10, sum_width = 11>

// -----

// CHECK: widths must not shrink from running sum to accumulator to sum
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4, stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9, accumulator_width = 10, sum_width = 9>

// -----

// CHECK: sums of 33 bits; at most 32
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4, stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9, accumulator_width = 10, sum_width = 33>

// -----

// CHECK: buckets must be a power of two, 1..64, not 3
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 10, sum_width = 11, buckets = 3>

// -----

// CHECK: buckets must be a power of two, 1..64, not 128
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 10, sum_width = 11, buckets = 128>

// -----

// CHECK: index_bits must be 2..2 for addresses of 3 bits, not 3
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 8,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 10, sum_width = 11, index_bits = 3>

// -----

// CHECK: strassen elements have no index_bits, but whole addresses
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 8,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 10, sum_width = 11, families = [strassen], index_bits = 2>

// -----

// CHECK: residuals and row units are for arrays that chain kernels
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 8,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 18, residual_depth = 2>

// -----

// CHECK: accumulators of 17 bits; what a row unit gives has 18
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 8,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 17, sum_width = 18, normalizes = true, kernels = 2>

// -----

// CHECK: row_exponents are those of gated results, of a row unit that gates
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4, stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9, accumulator_width = 10, sum_width = 11, row_exponents = 3, kernels = 4>

// -----

// CHECK: row_exponents must be 0..7, not 8
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4, stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9, accumulator_width = 10, sum_width = 11, gates = true, row_exponents = 8, kernels = 4>

// -----

// CHECK: causal is for a row unit with softmax
rpea.array @decodes <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4, stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9, accumulator_width = 18, sum_width = 19, normalizes = true, causal = true, kernels = 4>

// -----

// CHECK: root mean squares and epsilons are for arrays that normalise
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 8,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 18, gates = true, kernels = 2, rms_norms = true>

// -----

// CHECK: epsilons of 30 bits; at most 29
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 8,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 18, normalizes = true, kernels = 2, epsilon_width = 30>

// -----

// CHECK: top_k is of wide results, which need wide_results = true
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4, stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9, accumulator_width = 10, sum_width = 11, top_k = 1>

// -----

// CHECK: top_k must be 0..64, not 65
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4, stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9, accumulator_width = 10, sum_width = 11, wide_results = true, top_k = 65>

// -----

// CHECK: top_k = 1 gives 4 rows of results; there are 2
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4, stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9, accumulator_width = 10, sum_width = 11, wide_results = true, top_k = 1>
