// RUN: python -c "import numpy as n; n.savez('%t.npz', weights=n.array([[1, 0], [0, -2]]), bias=n.ones(2), activation='relu', samples=n.eye(2))"
// RUN: daqkf-translate --import-npz %t.npz | filecheck %s
// RUN: daqkf-translate --import-npz %t.npz | daqkf-opt --pipeline circuit | daqkf-translate --to verilog | filecheck %s --check-prefix=VERILOG

// CHECK: func.func @layer(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
// CHECK-NEXT: spaq.calibrated %x absmax dense<1.000000e+00> : tensor<2xf64>
// CHECK-NEXT: %weights = spaq.constant dense<{{\[\[}}1.000000e+00, 0.000000e+00], [0.000000e+00, -2.000000e+00]]> : tensor<2x2xf32>
// CHECK-NEXT: spaq.matmul
// CHECK-NEXT: %bias = spaq.constant dense<1.000000e+00> : tensor<2xf32>
// CHECK-NEXT: spaq.add
// CHECK-NEXT: spaq.calibrated {{.*}} absmax dense<[2.000000e+00, 1.000000e+00]>
// CHECK-NEXT: spaq.activation "relu"
// CHECK-NEXT: spaq.calibrated {{.*}} absmax dense<[2.000000e+00, 1.000000e+00]>
// VERILOG: module daqkf_array(
