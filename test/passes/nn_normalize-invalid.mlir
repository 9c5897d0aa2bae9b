// RUN: not daqkf-opt %s -p 'nn-normalize{target=nowhere}' 2>&1 | filecheck %s --check-prefix=TARGET
// RUN: not daqkf-opt %s -p 'nn-normalize{target=3}' 2>&1 | filecheck %s --check-prefix=TYPE
// RUN: not daqkf-opt %s -p 'nn-normalize{colour=red}' 2>&1 | filecheck %s --check-prefix=UNKNOWN
// RUN: not daqkf-opt %s -p 'nn-normalize{host-cycles=-1}' 2>&1 | filecheck %s --check-prefix=CYCLES
// RUN: not daqkf-opt %s -p 'nn-normalize{host-cycles=few}' 2>&1 | filecheck %s --check-prefix=FEW
// RUN: not daqkf-opt %s -p 'nn-normalize{target="%S/targets/rows.toml" host-cycles=100}' 2>&1 | filecheck %s --check-prefix=NETWORK

// TARGET: daqkf-opt: nn-normalize: unknown target 'nowhere' (known: generic
// TYPE: daqkf-opt: nn-normalize: the option 'target' is str, not 3
// UNKNOWN: daqkf-opt: nn-normalize: unknown option 'colour' (it has target, host-cycles)
// CYCLES: daqkf-opt: nn-normalize: the option 'host-cycles' must be at least 0, not -1
// FEW: daqkf-opt: nn-normalize: the option 'host-cycles' is float|int, not few

// A kernel belongs to a network: the only function, or the one that is called `main`.
// NETWORK: daqkf-opt: {{.*}}nn_normalize-invalid.mlir:24:3: nn.layer_norm: nn-normalize: expected one func.func in the module, not 2
func.func @k(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<2.0> : tensor<2x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  func.return %0 : tensor<?x2xf32>
}
func.func @network(%x: tensor<?x2xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  %a = nn.linear @k %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %g = nn.constant dense<1.0> : tensor<2xf32>
  %y = nn.layer_norm %a, %g, %g {epsilon = 0.0 : f64} : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  // Called again, so that the normalised kernel has to be another one.
  %b = nn.linear @k %y : (tensor<?x2xf32>) -> tensor<?x2xf32>
  func.return %y, %b : tensor<?x2xf32>, tensor<?x2xf32>
}
