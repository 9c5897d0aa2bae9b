// RUN: %roundtrip | filecheck %s

// CHECK-LABEL: func.func @fused
func.func @fused(%x: tensor<?x2xi8>) -> tensor<?x2xi8> {
  // CHECK: %y = dfke.kernel(%k = %x) : tensor<?x2xi8> -> tensor<?x2xi8> {
  %y = dfke.kernel(%k = %x) : tensor<?x2xi8> -> tensor<?x2xi8> {
    %w = spaq.constant dense<[[0, 2], [-1, 0]]> : tensor<2x2xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : tensor<?x2xi32> -> tensor<?x2xi8>
    // CHECK: dfke.yield %{{.*}} : tensor<?x2xi8>
    dfke.yield %1 : tensor<?x2xi8>
  }
  func.return %y : tensor<?x2xi8>
}

#machine = #dfke.machine<pes = 2, lanes = 8, post_lanes = 2, max_shift = 3,
  activation_depth = 64, stream_depth = 64, parameter_depth = 4, result_depth = 4>

// CHECK-LABEL: func.func @scheduled
func.func @scheduled(%x: tensor<?x2xi8>) -> tensor<?x2xi8> {
  // CHECK: dfke.kernel(%k = %x) running_sum i9 schedule #dfke.schedule<#dfke.machine<pes = 2, lanes = 8, post_lanes = 2, max_shift = 3, activation_depth = 64, stream_depth = 64, parameter_depth = 4, result_depth = 4>, dense<[1, 0]> : tensor<2xi32>, dense<[2, 0]> : tensor<2xi32>, dense<[3, 1]> : tensor<2xi32>> attributes {note} : tensor<?x2xi8> -> tensor<?x2xi8> {
  %y = dfke.kernel(%k = %x) running_sum i9
      schedule #dfke.schedule<#machine, dense<[1, 0]> : tensor<2xi32>,
        dense<[2, 0]> : tensor<2xi32>, dense<[3, 1]> : tensor<2xi32>>
      attributes {note} : tensor<?x2xi8> -> tensor<?x2xi8> {
    %w = spaq.constant dense<[[0, 2], [-1, 0]]> : tensor<2x2xi8>
    %b = spaq.constant dense<[5, 6]> : tensor<2xi32>
    %0 = spaq.matmul %k, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi10>
    %1 = spaq.add %0, %b : (tensor<?x2xi10>, tensor<2xi32>) -> tensor<?x2xi10>
    %2 = spaq.requantize %1 multiplier dense<3> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : tensor<?x2xi10> -> tensor<?x2xi8>
    %3 = spaq.activation "relu" %2 table dense<0> : tensor<256xi8> : tensor<?x2xi8> -> tensor<?x2xi8>
    dfke.yield %3 : tensor<?x2xi8>
  }
  func.return %y : tensor<?x2xi8>
}

// CHECK-LABEL: func.func @dispatched
func.func @dispatched(%x: tensor<?x2xi8>) -> tensor<?x2xi8> {
  // CHECK: %y = dfke.dispatch(%k = %x) #dfke.decision<lanes = 4, shift = 1, table = [1, 1, 0, 0]> attributes {note} : tensor<?x2xi8> -> tensor<?x2xi8> {
  %y = dfke.dispatch(%k = %x) #dfke.decision<lanes = 4, shift = 1, table = [1, 1, 0, 0]>
      attributes {note} : tensor<?x2xi8> -> tensor<?x2xi8> {
    // CHECK: %coarse = dfke.kernel(%a = %k) : tensor<?x2xi8> -> tensor<?x2xi8> {
    %coarse = dfke.kernel(%a = %k) : tensor<?x2xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<[[0, 1], [0, 0]]> : tensor<2x2xi8>
      %0 = spaq.matmul %a, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.requantize %0 multiplier dense<3> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %1 : tensor<?x2xi8>
    }
    // CHECK: %fine = dfke.kernel(%b = %k) : tensor<?x2xi8> -> tensor<?x2xi8> {
    %fine = dfke.kernel(%b = %k) : tensor<?x2xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<[[0, 2], [-1, 0]]> : tensor<2x2xi8>
      %0 = spaq.matmul %b, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.requantize %0 multiplier dense<3> : tensor<2xi32> shift dense<2> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %1 : tensor<?x2xi8>
    }
    // CHECK: dfke.yield %coarse, %fine : tensor<?x2xi8>, tensor<?x2xi8>
    dfke.yield %coarse, %fine : tensor<?x2xi8>, tensor<?x2xi8>
  }
  func.return %y : tensor<?x2xi8>
}

