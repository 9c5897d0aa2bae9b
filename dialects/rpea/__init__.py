# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The `rpea` dialect: the array of processing elements and the programs it runs."""

from xdsl.ir import Dialect

from daqkf.dialects.rpea.attributes import ConfigAttr
from daqkf.dialects.rpea.chaining import ChainOp, Kernel, Playable
from daqkf.dialects.rpea.ops import ArrayOp, DispatchOp, ProgramOp
from daqkf.dialects.rpea.rows import GatingOp, NormalizationOp, RowOperation, SoftmaxOp
from daqkf.dialects.rpea.running import Runnable, RunOp, TiledOp, is_wide, result_columns

RPEA = Dialect(
    "rpea",
    [
        ArrayOp,
        ChainOp,
        DispatchOp,
        GatingOp,
        NormalizationOp,
        ProgramOp,
        RunOp,
        SoftmaxOp,
        TiledOp,
    ],
    [ConfigAttr],
)

__all__ = [
    "RPEA",
    "ArrayOp",
    "ChainOp",
    "ConfigAttr",
    "DispatchOp",
    "GatingOp",
    "Kernel",
    "NormalizationOp",
    "Playable",
    "ProgramOp",
    "RowOperation",
    "RunOp",
    "Runnable",
    "SoftmaxOp",
    "TiledOp",
    "is_wide",
    "result_columns",
]
