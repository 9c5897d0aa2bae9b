// RUN: %invalid | filecheck %s

// Gatings and softmax.

// CHECK: the array has no unit that gates results
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, kernels = 4>
rpea.gating @gate for @rows gate dense<0> : tensor<256xi8>
  bias dense<[64]> : tensor<1xi32> multiplier dense<3> : tensor<1xi32>
  shift dense<7> : tensor<1xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: the array has no unit that takes the softmax of results
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, gates = true, kernels = 4>
rpea.softmax @attend for @rows keys 2 table dense<1> : tensor<256xi8>
  offset dense<[127, -4096]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>

// -----

// CHECK: @gate gates 4 features; the array holds 2
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, gates = true, kernels = 4>
rpea.gating @gate for @rows gate dense<0> : tensor<256xi8>
  bias dense<0> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: @attend takes the softmax of 4 features; the array holds 2
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, kernels = 4>
rpea.softmax @attend for @rows keys 2 table dense<1> : tensor<256xi8>
  offset dense<0> : tensor<4xi32> multiplier dense<3> : tensor<4xi32>
  shift dense<7> : tensor<4xi32>

// -----

// CHECK: gate must be tensor<256xi8>
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, gates = true, kernels = 4>
rpea.gating @gate for @rows gate dense<0> : tensor<255xi8>
  bias dense<[64]> : tensor<1xi32> multiplier dense<3> : tensor<1xi32>
  shift dense<7> : tensor<1xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: gate must be tensor<256xi8>
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, gates = true, kernels = 4>
rpea.gating @gate for @rows gate dense<0> : tensor<256xi32>
  bias dense<[64]> : tensor<1xi32> multiplier dense<3> : tensor<1xi32>
  shift dense<7> : tensor<1xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: bias must be a tensor of one dimension, not empty
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, gates = true, kernels = 4>
rpea.gating @gate for @rows gate dense<0> : tensor<256xi8>
  bias dense<> : tensor<0xi32> multiplier dense<3> : tensor<1xi32>
  shift dense<7> : tensor<1xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: multiplier must be tensor<2xi32>
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 4, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, gates = true, kernels = 4>
rpea.gating @gate for @rows gate dense<0> : tensor<256xi8>
  bias dense<0> : tensor<2xi32> multiplier dense<3> : tensor<1xi32>
  shift dense<7> : tensor<1xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: shifts must be 1..47
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, gates = true, kernels = 4>
rpea.gating @gate for @rows gate dense<0> : tensor<256xi8>
  bias dense<[64]> : tensor<1xi32> multiplier dense<3> : tensor<1xi32>
  shift dense<0> : tensor<1xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: a bias does not fit the array's sums of 19 bits
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, gates = true, kernels = 4>
rpea.gating @gate for @rows gate dense<0> : tensor<256xi8>
  bias dense<-262145> : tensor<1xi32> multiplier dense<3> : tensor<1xi32>
  shift dense<7> : tensor<1xi32> table dense<0> : tensor<256xi8>

// -----

// CHECK: @gate gates what no program of the chain has computed
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, gates = true, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<"0x000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF"> : tensor<256xi8>
rpea.gating @gate for @rows gate dense<0> : tensor<256xi8>
  bias dense<[64]> : tensor<1xi32> multiplier dense<3> : tensor<1xi32>
  shift dense<7> : tensor<1xi32> table dense<0> : tensor<256xi8>
rpea.chain @block of [@gate, @up]

// -----

// CHECK: @up has an activation table of its own, where the array looks up the gates of @gate
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, gates = true, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.gating @gate for @rows gate dense<0> : tensor<256xi8>
  bias dense<[64]> : tensor<1xi32> multiplier dense<3> : tensor<1xi32>
  shift dense<7> : tensor<1xi32> table dense<0> : tensor<256xi8>
rpea.chain @block of [@up, @gate]

// -----

// CHECK: @up and @gate do not follow: 2 outputs, 4 features
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 4, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, gates = true, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<"0x000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF"> : tensor<256xi8>
rpea.gating @gate for @rows gate dense<0> : tensor<256xi8>
  bias dense<0> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.chain @block of [@up, @gate]

// -----

// CHECK: @gate and @norm both work on rows; there is a program between two that do
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, gates = true, softmax = true, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<"0x000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF"> : tensor<256xi8>
rpea.gating @gate for @rows gate dense<0> : tensor<256xi8>
  bias dense<[64]> : tensor<1xi32> multiplier dense<3> : tensor<1xi32>
  shift dense<7> : tensor<1xi32> table dense<0> : tensor<256xi8>
