// RUN: daqkf-opt %s -p canonicalize | filecheck %s

// A decision that is always the same is none.
// CHECK-LABEL: @always
// CHECK-NEXT: %y = dfke.kernel(%a = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
// CHECK-NEXT: spaq.constant dense<6>
// CHECK-NOT: dfke.kernel
func.func @always(%x: tensor<?x1xi8>) -> tensor<?x1xi8> {
  %y = dfke.dispatch(%k = %x) #dfke.decision<lanes = 2, shift = 1, table = [1, 1]>
      : tensor<?x1xi8> -> tensor<?x1xi8> {
    %3 = dfke.kernel(%a = %k) : tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<5> : tensor<1x1xi8>
      %1 = spaq.matmul %a, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %2 = spaq.requantize %1 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %2 : tensor<?x1xi8>
    }
    %4 = dfke.kernel(%a = %k) : tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<6> : tensor<1x1xi8>
      %1 = spaq.matmul %a, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %2 = spaq.requantize %1 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %2 : tensor<?x1xi8>
    }
    dfke.yield %3, %4 : tensor<?x1xi8>, tensor<?x1xi8>
  }
  func.return %y : tensor<?x1xi8>
}

// CHECK-LABEL: @either
// CHECK: dfke.dispatch
func.func @either(%x: tensor<?x1xi8>) -> tensor<?x1xi8> {
  %y = dfke.dispatch(%k = %x) #dfke.decision<lanes = 2, shift = 1, table = [1, 0]>
      : tensor<?x1xi8> -> tensor<?x1xi8> {
    %3 = dfke.kernel(%a = %k) : tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<5> : tensor<1x1xi8>
      %1 = spaq.matmul %a, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %2 = spaq.requantize %1 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %2 : tensor<?x1xi8>
    }
    %4 = dfke.kernel(%a = %k) : tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<6> : tensor<1x1xi8>
      %1 = spaq.matmul %a, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %2 = spaq.requantize %1 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %2 : tensor<?x1xi8>
    }
    dfke.yield %3, %4 : tensor<?x1xi8>, tensor<?x1xi8>
  }
  func.return %y : tensor<?x1xi8>
}
