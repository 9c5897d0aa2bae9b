// RUN: python -c "import numpy as n; n.savez('%t.npz', input0=n.full((1, 1, 1, 2), n.inf, 'f4'))"
// RUN: python -c "import numpy as n; n.savez('%t.other.npz', x=n.zeros((1, 1, 1, 2), 'f4'))"
// RUN: not daqkf-opt %s -p 'nn-attention{samples="%t.npz" target="%S/targets/attends.toml"  host-cycles=1000}' 2>&1 | filecheck %s
// RUN: not daqkf-opt %s -p 'nn-attention{samples="%t.other.npz" target="%S/targets/attends.toml"  host-cycles=1000}' 2>&1 | filecheck %s --check-prefix=NAMES
// RUN: not daqkf-opt %s -p 'nn-attention{samples="%t.none.npz" target="%S/targets/attends.toml"  host-cycles=1000}' 2>&1 | filecheck %s --check-prefix=FILE
// RUN: not daqkf-opt %s -p 'nn-attention{samples=3}' 2>&1 | filecheck %s --check-prefix=TYPE
// RUN: not daqkf-opt %s -p 'nn-attention' 2>&1 | filecheck %s --check-prefix=NONE
// RUN: not daqkf-opt %s -p 'nn-attention{samples="%t.npz" colour=red}' 2>&1 | filecheck %s --check-prefix=UNKNOWN
// RUN: not daqkf-opt %s -p 'nn-attention{samples="%t.npz" target=nowhere}' 2>&1 | filecheck %s --check-prefix=TARGET
// RUN: not daqkf-opt %s -p 'nn-attention{samples="%t.npz" colour=red}' 2>&1 | filecheck %s --check-prefix=UNKNOWN
// RUN: not daqkf-opt %s -p 'nn-attention{samples="%t.npz" host-cycles=-1}' 2>&1 | filecheck %s --check-prefix=CYCLES
// RUN: not daqkf-opt %s -p 'nn-attention{samples="%t.npz" host-cycles=few}' 2>&1 | filecheck %s --check-prefix=FEW
// RUN: not daqkf-opt %s -p 'nn-attention{samples="%t.npz" levels=128}' 2>&1 | filecheck %s --check-prefix=LEVELS
// RUN: not daqkf-opt %s -p 'nn-attention{samples="%t.npz" tokens=0}' 2>&1 | filecheck %s --check-prefix=TOKENS

// TOKENS: daqkf-opt: nn-attention: the option 'tokens' must be at least 1, not 0
// NAMES: daqkf-opt: nn-attention: the network needs the input 'input0' (all: input0)
// FILE: daqkf-opt: nn-attention: {{.*}}No such file or directory
// TYPE: daqkf-opt: nn-attention: the option 'samples' is str, not 3
// NONE: daqkf-opt: nn-attention: the option 'samples' is required
// UNKNOWN: daqkf-opt: nn-attention: unknown option 'colour' (it has samples, target, host-cycles, levels, tokens)

// TARGET: daqkf-opt: nn-attention: unknown target 'nowhere' (known: generic
// CYCLES: daqkf-opt: nn-attention: the option 'host-cycles' must be at least 0, not -1
// FEW: daqkf-opt: nn-attention: the option 'host-cycles' is float|int, not few
// LEVELS: daqkf-opt: nn-attention: the option 'levels' must be 1..127, not 128

// CHECK: daqkf-opt: {{.*}}samples: 'shares' reads or gives {{.*}} not finite
func.func @main(%x: tensor<1x1x1x2xf32>) -> tensor<1x1x1x2xf32> {
  %t = nn.transpose %x {axes = array<i64: 0, 1, 3, 2>} : (tensor<1x1x1x2xf32>) -> tensor<1x1x2x1xf32>
  %0 = nn.matmul %x, %t : (tensor<1x1x1x2xf32>, tensor<1x1x2x1xf32>) -> tensor<1x1x1x1xf32>
  %1 = nn.softmax %0 {node = "shares", axis = -1 : i64} : (tensor<1x1x1x1xf32>) -> tensor<1x1x1x1xf32>
  %y = nn.matmul %1, %x : (tensor<1x1x1x1xf32>, tensor<1x1x1x2xf32>) -> tensor<1x1x1x2xf32>
  func.return %y : tensor<1x1x1x2xf32>
}
