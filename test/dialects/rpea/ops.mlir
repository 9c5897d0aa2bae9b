// RUN: %roundtrip | filecheck %s

// CHECK: rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4, stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9, accumulator_width = 10, sum_width = 11>
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 10, sum_width = 11>

// An empty channel on each PE: the one word that ends it, with null items. A word is, from its
// lowest bit, index0 (2 bits), index1, complement1, keep, shift, step, last, end.
// CHECK: rpea.program @program on @array features 2 stream dense<{{.*}}> : tensor<2x1xi32> rows dense<1> : tensor<2xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32> bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32> shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.program @program on @array features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>

func.func @layer(%x: tensor<?x2xi8>) -> tensor<?x2xi8> {
  // CHECK: rpea.run @program(%x) : tensor<?x2xi8> -> tensor<?x2xi8>
  %y = rpea.run @program(%x) : tensor<?x2xi8> -> tensor<?x2xi8>
  func.return %y : tensor<?x2xi8>
}

// CHECK: rpea.array @picking <pes = 2, {{.*}} sum_width = 11, buckets = 4>
rpea.array @picking <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 10, sum_width = 11, buckets = 4>
rpea.program @fine on @picking features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.program @coarse on @picking features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>

// CHECK: rpea.dispatch @both of [@fine, @coarse] by <lanes = 2, shift = 1, table = [0, 1]>
rpea.dispatch @both of [@fine, @coarse] by <lanes = 2, shift = 1, table = [0, 1]>

func.func @picked(%x: tensor<?x2xi8>) -> tensor<?x2xi8> {
  // CHECK: rpea.run @both(%x) : tensor<?x2xi8> -> tensor<?x2xi8>
  %y = rpea.run @both(%x) : tensor<?x2xi8> -> tensor<?x2xi8>
  func.return %y : tensor<?x2xi8>
}

