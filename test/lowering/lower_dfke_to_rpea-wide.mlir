// RUN: daqkf-opt %s -p 'dfke-specialize-bitwidth,dfke-schedule{target="tiny:wide_results=true"},lower-dfke-to-rpea' | filecheck %s
// RUN: daqkf-opt %s -p 'dfke-specialize-bitwidth,dfke-schedule{target="tiny:wide_results=true,activation_depth=4,partial_depth=4,result_depth=4" tile=true},lower-dfke-to-rpea' | filecheck %s --check-prefix=TILED

// Four outputs take eight rows of results.
// CHECK: rpea.array @array <{{.*}} result_depth = 8, {{.*}} wide_results = true>
// CHECK: rpea.program @layer_program on @array features 3 {{.*}} wide
// Those that keep their sums give none.
// TILED: rpea.program @layer_program_part_0 on @array features {{.*}} : tensor<256xi8> wide
// TILED: rpea.tiled @layer_program of
func.func @layer(%x: tensor<?x3xi8>) -> tensor<?x4xi16> {
  // CHECK: rpea.run @layer_program(%x) : tensor<?x3xi8> -> tensor<?x4xi16>
  // TILED: rpea.run @layer_program(%x) : tensor<?x3xi8> -> tensor<?x4xi16>
  %y = dfke.kernel(%k = %x) : tensor<?x3xi8> -> tensor<?x4xi16> {
    %w = spaq.constant dense<[[0, 0, 3, 1], [2, 0, -2, -1], [0, 0, 1, 1]]> : tensor<3x4xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x3xi8>, tensor<3x4xi8>) -> tensor<?x4xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<4xi32> shift dense<1> : tensor<4xi32>
      : tensor<?x4xi32> -> tensor<?x4xi16>
    dfke.yield %1 : tensor<?x4xi16>
  }
  func.return %y : tensor<?x4xi16>
}
