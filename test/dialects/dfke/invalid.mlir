// RUN: %invalid | filecheck %s

// CHECK: a kernel has a spaq.requantize after its product
func.func @f(%x: tensor<?x2xi8>) {
  %y = dfke.kernel(%k = %x) : tensor<?x2xi8> -> tensor<?x2xi8> {
    %w = spaq.constant dense<1> : tensor<2x2xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi8>
    dfke.yield %0 : tensor<?x2xi8>
  }
  func.return
}

// -----

// CHECK: a kernel's input goes to one spaq.matmul, as its activations
func.func @f(%x: tensor<?x2xi8>) {
  %y = dfke.kernel(%k = %x) : tensor<?x2xi8> -> tensor<?x2xi8> {
    dfke.yield %k : tensor<?x2xi8>
  }
  func.return
}

// -----

// CHECK: the body ends with a dfke.yield of the kernel's result
func.func @f(%x: tensor<?x2xi8>) {
  %y = dfke.kernel(%k = %x) : tensor<?x2xi8> -> tensor<?x3xi8> {
    dfke.yield %k : tensor<?x2xi8>
  }
  func.return
}

// -----

// CHECK: a kernel has no place for spaq.constant
func.func @f(%x: tensor<?x2xi8>) {
  %y = dfke.kernel(%k = %x) : tensor<?x2xi8> -> tensor<?x2xi8> {
    %w = spaq.constant dense<1> : tensor<2x2xi8>
    %stray = spaq.constant dense<1> : tensor<2x2xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : tensor<?x2xi32> -> tensor<?x2xi8>
    dfke.yield %1 : tensor<?x2xi8>
  }
  func.return
}

// -----

// CHECK: a schedule names each output channel exactly once
"test.op"() {a = #dfke.schedule<#dfke.machine<pes = 1, lanes = 2, post_lanes = 1, max_shift = 0,
  activation_depth = 64, stream_depth = 64, parameter_depth = 4, result_depth = 4>,
  dense<[0, 0]> : tensor<2xi32>, dense<2> : tensor<1xi32>, dense<3> : tensor<1xi32>>} : () -> ()

// -----

// CHECK: the counts add up to 1, but 2 outputs are scheduled
"test.op"() {a = #dfke.schedule<#dfke.machine<pes = 1, lanes = 2, post_lanes = 1, max_shift = 0,
  activation_depth = 64, stream_depth = 64, parameter_depth = 4, result_depth = 4>,
  dense<[0, 1]> : tensor<2xi32>, dense<1> : tensor<1xi32>, dense<3> : tensor<1xi32>>} : () -> ()

// -----

// CHECK: a schedule for 1 PEs needs as many counts and words
"test.op"() {a = #dfke.schedule<#dfke.machine<pes = 1, lanes = 2, post_lanes = 1, max_shift = 0,
  activation_depth = 64, stream_depth = 64, parameter_depth = 4, result_depth = 4>,
  dense<[0, 1]> : tensor<2xi32>, dense<1> : tensor<2xi32>, dense<3> : tensor<1xi32>>} : () -> ()

// -----

// CHECK: the schedule has 1 outputs, the kernel 2
func.func @f(%x: tensor<?x2xi8>) {
  %y = dfke.kernel(%k = %x)
      schedule #dfke.schedule<#dfke.machine<pes = 1, lanes = 2, post_lanes = 1, max_shift = 0,
        activation_depth = 64, stream_depth = 64, parameter_depth = 4, result_depth = 4>,
        dense<0> : tensor<1xi32>, dense<1> : tensor<1xi32>, dense<3> : tensor<1xi32>>
      : tensor<?x2xi8> -> tensor<?x2xi8> {
    %w = spaq.constant dense<1> : tensor<2x2xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : tensor<?x2xi32> -> tensor<?x2xi8>
    dfke.yield %1 : tensor<?x2xi8>
  }
  func.return
}

// -----

