# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Systems on chip with an engine: for boards and the simulator, their firmware and bitstreams."""
