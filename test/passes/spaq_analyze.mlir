// RUN: daqkf-opt %s -p spaq-analyze --split-input-file | filecheck %s
// RUN: daqkf-opt %s -p spaq-analyze,spaq-analyze --split-input-file | filecheck %s
// RUN: daqkf-opt %s -p 'spaq-analyze{tile=2 detail=true}' --split-input-file > %t.mlir
// RUN: filecheck %s --check-prefix=DETAIL < %t.mlir
// RUN: daqkf-opt %t.mlir --split-input-file | diff %t.mlir -

// CHECK-LABEL: func.func @unstructured
func.func @unstructured(%x: tensor<?x3xf32>) -> tensor<?x2xf32> {
  // CHECK: tensor<3x2xf32, #spaq.encoding<#spaq.sparsity<nonzeros = 3, column_nonzeros = 2, pattern = "unstructured">>>
  %w = spaq.constant dense<[[0.0, 2.0], [-1.0, 0.0], [3.0, 0.0]]> : tensor<3x2xf32>
  // CHECK: spaq.matmul %x, %w : (tensor<?x3xf32>, tensor<3x2xf32, #spaq.encoding<
  %0 = spaq.matmul %x, %w : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  func.return %0 : tensor<?x2xf32>
}

// -----

// CHECK-LABEL: func.func @two_of_four
func.func @two_of_four(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  // CHECK: #spaq.sparsity<nonzeros = 3, column_nonzeros = 2, pattern = "2:4">
  // DETAIL: %w = spaq.constant {spaq.analysis = #spaq.analysis<tile = 2, dynamic_range = 9.54{{[0-9]*}} : f64, entropy = 1.29{{[0-9]*}} : f64, channel_nonzeros = dense<[2, 1]> : tensor<2xi32>, tile_nonzeros = dense<[[2], [1]]> : tensor<2x1xi32>>} dense<
  %w = spaq.constant dense<[[0.0, 2.0], [-1.0, 0.0], [3.0, 0.0], [0.0, 0.0]]> : tensor<4x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  func.return %0 : tensor<?x2xf32>
}

// -----

// CHECK-LABEL: func.func @keeps_levels
func.func @keeps_levels(%x: tensor<?x2xi8>) -> tensor<?x2xi32> {
  // CHECK: tensor<2x2xi8, #spaq.encoding<#spaq.sparsity<nonzeros = 2, column_nonzeros = 2, pattern = "column">, #spaq.levels<kind = "uniform", magnitudes = 3, maximum = 3>>>
  %w = spaq.constant dense<[[0, 2], [0, 3]]> : tensor<2x2xi8, #spaq.encoding<
    #spaq.sparsity<nonzeros = 2, column_nonzeros = 2, pattern = "unstructured">,
    #spaq.levels<kind = "uniform", magnitudes = 3, maximum = 3>>>
  %0 = spaq.matmul %x, %w : (tensor<?x2xi8>, tensor<2x2xi8, #spaq.encoding<
    #spaq.sparsity<nonzeros = 2, column_nonzeros = 2, pattern = "unstructured">,
    #spaq.levels<kind = "uniform", magnitudes = 3, maximum = 3>>>) -> tensor<?x2xi32>
  func.return %0 : tensor<?x2xi32>
}

// -----

// CHECK-LABEL: func.func @blocks
func.func @blocks(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK: #spaq.sparsity<nonzeros = 32, column_nonzeros = 4, pattern = "block:4x4">
  // DETAIL: channel_nonzeros = dense<4> : tensor<8xi32>, tile_nonzeros = dense<{{\[\[}}4, 4, 0, 0], [4, 4, 0, 0], [0, 0, 4, 4], [0, 0, 4, 4]]> : tensor<4x4xi32>
  %w = spaq.constant dense<[
    [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0],
    [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0],
    [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0],
    [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0]
  ]> : tensor<8x8xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
  func.return %0 : tensor<?x8xf32>
}

// -----

// CHECK-LABEL: func.func @band
func.func @band(%x: tensor<?x3xi8>) -> tensor<?x6xi32> {
  // CHECK: #spaq.sparsity<nonzeros = 5, column_nonzeros = 1, pattern = "banded:0">
  %w = spaq.constant dense<[[1, 2, 0, 0, 0, 0], [0, 0, 3, 4, 0, 0], [0, 0, 0, 0, 5, 0]]> : tensor<3x6xi8>
  %0 = spaq.matmul %x, %w : (tensor<?x3xi8>, tensor<3x6xi8>) -> tensor<?x6xi32>
  func.return %0 : tensor<?x6xi32>
}
