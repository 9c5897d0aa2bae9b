// RUN: daqkf-opt %s -p dfke-fuse,dfke-chain,lower-dfke-to-rpea,canonicalize 2>&1 >/dev/null | filecheck %s
// RUN: daqkf-opt %s -p spaq-analyze 2>&1 >/dev/null | filecheck %s --check-prefix=NONE --allow-empty

// A pass whose level is not there says so; it is no error.
// CHECK: daqkf-opt: remark: dfke-fuse: nothing to do, as the module has no integer operations of spaq
// CHECK-NEXT: daqkf-opt: remark: dfke-chain: nothing to do, as the module has no operations of dfke
// CHECK-NEXT: daqkf-opt: remark: lower-dfke-to-rpea: nothing to do, as the module has no operations of dfke
// CHECK-NOT: remark
// NONE-NOT: remark
func.func @layer(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = spaq.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x1xf32>) -> tensor<?x1xf32>
  func.return %0 : tensor<?x1xf32>
}
