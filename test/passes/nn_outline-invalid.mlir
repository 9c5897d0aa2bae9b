// RUN: not daqkf-opt %s -p nn-outline 2>&1 | filecheck %s
// RUN: sed 's/0x7FC00000/1.0/' %s > %t && not daqkf-opt %t -p nn-outline 2>&1 | filecheck %s --check-prefix=BIAS
// RUN: not daqkf-opt %s -p 'nn-outline{least=-1}' 2>&1 | filecheck %s --check-prefix=LEAST
// RUN: not daqkf-opt %s -p 'nn-outline{least=few}' 2>&1 | filecheck %s --check-prefix=TYPE
// RUN: not daqkf-opt %s -p 'nn-outline{colour=red}' 2>&1 | filecheck %s --check-prefix=UNKNOWN

// LEAST: daqkf-opt: nn-outline: the option 'least' must be at least 0, not -1
// TYPE: daqkf-opt: nn-outline: the option 'least' is int, not few
// UNKNOWN: daqkf-opt: nn-outline: unknown option 'colour' (it has least, host)

// CHECK: nn-outline: layer.0.up has weights beyond finite numbers
// BIAS: {{.*}}nn-outline: layer.0.up has a bias beyond finite numbers
func.func @one(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = nn.constant {node = "layer.0.up.weight"} dense<[[1.0, 0x7FC00000], [1.0, 2.0]]> : tensor<2x2xf32>
  %b = nn.constant dense<0x7F800000> : tensor<f32>
  %0 = nn.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = nn.elementwise add %0, %b : (tensor<?x2xf32>, tensor<f32>) -> tensor<?x2xf32>
  func.return %1 : tensor<?x2xf32>
}
