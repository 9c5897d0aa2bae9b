// RUN: %invalid | filecheck %s

// CHECK: a constant must be finite
%w = spaq.constant dense<"0x0000C07F0000803F0000803F0000803F"> : tensor<2x2xf32>

// -----

// CHECK: scales belong to an i8 matrix, one for each output channel
%w = spaq.constant scales dense<1.0> : tensor<3xf32> dense<1> : tensor<2x2xi8>

// -----

// CHECK: scales must be finite, above 0
%w = spaq.constant scales dense<0.0> : tensor<2xf32> dense<1> : tensor<2x2xi8>

// -----

// CHECK: 4 non-zeros, but the encoding states 3
%w = spaq.constant dense<1> : tensor<2x2xi8, #spaq.encoding<
  #spaq.sparsity<nonzeros = 3, column_nonzeros = 2, pattern = "dense">>>

// -----

// CHECK: the fullest channel has 2 non-zeros, but the encoding states 1
%w = spaq.constant dense<1> : tensor<2x2xi8, #spaq.encoding<
  #spaq.sparsity<nonzeros = 4, column_nonzeros = 1, pattern = "dense">>>

// -----

// CHECK: the zeros do not follow the stated pattern 'dense'
%w = spaq.constant dense<[[1, 0]]> : tensor<1x2xi8, #spaq.encoding<
  #spaq.sparsity<nonzeros = 1, column_nonzeros = 1, pattern = "dense">>>

// -----

// CHECK: the zeros do not follow the stated pattern 'block:2x2'
%w = spaq.constant dense<[[1, 0, 0], [1, 0, 0]]> : tensor<2x3xi8, #spaq.encoding<
  #spaq.sparsity<nonzeros = 2, column_nonzeros = 2, pattern = "block:2x2">>>

// -----

// CHECK: the zeros do not follow the stated pattern 'banded:0'
%w = spaq.constant dense<[[1, 1, 0], [0, 1, 0], [0, 0, 0]]> : tensor<3x3xi8, #spaq.encoding<
  #spaq.sparsity<nonzeros = 3, column_nonzeros = 2, pattern = "banded:0">>>

// -----

// CHECK: the zeros do not follow the stated pattern '1:4'
%w = spaq.constant dense<[[1], [1], [0], [0]]> : tensor<4x1xi8, #spaq.encoding<
  #spaq.sparsity<nonzeros = 2, column_nonzeros = 2, pattern = "1:4">>>

// -----

