// RUN: daqkf-opt %s -p 'dfke-specialize-bitwidth,dfke-schedule{target="tiny:features_together=2"},lower-dfke-to-rpea' | filecheck %s
// RUN: not daqkf-opt %s -p 'dfke-specialize-bitwidth,dfke-schedule{target="tiny:features_together=2,activation_depth=4"}' 2>&1 | filecheck %s --check-prefix=FEW
// RUN: not daqkf-opt %s -p 'dfke-schedule{target="tiny:features_together=3"}' 2>&1 | filecheck %s --check-prefix=ODD

// Three features take two rows of two, and the row of zeros makes it four, as their number is a power of two.
// CHECK: rpea.array @array <{{.*}} activation_depth = 8, {{.*}} features_together = 2>
// CHECK: rpea.run @layer_program(%x) : tensor<?x3xi8> -> tensor<?x4xi8>
// FEW: 3 features; the target holds at most 2
// ODD: features_together must be one of (1, 2, 4, 8), not 3
func.func @layer(%x: tensor<?x3xi8>) -> tensor<?x4xi8> {
  %y = dfke.kernel(%k = %x) : tensor<?x3xi8> -> tensor<?x4xi8> {
    %w = spaq.constant dense<[[0, 0, 3, 1], [2, 0, -2, -1], [0, 0, 1, 1]]> : tensor<3x4xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x3xi8>, tensor<3x4xi8>) -> tensor<?x4xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<4xi32> shift dense<1> : tensor<4xi32>
      : tensor<?x4xi32> -> tensor<?x4xi8>
    dfke.yield %1 : tensor<?x4xi8>
  }
  func.return %y : tensor<?x4xi8>
}
