# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Compare what whole devices do, filled with our engines or with arrays in DSP blocks.

The planner fills a device with engines of one kind, by what they take (`hw_targets.engine`) and
by their cycles (`hw_targets.prediction`), for all of MiniLM's 36 layers, each by itself. All arrays
are made by the same generator, have the same loaders, post units and memory ports, read their
weights from the same external memory, and run at the same clock. All but the dense ones run the
same integers, which keep the embeddings at a cosine to those of W8A8; dense ones do not care which.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from daqkf.compiler.executor import HERE, Executor
from daqkf.compiler.kernels import programs_of
from daqkf.compiler.stages import Stage
from daqkf.dialects.rpea import ArrayOp, RunOp
from daqkf.hw_targets import load_target
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.device import LABELS, Device, Needs, load_device
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.memory import Channels, load_channels
from daqkf.passes.progress import Progress, silent
from daqkf.passes.quantize.weights import integer_weights
from daqkf.planning.plan import CAUSES, Plan
from daqkf.planning.search import best_engines
from daqkf.planning.workload import Product, Program, Workload
from daqkf.studies.bench.workload import Workload as Network
from daqkf.support.errors import DaqkfError

TOKENS = 65536
"""In flight: so many that no engine is without any at the end."""

_PRODUCT_BITS = 15
"""Of a product of an activation and a weight, with what packing adds, without its sign."""

_LANES = (64, 128, 256)
"""Of an element: with fewer, its stream is a larger part of it."""

OURS, ULTRA, DENSE, SKIPPING, BOTH = "ours", "ours-ultra", "dense-dsp", "multiply-dsp", "ours+dsp"

ARRAYS: Mapping[str, str] = {
    DENSE: "a dense array, two products in each DSP block",
    SKIPPING: "multiplies non-zeros alone, two products in each DSP block",
    OURS: "running sums of 8 items, memories in block RAM and in LUTs",
    ULTRA: "the same, with UltraRAM, too",
    BOTH: "the same, and the dense array in what is left of the device",
}
"""What fills a device."""

_IN_LUTS = "in-luts"
"""What a workload is called that is compiled for activation memories of few rows, which can be made
of LUTs."""


@dataclass(frozen=True)
class Share:
    """What engines of a kind may take at most of what is left, 1 being all of it."""

    block_ram: float = 1
    lut_rams: float = 1
    ultra_rams: float = 1
    bandwidth: float = 1


_REST = (Share(),)

_KINDS: Mapping[str, Mapping[str, Sequence[Share]]] = {
    OURS: {
        OURS: (Share(), Share(0.8, 0.4, bandwidth=0.6), Share(0.7, 0.2, bandwidth=0.5)),
        _IN_LUTS: _REST,
    },
    ULTRA: {
        OURS: (
            Share(ultra_rams=0),
            Share(0.75, 0.3, 0, 0.5),
            Share(0.5, 0.2, 0, 0.4),
        ),
        ULTRA: (Share(), Share(0.6, 0.4, bandwidth=0.7)),
        _IN_LUTS: _REST,
    },
}
"""The engines of an array that stand side by side, by the workload that they run, and the shares
that are tried of what those before them leave; the last ones have the rest."""


def machines() -> dict[str, Machine]:
    """What layers are compiled for, as it suits the memories."""
    plain = load_target("wide-memory").machine.without_units()
    base = replace(plain, partial_depth=0, shared_words=True)
    # A block RAM is twice as wide with half as many rows, so long kernels run in parts.
    short = replace(base, activation_depth=1024, partial_depth=512, result_depth=512)
    # An UltraRAM has 4096 rows, whether they are needed or not.
    deep = replace(base, result_depth=2048, activation_memory="ultra", result_memory="ultra")
    # 64 rows of an item are nine LUTs for each of its bits, so long kernels run in more parts.
    few = replace(short, activation_depth=256, activation_memory="distributed")
    return {OURS: short, ULTRA: deep, _IN_LUTS: few}


