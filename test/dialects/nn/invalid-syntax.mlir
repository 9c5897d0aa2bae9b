// RUN: daqkf-opt %s --split-input-file --parsing-diagnostics | filecheck %s

// An unknown function is refused where it stands.
// CHECK: %y = nn.elementwise cbrt %x
// CHECK-NEXT: ^^^^
// CHECK-NEXT: Expected `abs`, `add`, `and`,
func.func @f(%x: tensor<2xf32>) {
  %y = nn.elementwise cbrt %x : (tensor<2xf32>) -> tensor<2xf32>
  func.return
}

// -----

// CHECK: %z = nn.reduce median %x
// CHECK-NEXT: ^^^^^^
// CHECK-NEXT: Expected `mean`, `sum`, `max`, `min`, or `prod`
func.func @f(%x: tensor<2x2xf32>) {
  %z = nn.reduce median %x {axes = array<i64: 0>} : (tensor<2x2xf32>) -> tensor<2xf32>
  func.return
}

// -----

// CHECK: nn.operator: expected hexadecimal digits, as in "0x0a3f"
func.func @f(%x: tensor<2xf32>) {
  %y = nn.operator "Elu" %x {model = #nn.model<"0x1g">} : (tensor<2xf32>) -> tensor<2xf32>
  func.return
}
