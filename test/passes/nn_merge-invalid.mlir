// RUN: not daqkf-opt %s -p 'nn-merge{target=nowhere}' 2>&1 | filecheck %s --check-prefix=TARGET
// RUN: not daqkf-opt %s -p 'nn-merge{target=3}' 2>&1 | filecheck %s --check-prefix=TYPE
// RUN: not daqkf-opt %s -p 'nn-merge{colour=red}' 2>&1 | filecheck %s --check-prefix=UNKNOWN
// RUN: not daqkf-opt %s -p 'nn-merge' 2>&1 | filecheck %s --check-prefix=NETWORK

// TARGET: daqkf-opt: nn-merge: unknown target 'nowhere' (known: generic
// TYPE: daqkf-opt: nn-merge: the option 'target' is str, not 3
// UNKNOWN: daqkf-opt: nn-merge: unknown option 'colour' (it has target)

// A kernel belongs to a network: the only function, or the one that is called `main`.
// NETWORK: daqkf-opt: {{.*}}nn_merge-invalid.mlir:18:3: nn.linear: nn-merge: expected one func.func in the module, not 2
func.func @k(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<2.0> : tensor<2x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  func.return %0 : tensor<?x2xf32>
}
func.func @network(%x: tensor<?x2xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  %a = nn.linear @k %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %b = nn.linear @k %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
  func.return %a, %b : tensor<?x2xf32>, tensor<?x2xf32>
}
