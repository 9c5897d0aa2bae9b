# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The `dfke` dialect: fused kernels, their widths, variants and schedule."""

from xdsl.ir import Dialect

from daqkf.dialects.dfke.attributes import DecisionAttr, MachineAttr, ScheduleAttr, TilesAttr
from daqkf.dialects.dfke.chaining import ChainOp, GatingOp, NormalizationOp, RowOperation
from daqkf.dialects.dfke.ops import DispatchOp, KernelOp
from daqkf.dialects.dfke.region import RegionOperation, YieldOp

DFKE = Dialect(
    "dfke",
    [ChainOp, DispatchOp, GatingOp, KernelOp, NormalizationOp, YieldOp],
    [DecisionAttr, MachineAttr, ScheduleAttr, TilesAttr],
)

__all__ = [
    "DFKE",
    "ChainOp",
    "DecisionAttr",
    "DispatchOp",
    "GatingOp",
    "KernelOp",
    "MachineAttr",
    "NormalizationOp",
    "RegionOperation",
    "RowOperation",
    "ScheduleAttr",
    "TilesAttr",
    "YieldOp",
]
