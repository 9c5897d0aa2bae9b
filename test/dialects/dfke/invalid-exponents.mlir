// RUN: %invalid | filecheck %s

// Rows that share exponents.

// CHECK: the exponents of the rows that a chain yields are lost
func.func @f(%x: tensor<?x1xi8>) {
  %y = dfke.chain(%k = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %a = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<1> : tensor<1x2xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %1 : tensor<?x2xi8>
    }
    %b, %f = dfke.gating(%i = %a) : tensor<?x2xi8> -> tensor<?x1xi8>, tensor<?x1xi8> {
      %0 = spaq.gate "silu" %i table dense<1> : tensor<256xi8> : tensor<?x2xi8> -> tensor<?x1xi16>
      %1, %2 = spaq.requantize_rows %0 multiplier dense<2> : tensor<1xi32>
        shift dense<1> : tensor<1xi32> reach 3 : tensor<?x1xi16> -> tensor<?x1xi8>, tensor<?x1xi8>
      dfke.yield %1, %2 : tensor<?x1xi8>, tensor<?x1xi8>
    }
    dfke.yield %b : tensor<?x1xi8>
  }
  func.return
}

// -----

// CHECK: kernel 2 of a chain does not take the exponents of its rows
func.func @f(%x: tensor<?x1xi8>) {
  %y = dfke.chain(%k = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %a = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<1> : tensor<1x2xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %1 : tensor<?x2xi8>
    }
    %b, %f = dfke.gating(%i = %a) : tensor<?x2xi8> -> tensor<?x1xi8>, tensor<?x1xi8> {
      %0 = spaq.gate "silu" %i table dense<1> : tensor<256xi8> : tensor<?x2xi8> -> tensor<?x1xi16>
      %1, %2 = spaq.requantize_rows %0 multiplier dense<2> : tensor<1xi32>
        shift dense<1> : tensor<1xi32> reach 3 : tensor<?x1xi16> -> tensor<?x1xi8>, tensor<?x1xi8>
      dfke.yield %1, %2 : tensor<?x1xi8>, tensor<?x1xi8>
    }
    %c = dfke.kernel(%i = %b) : tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %2 = spaq.requantize %0 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %2 : tensor<?x1xi8>
    }
    dfke.yield %c : tensor<?x1xi8>
  }
  func.return
}

// -----

// CHECK: kernel 2 of a chain takes exponents of another reach
func.func @f(%x: tensor<?x1xi8>) {
  %y = dfke.chain(%k = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %a = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<1> : tensor<1x2xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %1 : tensor<?x2xi8>
    }
    %b, %f = dfke.gating(%i = %a) : tensor<?x2xi8> -> tensor<?x1xi8>, tensor<?x1xi8> {
      %0 = spaq.gate "silu" %i table dense<1> : tensor<256xi8> : tensor<?x2xi8> -> tensor<?x1xi16>
      %1, %2 = spaq.requantize_rows %0 multiplier dense<2> : tensor<1xi32>
        shift dense<1> : tensor<1xi32> reach 3 : tensor<?x1xi16> -> tensor<?x1xi8>, tensor<?x1xi8>
      dfke.yield %1, %2 : tensor<?x1xi8>, tensor<?x1xi8>
    }
    %c = dfke.kernel(%i = %b, %e = %f) : tensor<?x1xi8>, tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %s = spaq.scale_rows %0, %e reach 2 : (tensor<?x1xi32>, tensor<?x1xi8>) -> tensor<?x1xi32>
      %2 = spaq.requantize %s multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %2 : tensor<?x1xi8>
    }
    dfke.yield %c : tensor<?x1xi8>
  }
  func.return
}

// -----

// CHECK: a kernel adds what kernel 2 of a chain reads, and not its exponents
func.func @f(%x: tensor<?x1xi8>) {
  %y = dfke.chain(%k = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %a = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<1> : tensor<1x2xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %1 : tensor<?x2xi8>
    }
    %b, %f = dfke.gating(%i = %a) : tensor<?x2xi8> -> tensor<?x1xi8>, tensor<?x1xi8> {
      %0 = spaq.gate "silu" %i table dense<1> : tensor<256xi8> : tensor<?x2xi8> -> tensor<?x1xi16>
      %1, %2 = spaq.requantize_rows %0 multiplier dense<2> : tensor<1xi32>
        shift dense<1> : tensor<1xi32> reach 3 : tensor<?x1xi16> -> tensor<?x1xi8>, tensor<?x1xi8>
      dfke.yield %1, %2 : tensor<?x1xi8>, tensor<?x1xi8>
    }
    %c = dfke.kernel(%i = %b, %r = %b, %e = %f) : tensor<?x1xi8>, tensor<?x1xi8>, tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %s = spaq.scale_rows %0, %e reach 3 : (tensor<?x1xi32>, tensor<?x1xi8>) -> tensor<?x1xi32>
      %r1 = spaq.residual %s, %r multiplier dense<2> : tensor<1xi32>
        : (tensor<?x1xi32>, tensor<?x1xi8>) -> tensor<?x1xi32>
      %2 = spaq.requantize %r1 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %2 : tensor<?x1xi8>
    }
    dfke.yield %c : tensor<?x1xi8>
  }
  func.return
}