def compiled_functions(
    module: ModuleOp, machine: Machine, progress: Progress = silent, executor: Executor = HERE
) -> Workload:
    """Functions of integer kernels as programs for a machine, each by itself."""
    functions = [op for op in module.ops if isinstance(op, FuncOp)]
    kernels = {op.sym_name.data: ModuleOp([op.clone()]) for op in functions}
    arrays = programs_of(
        kernels, machine, "device", chains=False, wanted=[], executor=executor, progress=progress
    )
    config = next(op for op in arrays.ops if isinstance(op, ArrayOp)).config.data
    stages = [Stage("", op.target()) for op in arrays.walk() if isinstance(op, RunOp)]
    return Workload.of_groups([group for each in stages for group in each.programs], config)


def multiplied(layers: Sequence[NDArray[np.int8]], config: ArrayConfig) -> Workload:
    """The layers for elements that multiply: a word for each non-zero, or for each weight.

    Args:
        layers: the integer weights [K, N] of each.
        config: of the array.
    """
    programs: list[Program] = []
    for number, levels in enumerate(layers):
        features, outputs = levels.shape
        costs = np.full(outputs, features)
        if not config.lockstep:
            costs = np.maximum(np.count_nonzero(levels, axis=0), 1)
        programs.append(Program(str(number), [Product(features, costs.astype(np.int64))]))
    return Workload(programs, replace(config, index_bits=0))


@dataclass(frozen=True)
class Filling:
    """Engines that fill a device."""

    array: str
    device: Device
    sparsity: float
    cosine: float
    plans: tuple[Plan, ...]
    """Of engines side by side that are of different kinds."""

    @cached_property
    def rate(self) -> float:
        """Dense products in a cycle, zeros included."""
        return sum(found.rate / found.clock for found in self.plans)

    @cached_property
    def needs(self) -> Needs:
        """Of all engines."""
        total = Needs(0, 0, 0)
        for found in self.plans:
            total += found.needs
        return total

    @property
    def lanes(self) -> int:
        """Of all elements."""
        return sum(plan.engines * plan.config.pes * plan.config.lanes for plan in self.plans)

    @property
    def traffic(self) -> float:
        """Bytes of external memory in a second."""
        return sum(found.pace.traffic * found.clock / found.pace.cycles for found in self.plans)

    @property
    def fills(self) -> str:
        """The resource of which most is taken."""
        shares = self.device.shares(self.needs)
        return max(shares, key=lambda name: shares[name])

    def causes(self) -> dict[str, float]:
        """What the engines' cycles are for, weighted by their products."""
        return {
            name: sum(
                found.pace.causes[name] / found.pace.cycles * found.rate / found.clock / self.rate
                for found in self.plans
            )
            for name in CAUSES
        }

    def facts(self) -> dict[str, Any]:
        """All figures as values for JSON."""
        return {
            "array": self.array,
            "device": self.device.name,
            "sparsity": self.sparsity,
            "cosine": self.cosine,
            "products_per_cycle": self.rate,
            "lanes": self.lanes,
            "shares": self.device.shares(self.needs),
            "needs": asdict(self.needs),
            "bytes_per_second": self.traffic,
            "causes": self.causes(),
            "engines": [
                {
                    "engines": found.engines,
                    "engines_by_memory": dict(found.engines_by_memory),
                    "pes": found.config.pes,
                    "lanes": found.config.lanes,
                    "post_lanes": found.config.post_lanes,
                    "activation_depth": found.config.activation_depth,
                    "memory": f"{found.config.memory_ports} x {found.config.memory_bits} bits",
                    "products_per_cycle": found.rate / found.clock,
                    "utilisation": found.rate / found.peak,
                }
                for found in self.plans
            ],
        }


