# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How each family of processing elements lays out weights: what they cost it, and its stream."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, override

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.dfke import Machine
from daqkf.dialects.spaq import Semiring
from daqkf.hw_targets import numerics
from daqkf.hw_targets.families import SEMIRINGS, SemiringSum
from daqkf.passes.encode import multiply, running_sum, semirings, strassen, ternary
from daqkf.passes.encode.balance import share_out, share_out_unrelated
from daqkf.passes.encode.running_sum import Stream

Levels = NDArray[np.int8]
Ints = NDArray[np.int64]


class Coding(ABC):
    """The compiler's side of a family."""

    def most(self, machine: Machine) -> int:
        """The largest magnitude that the family holds."""
        return numerics.LEVEL_MAX

    group: ClassVar[int] = 1
    """Consecutive channels that an element completes together; the last group may have fewer."""

    @abstractmethod
    def cost(self, levels: Levels, machine: Machine) -> Ints:
        """Words, which are cycles of a PE, of each group of the channels of levels [K, N]."""

    @abstractmethod
    def stream(self, levels: Levels, machine: Machine) -> Stream:
        """The words of levels [K, N], group after group; N > 0."""

    def streams(
        self, levels: Levels, shares: Sequence[NDArray[np.integer]], machine: Machine
    ) -> list[Stream]:
        """The words of several elements, each of a share of the columns of levels [K, N]."""
        return [self.stream(levels[:, share], machine) for share in shares]


class RunningSumCoding(Coding):
    """Items in the order of their magnitudes, and steps; see `running_sum`."""

    @override
    def cost(self, levels: Levels, machine: Machine) -> Ints:
        return running_sum.cost(levels, machine.max_shift, machine.items, machine.index_bits)

    @override
    def stream(self, levels: Levels, machine: Machine) -> Stream:
        return running_sum.stream(levels, machine.max_shift, machine.items, machine.index_bits)

    @override
    def streams(
        self, levels: Levels, shares: Sequence[NDArray[np.integer]], machine: Machine
    ) -> list[Stream]:
        # Columns know nothing of one another, and all at once take a fraction of the time.
        whole = self.stream(levels[:, np.concatenate(shares)], machine)
        return whole.cut([len(share) for share in shares])


class TernaryCoding(Coding):
    """Items without steps; see `ternary`."""

    @override
    def most(self, machine: Machine) -> int:
        return 1

    @override
    def cost(self, levels: Levels, machine: Machine) -> Ints:
        return ternary.cost(levels, machine.items, machine.index_bits)

    @override
    def stream(self, levels: Levels, machine: Machine) -> Stream:
        return ternary.stream(levels, machine.items, machine.index_bits)


@dataclass(frozen=True)
class SemiringCoding(Coding):
    """Items in the order of their weights; see `semirings`."""

    semiring: Semiring = Semiring.PLUS_TIMES

    @override
    def most(self, machine: Machine) -> int:
        return 128

    @override
    def cost(self, levels: Levels, machine: Machine) -> Ints:
        return semirings.cost(levels, machine.max_shift, self.semiring, machine.items)

    @override
    def stream(self, levels: Levels, machine: Machine) -> Stream:
        words = semirings.stream(levels, machine.max_shift, self.semiring, machine.items)
        code = np.full(int(words.starts[-1]), SEMIRINGS.index(self.semiring))
        return replace(
            words,
            fields={"semiring": code, **words.fields},
            correction=semirings.correction(levels, self.semiring),
        )


class StrassenCoding(Coding):
    """Blocks of two features and two outputs; see `strassen`."""

    group = 2

    @override
    def cost(self, levels: Levels, machine: Machine) -> Ints:
        return strassen.cost(levels)

    @override
    def stream(self, levels: Levels, machine: Machine) -> Stream:
        return strassen.stream(levels)


class MultiplyCoding(Coding):
    """The non-zeros with their weights; see `multiply`."""

    @override
    def most(self, machine: Machine) -> int:
        return (1 << (max(machine.weight_bits) - 1)) - 1

    @override
    def cost(self, levels: Levels, machine: Machine) -> Ints:
        return multiply.cost(levels, machine.weight_bits, machine.index_bits)

    @override
    def stream(self, levels: Levels, machine: Machine) -> Stream:
        return multiply.stream(levels, machine.weight_bits, machine.multiplier, machine.index_bits)


