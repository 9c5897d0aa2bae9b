// RUN: rm -rf %t && daqkf-opt %s -p 'spaq-analyze{json="%t/facts.json" tile=2}' | filecheck %s
// RUN: filecheck %s --check-prefix=JSON < %t/facts.json
// RUN: python -c "import json; json.load(open('%t/facts.json'))"

// Matrices go by the names of their function and value, each once; the IR says no more than ever.
// CHECK-LABEL: func.func @net
// CHECK: %w = spaq.constant dense<{{.*}}> : tensor<4x2xf32, #spaq.encoding<#spaq.sparsity<nonzeros = 3, column_nonzeros = 2, pattern = "2:4">>>
// JSON: {"version": 1, "matrices": [
// JSON-NEXT: {"name": "net.w", "shape": [4, 2], "nonzeros": 3, "sparsity": 0.625, "pattern": "2:4", "dynamic_range_db": 9.542, "entropy_bits": {"total": 1.298795, "mask": 0.954434, "levels": 0.918296}, "channels": {"nonzeros": [2, 1], "sparsity": [0.5, 0.75], "dynamic_range_db": [9.542, 0.0]}, "tiles": {"shape": [2, 2], "nonzeros": {{\[\[2\], \[1\]\]}}, "sparsity": {{\[\[0.5\], \[0.75\]\]}}, "empty": 0}},
// JSON-NEXT: {"name": "net.weights", "shape": [2, 2], "nonzeros": 0, "sparsity": 1.0, "pattern": "empty", "dynamic_range_db": 0.0, {{.*}}
// JSON-NEXT: {"name": "net.weights.1", "shape": [2, 2], "nonzeros": 4, {{.*}}
// JSON-NEXT: ]}
func.func @net(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<[[0.0, 2.0], [-1.0, 0.0], [3.0, 0.0], [0.0, 0.0]]> : tensor<4x2xf32>
  %0 = spaq.constant dense<0.0> : tensor<2x2xf32>
  %1 = spaq.constant dense<1.0> : tensor<2x2xf32>
  %2 = spaq.matmul %x, %w : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  %3 = spaq.matmul %2, %0 : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %4 = spaq.matmul %3, %1 : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %5 = spaq.matmul %4, %0 : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  func.return %5 : tensor<?x2xf32>
}
