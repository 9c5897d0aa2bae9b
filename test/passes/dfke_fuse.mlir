// RUN: daqkf-opt %s -p dfke-fuse | filecheck %s
// RUN: daqkf-opt %s -p dfke-fuse,dfke-fuse | filecheck %s

// CHECK-LABEL: func.func @whole
func.func @whole(%x: tensor<?x2xi8>) -> tensor<?x2xi8> {
  // CHECK-NEXT: %[[Y:.*]] = dfke.kernel(%[[K:.*]] = %x) : tensor<?x2xi8> -> tensor<?x2xi8> {
  // CHECK-NEXT: %w = spaq.constant
  // CHECK-NEXT: spaq.matmul %[[K]], %w
  // CHECK-NEXT: %b = spaq.constant
  // CHECK-NEXT: spaq.add
  // CHECK-NEXT: spaq.requantize
  // CHECK-NEXT: %[[A:.*]] = spaq.activation
  // CHECK-NEXT: dfke.yield %[[A]]
  // CHECK-NEXT: }
  // CHECK-NEXT: func.return %[[Y]]
  %w = spaq.constant dense<1> : tensor<2x2xi8>
  %b = spaq.constant dense<7> : tensor<2xi32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
  %1 = spaq.add %0, %b : (tensor<?x2xi32>, tensor<2xi32>) -> tensor<?x2xi32>
  %2 = spaq.requantize %1 multiplier dense<3> : tensor<2xi32> shift dense<1> : tensor<2xi32>
    : tensor<?x2xi32> -> tensor<?x2xi8>
  %3 = spaq.activation "relu" %2 table dense<0> : tensor<256xi8> : tensor<?x2xi8> -> tensor<?x2xi8>
  func.return %3 : tensor<?x2xi8>
}

// Two layers become two kernels.
// CHECK-LABEL: func.func @two
func.func @two(%x: tensor<?x2xi8>) -> tensor<?x2xi8> {
  // CHECK: %[[FIRST:.*]] = dfke.kernel(%{{.*}} = %x)
  // CHECK: %[[SECOND:.*]] = dfke.kernel(%{{.*}} = %[[FIRST]])
  // CHECK: func.return %[[SECOND]]
  %w = spaq.constant dense<1> : tensor<2x2xi8>
  %0 = spaq.matmul %x, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
  %1 = spaq.requantize %0 multiplier dense<3> : tensor<2xi32> shift dense<1> : tensor<2xi32>
    : tensor<?x2xi32> -> tensor<?x2xi8>
  %2 = spaq.matmul %1, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
  %3 = spaq.requantize %2 multiplier dense<3> : tensor<2xi32> shift dense<1> : tensor<2xi32>
    : tensor<?x2xi32> -> tensor<?x2xi8>
  func.return %3 : tensor<?x2xi8>
}

// The requantised value has another user, so the function stays outside.
// CHECK-LABEL: func.func @second_user
func.func @second_user(%x: tensor<?x2xi8>) -> (tensor<?x2xi8>, tensor<?x2xi8>) {
  // CHECK: %[[Y:.*]] = dfke.kernel
  // CHECK-NOT: spaq.activation
  // CHECK: dfke.yield
  // CHECK: spaq.activation "relu" %[[Y]]
  %w = spaq.constant dense<1> : tensor<2x2xi8>
  %0 = spaq.matmul %x, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
  %1 = spaq.requantize %0 multiplier dense<3> : tensor<2xi32> shift dense<1> : tensor<2xi32>
    : tensor<?x2xi32> -> tensor<?x2xi8>
  %2 = spaq.activation "relu" %1 table dense<0> : tensor<256xi8> : tensor<?x2xi8> -> tensor<?x2xi8>
  func.return %1, %2 : tensor<?x2xi8>, tensor<?x2xi8>
}

// Sums that are not requantised cannot leave an array.
// CHECK-LABEL: func.func @sums
func.func @sums(%x: tensor<?x2xi8>) -> tensor<?x2xi32> {
  // CHECK-NOT: dfke.kernel
  %w = spaq.constant dense<1> : tensor<2x2xi8>
  %0 = spaq.matmul %x, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
  func.return %0 : tensor<?x2xi32>
}
