// RUN: daqkf-translate %s --to program -o %t.bin
// RUN: daqkf-translate --disassemble %t.bin --array %s -o %t.mlir && filecheck %s < %t.mlir
// RUN: daqkf-translate %t.mlir --to program -o %t.again && diff %t.bin %t.again
// RUN: daqkf-translate --disassemble %t.bin --array %s --to listing | filecheck %s --check-prefix=LISTING
// RUN: daqkf-translate --validate %t.bin --array %s | filecheck %s --check-prefix=VALID

// A causal softmax says in the chain's table how many queries a token has, and how many came before.
// CHECK: rpea.softmax @program_kernel_1 for @array keys 2 queries 3 past 4 table dense<0> : tensor<256xi8>
// CHECK: rpea.softmax @program_kernel_3 for @array keys 2 table dense<4> : tensor<256xi8>
// LISTING: CHAIN, 4 rows
// LISTING-NEXT: kernel 0: stream 0 slot 0 outputs 2 last 0 normalizes 0 keys 0 queries 0 past 0
// LISTING-NEXT: kernel 1: stream 1 slot 1 outputs 2 last 0 normalizes 0 keys 2 queries 3 past 4
// LISTING-NEXT: kernel 2: stream 1 slot 3 outputs 2 last 0 normalizes 0 keys 0 queries 0 past 0
// LISTING-NEXT: kernel 3: stream 0 slot 4 outputs 2 last 1 normalizes 0 keys 2 queries 0 past 0

// VALID: .bin: a valid program of {{[0-9]+}} bytes, 2 features, 2 outputs, for any number of tiles
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 2, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, softmax = true, causal = true,
  kernels = 4>
rpea.program @scores on @array features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.softmax @first for @array keys 2 queries 3 past 4 table dense<0> : tensor<256xi8>
  offset dense<127> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>
rpea.softmax @attend for @array keys 2 table dense<4> : tensor<256xi8>
  offset dense<[127, -4096]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>
rpea.chain @block of [@scores, @first, @scores, @attend]
