// RUN: daqkf-opt %s > %t.before
// RUN: daqkf-opt %s -p rpea-validate | diff %t.before -
// RUN: daqkf-opt %s -p rpea-validate | filecheck %s
// RUN: sed 's/911/143/' %s > %t.wrong.mlir
// RUN: not daqkf-translate %t.wrong.mlir --to program 2>&1 | filecheck %s --check-prefix=WRONG

// A program that is right stays as it is.
// CHECK: rpea.program @program
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 10, sum_width = 11>

// WRONG: daqkf-translate: {{.*}}.wrong.mlir:[[# @LINE + 1]]:1: rpea.program: rpea-validate:
rpea.program @program on @array features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>
