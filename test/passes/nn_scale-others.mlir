// RUN: daqkf-opt %s -p nn-scale | filecheck %s

// Products of activations stay as they are, and those that read the levels of a file.
// CHECK-LABEL: @others
// CHECK-NOT: nn.reduce
func.func @others(%x: tensor<?x2xf32>, %y: tensor<2x2xf32>, %q: tensor<?x2xi8>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  %w = nn.constant dense<[[1.0, 2.0], [4.0, 5.0]]> : tensor<2x2xf32>
  %s = nn.constant dense<0.5> : tensor<f32>
  %z = nn.constant dense<3> : tensor<i8>
  %a = nn.matmul %x, %y : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %r = nn.dequantize %q, %s, %z {axis = 1 : i64} : (tensor<?x2xi8>, tensor<f32>, tensor<i8>) -> tensor<?x2xf32>
  %b = nn.matmul %r, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  func.return %a, %b : tensor<?x2xf32>, tensor<?x2xf32>
}
