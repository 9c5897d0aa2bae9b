// RUN: not daqkf-opt %s -p 'nn-chain{target=nowhere}' 2>&1 | filecheck %s --check-prefix=TARGET
// RUN: not daqkf-opt %s -p 'nn-chain{target=3}' 2>&1 | filecheck %s --check-prefix=TYPE
// RUN: not daqkf-opt %s -p 'nn-chain{colour=red}' 2>&1 | filecheck %s --check-prefix=UNKNOWN
// RUN: not daqkf-opt %s -p 'nn-chain' 2>&1 | filecheck %s --check-prefix=NETWORK

// TARGET: daqkf-opt: nn-chain: unknown target 'nowhere' (known: generic
// TYPE: daqkf-opt: nn-chain: the option 'target' is str, not 3
// UNKNOWN: daqkf-opt: nn-chain: unknown option 'colour' (it has target)

// A kernel belongs to a network: the only function, or the one that is called `main`.
// NETWORK: daqkf-opt: {{.*}}nn_chain-invalid.mlir:18:3: nn.linear: nn-chain: expected one func.func in the module, not 2
func.func @k(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<2.0> : tensor<2x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  func.return %0 : tensor<?x2xf32>
}
func.func @network(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %h = nn.linear @k %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %y = nn.linear @k %h : (tensor<?x2xf32>) -> tensor<?x2xf32>
  func.return %y : tensor<?x2xf32>
}
