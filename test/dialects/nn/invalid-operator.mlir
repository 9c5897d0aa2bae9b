// RUN: %invalid | filecheck %s

// CHECK: the model is of Elu, not of Relu
func.func @f(%x: tensor<2xf32>, %i: i32) {
  %y = nn.operator "Relu" %x {model = #nn.model<"0x080a12003a210a0d0a02693012026f302203456c7512046e6f64655a040a02693062040a026f3042040a001014">} : (tensor<2xf32>) -> tensor<2xf32>
  func.return
}

// -----

// CHECK: Elu has 1 operands and 1 results, not 2 and 1
func.func @f(%x: tensor<2xf32>, %i: i32) {
  %y = nn.operator "Elu" %x, %x {model = #nn.model<"0x080a12003a210a0d0a02693012026f302203456c7512046e6f64655a040a02693062040a026f3042040a001014">} : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  func.return
}

// -----

// CHECK: these bytes are no model of ONNX
func.func @f(%x: tensor<2xf32>, %i: i32) {
  %y = nn.operator "Elu" %x {model = #nn.model<"0xff">} : (tensor<2xf32>) -> tensor<2xf32>
  func.return
}

// -----

// CHECK: a model is of one node, and of no initialisers
func.func @f(%x: tensor<2xf32>, %i: i32) {
  %y = nn.operator "Elu" %x {model = #nn.model<"0x080a12003a300a0d0a02693012026f302203456c750a0d0a02693012026f312203456c7512046e6f64655a040a02693062040a026f3042040a001014">} : (tensor<2xf32>) -> tensor<2xf32>
  func.return
}

// -----

// CHECK: Constant has a tensor in another file
func.func @f(%x: tensor<2xf32>, %i: i32) {
  %y = nn.operator "Constant" {model = #nn.model<"0x080a12003a4a0a3c12026f302208436f6e7374616e742a2c0a0576616c75652a20080210014201746a150a086c6f636174696f6e12092e2e2f7365637265747001a0010412046e6f646562040a026f3042040a001014">} : () -> tensor<2xf32>
  func.return
}

// -----

// CHECK: a tensor or another value of ONNX is expected, not i32
func.func @f(%x: tensor<2xf32>, %i: i32) {
  %y = nn.operator "Elu" %i {model = #nn.model<"0x080a12003a210a0d0a02693012026f302203456c7512046e6f64655a040a02693062040a026f3042040a001014">} : (i32) -> tensor<2xf32>
  func.return
}

// -----

// CHECK: !nn.onnx<"float16"> is of elements; a tensor of them is expected
func.func @f(%x: tensor<2xf32>, %i: i32) {
  %y = nn.operator "Elu" %x {model = #nn.model<"0x080a12003a210a0d0a02693012026f302203456c7512046e6f64655a040a02693062040a026f3042040a001014">} : (tensor<2xf32>) -> !nn.onnx<"float16">
  func.return
}

// -----

// CHECK: !nn.onnx<"seq(tensor(float))"> is no type of elements
func.func @f(%x: tensor<2xf32>, %i: i32) {
  %y = nn.operator "Elu" %x {model = #nn.model<"0x080a12003a210a0d0a02693012026f302203456c7512046e6f64655a040a02693062040a026f3042040a001014">} : (tensor<2xf32>) -> tensor<2x!nn.onnx<"seq(tensor(float))">>
  func.return
}

// -----

// CHECK: no array storage for elements of type f16
func.func @f(%x: tensor<2xf32>, %i: i32) {
  %y = nn.operator "Elu" %x {model = #nn.model<"0x080a12003a210a0d0a02693012026f302203456c7512046e6f64655a040a02693062040a026f3042040a001014">} : (tensor<2xf32>) -> tensor<2xf16>
  func.return
}

// -----

// CHECK: 'seq(tensor(float)' is no type of ONNX
func.func @f(%x: tensor<2xf32>, %i: i32) {
  %y = nn.operator "Elu" %x {model = #nn.model<"0x080a12003a210a0d0a02693012026f302203456c7512046e6f64655a040a02693062040a026f3042040a001014">} : (tensor<2xf32>) -> !nn.onnx<"seq(tensor(float)">
  func.return
}
