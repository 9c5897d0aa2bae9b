// RUN: daqkf-opt %s --split-input-file --verify-diagnostics -p dfke-specialize-bitwidth,dfke-schedule{target=tiny},lower-dfke-to-rpea | filecheck %s

// CHECK: lower-dfke-to-rpea: a dispatch over tiles of 4 tokens is scheduled for 2 lanes
func.func @layer(%x: tensor<?x3xi8>) -> tensor<?x3xi8> {
  %y = dfke.dispatch(%k = %x) #dfke.decision<lanes = 4, shift = 1, table = [0, 0, 1, 1]>
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

// -----

// CHECK: lower-dfke-to-rpea: a kernel needs buckets = 4, but the array has 1
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 8, parameter_depth = 4, result_depth = 4, running_sum_width = 10,
  accumulator_width = 10, sum_width = 10>

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

// -----

// CHECK: lower-dfke-to-rpea: 18 outputs of a PE in 2 variants; the target holds at most 16
func.func @layer(%x: tensor<?x1xi8>) -> tensor<?x18xi8> {
  %y = dfke.dispatch(%k = %x) #dfke.decision<lanes = 2, shift = 1, table = [0, 1]>
      : tensor<?x1xi8> -> tensor<?x18xi8> {
    %a = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x18xi8> {
      %w = spaq.constant dense<1> : tensor<1x18xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x18xi8>) -> tensor<?x18xi32>
      %1 = spaq.requantize %0 multiplier dense<3> : tensor<18xi32> shift dense<1> : tensor<18xi32>
        : tensor<?x18xi32> -> tensor<?x18xi8>
      dfke.yield %1 : tensor<?x18xi8>
    }
    %b = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x18xi8> {
      %w = spaq.constant dense<2> : tensor<1x18xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x18xi8>) -> tensor<?x18xi32>
      %1 = spaq.requantize %0 multiplier dense<3> : tensor<18xi32> shift dense<1> : tensor<18xi32>
        : tensor<?x18xi32> -> tensor<?x18xi8>
      dfke.yield %1 : tensor<?x18xi8>
    }
    dfke.yield %a, %b : tensor<?x18xi8>, tensor<?x18xi8>
  }
  func.return %y : tensor<?x18xi8>
}
