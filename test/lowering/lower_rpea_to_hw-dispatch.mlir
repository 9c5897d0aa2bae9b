// RUN: daqkf-opt %s -p lower-rpea-to-hw | filecheck %s
// RUN: daqkf-opt %s -p lower-rpea-to-hw | daqkf-translate --to verilog | filecheck %s --check-prefix=VERILOG

// More than one bucket: the SPAQ unit, whose table says where streams and parameters begin.
// CHECK: hw.module @daqkf_spaq({{.*}}in %row: i16, in %start: i1, in %zero_shift: i2, {{.*}}out stream_start: i3, out slot_start: i1, out variant: i4)
// CHECK: %decisions = sv.reg {{.*}}distributed{{.*}} : !hw.inout<uarray<4xi8>>
// CHECK: hw.module @daqkf_running_sum_element({{.*}}in %stream_start: i3
// CHECK: hw.module @daqkf_post({{.*}}in %slot_start: i1
// CHECK: hw.module @daqkf_array({{.*}}out status_variant: i4)
// CHECK: hw.instance "spaq" @daqkf_spaq

// VERILOG: module daqkf_spaq(
// VERILOG: (* ram_style = "distributed", no_rw_check = 1 *)
rpea.array @array <pes = 2, lanes = 2, post_lanes = 1, max_shift = 1, activation_depth = 4,
  stream_depth = 8, parameter_depth = 2, result_depth = 2, running_sum_width = 10,
  accumulator_width = 11, sum_width = 12, buckets = 4>
