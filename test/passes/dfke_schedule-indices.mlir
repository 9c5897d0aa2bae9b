// RUN: daqkf-opt %s -p 'dfke-schedule{target=tiny index-bits=3}' | filecheck %s
// RUN: daqkf-opt %s -p 'dfke-schedule{target=tiny family=multiply index-bits=3}' | filecheck %s --check-prefix=DELTA
// RUN: daqkf-opt %s -p 'dfke-schedule{target=tiny index-bits=auto}' | filecheck %s --check-prefix=AUTO
// RUN: daqkf-opt %s -p "dfke-schedule{target=tiny}" | filecheck %s --check-prefix=WHOLE
// RUN: daqkf-opt %s -p 'dfke-specialize-bitwidth,dfke-schedule{target=tiny index-bits=3},lower-dfke-to-rpea' | filecheck %s --check-prefix=ARRAY
// RUN: not daqkf-opt %s -p 'dfke-schedule{target=tiny index-bits=6}' 2>&1 | filecheck %s --check-prefix=RANGE
// RUN: not daqkf-opt %s -p 'dfke-schedule{target=tiny index-bits=some}' 2>&1 | filecheck %s --check-prefix=WORD
// RUN: not daqkf-opt %s -p 'dfke-schedule{target=tiny family=strassen index-bits=3}' 2>&1 | filecheck %s --check-prefix=FAMILY

// Rows 0 and 9 are in no window of 8 rows, so there is a word for each, and one at the end; with
// whole addresses they share a word.
// CHECK: index_bits = 3>, dense<0> : tensor<1xi32>, dense<[1, 0]> : tensor<2xi32>, dense<[3, 1]> : tensor<2xi32>>
// Row 9 is further from row 0 than a delta of 3 bits reaches.
// DELTA: families = [multiply], index_bits = 3>, dense<0> : tensor<1xi32>, dense<[1, 0]> : tensor<2xi32>, dense<[3, 1]> : tensor<2xi32>>
// WHOLE: result_depth = 32>, dense<0> : tensor<1xi32>, dense<[0, 1]> : tensor<2xi32>, dense<[1, 2]> : tensor<2xi32>>
// One block RAM a stream is as little as there is.
// AUTO: result_depth = 32>, dense<0>
// ARRAY: rpea.array @array <{{.*}}activation_depth = 16, stream_depth = 4, {{.*}}index_bits = 3
// RANGE: daqkf-opt: dfke-schedule: index_bits must be 2..5 for addresses of 6 bits, not 6 ('tiny')
// WORD: daqkf-opt: dfke-schedule: index_bits must be a number or auto, not 'some' ('tiny')
// FAMILY: daqkf-opt: dfke-schedule: strassen elements have no index_bits, but whole addresses ('tiny')
func.func @layer(%x: tensor<?x10xi8>) -> tensor<?x1xi8> {
  %y = dfke.kernel(%k = %x) : tensor<?x10xi8> -> tensor<?x1xi8> {
    %w = spaq.constant dense<[[-1], [0], [0], [0], [0], [0], [0], [0], [0], [-1]]> : tensor<10x1xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x10xi8>, tensor<10x1xi8>) -> tensor<?x1xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<1xi32> shift dense<1> : tensor<1xi32>
      : tensor<?x1xi32> -> tensor<?x1xi8>
    dfke.yield %1 : tensor<?x1xi8>
  }
  func.return %y : tensor<?x1xi8>
}
