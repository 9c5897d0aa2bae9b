// RUN: daqkf-opt %s -p 'dfke-schedule{target=tiny family=strassen}' | filecheck %s
// RUN: daqkf-opt %s -p 'dfke-schedule{target=tiny family=auto fabric=xcup}' | filecheck %s --check-prefix=LUT
// RUN: daqkf-opt %s -p 'dfke-schedule{target=tiny family=running_sum,strassen}' | filecheck %s --check-prefix=MIXED
// RUN: daqkf-opt %s -p 'dfke-schedule{target=tiny family=multiply fabric=xcup-dsp}' | filecheck %s --check-prefix=DSP
// RUN: not daqkf-opt %s -p 'dfke-schedule{target=tiny fabric=xcup}' 2>&1 | filecheck %s --check-prefix=NONE
// RUN: not daqkf-opt %s -p 'dfke-schedule{target=tiny family=nothing}' 2>&1 | filecheck %s --check-prefix=FAMILY
// RUN: not daqkf-opt %s -p 'dfke-schedule{target=tiny family=auto fabric=sand}' 2>&1 | filecheck %s --check-prefix=FABRIC

// Channels 0 and 2 have the same features and go together, in one word; so do 1 and 3. Channel 4
// is left over and alone.
// CHECK: families = [strassen]>, dense<[0, 2, 4, 1, 3]> : tensor<5xi32>, dense<[3, 2]> : tensor<2xi32>, dense<[2, 1]> : tensor<2xi32>>
// LUT: families = [multiply]>
// MIXED: families = [running_sum, strassen]>
// DSP: families = [multiply], multiplier = "packed">
// NONE: daqkf-opt: dfke-schedule: fabric 'xcup' is for a family, and none is given
// FAMILY: daqkf-opt: dfke-schedule: unknown family 'nothing' of processing elements
// FABRIC: daqkf-opt: dfke-schedule: no prices for fabric 'sand' (known: xcup, xcup-dsp)
func.func @layer(%x: tensor<?x4xi8>) -> tensor<?x5xi8> {
  %y = dfke.kernel(%k = %x) : tensor<?x4xi8> -> tensor<?x5xi8> {
    %w = spaq.constant dense<[[9, 0, 2, 0, 0], [7, 0, 9, 0, 0], [0, 9, 0, 5, 1], [0, 1, 0, -4, 0]]> : tensor<4x5xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x4xi8>, tensor<4x5xi8>) -> tensor<?x5xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<5xi32> shift dense<1> : tensor<5xi32>
      : tensor<?x5xi32> -> tensor<?x5xi8>
    dfke.yield %1 : tensor<?x5xi8>
  }
  func.return %y : tensor<?x5xi8>
}
