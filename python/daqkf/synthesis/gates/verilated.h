// Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the harness uses of Verilator's runtime.

#pragma once

struct VerilatedContext {
  void randReset(int) {}
  void randSeed(int) {}
};
