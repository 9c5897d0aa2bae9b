// RUN: daqkf-opt %s -p 'dfke-schedule{target=wide-shared}' | filecheck %s
// RUN: daqkf-opt %s -p 'dfke-schedule{target=wide}' | filecheck %s --check-prefix=APART
// RUN: daqkf-opt %s -p 'dfke-specialize-bitwidth,dfke-schedule{target=wide-shared},lower-dfke-to-rpea' | filecheck %s --check-prefix=ARRAY
// RUN: not daqkf-opt %s -p 'dfke-schedule{target=wide-shared family=ternary}' 2>&1 | filecheck %s --check-prefix=FAMILY

// Levels 5 and 1, a step of two levels across 3, and the word at the end of the stream. Without
// shared words each level takes a word for its step, and the five positive items of level 1 two.
// CHECK: max_shift = 1, {{.*}}shared_words = true>, dense<0> : tensor<1xi32>, dense<[1, 0, 0, 0]> : tensor<4xi32>, dense<[4, 1, 1, 1]> : tensor<4xi32>>
// APART: max_shift = 0, {{.*}}items = 8>, dense<0> : tensor<1xi32>, dense<[1, 0, 0, 0]> : tensor<4xi32>, dense<[7, 1, 1, 1]> : tensor<4xi32>>
// ARRAY: rpea.array @array <{{.*}}stream_depth = 4, {{.*}}shared_words = true>
// ARRAY: rows dense<[4, 1, 1, 1]>
// FAMILY: daqkf-opt: dfke-schedule: shared_words are for running_sum elements alone ('wide-shared')
func.func @layer(%x: tensor<?x10xi8>) -> tensor<?x1xi8> {
  %y = dfke.kernel(%k = %x) : tensor<?x10xi8> -> tensor<?x1xi8> {
    %w = spaq.constant dense<[[5], [1], [1], [1], [1], [1], [0], [0], [0], [-5]]> : tensor<10x1xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x10xi8>, tensor<10x1xi8>) -> tensor<?x1xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      : tensor<?x1xi32> -> tensor<?x1xi8>
    dfke.yield %1 : tensor<?x1xi8>
  }
  func.return %y : tensor<?x1xi8>
}
