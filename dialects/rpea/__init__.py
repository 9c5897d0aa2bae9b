# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The `rpea` dialect: the array of processing elements and the programs it runs."""

from xdsl.ir import Dialect

from daqkf.dialects.rpea.attributes import ConfigAttr
from daqkf.dialects.rpea.layout import ArrayConfig
from daqkf.dialects.rpea.ops import ArrayOp, ChainOp, DispatchOp, Playable, ProgramOp
from daqkf.dialects.rpea.running import Runnable, RunOp, TiledOp

RPEA = Dialect("rpea", [ArrayOp, ChainOp, DispatchOp, ProgramOp, RunOp, TiledOp], [ConfigAttr])

__all__ = [
    "RPEA",
    "ArrayConfig",
    "ArrayOp",
    "ChainOp",
    "ConfigAttr",
    "DispatchOp",
    "Playable",
    "ProgramOp",
    "RunOp",
    "Runnable",
    "TiledOp",
]
