// RUN: python -c "import numpy as n; n.savez('%t.npz', weights=n.array([[1, 0], [0, -2]]), bias=n.ones(2), activation='relu')"
// RUN: daqkf-translate --from npz %t.npz | filecheck %s
// RUN: daqkf-translate --from npz %t.npz | daqkf-opt -p nn-outline | filecheck %s --check-prefix=KERNEL
// RUN: python -c "open('%t.mtx', 'w').write('%%MatrixMarket matrix coordinate real general\n2 1 1\n2 1 0.5\n')"
// RUN: daqkf-translate --from mtx %t.mtx | filecheck %s --check-prefix=MTX

// CHECK: func.func @main(%x: tensor<?x2xf32>) -> tensor<?x2xf32> attributes {inputs = ["x"]} {
// CHECK-NEXT: nn.constant {node = "{{.*}}.weight"} dense<{{\[\[}}1.000000e+00, 0.000000e+00], [0.000000e+00, -2.000000e+00]]> : tensor<2x2xf32>
// CHECK-NEXT: nn.matmul %x
// CHECK-NEXT: nn.constant {node = "{{.*}}.bias"} dense<1.000000e+00> : tensor<2xf32>
// CHECK-NEXT: nn.elementwise add
// CHECK-NEXT: nn.elementwise relu
// CHECK-NEXT: func.return
// KERNEL: spaq.activation "relu"
// KERNEL: nn.linear
// MTX: nn.constant {{.*}} dense<{{\[\[}}0.000000e+00], [5.000000e-01]]> : tensor<2x1xf32>
