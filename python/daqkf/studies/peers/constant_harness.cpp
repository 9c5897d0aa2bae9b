// Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Drives a pipeline without handshakes, which takes a row each cycle. Usage:
//
//   simulator X Y INPUT CYCLES
//
// In cycle i the row i of the file X, INPUT bytes, is at the port model_inp, and zeros when there are no
// more. After each rising edge the port model_out is written to the file Y, with the bytes that its type
// has. Prints how many these are.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <vector>

#include "Vpeer_wrapper.h"
#include "verilated.h"

int main(int argc, char **argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: simulator X Y INPUT CYCLES\n");
    return 1;
  }
  std::ifstream x(argv[1], std::ios::binary);
  std::ofstream y(argv[2], std::ios::binary);
  const size_t count = std::strtoull(argv[3], nullptr, 10);
  const size_t cycles = std::strtoull(argv[4], nullptr, 10);
  VerilatedContext context;
  Vpeer_wrapper top(&context);
  std::vector<char> row(count);
  for (size_t cycle = 0; cycle < cycles; ++cycle) {
    if (!x.read(row.data(), count))
      std::memset(row.data(), 0, count);
    // Ports of up to 64 bits are integers, wider ones arrays of 32-bit words; both little-endian.
    std::memset(&top.model_inp, 0, sizeof(top.model_inp));
    std::memcpy(&top.model_inp, row.data(), count);
    top.clk = 0;
    top.eval();
    top.clk = 1;
    top.eval();
    y.write(reinterpret_cast<const char *>(&top.model_out), sizeof(top.model_out));
  }
  top.final();
  std::printf("%zu\n", sizeof(top.model_out));
  return y.good() ? 0 : 1;
}
