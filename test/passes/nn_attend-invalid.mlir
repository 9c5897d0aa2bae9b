// RUN: not daqkf-opt %s -p 'nn-attend{target=nowhere}' 2>&1 | filecheck %s --check-prefix=TARGET
// RUN: not daqkf-opt %s -p 'nn-attend{target=3}' 2>&1 | filecheck %s --check-prefix=TYPE
// RUN: not daqkf-opt %s -p 'nn-attend{colour=red}' 2>&1 | filecheck %s --check-prefix=UNKNOWN
// RUN: not daqkf-opt %s -p 'nn-attend{tokens=0}' 2>&1 | filecheck %s --check-prefix=TOKENS
// RUN: not daqkf-opt %s -p 'nn-attend{tokens=many}' 2>&1 | filecheck %s --check-prefix=MANY

// TARGET: daqkf-opt: nn-attend: unknown target 'nowhere' (known: generic
// TYPE: daqkf-opt: nn-attend: the option 'target' is str, not 3
// UNKNOWN: daqkf-opt: nn-attend: unknown option 'colour' (it has target, tokens)
// TOKENS: daqkf-opt: nn-attend: the option 'tokens' must be at least 1, not 0
// MANY: daqkf-opt: nn-attend: the option 'tokens' is int, not many

func.func @main(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %y = nn.elementwise neg %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
  func.return %y : tensor<?x2xf32>
}
