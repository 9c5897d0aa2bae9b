# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What arrays have to do for a network, whatever the array."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.design import Design
from daqkf.dialects.dense import to_array
from daqkf.dialects.rpea import (
    ChainOp,
    DispatchOp,
    GatingOp,
    Kernel,
    NormalizationOp,
    Playable,
    ProgramOp,
    SoftmaxOp,
)
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.prediction import KernelWork, RowWork, Step, least_cycles
from daqkf.hw_targets.streams import is_coded, slot_bits
from daqkf.hw_targets.timing import gating_cycles, normalization_cycles, softmax_cycles
from daqkf.hw_targets.varint import output_bits
from daqkf.lowering.image.encode import parts_of, playable
from daqkf.passes.encode.balance import dealt, longest_first
from daqkf.support.errors import DaqkfError

FAMILIES_PLANNED = ("running_sum", "ordered_sum")
"""Those of whose elements plans of compiled networks are made."""


_MANY = 64
"""Outputs of an element, of which it makes no difference how they are shared out."""


class Share(NamedTuple):
    """What the elements have most of, which share the outputs of a kernel."""

    words: int
    outputs: int
    bits: int
    """Of the code of their words; 0 if these are as they are."""


@dataclass(frozen=True, eq=False)
class Product:
    """A kernel, by what each of its outputs takes."""

    features: int
    costs: NDArray[np.int64]
    """Words of each output [N]."""
    bits: NDArray[np.int64] | None = None
    """Bits of the code of these [N]; None where words are as they are."""

    @property
    def outputs(self) -> int:
        """N."""
        return len(self.costs)

    @property
    def products(self) -> int:
        """Of a token, zeros included."""
        return self.features * self.outputs

    def shared(self, pes: int) -> Share:
        """The most words, outputs and bits of an element, if outputs go to elements the longest
        first, to the one that has least to do (Graham, 1969), or where there are many, in turn."""
        if pes not in self._shared:
            if self.outputs > _MANY * pes:
                shares = [share[share >= 0] for share in dealt(self.costs, pes).T]
            else:
                shares = longest_first(self.costs, pes)
            words = max(int(self.costs[share].sum()) for share in shares)
            bits = 0 if self.bits is None else max(int(self.bits[share].sum()) for share in shares)
            self._shared[pes] = Share(words, max(map(len, shares)), bits)
        return self._shared[pes]

    def work(self, config: ArrayConfig, engines: int = 1) -> KernelWork:
        """What one engine does for a tile, of so many that share the outputs."""
        share = self.shared(engines * config.pes)
        outputs = -(-self.outputs // engines)
        rows = -(-share.bits // slot_bits(config)) if is_coded(config) else 0
        return KernelWork(self.features, outputs, share.words, stream_rows=rows)

    @cached_property
    def _shared(self) -> dict[int, Share]:
        """What was found for some numbers of elements."""
        return {}


@dataclass(frozen=True)
class Rows:
    """What the row unit does."""

    kind: str
    outputs: int
    keys: int = 0
    shares: bool = False
    """Whether gated rows share exponents."""

    def cycles(self, machine: Machine) -> int:
        """For a tile."""
        if self.kind == "normalizes":
            return normalization_cycles(machine, self.outputs)
        if self.kind == "gates":
            return gating_cycles(machine, self.outputs, self.shares)
        return softmax_cycles(machine, self.outputs, self.keys)


@dataclass(frozen=True)
class Program:
    """Products and the work of the row unit that run one after another without the host."""

    name: str
    parts: Sequence[Product | Rows]
    most: int | None = None
    """Tiles that run before the program changes, if it leaves or finds partial sums."""
    keeps: bool = False
    """Its sums stay on the array, as partial ones."""

    def steps(self, config: ArrayConfig) -> list[Step]:
        """What an array does for a tile."""
        return [
            part.work(config)
            if isinstance(part, Product)
            else RowWork(part.cycles(config), part.outputs)
            for part in self.parts
        ]

    @property
    def features(self) -> int:
        """Rows of a tile that come."""
        first = self.parts[0]
        assert isinstance(first, Product)
        return first.features

    @property
    def outputs(self) -> int:
        """Rows of a tile that leave."""
        return 0 if self.keeps else self.parts[-1].outputs

    def stream_depth(self, machine: Machine) -> int:
        """Words of the streams of an element."""
        return sum(part.shared(machine.pes).words for part in self._products)

    def slots(self, machine: Machine) -> int:
        """Parameter rows of an element."""
        stride, total = machine.parameter_stride, 0
        for part in self.parts:
            if isinstance(part, Product):
                total += part.shared(machine.pes).outputs
            else:
                total += -(-part.outputs * (1 + (part.kind == "softmax")) // stride)
        return total

    @cached_property
    def _products(self) -> list[Product]:
        return [part for part in self.parts if isinstance(part, Product)]

    @property
    def products(self) -> int:
        """Of a token, zeros included."""
        return sum(part.products for part in self._products)


@dataclass(frozen=True, eq=False)
class Workload:
    """The programs of a network, in order, and an array that they were compiled for."""

    programs: Sequence[Program]
    config: ArrayConfig
    engines: dict[Any, Sequence[ArrayConfig]] = field(default_factory=dict[Any, Any], repr=False)
    """Engines for it that a search has made, by what they were made of."""
    steps: dict[ArrayConfig, Sequence[Sequence[Step]]] = field(
        default_factory=dict[ArrayConfig, Sequence[Sequence[Step]]], repr=False
    )
    """What engines do for a tile of each program, once a search has asked."""

    @classmethod
    def of(cls, network: CompiledNetwork | Design) -> "Workload":
        """What a compiled layer or network has an array do.

        Raises:
            DaqkfError: it has elements other than running_sum or ordered_sum, variants, attention
                on the array, or nothing for the array.
        """
        config = network.config
        if config.families[0] not in FAMILIES_PLANNED or len(set(config.families)) > 1:
            raise DaqkfError(
                f"plans are for {' or '.join(FAMILIES_PLANNED)} elements, not for "
                f"{', '.join(config.families)}"
            )
        if isinstance(network, Design):
            return cls.of_groups([[playable(network.module)[-1]]], config)
        groups = [group for stage in network.stages for group in stage.programs]
        if not groups:
            raise DaqkfError("the array has nothing to do: no kernel of the network is on it")
        return cls.of_groups(groups, config)

    @classmethod
    def of_groups(cls, groups: Sequence[Sequence[Playable]], config: ArrayConfig) -> "Workload":
        """What programs have an array do.

        Args:
            groups: the parts of a kernel that is cut, in order, or a program alone.
            config: of the array that they were compiled for.

        Raises:
            DaqkfError: attention on the array, or variants.
        """
        programs: list[Program] = []
        for group in groups:
            made = [_program(program) for program in group]
            most = max(config.partial_depth // made[-1].outputs, 1) if len(made) > 1 else None
            programs += [replace(program, most=most, keeps=True) for program in made[:-1]]
            programs.append(replace(made[-1], most=most))
        # Gaps between rows have been measured for elements of ordered sums alone.
        whole = {"index_bits": 0} if config.families == ("running_sum",) else {}
        return cls(programs, replace(config, queue=False, **whole))

    @property
    def products(self) -> int:
        """Of a token, zeros included."""
        return sum(program.products for program in self.programs)

    def tile_cycles(self, pes: int, post_cycles: int) -> int:
        """Cycles of a tile in all programs, those of the elements and of the post unit alone."""
        key = pes, post_cycles
        if key not in self._tile_cycles:
            self._tile_cycles[key] = sum(
                max(part.shared(pes).words, part.outputs * post_cycles)
                for program in self.programs
                for part in program.parts
                if isinstance(part, Product)
            )
        return self._tile_cycles[key]

    @cached_property
    def _tile_cycles(self) -> dict[tuple[int, int], int]:
        """What was found for some elements and post units."""
        return {}

    def row_cycles(self, machine: Machine) -> int:
        """Cycles of a tile in all programs, those of the row unit."""
        key = machine.lanes, machine.post_lanes, machine.row_solvers
        if key not in self._row_cycles:
            self._row_cycles[key] = sum(
                part.cycles(machine)
                for program in self.programs
                for part in program.parts
                if isinstance(part, Rows)
            )
        return self._row_cycles[key]

    @cached_property
    def _row_cycles(self) -> dict[tuple[int, int, int], int]:
        """What was found for some row units."""
        return {}

    @cached_property
    def outputs(self) -> int:
        """Of all programs, those of the row unit among them."""
        return sum(part.outputs for program in self.programs for part in program.parts)

    @cached_property
    def least_cycles(self) -> int:
        """Cycles of a tile in all programs in which elements, post and row units do not work."""
        config = self.config
        return sum(least_cycles(program.steps(config), config) for program in self.programs)

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of a token's activations and results, of all programs."""
        return sum(program.features + program.outputs for program in self.programs)

    @property
    def words(self) -> int:
        """Of a tile, for all elements together."""
        return sum(
            int(part.costs.sum())
            for program in self.programs
            for part in program.parts
            if isinstance(part, Product)
        )


def compiled_steps(program: Playable) -> list[Step]:
    """What an array does for a tile of a compiled program, by the streams that it has.

    A `Program` shares outputs out anew, for any number of elements; these are shares as they are.

    Raises:
        DaqkfError: attention on the array, or variants.
    """
    _require_plain(program)
    found: list[Step] = []
    for part in parts_of(program):
        if not isinstance(part, ProgramOp):
            rows = _part(part)
            assert isinstance(rows, Rows)
            found.append(RowWork(rows.cycles(program.target().config.data), rows.outputs))
            continue
        config = part.target().config.data
        rows = 0
        if is_coded(config):
            streams = [words for words in part.streams() if words["last"].any()]
            bits = max(int(output_bits(words, config).sum()) for words in streams)
            rows = -(-bits // slot_bits(config))
        features = part.features.value.data
        found.append(KernelWork(features, part.channels, part.longest, part.wide is not None, rows))
    return found


def _program(program: Playable) -> Program:
    _require_plain(program)
    return Program(program.sym_name.data, [_part(part) for part in parts_of(program)])


def _require_plain(program: Playable) -> None:
    """Refuse what no plan counts."""
    if isinstance(program, DispatchOp):
        raise DaqkfError("plans are for layers of one variant")
    if isinstance(program, ChainOp) and program.tiles is not None:
        raise DaqkfError(
            "plans are for networks whose attention is on the host: compile without --products"
        )


def _part(part: Kernel) -> Product | Rows:
    match part:
        case ProgramOp():
            return _product(part)
        case NormalizationOp():
            return Rows("normalizes", part.channels)
        case GatingOp():
            return Rows("gates", part.channels, shares=part.reach is not None)
        case SoftmaxOp():
            return Rows("softmax", part.channels, part.keys.value.data)
        case _:
            raise DaqkfError(f"plans know no {part.name}")


def _product(program: ProgramOp) -> Product:
    """A kernel, its outputs in the order in which the elements complete them."""
    config = program.target().config.data
    costs: list[NDArray[np.int64]] = []
    bits: list[NDArray[np.int64]] = []
    for words in program.streams():
        if not words["last"].any():
            continue
        costs.append(np.diff(np.flatnonzero(words["last"]), prepend=-1))
        if is_coded(config):
            bits.append(output_bits(words, config))
    found = np.concatenate(costs)
    # What is behind the last output of an element, if anything, is shared out.
    rest = int(to_array(program.rows).sum()) - int(found.sum())
    found = found + -(-max(rest, 0) // max(len(found), 1))
    features = program.features.value.data
    return Product(features, found, np.concatenate(bits) if bits else None)
