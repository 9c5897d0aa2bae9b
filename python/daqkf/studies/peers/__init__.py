# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf bench peers` compares with what others have made, in one run on one machine.

Circuits of da4ml beside our arrays, for the same matrices; `daqkf-opt` beside `xdsl-opt`, on the
same IR; and processors, by onnxruntime and llama.cpp, beside devices as they are planned.
"""
