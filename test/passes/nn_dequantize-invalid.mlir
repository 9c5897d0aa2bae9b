// RUN: not daqkf-opt %s -p 'nn-dequantize{colour=red}' 2>&1 | filecheck %s
// RUN: not daqkf-opt %s -p 'nn-dequantize{target=generic}' 2>&1 | filecheck %s --check-prefix=TARGET

// CHECK: daqkf-opt: nn-dequantize: unknown option 'colour' (it has requantize)
// TARGET: daqkf-opt: nn-dequantize: unknown option 'target' (it has requantize)

func.func @main(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %y = nn.elementwise neg %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
  func.return %y : tensor<?x2xf32>
}
