// RUN: %invalid | filecheck %s

// Operand memories, and chains of sequences.

// CHECK: the chain has operands, and no number of tiles
rpea.array @attending <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 4,
  stream_depth = 64, parameter_depth = 16, result_depth = 2, running_sum_width = 17,
  accumulator_width = 18, sum_width = 18, normalizes = true, softmax = true, operand_depth = 4, kernels = 8>
rpea.program @up on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.program @scores on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 0
rpea.chain @sequences of [@up, @scores]

// -----

// CHECK: a chain of sequences has keys, values, queries, scores of operands, a softmax and results of operands
rpea.array @attending <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 4,
  stream_depth = 64, parameter_depth = 16, result_depth = 2, running_sum_width = 17,
  accumulator_width = 18, sum_width = 18, normalizes = true, softmax = true, operand_depth = 4, kernels = 8>
rpea.program @up on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.program @scores on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 0
rpea.softmax @shares for @attending keys 2 table dense<1> : tensor<256xi8>
  offset dense<127> : tensor<2xi32> multiplier dense<127> : tensor<2xi32> shift dense<16> : tensor<2xi32>
rpea.program @results on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 2
rpea.chain @sequences of [@up, @up, @scores, @shares, @results, @up] tiles 1

// -----

// CHECK: a chain of sequences has keys, values, queries, scores of operands, a softmax and results of operands
rpea.array @attending <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 4,
  stream_depth = 64, parameter_depth = 16, result_depth = 2, running_sum_width = 17,
  accumulator_width = 18, sum_width = 18, normalizes = true, softmax = true, operand_depth = 4, kernels = 8>
rpea.program @up on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.program @scores on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 0
rpea.softmax @shares for @attending keys 2 table dense<1> : tensor<256xi8>
  offset dense<127> : tensor<2xi32> multiplier dense<127> : tensor<2xi32> shift dense<16> : tensor<2xi32>
rpea.program @results on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 2
rpea.chain @sequences of [@up, @up, @up, @scores, @shares, @results, @results] tiles 1

// -----

// CHECK: @keys and @up read other activations
rpea.array @attending <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 4,
  stream_depth = 64, parameter_depth = 16, result_depth = 2, running_sum_width = 17,
  accumulator_width = 18, sum_width = 18, normalizes = true, softmax = true, operand_depth = 4, kernels = 8>
rpea.program @up on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.program @keys on @attending features 1
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.program @scores on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 0
rpea.softmax @shares for @attending keys 2 table dense<1> : tensor<256xi8>
  offset dense<127> : tensor<2xi32> multiplier dense<127> : tensor<2xi32> shift dense<16> : tensor<2xi32>
rpea.program @results on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 2
rpea.chain @sequences of [@keys, @up, @up, @scores, @shares, @results] tiles 1

// -----

// CHECK: a softmax of 2 keys in a chain of 4 tokens
rpea.array @attending <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 4,
  stream_depth = 64, parameter_depth = 16, result_depth = 2, running_sum_width = 17,
  accumulator_width = 18, sum_width = 18, normalizes = true, softmax = true, operand_depth = 4, kernels = 8>
rpea.program @up on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.program @scores on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 0
rpea.softmax @shares for @attending keys 2 table dense<1> : tensor<256xi8>
  offset dense<127> : tensor<2xi32> multiplier dense<127> : tensor<2xi32> shift dense<16> : tensor<2xi32>
rpea.program @results on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 2
rpea.chain @sequences of [@up, @up, @up, @scores, @shares, @results] tiles 2

// -----

// CHECK: a softmax of 2 keys in a chain of 0 tokens
rpea.array @attending <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 4,
  stream_depth = 64, parameter_depth = 16, result_depth = 2, running_sum_width = 17,
  accumulator_width = 18, sum_width = 18, normalizes = true, softmax = true, operand_depth = 4, kernels = 8>
rpea.program @up on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.program @scores on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 0
rpea.softmax @shares for @attending keys 2 table dense<1> : tensor<256xi8>
  offset dense<127> : tensor<2xi32> multiplier dense<127> : tensor<2xi32> shift dense<16> : tensor<2xi32>
rpea.program @results on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 2
rpea.chain @sequences of [@up, @up, @up, @scores, @shares, @results] tiles 0

// -----

// CHECK: 1 features of keys and 2 of queries, 2 of values and 2 of results
rpea.array @attending <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 4,
  stream_depth = 64, parameter_depth = 16, result_depth = 2, running_sum_width = 17,
  accumulator_width = 18, sum_width = 18, normalizes = true, softmax = true, operand_depth = 4, kernels = 8>
rpea.program @up on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.program @keys on @attending features 2
  stream dense<[[1807]]> : tensor<1x1xi32>
  rows dense<1> : tensor<1xi32> outputs dense<0> : tensor<1xi32> counts dense<1> : tensor<1xi32>
  bias dense<0> : tensor<1xi32> multiplier dense<1> : tensor<1xi32>
  shift dense<1> : tensor<1xi32> table dense<0> : tensor<256xi8>
