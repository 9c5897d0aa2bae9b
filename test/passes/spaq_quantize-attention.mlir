// RUN: python -c "import numpy as n; n.save('%t.npy', n.array([[1, 2], [-3, 0.5], [2, -1]], 'f4'))"
// RUN: daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy" granularity=tensor}' | filecheck %s --check-prefix=RANGES
// RUN: daqkf-opt %s -p 'spaq-calibrate{samples="%t.npy" granularity=tensor},spaq-quantize{exact=true}' | filecheck %s
// RUN: not daqkf-opt %s -p 'spaq-quantize{exact=true}' 2>&1 | filecheck %s --check-prefix=RANGE
// RUN: python -c "import numpy as n; n.save('%t.long.npy', n.ones((7, 2), 'f4'))"
// RUN: not daqkf-opt %s -p 'spaq-calibrate{samples="%t.long.npy"}' 2>&1 | filecheck %s --check-prefix=LONG

// RANGE: :26:3: spaq.matmul: spaq-quantize: the sums or the results of a product have no spaq.calibrated range
// LONG: daqkf-opt: {{.*}}spaq_quantize-attention.mlir:24:1: func.func: spaq-calibrate: calibration samples: spaq.attention: a sequence of 7 tokens; it is for 1..6

// The largest score is of the second token with itself, 9.25 / 2.
// RANGES: spaq.attention %{{.*}}, %{{.*}}, %{{.*}} heads 1 tokens 6 scale 5.000000e-01 scores 4.625000e+00
// Keys and queries have the scale of their largest one, and scores a step of 4.625 / 127.
// CHECK-LABEL: func.func @attends
// CHECK: %[[X:.*]] = spaq.quantize %x scale
// CHECK: %[[K:.*]] = spaq.requantize
// CHECK: %[[V:.*]] = spaq.requantize
// CHECK: %[[Q:.*]] = spaq.requantize
// CHECK: %[[C:.*]] = spaq.attend %[[Q]], %[[K]], %[[V]] heads 1 tokens 6 scores by dense<{{[0-9]+}}> : tensor<1xi32> shift dense<{{[0-9]+}}> : tensor<1xi32> table dense<"0x
// CHECK-NOT: spaq.attention
// CHECK: %[[SUM:.*]] = spaq.matmul %[[C]], %wo
// CHECK: spaq.dequantize
// CHECK-NEXT: func.return
func.func @attends(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %wk = spaq.constant dense<[[1.0, 0.0], [0.0, 1.0]]> : tensor<2x2xf32>
  %k = spaq.matmul %x, %wk : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %wv = spaq.constant dense<[[2.0, 1.0], [0.0, 1.0]]> : tensor<2x2xf32>
  %v = spaq.matmul %x, %wv : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %wq = spaq.constant dense<[[1.0, 0.0], [0.0, 1.0]]> : tensor<2x2xf32>
  %q = spaq.matmul %x, %wq : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %c = spaq.attention %q, %k, %v heads 1 tokens 6 scale 0.5
    : (tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %wo = spaq.constant dense<[[1.0, -1.0], [0.0, 1.0]]> : tensor<2x2xf32>
  %y = spaq.matmul %c, %wo : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  func.return %y : tensor<?x2xf32>
}