// -----

// CHECK: a kernel's other operands go to one spaq.residual, and then one spaq.scale_rows
func.func @f(%x: tensor<?x1xi8>) {
  %y = dfke.chain(%k = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %a = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<1> : tensor<1x2xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %1 : tensor<?x2xi8>
    }
    %b, %f = dfke.gating(%i = %a) : tensor<?x2xi8> -> tensor<?x1xi8>, tensor<?x1xi8> {
      %0 = spaq.gate "silu" %i table dense<1> : tensor<256xi8> : tensor<?x2xi8> -> tensor<?x1xi16>
      %1, %2 = spaq.requantize_rows %0 multiplier dense<2> : tensor<1xi32>
        shift dense<1> : tensor<1xi32> reach 3 : tensor<?x1xi16> -> tensor<?x1xi8>, tensor<?x1xi8>
      dfke.yield %1, %2 : tensor<?x1xi8>, tensor<?x1xi8>
    }
    %c = dfke.kernel(%i = %b, %e = %f, %r = %k) : tensor<?x1xi8>, tensor<?x1xi8>, tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %s = spaq.scale_rows %0, %e reach 3 : (tensor<?x1xi32>, tensor<?x1xi8>) -> tensor<?x1xi32>
      %r1 = spaq.residual %s, %r multiplier dense<2> : tensor<1xi32>
        : (tensor<?x1xi32>, tensor<?x1xi8>) -> tensor<?x1xi32>
      %2 = spaq.requantize %r1 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %2 : tensor<?x1xi8>
    }
    dfke.yield %c : tensor<?x1xi8>
  }
  func.return
}

// -----

// CHECK: dfke.normalization is spaq.normalize, spaq.add of a constant, spaq.requantize and spaq.activation, in this order
func.func @f(%x: tensor<?x1xi8>) {
  %y, %e = dfke.normalization(%i = %x) : tensor<?x1xi8> -> tensor<?x1xi8>, tensor<?x1xi8> {
    %0 = spaq.normalize %i exponent dense<0> : tensor<1xi32> : tensor<?x1xi8> -> tensor<?x1xi18>
    %1, %2 = spaq.requantize_rows %0 multiplier dense<2> : tensor<1xi32>
      shift dense<1> : tensor<1xi32> reach 3 : tensor<?x1xi18> -> tensor<?x1xi8>, tensor<?x1xi8>
    dfke.yield %1, %2 : tensor<?x1xi8>, tensor<?x1xi8>
  }
  func.return
}

// -----

// CHECK: dfke.gating has no function of rows that share exponents
func.func @f(%x: tensor<?x1xi8>) {
  %w = spaq.constant dense<1> : tensor<1x2xi8>
  %a = dfke.kernel(%i = %x) : tensor<?x1xi8> -> tensor<?x2xi8> {
    %w2 = spaq.constant dense<1> : tensor<1x2xi8>
    %0 = spaq.matmul %i, %w2 : (tensor<?x1xi8>, tensor<1x2xi8>) -> tensor<?x2xi32>
    %1 = spaq.requantize %0 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : tensor<?x2xi32> -> tensor<?x2xi8>
    dfke.yield %1 : tensor<?x2xi8>
  }
  %y = dfke.gating(%i = %a) : tensor<?x2xi8> -> tensor<?x1xi8> {
    %0 = spaq.gate "silu" %i table dense<1> : tensor<256xi8> : tensor<?x2xi8> -> tensor<?x1xi16>
    %1, %2 = spaq.requantize_rows %0 multiplier dense<2> : tensor<1xi32>
      shift dense<1> : tensor<1xi32> reach 3 : tensor<?x1xi16> -> tensor<?x1xi8>, tensor<?x1xi8>
    %3 = spaq.activation "silu" %1 table dense<1> : tensor<256xi8> : tensor<?x1xi8> -> tensor<?x1xi8>
    dfke.yield %3 : tensor<?x1xi8>
  }
  func.return
}
