// RUN: daqkf-translate %S/../dialects/rpea/ops.mlir --to program -o %t.bin
// RUN: python -c "import numpy; print(*(f'{w:08x}' for w in numpy.fromfile('%t.bin', '<u4')))" | filecheck %s

// Magic, version, fingerprint, length, CRC; KERNEL with K = 2 and N = 2; 256 rows of TABLE, here all zero.
// CHECK: 464b5144 00000001 {{[0-9a-f]+}} 00000113 {{[0-9a-f]+}} 40000000 00000002 00000002 30000000 00000100 00000000
// PARAMETERS: one slot, two rows of two words. STREAM of PE 0 and of PE 1: one row each. END.
// CHECK-SAME: 00000000 20000000 00000002 00000800 00000000 00000801 00000002 10000000 00000001 000003d9 10000001 00000001 0000039c 00000000 00000000{{$}}