// CHECK: a dispatch has kernels of its input and a dfke.yield alone
func.func @f(%x: tensor<?x1xi8>) {
  %y = dfke.dispatch(%k = %x) #dfke.decision<lanes = 2, shift = 1, table = [0, 1]>
      : tensor<?x1xi8> -> tensor<?x1xi8> {
    %a = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %1 : tensor<?x1xi8>
    }
    %b = dfke.kernel(%i = %a) : tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %1 : tensor<?x1xi8>
    }
    dfke.yield %a, %b : tensor<?x1xi8>, tensor<?x1xi8>
  }
  func.return
}

// -----

// CHECK: a dispatch yields the result of each of its kernels, in order
func.func @f(%x: tensor<?x1xi8>) {
  %y = dfke.dispatch(%k = %x) #dfke.decision<lanes = 2, shift = 1, table = [0, 1]>
      : tensor<?x1xi8> -> tensor<?x1xi8> {
    %a = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %1 : tensor<?x1xi8>
    }
    %b = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %1 : tensor<?x1xi8>
    }
    dfke.yield %b, %a : tensor<?x1xi8>, tensor<?x1xi8>
  }
  func.return
}

// -----

// CHECK: the variants of a dispatch differ in the type of their result
func.func @f(%x: tensor<?x1xi8>) {
  %y = dfke.dispatch(%k = %x) #dfke.decision<lanes = 2, shift = 1, table = [0, 1]>
      : tensor<?x1xi8> -> tensor<?x1xi8> {
    %a = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %1 : tensor<?x1xi8>
    }
    %b = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<1> : tensor<1x2xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.requantize %0 multiplier dense<3> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %1 : tensor<?x2xi8>
    }
    dfke.yield %a, %b : tensor<?x1xi8>, tensor<?x2xi8>
  }
  func.return
}

// -----

// CHECK: the decision names variant 2, but there are 2
func.func @f(%x: tensor<?x1xi8>) {
  %y = dfke.dispatch(%k = %x) #dfke.decision<lanes = 2, shift = 1, table = [0, 2]>
      : tensor<?x1xi8> -> tensor<?x1xi8> {
    %a = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %1 : tensor<?x1xi8>
    }
    %b = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %1 : tensor<?x1xi8>
    }
    dfke.yield %a, %b : tensor<?x1xi8>, tensor<?x1xi8>
  }
  func.return
}

// -----

// CHECK: the weights of an or_and kernel are 0 or -1
func.func @f(%x: tensor<?x1xi8>) {
  %y = dfke.kernel(%k = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %w = spaq.constant dense<1> : tensor<1x1xi8>
    %0 = spaq.matmul %k, %w semiring or_and : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
    %1 = spaq.requantize %0 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      : tensor<?x1xi32> -> tensor<?x1xi8>
    dfke.yield %1 : tensor<?x1xi8>
  }
  func.return
}

// -----

// -512 + 127 = -385 is the nearest that a lane's infinity comes to 0.
// CHECK: channel 1 of a max_plus kernel requantises infinity to -96, not -128
func.func @f(%x: tensor<?x1xi8>) {
  %y = dfke.kernel(%k = %x) : tensor<?x1xi8> -> tensor<?x2xi8> {
    %w = spaq.constant dense<1> : tensor<1x2xi8>
    %0 = spaq.matmul %k, %w semiring max_plus : (tensor<?x1xi8>, tensor<1x2xi8>) -> tensor<?x2xi32>
    %1 = spaq.requantize %0 multiplier dense<1> : tensor<2xi32> shift dense<[1, 2]> : tensor<2xi32>
      : tensor<?x2xi32> -> tensor<?x2xi8>
    dfke.yield %1 : tensor<?x2xi8>
  }
  func.return
}

// -----

