// RUN: daqkf-opt %s -p 'lower-rpea-to-hw{system=true}' | filecheck %s
// RUN: daqkf-opt %s -p 'lower-rpea-to-hw{system=true}' | daqkf-translate --to verilog | filecheck %s --check-prefix=VERILOG
// RUN: daqkf-translate --to c-header | filecheck %s --check-prefix=HEADER
// RUN: daqkf-translate --to python-constants | filecheck %s --check-prefix=PYTHON

// CHECK: hw.module @daqkf_array(
// CHECK: hw.module @daqkf_counters(
// CHECK: hw.module @daqkf_registers(
// CHECK: hw.module @daqkf_system(in %aclk: !seq.clock, in %aresetn: i1, in %s_axi_awaddr: i12, {{.*}}in %s_axis_prog_tdata: i32, in %s_axis_prog_tvalid: i1, in %s_axis_x_tdata: i16, in %s_axis_x_tvalid: i1, in %s_axis_x_tlast: i1, in %m_axis_y_tready: i1, out s_axi_awready: i1, {{.*}}out m_axis_y_tdata: i16, out m_axis_y_tvalid: i1, out m_axis_y_tlast: i1, out irq: i1)
// CHECK: hw.instance "array" @daqkf_array(

// VERILOG: module daqkf_system(
// VERILOG: daqkf_registers registers (
// VERILOG: reg {{ *}}interrupt;

// HEADER: #ifndef DAQKF_REGISTERS_H
// HEADER: #define DAQKF_CONTROL_OFFSET 0x1cu
// HEADER: #define DAQKF_CONTROL_SNAPSHOT_SHIFT 1u
// HEADER: #define DAQKF_CONTROL_SNAPSHOT_MASK 0x2u
// HEADER: #define DAQKF_STATUS_PHASE_ERROR 7u
// HEADER: #endif

// PYTHON: CONTROL_OFFSET = 0x1c
// PYTHON: STATUS_ERROR_FINGERPRINT = 3

rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 8, parameter_depth = 2, result_depth = 2, running_sum_width = 10,
  accumulator_width = 11, sum_width = 12>
