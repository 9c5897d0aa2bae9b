// RUN: daqkf-opt %s --split-input-file --verify-diagnostics -p lower-dfke-to-rpea | filecheck %s

// CHECK: lower_dfke_to_rpea-invalid.mlir:[[# @LINE + 2]]:3: dfke.kernel: lower-dfke-to-rpea: a kernel has no schedule; run dfke-schedule first
func.func @layer(%x: tensor<?x2xi8>) -> tensor<?x1xi8> {
  %y = dfke.kernel(%k = %x) : tensor<?x2xi8> -> tensor<?x1xi8> {
    %w = spaq.constant dense<1> : tensor<2x1xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x2xi8>, tensor<2x1xi8>) -> tensor<?x1xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      : tensor<?x1xi32> -> tensor<?x1xi8>
    dfke.yield %1 : tensor<?x1xi8>
  }
  func.return %y : tensor<?x1xi8>
}

// -----

// CHECK: lower-dfke-to-rpea: a kernel's sums have no widths; run dfke-specialize-bitwidth first
func.func @layer(%x: tensor<?x2xi8>) -> tensor<?x1xi8> {
  %y = dfke.kernel(%k = %x) schedule #dfke.schedule<#dfke.machine<pes = 1, lanes = 2, post_lanes = 1, max_shift = 1,
        activation_depth = 4, stream_depth = 4, parameter_depth = 4, result_depth = 4>,
        dense<0> : tensor<1xi32>, dense<1> : tensor<1xi32>, dense<1> : tensor<1xi32>>
      : tensor<?x2xi8> -> tensor<?x1xi8> {
    %w = spaq.constant dense<1> : tensor<2x1xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x2xi8>, tensor<2x1xi8>) -> tensor<?x1xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      : tensor<?x1xi32> -> tensor<?x1xi8>
    dfke.yield %1 : tensor<?x1xi8>
  }
  func.return %y : tensor<?x1xi8>
}

// -----

// CHECK: lower-dfke-to-rpea: a kernel needs activation_depth = 4, but the array has 2
rpea.array @array <pes = 1, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 2, stream_depth = 4,
  parameter_depth = 2, result_depth = 2, running_sum_width = 10, accumulator_width = 32, sum_width = 32>

func.func @layer(%x: tensor<?x2xi8>) -> tensor<?x1xi8> {
  %y = dfke.kernel(%k = %x) running_sum i10
      schedule #dfke.schedule<#dfke.machine<pes = 1, lanes = 2, post_lanes = 1, max_shift = 1,
        activation_depth = 4, stream_depth = 4, parameter_depth = 4, result_depth = 4>,
        dense<0> : tensor<1xi32>, dense<1> : tensor<1xi32>, dense<1> : tensor<1xi32>>
      : tensor<?x2xi8> -> tensor<?x1xi8> {
    %w = spaq.constant dense<1> : tensor<2x1xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x2xi8>, tensor<2x1xi8>) -> tensor<?x1xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      : tensor<?x1xi32> -> tensor<?x1xi8>
    dfke.yield %1 : tensor<?x1xi8>
  }
  func.return %y : tensor<?x1xi8>
}

// -----

// CHECK: lower-dfke-to-rpea: a kernel needs running_sum_width = 10, but the array has 9
rpea.array @array <pes = 1, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4, stream_depth = 4,
  parameter_depth = 2, result_depth = 2, running_sum_width = 9, accumulator_width = 32, sum_width = 32>

func.func @layer(%x: tensor<?x2xi8>) -> tensor<?x1xi8> {
  %y = dfke.kernel(%k = %x) running_sum i10
      schedule #dfke.schedule<#dfke.machine<pes = 1, lanes = 2, post_lanes = 1, max_shift = 1,
        activation_depth = 4, stream_depth = 4, parameter_depth = 4, result_depth = 4>,
        dense<0> : tensor<1xi32>, dense<1> : tensor<1xi32>, dense<1> : tensor<1xi32>>
      : tensor<?x2xi8> -> tensor<?x1xi8> {
    %w = spaq.constant dense<1> : tensor<2x1xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x2xi8>, tensor<2x1xi8>) -> tensor<?x1xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      : tensor<?x1xi32> -> tensor<?x1xi8>
    dfke.yield %1 : tensor<?x1xi8>
  }
  func.return %y : tensor<?x1xi8>
}

// -----

// CHECK: lower-dfke-to-rpea: a kernel scheduled for pes = 1 cannot run on an array of pes = 2
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4, stream_depth = 4,
  parameter_depth = 2, result_depth = 2, running_sum_width = 10, accumulator_width = 32, sum_width = 32>

func.func @layer(%x: tensor<?x2xi8>) -> tensor<?x1xi8> {
  %y = dfke.kernel(%k = %x) running_sum i10
      schedule #dfke.schedule<#dfke.machine<pes = 1, lanes = 2, post_lanes = 1, max_shift = 1,
        activation_depth = 4, stream_depth = 4, parameter_depth = 4, result_depth = 4>,
        dense<0> : tensor<1xi32>, dense<1> : tensor<1xi32>, dense<1> : tensor<1xi32>>
      : tensor<?x2xi8> -> tensor<?x1xi8> {
    %w = spaq.constant dense<1> : tensor<2x1xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x2xi8>, tensor<2x1xi8>) -> tensor<?x1xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      : tensor<?x1xi32> -> tensor<?x1xi8>
    dfke.yield %1 : tensor<?x1xi8>
  }
  func.return %y : tensor<?x1xi8>
}

// -----

// CHECK: lower-dfke-to-rpea: a module with several arrays; kernels would not know theirs
rpea.array @a <pes = 1, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4, stream_depth = 4,
  parameter_depth = 2, result_depth = 2, running_sum_width = 10, accumulator_width = 32, sum_width = 32>

rpea.array @b <pes = 1, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4, stream_depth = 4,
  parameter_depth = 2, result_depth = 2, running_sum_width = 10, accumulator_width = 32, sum_width = 32>

func.func @layer(%x: tensor<?x2xi8>) -> tensor<?x1xi8> {
  %y = dfke.kernel(%k = %x) running_sum i10
      schedule #dfke.schedule<#dfke.machine<pes = 1, lanes = 2, post_lanes = 1, max_shift = 1,
        activation_depth = 4, stream_depth = 4, parameter_depth = 4, result_depth = 4>,
        dense<0> : tensor<1xi32>, dense<1> : tensor<1xi32>, dense<1> : tensor<1xi32>>
      : tensor<?x2xi8> -> tensor<?x1xi8> {
    %w = spaq.constant dense<1> : tensor<2x1xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x2xi8>, tensor<2x1xi8>) -> tensor<?x1xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      : tensor<?x1xi32> -> tensor<?x1xi8>
    dfke.yield %1 : tensor<?x1xi8>
  }
  func.return %y : tensor<?x1xi8>
}
