// RUN: %invalid | filecheck %s

// Softmaxes that are causal.

// CHECK: the array has no softmax that is causal
rpea.array @decodes <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, kernels = 4>
rpea.softmax @first for @decodes keys 2 queries 3 past 0 table dense<0> : tensor<256xi8>
  offset dense<127> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>

// -----

// CHECK: 0 queries of a token; there can be 1..255
rpea.array @decodes <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, causal = true, kernels = 4>
rpea.softmax @first for @decodes keys 2 queries 0 past 0 table dense<0> : tensor<256xi8>
  offset dense<127> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>

// -----

// CHECK: 256 queries of a token; there can be 1..255
rpea.array @decodes <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, causal = true, kernels = 4>
rpea.softmax @first for @decodes keys 2 queries 256 past 0 table dense<0> : tensor<256xi8>
  offset dense<127> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>

// -----

// CHECK: 6 queries before the first one, of 2 keys with 3 each
rpea.array @decodes <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, causal = true, kernels = 4>
rpea.softmax @first for @decodes keys 2 queries 3 past 6 table dense<0> : tensor<256xi8>
  offset dense<127> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>

// -----

// CHECK: offsets of a causal softmax must be 0..127
rpea.array @decodes <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, causal = true, kernels = 4>
rpea.softmax @first for @decodes keys 2 queries 3 past 0 table dense<0> : tensor<256xi8>
  offset dense<128> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>

// -----

// CHECK: the table of a causal softmax has 0 for -128
rpea.array @decodes <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, causal = true, kernels = 4>
rpea.softmax @first for @decodes keys 2 queries 3 past 0 table dense<1> : tensor<256xi8>
  offset dense<127> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>

// -----

// CHECK: a chain of sequences has a softmax that is not causal
rpea.array @attending <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 4,
  stream_depth = 64, parameter_depth = 16, result_depth = 2, running_sum_width = 17,
  accumulator_width = 18, sum_width = 18, normalizes = true, softmax = true, causal = true, operand_depth = 4, kernels = 8>
rpea.program @nothing on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.program @scores on @attending features 2
  stream dense<[[84], [212], [244], [244], [244], [244], [244], [244], [15], [783], [84], [212], [244], [244], [244], [244], [244], [244], [15], [1807]]> : tensor<20x1xi32>
  rows dense<20> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8> operands 0
rpea.softmax @shares for @attending keys 2 queries 1 past 0 table dense<0> : tensor<256xi8>
  offset dense<127> : tensor<2xi32> multiplier dense<127> : tensor<2xi32> shift dense<16> : tensor<2xi32>
rpea.program @results on @attending features 2
  stream dense<[[84], [212], [244], [244], [244], [244], [244], [244], [15], [783], [84], [212], [244], [244], [244], [244], [244], [244], [15], [1807]]> : tensor<20x1xi32>
  rows dense<20> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8> operands 2
rpea.chain @sequences of [@nothing, @nothing, @nothing, @scores, @shares, @results, @nothing] tiles 1
