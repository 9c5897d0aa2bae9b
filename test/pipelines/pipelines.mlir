// RUN: daqkf-opt %s --pipeline quantize | filecheck %s --check-prefix=QUANTIZE
// RUN: daqkf-opt %s --pipeline quantize | daqkf-opt --pipeline kernels | filecheck %s --check-prefix=KERNELS
// RUN: daqkf-opt %s --pipeline program | filecheck %s --check-prefix=PROGRAM
// RUN: daqkf-opt %s --pipeline circuit | filecheck %s --check-prefix=CIRCUIT
// RUN: daqkf-opt %s --pipeline quantize -p 'dfke-fuse' | filecheck %s --check-prefix=BOTH

// QUANTIZE: spaq.requantize
// QUANTIZE-NOT: dfke.kernel
// KERNELS: dfke.kernel({{.*}}) running_sum i9 schedule
// PROGRAM: rpea.array
// PROGRAM: rpea.program
// PROGRAM: rpea.run
// CIRCUIT: hw.module @daqkf_array
// BOTH: dfke.kernel({{.*}}) : tensor
func.func @layer(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %c = spaq.calibrated %x absmax 1.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  %w = spaq.constant dense<[[0.0, 2.0], [-1.0, 0.0]]> : tensor<2x2xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = spaq.calibrated %0 absmax 2.0 : tensor<?x2xf32> -> tensor<?x2xf32>
  func.return %1 : tensor<?x2xf32>
}
