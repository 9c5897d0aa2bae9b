// RUN: daqkf-opt %s --validate -p canonicalize,nn-raise,nn-outline,nn-chain | filecheck %s
// RUN: not python %S/Inputs/faulty_opt.py %s --validate --validate-seed 7 -p canonicalize,nn-outline,nn-chain -o %t.mlir 2>&1 | filecheck %s --check-prefix=FAULTY
// RUN: not ls %t.mlir
// RUN: daqkf-opt %S/../pipelines/pipelines.mlir --validate --pipeline circuit 2>&1 >/dev/null | filecheck %s --check-prefix=HARDWARE
// RUN: not daqkf-opt %s --validate --validate-seed -1 2>&1 | filecheck %s --check-prefix=NEGATIVE

// Nothing changes, and the output is that of the pipeline.
// CHECK: func.func @up_down
// CHECK: nn.linear @up_down %x

// The pass that changes a result is named, with a module that is reduced to what shows it: of two
// layers and a function one product and its bias are left. There is no other output.
// FAULTY: daqkf-opt: --validate: nn-outline changes a result of @main: result 0[0, 0]: {{.+}} became {{.+}}
// FAULTY-NEXT: // nn-outline changes a result
// FAULTY-NEXT: // input 0 (5x2 float32): [0.0, {{.+}}]
// FAULTY-NEXT: builtin.module {
// FAULTY-NEXT: func.func @main(%x: tensor<?x2xf32>) -> tensor<?x3xf32>
// FAULTY: nn.matmul
// FAULTY: nn.elementwise add
// FAULTY-NOT: nn.matmul
// FAULTY-NOT: tanh
// FAULTY: func.return

// Circuits are simulated, but not interpreted.
// HARDWARE: daqkf-opt: remark: lower-rpea-to-hw: not validated: lower-rpea-to-hw gives results that cannot be compared
// HARDWARE-NOT: {{.}}

// NEGATIVE: daqkf-opt: --validate-seed must not be negative
// NEGATIVE-NOT: {{.}}
func.func @main(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = nn.constant {node = "up"} dense<[[1.0, 0.5, -1.0], [0.25, 2.0, 0.0]]> : tensor<2x3xf32>
  %b = nn.constant dense<[0.5, -0.5, 2.0]> : tensor<3xf32>
  %v = nn.constant {node = "down"} dense<[[1.0, 0.0], [0.5, 1.0], [-1.0, 2.0]]> : tensor<3x2xf32>
  %0 = nn.matmul %x, %w {node = "up"} : (tensor<?x2xf32>, tensor<2x3xf32>) -> tensor<?x3xf32>
  %1 = nn.elementwise add %0, %b : (tensor<?x3xf32>, tensor<3xf32>) -> tensor<?x3xf32>
  %2 = nn.elementwise tanh %1 : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %3 = nn.matmul %2, %v {node = "down"} : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  func.return %3 : tensor<?x2xf32>
}
