// RUN: python -c "import numpy; numpy.save('%t.npy', numpy.array([[1, 2], [3, 1], [0, 0], [0, 0], [2, 3], [2, 1.0]]))"
// RUN: daqkf-opt %s -p 'dfke-dispatch{samples="%t.npy" kinds=uniform,uniform magnitudes=127,1 buckets=4 target=tiny}' | filecheck %s
// RUN: daqkf-opt %s -p 'dfke-dispatch{samples="%t.npy" kinds=uniform,codebook magnitudes=127,1 maxima=127,1 sparsities=0.0,0.5 budget=100 buckets=2 target=tiny}' | filecheck %s --check-prefix=SPARSE
// RUN: daqkf-opt %s -p 'dfke-dispatch{samples="%t.npy" kinds=uniform,uniform magnitudes=127,1 buckets=4 target=tiny},dfke-fuse,dfke-specialize-bitwidth,dfke-schedule{target=tiny}' | filecheck %s --check-prefix=SCHEDULED

// Both variants stand in the place of the layer. One magnitude is too little, but for tiles of
// zeros. Two tokens have 0 to 4 of them, two in a bucket.
// CHECK: %[[Q:.*]] = spaq.quantize
// CHECK: %[[Y:.*]] = dfke.dispatch(%[[K:.*]] = %[[Q]]) #dfke.decision<lanes = 2, shift = 1, table = [0, 0, 1, 1]> : tensor<?x2xi8> -> tensor<?x1xi8> {
// CHECK: %[[A:.*]] = dfke.kernel({{.*}} = %[[K]]) : tensor<?x2xi8> -> tensor<?x1xi8> {
// CHECK: dense<{{\[}}[127], [-51]]>
// CHECK: %[[B:.*]] = dfke.kernel({{.*}} = %[[K]]) : tensor<?x2xi8> -> tensor<?x1xi8> {
// CHECK: dense<{{\[}}[1], [0]]>
// CHECK: dfke.yield %[[A]], %[[B]] : tensor<?x1xi8>, tensor<?x1xi8>
// CHECK: spaq.dequantize %[[Y]]
// CHECK-NOT: spaq.matmul

// SPARSE: table = [1, 1]
// SPARSE: dense<{{\[}}[127], [-51]]>
// SPARSE: dense<{{\[}}[1], [0]]>

// SCHEDULED: dfke.dispatch
// SCHEDULED: dfke.kernel({{.*}}) running_sum i{{.*}} schedule
// SCHEDULED: dfke.kernel({{.*}}) running_sum i{{.*}} schedule
func.func @layer(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %c = spaq.calibrated %x absmax 3.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  %w = spaq.constant dense<[[1.0], [-0.4]]> : tensor<2x1xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x2xf32>, tensor<2x1xf32>) -> tensor<?x1xf32>
  %1 = spaq.calibrated %0 absmax 3.0 : tensor<?x1xf32> -> tensor<?x1xf32>
  func.return %1 : tensor<?x1xf32>
}
