# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A tree of registers from an element to its groups of lanes (hw_targets/fan_out.py)."""

from collections.abc import Mapping

from daqkf.hw_targets.fan_out import BRANCHES
from daqkf.lowering.hdl.circuit import Circuit, Signal


def fan_out(
    c: Circuit, signals: Mapping[str, Signal], stages: int, leaves: int
) -> list[dict[str, Signal]]:
    """Copies of signals, `stages` cycles later, one for each leaf; without stages, the signals.

    All copies of a level are the same, and are kept apart by an attribute that synthesis heeds.
    """
    copies = [dict(signals)]
    for level in range(stages):
        number = -(-leaves // BRANCHES ** (stages - 1 - level))
        following: list[dict[str, Signal]] = []
        for copy in range(number):
            source = copies[copy * len(copies) // number]
            suffix = f"level{level}copy{copy}"
            following.append(
                {name: c.delay(of, f"{name}_{suffix}", keep=True) for name, of in source.items()}
            )
        copies = following
    return copies if stages else copies * leaves
