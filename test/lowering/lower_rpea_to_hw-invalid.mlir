// RUN: daqkf-opt %s --split-input-file --verify-diagnostics -p lower-rpea-to-hw | filecheck %s

// CHECK: lower-rpea-to-hw: expected one rpea.array in the module, not 0
func.func @nothing() {
  func.return
}
