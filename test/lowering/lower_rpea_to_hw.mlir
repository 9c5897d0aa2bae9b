// RUN: daqkf-opt %s -p lower-rpea-to-hw | filecheck %s
// RUN: daqkf-opt %s -p lower-rpea-to-hw | daqkf-opt | daqkf-translate --to verilog | filecheck %s --check-prefix=VERILOG
// RUN: daqkf-opt %s -p lower-rpea-to-hw | daqkf-translate --to split-verilog -o %t
// RUN: ls %t | filecheck %s --check-prefix=FILES

// Leaves first; the program and the function are gone.
// CHECK-NOT: rpea.
// CHECK-NOT: func.func
// CHECK: hw.module @daqkf_loader(
// CHECK: hw.module @daqkf_running_sum_lane(
// CHECK: seq.compreg.ce
// CHECK: hw.module @daqkf_running_sum_element(
// CHECK: %stream = sv.reg {{.*}} : !hw.inout<uarray<8xi10>>
// CHECK: %activations0 = sv.reg {{.*}} : !hw.inout<uarray<4xi16>>
// CHECK: hw.instance "lane0" @daqkf_running_sum_lane
// CHECK: hw.instance "lane1" @daqkf_running_sum_lane
// CHECK: hw.module @daqkf_post(
// CHECK: hw.module @daqkf_array(in %clk: !seq.clock, in %rst: i1, in %prog_tdata: i32, in %prog_tvalid: i1, in %x_tdata: i16, in %x_tvalid: i1, in %y_tready: i1, out prog_tready: i1, out x_tready: i1, out y_tdata: i16, out y_tvalid: i1, out y_tlast: i1, out status_phase: i3, out status_error: i4)
// CHECK: hw.instance "element0" @daqkf_running_sum_element
// CHECK: hw.instance "element1" @daqkf_running_sum_element

// VERILOG: module daqkf_loader(
// VERILOG: module daqkf_running_sum_lane(
// VERILOG: reg [9:0] running_sum;
// VERILOG: module daqkf_running_sum_element(
// VERILOG: (* ram_style = "block", no_rw_check = 1 *)
// VERILOG: module daqkf_post(
// VERILOG: module daqkf_array(
// VERILOG-NOT: initial

// FILES: daqkf_array.sv
// FILES: daqkf_loader.sv
// FILES: daqkf_post.sv
// FILES: daqkf_running_sum_element.sv
// FILES: daqkf_running_sum_lane.sv
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 8, parameter_depth = 2, result_depth = 2, running_sum_width = 10,
  accumulator_width = 11, sum_width = 12>

func.func @unrelated() {
  func.return
}