@dataclass(frozen=True)
class Bench:
    """A device that is filled, and how far."""

    device: Device
    memory: Channels
    clock: float
    use: float
    tokens: int = TOKENS

    @classmethod
    def of(cls, name: str, clock: float, use: float, tokens: int = TOKENS) -> "Bench":
        """A device with its usual memory.

        Raises:
            DaqkfError: there is no such device.
        """
        try:
            device = load_device(name)
        except ValueError as error:
            raise DaqkfError(str(error)) from None
        return cls(device, load_channels(device.memories[0]), clock, use, tokens)

    def plan(self, work: Workload) -> Plan:
        """The best engines for a workload."""
        return best_engines(
            work, self.device, self.memory, self.tokens, self.clock, self.use, lanes=_LANES
        )

    def less(self, needs: Needs, traffic: float) -> "Bench":
        """What is left beside something that takes resources and bytes a second.

        What may be taken of each resource gets less by what is taken.
        """
        left = {
            name: max(0, int(getattr(self.device, name) - getattr(needs, name) / self.use))
            for name in LABELS
        }
        share = max(1 - traffic / self.memory.bandwidth, 1e-3)
        return replace(self, device=replace(self.device, **left), memory=self._part(share))

    def part(self, share: Share) -> "Bench":
        """The device with a share of its memories and of its bandwidth."""
        device = replace(
            self.device,
            block_rams_18k=int(share.block_ram * self.device.block_rams_18k),
            lut_rams=int(share.lut_rams * self.device.lut_rams),
            ultra_rams=int(share.ultra_rams * self.device.ultra_rams),
        )
        return replace(self, device=device, memory=self._part(share.bandwidth))

    def _part(self, share: float) -> Channels:
        channel = self.memory.device
        return replace(self.memory, device=replace(channel, bandwidth=channel.bandwidth * share))

    def side_by_side(self, kinds: Sequence[tuple[Workload, Sequence[Share]]]) -> tuple[Plan, ...]:
        """Engines of some kinds, of which some may be left out: the best split that is tried.

        Args:
            kinds: what they run, and the shares that are tried.
        """
        if not kinds:
            return ()
        (work, shares), *others = kinds
        tried = [self.side_by_side(others)]
        for share in shares:
            for first in self.part(share).if_any(work):
                traffic = first.pace.traffic * self.clock / first.pace.cycles
                tried.append((first, *self.less(first.needs, traffic).side_by_side(others)))
        return max(tried, key=lambda plans: sum(found.rate for found in plans))

    def if_any(self, work: Workload) -> Sequence[Plan]:
        """The best engines, or none if there is no room for any."""
        try:
            return [self.plan(work)]
        except DaqkfError:
            return []


@dataclass(frozen=True)
class Works:
    """What each array has to do for a network."""

    network: Network
    by_array: Mapping[str, Workload]

    @classmethod
    def of(
        cls, network: Network, progress: Progress = silent, executor: Executor = HERE
    ) -> "Works":
        """Compile a network's layers for each kind of elements; all run the same integers."""
        module = network.module()
        works = {
            name: compiled_functions(module, one, progress, executor)
            for name, one in machines().items()
        }
        layers = integer_weights([module])
        # Sums of products of 8 bits need all bits that the longest kernel fills.
        width = max(len(levels) << _PRODUCT_BITS for levels in layers).bit_length() + 1
        wide = replace(
            works[ULTRA].config,
            families=("multiply",),
            multiplier="packed",
            accumulator_width=width,
            sum_width=width,
            activation_memory="block",
            result_memory="block",
            shared_words=False,
        )
        works[SKIPPING] = multiplied(layers, wide)
        works[DENSE] = multiplied(layers, replace(wide, families=("dense",)))
        return cls(network, works)


def fill(
    bench: Bench, works: Works, only: Sequence[str], progress: Progress = silent
) -> list[Filling]:
    """Fill a device with each of the arrays.

    Args:
        bench: the device.
        works: what they have to do.
        only: of `ARRAYS`.
        progress: told of each step.

    Raises:
        DaqkfError: an engine of a kind does not fit at all.
    """
    network, by_array = works.network, works.by_array

    def filled(array: str, plans: Sequence[Plan]) -> Filling:
        if not plans:
            raise DaqkfError(f"no engine of {array} fits {bench.device.name}")
        return Filling(array, bench.device, network.sparsity, network.cosine, tuple(plans))

    def ours(on: Bench, array: str) -> Filling:
        kinds = [(by_array[name], shares) for name, shares in _KINDS[array].items()]
        return filled(array, on.side_by_side(kinds))

    found: dict[str, Filling] = {}
    for array in [name for name in ARRAYS if name in only]:
        progress(f"fill {bench.device.name} with {array}")
        if array == OURS:
            plans: Sequence[Plan] = ours(bench.part(Share(ultra_rams=0)), OURS).plans
        elif array in (ULTRA, BOTH):
            beside = found.get(ULTRA) or ours(bench, ULTRA)
            plans = beside.plans
            if array == BOTH:
                left = bench.less(beside.needs, beside.traffic)
                plans = [*plans, *left.if_any(by_array[DENSE])]
        else:
            plans = [bench.plan(by_array[array])]
        found[array] = filled(array, plans)
    return list(found.values())
