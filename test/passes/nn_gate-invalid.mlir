// RUN: not daqkf-opt %s -p 'nn-gate{target=nowhere}' 2>&1 | filecheck %s --check-prefix=TARGET
// RUN: not daqkf-opt %s -p 'nn-gate{target=3}' 2>&1 | filecheck %s --check-prefix=TYPE
// RUN: not daqkf-opt %s -p 'nn-gate{colour=red}' 2>&1 | filecheck %s --check-prefix=UNKNOWN
// RUN: not daqkf-opt %s -p 'nn-gate{host-cycles=-1}' 2>&1 | filecheck %s --check-prefix=CYCLES
// RUN: not daqkf-opt %s -p 'nn-gate{host-cycles=few}' 2>&1 | filecheck %s --check-prefix=FEW
// RUN: not daqkf-opt %s -p 'nn-gate{target="%S/targets/gates.toml" host-cycles=100}' 2>&1 | filecheck %s --check-prefix=NETWORK

// TARGET: daqkf-opt: nn-gate: unknown target 'nowhere' (known: generic
// TYPE: daqkf-opt: nn-gate: the option 'target' is str, not 3
// UNKNOWN: daqkf-opt: nn-gate: unknown option 'colour' (it has target, host-cycles)
// CYCLES: daqkf-opt: nn-gate: the option 'host-cycles' must be at least 0, not -1
// FEW: daqkf-opt: nn-gate: the option 'host-cycles' is float|int, not few

// A kernel belongs to a network: the only function, or the one that is called `main`.
// NETWORK: daqkf-opt: {{.*}}nn_gate-invalid.mlir:30:3: nn.elementwise: nn-gate: expected one func.func in the module, not 3
func.func @k(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<2.0> : tensor<2x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  func.return %0 : tensor<?x2xf32>
}
func.func @g(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<2.0> : tensor<2x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.activation "silu" %0 : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %1 : tensor<?x2xf32>
}
func.func @network(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %a = nn.linear @g %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %b = nn.linear @k %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %y = nn.elementwise mul %a, %b : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  func.return %y : tensor<?x2xf32>
}
