// RUN: daqkf-opt %s -p 'dfke-schedule{target=tiny}' | filecheck %s
// RUN: daqkf-opt %s -p dfke-schedule | filecheck %s --check-prefix=GENERIC
// RUN: daqkf-opt %s -p 'dfke-schedule{target="%S/targets/mixed.toml"}' | filecheck %s --check-prefix=MIXED
// RUN: daqkf-opt %s -p 'dfke-schedule{target="%S/targets/dense.toml"}' | filecheck %s --check-prefix=DENSE
// RUN: daqkf-opt %s -p 'dfke-schedule{target="%S/targets/small.toml" tile=true}' | filecheck %s --check-prefix=TILED
// RUN: not daqkf-opt %s -p 'dfke-schedule{target="%S/targets/small.toml"}' 2>&1 | filecheck %s --check-prefix=LARGE

// Words: channel 0 has one item of magnitude 2, one step of 2 levels: 2, with its last. Channel 1
// is empty: 1. Channel 2 has 3, 2 and 1: four. Channel 3 has 1, -1, 1: three.
// LARGE: dfke-schedule: 3 features; the target holds at most 1
// Three parts of a feature each, and two groups of outputs.
// TILED: dfke.kernel(%k = %x) tiles #dfke.tiles<array<i64: 1, 1, 1>, array<i64: 2, 2>, [#dfke.schedule<{{.*}}>, #dfke.schedule<
func.func @layer(%x: tensor<?x3xi8>) -> tensor<?x4xi8> {
  // CHECK: schedule #dfke.schedule<#dfke.machine<pes = 2, lanes = 2, {{.*}}>, dense<[3, 1, 0, 2]> : tensor<4xi32>, dense<2> : tensor<2xi32>, dense<[4, 6]> : tensor<2xi32>>
  // A multiply element takes 1, 1, 2 and 2 words: channels 0 and 2 go there.
  // MIXED: pes = 2, {{.*}} families = [running_sum, multiply], weight_bits = [4]>, dense<[3, 1, 2, 0]> : tensor<4xi32>, dense<2> : tensor<2xi32>, dense<[4, 3]> : tensor<2xi32>
  // DENSE: pes = 3, {{.*}} families = [dense], multiplier = "packed">, dense<[0, 3, 1, 2]> : tensor<4xi32>, dense<[2, 1, 1]> : tensor<3xi32>, dense<[6, 3, 3]> : tensor<3xi32>
  // GENERIC: #dfke.machine<pes = 4, lanes = 8, {{.*}}>, dense<[2, 3, 0, 1]> : tensor<4xi32>, dense<1> : tensor<4xi32>, dense<[4, 3, 2, 1]> : tensor<4xi32>>
  %y = dfke.kernel(%k = %x) : tensor<?x3xi8> -> tensor<?x4xi8> {
    %w = spaq.constant dense<[[0, 0, 3, 1], [2, 0, -2, -1], [0, 0, 1, 1]]> : tensor<3x4xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x3xi8>, tensor<3x4xi8>) -> tensor<?x4xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<4xi32> shift dense<1> : tensor<4xi32>
      : tensor<?x4xi32> -> tensor<?x4xi8>
    dfke.yield %1 : tensor<?x4xi8>
  }
  func.return %y : tensor<?x4xi8>
}
