// RUN: daqkf-opt --help | filecheck %s
// RUN: daqkf-opt --version | filecheck %s --check-prefix=VERSION

// CHECK: --validate {{.*}}run the IR before and after each pass
// CHECK: --validate-seed N
// CHECK: {{^ *}}spaq-prune{{$}}
// CHECK-NEXT: Zero the weights of every float matrix that matter least
// CHECK-NEXT: sparsity: float|int (default: required)
// CHECK-NEXT: {{^          [^ ].*}}
// CHECK: samples: str|None (default: none)
// CHECK: spaq-calibrate
// CHECK: samples: str (default: required)
// CHECK-NEXT: a `.npy` file with float activations [T, K].
// CHECK-NEXT: granularity: str (default: channel)
// CHECK: spaq-analyze
// CHECK: json: str|None (default: none)
// CHECK: detail: bool (default: false)
// CHECK: tile: int (default: 16)
// CHECK: spaq-quantize
// CHECK: kind: str (default: uniform)
// CHECK: magnitudes: int|None (default: none)
// CHECK: exact: bool (default: false)
// CHECK: samples: str|None (default: none)
// CHECK: accuracy: str|float|int|None (default: none)
// CHECK: words: int|None (default: none)
// CHECK: split: float|int (default: 0.02)
// CHECK: dfke-dispatch
// CHECK: kinds: tuple[str, ...] (default: required)
// CHECK: buckets: int (default: 64)
// CHECK: dfke-fuse
// CHECK: dfke-specialize-bitwidth
// CHECK: dfke-schedule
// CHECK: target: str (default: generic)
// CHECK: lower-dfke-to-rpea
// CHECK: lower-rpea-to-hw
// CHECK: --pipeline circuit
// VERSION: {{^}}daqkf {{[0-9.]+$}}
// VERSION-NEXT: xDSL {{[0-9.]+$}}
// VERSION-NEXT: CIRCT {{[0-9.]+$}}
