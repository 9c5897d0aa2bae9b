// RUN: daqkf-opt %s -p canonicalize,cse | filecheck %s

// Runs have no effects but their results: one that nobody reads goes, and equal ones become one.
// Arrays and programs are symbols, and stay.
// CHECK: rpea.array @array
// CHECK: rpea.program @program
// CHECK: func.func @layer
// CHECK-NEXT: %y = rpea.run @program(%x)
// CHECK-NEXT: func.return %y, %y
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 4, parameter_depth = 2, result_depth = 2, running_sum_width = 9,
  accumulator_width = 10, sum_width = 11>

rpea.program @program on @array features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[0, 1]> : tensor<2xi32> multiplier dense<1> : tensor<2xi32>
  shift dense<1> : tensor<2xi32> table dense<0> : tensor<256xi8>

func.func @layer(%x: tensor<?x2xi8>) -> (tensor<?x2xi8>, tensor<?x2xi8>) {
  %unread = rpea.run @program(%x) : tensor<?x2xi8> -> tensor<?x2xi8>
  %y = rpea.run @program(%x) : tensor<?x2xi8> -> tensor<?x2xi8>
  %z = rpea.run @program(%x) : tensor<?x2xi8> -> tensor<?x2xi8>
  func.return %y, %z : tensor<?x2xi8>, tensor<?x2xi8>
}
