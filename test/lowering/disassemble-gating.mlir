// RUN: daqkf-translate %s --to program -o %t.bin
// RUN: daqkf-translate --disassemble %t.bin --array %s -o %t.mlir && filecheck %s < %t.mlir
// RUN: daqkf-translate %t.mlir --to program -o %t.again && diff %t.bin %t.again
// RUN: daqkf-translate --disassemble %t.bin --array %s --to listing | filecheck %s --check-prefix=LISTING
// RUN: daqkf-translate --validate %t.bin --array %s | filecheck %s --check-prefix=VALID

// CHECK: rpea.program @program_kernel_0 {{.*}} table dense<"0x000102{{.*}}FDFEFF"> : tensor<256xi8>{{$}}
// CHECK: rpea.gating @program_kernel_1 for @array gate dense<9> : tensor<256xi8> bias dense<-64> : tensor<1xi32> multiplier dense<3> : tensor<1xi32> shift dense<7> : tensor<1xi32> table dense<5> : tensor<256xi8>
// CHECK: rpea.program @program_kernel_2 {{.*}} table dense<0> : tensor<256xi8>{{$}}
// CHECK: rpea.softmax @program_kernel_3 for @array keys 1 table dense<4> : tensor<256xi8> offset dense<[127, -4096]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32> shift dense<7> : tensor<2xi32>
// CHECK: rpea.chain @program of [@program_kernel_0, @program_kernel_1, @program_kernel_2, @program_kernel_3]

// The gates' table stands where the first program has none, and what is gated is plain.
// LISTING: TABLE, 1024 rows
// LISTING-NEXT: 9 9 9
// LISTING: PARAMETERS, 10 rows
// LISTING-NEXT: slot 0 of PE 0: output 0 = (sum + 0) * 1 >> 1
// LISTING-NEXT: slot 0 of PE 1: output 1 = (sum + 1) * 1 >> 1, plain
// LISTING-NEXT: slot 1 of a gating: output 0 = (x[0] * x[1] - 64) * 3 >> 7
// LISTING-NEXT: slot 1 of a gating: unused
// LISTING-NEXT: slot 2 of PE 0: output 0 = (sum + 0) * 1 >> 1
// LISTING-NEXT: slot 2 of PE 1: output 1 = (sum + 1) * 1 >> 1
// LISTING-NEXT: slot 3 of a softmax: output 0 = (x[0] - max + 127) * 2 >> 1
// LISTING-NEXT: slot 3 of a softmax: output 0 = (e[0] / sum + 0) * 3 >> 7, plain
// LISTING-NEXT: slot 4 of a softmax: output 1 = (x[1] - max - 4096) * 2 >> 1
// LISTING-NEXT: slot 4 of a softmax: output 1 = (e[1] / sum + 0) * 3 >> 7, plain
// LISTING-NEXT: CHAIN, 4 rows
// LISTING-NEXT: kernel 0: stream 0 slot 0 outputs 2 last 0 normalizes 0 gates 0 keys 0
// LISTING-NEXT: kernel 1: stream 1 slot 1 outputs 1 last 0 normalizes 0 gates 1 keys 0
// LISTING-NEXT: kernel 2: stream 1 slot 2 outputs 2 last 0 normalizes 0 gates 0 keys 0
// LISTING-NEXT: kernel 3: stream 0 slot 3 outputs 2 last 1 normalizes 0 gates 0 keys 1

// VALID: .bin: a valid program of {{[0-9]+}} bytes, 2 features, 2 outputs, for any number of tiles
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 2, parameter_depth = 8, result_depth = 2, running_sum_width = 9,
  accumulator_width = 18, sum_width = 19, normalizes = true, gates = true, softmax = true,
  kernels = 4>
rpea.program @gated on @array features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<"0x000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF"> : tensor<256xi8>
rpea.gating @gate for @array gate dense<9> : tensor<256xi8>
  bias dense<-64> : tensor<1xi32> multiplier dense<3> : tensor<1xi32>
  shift dense<7> : tensor<1xi32> table dense<5> : tensor<256xi8>
rpea.program @scores on @array features 1
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
rpea.softmax @attend for @array keys 1 table dense<4> : tensor<256xi8>
  offset dense<[127, -4096]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<7> : tensor<2xi32>
rpea.chain @block of [@gated, @gate, @scores, @attend]
