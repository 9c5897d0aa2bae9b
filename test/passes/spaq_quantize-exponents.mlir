// RUN: daqkf-opt %s -p 'spaq-quantize' | filecheck %s
// RUN: daqkf-opt %s -p 'spaq-quantize{split=0.5},dfke-fuse,dfke-specialize-bitwidth,dfke-schedule{target="%S/targets/gates.toml:row_exponents=3"},dfke-chain' | filecheck %s --check-prefix=CHAIN
// RUN: daqkf-opt %s -p 'spaq-quantize,dfke-fuse,dfke-specialize-bitwidth,dfke-schedule{target="%S/targets/gates.toml:row_exponents=3"},dfke-chain,lower-dfke-to-rpea' | filecheck %s --check-prefix=ARRAY
// RUN: not daqkf-opt %s -p 'spaq-quantize,dfke-fuse,dfke-specialize-bitwidth,dfke-schedule{target="%S/targets/gates.toml"},dfke-chain,lower-dfke-to-rpea' 2>&1 | filecheck %s --check-prefix=NONE
// RUN: not daqkf-opt %s -p 'spaq-quantize,dfke-fuse,dfke-specialize-bitwidth,dfke-schedule{target="%S/targets/gates.toml:row_exponents=2"},dfke-chain,lower-dfke-to-rpea' 2>&1 | filecheck %s --check-prefix=NONE

// The gated values are in steps of an eighth, times 2 to the exponent, which the sums take back.
// CHECK: %[[P:.*]] = spaq.gate "relu"
// CHECK-NEXT: %[[Q:.*]], %[[E:.*]] = spaq.requantize_rows %[[P]] multiplier dense<36045> : tensor<2xi32> shift dense<17> : tensor<2xi32> reach 3 : tensor<?x2xi16> -> tensor<?x2xi8>, tensor<?x1xi8>
// CHECK: %[[S:.*]] = spaq.matmul %[[Q]], %{{.*}} -> tensor<?x1xi32>
// CHECK-NEXT: %[[T:.*]] = spaq.scale_rows %[[S]], %[[E]] reach 3 : (tensor<?x1xi32>, tensor<?x1xi8>) -> tensor<?x1xi32>
// CHECK-NEXT: %[[B:.*]] = spaq.constant dense<21> : tensor<1xi32>
// CHECK-NEXT: spaq.add %[[T]], %[[B]]

// Sums are wider by the reach. The feature of large range is read twice.
// CHAIN: dfke.chain
// CHAIN: %[[Q:.*]], %[[E:.*]] = dfke.gating({{.*}}) : tensor<?x4xi8> -> tensor<?x2xi8>, tensor<?x1xi8> {
// CHAIN: dfke.kernel(%{{.*}} = %[[Q]], %[[F:.*]] = %[[E]])
// CHAIN: spaq.gather {{.*}} columns dense<[0, 1, 0]>
// CHAIN: spaq.scale_rows %{{.*}}, %[[F]] reach 3 : (tensor<?x1xi17>, tensor<?x1xi8>) -> tensor<?x1xi20>

// ARRAY: rpea.array @array <{{.*}} gates = true, row_exponents = 3,
// ARRAY: rpea.gating {{.*}} reach 3{{$}}
// ARRAY: rpea.program {{.*}} bias dense<21> : {{.*}} correction dense<{{.*}}> : tensor<1xi32>{{$}}
// NONE: dfke.kernel: lower-dfke-to-rpea: a kernel of rows that share exponents runs in a chain, of a target with such row_exponents; run dfke-chain first
func.func @ffn(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %c = spaq.calibrated %x absmax 127.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  %w = spaq.constant dense<[[1.0, 2.0, 1.0, 8.0]]> : tensor<1x4xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x1xf32>, tensor<1x4xf32>) -> tensor<?x4xf32>
  %1 = spaq.calibrated %0 absmax dense<[508.0, 635.0, 254.0, 635.0]> : tensor<4xf64> : tensor<?x4xf32> -> tensor<?x4xf32>
  %2 = spaq.gate "relu" %1 : tensor<?x4xf32> -> tensor<?x2xf32>
  %3 = spaq.calibrated %2 absmax dense<[10160.0, 2540.0]> : tensor<2xf64> reach 3 : tensor<?x2xf32> -> tensor<?x2xf32>
  %d = spaq.constant dense<[[3.0], [-1.0]]> : tensor<2x1xf32>
  %4 = spaq.matmul %3, %d : (tensor<?x2xf32>, tensor<2x1xf32>) -> tensor<?x1xf32>
  %b = spaq.constant dense<5.0> : tensor<1xf32>
  %5 = spaq.add %4, %b : (tensor<?x1xf32>, tensor<1xf32>) -> tensor<?x1xf32>
  %6 = spaq.calibrated %5 absmax 40000.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  func.return %6 : tensor<?x1xf32>
}
