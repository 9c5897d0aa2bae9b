// Names of passes and pipelines, for people and for scripts.

// RUN: daqkf-opt --list-passes | filecheck %s --check-prefix=LIST
// RUN: daqkf-opt --show-pipeline network | filecheck %s --check-prefix=SHOW
// RUN: not daqkf-opt --show-pipeline nothing 2>&1 | filecheck %s --check-prefix=WRONG

// LIST: nn-raise {{ +[A-Z].*}}
// LIST: spaq-quantize {{ +[A-Z].*}}
// LIST: canonicalize {{ +}}xDSL's own
// LIST: circuit {{ +}}--pipeline, of {{[0-9]+}} passes
// SHOW: canonicalize,nn-dequantize,
// WRONG: daqkf-opt: argument --show-pipeline: invalid choice: 'nothing'
