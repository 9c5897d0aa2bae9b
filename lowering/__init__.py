# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Where the level of the IR changes: imports, `dfke` → `rpea` → circuit → text and image.

`PASSES` maps each lowering's name to a factory that imports it only when it is asked for.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # The process in which CIRCT runs needs no xDSL.
    from xdsl.passes import ModulePass


def _lower_dfke_to_rpea() -> "type[ModulePass]":
    from daqkf.lowering.conversions.dfke_to_rpea import LowerDfkeToRpeaPass

    return LowerDfkeToRpeaPass


def _lower_rpea_to_hw() -> "type[ModulePass]":
    from daqkf.lowering.conversions.rpea_to_hw import LowerRpeaToHwPass

    return LowerRpeaToHwPass


PASSES: "dict[str, Callable[[], type[ModulePass]]]" = {
    "lower-dfke-to-rpea": _lower_dfke_to_rpea,
    "lower-rpea-to-hw": _lower_rpea_to_hw,
}
