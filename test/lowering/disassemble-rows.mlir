// RUN: daqkf-translate %s --to program -o %t.bin
// RUN: daqkf-translate --disassemble %t.bin --array %s -o %t.mlir && filecheck %s < %t.mlir
// RUN: daqkf-translate %t.mlir --to program -o %t.again && diff %t.bin %t.again
// RUN: daqkf-translate --disassemble %t.bin --array %s --to listing | filecheck %s --check-prefix=LISTING
// RUN: daqkf-translate --validate %t.bin --array %s | filecheck %s --check-prefix=VALID

// CHECK: rpea.program @program_kernel_0 {{.*}} table dense<0> : tensor<256xi8>{{$}}
// CHECK: rpea.program @program_kernel_1 {{.*}} residual dense<[11, 0]> : tensor<2xi32>
// CHECK: rpea.normalization @program_kernel_2 for @array exponent dense<[0, 3]> : tensor<2xi32> bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32> shift dense<7> : tensor<2xi32> table dense<5> : tensor<256xi8>
// CHECK: rpea.chain @program of [@program_kernel_0, @program_kernel_1, @program_kernel_2] saves [0]

// The streams fill their memory, so that of the normalisation, which has none, begins where they do.
// LISTING: PARAMETERS, 6 rows
// LISTING-NEXT: slot 0 of PE 0: output 0 = (sum + 0) * 1 >> 1
// LISTING-NEXT: slot 0 of PE 1: output 1 = (sum + 1) * 1 >> 1
// LISTING-NEXT: slot 1 of PE 0: output 1 = (sum + 1) * 1 >> 1, exponent 3
// LISTING-NEXT: slot 1 of PE 1: output 0 = (sum - 3 + kept 0 * 11) * 1 >> 1
// LISTING-NEXT: slot 2 of a normalisation: output 0 = (z + 1024) * 3 >> 7
// LISTING-NEXT: slot 2 of a normalisation: output 1 = (z - 7) * 3 >> 7
// LISTING-NEXT: CHAIN, 3 rows
// LISTING-NEXT: kernel 0: stream 0 slot 0 outputs 2 last 0 saves 1 normalizes 0
// LISTING-NEXT: kernel 1: stream 1 slot 1 outputs 2 last 0 saves 0 normalizes 0
// LISTING-NEXT: kernel 2: stream 0 slot 2 outputs 2 last 1 saves 0 normalizes 1

// VALID: .bin: a valid program of {{[0-9]+}} bytes, 2 features, 2 outputs, for any number of tiles
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 2, parameter_depth = 4, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, residual_depth = 2, normalizes = true, kernels = 4>
rpea.program @up on @array features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.program @down on @array features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[1, 0]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[-3, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
  residual dense<[11, 0]> : tensor<2xi32>
rpea.normalization @norm for @array exponent dense<[0, 3]> : tensor<2xi32>
  bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32> table dense<5> : tensor<256xi8>
rpea.chain @block of [@up, @down, @norm] saves [0]
