// Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs a verilated SoC. Usage: harness CYCLES
//
// What its console says goes to stdout. The exit code is what its firmware gives, or 100 when so many
// cycles have passed before.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "Vdaqkf_soc.h"
#include "verilated.h"

int main(int argc, char **argv) {
  if (argc != 2)
    return 1;
  const uint64_t limit = std::strtoull(argv[1], nullptr, 10);
  VerilatedContext context;
  const auto top = std::make_unique<Vdaqkf_soc>(&context);
  top->sim_trace = 0;
  top->serial_source_ready = 1;
  for (uint64_t cycle = 0; cycle < limit; ++cycle) {
    top->sys_clk = 0;
    top->eval();
    top->sys_clk = 1;
    top->eval();
    if (top->serial_source_valid)
      std::putchar(top->serial_source_data);
    if (top->finish_valid) {
      std::fflush(stdout);
      return top->finish_code;
    }
  }
  std::fprintf(stderr, "nothing has ended the simulation within %llu cycles\n",
               (unsigned long long)limit);
  return 100;
}