// A word of the multiply family is index0 (2 bits), weight0, last, end: 2·x[1] and -x[0]. The bias
// takes out 256·85, and what negative digits lack.
// CHECK: rpea.array @multiplying <pes = 2, {{.*}} sum_width = 18, families = [multiply, running_sum]>
rpea.array @multiplying <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 18, families = [multiply, running_sum]>
rpea.program @multiplied on @multiplying features 2
  stream dense<[[3081], [924]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[-21755, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>

// CHECK: rpea.array @narrow <{{.*}} weight_bits = [4], multiplier = "dsp">
rpea.array @narrow <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 4,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 18, families = [multiply], weight_bits = [4],
  multiplier = "dsp">

// A word of the dense family is its weight: 3·x[0] - x[1] on PE 0, and nothing on PE 1.
// CHECK: rpea.array @stepping <{{.*}} families = [dense], multiplier = "packed">
rpea.array @stepping <pes = 2, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 4,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 18, families = [dense], multiplier = "packed">
rpea.program @dense on @stepping features 2
  stream dense<[[3], [255], [0]]> : tensor<3x1xi32> rows dense<[2, 1]> : tensor<2xi32>
  outputs dense<0> : tensor<1xi32> counts dense<[1, 0]> : tensor<2xi32>
  bias dense<-256> : tensor<1xi32> multiplier dense<1> : tensor<1xi32>
  shift dense<1> : tensor<1xi32> table dense<0> : tensor<256xi8>

// With index_bits, a word of the multiply family is delta0 (2 bits), weight0, last, end: 2·x[3] and,
// one row on, -x[4].
// CHECK: rpea.array @distant <{{.*}} families = [multiply], index_bits = 2>
rpea.array @distant <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 8,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 18, families = [multiply], index_bits = 2>
rpea.program @distances on @distant features 5
  stream dense<[[11], [4093]]> : tensor<2x1xi32> rows dense<2> : tensor<1xi32>
  outputs dense<0> : tensor<1xi32> counts dense<1> : tensor<1xi32>
  bias dense<-43520> : tensor<1xi32> multiplier dense<1> : tensor<1xi32>
  shift dense<1> : tensor<1xi32> table dense<0> : tensor<256xi8>

// And one of the running sum a window (2 bits), offset0, offset1, complement1, keep, step, last,
// end: x[4] - x[6] from a window at row 4, then the end. An offset of 3 is a null item's.
// CHECK: rpea.array @windowed <{{.*}} sum_width = 11, index_bits = 2>
rpea.array @windowed <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 8,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 10, sum_width = 11, index_bits = 2>
rpea.program @windows on @windowed features 7
  stream dense<[[34], [1852]]> : tensor<2x1xi32> rows dense<2> : tensor<1xi32>
  outputs dense<0> : tensor<1xi32> counts dense<1> : tensor<1xi32>
  bias dense<0> : tensor<1xi32> multiplier dense<1> : tensor<1xi32>
  shift dense<1> : tensor<1xi32> table dense<0> : tensor<256xi8>

// An array that chains kernels.
// CHECK: rpea.array @chaining <{{.*}} sum_width = 11, kernels = 2>
rpea.array @chaining <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 2,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 10, sum_width = 11, kernels = 2>
rpea.program @first on @chaining features 1
  stream dense<[[9], [123]]> : tensor<2x1xi32> rows dense<2> : tensor<1xi32>
  outputs dense<0> : tensor<1xi32> counts dense<1> : tensor<1xi32>
  bias dense<1> : tensor<1xi32> multiplier dense<1> : tensor<1xi32>
  shift dense<1> : tensor<1xi32> table dense<0> : tensor<256xi8>
// CHECK: rpea.chain @twice of [@first, @first]
rpea.chain @twice of [@first, @first]

// An array that keeps partial sums, and a kernel in two parts.
// CHECK: rpea.array @adding <{{.*}} partial_depth = 4>
rpea.array @adding <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 2,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 10, sum_width = 11, partial_depth = 4>
// CHECK: table dense<0> : tensor<256xi8> keeps
rpea.program @begins on @adding features 1
  stream dense<[[9], [123]]> : tensor<2x1xi32> rows dense<2> : tensor<1xi32>
  outputs dense<0> : tensor<1xi32> counts dense<1> : tensor<1xi32>
  bias dense<1> : tensor<1xi32> multiplier dense<1> : tensor<1xi32>
  shift dense<1> : tensor<1xi32> table dense<0> : tensor<256xi8> keeps
// CHECK: table dense<0> : tensor<256xi8> adds
rpea.program @ends on @adding features 1
  stream dense<[[9], [123]]> : tensor<2x1xi32> rows dense<2> : tensor<1xi32>
  outputs dense<0> : tensor<1xi32> counts dense<1> : tensor<1xi32>
  bias dense<1> : tensor<1xi32> multiplier dense<1> : tensor<1xi32>
  shift dense<1> : tensor<1xi32> table dense<0> : tensor<256xi8> adds
// CHECK: rpea.tiled @large of [@begins, @ends, @begins, @ends]
rpea.tiled @large of [@begins, @ends, @begins, @ends]

// An array that keeps activations for residuals, and normalises.
// CHECK: rpea.array @rows <{{.*}} sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.array @rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
// CHECK: table dense<0> : tensor<256xi8>{{$}}
rpea.program @up on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
// CHECK: table dense<0> : tensor<256xi8> residual dense<[65535, 0]> : tensor<2xi32>
rpea.program @down on @rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  residual dense<[65535, 0]> : tensor<2xi32>
// CHECK: rpea.normalization @norm for @rows exponent dense<[0, 3]> : tensor<2xi32> bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32> shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.normalization @norm for @rows exponent dense<[0, 3]> : tensor<2xi32>
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>
// CHECK: rpea.chain @block of [@up, @down, @norm] saves [0]
rpea.chain @block of [@up, @down, @norm] saves [0]
// CHECK: rpea.chain @again of [@down, @norm, @down] saves [0, 2]
rpea.chain @again of [@down, @norm, @down] saves [0, 2]

// An array that also normalises by the root mean square, and adds an epsilon of up to 12 bits.
// CHECK: rpea.array @roots <{{.*}} normalizes = true, kernels = 2, rms_norms = true, epsilon_width = 12>
rpea.array @roots <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, kernels = 2, rms_norms = true,
  epsilon_width = 12>
// CHECK: rpea.normalization @root for @roots rms exponent dense<[0, 3]> : tensor<2xi32> epsilon 4095 bias dense<0> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
rpea.normalization @root for @roots rms exponent dense<[0, 3]> : tensor<2xi32> epsilon 4095
  bias dense<0> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>

// An array that also gates and takes softmaxes, and both of the same results.
// CHECK: rpea.array @all <{{.*}} normalizes = true, gates = true, softmax = true, kernels = 4>
rpea.array @all <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, gates = true, softmax = true, kernels = 4>
rpea.program @gated on @all features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<"0x000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF"> : tensor<256xi8>
// CHECK: rpea.gating @gate for @all gate dense<-1> : tensor<256xi8> bias dense<64> : tensor<1xi32> multiplier dense<3> : tensor<1xi32> shift dense<7> : tensor<1xi32> table dense<0> : tensor<256xi8>
rpea.gating @gate for @all gate dense<-1> : tensor<256xi8>
  bias dense<[64]> : tensor<1xi32> multiplier dense<3> : tensor<1xi32>
  shift dense<7> : tensor<1xi32> table dense<0> : tensor<256xi8>
// CHECK: rpea.softmax @attend for @all keys 2 table dense<1> : tensor<256xi8> offset dense<[127, -4096]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32> shift dense<7> : tensor<2xi32>
rpea.softmax @attend for @all keys 2 table dense<1> : tensor<256xi8>
  offset dense<[127, -4096]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>
// CHECK: rpea.chain @gates of [@gated, @gate]
rpea.chain @gates of [@gated, @gate]
// CHECK: rpea.chain @attends of [@gated, @attend]
rpea.chain @attends of [@gated, @attend]

// A softmax that is causal: of 2 keys, the first token sees the first one alone.
// CHECK: rpea.array @decodes <{{.*}} normalizes = true, softmax = true, causal = true, kernels = 4>
rpea.array @decodes <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, causal = true, kernels = 4>
// CHECK: rpea.softmax @visible for @decodes keys 2 queries 3 past 0 table dense<0> : tensor<256xi8> offset dense<127> : tensor<2xi32> multiplier dense<3> : tensor<2xi32> shift dense<7> : tensor<2xi32>
rpea.softmax @visible for @decodes keys 2 queries 3 past 0 table dense<0> : tensor<256xi8>
  offset dense<127> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>

// A chain of sequences, of queries, keys and values of 0. A word is, from its lowest bit, index0 (2
// bits), index1 (2 bits), complement1, keep, gated, double, step, last, end. An output of operands has
// a word that is gated for each of their bits, of which all but the first one double.
// CHECK: rpea.array @attending <{{.*}}, normalizes = true, softmax = true, operand_depth = 4, kernels = 8>
rpea.array @attending <pes = 1, lanes = 2, post_lanes = 1, max_shift = 0, activation_depth = 4,
  stream_depth = 64, parameter_depth = 16, result_depth = 2, running_sum_width = 17,
  accumulator_width = 18, sum_width = 18, normalizes = true, softmax = true, operand_depth = 4, kernels = 8>
rpea.program @nothing on @attending features 2
  stream dense<[[783], [1807]]> : tensor<2x1xi32>
  rows dense<2> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
// CHECK: rpea.program @scores {{.*}} table dense<0> : tensor<256xi8> operands 0{{$}}
rpea.program @scores on @attending features 2
  stream dense<[[84], [212], [244], [244], [244], [244], [244], [244], [15], [783], [84], [212], [244], [244], [244], [244], [244], [244], [15], [1807]]> : tensor<20x1xi32>
  rows dense<20> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8> operands 0
rpea.softmax @shares for @attending keys 2 table dense<1> : tensor<256xi8>
  offset dense<127> : tensor<2xi32> multiplier dense<127> : tensor<2xi32> shift dense<16> : tensor<2xi32>
// CHECK: rpea.program @results {{.*}} operands 2{{$}}
rpea.program @results on @attending features 2
  stream dense<[[84], [212], [244], [244], [244], [244], [244], [244], [15], [783], [84], [212], [244], [244], [244], [244], [244], [244], [15], [1807]]> : tensor<20x1xi32>
  rows dense<20> : tensor<1xi32> outputs dense<[0, 1]> : tensor<2xi32> counts dense<2> : tensor<1xi32>
  bias dense<0> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8> operands 2
// CHECK: rpea.chain @sequences of [@nothing, @nothing, @nothing, @scores, @shares, @results, @nothing] tiles 1{{$}}
rpea.chain @sequences of [@nothing, @nothing, @nothing, @scores, @shares, @results, @nothing] tiles 1

// CHECK: rpea.array @widely <pes = 2, {{.*}} sum_width = 11, wide_results = true>
rpea.array @widely <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 2, result_depth = 4, running_sum_width = 9,
  accumulator_width = 10, sum_width = 11, wide_results = true>
// CHECK: rpea.program @doubled on @widely {{.*}} wide
rpea.program @doubled on @widely features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<"0x000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF"> : tensor<256xi8> wide

func.func @wide(%x: tensor<?x2xi8>) -> tensor<?x2xi16> {
  // CHECK: rpea.run @doubled(%x) : tensor<?x2xi8> -> tensor<?x2xi16>
  %y = rpea.run @doubled(%x) : tensor<?x2xi8> -> tensor<?x2xi16>
  func.return %y : tensor<?x2xi16>
}

// The larger of two results, and its number.
// CHECK: rpea.array @choosing <pes = 2, {{.*}} wide_results = true, top_k = 1>
rpea.array @choosing <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 2, result_depth = 4, running_sum_width = 9,
  accumulator_width = 10, sum_width = 11, wide_results = true, top_k = 1>
// CHECK: rpea.program @largest on @choosing {{.*}} wide top_k
rpea.program @largest on @choosing features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<"0x000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF"> : tensor<256xi8> wide top_k

func.func @chosen(%x: tensor<?x2xi8>) -> tensor<?x2xi16> {
  // CHECK: rpea.run @largest(%x) : tensor<?x2xi8> -> tensor<?x2xi16>
  %y = rpea.run @largest(%x) : tensor<?x2xi8> -> tensor<?x2xi16>
  func.return %y : tensor<?x2xi16>
}

// Rows that share exponents, and a program whose sums take them back.
// CHECK: rpea.array @shared_rows <{{.*}} gates = true, row_exponents = 3, kernels = 4>
rpea.array @shared_rows <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 8, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 20, gates = true, row_exponents = 3, kernels = 4>
rpea.program @shared_up on @shared_rows features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<"0x000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF"> : tensor<256xi8>
// CHECK: rpea.gating @shared_gate {{.*}} reach 3{{$}}
rpea.gating @shared_gate for @shared_rows gate dense<0> : tensor<256xi8>
  bias dense<64> : tensor<1xi32> multiplier dense<3> : tensor<1xi32>
  shift dense<7> : tensor<1xi32> table dense<"0x000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF"> : tensor<256xi8> reach 3
// CHECK: rpea.program @shared_down {{.*}} table dense<0> : tensor<256xi8> correction dense<[0, 1]> : tensor<2xi32>{{$}}
rpea.program @shared_down on @shared_rows features 1
  stream dense<[[911], [911]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8> correction dense<[0, 1]> : tensor<2xi32>
rpea.chain @shared_block of [@shared_up, @shared_gate, @shared_down]