// CHECK-LABEL: @chained
func.func @chained(%x: tensor<?x2xi8>) -> tensor<?x1xi8> {
  // CHECK: %y = dfke.chain(%k = %x) attributes {note} : tensor<?x2xi8> -> tensor<?x1xi8> {
  %y = dfke.chain(%k = %x) attributes {note} : tensor<?x2xi8> -> tensor<?x1xi8> {
    // CHECK: %wide = dfke.kernel(%a = %k) : tensor<?x2xi8> -> tensor<?x2xi8> {
    %wide = dfke.kernel(%a = %k) : tensor<?x2xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<[[0, 1], [0, 0]]> : tensor<2x2xi8>
      %0 = spaq.matmul %a, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.requantize %0 multiplier dense<3> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %1 : tensor<?x2xi8>
    }
    // CHECK: %narrow = dfke.kernel(%b = %wide) : tensor<?x2xi8> -> tensor<?x1xi8> {
    %narrow = dfke.kernel(%b = %wide) : tensor<?x2xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<[[2], [-1]]> : tensor<2x1xi8>
      %0 = spaq.matmul %b, %w : (tensor<?x2xi8>, tensor<2x1xi8>) -> tensor<?x1xi32>
      %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<2> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %1 : tensor<?x1xi8>
    }
    // CHECK: dfke.yield %narrow : tensor<?x1xi8>
    dfke.yield %narrow : tensor<?x1xi8>
  }
  func.return %y : tensor<?x1xi8>
}

// CHECK-LABEL: func.func @rows
func.func @rows(%x: tensor<?x1xi8>) -> tensor<?x1xi8> {
  // CHECK: %y = dfke.chain(%k = %x) attributes {note} : tensor<?x1xi8> -> tensor<?x1xi8> {
  %y = dfke.chain(%k = %x) attributes {note} : tensor<?x1xi8> -> tensor<?x1xi8> {
    // CHECK: %a = dfke.kernel(%i = %k, %r = %k) : tensor<?x1xi8>, tensor<?x1xi8> -> tensor<?x1xi8> {
    %a = dfke.kernel(%i = %k, %r = %k) : tensor<?x1xi8>, tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %g = spaq.gather %i columns dense<0> : tensor<1xi32> : tensor<?x1xi8> -> tensor<?x1xi8>
      %0 = spaq.matmul %g, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %1 = spaq.residual %0, %r multiplier dense<2> : tensor<1xi32>
        : (tensor<?x1xi32>, tensor<?x1xi8>) -> tensor<?x1xi32>
      %2 = spaq.requantize %1 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %2 : tensor<?x1xi8>
    }
    // CHECK: %b = dfke.normalization(%{{.*}} = %a) attributes {note} : tensor<?x1xi8> -> tensor<?x1xi8> {
    %b = dfke.normalization(%i = %a) attributes {note} : tensor<?x1xi8> -> tensor<?x1xi8> {
      %0 = spaq.normalize %i exponent dense<0> : tensor<1xi32> : tensor<?x1xi8> -> tensor<?x1xi18>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi18> -> tensor<?x1xi8>
      dfke.yield %1 : tensor<?x1xi8>
    }
    dfke.yield %b : tensor<?x1xi8>
  }
  func.return %y : tensor<?x1xi8>
}

// CHECK-LABEL: func.func @gates
func.func @gates(%x: tensor<?x1xi8>) -> tensor<?x1xi8> {
  %y = dfke.chain(%k = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %a = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<1> : tensor<1x2xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %1 : tensor<?x2xi8>
    }
    // CHECK: %b = dfke.gating(%{{.*}} = %a) attributes {note} : tensor<?x2xi8> -> tensor<?x1xi8> {
    %b = dfke.gating(%i = %a) attributes {note} : tensor<?x2xi8> -> tensor<?x1xi8> {
      // CHECK-NEXT: spaq.gate "silu"
      %0 = spaq.gate "silu" %i table dense<1> : tensor<256xi8> : tensor<?x2xi8> -> tensor<?x1xi16>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi16> -> tensor<?x1xi8>
      dfke.yield %1 : tensor<?x1xi8>
    }
    dfke.yield %b : tensor<?x1xi8>
  }
  func.return %y : tensor<?x1xi8>
}

