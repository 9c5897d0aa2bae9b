// RUN: daqkf-opt %s -p 'dfke-specialize-bitwidth,dfke-schedule{target=tiny family=strassen},lower-dfke-to-rpea' | filecheck %s

// One direct word: feature 0 for the first output, 1 for the second, 2 as the third row. Its lowest
// bits are the rows 1, 0 and 2 and m1 = 3. The second element has no output, so its stream is only an end.
// CHECK: rpea.array @array {{.*}} accumulator_width = 11, {{.*}} families = [strassen]>
// CHECK: rpea.program @layer_program on @array features 3
// CHECK-SAME: stream dense<{{\[\[}}16875745, 67371009, 232], [63, 0, 128]]> : tensor<2x3xi32> rows dense<1>
// CHECK-SAME: outputs dense<[0, 1]> : tensor<2xi32> counts dense<[2, 0]>
func.func @layer(%x: tensor<?x3xi8>) -> tensor<?x2xi8> {
  %y = dfke.kernel(%k = %x) : tensor<?x3xi8> -> tensor<?x2xi8> {
    %w = spaq.constant dense<[[1, 0], [0, 2], [3, 0]]> : tensor<3x2xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x3xi8>, tensor<3x2xi8>) -> tensor<?x2xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : tensor<?x2xi32> -> tensor<?x2xi8>
    dfke.yield %1 : tensor<?x2xi8>
  }
  func.return %y : tensor<?x2xi8>
}
