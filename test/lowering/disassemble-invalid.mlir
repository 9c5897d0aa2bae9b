// RUN: daqkf-translate %s --to program -o %t.bin
// RUN: python -c "d = bytearray(open('%t.bin', 'rb').read()); d[0x430] ^= 1; open('%t.bad', 'wb').write(d)"
// RUN: not daqkf-translate --validate %t.bad --array %s 2>&1 | filecheck %s --check-prefix=CRC
// RUN: not daqkf-translate --disassemble %t.bin --array %s --to verilog 2>&1 | filecheck %s --check-prefix=TO

// CRC: daqkf-translate: {{.*}}.bad: the program image is damaged: crc 0x
// TO: daqkf-translate: --disassemble translates to mlir or listing, not to verilog
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 10, sum_width = 11>

rpea.program @program on @array features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[-3, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<7> : tensor<256xi8>