// CHECK: channel 0 of a min_plus kernel requantises infinity to 126, not 127
func.func @f(%x: tensor<?x1xi8>) {
  %y = dfke.kernel(%k = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %w = spaq.constant dense<1> : tensor<1x1xi8>
    %0 = spaq.matmul %k, %w semiring min_plus : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
    %b = spaq.constant dense<-257> : tensor<1xi32>
    %1 = spaq.add %0, %b : (tensor<?x1xi32>, tensor<1xi32>) -> tensor<?x1xi32>
    %2 = spaq.requantize %1 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      : tensor<?x1xi32> -> tensor<?x1xi8>
    dfke.yield %2 : tensor<?x1xi8>
  }
  func.return
}

// -----

// CHECK: a chain yields the result of its last kernel
func.func @f(%x: tensor<?x1xi8>) {
  %y = dfke.chain(%k = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %a = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %1 : tensor<?x1xi8>
    }
    %b = dfke.kernel(%i = %a) : tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %1 : tensor<?x1xi8>
    }
    dfke.yield %a, %b : tensor<?x1xi8>, tensor<?x1xi8>
  }
  func.return
}

// -----

// CHECK: kernel 1 of a chain is of the result before it
func.func @f(%x: tensor<?x1xi8>) {
  %y = dfke.chain(%k = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %a = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %1 : tensor<?x1xi8>
    }
    %b = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %1 : tensor<?x1xi8>
    }
    dfke.yield %b : tensor<?x1xi8>
  }
  func.return
}

// -----

// CHECK: kernel 0 of a chain works on rows that no kernel has computed
func.func @f(%x: tensor<?x1xi8>) {
  %y = dfke.chain(%k = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %a = dfke.normalization(%i = %k) : tensor<?x1xi8> -> tensor<?x1xi8> {
      %0 = spaq.normalize %i exponent dense<0> : tensor<1xi32> : tensor<?x1xi8> -> tensor<?x1xi18>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi18> -> tensor<?x1xi8>
      dfke.yield %1 : tensor<?x1xi8>
    }
    dfke.yield %a : tensor<?x1xi8>
  }
  func.return
}

// -----

// CHECK: kernel 2 of a chain adds what no kernel reads
func.func @f(%x: tensor<?x1xi8>) {
  %y = dfke.chain(%k = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %a = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %1 : tensor<?x1xi8>
    }
    %b = dfke.normalization(%i = %a) : tensor<?x1xi8> -> tensor<?x1xi8> {
      %0 = spaq.normalize %i exponent dense<0> : tensor<1xi32> : tensor<?x1xi8> -> tensor<?x1xi18>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi18> -> tensor<?x1xi8>
      dfke.yield %1 : tensor<?x1xi8>
    }
    %c = dfke.kernel(%i = %b, %r = %a) : tensor<?x1xi8>, tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %1 = spaq.residual %0, %r multiplier dense<2> : tensor<1xi32>
        : (tensor<?x1xi32>, tensor<?x1xi8>) -> tensor<?x1xi32>
      %2 = spaq.requantize %1 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %2 : tensor<?x1xi8>
    }
    dfke.yield %c : tensor<?x1xi8>
  }
  func.return
}

// -----

// CHECK: what kernel 2 of a chain adds is not kept until then
func.func @f(%x: tensor<?x1xi8>) {
  %y = dfke.chain(%k = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %a = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %1 : tensor<?x1xi8>
    }
    %b = dfke.kernel(%i = %a, %r = %a) : tensor<?x1xi8>, tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %1 = spaq.residual %0, %r multiplier dense<2> : tensor<1xi32>
        : (tensor<?x1xi32>, tensor<?x1xi8>) -> tensor<?x1xi32>
      %2 = spaq.requantize %1 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi32> -> tensor<?x1xi8>
      dfke.yield %2 : tensor<?x1xi8>
    }
    %c = dfke.kernel(%i = %b, %r = %k) : tensor<?x1xi8>, tensor<?x1xi8> -> tensor<?x1xi8> {
      %w = spaq.constant dense<1> : tensor<1x1xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
      %1 = spaq.residual %0, %r multiplier dense<2> : tensor<1xi32>
        : (tensor<?x1xi32>, tensor<?x1xi8>) -> tensor<?x1xi32>
      %2 = spaq.requantize %1 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
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
  %y = dfke.kernel(%i = %x, %r = %x) : tensor<?x1xi8>, tensor<?x1xi8> -> tensor<?x1xi8> {
    %w = spaq.constant dense<1> : tensor<1x1xi8>
    %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x1xi8>) -> tensor<?x1xi32>
    %1 = spaq.requantize %0 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      : tensor<?x1xi32> -> tensor<?x1xi8>
    dfke.yield %1 : tensor<?x1xi8>
  }
  func.return
}

