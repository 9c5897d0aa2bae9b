# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Pages of HTML on what was compiled or measured: what they consist of, and how they are drawn."""
