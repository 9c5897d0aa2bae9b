// RUN: %roundtrip | filecheck %s

// A float layer.
// CHECK-LABEL: func.func @real
func.func @real(%x: tensor<?x3xf32>) -> tensor<?x2xf32> {
  // CHECK: %w = spaq.constant dense<{{.*}}> : tensor<3x2xf32>
  %w = spaq.constant dense<[[0.0, 2.0], [-1.0, 0.0], [0.5, 0.25]]> : tensor<3x2xf32>
  // CHECK: %b = spaq.constant dense<{{.*}}> : tensor<2xf32>
  %b = spaq.constant dense<[1.0, -1.0]> : tensor<2xf32>
  // CHECK: spaq.calibrated %x absmax 2.500000e+00 : tensor<?x3xf32> -> tensor<?x3xf32>
  %0 = spaq.calibrated %x absmax 2.5 : tensor<?x3xf32> -> tensor<?x3xf32>
  // CHECK: spaq.matmul %0, %w : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.matmul %0, %w : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  // CHECK: spaq.add %1, %b : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %2 = spaq.add %1, %b : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  // CHECK: spaq.activation "gelu" %2 : tensor<?x2xf32> -> tensor<?x2xf32>
  %3 = spaq.activation "gelu" %2 : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %3 : tensor<?x2xf32>
}

#weights = #spaq.encoding<
  #spaq.sparsity<nonzeros = 4, column_nonzeros = 2, pattern = "unstructured">,
  #spaq.levels<kind = "codebook", magnitudes = 2, maximum = 7>>

