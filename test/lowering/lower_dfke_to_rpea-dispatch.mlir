// RUN: daqkf-opt %s -p dfke-specialize-bitwidth,dfke-schedule{target=tiny},lower-dfke-to-rpea | filecheck %s
// RUN: daqkf-opt %s -p dfke-specialize-bitwidth,dfke-schedule{target=tiny},lower-dfke-to-rpea | daqkf-translate --to program -o %t

// The memories hold all variants: 3 + 3 words of a PE, 2 + 2 outputs of a PE.
// CHECK: rpea.array @array <pes = 2, lanes = 2, {{.*}} stream_depth = 8, parameter_depth = 4, {{.*}} buckets = 4>
// CHECK: rpea.program @layer_program_variant_0 on @array features 3
// CHECK: rpea.program @layer_program_variant_1 on @array features 3
// CHECK: rpea.dispatch @layer_program of [@layer_program_variant_0, @layer_program_variant_1] by <lanes = 2, shift = 1, table = [0, 0, 1, 1]>
// CHECK: %y = rpea.run @layer_program(%x)
// CHECK-NEXT: func.return %y
func.func @layer(%x: tensor<?x3xi8>) -> tensor<?x3xi8> {
  %y = dfke.dispatch(%k = %x) #dfke.decision<lanes = 2, shift = 1, table = [0, 0, 1, 1]>
      : tensor<?x3xi8> -> tensor<?x3xi8> {
    %a = dfke.kernel(%i = %k) : tensor<?x3xi8> -> tensor<?x3xi8> {
      %w = spaq.constant dense<[[-2, 0, 0], [0, 1, 0], [0, 2, 0]]> : tensor<3x3xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x3xi8>, tensor<3x3xi8>) -> tensor<?x3xi32>
      %1 = spaq.requantize %0 multiplier dense<3> : tensor<3xi32> shift dense<1> : tensor<3xi32>
        : tensor<?x3xi32> -> tensor<?x3xi8>
      dfke.yield %1 : tensor<?x3xi8>
    }
    %b = dfke.kernel(%i = %k) : tensor<?x3xi8> -> tensor<?x3xi8> {
      %w = spaq.constant dense<[[0, 1, 0], [0, 0, 1], [0, 0, 0]]> : tensor<3x3xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x3xi8>, tensor<3x3xi8>) -> tensor<?x3xi32>
      %1 = spaq.requantize %0 multiplier dense<3> : tensor<3xi32> shift dense<1> : tensor<3xi32>
        : tensor<?x3xi32> -> tensor<?x3xi8>
      dfke.yield %1 : tensor<?x3xi8>
    }
    dfke.yield %a, %b : tensor<?x3xi8>, tensor<?x3xi8>
  }
  func.return %y : tensor<?x3xi8>
}
