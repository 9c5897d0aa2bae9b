// RUN: not daqkf-opt %s -p 'nn-fold{colour=red}' 2>&1 | filecheck %s
// RUN: not daqkf-opt %s -p 'nn-fold{target=generic}' 2>&1 | filecheck %s --check-prefix=TARGET

// CHECK: daqkf-opt: nn-fold: unknown option 'colour' (it has none)
// TARGET: daqkf-opt: nn-fold: unknown option 'target' (it has none)

func.func @main(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %y = nn.elementwise neg %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
  func.return %y : tensor<?x2xf32>
}
