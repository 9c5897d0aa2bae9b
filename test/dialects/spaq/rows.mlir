// RUN: daqkf-opt %s | daqkf-opt | filecheck %s

// CHECK-LABEL: func.func @real
func.func @real(%x: tensor<?x5xf32>) -> tensor<?x2xf32> {
  // CHECK: spaq.columns %x from 3 : tensor<?x5xf32> -> tensor<?x2xf32>
  %0 = spaq.columns %x from 3 : tensor<?x5xf32> -> tensor<?x2xf32>
  %1 = spaq.columns %x from 0 : tensor<?x5xf32> -> tensor<?x2xf32>
  // CHECK: spaq.residual %0, %1 : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %2 = spaq.residual %0, %1 : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %gamma = spaq.constant dense<[1.0, 0.5]> : tensor<2xf32>
  %beta = spaq.constant dense<[0.0, -1.0]> : tensor<2xf32>
  // CHECK: spaq.layer_norm %2, %gamma, %beta epsilon 1.000000e-05 : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %3 = spaq.layer_norm %2, %gamma, %beta epsilon 1.0e-05
    : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  func.return %3 : tensor<?x2xf32>
}

// CHECK-LABEL: func.func @exact
func.func @exact(%x: tensor<?x2xi20>, %r: tensor<?x3xi8>, %y: tensor<?x2xi8>) -> tensor<?x2xi18> {
  // CHECK: spaq.residual %x, %r multiplier dense<[1700, 0]> : tensor<2xi32> : (tensor<?x2xi20>, tensor<?x3xi8>) -> tensor<?x2xi24>
  %0 = spaq.residual %x, %r multiplier dense<[1700, 0]> : tensor<2xi32>
    : (tensor<?x2xi20>, tensor<?x3xi8>) -> tensor<?x2xi24>
  // CHECK: spaq.concat %y, %r : (tensor<?x2xi8>, tensor<?x3xi8>) -> tensor<?x5xi8>
  %1 = spaq.concat %y, %r : (tensor<?x2xi8>, tensor<?x3xi8>) -> tensor<?x5xi8>
  // CHECK: spaq.repeat %r columns dense<[0, 2, 2]> : tensor<3xi32> : tensor<?x3xi8> -> tensor<?x6xi8>
  %3 = spaq.repeat %r columns dense<[0, 2, 2]> : tensor<3xi32> : tensor<?x3xi8> -> tensor<?x6xi8>
  // CHECK: spaq.normalize %y exponent dense<[0, 3]> : tensor<2xi32> : tensor<?x2xi8> -> tensor<?x2xi18>
  %2 = spaq.normalize %y exponent dense<[0, 3]> : tensor<2xi32> : tensor<?x2xi8> -> tensor<?x2xi18>
  func.return %2 : tensor<?x2xi18>
}
