// RUN: not daqkf-opt %s -p 'spaq-quantize{kind=free}' 2>&1 | filecheck %s --check-prefix=KIND
// RUN: not daqkf-opt %s -p 'spaq-quantize{magnitudes=0}' 2>&1 | filecheck %s --check-prefix=COUNT
// RUN: not daqkf-opt %s -p 'spaq-quantize{kind=binary magnitudes=2}' 2>&1 | filecheck %s --check-prefix=BINARY
// RUN: not daqkf-opt %s -p 'spaq-quantize{split=1}' 2>&1 | filecheck %s --check-prefix=SHARE
// RUN: daqkf-opt %s --split-input-file --verify-diagnostics -p spaq-quantize | filecheck %s

// KIND: spaq-quantize: unknown kind of level set 'free' (known: uniform, codebook, ternary, binary)
// COUNT: spaq-quantize: a level set needs 1 <= magnitudes <= maximum <= 127, not 0 magnitudes up to 0
// BINARY: spaq-quantize: a binary level set has one magnitude, 1
// SHARE: spaq-quantize: split must be 0 <= split < 1, not 1

// CHECK: spaq-quantize: the sums or the results of a product have no spaq.calibrated range
func.func @no_range_of_sums(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %c = spaq.calibrated %x absmax 1.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  %w = spaq.constant dense<3.0> : tensor<1x1xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x1xf32>, tensor<1x1xf32>) -> tensor<?x1xf32>
  func.return %0 : tensor<?x1xf32>
}

// -----

// CHECK: spaq-quantize: the input of a product has no spaq.calibrated range
func.func @no_range_of_input(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %w = spaq.constant dense<3.0> : tensor<1x1xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x1xf32>, tensor<1x1xf32>) -> tensor<?x1xf32>
  %1 = spaq.calibrated %0 absmax 1.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  func.return %1 : tensor<?x1xf32>
}

// -----

// CHECK: spaq-quantize: the input of a product has a scale for each feature; state its range with spaq.calibrated to quantise it anew
func.func @scales_of_input(%x: tensor<?x2xi8>) -> tensor<?x1xf32> {
  %d = spaq.dequantize %x scale dense<[1.0, 1.5]> : tensor<2xf64> : tensor<?x2xi8> -> tensor<?x2xf32>
  %w = spaq.constant dense<3.0> : tensor<2x1xf32>
  %0 = spaq.matmul %d, %w : (tensor<?x2xf32>, tensor<2x1xf32>) -> tensor<?x1xf32>
  %1 = spaq.calibrated %0 absmax 1.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  func.return %1 : tensor<?x1xf32>
}

// -----

// CHECK: spaq-quantize: the result of spaq.layer_norm has no spaq.calibrated range
func.func @normalized(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %c = spaq.calibrated %x absmax 1.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  %w = spaq.constant dense<3.0> : tensor<1x1xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x1xf32>, tensor<1x1xf32>) -> tensor<?x1xf32>
  %1 = spaq.calibrated %0 absmax 3.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  %g = spaq.constant dense<1.0> : tensor<1xf32>
  %2 = spaq.layer_norm %1, %g, %g epsilon 0.0
    : (tensor<?x1xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<?x1xf32>
  func.return %2 : tensor<?x1xf32>
}

// -----

// CHECK: spaq-quantize: channel 0 has a scale that is not positive
func.func @gamma(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %c = spaq.calibrated %x absmax 1.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  %w = spaq.constant dense<3.0> : tensor<1x1xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x1xf32>, tensor<1x1xf32>) -> tensor<?x1xf32>
  %1 = spaq.calibrated %0 absmax 3.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  %g = spaq.constant dense<-1.0> : tensor<1xf32>
  %2 = spaq.layer_norm %1, %g, %g epsilon 0.0
    : (tensor<?x1xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<?x1xf32>
  %3 = spaq.calibrated %2 absmax 3.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  func.return %3 : tensor<?x1xf32>
}

// -----

// CHECK: spaq-quantize: a residual has no spaq.calibrated range, nor one int8 column a feature
func.func @residual(%x: tensor<?x1xf32>, %r: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %c = spaq.calibrated %x absmax 1.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  %w = spaq.constant dense<3.0> : tensor<1x1xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x1xf32>, tensor<1x1xf32>) -> tensor<?x1xf32>
  %1 = spaq.residual %0, %r : (tensor<?x1xf32>, tensor<?x1xf32>) -> tensor<?x1xf32>
  %2 = spaq.calibrated %1 absmax 3.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  func.return %2 : tensor<?x1xf32>
}

// -----

// CHECK: spaq-quantize: a function stands behind a residual; nothing but a normalisation may
func.func @function(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %c = spaq.calibrated %x absmax 1.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  %w = spaq.constant dense<3.0> : tensor<1x1xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x1xf32>, tensor<1x1xf32>) -> tensor<?x1xf32>
  %1 = spaq.residual %0, %c : (tensor<?x1xf32>, tensor<?x1xf32>) -> tensor<?x1xf32>
  %2 = spaq.calibrated %1 absmax 3.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  %3 = spaq.activation "relu" %2 : tensor<?x1xf32> -> tensor<?x1xf32>
  %4 = spaq.calibrated %3 absmax 3.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  func.return %4 : tensor<?x1xf32>
}

// -----

// CHECK: spaq-quantize: channel 0 needs a requantisation by 4.72441e+07, outside 0..32767.5
func.func @range_too_small(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %c = spaq.calibrated %x absmax 1000.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  %w = spaq.constant dense<3.0> : tensor<1x1xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x1xf32>, tensor<1x1xf32>) -> tensor<?x1xf32>
  %1 = spaq.calibrated %0 absmax 0.0000635 : tensor<?x1xf32> -> tensor<?x1xf32>
  func.return %1 : tensor<?x1xf32>
}

// -----

// CHECK: spaq-quantize: 'spaq.levels' of a product must be #spaq.levels<...>, not "uniform"
func.func @levels_of_another_kind(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %c = spaq.calibrated %x absmax 1.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  %w = spaq.constant dense<3.0> : tensor<1x1xf32>
  %0 = spaq.matmul %c, %w {spaq.levels = "uniform"} : (tensor<?x1xf32>, tensor<1x1xf32>) -> tensor<?x1xf32>
  %1 = spaq.calibrated %0 absmax 3.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  func.return %1 : tensor<?x1xf32>
}

// -----

// CHECK: spaq-quantize: the result of spaq.gate has no spaq.calibrated range
func.func @gate(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %c = spaq.calibrated %x absmax 1.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  %w = spaq.constant dense<3.0> : tensor<1x2xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x1xf32>, tensor<1x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.calibrated %0 absmax 3.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  %2 = spaq.gate "silu" %1 : tensor<?x2xf32> -> tensor<?x1xf32>
  func.return %2 : tensor<?x1xf32>
}
