// RUN: daqkf-translate %s --to program -o %t.bin
// RUN: python -c "import numpy; print(*(f'{w:08x}' for w in numpy.fromfile('%t.bin', '<u4')))" | filecheck %s

// Magic, version, fingerprint, length, CRC; KERNEL with K = 2 and N = 2; 256 rows of TABLE, here all zero.
// CHECK: 464b5144 00000008 {{[0-9a-f]+}} 00000113 {{[0-9a-f]+}} 40000000 00000002 00000002 30000000 00000100 00000000
// PARAMETERS: one slot, two rows of two words. STREAM of PE 0 and of PE 1: one row each. END.
// CHECK-SAME: 00000000 20000000 00000002 00000800 00000000 00000fff 00000002 10000000 00000001 0000038f 10000001 00000001 000003cf 00000000 00000000{{$}}
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 10, sum_width = 11>

rpea.program @program on @array features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
