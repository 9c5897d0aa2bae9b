# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A family of processing elements that is not part of DAQKF, to see what it takes to add one.

It has one file for each room, as a family of DAQKF's own has: `word` for `hw_targets/families`,
`coding` for `passes/encode`, `datapath` for `lowering/rtl/families`, `spec` for
`daqkf.formal.specs`; and its prices.
"""
