// RUN: python -c "import numpy; x = numpy.array([[1, 1, 1], [-1, 1, 1], [1, 2, 2], [-1, 2, 2]]); numpy.save('%t.npy', x)"
// RUN: daqkf-opt %s -p 'spaq-quantize{samples="%t.npy"}' | filecheck %s
// RUN: daqkf-opt %s -p 'spaq-quantize{samples="%t.npy" accuracy=0.99}' | filecheck %s --check-prefix=COSINE
// RUN: daqkf-opt %s -p 'spaq-quantize{samples="%t.npy" accuracy=25dB}' | filecheck %s --check-prefix=SQNR
// RUN: daqkf-opt %s -p 'spaq-quantize{samples="%t.npy" words=4}' | filecheck %s --check-prefix=WORDS

// The samples' features 1 and 2 are equal, so that the error of one weight can make up for that of
// the other: both are 44.45 steps, and 45 and 44 together are nearer than 44 and 44.
func.func @layer(%x: tensor<?x3xf32>) -> tensor<?x1xf32> {
  %c = spaq.calibrated %x absmax 2.54 : tensor<?x3xf32> -> tensor<?x3xf32>
  // CHECK: dense<{{\[\[}}127], [45], [44]]> : tensor<3x1xi8
  // COSINE: dense<{{\[\[}}3], [0], [2]]> : tensor<3x1xi8, {{.*}}nonzeros = 2,
  // SQNR: dense<{{\[\[}}3], [0], [2]]> : tensor<3x1xi8, {{.*}}nonzeros = 2,
  // Four words hold three weights, where there are few steps between their levels.
  // WORDS: dense<{{\[\[}}3], [1], [1]]> : tensor<3x1xi8
  %w = spaq.constant dense<[[4.0], [1.4], [1.4]]> : tensor<3x1xf32>
  // The layer has no bias, but gets one for what rounding does to the mean.
  // CHECK: %[[P:.*]] = spaq.matmul
  // CHECK-NEXT: %[[B:.*]] = spaq.constant dense<-7> : tensor<1xi32>
  // CHECK-NEXT: spaq.add %[[P]], %[[B]]
  %0 = spaq.matmul %c, %w : (tensor<?x3xf32>, tensor<3x1xf32>) -> tensor<?x1xf32>
  %1 = spaq.calibrated %0 absmax 25.4 : tensor<?x1xf32> -> tensor<?x1xf32>
  func.return %1 : tensor<?x1xf32>
}
