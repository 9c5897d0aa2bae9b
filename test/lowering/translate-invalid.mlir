// RUN: not daqkf-translate %s 2>&1 | filecheck %s --check-prefix=TO
// RUN: not daqkf-translate %s --to verilog 2>&1 | filecheck %s --check-prefix=CIRCUIT
// RUN: not daqkf-translate %s --to program 2>&1 | filecheck %s --check-prefix=PROGRAM
// RUN: not daqkf-translate %s --to split-verilog 2>&1 | filecheck %s --check-prefix=FOLDER
// RUN: not daqkf-translate nowhere.mlir --to mlir 2>&1 | filecheck %s --check-prefix=FILE
// RUN: python -c "open('%t.txt', 'w').write('x')"
// RUN: not daqkf-translate --import-npz %t.txt 2>&1 | filecheck %s --check-prefix=NPZ
// RUN: not daqkf-translate %s --to c-header 2>&1 | filecheck %s --check-prefix=HEADER

// TO: daqkf-translate: say what to translate to: --to {verilog,split-verilog,program,listing,mlir,c-header,python-constants,register-table,c-driver}
// CIRCUIT: daqkf-translate: the module has no hw.module; run lower-rpea-to-hw first
// PROGRAM: daqkf-translate: expected one rpea.program in the module, not 0
// FOLDER: daqkf-translate: --to split-verilog needs a folder: -o FOLDER
// FILE: daqkf-translate: nowhere.mlir: No such file or directory
// HEADER: daqkf-translate: --to c-header is the same for all arrays, and takes no input
// NPZ: daqkf-translate: {{.*}}.txt: not readable as a NumPy archive (no archive)
func.func @nothing() {
  func.return
}
