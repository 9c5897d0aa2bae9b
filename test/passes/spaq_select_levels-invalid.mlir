// RUN: not daqkf-opt %s -p spaq-select-levels 2>&1 | filecheck %s --check-prefix=MISSING
// RUN: not daqkf-opt %s -p 'spaq-select-levels{sqnr=70}' 2>&1 | filecheck %s --check-prefix=BEYOND
// RUN: not daqkf-opt %s -p 'spaq-select-levels{sqnr=8 target=nowhere}' 2>&1 | filecheck %s --check-prefix=TARGET
// RUN: not daqkf-opt %s -p 'spaq-select-levels{sqnr=8 table="%s"}' 2>&1 | filecheck %s --check-prefix=TABLE
// RUN: not daqkf-opt %s -p 'spaq-select-levels{sqnr=8 table="none.json"}' 2>&1 | filecheck %s --check-prefix=NONE

// MISSING: daqkf-opt: spaq-select-levels: the option 'sqnr' is required
// BEYOND: :14:3: spaq.matmul: spaq-select-levels: no level set of the table reaches 70 dB: the best has
// TARGET: daqkf-opt: spaq-select-levels: unknown target 'nowhere'
// TABLE: daqkf-opt: spaq-select-levels: {{.*}}spaq_select_levels-invalid.mlir: the level table is no JSON ({{.*}}); rebuild it: daqkf spaq-profile
// NONE: daqkf-opt: spaq-select-levels: none.json: the level table cannot be read (No such file or directory); rebuild it: daqkf spaq-profile
func.func @layer(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = spaq.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x1xf32>) -> tensor<?x1xf32>
  func.return %0 : tensor<?x1xf32>
}