rpea.program @scores on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 0
rpea.softmax @shares for @attending keys 2 table dense<1> : tensor<256xi8>
  offset dense<127> : tensor<2xi32> multiplier dense<127> : tensor<2xi32> shift dense<16> : tensor<2xi32>
rpea.program @results on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 2
rpea.chain @sequences of [@keys, @up, @up, @scores, @shares, @results] tiles 1

// -----

// CHECK: 2 features of keys and 2 of queries, 1 of values and 2 of results
rpea.array @attending <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 4,
  stream_depth = 64, parameter_depth = 16, result_depth = 2, running_sum_width = 17,
  accumulator_width = 18, sum_width = 18, normalizes = true, softmax = true, operand_depth = 4, kernels = 8>
rpea.program @up on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.program @values on @attending features 2
  stream dense<[[1807]]> : tensor<1x1xi32>
  rows dense<1> : tensor<1xi32> outputs dense<0> : tensor<1xi32> counts dense<1> : tensor<1xi32>
  bias dense<0> : tensor<1xi32> multiplier dense<1> : tensor<1xi32>
  shift dense<1> : tensor<1xi32> table dense<0> : tensor<256xi8>
rpea.program @scores on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 0
rpea.softmax @shares for @attending keys 2 table dense<1> : tensor<256xi8>
  offset dense<127> : tensor<2xi32> multiplier dense<127> : tensor<2xi32> shift dense<16> : tensor<2xi32>
rpea.program @results on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 2
rpea.chain @sequences of [@up, @values, @up, @scores, @shares, @results] tiles 1

// -----

// CHECK: 4 operand words of a PE; the array holds 2
rpea.array @attending <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 4,
  stream_depth = 64, parameter_depth = 16, result_depth = 2, running_sum_width = 17,
  accumulator_width = 18, sum_width = 18, normalizes = true, softmax = true, operand_depth = 2, kernels = 8>
rpea.program @up on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.program @scores on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 0
rpea.softmax @shares for @attending keys 2 table dense<1> : tensor<256xi8>
  offset dense<127> : tensor<2xi32> multiplier dense<127> : tensor<2xi32> shift dense<16> : tensor<2xi32>
rpea.program @results on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 1
rpea.chain @sequences of [@up, @up, @up, @scores, @shares, @results] tiles 1

// -----

// CHECK: operands from words [0, 1], not [0, 2]
rpea.array @attending <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 4,
  stream_depth = 64, parameter_depth = 16, result_depth = 2, running_sum_width = 17,
  accumulator_width = 18, sum_width = 18, normalizes = true, softmax = true, operand_depth = 4, kernels = 8>
rpea.program @up on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.program @scores on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 0
rpea.softmax @shares for @attending keys 2 table dense<1> : tensor<256xi8>
  offset dense<127> : tensor<2xi32> multiplier dense<127> : tensor<2xi32> shift dense<16> : tensor<2xi32>
rpea.program @results on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 1
rpea.chain @sequences of [@up, @up, @up, @scores, @shares, @results] tiles 1

// -----

// CHECK: operands from word 4; the array holds 4
rpea.array @attending <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 4,
  stream_depth = 64, parameter_depth = 16, result_depth = 2, running_sum_width = 17,
  accumulator_width = 18, sum_width = 18, normalizes = true, softmax = true, operand_depth = 4, kernels = 8>
rpea.program @results on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 4

// -----

// CHECK: operands from word -1; the array holds 4
rpea.array @attending <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 4,
  stream_depth = 64, parameter_depth = 16, result_depth = 2, running_sum_width = 17,
  accumulator_width = 18, sum_width = 18, normalizes = true, softmax = true, operand_depth = 4, kernels = 8>
rpea.program @results on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands -1

// -----

// CHECK: operands from word 0; the array holds 0
rpea.array @attending <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 4,
  stream_depth = 64, parameter_depth = 16, result_depth = 2, running_sum_width = 17,
  accumulator_width = 18, sum_width = 18, normalizes = true, softmax = true, kernels = 8>
rpea.program @results on @attending features 2
  stream dense<[[207], [463]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 0

// -----

// CHECK: @scores has operands, which only a chain fills
rpea.array @attending <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 4,
  stream_depth = 64, parameter_depth = 16, result_depth = 2, running_sum_width = 17,
  accumulator_width = 18, sum_width = 18, normalizes = true, softmax = true, operand_depth = 4, kernels = 8>
rpea.program @scores on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  operands 0
func.func @alone(%x: tensor<?x2xi8>) -> tensor<?x2xi8> {
  %y = rpea.run @scores(%x) : tensor<?x2xi8> -> tensor<?x2xi8>
  func.return %y : tensor<?x2xi8>
}
