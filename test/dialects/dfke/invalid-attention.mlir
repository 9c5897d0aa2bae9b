// RUN: %invalid | filecheck %s

// CHECK: kernel 1 of a chain that attends is of the chain's input alone
func.func @f(%x: tensor<?x2xi8>) {
  %y = dfke.chain(%c = %x) : tensor<?x2xi8> -> tensor<?x2xi8> {
    %k = dfke.kernel(%i = %c) : tensor<?x2xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<1> : tensor<2x2xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %1 : tensor<?x2xi8>
    }
    %v = dfke.kernel(%i = %k) : tensor<?x2xi8> -> tensor<?x2xi8> {
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
    %a = spaq.attend %q, %k, %v heads 1 tokens 4
      scores by dense<1> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      table dense<0> : tensor<256xi8>
      results by dense<1> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : (tensor<?x2xi8>, tensor<?x2xi8>, tensor<?x2xi8>) -> tensor<?x2xi8>
    dfke.yield %a : tensor<?x2xi8>
  }
  func.return
}

// -----

// CHECK: kernel 2 of a chain that attends is of the chain's input alone
func.func @f(%x: tensor<?x2xi8>) {
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
    %q = dfke.kernel(%i = %c, %r = %c) : tensor<?x2xi8>, tensor<?x2xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<1> : tensor<2x2xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.residual %0, %r multiplier dense<2> : tensor<2xi32>
        : (tensor<?x2xi32>, tensor<?x2xi8>) -> tensor<?x2xi32>
      %2 = spaq.requantize %1 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %2 : tensor<?x2xi8>
    }
    %a = spaq.attend %q, %k, %v heads 1 tokens 4
      scores by dense<1> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      table dense<0> : tensor<256xi8>
      results by dense<1> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : (tensor<?x2xi8>, tensor<?x2xi8>, tensor<?x2xi8>) -> tensor<?x2xi8>
    dfke.yield %a : tensor<?x2xi8>
  }
  func.return
}

// -----

// CHECK: attention is of the first three kernels of a chain: keys, values and queries
func.func @f(%x: tensor<?x2xi8>) {
  %y = dfke.chain(%c = %x) : tensor<?x2xi8> -> tensor<?x2xi8> {
    %v = dfke.kernel(%i = %c) : tensor<?x2xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<1> : tensor<2x2xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %1 : tensor<?x2xi8>
    }
    %k = dfke.kernel(%i = %c) : tensor<?x2xi8> -> tensor<?x2xi8> {
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
    %a = spaq.attend %q, %k, %v heads 1 tokens 4
      scores by dense<1> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      table dense<0> : tensor<256xi8>
      results by dense<1> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : (tensor<?x2xi8>, tensor<?x2xi8>, tensor<?x2xi8>) -> tensor<?x2xi8>
    dfke.yield %a : tensor<?x2xi8>
  }
  func.return
}

// -----

// CHECK: attention is of the first three kernels of a chain: keys, values and queries
func.func @f(%x: tensor<?x2xi8>) {
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
    %a = spaq.attend %q, %k, %k heads 1 tokens 4
      scores by dense<1> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      table dense<0> : tensor<256xi8>
      results by dense<1> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : (tensor<?x2xi8>, tensor<?x2xi8>, tensor<?x2xi8>) -> tensor<?x2xi8>
    dfke.yield %a : tensor<?x2xi8>
  }
  func.return
}

// -----

// CHECK: attention is of the first three kernels of a chain: keys, values and queries
func.func @f(%x: tensor<?x2xi8>) {
  %y = dfke.chain(%c = %x) : tensor<?x2xi8> -> tensor<?x2xi8> {
    %k = dfke.kernel(%i = %c) : tensor<?x2xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<1> : tensor<2x2xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %1 : tensor<?x2xi8>
    }
    %q = dfke.kernel(%i = %k) : tensor<?x2xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<1> : tensor<2x2xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %1 : tensor<?x2xi8>
    }
    %a = spaq.attend %q, %q, %q heads 1 tokens 4
      scores by dense<1> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      table dense<0> : tensor<256xi8>
      results by dense<1> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : (tensor<?x2xi8>, tensor<?x2xi8>, tensor<?x2xi8>) -> tensor<?x2xi8>
    dfke.yield %a : tensor<?x2xi8>
  }
  func.return
}

// -----

// CHECK: keys, values and queries of a chain have no other readers
func.func @f(%x: tensor<?x2xi8>) {
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
    %a = spaq.attend %q, %k, %v heads 1 tokens 4
      scores by dense<1> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      table dense<0> : tensor<256xi8>
      results by dense<1> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : (tensor<?x2xi8>, tensor<?x2xi8>, tensor<?x2xi8>) -> tensor<?x2xi8>
    %o = dfke.kernel(%i = %a, %r = %q) : tensor<?x2xi8>, tensor<?x2xi8> -> tensor<?x2xi8> {
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
  func.return
}

// -----

// CHECK: kernel 4 of a chain is of the result before it
func.func @f(%x: tensor<?x2xi8>) {
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
    %a = spaq.attend %q, %k, %v heads 1 tokens 4
      scores by dense<1> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      table dense<0> : tensor<256xi8>
      results by dense<1> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : (tensor<?x2xi8>, tensor<?x2xi8>, tensor<?x2xi8>) -> tensor<?x2xi8>
    %o = dfke.kernel(%i = %c) : tensor<?x2xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<1> : tensor<2x2xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %1 : tensor<?x2xi8>
    }
    dfke.yield %o : tensor<?x2xi8>
  }
  func.return
}