rpea.normalization @norm for @rows exponent dense<1> : tensor<1xi32>
  bias dense<1> : tensor<1xi32> multiplier dense<1> : tensor<1xi32>
  shift dense<1> : tensor<1xi32> table dense<0> : tensor<256xi8>
rpea.chain @block of [@up, @gate, @norm]

// -----

// CHECK: @attend and @gate both work on rows; there is a program between two that do
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, gates = true, softmax = true, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<"0x000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF"> : tensor<256xi8>
rpea.softmax @attend for @rows keys 2 table dense<1> : tensor<256xi8>
  offset dense<[127, -4096]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>
rpea.gating @gate for @rows gate dense<0> : tensor<256xi8>
  bias dense<[64]> : tensor<1xi32> multiplier dense<3> : tensor<1xi32>
  shift dense<7> : tensor<1xi32> table dense<0> : tensor<256xi8>
rpea.chain @block of [@up, @attend, @gate]

// -----

// CHECK: the chain saves what kernel 1 reads, which is no program
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, gates = true, residual_depth = 2, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<"0x000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF"> : tensor<256xi8>
rpea.gating @gate for @rows gate dense<0> : tensor<256xi8>
  bias dense<[64]> : tensor<1xi32> multiplier dense<3> : tensor<1xi32>
  shift dense<7> : tensor<1xi32> table dense<0> : tensor<256xi8>
rpea.chain @block of [@up, @gate] saves [1]

// -----

// CHECK: @attend takes the softmax of what no program of the chain has computed
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.softmax @attend for @rows keys 2 table dense<1> : tensor<256xi8>
  offset dense<[127, -4096]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>
rpea.chain @block of [@attend, @up]

// -----

// CHECK: exponentials must be 0..127
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, kernels = 4>
rpea.softmax @attend for @rows keys 2 table dense<-1> : tensor<256xi8>
  offset dense<[127, -4096]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>

// -----

// CHECK: table must be tensor<256xi8>
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, kernels = 4>
rpea.softmax @attend for @rows keys 2 table dense<1> : tensor<255xi8>
  offset dense<[127, -4096]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>

// -----

// CHECK: 0 keys share a softmax; there can be 1..2048
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, kernels = 4>
rpea.softmax @attend for @rows keys 0 table dense<1> : tensor<256xi8>
  offset dense<[127, -4096]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>

// -----

// CHECK: 2049 keys share a softmax; there can be 1..2048
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, kernels = 4>
rpea.softmax @attend for @rows keys 2049 table dense<1> : tensor<256xi8>
  offset dense<0> : tensor<2049xi32> multiplier dense<3> : tensor<2049xi32>
  shift dense<7> : tensor<2049xi32>

// -----

// CHECK: 3 features are not in groups of 2 keys
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 4, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, kernels = 4>
rpea.softmax @attend for @rows keys 2 table dense<1> : tensor<256xi8>
  offset dense<0> : tensor<3xi32> multiplier dense<3> : tensor<3xi32>
  shift dense<7> : tensor<3xi32>

// -----

// CHECK: offset must be a tensor of one dimension, not empty
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, kernels = 4>
rpea.softmax @attend for @rows keys 2 table dense<1> : tensor<256xi8>
  offset dense<0> : tensor<i32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>

// -----

// CHECK: multiplier must be tensor<2xi32>
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, kernels = 4>
rpea.softmax @attend for @rows keys 2 table dense<1> : tensor<256xi8>
  offset dense<[127, -4096]> : tensor<2xi32> multiplier dense<3> : tensor<3xi32>
  shift dense<7> : tensor<2xi32>

// -----

// CHECK: multipliers must be 1..65535
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, kernels = 4>
rpea.softmax @attend for @rows keys 2 table dense<1> : tensor<256xi8>
  offset dense<[127, -4096]> : tensor<2xi32> multiplier dense<65536> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>

// -----

// CHECK: an offset does not fit the array's sums of 19 bits
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, kernels = 4>
rpea.softmax @attend for @rows keys 2 table dense<1> : tensor<256xi8>
  offset dense<[0, 262144]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>

// -----

// CHECK: an offset does not fit the array's sums of 19 bits
// A score is up to 255 below the largest one.
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, kernels = 4>
rpea.softmax @attend for @rows keys 2 table dense<1> : tensor<256xi8>
  offset dense<[-261889, -261890]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>

// -----

// CHECK: 3 outputs of a PE in all kernels; the array holds 2
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, kernels = 4>
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.softmax @attend for @rows keys 2 table dense<1> : tensor<256xi8>
  offset dense<[127, -4096]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>
rpea.chain @block of [@up, @attend]