// The same over integers: a level set and its sparsity are part of the weights' type.
// CHECK-LABEL: func.func @exact
func.func @exact(%x: tensor<?x3xf32>) -> tensor<?x2xf32> {
  // CHECK: spaq.quantize %x scale 2.500000e-01 : tensor<?x3xf32> -> tensor<?x3xi8>
  %0 = spaq.quantize %x scale 0.25 : tensor<?x3xf32> -> tensor<?x3xi8>
  // CHECK: %w = spaq.constant scales dense<{{.*}}> : tensor<2xf32> dense<{{.*}}> : tensor<3x2xi8, #spaq.encoding<#spaq.sparsity<nonzeros = 4, column_nonzeros = 2, pattern = "unstructured">, #spaq.levels<kind = "codebook", magnitudes = 2, maximum = 7>>>
  %w = spaq.constant scales dense<[0.5, 0.25]> : tensor<2xf32>
    dense<[[0, 7], [-3, 0], [1, 7]]> : tensor<3x2xi8, #weights>
  // CHECK: %b = spaq.constant dense<[100, -100]> : tensor<2xi32>
  %b = spaq.constant dense<[100, -100]> : tensor<2xi32>
  // CHECK: spaq.matmul {{.*}} -> tensor<?x2xi13>
  %1 = spaq.matmul %0, %w : (tensor<?x3xi8>, tensor<3x2xi8, #weights>) -> tensor<?x2xi13>
  // CHECK: spaq.add %1, %b : (tensor<?x2xi13>, tensor<2xi32>) -> tensor<?x2xi14>
  %2 = spaq.add %1, %b : (tensor<?x2xi13>, tensor<2xi32>) -> tensor<?x2xi14>
  // CHECK: spaq.requantize %2 multiplier dense<[65535, 1]> : tensor<2xi32> shift dense<[24, 1]> : tensor<2xi32> : tensor<?x2xi14> -> tensor<?x2xi8>
  %3 = spaq.requantize %2 multiplier dense<[65535, 1]> : tensor<2xi32>
    shift dense<[24, 1]> : tensor<2xi32> : tensor<?x2xi14> -> tensor<?x2xi8>
  // CHECK: spaq.activation "relu" %3 table dense<1> : tensor<256xi8> : tensor<?x2xi8> -> tensor<?x2xi8>
  %4 = spaq.activation "relu" %3 table dense<1> : tensor<256xi8> : tensor<?x2xi8> -> tensor<?x2xi8>
  // CHECK: spaq.dequantize %4 scale 5.000000e-01 : tensor<?x2xi8> -> tensor<?x2xf32>
  %5 = spaq.dequantize %4 scale 0.5 : tensor<?x2xi8> -> tensor<?x2xf32>
  func.return %5 : tensor<?x2xf32>
}

// What analysis found may stand on a constant; the counts are held against the weights.
// CHECK-LABEL: func.func @analysed
func.func @analysed(%x: tensor<?x3xi8>) -> tensor<?x2xi32> {
  // CHECK: %w = spaq.constant {spaq.analysis = #spaq.analysis<tile = 2, dynamic_range = 6.020000e+00 : f64, entropy = 1.250000e+00 : f64, channel_nonzeros = dense<[1, 2]> : tensor<2xi32>, tile_nonzeros = dense<{{\[\[}}2], [1]]> : tensor<2x1xi32>>} dense<{{.*}}> : tensor<3x2xi8>
  %w = spaq.constant {spaq.analysis = #spaq.analysis<tile = 2, dynamic_range = 6.02 : f64,
    entropy = 1.25 : f64, channel_nonzeros = dense<[1, 2]> : tensor<2xi32>,
    tile_nonzeros = dense<[[2], [1]]> : tensor<2x1xi32>>} dense<[[0, 1], [-1, 0], [0, 2]]> : tensor<3x2xi8>
  %0 = spaq.matmul %x, %w : (tensor<?x3xi8>, tensor<3x2xi8>) -> tensor<?x2xi32>
  func.return %0 : tensor<?x2xi32>
}

// Other semirings, in which -128, 127 and 0 stand for an absent entry.
// CHECK-LABEL: func.func @semirings
func.func @semirings(%x: tensor<?x2xi8>) -> tensor<?x2xi32> {
  %w = spaq.constant dense<[[0, -128], [5, -1]]> : tensor<2x2xi8>
  // CHECK: spaq.matmul %x, %w semiring max_plus : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
  %0 = spaq.matmul %x, %w semiring max_plus : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
  // CHECK: spaq.matmul %x, %w semiring min_plus :
  %1 = spaq.matmul %x, %w semiring min_plus : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
  // CHECK: spaq.matmul %x, %w semiring or_and :
  %2 = spaq.matmul %x, %w semiring or_and : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
  // CHECK: spaq.matmul %x, %w : (
  %3 = spaq.matmul %x, %w semiring plus_times : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
  func.return %0 : tensor<?x2xi32>
}

// Features of their own range and scale, and of more columns than one.
// CHECK-LABEL: func.func @split
func.func @split(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
  // CHECK: spaq.calibrated %x absmax dense<[2.500000e+00, 1.000000e-01, 3.000000e+01]> : tensor<3xf64> : tensor<?x3xf32> -> tensor<?x3xf32>
  %0 = spaq.calibrated %x absmax dense<[2.5, 0.1, 30.0]> : tensor<3xf64> : tensor<?x3xf32> -> tensor<?x3xf32>
  // CHECK: spaq.calibrated %0 absmax 12345678.0 :
  %1 = spaq.calibrated %0 absmax 12345678.0 : tensor<?x3xf32> -> tensor<?x3xf32>
  // CHECK: spaq.quantize %1 scale 2.500000e-01 split dense<[0, 2, 2]> : tensor<3xi32> : tensor<?x3xf32> -> tensor<?x6xi8>
  %2 = spaq.quantize %1 scale 0.25 split dense<[0, 2, 2]> : tensor<3xi32>
    : tensor<?x3xf32> -> tensor<?x6xi8>
  // CHECK: spaq.dequantize %2 scale dense<[5.000000e-01, 0.333333333333333{{.*}}, 1.000000e+00]> : tensor<3xf64> split dense<[0, 2, 2]> : tensor<3xi32> : tensor<?x6xi8> -> tensor<?x3xf32>
  %3 = spaq.dequantize %2 scale dense<[0.5, 0.33333333333333331, 1.0]> : tensor<3xf64>
    split dense<[0, 2, 2]> : tensor<3xi32> : tensor<?x6xi8> -> tensor<?x3xf32>
  func.return %3 : tensor<?x3xf32>
}

// CHECK-LABEL: func.func @rows
func.func @rows(%x: tensor<?x5xf32>) -> tensor<?x2xf32> {
  // CHECK: spaq.columns %x from 3 : tensor<?x5xf32> -> tensor<?x2xf32>
  %0 = spaq.columns %x from 3 : tensor<?x5xf32> -> tensor<?x2xf32>
  %1 = spaq.columns %x from 0 : tensor<?x5xf32> -> tensor<?x2xf32>
  // CHECK: spaq.residual %0, %1 : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %2 = spaq.residual %0, %1 : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %gamma = spaq.constant dense<[1.0, 0.5]> : tensor<2xf32>
  %beta = spaq.constant dense<[0.0, -1.0]> : tensor<2xf32>
  // CHECK: spaq.layer_norm %2, %gamma, %beta epsilon 1.000000e-05 : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %3 = spaq.layer_norm %2, %gamma, %beta epsilon 1.0e-05
    : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  // CHECK: spaq.rms_norm %2, %gamma epsilon 1.000000e-05 : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %rms = spaq.rms_norm %2, %gamma epsilon 1.0e-05 : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  // CHECK: spaq.gate "silu" %3 : tensor<?x2xf32> -> tensor<?x1xf32>
  %4 = spaq.gate "silu" %3 : tensor<?x2xf32> -> tensor<?x1xf32>
  func.return %3 : tensor<?x2xf32>
}

// CHECK-LABEL: func.func @exact_rows
func.func @exact_rows(%x: tensor<?x2xi20>, %r: tensor<?x3xi8>, %y: tensor<?x2xi8>) -> tensor<?x2xi18> {
  // CHECK: spaq.gate "silu" %y table dense<1> : tensor<256xi8> : tensor<?x2xi8> -> tensor<?x1xi16>
  %4 = spaq.gate "silu" %y table dense<1> : tensor<256xi8> : tensor<?x2xi8> -> tensor<?x1xi16>
  // CHECK: spaq.residual %x, %r multiplier dense<[1700, 0]> : tensor<2xi32> : (tensor<?x2xi20>, tensor<?x3xi8>) -> tensor<?x2xi24>
  %0 = spaq.residual %x, %r multiplier dense<[1700, 0]> : tensor<2xi32>
    : (tensor<?x2xi20>, tensor<?x3xi8>) -> tensor<?x2xi24>
  // CHECK: spaq.concat %y, %r : (tensor<?x2xi8>, tensor<?x3xi8>) -> tensor<?x5xi8>
  %1 = spaq.concat %y, %r : (tensor<?x2xi8>, tensor<?x3xi8>) -> tensor<?x5xi8>
  // CHECK: spaq.gather %r columns dense<[0, 2, 2, 1]> : tensor<4xi32> : tensor<?x3xi8> -> tensor<?x4xi8>
  %3 = spaq.gather %r columns dense<[0, 2, 2, 1]> : tensor<4xi32> : tensor<?x3xi8> -> tensor<?x4xi8>
  // CHECK: spaq.normalize %y exponent dense<[0, 3]> : tensor<2xi32> : tensor<?x2xi8> -> tensor<?x2xi18>
  %2 = spaq.normalize %y exponent dense<[0, 3]> : tensor<2xi32> : tensor<?x2xi8> -> tensor<?x2xi18>
  // CHECK: spaq.normalize rms %y exponent dense<0> : tensor<2xi32> epsilon 12 {note} : tensor<?x2xi8> -> tensor<?x2xi18>
  %5 = spaq.normalize rms %y exponent dense<0> : tensor<2xi32> epsilon 12 {note} : tensor<?x2xi8> -> tensor<?x2xi18>
  func.return %2 : tensor<?x2xi18>
}

// Attention of a sequence, over f32 and exactly.
// CHECK-LABEL: func.func @attention
func.func @attention(%q: tensor<?x4xf32>, %k: tensor<?x4xf32>, %v: tensor<?x4xf32>, %i: tensor<?x4xi8>)
    -> (tensor<?x4xf32>, tensor<?x4xi8>) {
  // CHECK-NEXT: %0 = spaq.attention %q, %k, %v heads 2 tokens 16 scale 5.000000e-01 : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %0 = spaq.attention %q, %k, %v heads 2 tokens 16 scale 0.5
    : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  // CHECK-NEXT: %1 = spaq.attention %0, %k, %v heads 1 tokens 3 scale 5.000000e-01 scores 1.200000e+01 : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %1 = spaq.attention %0, %k, %v heads 1 tokens 3 scale 0.5 scores 12.0
    : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  // CHECK-NEXT: %2 = spaq.attend %i, %i, %i heads 2 tokens 16 scores by dense<[900, 1]> : tensor<2xi32> shift dense<20> : tensor<2xi32> table dense<0> : tensor<256xi8> results by dense<300> : tensor<4xi32> shift dense<15> : tensor<4xi32> : (tensor<?x4xi8>, tensor<?x4xi8>, tensor<?x4xi8>) -> tensor<?x4xi8>
  %2 = spaq.attend %i, %i, %i heads 2 tokens 16 scores by dense<[900, 1]> : tensor<2xi32>
    shift dense<20> : tensor<2xi32> table dense<0> : tensor<256xi8>
    results by dense<300> : tensor<4xi32> shift dense<15> : tensor<4xi32>
    : (tensor<?x4xi8>, tensor<?x4xi8>, tensor<?x4xi8>) -> tensor<?x4xi8>
  func.return %1, %2 : tensor<?x4xf32>, tensor<?x4xi8>
}

// Wide results, which the host reads.
// CHECK-LABEL: @wide
func.func @wide(%x: tensor<?x2xi20>) -> tensor<?x2xf32> {
  // CHECK: spaq.requantize %x multiplier {{.*}} : tensor<?x2xi20> -> tensor<?x2xi16>
  %0 = spaq.requantize %x multiplier dense<3> : tensor<2xi32> shift dense<4> : tensor<2xi32>
    : tensor<?x2xi20> -> tensor<?x2xi16>
  // CHECK: spaq.dequantize %0 scale 5.000000e-01 : tensor<?x2xi16> -> tensor<?x2xf32>
  %1 = spaq.dequantize %0 scale 0.5 : tensor<?x2xi16> -> tensor<?x2xf32>
  func.return %1 : tensor<?x2xf32>
}

// The int8 of a token share an exponent, which the sums of the next product take back.
// CHECK-LABEL: @shared
func.func @shared(%x: tensor<?x2xi16>, %w: tensor<2x1xi8>, %y: tensor<?x2xf32>) -> tensor<?x1xi23> {
  // CHECK: %q, %e = spaq.requantize_rows %x multiplier dense<3> : tensor<2xi32> shift dense<9> : tensor<2xi32> reach 3 : tensor<?x2xi16> -> tensor<?x2xi8>, tensor<?x1xi8>
  %q, %e = spaq.requantize_rows %x multiplier dense<3> : tensor<2xi32>
    shift dense<9> : tensor<2xi32> reach 3 : tensor<?x2xi16> -> tensor<?x2xi8>, tensor<?x1xi8>
  // CHECK: spaq.scale_rows %y, %e reach 3 : (tensor<?x2xf32>, tensor<?x1xi8>) -> tensor<?x2xf32>
  %0 = spaq.scale_rows %y, %e reach 3 : (tensor<?x2xf32>, tensor<?x1xi8>) -> tensor<?x2xf32>
  // CHECK: spaq.calibrated %0 absmax 2.000000e+00 reach 3 : tensor<?x2xf32> -> tensor<?x2xf32>
  %1 = spaq.calibrated %0 absmax 2.0 reach 3 : tensor<?x2xf32> -> tensor<?x2xf32>
  %2 = spaq.matmul %q, %w : (tensor<?x2xi8>, tensor<2x1xi8>) -> tensor<?x1xi20>
  // CHECK: spaq.scale_rows %2, %e reach 3 : (tensor<?x1xi20>, tensor<?x1xi8>) -> tensor<?x1xi23>
  %3 = spaq.scale_rows %2, %e reach 3 : (tensor<?x1xi20>, tensor<?x1xi8>) -> tensor<?x1xi23>
  func.return %3 : tensor<?x1xi23>
}
