// RUN: daqkf-opt %s --split-input-file --verify-diagnostics -p rpea-validate | filecheck %s
// RUN: daqkf-opt %s --split-input-file | filecheck %s --check-prefix=VERIFIES

// The verifier does not read streams.
// VERIFIES-COUNT-6: rpea.program

// CHECK: rpea.program: rpea-validate: word 0 of PE 0 reads a feature beyond 1
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 10, sum_width = 11>
rpea.program @program on @array features 1
  stream dense<[[909], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: rpea.program: rpea-validate: exactly the final word of a stream carries its end; PE {{[0-9]}} has another
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 10, sum_width = 11>
rpea.program @program on @array features 2
  stream dense<[[399], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: rpea.program: rpea-validate: the stream of PE {{[0-9]}} completes other numbers of outputs than the counts say
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 10, sum_width = 11>
rpea.program @program on @array features 2
  stream dense<[[655], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: rpea.program: rpea-validate: the stream of PE 1 completes other numbers of outputs than the counts say
rpea.array @stepping <pes = 2, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 4,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 18, families = [dense]>
rpea.program @program on @stepping features 2
  stream dense<[[3], [3], [0]]> : tensor<3x1xi32> rows dense<[2, 1]> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: rpea.program: rpea-validate: word 1 of PE 0 reads a feature beyond 4
rpea.array @distant <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 8,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 18, families = [multiply], index_bits = 2>
rpea.program @distances on @distant features 4
  stream dense<[[11], [4093]]> : tensor<2x1xi32> rows dense<2> : tensor<1xi32>
  outputs dense<0> : tensor<1xi32> counts dense<1> : tensor<1xi32>
  bias dense<-43520> : tensor<1xi32> multiplier dense<1> : tensor<1xi32>
  shift dense<1> : tensor<1xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: rpea.program: rpea-validate: the stream of PE 0 is gated by operands, and the program has none
rpea.array @attending <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 4,
  stream_depth = 64, parameter_depth = 16, result_depth = 2, running_sum_width = 17,
  accumulator_width = 18, sum_width = 18, normalizes = true, softmax = true, operand_depth = 4, kernels = 8>
rpea.program @up on @attending features 2
  stream dense<[[84], [15], [783], [1807]]> : tensor<4x1xi32>
  rows dense<4> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
