// RUN: not daqkf-opt %s -p no-such-pass 2>&1 | filecheck %s --check-prefix=PASS
// RUN: not daqkf-opt %s -p 'dfke-schedule{goal=1}' 2>&1 | filecheck %s --check-prefix=OPTION
// RUN: not daqkf-opt %s -p 'dfke-schedule{' 2>&1 | filecheck %s --check-prefix=SPEC
// RUN: not daqkf-opt %s --no-such-flag 2>&1 | filecheck %s --check-prefix=FLAG
// RUN: not daqkf-opt nowhere.mlir 2>&1 | filecheck %s --check-prefix=FILE
// RUN: echo 'func.func @f( {' | not daqkf-opt 2>&1 | filecheck %s --check-prefix=SYNTAX
// RUN: echo '"test.op"() {a = "never closed, and long enough to matter' | not daqkf-opt 2>&1 | filecheck %s --check-prefix=STRING
// RUN: echo 'func.func @f() { %%0 = no.such_op : i8 }' | not daqkf-opt 2>&1 | filecheck %s --check-prefix=UNKNOWN
// RUN: echo '%%w = spaq.constant dense<1> : tensor<2x2x2xi8>' | not daqkf-opt 2>&1 | filecheck %s --check-prefix=VERIFY
// RUN: echo '%%w = spaq.constant dense<1> : i8' | not daqkf-opt 2>&1 | filecheck %s --check-prefix=INSIDE
// RUN: not daqkf-opt %s -p 'dfke-schedule{tile=3}' 2>&1 | filecheck %s --check-prefix=TYPE
// RUN: not daqkf-opt %s -p spaq-prune 2>&1 | filecheck %s --check-prefix=MISSING
// RUN: not daqkf-opt %s -o %s/x 2>&1 | filecheck %s --check-prefix=OUTPUT

// Each is one line, without a traceback.
// PASS: daqkf-opt: unknown pass 'no-such-pass' (known: nn-dequantize, {{.*}}
// PASS-NOT: {{.}}
// OPTION: daqkf-opt: dfke-schedule: unknown option 'goal' (it has target, family, fabric, index-bits, tile)
// OPTION-NOT: {{.}}
// SPEC: daqkf-opt: pass pipeline: {{.*}}
// SPEC-NOT: {{.}}
// FLAG: daqkf-opt: unrecognized arguments: --no-such-flag (see --help)
// FLAG-NOT: {{.}}
// FILE: daqkf-opt: nowhere.mlir: No such file or directory
// FILE-NOT: {{.}}
// SYNTAX: daqkf-opt: stdin:1:{{[0-9]+}}: {{.+}}
// SYNTAX-NOT: {{.}}
// STRING: daqkf-opt: stdin:1:{{[0-9]+}}: test.op: End of file reached before closing string literal.
// STRING-NOT: {{.}}
// UNKNOWN: daqkf-opt: stdin:1:{{[0-9]+}}: Operation no.such_op is not registered
// UNKNOWN-NOT: {{.}}
// INSIDE: daqkf-opt: stdin:{{[0-9]+:[0-9]+}}: spaq.constant: {{.+}}
// INSIDE-NOT: {{.}}
// TYPE: daqkf-opt: dfke-schedule: the option 'tile' is bool, not 3
// TYPE-NOT: {{.}}
// MISSING: daqkf-opt: spaq-prune: the option 'sparsity' is required
// MISSING-NOT: {{.}}
// VERIFY: daqkf-opt: stdin:1:1: spaq.constant: a constant is a matrix [K, N] or a vector [N] with static, positive extents
// VERIFY-NOT: {{.}}
// OUTPUT: daqkf-opt: {{.+}}
// OUTPUT-NOT: {{.}}
func.func @nothing() {
  func.return
}
