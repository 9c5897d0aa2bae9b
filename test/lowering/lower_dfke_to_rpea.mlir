// RUN: daqkf-opt %s -p dfke-specialize-bitwidth,dfke-schedule{target=tiny},lower-dfke-to-rpea | filecheck %s
// RUN: daqkf-opt %s -p dfke-specialize-bitwidth,dfke-schedule{target=tiny},lower-dfke-to-rpea,lower-dfke-to-rpea | filecheck %s

// The array: 4 rows for 3 features and the zero row, 3 words a PE, sums of
// 128·2, 128·3 and 128·3 + 50 + 2.
// CHECK: rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4, stream_depth = 4, parameter_depth = 2, result_depth = 4, running_sum_width = 10, accumulator_width = 10, sum_width = 10>
// PE 0 has channels 0 and 2, whose sums the post unit takes while PE 1 has channel 1: one word
// for weight 2 and one for weight 1.
// The bias of channel 0 makes up for its ones' complement item.
// CHECK: rpea.program @layer_program on @array features 3 stream dense<{{.*}}> : tensor<6x1xi32> rows dense<3> : tensor<2xi32> outputs dense<[1, 0, 2]> : tensor<3xi32> counts dense<[1, 2]> : tensor<2xi32> bias dense<[52, 3, -50]> : tensor<3xi32> multiplier dense<[3, 4, 5]> : tensor<3xi32> shift dense<1> : tensor<3xi32> table dense<"0x000102
func.func @layer(%x: tensor<?x3xi8>) -> tensor<?x3xi8> {
  // CHECK: %y = rpea.run @layer_program(%x) : tensor<?x3xi8> -> tensor<?x3xi8>
  // CHECK-NEXT: func.return %y
  %y = dfke.kernel(%k = %x) : tensor<?x3xi8> -> tensor<?x3xi8> {
    %w = spaq.constant dense<[[-2, 0, 0], [0, 1, 0], [0, 2, 0]]> : tensor<3x3xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x3xi8>, tensor<3x3xi8>) -> tensor<?x3xi32>
    %b = spaq.constant dense<[50, 0, -50]> : tensor<3xi32>
    %1 = spaq.add %0, %b : (tensor<?x3xi32>, tensor<3xi32>) -> tensor<?x3xi32>
    %2 = spaq.requantize %1 multiplier dense<[3, 4, 5]> : tensor<3xi32> shift dense<1> : tensor<3xi32>
      : tensor<?x3xi32> -> tensor<?x3xi8>
    dfke.yield %2 : tensor<?x3xi8>
  }
  func.return %y : tensor<?x3xi8>
}
