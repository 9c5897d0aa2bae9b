// RUN: daqkf-opt %s -p spaq-analyze --split-input-file | filecheck %s
// RUN: daqkf-opt %s -p spaq-analyze,spaq-analyze --split-input-file | filecheck %s

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
  %w = spaq.constant dense<[[0.0, 2.0], [-1.0, 0.0], [3.0, 0.0], [0.0, 0.0]]> : tensor<4x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  func.return %0 : tensor<?x2xf32>
}

// -----

// CHECK-LABEL: func.func @keeps_levels
func.func @keeps_levels(%x: tensor<?x2xi8>) -> tensor<?x2xi32> {
  // CHECK: tensor<2x2xi8, #spaq.encoding<#spaq.sparsity<nonzeros = 2, column_nonzeros = 2, pattern = "column">, #spaq.levels<kind = "uniform", magnitudes = 3, maximum = 3>>>
  %w = spaq.constant dense<[[0, 2], [0, 3]]> : tensor<2x2xi8, #spaq.encoding<
    #spaq.sparsity<nonzeros = 2, column_nonzeros = 2, pattern = "dense">,
    #spaq.levels<kind = "uniform", magnitudes = 3, maximum = 3>>>
  %0 = spaq.matmul %x, %w : (tensor<?x2xi8>, tensor<2x2xi8, #spaq.encoding<
    #spaq.sparsity<nonzeros = 2, column_nonzeros = 2, pattern = "dense">,
    #spaq.levels<kind = "uniform", magnitudes = 3, maximum = 3>>>) -> tensor<?x2xi32>
  func.return %0 : tensor<?x2xi32>
}