// Keys, values and queries, their attention, and a kernel that adds what they have read.
// CHECK-LABEL: @sequences
func.func @sequences(%x: tensor<?x2xi8>) -> tensor<?x2xi8> {
  // CHECK: dfke.chain(%c = %x) : tensor<?x2xi8> -> tensor<?x2xi8> {
  %y = dfke.chain(%c = %x) : tensor<?x2xi8> -> tensor<?x2xi8> {
    %k = dfke.kernel(%i = %c) : tensor<?x2xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<1> : tensor<2x2xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %1 : tensor<?x2xi8>
    }
    %v = dfke.kernel(%i = %c) : tensor<?x2xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<1> : tensor<2x2xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %1 : tensor<?x2xi8>
    }
    %q = dfke.kernel(%i = %c) : tensor<?x2xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<1> : tensor<2x2xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %1 : tensor<?x2xi8>
    }
    // CHECK: %a = spaq.attend %q, %k, %v heads 1 tokens 4
    %a = spaq.attend %q, %k, %v heads 1 tokens 4
      scores by dense<1> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      table dense<0> : tensor<256xi8>
      results by dense<1> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : (tensor<?x2xi8>, tensor<?x2xi8>, tensor<?x2xi8>) -> tensor<?x2xi8>
    // CHECK-NEXT: %o = dfke.kernel(%i = %a, %r = %c)
    %o = dfke.kernel(%i = %a, %r = %c) : tensor<?x2xi8>, tensor<?x2xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<1> : tensor<2x2xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.residual %0, %r multiplier dense<2> : tensor<2xi32>
        : (tensor<?x2xi32>, tensor<?x2xi8>) -> tensor<?x2xi32>
      %2 = spaq.requantize %1 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %2 : tensor<?x2xi8>
    }
    dfke.yield %o : tensor<?x2xi8>
  }
  func.return %y : tensor<?x2xi8>
}

// CHECK-LABEL: @wide
func.func @wide(%x: tensor<?x2xi8>) -> tensor<?x2xi16> {
  // CHECK: dfke.kernel(%k = %x) : tensor<?x2xi8> -> tensor<?x2xi16> {
  %y = dfke.kernel(%k = %x) : tensor<?x2xi8> -> tensor<?x2xi16> {
    %w = spaq.constant dense<1> : tensor<2x2xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : tensor<?x2xi32> -> tensor<?x2xi16>
    dfke.yield %1 : tensor<?x2xi16>
  }
  func.return %y : tensor<?x2xi16>
}

// Rows that share exponents, and the kernel that takes them back.
// CHECK-LABEL: @shared
func.func @shared(%x: tensor<?x1xi8>) -> tensor<?x1xi8> {
  %y = dfke.chain(%k = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %a = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<1> : tensor<1x2xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %1 : tensor<?x2xi8>
    }
    // CHECK: %b, %f = dfke.gating(%{{.*}} = %a) : tensor<?x2xi8> -> tensor<?x1xi8>, tensor<?x1xi8> {
    %b, %f = dfke.gating(%i = %a) : tensor<?x2xi8> -> tensor<?x1xi8>, tensor<?x1xi8> {
      %0 = spaq.gate "silu" %i table dense<1> : tensor<256xi8> : tensor<?x2xi8> -> tensor<?x1xi16>
      %1, %2 = spaq.requantize_rows %0 multiplier dense<2> : tensor<1xi32>
        shift dense<1> : tensor<1xi32> reach 3 : tensor<?x1xi16> -> tensor<?x1xi8>, tensor<?x1xi8>
      dfke.yield %1, %2 : tensor<?x1xi8>, tensor<?x1xi8>
    }
    // CHECK: %c = dfke.kernel(%{{.*}} = %b, %{{.*}} = %f) : tensor<?x1xi8>, tensor<?x1xi8> -> tensor<?x1xi8> {
    %c = dfke.kernel(%i = %b, %e = %f) : tensor<?x1xi8>, tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %s = spaq.scale_rows %0, %e reach 3 : (tensor<?x1xi32>, tensor<?x1xi8>) -> tensor<?x1xi32>
      %2 = spaq.requantize %s multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %2 : tensor<?x1xi8>
    }
    dfke.yield %c : tensor<?x1xi8>
  }
  func.return %y : tensor<?x1xi8>
}