class DenseCoding(Coding):
    """All weights, zero or not."""

    @override
    def cost(self, levels: Levels, machine: Machine) -> Ints:
        features, channels = levels.shape
        return np.full(channels, features, np.int64)

    @override
    def stream(self, levels: Levels, machine: Machine) -> Stream:
        return multiply.dense_stream(levels, machine.multiplier)


CODINGS: Mapping[str, Coding] = {
    "running_sum": RunningSumCoding(),
    "ternary": TernaryCoding(),
    "semiring": SemiringCoding(),
    "strassen": StrassenCoding(),
    "multiply": MultiplyCoding(),
    "dense": DenseCoding(),
}


def codings(machine: Machine, semiring: Semiring) -> Mapping[str, Coding]:
    """How the families of a machine play a product over a semiring: those that can.

    Raises:
        ValueError: none can.
    """
    if semiring is Semiring.PLUS_TIMES:
        return {name: CODINGS[name] for name in machine.members()}
    name = SemiringSum.name
    if name not in machine.members():
        raise ValueError(
            f"a product over {semiring} needs elements of the family {name}; there are those of "
            f"{', '.join(machine.members())}"
        )
    return {name: SemiringCoding(semiring)}


def share_out_channels(
    levels: Levels, machine: Machine, semiring: Semiring = Semiring.PLUS_TIMES
) -> tuple[list[Ints], Ints]:
    """Share out the output channels of levels [K, N] over the PEs of a machine.

    Returns the channels of each PE in order, and its words [P].

    Raises:
        ValueError: levels that a family of the machine cannot hold, or a semiring that none
            can play.
    """
    members, able = machine.members(), codings(machine, semiring)
    for name in able:
        _require_levels(levels, name, machine)
    jobs = _jobs(levels, max(coding.group for coding in able.values()))
    costs = {name: _cost(levels, jobs, coding, machine) for name, coding in able.items()}
    workers = [members[name] for name in costs]
    if machine.lockstep:
        # The array's counters give PE p the outputs p, p + P, …
        shares = [np.arange(pe, levels.shape[1], machine.pes) for pe in range(machine.pes)]
    elif len(costs) == 1:
        post_cycles = jobs.shape[1] * machine.post_cycles
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
    return [_channels(jobs, share) for share in shares], words


def tile_cycles(words: Ints, outputs: int, machine: Machine) -> int:
    """Cycles of a tile, apart from latency: of the longest PE of words [P], or of the post unit."""
    return max(int(words.max()), outputs * machine.post_cycles)


def network_cycles(kernels: Sequence[Levels], machine: Machine) -> int:
    """Cycles of a tile through kernels of levels [K, N], one after another, apart from latency."""
    return sum(
        tile_cycles(share_out_channels(levels, machine)[1], levels.shape[1], machine)
        for levels in kernels
    )


def _jobs(levels: Levels, group: int) -> Ints:
    """[jobs, group] channels that stay together; only the last job may lack one, which is -1."""
    return np.arange(levels.shape[1])[:, np.newaxis] if group == 1 else strassen.pair(levels)


def _cost(levels: Levels, jobs: Ints, coding: Coding, machine: Machine) -> Ints:
    """Words of each job on an element of the family."""
    cost = coding.cost(levels[:, jobs[jobs >= 0]], machine)
    return np.add.reduceat(cost, np.arange(0, len(cost), jobs.shape[1] // coding.group))


def _channels(jobs: Ints, share: Ints) -> Ints:
    """The channels of a share of the jobs; one that is alone comes last."""
    filled = jobs[share].min(axis=1, initial=0) >= 0
    channels = jobs[np.concatenate((share[filled], share[~filled]))].ravel()
    return channels[channels >= 0]


def _require_levels(levels: Levels, family: str, machine: Machine) -> None:
    largest = int(np.abs(levels.astype(np.int64)).max(initial=0))
    most = CODINGS[family].most(machine)
    if largest > most:
        raise ValueError(f"a level of magnitude {largest}; a {family} element holds up to {most}")