// CHECK: a tile has an extent above 0, not 0
"test.op"() {a = #spaq.analysis<tile = 0, dynamic_range = 0.0 : f64, entropy = 0.0 : f64, channel_nonzeros = dense<1> : tensor<1xi32>, tile_nonzeros = dense<1> : tensor<1x1xi32>>} : () -> ()

// -----

// CHECK: entropy must be finite and not below 0
"test.op"() {a = #spaq.analysis<tile = 1, dynamic_range = 0.0 : f64, entropy = -1.0 : f64, channel_nonzeros = dense<1> : tensor<1xi32>, tile_nonzeros = dense<1> : tensor<1x1xi32>>} : () -> ()

// -----

// CHECK: channel_nonzeros must be counts of i32
"test.op"() {a = #spaq.analysis<tile = 1, dynamic_range = 0.0 : f64, entropy = 1.0 : f64, channel_nonzeros = dense<1> : tensor<1xi8>, tile_nonzeros = dense<1> : tensor<1x1xi32>>} : () -> ()

// -----

// CHECK: spaq.analysis belongs to a matrix and is a #spaq.analysis
%w = spaq.constant {spaq.analysis = 1 : i32} dense<1> : tensor<2x2xi8>

// -----

// CHECK: channel_nonzeros has the shape [1], not [2]
%w = spaq.constant {spaq.analysis = #spaq.analysis<tile = 2, dynamic_range = 0.0 : f64,
  entropy = 0.0 : f64, channel_nonzeros = dense<2> : tensor<1xi32>,
  tile_nonzeros = dense<4> : tensor<1x1xi32>>} dense<1> : tensor<2x2xi8>

// -----

// CHECK: channel_nonzeros[1] is 1, but there are 2 non-zeros
%w = spaq.constant {spaq.analysis = #spaq.analysis<tile = 2, dynamic_range = 0.0 : f64,
  entropy = 0.0 : f64, channel_nonzeros = dense<[2, 1]> : tensor<2xi32>,
  tile_nonzeros = dense<4> : tensor<1x1xi32>>} dense<1> : tensor<2x2xi8>

// -----

// CHECK: tile_nonzeros[1, 0] is 3, but there are 2 non-zeros
%w = spaq.constant {spaq.analysis = #spaq.analysis<tile = 2, dynamic_range = 0.0 : f64,
  entropy = 0.0 : f64, channel_nonzeros = dense<3> : tensor<2xi32>,
  tile_nonzeros = dense<[[4], [3]]> : tensor<2x1xi32>>} dense<1> : tensor<3x2xi8>

// -----

// CHECK: a weight of magnitude 9 is beyond the level set's maximum 7
%w = spaq.constant dense<[[9, 1]]> : tensor<1x2xi8, #spaq.encoding<
  #spaq.sparsity<nonzeros = 2, column_nonzeros = 1, pattern = "dense">,
  #spaq.levels<kind = "uniform", magnitudes = 7, maximum = 7>>>

// -----

// CHECK: channel 0 uses 3 magnitudes, but its level set has 2
%w = spaq.constant dense<[[1], [-2], [7]]> : tensor<3x1xi8, #spaq.encoding<
  #spaq.sparsity<nonzeros = 3, column_nonzeros = 3, pattern = "dense">,
  #spaq.levels<kind = "codebook", magnitudes = 2, maximum = 7>>>

// -----

// CHECK: absmax must be finite and above 0
func.func @f(%x: tensor<?x2xf32>) {
  %0 = spaq.calibrated %x absmax 0.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: the scale must be finite and above 0
func.func @f(%x: tensor<?x2xf32>) {
  %0 = spaq.quantize %x scale -1.0 : tensor<?x2xf32> -> tensor<?x2xi8>
  func.return
}

// -----

// CHECK: absmax of feature 1 must be finite and above 0
func.func @f(%x: tensor<?x2xf32>) {
  %0 = spaq.calibrated %x absmax dense<[1.0, -1.0]> : tensor<2xf64> : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: absmax is one f64, or one for each of the 2 features of spaq.calibrated
func.func @f(%x: tensor<?x2xf32>) {
  %0 = spaq.calibrated %x absmax dense<1.0> : tensor<3xf64> : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: the scale is one f64, or one for each of the 2 features of spaq.dequantize
func.func @f(%x: tensor<?x2xi8>) {
  %0 = spaq.dequantize %x scale dense<1.0> : tensor<2xf32> : tensor<?x2xi8> -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: the features of split must ascend
func.func @f(%x: tensor<?x2xf32>) {
  %0 = spaq.quantize %x scale 1.0 split dense<[1, 0]> : tensor<2xi32> : tensor<?x2xf32> -> tensor<?x4xi8>
  func.return
}

// -----

// CHECK: split names a feature outside 0..1
func.func @f(%x: tensor<?x2xf32>) {
  %0 = spaq.quantize %x scale 1.0 split dense<2> : tensor<1xi32> : tensor<?x2xf32> -> tensor<?x3xi8>
  func.return
}

// -----

// CHECK: split is a vector of i32, the feature of each extra column
func.func @f(%x: tensor<?x2xf32>) {
  %0 = spaq.quantize %x scale 1.0 split dense<1> : tensor<1xi64> : tensor<?x2xf32> -> tensor<?x3xi8>
  func.return
}

// -----

// CHECK: spaq.quantize maps f32 to i8 in the same shape, but for the 1 extra columns of i8
func.func @f(%x: tensor<?x2xf32>) {
  %0 = spaq.quantize %x scale 1.0 split dense<1> : tensor<1xi32> : tensor<?x2xf32> -> tensor<?x2xi8>
  func.return
}

// -----

// CHECK: spaq.dequantize maps i8 to f32 in the same shape, but for the 2 extra columns of i8
func.func @f(%x: tensor<?x3xi8>) {
  %0 = spaq.dequantize %x scale 1.0 split dense<1> : tensor<2xi32> : tensor<?x3xi8> -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: spaq.dequantize maps i8 to f32 in the same shape
func.func @f(%x: tensor<?x2xi8>) {
  %0 = spaq.dequantize %x scale 1.0 : tensor<?x2xi8> -> tensor<?x3xf32>
  func.return
}

// -----

// CHECK: weights of 3x2 do not map 2 features to 2
func.func @f(%x: tensor<?x2xi8>) {
  %w = spaq.constant dense<1> : tensor<3x2xi8>
  %0 = spaq.matmul %x, %w : (tensor<?x2xi8>, tensor<3x2xi8>) -> tensor<?x2xi32>
  func.return
}

// -----

// CHECK: a product is f32 × f32 → f32, or i8 × i8 → i8..i32
func.func @f(%x: tensor<?x2xi8>) {
  %w = spaq.constant dense<1> : tensor<2x2xi8>
  %0 = spaq.matmul %x, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: spaq.matmul: a tensor of two dimensions is expected, tokens and features
func.func @f(%x: tensor<?xi8>) {
  %w = spaq.constant dense<1> : tensor<2x2xi8>
  %0 = spaq.matmul %x, %w : (tensor<?xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
  func.return
}

// -----

// CHECK: a bias for 2 features, not [3]
func.func @f(%x: tensor<?x2xi32>) {
  %b = spaq.constant dense<1> : tensor<3xi32>
  %0 = spaq.add %x, %b : (tensor<?x2xi32>, tensor<3xi32>) -> tensor<?x2xi32>
  func.return
}

// -----

// CHECK: multiplier of channel 1 is outside 1..65535
func.func @f(%x: tensor<?x2xi32>) {
  %0 = spaq.requantize %x multiplier dense<[1, 0]> : tensor<2xi32>
    shift dense<1> : tensor<2xi32> : tensor<?x2xi32> -> tensor<?x2xi8>
  func.return
}

// -----

// CHECK: shift of channel 0 is outside 1..47
func.func @f(%x: tensor<?x2xi32>) {
  %0 = spaq.requantize %x multiplier dense<1> : tensor<2xi32>
    shift dense<48> : tensor<2xi32> : tensor<?x2xi32> -> tensor<?x2xi8>
  func.return
}

// -----

// CHECK: shift must have one entry for each of the 2 output channels
func.func @f(%x: tensor<?x2xi32>) {
  %0 = spaq.requantize %x multiplier dense<1> : tensor<2xi32>
    shift dense<4> : tensor<3xi32> : tensor<?x2xi32> -> tensor<?x2xi8>
  func.return
}

// -----

// CHECK: spaq.activation over i8 needs a table of 256 i8 entries
func.func @f(%x: tensor<?x2xi8>) {
  %0 = spaq.activation "gelu" %x : tensor<?x2xi8> -> tensor<?x2xi8>
  func.return
}

// -----

// CHECK: a table belongs to i8 elements
func.func @f(%x: tensor<?x2xf32>) {
  %0 = spaq.activation "gelu" %x table dense<1> : tensor<256xi8> : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: a product over max_plus is of i8
func.func @f(%x: tensor<?x2xf32>, %w: tensor<2x2xf32>) {
  %0 = spaq.matmul %x, %w semiring max_plus : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: weights over or_and have absent entries, and no encoding
func.func @f(%x: tensor<?x1xi8>) {
  %w = spaq.constant dense<[[-1, 0]]> : tensor<1x2xi8, #spaq.encoding<
    #spaq.sparsity<nonzeros = 1, column_nonzeros = 1, pattern = "unstructured">>>
  %0 = spaq.matmul %x, %w semiring or_and : (tensor<?x1xi8>, tensor<1x2xi8, #spaq.encoding<
    #spaq.sparsity<nonzeros = 1, column_nonzeros = 1, pattern = "unstructured">>>) -> tensor<?x2xi32>
  func.return
}

// -----

// CHECK: spaq.activation of this input is of tensor<?x2xf32>
func.func @f(%x: tensor<?x2xf32>) {
  %0 = spaq.activation "gelu" %x : tensor<?x2xf32> -> tensor<?x3xf32>
  func.return
}

// -----

// CHECK: spaq.activation: a function that is nothing but a table works on i8
func.func @table_over_floats(%x: tensor<?x1xf32>) {
  %0 = spaq.activation "table" %x : tensor<?x1xf32> -> tensor<?x1xf32>
  func.return
}

// -----

// CHECK: spaq.add: the number of tokens cannot change
func.func @f(%x: tensor<?x2xf32>, %b: tensor<2xf32>) {
  %0 = spaq.add %x, %b : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<4x2xf32>
  func.return
}

// -----

// CHECK: spaq.add: a static count of features above 0 is needed
func.func @f(%x: tensor<?x?xf32>, %b: tensor<2xf32>) {
  %0 = spaq.add %x, %b : (tensor<?x?xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: spaq.add: a tensor of rank 1 is expected, not 2
func.func @f(%x: tensor<?x2xf32>, %b: tensor<1x2xf32>) {
  %0 = spaq.add %x, %b : (tensor<?x2xf32>, tensor<1x2xf32>) -> tensor<?x2xf32>
  func.return
}

// -----

// CHECK: spaq.requantize: elements are i8..i32, not i40
func.func @f(%x: tensor<?x1xi40>) {
  %0 = spaq.requantize %x multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
    : tensor<?x1xi40> -> tensor<?x1xi8>
  func.return
}

// -----

// CHECK: spaq.calibrated: Expected attribute f32 but got i8
func.func @f(%x: tensor<?x1xi8>) {
  %0 = spaq.calibrated %x absmax 1.0 : tensor<?x1xi8> -> tensor<?x1xi8>
  func.return
}

// -----

// CHECK: spaq.requantize: elements are i8 or i16, not i12
func.func @f(%x: tensor<?x1xi20>) {
  %0 = spaq.requantize %x multiplier dense<2> : tensor<1xi32> shift dense<1> : tensor<1xi32>
    : tensor<?x1xi20> -> tensor<?x1xi12>
  func.return
}

// -----

// CHECK: spaq.dequantize maps i8 to f32 in the same shape, but for the 1 extra columns of i8
func.func @f(%x: tensor<?x2xi16>) {
  %0 = spaq.dequantize %x scale 0.5 split dense<0> : tensor<1xi32> : tensor<?x2xi16> -> tensor<?x1xf32>
  func.return
}

// -----

// CHECK: spaq.quantize: elements are f32 or i8, not i16
func.func @f(%x: tensor<?x2xf32>) {
  %0 = spaq.quantize %x scale 0.5 : tensor<?x2xf32> -> tensor<?x2xi16>
  func.return
}

// -----

// CHECK: spaq.activation: elements are f32 or i8, not i16
func.func @f(%x: tensor<?x2xi16>) {
  %0 = spaq.activation "relu" %x table dense<0> : tensor<256xi8> : tensor<?x2xi16> -> tensor<?x2xi16>
  func.return
}
