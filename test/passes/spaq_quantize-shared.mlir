// RUN: daqkf-opt %s -p 'spaq-quantize{magnitudes=3}' | filecheck %s

// Two layers read one input, as query and key do: they are quantised once.
// CHECK-NOT: spaq.calibrated
// CHECK: %[[A:.*]] = spaq.quantize %x scale 1.000000e+00
// CHECK: spaq.matmul %[[A]], %q
// CHECK-NOT: spaq.quantize
// CHECK: spaq.matmul %[[A]], %k
// CHECK-NOT: spaq.calibrated
func.func @layers(%x: tensor<?x1xf32>) -> (tensor<?x1xf32>, tensor<?x1xf32>) {
  %c = spaq.calibrated %x absmax 127.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  %q = spaq.constant dense<2.0> : tensor<1x1xf32>
  %k = spaq.constant dense<-3.0> : tensor<1x1xf32>
  %0 = spaq.matmul %c, %q : (tensor<?x1xf32>, tensor<1x1xf32>) -> tensor<?x1xf32>
  %1 = spaq.calibrated %0 absmax 254.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  %2 = spaq.matmul %c, %k : (tensor<?x1xf32>, tensor<1x1xf32>) -> tensor<?x1xf32>
  %3 = spaq.calibrated %2 absmax 381.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  func.return %1, %3 : tensor<?x1xf32>, tensor<?x1xf32>
}
