# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The circuits of the families of processing elements."""

from collections.abc import Callable, Mapping

from daqkf.dialects.rpea import ArrayConfig
from daqkf.lowering.hdl.circuit import Circuit, Signal
from daqkf.lowering.rtl.families import multiply, running_sum, semiring, strassen, ternary
from daqkf.lowering.rtl.families.stage import Datapath, Operands

type Builder = Callable[[Circuit, ArrayConfig, Operands], Datapath]

DATAPATHS: Mapping[str, Builder] = {
    "running_sum": running_sum.build_datapath,
    "ternary": ternary.build_datapath,
    "semiring": semiring.build_datapath,
    "strassen": strassen.build_datapath,
    "multiply": multiply.build_datapath,
    "dense": multiply.build_datapath,
}

STORED: Mapping[str, Callable[[Signal], Signal]] = dict.fromkeys(
    ("running_sum", "ternary"), running_sum.offset_binary
)
"""The form in which a family's memories hold a row of activations, if not as it is."""
