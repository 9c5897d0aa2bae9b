// RUN: %roundtrip | filecheck %s

// CHECK-LABEL: func.func @up(
func.func @up(%x: tensor<?x2xf32>) -> tensor<?x3xf32> {
  %w = spaq.constant dense<1.0> : tensor<2x3xf32>
  %y = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x3xf32>) -> tensor<?x3xf32>
  func.return %y : tensor<?x3xf32>
}

// CHECK-LABEL: func.func @constants
func.func @constants() {
  // CHECK-NEXT: %a = nn.constant {node = "layer/weight"} dense<[5.000000e-01, 1.000000e+00]> : tensor<2xf32>
  %a = nn.constant {node = "layer/weight"} dense<[0.5, 1.0]> : tensor<2xf32>
  // Any rank, and what is not finite.
  // CHECK: %b = nn.constant dense<[0xff800000, 0x7fc00000, 1.000000e+00]> : tensor<3xf32>
  %b = nn.constant dense<[0xFF800000, 0x7FC00000, 0x3F800000]> : tensor<3xf32>
  // CHECK: %c = nn.constant dense<> : tensor<0xi64>
  %c = nn.constant dense<[]> : tensor<0xi64>
  // CHECK: %d = nn.constant dense<true> : tensor<1x1x2xi1>
  %d = nn.constant dense<true> : tensor<1x1x2xi1>
  // CHECK: %e = nn.constant dense<255> : tensor<1xui8>
  %e = nn.constant dense<255> : tensor<1xui8>
  func.return
}

// CHECK-LABEL: func.func @arithmetic
func.func @arithmetic(%x: tensor<?x?x2xf32>, %b: tensor<2xf32>, %m: tensor<?x?x2xi1>, %u: tensor<*xf32>) {
  // CHECK-NEXT: %0 = nn.elementwise gelu %x {node = "act"} : (tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  %0 = nn.elementwise gelu %x {node = "act"} : (tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  // CHECK-NEXT: %1 = nn.elementwise add %0, %b : (tensor<?x?x2xf32>, tensor<2xf32>) -> tensor<?x?x2xf32>
  %1 = nn.elementwise add %0, %b : (tensor<?x?x2xf32>, tensor<2xf32>) -> tensor<?x?x2xf32>
  // CHECK-NEXT: %2 = nn.elementwise where %m, %1, %b : (tensor<?x?x2xi1>, tensor<?x?x2xf32>, tensor<2xf32>) -> tensor<?x?x2xf32>
  %2 = nn.elementwise where %m, %1, %b : (tensor<?x?x2xi1>, tensor<?x?x2xf32>, tensor<2xf32>) -> tensor<?x?x2xf32>
  // CHECK-NEXT: %3 = nn.cast %m : (tensor<?x?x2xi1>) -> tensor<?x?x2xf32>
  %3 = nn.cast %m : (tensor<?x?x2xi1>) -> tensor<?x?x2xf32>
  // CHECK-NEXT: %4 = nn.matmul %2, %b {node = "scores"} : (tensor<?x?x2xf32>, tensor<2xf32>) -> tensor<?x?xf32>
  %4 = nn.matmul %2, %b {node = "scores"} : (tensor<?x?x2xf32>, tensor<2xf32>) -> tensor<?x?xf32>
  // CHECK-NEXT: %5 = nn.linear @up %2 {node = "up"} : (tensor<?x?x2xf32>) -> tensor<?x?x3xf32>
  %5 = nn.linear @up %2 {node = "up"} : (tensor<?x?x2xf32>) -> tensor<?x?x3xf32>
  // CHECK-NEXT: %6 = nn.product %x, %u {lhs_step = 5.000000e-01 : f64, rhs_step = 2.500000e-01 : f64, result_step = 1.000000e+00 : f64, multiplier = 32768 : i64, shift = 17 : i64} : (tensor<?x?x2xf32>, tensor<*xf32>) -> tensor<?x?x?xf32>
  %6 = nn.product %x, %u {lhs_step = 0.5 : f64, rhs_step = 0.25 : f64, result_step = 1.0 : f64, multiplier = 32768 : i64, shift = 17 : i64}
    : (tensor<?x?x2xf32>, tensor<*xf32>) -> tensor<?x?x?xf32>
  // CHECK-NEXT: %7 = nn.layer_norm %x, %b, %b {epsilon = 1.000000e-12 : f64} : (tensor<?x?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x?x2xf32>
  %7 = nn.layer_norm %x, %b, %b {epsilon = 1.0e-12 : f64} : (tensor<?x?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x?x2xf32>
  // CHECK-NEXT: %8 = nn.softmax %7 {axis = -1 : i64} : (tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  %8 = nn.softmax %7 {axis = -1 : i64} : (tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  // CHECK-NEXT: %9 = nn.reduce mean %8 {axes = array<i64: 0, -1>, keep} : (tensor<?x?x2xf32>) -> tensor<1x?x1xf32>
  %9 = nn.reduce mean %8 {axes = array<i64: 0, -1>, keep} : (tensor<?x?x2xf32>) -> tensor<1x?x1xf32>
  // CHECK-NEXT: %10 = nn.reduce max %u {axes = array<i64: 3>} : (tensor<*xf32>) -> tensor<*xf32>
  %10 = nn.reduce max %u {axes = array<i64: 3>} : (tensor<*xf32>) -> tensor<*xf32>
  func.return
}

// CHECK-LABEL: func.func @quantised
func.func @quantised(%x: tensor<?x2xf32>, %s: tensor<2xf32>, %z: tensor<2xui8>) {
  // CHECK-NEXT: %q = nn.quantize %x, %s, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xui8>) -> tensor<?x2xui8>
  %q = nn.quantize %x, %s, %z {axis = 1 : i64} : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xui8>) -> tensor<?x2xui8>
  // CHECK-NEXT: %r = nn.dequantize %q, %s, %z {axis = -1 : i64} : (tensor<?x2xui8>, tensor<2xf32>, tensor<2xui8>) -> tensor<?x2xf32>
  %r = nn.dequantize %q, %s, %z {axis = -1 : i64} : (tensor<?x2xui8>, tensor<2xf32>, tensor<2xui8>) -> tensor<?x2xf32>
  func.return
}

