# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A family of processing elements outside of DAQKF, which shows what it takes to add one.

It has the same files as a family of DAQKF: `word` for `hw_targets/families`, `coding` for
`passes/encode`, `datapath` for `lowering/rtl/families`, `spec` for `daqkf.formal.specs`, and its
prices.
"""
