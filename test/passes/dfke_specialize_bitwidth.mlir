// RUN: daqkf-opt %s -p dfke-specialize-bitwidth | filecheck %s

// Channel 0: two non-zeros, |R| <= 256 (i10); Σ|w| = 130, |A| <= 16640 (i16); a bias of
// 20000 makes it 36640 (i17).
func.func @layer(%x: tensor<?x3xi8>) -> tensor<?x2xi8> {
  // CHECK: dfke.kernel(%k = %x) running_sum i10 :
  %y = dfke.kernel(%k = %x) : tensor<?x3xi8> -> tensor<?x2xi8> {
    %w = spaq.constant dense<[[127, 1], [0, 0], [-3, 0]]> : tensor<3x2xi8>
    // CHECK: spaq.matmul {{.*}} -> tensor<?x2xi16>
    %0 = spaq.matmul %k, %w : (tensor<?x3xi8>, tensor<3x2xi8>) -> tensor<?x2xi32>
    %b = spaq.constant dense<[-20000, 1]> : tensor<2xi32>
    // CHECK: spaq.add {{.*}} : (tensor<?x2xi16>, tensor<2xi32>) -> tensor<?x2xi17>
    %1 = spaq.add %0, %b : (tensor<?x2xi32>, tensor<2xi32>) -> tensor<?x2xi32>
    // CHECK: tensor<?x2xi17> -> tensor<?x2xi8>
    %2 = spaq.requantize %1 multiplier dense<3> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : tensor<?x2xi32> -> tensor<?x2xi8>
    dfke.yield %2 : tensor<?x2xi8>
  }
  func.return %y : tensor<?x2xi8>
}

// Heights of 120 and -100: a lane's infinity is -512 less a span of 220 (i11), 127 the most; with
// the bias, the sum lies between -512 - 100 - 500 and 254 + 500 (i12).
func.func @longest(%x: tensor<?x2xi8>) -> tensor<?x1xi8> {
  // CHECK: dfke.kernel(%k = %x) running_sum i11 :
  %y = dfke.kernel(%k = %x) : tensor<?x2xi8> -> tensor<?x1xi8> {
    %w = spaq.constant dense<[[120], [-100]]> : tensor<2x1xi8>
    // CHECK: spaq.matmul %k, %w semiring max_plus {{.*}} -> tensor<?x1xi11>
    %0 = spaq.matmul %k, %w semiring max_plus : (tensor<?x2xi8>, tensor<2x1xi8>) -> tensor<?x1xi32>
    %b = spaq.constant dense<-500> : tensor<1xi32>
    // CHECK: spaq.add {{.*}} -> tensor<?x1xi12>
    %1 = spaq.add %0, %b : (tensor<?x1xi32>, tensor<1xi32>) -> tensor<?x1xi32>
    %2 = spaq.requantize %1 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      : tensor<?x1xi32> -> tensor<?x1xi8>
    dfke.yield %2 : tensor<?x1xi8>
  }
  func.return %y : tensor<?x1xi8>
}
