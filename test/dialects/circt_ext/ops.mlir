// RUN: %roundtrip | filecheck %s
// RUN: daqkf-translate %s --to verilog | filecheck %s --check-prefix=VERILOG

// CHECK-LABEL: hw.module @memory
// VERILOG: module memory(
hw.module @memory(in %clk: !seq.clock, in %rst: i1, in %we: i1, in %address: i9, in %data: i16,
    out q: i16, out count: i8) {
  // CHECK: %rows = sv.reg {sv.attributes = [#sv.attribute<"ram_style" = "\22block\22">]} : !hw.inout<uarray<512xi16>>
  // VERILOG: (* ram_style = "block" *)
  // VERILOG-NEXT: reg [15:0] rows[0:511];
  %rows = sv.reg {sv.attributes = [#sv.attribute<"ram_style" = "\"block\"">]}
    : !hw.inout<uarray<512xi16>>
  // CHECK: %row = sv.reg : !hw.inout<i16>
  %row = sv.reg : !hw.inout<i16>
  // CHECK: %edge = seq.from_clock %clk
  %edge = seq.from_clock %clk
  // CHECK: sv.alwaysff(posedge %edge) {
  // VERILOG: always_ff @(posedge clk)
  sv.alwaysff(posedge %edge) {
    // CHECK: sv.if %we {
    sv.if %we {
      // CHECK: sv.array_index_inout %rows[%address] : !hw.inout<uarray<512xi16>>, i9
      %place = sv.array_index_inout %rows[%address] : !hw.inout<uarray<512xi16>>, i9
      // CHECK: sv.passign %place, %data : i16
      // VERILOG: rows[address] <= data;
      sv.passign %place, %data : i16
    }
    %there = sv.array_index_inout %rows[%address] : !hw.inout<uarray<512xi16>>, i9
    // CHECK: sv.read_inout %there : !hw.inout<i16>
    %value = sv.read_inout %there : !hw.inout<i16>
    sv.passign %row, %value : i16
  }
  %q = sv.read_inout %row : !hw.inout<i16>
  %zero = hw.constant 0 : i8
  %one = hw.constant 1 : i8
  %next = comb.add %total, %one : i8
  // CHECK: %total = seq.compreg.ce %next, %clk, %we reset %rst, %zero : i8
  // VERILOG: total <= total + 8'h1;
  %total = seq.compreg.ce %next, %clk, %we reset %rst, %zero : i8
  hw.output %q, %total : i16, i8
}

// CHECK-LABEL: hw.module @product
// VERILOG: module product(
hw.module @product(in %a: i8, in %b: i8, out p: i8) {
  // CHECK: sv.verbatim.expr "($signed({{[{][{]}}0}}) * $signed({{[{][{]}}1}}))"(%a, %b) : (i8, i8) -> i8
  // VERILOG: assign p = ($signed(a) * $signed(b));
  %p = sv.verbatim.expr "($signed({{0}}) * $signed({{1}}))"(%a, %b) : (i8, i8) -> i8
  hw.output %p : i8
}

// CHECK-LABEL: hw.module @named
// VERILOG: module named(
// VERILOG: // Values.
// VERILOG-NEXT: localparam [2:0] READY = 7;
hw.module @named(in %a: i3, out ready: i1) {
  // CHECK: sv.verbatim "// Values."
  sv.verbatim "// Values."
  // CHECK: %0 = sv.localparam {value = -1 : i3, name = "READY"} : i3
  %0 = sv.localparam {value = 7 : i3, name = "READY"} : i3
  // VERILOG: assign ready = a == READY;
  %ready = comb.icmp eq %a, %0 : i3
  hw.output %ready : i1
}
