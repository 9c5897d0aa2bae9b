// Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Gives the model that yosys' CXXRTL makes of an array the face of a verilated one, so that the
// same harness drives both.

#pragma once

#include "model.h"
#include "verilated.h"

namespace detail {

template <size_t Bits> const cxxrtl::value<Bits> &current(const cxxrtl::value<Bits> &port) {
  return port;
}

template <size_t Bits> const cxxrtl::value<Bits> &current(const cxxrtl::wire<Bits> &port) {
  return port.curr;
}

template <typename Model>
auto variant(const Model &model, int) -> decltype(model.p_status__variant, uint8_t()) {
  return current(model.p_status__variant).template get<uint8_t>();
}

template <typename Model> uint8_t variant(const Model &, long) { return 0; }

} // namespace detail

struct Vdaqkf_array {
  cxxrtl_design::p_daqkf__array model;

  uint8_t clk = 0, rst = 0, prog_tvalid = 0, x_tvalid = 0, y_tready = 0;
  decltype(model.p_prog__tdata) prog_tdata;
  decltype(model.p_x__tdata) x_tdata;
  uint8_t prog_tready = 0, x_tready = 0, y_tvalid = 0, y_tlast = 0;
  uint8_t status_phase = 0, status_error = 0, status_variant = 0;
  std::decay_t<decltype(detail::current(model.p_y__tdata))> y_tdata;

  explicit Vdaqkf_array(VerilatedContext *) {}

  void eval() {
    model.p_clk.set<uint8_t>(clk);
    model.p_rst.set<uint8_t>(rst);
    model.p_prog__tvalid.set<uint8_t>(prog_tvalid);
    model.p_x__tvalid.set<uint8_t>(x_tvalid);
    model.p_y__tready.set<uint8_t>(y_tready);
    model.p_prog__tdata = prog_tdata;
    model.p_x__tdata = x_tdata;
    model.step();
    prog_tready = detail::current(model.p_prog__tready).get<uint8_t>();
    x_tready = detail::current(model.p_x__tready).get<uint8_t>();
    y_tvalid = detail::current(model.p_y__tvalid).get<uint8_t>();
    y_tlast = detail::current(model.p_y__tlast).get<uint8_t>();
    status_phase = detail::current(model.p_status__phase).get<uint8_t>();
    status_error = detail::current(model.p_status__error).get<uint8_t>();
    status_variant = detail::variant(model, 0);
    y_tdata = detail::current(model.p_y__tdata);
  }

  void final() {}
};
