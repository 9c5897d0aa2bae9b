// RUN: daqkf-opt %s -p dfke-fuse,dfke-specialize-bitwidth,dfke-schedule{target=tiny-semiring},lower-dfke-to-rpea | filecheck %s
// RUN: daqkf-opt %s --verify-diagnostics -p dfke-fuse,dfke-specialize-bitwidth,dfke-schedule{target=tiny} | filecheck %s --check-prefix=OTHER

// OTHER: dfke-schedule: a product over max_plus needs elements of the family semiring; there are those of running_sum ('tiny')

// Channel 0 has weights 5, 5 and 3: a word of two items with a step of 2, a word with its item
// twice. Channel 1 has no entries. The biases are the largest weight, and infinity.
// CHECK: rpea.array @array <pes = 2, lanes = 2, {{.*}} running_sum_width = 11, accumulator_width = 11, sum_width = 11, families = [semiring]>
// CHECK: rpea.program @longest_program {{.*}} rows dense<[1, 2]> : tensor<2xi32> outputs dense<[1, 0]> {{.*}} bias dense<[5, -512]> : tensor<2xi32>
func.func @longest(%x: tensor<?x3xi8>) -> tensor<?x2xi8> {
  // CHECK: rpea.run @longest_program(%x)
  %w = spaq.constant dense<[[5, -128], [3, -128], [5, -128]]> : tensor<3x2xi8>
  %0 = spaq.matmul %x, %w semiring max_plus : (tensor<?x3xi8>, tensor<3x2xi8>) -> tensor<?x2xi32>
  %1 = spaq.requantize %0 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
    : tensor<?x2xi32> -> tensor<?x2xi8>
  func.return %1 : tensor<?x2xi8>
}
