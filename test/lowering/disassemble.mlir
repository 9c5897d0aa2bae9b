// RUN: daqkf-translate %s --to program -o %t.bin
// RUN: daqkf-translate --disassemble %t.bin --array %s -o %t.mlir && filecheck %s < %t.mlir
// RUN: daqkf-translate %t.mlir --to program -o %t.again && diff %t.bin %t.again
// RUN: daqkf-translate --disassemble %t.bin --array %s --to listing | filecheck %s --check-prefix=LISTING
// RUN: daqkf-translate %s --to listing | filecheck %s --check-prefix=LISTING
// RUN: daqkf-translate --validate %t.bin --array %s | filecheck %s --check-prefix=VALID

// CHECK: rpea.array @array
// CHECK: rpea.program @program on @array features 2 stream dense<[{{\[}}911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
// CHECK-SAME: outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32> bias dense<[-3, 1]> : tensor<2xi32>
// CHECK-SAME: multiplier dense<1> : tensor<2xi32> shift dense<1> : tensor<2xi32> table dense<7> : tensor<256xi8>

// LISTING: ; 280 words for the array 0x
// LISTING-NEXT: 0 magic 0x464b5144
// LISTING: 5 KERNEL features 2 outputs 2
// LISTING-NEXT: 8 TABLE, 256 rows
// LISTING-NEXT: 10 7 7 7
// LISTING: 266 PARAMETERS, 2 rows
// LISTING-NEXT: 268 slot 0 of PE 0: output 0 = (sum - 3) * 1 >> 1
// LISTING-NEXT: 270 slot 0 of PE 1: output 1 = (sum + 1) * 1 >> 1
// LISTING-NEXT: 272 STREAM of PE 0 (running_sum), 1 rows
// LISTING-NEXT: 274 step last end
// LISTING-NEXT: 275 STREAM of PE 1 (running_sum), 1 rows
// LISTING-NEXT: 277 shift step last end
// LISTING-NEXT: 278 END after any number of tiles

// VALID: .bin: a valid program of 1120 bytes, 2 features, 2 outputs, for any number of tiles
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 10, sum_width = 11>

rpea.program @program on @array features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[-3, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<7> : tensor<256xi8>
