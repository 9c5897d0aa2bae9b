// RUN: daqkf-opt %s --split-input-file --parsing-diagnostics | filecheck %s

// CHECK: Expected `plus_times`, `max_plus`, `min_plus`, or `or_and`
func.func @f(%x: tensor<?x2xi8>, %w: tensor<2x2xi8>) {
  %0 = spaq.matmul %x, %w semiring max_times : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
  func.return
}
