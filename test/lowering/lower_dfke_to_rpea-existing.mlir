// RUN: daqkf-opt %s -p dfke-specialize-bitwidth,dfke-schedule{target=tiny},lower-dfke-to-rpea | filecheck %s

// A module's own array is used as it is, by both kernels.
// CHECK-COUNT-1: rpea.array @mine <pes = 2, {{.*}} activation_depth = 16,
// CHECK: rpea.program @layer_program_0 on @mine features 1
// CHECK: rpea.program @layer_program_1 on @mine features 1
// CHECK-NOT: rpea.array
rpea.array @mine <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 16,
  stream_depth = 16, parameter_depth = 4, result_depth = 4, running_sum_width = 10,
  accumulator_width = 12, sum_width = 14>

func.func @layer(%x: tensor<?x1xi8>) -> tensor<?x1xi8> {
  // CHECK: %[[Y:.*]] = rpea.run @layer_program_0(%x)
  %y = dfke.kernel(%k = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %w = spaq.constant dense<1> : tensor<1x1xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      : tensor<?x1xi32> -> tensor<?x1xi8>
    dfke.yield %1 : tensor<?x1xi8>
  }
  // CHECK: rpea.run @layer_program_1(%[[Y]])
  %z = dfke.kernel(%k = %y) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %w = spaq.constant dense<-2> : tensor<1x1xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      : tensor<?x1xi32> -> tensor<?x1xi8>
    dfke.yield %1 : tensor<?x1xi8>
  }
  func.return %z : tensor<?x1xi8>
}
