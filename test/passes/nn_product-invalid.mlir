// RUN: python -c "import numpy as n; n.savez('%t.npz', input0=n.full((1, 1, 1, 2), n.inf, 'f4'))"
// RUN: python -c "import numpy as n; n.savez('%t.other.npz', x=n.zeros((1, 1, 1, 2), 'f4'))"
// RUN: not daqkf-opt %s -p 'nn-product{samples="%t.npz"}' 2>&1 | filecheck %s
// RUN: not daqkf-opt %s -p 'nn-product{samples="%t.other.npz"}' 2>&1 | filecheck %s --check-prefix=NAMES
// RUN: not daqkf-opt %s -p 'nn-product{samples="%t.none.npz"}' 2>&1 | filecheck %s --check-prefix=FILE
// RUN: not daqkf-opt %s -p 'nn-product{samples=3}' 2>&1 | filecheck %s --check-prefix=TYPE
// RUN: not daqkf-opt %s -p 'nn-product' 2>&1 | filecheck %s --check-prefix=NONE
// RUN: not daqkf-opt %s -p 'nn-product{samples="%t.npz" colour=red}' 2>&1 | filecheck %s --check-prefix=UNKNOWN

// NAMES: daqkf-opt: nn-product: the network needs the input 'input0' (all: input0)
// FILE: daqkf-opt: nn-product: {{.*}}No such file or directory
// TYPE: daqkf-opt: nn-product: the option 'samples' is str, not 3
// NONE: daqkf-opt: nn-product: the option 'samples' is required
// UNKNOWN: daqkf-opt: nn-product: unknown option 'colour' (it has samples)

// CHECK: daqkf-opt: nn-product: samples: 'scores' reads or gives what is not finite
func.func @main(%x: tensor<1x1x1x2xf32>) -> tensor<1x1x1x1xf32> {
  %t = nn.transpose %x {axes = array<i64: 0, 1, 3, 2>} : (tensor<1x1x1x2xf32>) -> tensor<1x1x2x1xf32>
  %y = nn.matmul %x, %t {node = "scores"} : (tensor<1x1x1x2xf32>, tensor<1x1x2x1xf32>) -> tensor<1x1x1x1xf32>
  func.return %y : tensor<1x1x1x1xf32>
}
