// RUN: not daqkf-opt %s -p 'nn-pre-norm{target="huge"}' 2>&1 | filecheck %s --check-prefix=UNKNOWN
// RUN: python -c "import numpy as n; n.savez('%t.npz', input0=n.zeros((2, 5), 'f4'))"
// RUN: not daqkf-opt %s -p 'nn-pre-norm{target="wide-norm" samples="%t.npz"}' 2>&1 | filecheck %s --check-prefix=SHAPE
// RUN: not daqkf-opt %s -p 'nn-pre-norm{target="wide-norm" samples="none.npz"}' 2>&1 | filecheck %s --check-prefix=NONE

// UNKNOWN: nn-pre-norm: unknown target 'huge'
// SHAPE: nn-pre-norm: samples: the input 'input0': an array of shape (2, 5) is not a tensor<?x3xf32>
// NONE: nn-pre-norm: {{.*}}No such file or directory
func.func @main(%x: tensor<?x3xf32>) -> tensor<?x2xf32> {
  %g = nn.constant dense<1.0> : tensor<3xf32>
  %n = nn.rms_norm %x, %g {epsilon = 1.0e-5 : f64} : (tensor<?x3xf32>, tensor<3xf32>) -> tensor<?x3xf32>
  %w = nn.constant dense<1.0> : tensor<3x2xf32>
  %a = nn.matmul %n, %w : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  func.return %a : tensor<?x2xf32>
}
