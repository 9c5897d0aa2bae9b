// RUN: %invalid | filecheck %s

// Residuals and normalisations.

// CHECK: a residual of 2 outputs; the array keeps 0
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, kernels = 4>
rpea.program @down on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  residual dense<[65535, 0]> : tensor<2xi32>

// -----

// CHECK: multipliers of a residual must be 0..65535
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.program @down on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  residual dense<[65536, 0]> : tensor<2xi32>

// -----

// CHECK: multipliers of a residual must be 0..65535
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.program @down on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  residual dense<[0, -1]> : tensor<2xi32>

// -----

// CHECK: residual must be tensor<2xi32>
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.program @down on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  residual dense<0> : tensor<3xi32>

// -----

// CHECK: @down adds a residual, which only a chain keeps
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.program @down on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  residual dense<[65535, 0]> : tensor<2xi32>
func.func @alone(%x: tensor<?x2xi8>) -> tensor<?x2xi8> {
  %y = rpea.run @down(%x) : tensor<?x2xi8> -> tensor<?x2xi8>
  func.return %y : tensor<?x2xi8>
}

// -----

// CHECK: @down adds a residual, which only a chain keeps
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.program @down on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  residual dense<[65535, 0]> : tensor<2xi32>
rpea.tiled @large of [@down]

// -----

// CHECK: @down adds a residual of 2 columns; the chain has saved 0
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.program @down on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  residual dense<[65535, 0]> : tensor<2xi32>
rpea.chain @block of [@down]

// -----

// CHECK: @down adds a residual of 2 columns; the chain has saved 0
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.program @down on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  residual dense<[65535, 0]> : tensor<2xi32>
rpea.chain @block of [@down, @up] saves [1]

// -----

// CHECK: the chain saves what kernel 2 reads, which is no program
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.normalization @norm for @rows exponent dense<[0, 3]> : tensor<2xi32>
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.chain @block of [@up, @norm] saves [2]

// -----

// CHECK: the chain saves what kernel -1 reads, which is no program
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.normalization @norm for @rows exponent dense<[0, 3]> : tensor<2xi32>
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.chain @block of [@up, @norm] saves [-1]

// -----

// CHECK: the chain saves what kernel 1 reads, which is no program
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.normalization @norm for @rows exponent dense<[0, 3]> : tensor<2xi32>
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.chain @block of [@up, @norm] saves [1]

// -----

// CHECK: saves must ascend, not [1, 0]
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.chain @block of [@up, @up] saves [1, 0]

// -----

// CHECK: a chain that saves nothing has no list of what it saves
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.chain @block of [@up, @up] saves []

// -----

// CHECK: the chain saves activations; the array keeps none
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.chain @block of [@up, @up] saves [0]

// -----

// CHECK: @norm normalises what no program of the chain has computed
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.normalization @norm for @rows exponent dense<[0, 3]> : tensor<2xi32>
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.chain @block of [@norm, @up]

// -----

// CHECK: @norm and @norm both work on rows; there is a program between two that do
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.normalization @norm for @rows exponent dense<[0, 3]> : tensor<2xi32>
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.chain @block of [@up, @norm, @norm]

// -----

// CHECK: @up and @norm do not follow: 2 outputs, 1 features
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.normalization @norm for @rows exponent dense<1> : tensor<1xi32>
  bias dense<1> : tensor<1xi32> multiplier dense<1> : tensor<1xi32>
  shift dense<1> : tensor<1xi32> table dense<0> : tensor<256xi8>
rpea.chain @block of [@up, @norm]

// -----

// CHECK: 3 outputs of a PE in all kernels; the array holds 2
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.normalization @norm for @rows exponent dense<[0, 3]> : tensor<2xi32>
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.chain @block of [@up, @norm, @up]

// -----

// CHECK: @norm is not an rpea.program
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.normalization @norm for @rows exponent dense<[0, 3]> : tensor<2xi32>
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>
func.func @alone(%x: tensor<?x2xi8>) -> tensor<?x2xi8> {
  %y = rpea.run @norm(%x) : tensor<?x2xi8> -> tensor<?x2xi8>
  func.return %y : tensor<?x2xi8>
}

// -----

// CHECK: @rows is no rpea.program, and nothing that works on rows
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.chain @block of [@up, @rows]

// -----

// CHECK: @nothing is not an rpea.array
rpea.normalization @norm for @nothing exponent dense<[0, 3]> : tensor<2xi32>
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: the array has no unit that normalises results
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, kernels = 4>
rpea.normalization @norm for @rows exponent dense<[0, 3]> : tensor<2xi32>
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: @norm normalises 3 features; the array holds 2
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.normalization @norm for @rows exponent dense<1> : tensor<3xi32>
  bias dense<1> : tensor<3xi32> multiplier dense<1> : tensor<3xi32>
  shift dense<1> : tensor<3xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: 2049 features to normalise; at most 2048
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.normalization @norm for @rows exponent dense<1> : tensor<2049xi32>
  bias dense<1> : tensor<2049xi32> multiplier dense<1> : tensor<2049xi32>
  shift dense<1> : tensor<2049xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: an epsilon of 2 features is 0..536870911
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4,
  epsilon_width = 29>
rpea.normalization @norm for @rows exponent dense<[0, 3]> : tensor<2xi32> epsilon 536870912
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: @norm adds 16 to squares; the array has 4 bits for that
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4,
  epsilon_width = 4>
rpea.normalization @norm for @rows exponent dense<[0, 3]> : tensor<2xi32> epsilon 16
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: @norm divides by a root mean square, and the array by deviations
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.normalization @norm for @rows rms exponent dense<[0, 3]> : tensor<2xi32>
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: exponents must be 0..7
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.normalization @norm for @rows exponent dense<[0, 8]> : tensor<2xi32>
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: a bias does not fit the array's sums of 19 bits
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.normalization @norm for @rows exponent dense<[0, 3]> : tensor<2xi32>
  bias dense<[0, 262144]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: bias must be tensor<2xi32>
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.normalization @norm for @rows exponent dense<[0, 3]> : tensor<2xi32>
  bias dense<0> : tensor<3xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: multipliers must be 1..65535
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.normalization @norm for @rows exponent dense<[0, 3]> : tensor<2xi32>
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<0> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: shifts must be 1..47
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.normalization @norm for @rows exponent dense<[0, 3]> : tensor<2xi32>
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<48> : tensor<2xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: table must be tensor<256xi8>
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.normalization @norm for @rows exponent dense<[0, 3]> : tensor<2xi32>
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<255xi8>

// -----

// CHECK: exponent must be a tensor of one dimension, not empty
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.normalization @norm for @rows exponent dense<0> : tensor<i32>
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: exponent must be a tensor of one dimension, not empty
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.chain @block of [@up, @norm]
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.normalization @norm for @rows exponent dense<0> : tensor<i32>
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: outputs must be a tensor of one dimension, not empty
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<> : tensor<0xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
