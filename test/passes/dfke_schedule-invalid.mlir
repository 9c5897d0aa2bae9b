// RUN: not daqkf-opt %s -p 'dfke-schedule{target=nowhere}' 2>&1 | filecheck %s --check-prefix=TARGET
// RUN: not daqkf-opt %s -p 'dfke-schedule{target=tiny}' 2>&1 | filecheck %s --check-prefix=FIT

// TARGET: daqkf-opt: dfke-schedule: unknown target 'nowhere' (known: generic, one-token, tiny{{.*}}, or a .toml file)
// FIT: daqkf-opt: {{.*}}dfke_schedule-invalid.mlir:[[# @LINE + 2]]:3: dfke.kernel: dfke-schedule: 64 features; the target holds at most 63 ('tiny')
func.func @layer(%x: tensor<?x64xi8>) -> tensor<?x1xi8> {
  %y = dfke.kernel(%k = %x) : tensor<?x64xi8> -> tensor<?x1xi8> {
    %w = spaq.constant dense<1> : tensor<64x1xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x64xi8>, tensor<64x1xi8>) -> tensor<?x1xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      : tensor<?x1xi32> -> tensor<?x1xi8>
    dfke.yield %1 : tensor<?x1xi8>
  }
  func.return %y : tensor<?x1xi8>
}
