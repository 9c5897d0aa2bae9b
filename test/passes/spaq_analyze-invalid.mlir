// RUN: not daqkf-opt %s -p 'spaq-analyze{tile=0}' 2>&1 | filecheck %s --check-prefix=TILE
// RUN: not daqkf-opt %s -p 'spaq-analyze{tile=2.5}' 2>&1 | filecheck %s --check-prefix=TYPE
// RUN: not daqkf-opt %s -p 'spaq-analyze{json="%s/facts.json"}' 2>&1 | filecheck %s --check-prefix=FOLDER
// RUN: rm -rf %t && mkdir %t && not daqkf-opt %s -p 'spaq-analyze{json="%t"}' 2>&1 | filecheck %s --check-prefix=FILE

// TILE: daqkf-opt: spaq-analyze: tile must be above 0, not 0
// TILE-NOT: {{.}}
// TYPE: daqkf-opt: spaq-analyze: the option 'tile' is int, not 2.5
// TYPE-NOT: {{.}}
// FOLDER: daqkf-opt: spaq-analyze: {{.*}}spaq_analyze-invalid.mlir/facts.json: {{File exists|Not a directory}}
// FOLDER-NOT: {{.}}
// FILE: daqkf-opt: spaq-analyze: {{.*}}: Is a directory
// FILE-NOT: {{.}}
func.func @layer(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %w = spaq.constant dense<1.0> : tensor<1x1xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x1xf32>, tensor<1x1xf32>) -> tensor<?x1xf32>
  func.return %0 : tensor<?x1xf32>
}
