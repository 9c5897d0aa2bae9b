// RUN: daqkf-opt %s -p 'dfke-schedule{target="tiny:wide_results=true"}' | filecheck %s
// RUN: daqkf-opt %s -p 'dfke-schedule{target="tiny:wide_results=true,result_depth=4" tile=true}' | filecheck %s --check-prefix=TILED
// RUN: not daqkf-opt %s -p 'dfke-schedule{target="tiny:wide_results=true,result_depth=4"}' 2>&1 | filecheck %s --check-prefix=LARGE
// RUN: not daqkf-opt %s -p 'dfke-schedule{target=tiny}' 2>&1 | filecheck %s --check-prefix=NARROW

// LARGE: dfke_schedule-wide.mlir:[[# @LINE + 6]]:3: dfke.kernel: dfke-schedule: 8 rows of wide results; the target holds at most 4
// NARROW: dfke_schedule-wide.mlir:[[# @LINE + 5]]:3: dfke.kernel: dfke-schedule: results of i16; the target gives i8 alone ('tiny')
// Groups of two outputs have as many rows as there are.
// TILED: dfke.kernel(%k = %x) tiles #dfke.tiles<array<i64: 3>, array<i64: 2, 2>
func.func @layer(%x: tensor<?x3xi8>) -> tensor<?x4xi16> {
  // CHECK: dfke.kernel(%k = %x) schedule #dfke.schedule<{{.*}} wide_results = true>{{.*}} : tensor<?x3xi8> -> tensor<?x4xi16>
  %y = dfke.kernel(%k = %x) : tensor<?x3xi8> -> tensor<?x4xi16> {
    %w = spaq.constant dense<[[0, 0, 3, 1], [2, 0, -2, -1], [0, 0, 1, 1]]> : tensor<3x4xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x3xi8>, tensor<3x4xi8>) -> tensor<?x4xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<4xi32> shift dense<1> : tensor<4xi32>
      : tensor<?x4xi32> -> tensor<?x4xi16>
    dfke.yield %1 : tensor<?x4xi16>
  }
  func.return %y : tensor<?x4xi16>
}
