# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The `dfke` dialect: fused kernels, their bit widths and their schedule."""

from xdsl.ir import Dialect

from daqkf.dialects.dfke.attributes import MachineAttr, ScheduleAttr
from daqkf.dialects.dfke.machine import Machine
from daqkf.dialects.dfke.ops import KernelOp, YieldOp

DFKE = Dialect("dfke", [KernelOp, YieldOp], [MachineAttr, ScheduleAttr])

__all__ = ["DFKE", "KernelOp", "Machine", "MachineAttr", "ScheduleAttr", "YieldOp"]