// CHECK-LABEL: func.func @shapes
func.func @shapes(%x: tensor<?x4xf32>, %i: tensor<?xi64>, %one: tensor<1xi64>) {
  // CHECK-NEXT: %0 = nn.shape %x : (tensor<?x4xf32>) -> tensor<2xi64>
  %0 = nn.shape %x : (tensor<?x4xf32>) -> tensor<2xi64>
  // CHECK-NEXT: %1 = nn.reshape %x, %0 : (tensor<?x4xf32>, tensor<2xi64>) -> tensor<?x?xf32>
  %1 = nn.reshape %x, %0 : (tensor<?x4xf32>, tensor<2xi64>) -> tensor<?x?xf32>
  // CHECK-NEXT: %2 = nn.expand %x, %0 : (tensor<?x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
  %2 = nn.expand %x, %0 : (tensor<?x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
  // CHECK-NEXT: %3 = nn.transpose %x {axes = array<i64: 1, 0>} : (tensor<?x4xf32>) -> tensor<4x?xf32>
  %3 = nn.transpose %x {axes = array<i64: 1, 0>} : (tensor<?x4xf32>) -> tensor<4x?xf32>
  // CHECK-NEXT: %4 = nn.unsqueeze %x {axes = array<i64: 0, 3>} : (tensor<?x4xf32>) -> tensor<1x?x4x1xf32>
  %4 = nn.unsqueeze %x {axes = array<i64: 0, 3>} : (tensor<?x4xf32>) -> tensor<1x?x4x1xf32>
  // CHECK-NEXT: %5 = nn.squeeze %4 {axes = array<i64: -1>} : (tensor<1x?x4x1xf32>) -> tensor<1x?x4xf32>
  %5 = nn.squeeze %4 {axes = array<i64: -1>} : (tensor<1x?x4x1xf32>) -> tensor<1x?x4xf32>
  // CHECK-NEXT: %6 = nn.gather %x, %i {axis = 0 : i64} : (tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  %6 = nn.gather %x, %i {axis = 0 : i64} : (tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  // CHECK-NEXT: %7 = nn.concat %x, %6 {axis = 0 : i64} : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %7 = nn.concat %x, %6 {axis = 0 : i64} : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  // CHECK-NEXT: %8 = nn.slice %x, %one, %one {axes = array<i64: 1>, steps = array<i64: -1>} : (tensor<?x4xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xf32>
  %8 = nn.slice %x, %one, %one {axes = array<i64: 1>, steps = array<i64: -1>}
    : (tensor<?x4xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xf32>
  func.return
}

// CHECK-LABEL: func.func @windows
func.func @windows(%x: tensor<?x4x8xf32>) {
  // CHECK-NEXT: %0 = nn.im2col %x {kernel = array<i64: 3>, strides = array<i64: 2>, dilations = array<i64: 1>, pads = array<i64: 1, 0>, fill = 0.000000e+00 : f64} : (tensor<?x4x8xf32>) -> tensor<?x4x12xf32>
  %0 = nn.im2col %x {kernel = array<i64: 3>, strides = array<i64: 2>, dilations = array<i64: 1>,
      pads = array<i64: 1, 0>, fill = 0.0 : f64} : (tensor<?x4x8xf32>) -> tensor<?x4x12xf32>
  // CHECK-NEXT: %1 = nn.col2im %0 {kernel = array<i64: 3>, strides = array<i64: 2>, dilations = array<i64: 1>, pads = array<i64: 1, 0>} : (tensor<?x4x12xf32>) -> tensor<?x4x8xf32>
  %1 = nn.col2im %0 {kernel = array<i64: 3>, strides = array<i64: 2>, dilations = array<i64: 1>,
      pads = array<i64: 1, 0>} : (tensor<?x4x12xf32>) -> tensor<?x4x8xf32>
  func.return
}

// CHECK-LABEL: func.func @attention
func.func @attention(
    %q: tensor<?x1x?x4xf32>, %k: tensor<?x1x4x?xf32>, %v: tensor<?x1x?x4xf32>, %m: tensor<?x1x1x?xf32>
) -> tensor<?x1x?x4xf32> {
  // CHECK-NEXT: %0 = nn.attention %q, %k, %v mask %m {levels = 15 : i64, scale = 5.000000e-01 : f64, query_step = 5.000000e-01 : f64, key_steps = array<f64: 5.000000e-01>, score_step = 1.000000e+00 : f64, score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>, share_steps = array<f64: 5.000000e-01>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>, value_steps = array<f64: 5.000000e-01>, result_steps = array<f64: 5.000000e-01>, result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<1> : tensor<256xi8>} : (tensor<?x1x?x4xf32>, tensor<?x1x4x?xf32>, tensor<?x1x?x4xf32>, tensor<?x1x1x?xf32>) -> tensor<?x1x?x4xf32>
  %0 = nn.attention %q, %k, %v mask %m {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<?x1x?x4xf32>, tensor<?x1x4x?xf32>, tensor<?x1x?x4xf32>, tensor<?x1x1x?xf32>) -> tensor<?x1x?x4xf32>
  // CHECK-NEXT: %1 = nn.attention %0, %k, %v {levels
  %1 = nn.attention %0, %k, %v {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<1> : tensor<256xi8>}
    : (tensor<?x1x?x4xf32>, tensor<?x1x4x?xf32>, tensor<?x1x?x4xf32>) -> tensor<?x1x?x4xf32>
  func.return %1 : tensor<?x1x?x4xf32>
}

// CHECK-LABEL: func.func @causal
// CHECK-NEXT: %y, %keys, %values = nn.causal_attention %q, %k, %v past %k, %v {levels = 15 : i64, scale = 5.000000e-01 : f64, query_step = 5.000000e-01 : f64, key_steps = array<f64: 5.000000e-01>, {{.*}} table = dense<0> : tensor<256xi8>} : (tensor<?x3x4xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>) -> (tensor<?x12xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>)
func.func @causal(%q: tensor<?x3x4xf32>, %k: tensor<?x1x4xf32>, %v: tensor<?x1x4xf32>) {
  %y, %keys, %values = nn.causal_attention %q, %k, %v past %k, %v {levels = 15 : i64, scale = 0.5 : f64,
      query_step = 0.5 : f64, key_steps = array<f64: 0.5>, score_step = 1.0 : f64,
      score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
      share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>, share_shifts = array<i64: 7>,
      value_steps = array<f64: 0.5>, result_steps = array<f64: 0.5>,
      result_multipliers = array<i64: 5>, result_shifts = array<i64: 8>, table = dense<0> : tensor<256xi8>}
    : (tensor<?x3x4xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>)
    -> (tensor<?x12xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>)
  func.return
}

// CHECK-LABEL: func.func @sequences
func.func @sequences(%x: tensor<?x?x2xf32>, %m: tensor<?x1x1x?xf32>) -> tensor<?x?x3xf32> {
  // CHECK-NEXT: %y = nn.linear @up %x mask %m : (tensor<?x?x2xf32>, tensor<?x1x1x?xf32>) -> tensor<?x?x3xf32>
  %y = nn.linear @up %x mask %m : (tensor<?x?x2xf32>, tensor<?x1x1x?xf32>) -> tensor<?x?x3xf32>
  func.return %y : tensor<?x?x3xf32>
}

// Operators that stay what they are in the file, and values that nn computes nothing with.
// CHECK-LABEL: func.func @operators
// CHECK-SAME: %s: !nn.onnx<"seq(optional(tensor(float)))">, %m: !nn.onnx<"map(int64,tensor(string))">
func.func @operators(%x: tensor<?x4xf32>, %h: tensor<2x?x!nn.onnx<"float16">>, %s: !nn.onnx<"seq(optional(tensor(float)))">, %m: !nn.onnx<"map(int64,tensor(string))">, %u: tensor<*x!nn.onnx<"string">>, %k: tensor<1xi64>) -> tensor<2xf32> {
  // CHECK-NEXT: %y = nn.operator "Elu" %x {model = #nn.model<"0x080a12003a210a0d0a02693012026f302203456c7512046e6f64655a040a02693062040a026f3042040a001014">} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = nn.operator "Elu" %x {model = #nn.model<"0x080a12003a210a0d0a02693012026f302203456c7512046e6f64655a040a02693062040a026f3042040a001014">} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  // CHECK-NEXT: %z = nn.operator "Clip" %h, %h {node = "clip", model = #nn.model<"0x080a12003a2e0a140a0269300a000a02693112026f302204436c697012046e6f64655a040a0269305a040a02693162040a026f3042040a001014">} : (tensor<2x?x!nn.onnx<"float16">>, tensor<2x?x!nn.onnx<"float16">>) -> tensor<2x?x!nn.onnx<"float16">>
  %z = nn.operator "Clip" %h, %h {node = "clip", model = #nn.model<"0x080a12003a2e0a140a0269300a000a02693112026f302204436c697012046e6f64655a040a0269305a040a02693162040a026f3042040a001014">} : (tensor<2x?x!nn.onnx<"float16">>, tensor<2x?x!nn.onnx<"float16">>) -> tensor<2x?x!nn.onnx<"float16">>
  // CHECK-NEXT: %v, %i = nn.operator "TopK" %x, %k {model = #nn.model<"0x080a12003a360a160a0269300a02693112026f3012026f312204546f704b12046e6f64655a040a0269305a040a02693162040a026f3062040a026f3142040a001014">} : (tensor<?x4xf32>, tensor<1xi64>) -> (tensor<?x?xf32>, tensor<?x?xi64>)
  %v, %i = nn.operator "TopK" %x, %k {model = #nn.model<"0x080a12003a360a160a0269300a02693112026f3012026f312204546f704b12046e6f64655a040a0269305a040a02693162040a026f3062040a026f3142040a001014">} : (tensor<?x4xf32>, tensor<1xi64>) -> (tensor<?x?xf32>, tensor<?x?xi64>)
  // CHECK-NEXT: %q = nn.operator "SequenceConstruct" %v {model = #nn.model<"0x080a12003a2f0a1b0a02693012026f30221153657175656e6365436f6e73747275637412046e6f64655a040a02693062040a026f3042040a001014">} : (tensor<?x?xf32>) -> !nn.onnx<"seq(tensor(float))">
  %q = nn.operator "SequenceConstruct" %v {model = #nn.model<"0x080A12003A2F0A1B0A02693012026F30221153657175656E6365436F6E73747275637412046E6F64655A040A02693062040A026F3042040A001014">} : (tensor<?x?xf32>) -> !nn.onnx<"seq(tensor(float))">
  // CHECK-NEXT: %r = nn.operator "RandomNormal" {model = #nn.model<"0x080a12003a2e0a2012026f30220c52616e646f6d4e6f726d616c2a0c0a0573686170654002a0010712046e6f646562040a026f3042040a001014">} : () -> tensor<2xf32>
  %r = nn.operator "RandomNormal" {model = #nn.model<"0x080a12003a2e0a2012026f30220c52616e646f6d4e6f726d616c2a0c0a0573686170654002a0010712046e6f646562040a026f3042040a001014">} : () -> tensor<2xf32>
  func.return %r : tensor<2xf32>
}

// CHECK-LABEL: func.func @decoders
func.func @decoders(
    %x: tensor<?x8xf32>, %g: tensor<8xf32>, %q: tensor<?x4x2xf32>, %p: tensor<?xi64>, %k: tensor<?x2x2xf32>,
    %u: tensor<*xf32>
) {
  // CHECK-NEXT: %0 = nn.rms_norm %x, %g {epsilon = 1.000000e-05 : f64} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %0 = nn.rms_norm %x, %g {epsilon = 1.0e-5 : f64} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  // CHECK-NEXT: %1 = nn.rotary neighbours %q, %p {base = 1.000000e+04 : f64} : (tensor<?x4x2xf32>, tensor<?xi64>) -> tensor<?x4x2xf32>
  %1 = nn.rotary neighbours %q, %p {base = 10000.0 : f64} : (tensor<?x4x2xf32>, tensor<?xi64>) -> tensor<?x4x2xf32>
  // CHECK-NEXT: %2 = nn.rotary halves %1, %p {base = 1.000000e+04 : f64, features = 2 : i64, factors = array<f64: 8.000000e+00>} : (tensor<?x4x2xf32>, tensor<?xi64>) -> tensor<?x4x2xf32>
  %2 = nn.rotary halves %1, %p {base = 10000.0 : f64, features = 2 : i64, factors = array<f64: 8.0>}
    : (tensor<?x4x2xf32>, tensor<?xi64>) -> tensor<?x4x2xf32>
  // CHECK-NEXT: %3, %4, %5 = nn.cached_attention %2, %k, %k past %k, %k {scale = 5.000000e-01 : f64} : (tensor<?x4x2xf32>, tensor<?x2x2xf32>, tensor<?x2x2xf32>, tensor<?x2x2xf32>, tensor<?x2x2xf32>) -> (tensor<?x8xf32>, tensor<?x2x2xf32>, tensor<?x2x2xf32>)
  %3, %4, %5 = nn.cached_attention %2, %k, %k past %k, %k {scale = 0.5 : f64}
    : (tensor<?x4x2xf32>, tensor<?x2x2xf32>, tensor<?x2x2xf32>, tensor<?x2x2xf32>, tensor<?x2x2xf32>)
    -> (tensor<?x8xf32>, tensor<?x2x2xf32>, tensor<?x2x2xf32>)
  // CHECK-NEXT: %6, %7, %8 = nn.cached_attention %u, %u, %u past %u, %u
  %6, %7, %8 = nn.cached_attention %u, %u, %u past %u, %u {scale = 0.5 : f64}
    : (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>)
    -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>)
  func.return
}
