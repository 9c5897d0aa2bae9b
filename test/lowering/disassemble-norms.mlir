// RUN: daqkf-translate %s --to program -o %t.bin
// RUN: daqkf-translate --disassemble %t.bin --array %s -o %t.mlir && filecheck %s < %t.mlir
// RUN: daqkf-translate %t.mlir --to program -o %t.again && diff %t.bin %t.again
// RUN: daqkf-translate --disassemble %t.bin --array %s --to listing | filecheck %s --check-prefix=LISTING

// What is normalised by, and what is added to squares, stands in the chain's table.
// CHECK: rpea.normalization @program_kernel_1 for @array rms exponent dense<[0, 3]> : tensor<2xi32> epsilon 300 bias
// CHECK: rpea.normalization @program_kernel_3 for @array exponent dense<[1, 0]> : tensor<2xi32> bias
// LISTING: slot 1 of an RMS normalisation: output 0 = (z + 0) * 3 >> 7
// LISTING: slot 3 of a normalisation: output 0 = (z + 1024) * 3 >> 7
// LISTING: kernel 0: stream 0 slot 0 outputs 2 last 0 normalizes 0 rms 0 epsilon 0
// LISTING-NEXT: kernel 1: stream 1 slot 1 outputs 2 last 0 normalizes 1 rms 1 epsilon 300
// LISTING-NEXT: kernel 2: stream 1 slot 2 outputs 2 last 0 normalizes 0 rms 0 epsilon 0
// LISTING-NEXT: kernel 3: stream 0 slot 3 outputs 2 last 1 normalizes 1 rms 0 epsilon 0
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 2, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, kernels = 4, rms_norms = true,
  epsilon_width = 29>
rpea.program @up on @array features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.normalization @root for @array rms exponent dense<[0, 3]> : tensor<2xi32> epsilon 300
  bias dense<0> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<5> : tensor<256xi8>
rpea.program @down on @array features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[1, 0]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[-3, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.normalization @deviation for @array exponent dense<[1, 0]> : tensor<2xi32>
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<5> : tensor<256xi8>
rpea.chain @block of [@up, @root, @down, @deviation]
