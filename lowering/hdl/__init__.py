# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Circuits as `hw`, `comb` and `seq`, built in Python, and their SystemVerilog."""
