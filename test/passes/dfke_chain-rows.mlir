// RUN: daqkf-opt %s -p 'dfke-fuse,dfke-specialize-bitwidth,dfke-schedule{target="%S/targets/rows.toml"},dfke-chain' | filecheck %s
// RUN: daqkf-opt %s -p 'dfke-fuse,dfke-specialize-bitwidth,dfke-schedule{target=tiny},dfke-chain' | filecheck %s --check-prefix=TINY
// RUN: not daqkf-opt %s -p 'dfke-fuse,dfke-specialize-bitwidth,dfke-schedule{target=tiny},dfke-chain,lower-dfke-to-rpea' 2>&1 | filecheck %s --check-prefix=ALONE

// ALONE: lower-dfke-to-rpea: a kernel that adds activations runs in a chain; run dfke-chain first

// What the first kernel adds comes in front of what it reads; what the third adds the second reads.
// CHECK-LABEL: func.func @tail
// CHECK: %[[ROWS:.*]] = spaq.concat %r, %x : (tensor<?x2xi8>, tensor<?x1xi8>) -> tensor<?x3xi8>
// CHECK-NEXT: %z = dfke.chain(%[[ALL:.*]] = %[[ROWS]]) : tensor<?x3xi8> -> tensor<?x2xi8> {
// CHECK-NEXT: %[[V:.*]] = dfke.kernel(%[[I:.*]] = %[[ALL]], %[[R:.*]] = %[[ALL]]) running_sum i9 schedule
// CHECK-NEXT: %[[X:.*]] = spaq.gather %[[I]] columns dense<2> : tensor<1xi32> : tensor<?x3xi8> -> tensor<?x1xi8>
// CHECK: %[[S:.*]] = spaq.matmul %[[X]], {{.*}} -> tensor<?x2xi9>
// CHECK-NEXT: spaq.residual %[[S]], %[[R]] multiplier dense<[100, 200]> : tensor<2xi32> : (tensor<?x2xi9>, tensor<?x3xi8>) -> tensor<?x2xi16>
// CHECK: %[[N:.*]] = dfke.normalization(%{{.*}} = %[[V]])
// CHECK: spaq.add %{{.*}} : (tensor<?x2xi18>, tensor<2xi32>) -> tensor<?x2xi22>
// CHECK: %[[H:.*]] = dfke.kernel(%{{.*}} = %[[N]]) running_sum
// CHECK: spaq.gather %{{.*}} columns dense<[0, 1, 1]>
// CHECK: %{{.*}} = dfke.kernel(%{{.*}} = %[[H]], %{{.*}} = %[[N]]) running_sum
// TINY-LABEL: func.func @tail
// TINY-NOT: dfke.chain
func.func @tail(%x: tensor<?x1xi8>, %r: tensor<?x2xi8>) -> tensor<?x2xi8> {
  %w = spaq.constant dense<[[1, -1]]> : tensor<1x2xi8>
  %0 = spaq.matmul %x, %w : (tensor<?x1xi8>, tensor<1x2xi8>) -> tensor<?x2xi32>
  %1 = spaq.residual %0, %r multiplier dense<[100, 200]> : tensor<2xi32>
    : (tensor<?x2xi32>, tensor<?x2xi8>) -> tensor<?x2xi32>
  %2 = spaq.requantize %1 multiplier dense<3> : tensor<2xi32> shift dense<9> : tensor<2xi32>
    : tensor<?x2xi32> -> tensor<?x2xi8>
  %3 = spaq.normalize %2 exponent dense<[0, 1]> : tensor<2xi32> : tensor<?x2xi8> -> tensor<?x2xi18>
  %b = spaq.constant dense<[5, -1000000]> : tensor<2xi32>
  %4 = spaq.add %3, %b : (tensor<?x2xi18>, tensor<2xi32>) -> tensor<?x2xi32>
  %n = spaq.requantize %4 multiplier dense<3> : tensor<2xi32> shift dense<9> : tensor<2xi32>
    : tensor<?x2xi32> -> tensor<?x2xi8>
  %5 = spaq.gather %n columns dense<[0, 1, 1]> : tensor<3xi32> : tensor<?x2xi8> -> tensor<?x3xi8>
  %u = spaq.constant dense<[[1, -1], [0, 1], [0, 1]]> : tensor<3x2xi8>
  %6 = spaq.matmul %5, %u : (tensor<?x3xi8>, tensor<3x2xi8>) -> tensor<?x2xi32>
  %h = spaq.requantize %6 multiplier dense<3> : tensor<2xi32> shift dense<2> : tensor<2xi32>
    : tensor<?x2xi32> -> tensor<?x2xi8>
  %d = spaq.constant dense<[[1, -1], [0, 1]]> : tensor<2x2xi8>
  %7 = spaq.matmul %h, %d : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
  %8 = spaq.residual %7, %n multiplier dense<[1, 2]> : tensor<2xi32>
    : (tensor<?x2xi32>, tensor<?x2xi8>) -> tensor<?x2xi32>
  %z = spaq.requantize %8 multiplier dense<3> : tensor<2xi32> shift dense<2> : tensor<2xi32>
    : tensor<?x2xi32> -> tensor<?x2xi8>
  func.return %z : tensor<?x2xi8>
}
