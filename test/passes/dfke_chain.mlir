// RUN: daqkf-opt %s -p dfke-specialize-bitwidth,dfke-schedule{target=tiny},dfke-chain --split-input-file | filecheck %s
// RUN: daqkf-opt %s -p dfke-chain --split-input-file | filecheck %s --check-prefix=UNSCHEDULED

// Without schedules nobody knows what fits.
// UNSCHEDULED-LABEL: @together
// UNSCHEDULED-NOT: dfke.chain
// UNSCHEDULED-LABEL: @apart
// UNSCHEDULED-NOT: dfke.chain

// The same columns are taken as they are, and the kernels stay together.
// CHECK-LABEL: @together
// CHECK: %[[X:.*]] = spaq.quantize
// CHECK-NEXT: %y = dfke.chain(%[[K:.*]] = %[[X]]) : tensor<?x2xi8> -> tensor<?x2xi8> {
// CHECK-NEXT: %[[A:.*]] = dfke.kernel(%{{.*}} = %[[K]]) running_sum
// CHECK: %[[B:.*]] = dfke.kernel(%{{.*}} = %[[A]]) running_sum
// CHECK: dfke.yield %[[B]]
// CHECK: %[[R:.*]] = spaq.dequantize %y
func.func @together(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %q = spaq.quantize %x scale 0.5 : tensor<?x2xf32> -> tensor<?x2xi8>
  %a = dfke.kernel(%k = %q) : tensor<?x2xi8> -> tensor<?x3xi8> {
    %w = spaq.constant dense<[[1, 0, 1], [0, -1, 0]]> : tensor<2x3xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x2xi8>, tensor<2x3xi8>) -> tensor<?x3xi32>
    %1 = spaq.requantize %0 multiplier dense<1> : tensor<3xi32> shift dense<1> : tensor<3xi32>
      : tensor<?x3xi32> -> tensor<?x3xi8>
    dfke.yield %1 : tensor<?x3xi8>
  }
  %b = spaq.dequantize %a scale 0.25 split dense<0> : tensor<1xi32> : tensor<?x3xi8> -> tensor<?x2xf32>
  %c = spaq.quantize %b scale 0.25 split dense<0> : tensor<1xi32> : tensor<?x2xf32> -> tensor<?x3xi8>
  %y = dfke.kernel(%k = %c) : tensor<?x3xi8> -> tensor<?x2xi8> {
    %w = spaq.constant dense<[[2, 0], [0, -1], [2, 0]]> : tensor<3x2xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x3xi8>, tensor<3x2xi8>) -> tensor<?x2xi32>
    %1 = spaq.requantize %0 multiplier dense<1> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : tensor<?x2xi32> -> tensor<?x2xi8>
    dfke.yield %1 : tensor<?x2xi8>
  }
  %z = spaq.dequantize %y scale 1.0 : tensor<?x2xi8> -> tensor<?x2xf32>
  func.return %z : tensor<?x2xf32>
}

// -----

// Other scales, or weights that tell the columns of a feature apart: nothing falls out.
// CHECK-LABEL: @apart
// CHECK-NOT: dfke.chain
// CHECK: spaq.quantize %{{.*}} scale 5.000000e-01
// CHECK-NOT: dfke.chain
// CHECK: spaq.quantize %{{.*}} scale 2.500000e-01 split
// CHECK-NOT: dfke.chain
func.func @apart(%x: tensor<?x3xi8>) -> (tensor<?x2xi8>, tensor<?x2xi8>) {
  %a = dfke.kernel(%k = %x) : tensor<?x3xi8> -> tensor<?x3xi8> {
    %w = spaq.constant dense<[[1, 0, 1], [0, -1, 0], [0, 0, 1]]> : tensor<3x3xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x3xi8>, tensor<3x3xi8>) -> tensor<?x3xi32>
    %1 = spaq.requantize %0 multiplier dense<1> : tensor<3xi32> shift dense<1> : tensor<3xi32>
      : tensor<?x3xi32> -> tensor<?x3xi8>
    dfke.yield %1 : tensor<?x3xi8>
  }
  %b = spaq.dequantize %a scale 0.25 : tensor<?x3xi8> -> tensor<?x3xf32>
  %c = spaq.quantize %b scale 0.5 : tensor<?x3xf32> -> tensor<?x3xi8>
  %y = dfke.kernel(%k = %c) : tensor<?x3xi8> -> tensor<?x2xi8> {
    %w = spaq.constant dense<[[2, 0], [0, -1], [2, 0]]> : tensor<3x2xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x3xi8>, tensor<3x2xi8>) -> tensor<?x2xi32>
    %1 = spaq.requantize %0 multiplier dense<1> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : tensor<?x2xi32> -> tensor<?x2xi8>
    dfke.yield %1 : tensor<?x2xi8>
  }
  %d = spaq.dequantize %a scale 0.25 split dense<0> : tensor<1xi32> : tensor<?x3xi8> -> tensor<?x2xf32>
  %e = spaq.quantize %d scale 0.25 split dense<0> : tensor<1xi32> : tensor<?x2xf32> -> tensor<?x3xi8>
  %z = dfke.kernel(%k = %e) : tensor<?x3xi8> -> tensor<?x2xi8> {
    %w = spaq.constant dense<[[2, 0], [0, -1], [1, 0]]> : tensor<3x2xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x3xi8>, tensor<3x2xi8>) -> tensor<?x2xi32>
    %1 = spaq.requantize %0 multiplier dense<1> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : tensor<?x2xi32> -> tensor<?x2xi8>
    dfke.yield %1 : tensor<?x2xi8>
  }
  func.return %y, %z : tensor<?x2xi8>, tensor<?x2xi8>
}
