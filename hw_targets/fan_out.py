# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How what an element says to all of its lanes gets there: at once, or through a tree of registers.

A net to many lanes is slow, as they take much of a device. An element of more than `LANES_AT_ONCE`
lanes divides them into groups. Each group has its own activation memories, and registers of its own
for the addresses and for the control of the lanes. Between these and the element there are as many
levels of registers as it takes to have none that goes to more than `BRANCHES`.
"""

from itertools import pairwise

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.numerics import ACTIVATION_BITS, EXPONENT_BITS

LANES_AT_ONCE = 32
"""Up to so many lanes have no tree."""

GROUP_LANES = 18
"""Lanes of a group. A row of theirs has 144 bits, which block RAM and UltraRAM divide without rest:
their widths are 9, 18, 36 and 72 bits."""

BRANCHES = 16
"""Registers to which one of the tree goes at most."""


def lane_groups(machine: Machine, family: str) -> list[range]:
    """The lanes that share registers, in elements of a family.

    Those with `shared_words` have no tree: a sum is held as its last step makes it, and cannot wait
    in the accumulators, to which the next output's words add already.
    """
    few = machine.lanes <= LANES_AT_ONCE
    if few or machine.shared_words or not FAMILIES[family].fans_out:
        return [range(machine.lanes)]
    starts = range(0, machine.lanes, GROUP_LANES)
    return [range(low, min(low + GROUP_LANES, machine.lanes)) for low in starts]


def fan_out_stages(machine: Machine, family: str) -> int:
    """Cycles from an element of a family to its groups of lanes; 0 if there is but one."""
    groups, stages = len(lane_groups(machine, family)), 0
    while groups > 1:
        groups, stages = -(-groups // BRANCHES), stages + 1
    return stages


def tree_stages(machine: Machine) -> int:
    """Those of the elements that have most; if there are any, all elements register which of their
    lanes the post unit takes."""
    return max(fan_out_stages(machine, family) for family in machine.families)


def tree_latency(machine: Machine) -> int:
    """Cycles by which a kernel's results come later for the tree: its levels, a register behind the
    activation memories, and one behind what each group of lanes chooses for the post unit."""
    stages = tree_stages(machine)
    return stages + 2 if stages else 0


def read_cycles(machine: Machine, family: str) -> int:
    """Cycles from an address to the activations in front of a lane of an element.

    They are the memory's and that of a register, which block RAM has itself. Where there is a tree,
    memories are spread over the device and far from the lanes; the way has a register more, and so
    it has where a feature is chosen from a row of several.
    """
    return 3 if fan_out_stages(machine, family) or machine.features_together > 1 else 2


def result_groups(config: ArrayConfig) -> list[range]:
    """The bits of a row of results that have a memory of their own: those of groups of lanes, where
    there is a tree. What the row unit gets beside a row is in the last one."""
    width = config.row_bits + EXPONENT_BITS * config.normalizes
    own = GROUP_LANES * ACTIVATION_BITS
    starts = range(0, config.row_bits, own) if tree_stages(config) else range(1)
    return [range(low, high) for low, high in pairwise([*starts, width])]


def late_results(machine: Machine) -> int:
    """Cycles by which a row of results comes later than a cycle after its address: those of the
    tree, if there is one, and that of a register behind the memory."""
    stages = tree_stages(machine)
    return stages + 1 if stages else 0
