// RUN: daqkf-opt %s -p 'dfke-fuse,dfke-specialize-bitwidth,dfke-schedule{target="%S/targets/gates.toml"},dfke-chain' | filecheck %s
// RUN: daqkf-opt %s -p 'dfke-fuse,dfke-specialize-bitwidth,dfke-schedule{target="%S/targets/gates.toml"},dfke-chain,lower-dfke-to-rpea' | filecheck %s --check-prefix=ARRAY
// RUN: daqkf-opt %s -p 'dfke-fuse,dfke-specialize-bitwidth,dfke-schedule{target="%S/targets/rows.toml"},dfke-chain' | filecheck %s --check-prefix=ROWS

// Gates and values, their products, and what reads these.
// CHECK-LABEL: func.func @ffn
// CHECK: %z = dfke.chain(%{{.*}} = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
// CHECK-NEXT: %[[V:.*]] = dfke.kernel({{.*}} -> tensor<?x4xi8> {
// CHECK: %[[H:.*]] = dfke.gating(%[[I:.*]] = %[[V]]) : tensor<?x4xi8> -> tensor<?x2xi8> {
// CHECK-NEXT: %[[P:.*]] = spaq.gate "silu" %[[I]] table
// CHECK-NEXT: spaq.requantize %[[P]]
// CHECK: dfke.kernel(%{{.*}} = %[[H]])

// The array gates, and does not normalise.
// ARRAY: rpea.array @array <{{.*}}, gates = true
// ARRAY-NOT: normalizes
// ARRAY: rpea.gating @ffn_program_kernel_1 for @array gate dense<5> : tensor<256xi8> bias dense<0> : tensor<2xi32>
// ARRAY: rpea.chain @ffn_program of [@ffn_program_kernel_0, @ffn_program_kernel_1, @ffn_program_kernel_2]

// A target without the unit.
// ROWS-LABEL: func.func @ffn
// ROWS-NOT: dfke.chain
func.func @ffn(%x: tensor<?x1xi8>) -> tensor<?x1xi8> {
  %w = spaq.constant dense<[[1, -1, 2, 3]]> : tensor<1x4xi8>
  %0 = spaq.matmul %x, %w : (tensor<?x1xi8>, tensor<1x4xi8>) -> tensor<?x4xi32>
  %1 = spaq.requantize %0 multiplier dense<3> : tensor<4xi32> shift dense<2> : tensor<4xi32>
    : tensor<?x4xi32> -> tensor<?x4xi8>
  %2 = spaq.gate "silu" %1 table dense<5> : tensor<256xi8> : tensor<?x4xi8> -> tensor<?x2xi16>
  %h = spaq.requantize %2 multiplier dense<3> : tensor<2xi32> shift dense<9> : tensor<2xi32>
    : tensor<?x2xi16> -> tensor<?x2xi8>
  %d = spaq.constant dense<[[1], [2]]> : tensor<2x1xi8>
  %3 = spaq.matmul %h, %d : (tensor<?x2xi8>, tensor<2x1xi8>) -> tensor<?x1xi32>
  %z = spaq.requantize %3 multiplier dense<3> : tensor<1xi32> shift dense<2> : tensor<1xi32>
    : tensor<?x1xi32> -> tensor<?x1xi8>
  func.return %z : tensor<?x1xi8>
}
