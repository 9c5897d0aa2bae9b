// RUN: %invalid | filecheck %s

// CHECK: spaq.attention: attribute tensor<?x4xf32> expected from variable 'Type', but got tensor<?x6xf32>
func.func @f(%q: tensor<?x4xf32>, %k: tensor<?x6xf32>) {
  %0 = spaq.attention %q, %k, %k heads 2 tokens 16 scale 0.5
    : (tensor<?x4xf32>, tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x4xf32>
  func.return
}

// -----

// CHECK: 4 features are not of 3 heads
func.func @f(%q: tensor<?x4xf32>, %k: tensor<?x4xf32>) {
  %0 = spaq.attention %q, %k, %k heads 3 tokens 16 scale 0.5
    : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  func.return
}

// -----

// CHECK: 4 features are not of 0 heads
func.func @f(%q: tensor<?x4xf32>, %k: tensor<?x4xf32>) {
  %0 = spaq.attention %q, %k, %k heads 0 tokens 16 scale 0.5
    : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  func.return
}

// -----

// CHECK: sequences of 0 tokens; there can be 1..2048
func.func @f(%q: tensor<?x4xf32>, %k: tensor<?x4xf32>) {
  %0 = spaq.attention %q, %k, %k heads 2 tokens 0 scale 0.5
    : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  func.return
}

// -----

// CHECK: attention is over f32; spaq.attend is over i8
func.func @f(%q: tensor<?x4xi8>, %k: tensor<?x4xi8>) {
  %0 = spaq.attention %q, %k, %k heads 2 tokens 16 scale 0.5
    : (tensor<?x4xi8>, tensor<?x4xi8>, tensor<?x4xi8>) -> tensor<?x4xi8>
  func.return
}

// -----

// CHECK: scale is a positive number, not 0.0
func.func @f(%q: tensor<?x4xf32>, %k: tensor<?x4xf32>) {
  %0 = spaq.attention %q, %k, %k heads 2 tokens 16 scale 0.0
    : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  func.return
}

// -----

// CHECK: scores is a positive number, not -1.0
func.func @f(%q: tensor<?x4xf32>, %k: tensor<?x4xf32>) {
  %0 = spaq.attention %q, %k, %k heads 2 tokens 16 scale 0.5 scores -1.0
    : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  func.return
}

// -----

// CHECK: attend is over i8; spaq.attention is over f32
func.func @f(%x: tensor<?x4xf32>) {
  %0 = spaq.attend %x, %x, %x heads 2 tokens 16 scores by dense<900> : tensor<2xi32> shift dense<20> : tensor<2xi32>
    table dense<0> : tensor<256xi8> results by dense<300> : tensor<4xi32> shift dense<15> : tensor<4xi32>
    : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  func.return
}

// -----

// CHECK: multipliers of scores are i32 of 1..65535, one for each of 2 heads
func.func @f(%x: tensor<?x4xi8>) {
  %0 = spaq.attend %x, %x, %x heads 2 tokens 16 scores by dense<0> : tensor<2xi32> shift dense<20> : tensor<2xi32>
    table dense<0> : tensor<256xi8> results by dense<300> : tensor<4xi32> shift dense<15> : tensor<4xi32>
    : (tensor<?x4xi8>, tensor<?x4xi8>, tensor<?x4xi8>) -> tensor<?x4xi8>
  func.return
}

// -----

// CHECK: shifts of scores are i32 of 1..47, one for each of 2 heads
func.func @f(%x: tensor<?x4xi8>) {
  %0 = spaq.attend %x, %x, %x heads 2 tokens 16 scores by dense<900> : tensor<2xi32> shift dense<20> : tensor<3xi32>
    table dense<0> : tensor<256xi8> results by dense<300> : tensor<4xi32> shift dense<15> : tensor<4xi32>
    : (tensor<?x4xi8>, tensor<?x4xi8>, tensor<?x4xi8>) -> tensor<?x4xi8>
  func.return
}

// -----

// CHECK: multiplier of channel 0 is outside 1..65535
func.func @f(%x: tensor<?x4xi8>) {
  %0 = spaq.attend %x, %x, %x heads 2 tokens 16 scores by dense<900> : tensor<2xi32> shift dense<20> : tensor<2xi32>
    table dense<0> : tensor<256xi8> results by dense<0> : tensor<4xi32> shift dense<15> : tensor<4xi32>
    : (tensor<?x4xi8>, tensor<?x4xi8>, tensor<?x4xi8>) -> tensor<?x4xi8>
  func.return
}

// -----

// CHECK: shift of channel 3 is outside 1..47
func.func @f(%x: tensor<?x4xi8>) {
  %0 = spaq.attend %x, %x, %x heads 2 tokens 16 scores by dense<900> : tensor<2xi32> shift dense<20> : tensor<2xi32>
    table dense<0> : tensor<256xi8> results by dense<300> : tensor<4xi32> shift dense<[1, 1, 1, 48]> : tensor<4xi32>
    : (tensor<?x4xi8>, tensor<?x4xi8>, tensor<?x4xi8>) -> tensor<?x4xi8>
  func.return
}

// -----

// CHECK: the table has 256 i8 entries, none below 0, and 0 for -128
func.func @f(%x: tensor<?x4xi8>) {
  %0 = spaq.attend %x, %x, %x heads 2 tokens 16 scores by dense<900> : tensor<2xi32> shift dense<20> : tensor<2xi32>
    table dense<1> : tensor<256xi8> results by dense<300> : tensor<4xi32> shift dense<15> : tensor<4xi32>
    : (tensor<?x4xi8>, tensor<?x4xi8>, tensor<?x4xi8>) -> tensor<?x4xi8>
  func.return
}
