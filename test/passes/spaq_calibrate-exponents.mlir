// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.array([[1.0], [0.4], [0.35], [0.3]]))"
// RUN: daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy" reach=3}' | filecheck %s
// RUN: daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy" reach=3 exponents=off}' | filecheck %s --check-prefix=OFF
// RUN: daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy"}' | filecheck %s --check-prefix=OFF
// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.full((4, 1), 0.5))"
// RUN: daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy" reach=3}' | filecheck %s --check-prefix=OFF
// RUN: daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy" reach=2 exponents=on}' | filecheck %s --check-prefix=ON
// RUN: not daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy" reach=8}' 2>&1 | filecheck %s --check-prefix=REACH
// RUN: not daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy" exponents=yes}' 2>&1 | filecheck %s --check-prefix=CHOICE

// Tokens of which most are small share exponents, and those that are as large as the largest do not.
// CHECK-LABEL: func.func @ffn
// CHECK: %[[H:.*]] = spaq.gate "relu"
// CHECK-NEXT: spaq.calibrated %[[H]] absmax dense<{{.*}}> : tensor<2xf64> reach 3 :
// ON: spaq.gate "relu"
// ON-NEXT: spaq.calibrated {{.*}} reach 2 :
// OFF-LABEL: func.func @ffn
// OFF-NOT: reach
// REACH: daqkf-opt: spaq-calibrate: reach must be 0..7, not 8
// CHOICE: daqkf-opt: spaq-calibrate: unknown exponents 'yes' (known: auto, on, off)
func.func @ffn(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %w = spaq.constant dense<[[1.0, 2.0, 1.0, 8.0]]> : tensor<1x4xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x1xf32>, tensor<1x4xf32>) -> tensor<?x4xf32>
  %1 = spaq.gate "relu" %0 : tensor<?x4xf32> -> tensor<?x2xf32>
  %d = spaq.constant dense<[[3.0], [1.0]]> : tensor<2x1xf32>
  %2 = spaq.matmul %1, %d : (tensor<?x2xf32>, tensor<2x1xf32>) -> tensor<?x1xf32>
  func.return %2 : tensor<?x1xf32>
}
