// RUN: daqkf-opt %s -p 'nn-chain{target=tiny}' --split-input-file | filecheck %s
// RUN: daqkf-opt %s -p nn-chain --split-input-file | filecheck %s --check-prefix=GENERIC

// The layers stand behind one another in one kernel.
// CHECK: func.func @ffn.up_down(%{{.*}}: tensor<?x2xf32>) -> tensor<?x2xf32> {
// CHECK: %[[UP:.*]] = spaq.matmul %{{.*}} -> tensor<?x3xf32>
// CHECK-NEXT: %[[RELU:.*]] = spaq.activation "relu" %[[UP]]
// CHECK: %[[DOWN:.*]] = spaq.matmul %[[RELU]]
// CHECK-NEXT: func.return %[[DOWN]]
// CHECK-NEXT: }
// CHECK-NEXT: func.func @main
// CHECK-NEXT: %y = nn.linear @ffn.up_down %x {node = "ffn.up_down"} : (tensor<4x?x2xf32>) -> tensor<4x?x2xf32>
// CHECK-NEXT: func.return %y
func.func @ffn.up(%x: tensor<?x2xf32>) -> tensor<?x3xf32> {
  %w = spaq.constant dense<1.0> : tensor<2x3xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x3xf32>) -> tensor<?x3xf32>
  %1 = spaq.activation "relu" %0 : tensor<?x3xf32> -> tensor<?x3xf32>
  func.return %1 : tensor<?x3xf32>
}
func.func @ffn.down(%x: tensor<?x3xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<2.0> : tensor<3x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  func.return %0 : tensor<?x2xf32>
}
func.func @main(%x: tensor<4x?x2xf32>) -> tensor<4x?x2xf32> {
  %h = nn.linear @ffn.up %x : (tensor<4x?x2xf32>) -> tensor<4x?x3xf32>
  %y = nn.linear @ffn.down %h : (tensor<4x?x3xf32>) -> tensor<4x?x2xf32>
  func.return %y : tensor<4x?x2xf32>
}

// -----

// What is read twice, by something else or given back ends a chain.
// CHECK-LABEL: @read_elsewhere
// CHECK: %a = nn.linear @k %x
// CHECK-NEXT: %b = nn.linear @k %a
// CHECK-NEXT: %c = nn.linear @k %a
// CHECK-NEXT: %d = nn.elementwise neg %c
// CHECK-NEXT: %e = nn.linear @k_k %d
func.func @k(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<2.0> : tensor<2x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  func.return %0 : tensor<?x2xf32>
}
func.func @main(%x: tensor<?x2xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) attributes {of = @read_elsewhere} {
  %a = nn.linear @k %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %b = nn.linear @k %a : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %c = nn.linear @k %a : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %d = nn.elementwise neg %c : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %f = nn.linear @k %d : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %e = nn.linear @k %f : (tensor<?x2xf32>) -> tensor<?x2xf32>
  func.return %b, %e : tensor<?x2xf32>, tensor<?x2xf32>
}

// -----

// It is the 33 results between the kernels that the target has no room for; 33 more inputs it has.
// CHECK-LABEL: @limits
// CHECK: %a = nn.linear @narrow_widen %x
// CHECK-NEXT: %b = nn.linear @narrow %a
// GENERIC-LABEL: @limits
// GENERIC: nn.linear @narrow_widen_narrow %x
func.func @narrow(%x: tensor<?x33xf32>) -> tensor<?x2xf32> {
  %w = spaq.constant dense<1.0> : tensor<33x2xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x33xf32>, tensor<33x2xf32>) -> tensor<?x2xf32>
  func.return %0 : tensor<?x2xf32>
}
func.func @widen(%x: tensor<?x2xf32>) -> tensor<?x33xf32> {
  %w = spaq.constant dense<2.0> : tensor<2x33xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x33xf32>) -> tensor<?x33xf32>
  func.return %0 : tensor<?x33xf32>
}
func.func @main(%x: tensor<?x33xf32>) -> tensor<?x2xf32> attributes {of = @limits} {
  %0 = nn.linear @narrow %x : (tensor<?x33xf32>) -> tensor<?x2xf32>
  %a = nn.linear @widen %0 : (tensor<?x2xf32>) -> tensor<?x33xf32>
  %b = nn.linear @narrow %a : (tensor<?x33xf32>) -> tensor<?x2xf32>
  func.return %b : tensor<?x2xf32>
}
