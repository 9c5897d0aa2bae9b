// RUN: daqkf-opt %s --split-input-file --parsing-diagnostics | filecheck %s

// CHECK: a decision over tiles of 0 tokens
"test.op"() {a = #dfke.decision<lanes = 0, shift = 1, table = [0, 1]>} : () -> ()

// -----

// CHECK: a decision's shift must be 0..31, not 32
"test.op"() {a = #dfke.decision<lanes = 1, shift = 32, table = [0, 1]>} : () -> ()

// -----

// CHECK: a decision's table has a power of two of entries, 2..64, not 3
"test.op"() {a = #dfke.decision<lanes = 1, shift = 1, table = [0, 1, 1]>} : () -> ()

// -----

// CHECK: a decision's variants must be 0..15
"test.op"() {a = #dfke.decision<lanes = 1, shift = 1, table = [0, 16]>} : () -> ()

// -----

// CHECK: expected a #dfke.decision
dfke.dispatch(%k = %x) "one" : tensor<?x1xi8> -> tensor<?x1xi8> {}
