# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Sharing out a kernel's output channels over the elements of a machine, of whatever families."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.results import result_rows
from daqkf.hw_targets.semirings import Semiring
from daqkf.hw_targets.timing import tile_cycles
from daqkf.passes.encode.balance import share_out, share_out_unrelated
from daqkf.passes.encode.coding import Coding, codings

Levels = NDArray[np.int8]
Ints = NDArray[np.int64]


def share_out_channels(
    levels: Levels,
    machine: Machine,
    semiring: Semiring = Semiring.PLUS_TIMES,
    wide: bool = False,
) -> tuple[list[Ints], Ints]:
    """Share out the output channels of levels [K, N] over the PEs of a machine.

    The post unit takes twice as long for results that are `wide`. Returns the channels of each PE
    in order, and its words [P].

    Raises:
        ValueError: levels that a family of the machine cannot hold, or a semiring that none
            can run.
    """
    members, able = machine.members(), codings(machine, semiring)
    for name, coding in able.items():
        _require_levels(levels, name, coding, machine)
    jobs = max(able.values(), key=lambda coding: coding.group).jobs(levels)
    costs = {name: _cost(levels, jobs, coding, machine) for name, coding in able.items()}
    workers = [members[name] for name in costs]
    if machine.lockstep:
        # The array's counters give PE p the outputs p, p + P, …
        shares: list[Ints] = [
            np.arange(pe, levels.shape[1], machine.pes) for pe in range(machine.pes)
        ]
    elif len(costs) == 1:
        post_cycles = result_rows(int(jobs.shape[1]), wide) * machine.post_cycles
        found = share_out(next(iter(costs.values())), len(workers[0]), post_cycles)
        shares = [np.empty(0, np.int64)] * machine.pes
        for pe, share in zip(workers[0], found, strict=True):
            shares[pe] = share
    else:
        shares = share_out_unrelated(np.stack(list(costs.values())), workers)
    words = np.zeros(machine.pes, np.int64)
    for name, cost in costs.items():
        for pe in members[name]:
            words[pe] = cost[shares[pe]].sum()
            if len(shares[pe]):
                words[pe] += able[name].closing(machine)
    return [_channels(jobs, share) for share in shares], words


def _cost(levels: Levels, jobs: Ints, coding: Coding, machine: Machine) -> Ints:
    """Words of each job on an element of the family."""
    cost = coding.cost(levels[:, jobs[jobs >= 0]], machine)
    return np.add.reduceat(cost, np.arange(0, len(cost), int(jobs.shape[1]) // coding.group))


def _channels(jobs: Ints, share: Ints) -> Ints:
    """The channels of a share of the jobs; one that is alone comes last."""
    filled = jobs[share].min(axis=1, initial=0) >= 0
    channels = jobs[np.concatenate((share[filled], share[~filled]))].ravel()
    return channels[channels >= 0]


def _require_levels(levels: Levels, family: str, coding: Coding, machine: Machine) -> None:
    largest = int(np.abs(levels.astype(np.int64)).max(initial=0))
    most = coding.most(machine)
    if largest > most:
        raise ValueError(f"a level of magnitude {largest}; a {family} element holds up to {most}")


def network_cycles(kernels: Sequence[Levels], machine: Machine) -> int:
    """Cycles of a tile through kernels of levels [K, N], one after another, apart from latency."""
    return sum(
        tile_cycles(share_out_channels(levels, machine)[1], levels.shape[1], machine)
        for levels in kernels
    )
