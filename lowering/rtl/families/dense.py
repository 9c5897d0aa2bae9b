# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The dense family: the circuit of the multiply family, for weights of 8 bits one by one."""

from daqkf.lowering.rtl.families.multiply import build_datapath
from daqkf.lowering.rtl.families.stage import DatapathBuilder

DATAPATH = DatapathBuilder(build_datapath)
