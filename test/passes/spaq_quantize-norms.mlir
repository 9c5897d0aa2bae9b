// RUN: daqkf-opt %s -p 'spaq-quantize{exact=true}' | filecheck %s

// RMS normalisation has no shift to add. What is added to its squares is ε for each of the
// features, in steps of the least scale, which is 12000 · 1.1 / 127.
// CHECK-LABEL: func.func @rms
// CHECK: %[[V:.*]] = spaq.requantize %{{.*}} multiplier
// CHECK-NEXT: %[[Z:.*]] = spaq.normalize rms %[[V]] exponent dense<[0, 2]> : tensor<2xi32> epsilon 185 :
// CHECK-NEXT: %[[Y:.*]] = spaq.requantize %[[Z]] multiplier
// CHECK-NEXT: spaq.dequantize %[[Y]]
func.func @rms(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %c = spaq.calibrated %x absmax 127.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  %w = spaq.constant dense<[[1.0, 0.0], [0.0, 2.0]]> : tensor<2x2xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.calibrated %0 absmax dense<[12000.0, 48000.0]> : tensor<2xf64>
    : tensor<?x2xf32> -> tensor<?x2xf32>
  %gamma = spaq.constant dense<[1.0, 0.5]> : tensor<2xf32>
  %n = spaq.rms_norm %1, %gamma epsilon 1.0e6
    : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %2 = spaq.calibrated %n absmax dense<[2.0, 1.0]> : tensor<2xf64>
    : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %2 : tensor<?x2xf32>
}

// So it is for layer normalisation.
// CHECK-LABEL: func.func @layer
// CHECK: spaq.normalize %{{.*}} exponent dense<[0, 2]> : tensor<2xi32> epsilon 185 :
// CHECK: spaq.add
func.func @layer(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %c = spaq.calibrated %x absmax 127.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  %w = spaq.constant dense<[[1.0, 0.0], [0.0, 2.0]]> : tensor<2x2xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.calibrated %0 absmax dense<[12000.0, 48000.0]> : tensor<2xf64>
    : tensor<?x2xf32> -> tensor<?x2xf32>
  %gamma = spaq.constant dense<[1.0, 0.5]> : tensor<2xf32>
  %beta = spaq.constant dense<[0.5, -0.5]> : tensor<2xf32>
  %n = spaq.layer_norm %1, %gamma, %beta epsilon 1.0e6
    : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %2 = spaq.calibrated %n absmax dense<[2.0, 1.0]> : tensor<2xf64>
    : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %2 : tensor<?x2xf32>
}

// Less than half a step is nothing.
// CHECK-LABEL: func.func @nothing
// CHECK: spaq.normalize rms %{{.*}} exponent dense<[0, 2]> : tensor<2xi32> :
func.func @nothing(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %c = spaq.calibrated %x absmax 127.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  %w = spaq.constant dense<[[1.0, 0.0], [0.0, 2.0]]> : tensor<2x2xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.calibrated %0 absmax dense<[12000.0, 48000.0]> : tensor<2xf64>
    : tensor<?x2xf32> -> tensor<?x2xf32>
  %gamma = spaq.constant dense<[1.0, 0.5]> : tensor<2xf32>
  %n = spaq.rms_norm %1, %gamma epsilon 1000.0
    : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %2 = spaq.calibrated %n absmax dense<[2.0, 1.0]> : tensor<2xf64>
    : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %2 : tensor<?x2xf32>
}

// An epsilon that is beyond all squares of these ranges has larger scales before it.
// CHECK-LABEL: func.func @beyond
// CHECK: spaq.requantize %{{.*}} multiplier
// CHECK-NEXT: spaq.normalize rms %{{.*}} exponent dense<0> : tensor<2xi32> epsilon 536869
func.func @beyond(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %c = spaq.calibrated %x absmax 127.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  %w = spaq.constant dense<[[1.0, 0.0], [0.0, 2.0]]> : tensor<2x2xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.calibrated %0 absmax dense<[12000.0, 48000.0]> : tensor<2xf64>
    : tensor<?x2xf32> -> tensor<?x2xf32>
  %gamma = spaq.constant dense<[1.0, 0.5]> : tensor<2xf32>
  %n = spaq.rms_norm %1, %gamma epsilon 1.0e30
    : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %2 = spaq.calibrated %n absmax dense<[2.0, 1.0]> : tensor<2xf64>
    : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %2 : tensor<?x2xf32>
}
