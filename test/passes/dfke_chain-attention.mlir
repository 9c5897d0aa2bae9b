// RUN: daqkf-opt %s -p 'dfke-fuse,dfke-specialize-bitwidth,dfke-schedule{target="%S/targets/sequences.toml"},dfke-chain' | filecheck %s
// RUN: daqkf-opt %s -p 'dfke-fuse,dfke-specialize-bitwidth,dfke-schedule{target="%S/targets/sequences.toml"},dfke-chain,lower-dfke-to-rpea' | filecheck %s --check-prefix=LOWERED
// RUN: daqkf-opt %s -p 'dfke-fuse,dfke-specialize-bitwidth,dfke-schedule{target=tiny},dfke-chain' | filecheck %s --check-prefix=TINY
// RUN: not daqkf-opt %s -p 'dfke-fuse,dfke-specialize-bitwidth,dfke-schedule{target=tiny},dfke-chain,lower-dfke-to-rpea' 2>&1 | filecheck %s --check-prefix=ROOM
// RUN: not daqkf-opt %s -p 'dfke-fuse,dfke-specialize-bitwidth,dfke-schedule{target="%S/targets/sequences.toml"},lower-dfke-to-rpea' 2>&1 | filecheck %s --check-prefix=ALONE

// ROOM: lower-dfke-to-rpea: attention of 6 tokens takes operand_depth = {{[0-9]+}}; the target holds 0
// ALONE: lower-dfke-to-rpea: attention runs in a chain, with the kernels of its queries, keys and values; run dfke-chain first

// CHECK-LABEL: func.func @layer
// CHECK: %y = dfke.chain(%[[X:.*]] = %x) : tensor<?x2xi8> -> tensor<?x2xi8> {
// CHECK-NEXT: %[[K:.*]] = dfke.kernel(%{{.*}} = %[[X]])
// CHECK: %[[V:.*]] = dfke.kernel(%{{.*}} = %[[X]])
// CHECK: %[[Q:.*]] = dfke.kernel(%{{.*}} = %[[X]])
// CHECK: %[[C:.*]] = spaq.attend %[[Q]], %[[K]], %[[V]] heads 1 tokens 6
// CHECK: %{{.*}} = dfke.kernel(%{{.*}} = %[[C]], %{{.*}} = %[[X]])
// TINY-NOT: dfke.chain
// Two tiles of 4 tokens: 4 operand words of keys, 2 for each of two values.
// LOWERED: rpea.array @array <{{.*}}softmax = true{{.*}}operand_depth = 8
// LOWERED: rpea.program @layer_program_attention_scores on @array features 4 {{.*}} operands 0
// LOWERED-NEXT: rpea.softmax @layer_program_attention_shares for @array keys 8 {{.*}} multiplier dense<127> : tensor<8xi32> shift dense<16> : tensor<8xi32>
// LOWERED-NEXT: rpea.program @layer_program_attention_results on @array features 8 {{.*}} operands 4
// LOWERED: rpea.chain @layer_program of [@layer_program_kernel_0, @layer_program_kernel_1, @layer_program_kernel_2, @layer_program_attention_scores, @layer_program_attention_shares, @layer_program_attention_results, @layer_program_kernel_6] saves [2] tiles 2
func.func @layer(%x: tensor<?x2xi8>) -> tensor<?x2xi8> {
  %wk = spaq.constant dense<[[1, 0, -1, 0], [0, 1, 1, 0]]> : tensor<2x4xi8>
  %0 = spaq.matmul %x, %wk : (tensor<?x2xi8>, tensor<2x4xi8>) -> tensor<?x4xi32>
  %k = spaq.requantize %0 multiplier dense<3> : tensor<4xi32> shift dense<2> : tensor<4xi32>
    : tensor<?x4xi32> -> tensor<?x4xi8>
  %wq = spaq.constant dense<[[1, 1, -1, 0], [0, 1, 1, 2]]> : tensor<2x4xi8>
  %1 = spaq.matmul %x, %wq : (tensor<?x2xi8>, tensor<2x4xi8>) -> tensor<?x4xi32>
  %q = spaq.requantize %1 multiplier dense<3> : tensor<4xi32> shift dense<2> : tensor<4xi32>
    : tensor<?x4xi32> -> tensor<?x4xi8>
  %wv = spaq.constant dense<[[2, 0, -1, 0], [0, 1, 1, 3]]> : tensor<2x4xi8>
  %2 = spaq.matmul %x, %wv : (tensor<?x2xi8>, tensor<2x4xi8>) -> tensor<?x4xi32>
  %v = spaq.requantize %2 multiplier dense<3> : tensor<4xi32> shift dense<2> : tensor<4xi32>
    : tensor<?x4xi32> -> tensor<?x4xi8>
  %c = spaq.attend %q, %k, %v heads 1 tokens 6 scores by dense<1> : tensor<1xi32>
    shift dense<6> : tensor<1xi32> table dense<0> : tensor<256xi8>
    results by dense<3> : tensor<4xi32> shift dense<8> : tensor<4xi32>
    : (tensor<?x4xi8>, tensor<?x4xi8>, tensor<?x4xi8>) -> tensor<?x4xi8>
  %wo = spaq.constant dense<[[1, 0], [0, 1], [1, 1], [-1, 0]]> : tensor<4x2xi8>
  %3 = spaq.matmul %c, %wo : (tensor<?x4xi8>, tensor<4x2xi8>) -> tensor<?x2xi32>
  %4 = spaq.residual %3, %x multiplier dense<2> : tensor<2xi32>
    : (tensor<?x2xi32>, tensor<?x2xi8>) -> tensor<?x2xi32>
  %y = spaq.requantize %4 multiplier dense<3> : tensor<2xi32> shift dense<2> : tensor<2xi32>
    : tensor<?x2xi32> -> tensor<?x2xi8>
  func.return %y : tensor<?x2xi8>
}
