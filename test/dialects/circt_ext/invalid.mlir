// RUN: %invalid | filecheck %s

// CHECK: an index of i3 does not reach 9 elements
hw.module @m(in %a: i3) {
  %m = sv.reg : !hw.inout<uarray<9xi8>>
  %p = sv.array_index_inout %m[%a] : !hw.inout<uarray<9xi8>>, i3
  hw.output
}

// -----

// CHECK: sv.if belongs into a procedure
hw.module @m(in %a: i1) {
  %m = sv.reg : !hw.inout<i1>
  sv.if %a {
    sv.passign %m, %a : i1
  }
  hw.output
}

// -----

// CHECK: the value is not of the place's type
hw.module @m(in %a: i3) {
  %m = sv.reg : !hw.inout<i8>
  "sv.passign"(%m, %a) : (!hw.inout<i8>, i3) -> ()
  hw.output
}

// -----

// CHECK: the result is not of the place's type
hw.module @m() {
  %m = sv.reg : !hw.inout<i8>
  %v = "sv.read_inout"(%m) : (!hw.inout<i8>) -> i7
  hw.output
}

// -----

// CHECK: i8 has no elements
hw.module @m(in %a: i3) {
  %m = sv.reg : !hw.inout<i8>
  %p = "sv.array_index_inout"(%m, %a) : (!hw.inout<i8>, i3) -> !hw.inout<i8>
  hw.output
}

// -----

// CHECK: the value is not of the result's type
hw.module @m() {
  %0 = sv.localparam {value = 1 : i2, name = "ONE"} : i3
  hw.output
}
