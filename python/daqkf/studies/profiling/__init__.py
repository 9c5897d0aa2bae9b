# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Build the table of level sets (`daqkf.passes.quantize.level_table`) from real weights."""
