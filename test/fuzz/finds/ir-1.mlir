func.func @n(%x: tensor<?x3xf32>, %y: tensor<2x3xf32>)
    -> (tensor<2x3xf32>) %tur= nn.constant dense<[1, 0]> : tensor<2xi64>
  %a = nn.gather %y, %tu {axis = 0 : i64} : (tensor<f32>, tensor<2xi64>) -> tensor<2x3xf32>
  %e = nn.constant dense<[2, 3]> : tensor<2xi64>nn.reshape %x, %e : (tensor<?x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  %c = nn.expand %x, %e : (tensor<?x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  nn.constant dense<0> : tensor<1xi64>
  %to = nn.constant dense<2> : tensor<1xi64>
   nn.slice %y, %from, %to {axes = array<i64: 0>, steps = array<i664: -1>}