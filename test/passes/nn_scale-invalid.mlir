// RUN: python -c "import numpy as n; n.savez('%t.npz', x=n.zeros((1, 2), 'f4'))"
// RUN: not daqkf-opt %s -p 'nn-scale{samples="%t.npz"}' 2>&1 | filecheck %s
// RUN: not daqkf-opt %s -p 'nn-scale{samples="%t.none.npz"}' 2>&1 | filecheck %s --check-prefix=FILE
// RUN: not daqkf-opt %s -p 'nn-scale{colour=red}' 2>&1 | filecheck %s --check-prefix=UNKNOWN

// CHECK: daqkf-opt: nn-scale: the network needs the input 'input0' (all: input0)
// FILE: daqkf-opt: nn-scale: {{.*}}No such file or directory
// UNKNOWN: daqkf-opt: nn-scale: unknown option 'colour' (it has samples, keep, ranked)

func.func @main(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %y = nn.elementwise neg %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
  func.return %y : tensor<?x2xf32>
}
