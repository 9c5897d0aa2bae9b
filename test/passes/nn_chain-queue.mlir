// RUN: daqkf-opt %s -p 'nn-chain{target="%S/targets/queued.toml"}' --split-input-file | filecheck %s
// RUN: daqkf-opt %s -p 'nn-chain{target="%S/targets/sequences.toml"}' --split-input-file | filecheck %s --check-prefix=ALONE

// A queue has a program for each attention, so that two of the same tokens become one function.
// CHECK: func.func @attend_attend(
// CHECK: spaq.attention
// CHECK: spaq.attention
// CHECK: %b = nn.linear @attend_attend %x mask %m
// CHECK-NEXT: %d = nn.linear @attend %b mask %n
// ALONE: %a = nn.linear @attend %x mask %m
// ALONE-NEXT: %b = nn.linear @attend %a mask %m
func.func @attend(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %w = spaq.constant dense<1.0> : tensor<8x8xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
  %1 = spaq.attention %0, %0, %0 heads 2 tokens 16 scale 0.5 : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  func.return %1 : tensor<?x8xf32>
}
func.func @main(%x: tensor<1x?x8xf32>, %m: tensor<1x1x1x?xf32>, %n: tensor<1x1x1x?xf32>) -> tensor<1x?x8xf32> {
  %a = nn.linear @attend %x mask %m : (tensor<1x?x8xf32>, tensor<1x1x1x?xf32>) -> tensor<1x?x8xf32>
  %b = nn.linear @attend %a mask %m : (tensor<1x?x8xf32>, tensor<1x1x1x?xf32>) -> tensor<1x?x8xf32>
  %d = nn.linear @attend %b mask %n : (tensor<1x?x8xf32>, tensor<1x1x1x?xf32>) -> tensor<1x?x8xf32>
  func.return %d : tensor<1x?x8xf32>
}

// -----

// A kernel in front of it is of the same tokens.
// CHECK: %b = nn.linear @layer_attend %x mask %m
// ALONE: %a = nn.linear @layer %x
// ALONE-NEXT: %b = nn.linear @attend %a mask %m
func.func @layer(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %w = spaq.constant dense<1.0> : tensor<8x8xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
  func.return %0 : tensor<?x8xf32>
}
func.func @attend(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %w = spaq.constant dense<1.0> : tensor<8x8xf32>
  %0 = spaq.matmul %x, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
  %1 = spaq.attention %0, %0, %0 heads 2 tokens 16 scale 0.5 : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  func.return %1 : tensor<?x8xf32>
}
func.func @main(%x: tensor<1x?x8xf32>, %m: tensor<1x1x1x?xf32>) -> tensor<1x?x8xf32> {
  %a = nn.linear @layer %x : (tensor<1x?x8xf32>) -> tensor<1x?x8xf32>
  %b = nn.linear @attend %a mask %m : (tensor<1x?x8xf32>, tensor<1x1x1x?xf32>) -> tensor<1x?x8xf32>
  func.return %b : tensor<1x?x8xf32>
}
