# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Small random chains with residuals and a row unit, and the results that they must have."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isqrt

import numpy as np
from networks import Layers, config_of, lowered
from numpy.typing import NDArray
from xdsl.dialects.builtin import FunctionType, IntegerAttr, ModuleOp, UnitAttr, i8, i32, i64
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region

from daqkf.dialects.dense import from_array
from daqkf.dialects.rpea import (
    ChainOp,
    GatingOp,
    Kernel,
    NormalizationOp,
    ProgramOp,
    RowOperation,
    RunOp,
    SoftmaxOp,
)
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import Machine

Ints = NDArray[np.int64]

SUM_BITS = 28
"""The width of sums, which has room for residuals, normalised values and masking offsets."""

MASKED = -(1 << 20)
"""The offset of a key that is masked, so that it gets no share."""


IDENTITY = np.arange(256).astype(np.uint8).view(np.int8)
"""The activation table of a layer in front of a gating."""


def up_to_power(value: int) -> int:
    return 1 << max(value - 1, 1).bit_length()


@dataclass(frozen=True)
class Normalization:
    """The parameters of a normalisation."""

    exponent: Ints
    bias: Ints
    multiplier: Ints
    shift: Ints
    table: NDArray[np.int8]
    epsilon: int = 0
    rms: bool = False

    @classmethod
    def random(
        cls, rng: np.random.Generator, channels: int, epsilon: int = 0, *, rms: bool = False
    ) -> "Normalization":
        return cls(
            rng.integers(0, 4, channels),
            rng.integers(-2000, 2000, channels),
            rng.integers(1500, 6000, channels),
            rng.integers(16, 18, channels),
            rng.permutation(256).astype(np.uint8).view(np.int8),
            epsilon,
            rms,
        )

    def expected(self, q: NDArray[np.int8]) -> NDArray[np.int8]:
        """The results by the formulas, computed in Python's integers."""
        count = q.shape[1]
        rows: list[list[int]] = []
        for token in q.tolist():
            u = [v << e for v, e in zip(token, self.exponent.tolist(), strict=True)]
            total, squares = 0 if self.rms else sum(u), sum(value * value for value in u)
            deviation = max(isqrt(count * (squares + self.epsilon) - total**2), 1)
            k = next(k for k in range(64) if (count << k) // deviation >= 1 << 11)
            factor, mean = (count << k) // deviation, (total << 4) // count
            rows.append([((value << 4) - mean) * factor >> max(k - 6, 0) for value in u])
        sums = np.array(rows) + self.bias
        levels = (sums * self.multiplier + (1 << (self.shift - 1))) >> self.shift
        return self.table[np.clip(levels, -128, 127) & 0xFF]


def clamped(value: int) -> int:
    return min(max(value, -128), 127)


@dataclass(frozen=True)
class Gating:
    """The parameters of a gating."""

    gate: NDArray[np.int8]
    bias: Ints
    multiplier: Ints
    shift: Ints
    table: NDArray[np.int8]
    reach: int | None = None
    """That of the exponents that the results of a token share, if they do."""

    @classmethod
    def random(cls, rng: np.random.Generator, channels: int, reach: int | None = None) -> "Gating":
        gate, table = (rng.permutation(256).astype(np.uint8).view(np.int8) for _ in range(2))
        shared = reach is not None
        return cls(
            # Small gates, so that results of tokens differ in how large they are.
            np.arange(256).astype(np.int8) // 32 if shared else gate,
            rng.integers(-20, 20, channels) if shared else rng.integers(-2000, 2000, channels),
            rng.integers(1500, 6000, channels),
            rng.integers(17, 19, channels) - (4 if shared else 0),
            IDENTITY if shared else table,
            reach,
        )

    def expected(self, q: NDArray[np.int8]) -> NDArray[np.int8]:
        """The results by the formulas, computed in Python's integers."""
        return self._of(q, [0] * len(q))

    def exponents(self, q: NDArray[np.int8]) -> list[int]:
        """The exponents that the results of each token share."""
        assert self.reach is not None
        return [
            (min(max(abs(value) for value in token), 127) >> (7 - self.reach)).bit_length()
            for token in self._of(q, [0] * len(q)).tolist()
        ]

    def finer(self, q: NDArray[np.int8]) -> NDArray[np.int8]:
        """The results that share exponents."""
        assert self.reach is not None
        return self._of(q, [self.reach - exponent for exponent in self.exponents(q)])

    def _of(self, q: NDArray[np.int8], finer: Sequence[int]) -> NDArray[np.int8]:
        rows: list[list[int]] = []
        for token, bits in zip(q.tolist(), finer, strict=True):
            rows.append([])
            for n, (bias, multiplier, shift) in enumerate(
                zip(self.bias.tolist(), self.multiplier.tolist(), self.shift.tolist(), strict=True)
            ):
                total = int(self.gate[token[2 * n] & 0xFF]) * token[2 * n + 1] + bias
                scaled = (total << bits) * multiplier
                level = clamped((scaled + (1 << (shift - 1))) >> shift)
                rows[-1].append(int(self.table[level & 0xFF]))
        return np.array(rows, np.int8)


@dataclass(frozen=True)
class Softmax:
    """The parameters of a softmax."""

    keys: int
    table: NDArray[np.int8]
    offset: Ints
    multiplier: Ints
    shift: Ints
    queries: int = 0
    """Those of a token, of a causal softmax, behind `past` ones of earlier tokens."""
    past: int = 0

    @classmethod
    def random(cls, rng: np.random.Generator, channels: int, keys: int) -> "Softmax":
        """Draw a softmax at random; some keys are masked, and the table is random but ends in 0."""
        table = rng.integers(0, 128, 256).astype(np.int8)
        table[0x80] = 0
        offset = np.where(rng.random(channels) < 0.2, MASKED, rng.integers(90, 128, channels))
        shift = rng.integers(20, 22, channels) - (keys // 2).bit_length()
        return cls(keys, table, offset, rng.integers(1500, 6000, channels), shift)

    def causal(self, queries: int, past: int) -> "Softmax":
        """The same, but a query sees no keys of later tokens, and no others are masked."""
        return replace(self, offset=np.maximum(self.offset, 0), queries=queries, past=past)

    def expected(self, q: NDArray[np.int8]) -> NDArray[np.int8]:
        """The results by the formulas, computed in Python's integers."""
        return np.array([self._token(*numbered) for numbered in enumerate(q.tolist())], np.int8)

    def _token(self, number: int, token: list[int]) -> list[int]:
        row: list[int] = []
        seen = min(self.keys, (number + self.past) // self.queries + 1) if self.queries else None
        offset, multiplier, shift = (v.tolist() for v in (self.offset, self.multiplier, self.shift))
        for start in range(0, len(token), self.keys):
            group = range(start, start + self.keys)
            most = max(token[n] for n in group[:seen])
            e = [int(self.table[clamped(token[n] - most + offset[n]) & 0xFF]) for n in group[:seen]]
            e += [0] * (self.keys - len(e))
            total = max(sum(e), 1)
            k = next(k for k in range(64) if (64 << k) // total >= 1 << 11)
            for n, value in zip(group, e, strict=True):
                share = (value << 4) * ((64 << k) // total) >> max(k - 6, 0)
                scaled = (share * multiplier[n] + (1 << (shift[n] - 1))) >> shift[n]
                row.append(clamped(scaled))
        return row


RowKernel = Normalization | Gating | Softmax
"""What the row unit computes behind a layer."""


def row_operation(made: RowKernel, name: str, array: str) -> NormalizationOp | GatingOp | SoftmaxOp:
    """The operation with these parameters."""
    kind = {Normalization: NormalizationOp, Gating: GatingOp, Softmax: SoftmaxOp}[type(made)]
    data = {
        key: from_array(value, i8 if key in ("table", "gate") else i32)
        if isinstance(value, np.ndarray)
        else IntegerAttr(value, i64)
        if key in ("keys", "queries", "past", "reach")
        else value
        for key, value in asdict(made).items()
        if not (key in ("queries", "past") and not asdict(made)["queries"]) and value is not None
    }
    return kind(name, array, **data)


@dataclass(frozen=True)
class Rows:
    """Layers that follow one another; some of them add the activations of an earlier one."""

    layers: Layers
    saves: tuple[int, ...]
    """The layers whose activations are kept."""
    residuals: Mapping[int, Ints]
    """The multipliers of the layers that add kept activations."""
    normalizations: Mapping[int, Normalization]
    """The layers that have a normalisation behind them."""
    gatings: Mapping[int, Gating] = field(default_factory=dict)
    """The layers that have a gating behind them. Their tables are `IDENTITY`, and the next layer
    has half their outputs as its features."""
    softmaxes: Mapping[int, Softmax] = field(default_factory=dict)
    """The layers that have a softmax behind them."""
    wide: bool = False
    """Whether the results of the last layer, which has nothing behind it, are int16."""

    @classmethod
    def random(
        cls,
        seed: int,
        shape: Sequence[int],
        saves: Collection[int] = (),
        adds: Collection[int] = (),
        normalizes: Collection[int] = (),
        rms: Collection[int] = (),
        epsilon: int = 0,
        gates: Collection[int] = (),
        softmaxes: Mapping[int, int] | None = None,
        causal: tuple[int, int] | None = None,
        shares: Mapping[int, int] | None = None,
        wide: bool = False,
    ) -> "Rows":
        """Draw a chain at random.

        `shape` has the outputs of each layer, of which a gating leaves half. Of the normalisations,
        some are by the `rms`, and all have the `epsilon`. `softmaxes` has the number of keys of
        each softmax; if they are causal, they have these queries and this past. `shares` has the
        reach of the exponents that rows of a gating share. The last results may be `wide`.
        """
        rng = np.random.default_rng(seed)
        features = [n // 2 if layer - 1 in gates else n for layer, n in enumerate(shape)]
        layers = Layers.of_shapes(seed, list(zip(features, shape[1:], strict=False)))
        last = len(shape) - 2
        return cls(
            replace(
                layers,
                tables=[
                    IDENTITY if layer in gates or (wide and layer == last) else table
                    for layer, table in enumerate(layers.tables)
                ],
                # Sums that take exponents back are as much larger.
                shifts=[
                    shift
                    + (shares or {}).get(layer - 1, 0)
                    - (shift - 1 if wide and layer == last else 0)
                    for layer, shift in enumerate(layers.shifts)
                ],
            ),
            tuple(saves),
            {layer: rng.integers(0, 40, shape[layer + 1]) for layer in adds},
            {
                layer: Normalization.random(rng, shape[layer + 1], epsilon, rms=layer in rms)
                for layer in normalizes
            },
            {
                layer: Gating.random(rng, shape[layer + 1] // 2, (shares or {}).get(layer))
                for layer in gates
            },
            {
                layer: made if causal is None else made.causal(*causal)
                for layer, keys in (softmaxes or {}).items()
                for made in [Softmax.random(rng, shape[layer + 1], keys)]
            },
            wide,
        )

    @property
    def behind(self) -> Mapping[int, RowKernel]:
        """The kernels of the row unit, by the layer before each."""
        return {**self.normalizations, **self.gatings, **self.softmaxes}

    def config(self, machine: Machine) -> ArrayConfig:
        """An array for the chain."""
        config = config_of(lowered(self.layers.module(machine)))
        count = len(self.layers.levels)
        outputs = [levels.shape[1] for levels in self.layers.levels]
        # A softmax has two rows of parameters for each output.
        rows = [
            len(made.multiplier) * (2 if isinstance(made, Softmax) else 1)
            for made in self.behind.values()
        ]
        extra = sum(config.slots(number) for number in rows)
        depths = {
            "stream_depth": up_to_power(count * config.stream_depth),
            "parameter_depth": up_to_power(count * config.parameter_depth + extra),
        }
        widths = {"accumulator_width": SUM_BITS, "sum_width": SUM_BITS}
        kept = [outputs[layer] for layer in self.residuals]
        return replace(
            config,
            **depths,
            **widths,
            result_depth=max(config.result_depth, up_to_power(outputs[-1] * (1 + self.wide))),
            wide_results=self.wide,
            kernels=up_to_power(count + len(rows)),
            residual_depth=up_to_power(max(kept)) if kept else 0,
            normalizes=bool(self.normalizations or self.softmaxes),
            rms_norms=any(norm.rms for norm in self.normalizations.values()),
            epsilon_width=max(
                (norm.epsilon.bit_length() for norm in self.normalizations.values()), default=0
            ),
            gates=bool(self.gatings),
            row_exponents=max((made.reach or 0 for made in self.gatings.values()), default=0),
            softmax=bool(self.softmaxes),
            causal=any(made.queries for made in self.softmaxes.values()),
        )

    def module(self, machine: Machine, array: ArrayConfig | None = None) -> ModuleOp:
        """A function that runs the chain, on an array of the machine or on the given array."""
        module = lowered(self.layers.module(machine), array or self.config(machine))
        programs = [op for op in module.ops if isinstance(op, ProgramOp)]
        kernels: list[Kernel] = []
        saves: list[int] = []
        for layer, program in enumerate(programs):
            if layer in self.saves:
                saves.append(len(kernels))
            if layer in self.residuals:
                program.properties["residual"] = from_array(self.residuals[layer], i32)
            if layer - 1 in self.gatings and self.gatings[layer - 1].reach is not None:
                program.properties["correction"] = program.bias
                program.bias = from_array(self._offsets(layer), i32)
            if self.wide and program is programs[-1]:
                program.wide = UnitAttr()
            kernels.append(program)
            if layer in self.behind:
                target, name = program.target().sym_name.data, f"{program.sym_name.data}_rows"
                kernels.append(row_operation(self.behind[layer], name, target))
        module.body.block.erase_op(next(op for op in module.ops if isinstance(op, FuncOp)))
        rows = [kernel for kernel in kernels if isinstance(kernel, RowOperation)]
        module.body.block.add_ops([*rows, chain := ChainOp("chain", kernels, saves)])
        block = Block(arg_types=[activations(chain.features.value.data, i8)])
        run = RunOp(chain, block.args[0])
        block.add_ops([run, ReturnOp(run)])
        kind = FunctionType.from_lists(list(block.arg_types), [run.result.type])
        module.body.block.add_op(FuncOp("network", kind, Region(block)))
        module.verify()
        return module

    def _offsets(self, layer: int) -> Ints:
        """The bias of a layer whose activations share exponents."""
        return np.arange(self.layers.levels[layer].shape[1]) * 37 - 300

    def expected(self, x: NDArray[np.int8]) -> NDArray[np.integer]:
        """The results by the formulas."""
        made, kept, exponents = self.layers, x, None
        for layer, levels in enumerate(made.levels):
            kept = x if layer in self.saves else kept
            total = x.astype(np.int64) @ levels
            if exponents is not None:
                total = (total << np.array(exponents)[:, np.newaxis]) + self._offsets(layer)
                exponents = None
            if layer in self.residuals:
                total += kept[:, : levels.shape[1]] * self.residuals[layer]
            total = (3 * total + (1 << (made.shifts[layer] - 1))) >> made.shifts[layer]
            if self.wide and layer == len(made.levels) - 1:
                return np.clip(total, -(1 << 15), (1 << 15) - 1).astype(np.int16)
            x = made.tables[layer][np.clip(total, -128, 127) & 0xFF]
            behind = self.behind.get(layer)
            if isinstance(behind, Gating) and behind.reach is not None:
                x, exponents = behind.finer(x), behind.exponents(x)
            elif behind is not None:
                x = behind.expected(x)
        return x