// -----

// CHECK: the input of dfke.normalization goes to one spaq.normalize
func.func @f(%x: tensor<?x1xi8>) {
  %y = dfke.normalization(%i = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %1 = spaq.requantize %i multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      : tensor<?x1xi8> -> tensor<?x1xi8>
    dfke.yield %1 : tensor<?x1xi8>
  }
  func.return
}

// -----

// CHECK: what kernel 1 of a chain gates has a function of its own
func.func @f(%x: tensor<?x1xi8>) {
  %y = dfke.chain(%k = %x) : tensor<?x1xi8> -> tensor<?x1xi8> {
    %a = dfke.kernel(%i = %k) : tensor<?x1xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<1> : tensor<1x2xi8>
      %0 = spaq.matmul %i, %w : (tensor<?x1xi8>, tensor<1x2xi8>) -> tensor<?x2xi32>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi8>
      %2 = spaq.activation "silu" %1 table dense<1> : tensor<256xi8> : tensor<?x2xi8> -> tensor<?x2xi8>
      dfke.yield %2 : tensor<?x2xi8>
    }
    %b = dfke.gating(%i = %a) : tensor<?x2xi8> -> tensor<?x1xi8> {
      %0 = spaq.gate "silu" %i table dense<1> : tensor<256xi8> : tensor<?x2xi8> -> tensor<?x1xi16>
      %1 = spaq.requantize %0 multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi16> -> tensor<?x1xi8>
      dfke.yield %1 : tensor<?x1xi8>
    }
    dfke.yield %b : tensor<?x1xi8>
  }
  func.return
}

// -----

// CHECK: dfke.gating: result 'result' at position 0 does not verify: Expected attribute i8 but got i16
func.func @f(%x: tensor<?x2xi8>) {
  %y = dfke.gating(%i = %x) : tensor<?x2xi8> -> tensor<?x1xi16> {
    %0 = spaq.gate "silu" %i table dense<1> : tensor<256xi8> : tensor<?x2xi8> -> tensor<?x1xi16>
    dfke.yield %0 : tensor<?x1xi16>
  }
  func.return
}

// -----

// CHECK: results of a max_plus kernel are i8, as its activations are
func.func @f(%x: tensor<?x2xi8>) {
  %y = dfke.kernel(%k = %x) : tensor<?x2xi8> -> tensor<?x2xi16> {
    %w = spaq.constant dense<1> : tensor<2x2xi8>
    %0 = spaq.matmul %k, %w semiring max_plus : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
    %1 = spaq.requantize %0 multiplier dense<2> : tensor<2xi32> shift dense<1> : tensor<2xi32>
      : tensor<?x2xi32> -> tensor<?x2xi16>
    dfke.yield %1 : tensor<?x2xi16>
  }
  func.return
}

// -----

// CHECK: dfke.chain
func.func @f(%x: tensor<?x2xi8>) {
  %y = dfke.chain(%k = %x) : tensor<?x2xi8> -> tensor<?x2xi16> {
    %0 = dfke.kernel(%a = %k) : tensor<?x2xi8> -> tensor<?x2xi16> {
      %w = spaq.constant dense<1> : tensor<2x2xi8>
      %1 = spaq.matmul %a, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
      %2 = spaq.requantize %1 multiplier dense<3> : tensor<2xi32> shift dense<1> : tensor<2xi32>
        : tensor<?x2xi32> -> tensor<?x2xi16>
      dfke.yield %2 : tensor<?x2xi16>
    }
    dfke.yield %0 : tensor<?x2xi16>
  }
  func.return
}
