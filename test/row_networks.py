# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Small random chains with residuals and normalisations, and what they compute."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isqrt

import numpy as np
from networks import Layers, config_of, lowered
from numpy.typing import NDArray
from xdsl.dialects.builtin import FunctionType, ModuleOp, i8, i32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region

from daqkf.dialects.dense import from_array
from daqkf.dialects.dfke import Machine
from daqkf.dialects.rpea import (
    ArrayConfig,
    ChainOp,
    Kernel,
    NormalizationOp,
    ProgramOp,
    RunOp,
)
from daqkf.dialects.spaq.ops import activations

Ints = NDArray[np.int64]

SUM_BITS = 28
"""Room for sums, residuals and normalised values."""


def up_to_power(value: int) -> int:
    return 1 << max(value - 1, 1).bit_length()


@dataclass(frozen=True)
class Normalization:
    """The parameters of one."""

    exponent: Ints
    bias: Ints
    multiplier: Ints
    shift: Ints
    table: NDArray[np.int8]

    @classmethod
    def random(cls, rng: np.random.Generator, channels: int) -> "Normalization":
        return cls(
            rng.integers(0, 4, channels),
            rng.integers(-2000, 2000, channels),
            rng.integers(1500, 6000, channels),
            rng.integers(16, 18, channels),
            rng.permutation(256).astype(np.uint8).view(np.int8),
        )

    def expected(self, q: NDArray[np.int8]) -> NDArray[np.int8]:
        """Straight from the formulas, in Python's integers."""
        count = q.shape[1]
        rows: list[list[int]] = []
        for token in q.tolist():
            u = [v << e for v, e in zip(token, self.exponent.tolist(), strict=True)]
            total = sum(u)
            deviation = max(isqrt(count * sum(value * value for value in u) - total**2), 1)
            k = next(k for k in range(64) if (count << k) // deviation >= 1 << 11)
            factor, mean = (count << k) // deviation, (total << 4) // count
            rows.append([((value << 4) - mean) * factor >> max(k - 6, 0) for value in u])
        sums = np.array(rows) + self.bias
        levels = (sums * self.multiplier + (1 << (self.shift - 1))) >> self.shift
        return self.table[np.clip(levels, -128, 127) & 0xFF]


@dataclass(frozen=True)
class Rows:
    """Layers that follow one another, some of which add what others have read."""

    layers: Layers
    saves: tuple[int, ...]
    """The layers whose activations are kept."""
    residuals: Mapping[int, Ints]
    """The multipliers of the layers that add them."""
    normalizations: Mapping[int, Normalization]
    """Behind layers."""

    @classmethod
    def random(
        cls,
        seed: int,
        shape: Sequence[int],
        saves: Collection[int] = (),
        adds: Collection[int] = (),
        normalizes: Collection[int] = (),
    ) -> "Rows":
        rng = np.random.default_rng(seed)
        return cls(
            Layers.random(seed, shape),
            tuple(saves),
            {layer: rng.integers(0, 40, shape[layer + 1]) for layer in adds},
            {layer: Normalization.random(rng, shape[layer + 1]) for layer in normalizes},
        )

    def config(self, machine: Machine) -> ArrayConfig:
        """An array for the chain."""
        config = config_of(lowered(self.layers.module(machine)))
        count = len(self.layers.levels)
        outputs = [levels.shape[1] for levels in self.layers.levels]
        extra = {layer: config.slots(outputs[layer]) for layer in self.normalizations}
        depths = {
            "stream_depth": up_to_power(count * config.stream_depth),
            "parameter_depth": up_to_power(count * config.parameter_depth + sum(extra.values())),
        }
        widths = {"accumulator_width": SUM_BITS, "sum_width": SUM_BITS}
        kept = [outputs[layer] for layer in self.residuals]
        return replace(
            config,
            **depths,
            **widths,
            kernels=up_to_power(count + len(extra)),
            residual_depth=up_to_power(max(kept)) if kept else 0,
            normalizes=bool(extra),
        )

    def module(self, machine: Machine, array: ArrayConfig | None = None) -> ModuleOp:
        """A function that runs the chain, for an array of the machine or this one."""
        module = lowered(self.layers.module(machine), array or self.config(machine))
        programs = [op for op in module.ops if isinstance(op, ProgramOp)]
        kernels: list[Kernel] = []
        saves: list[int] = []
        for layer, program in enumerate(programs):
            if layer in self.saves:
                saves.append(len(kernels))
            if layer in self.residuals:
                program.properties["residual"] = from_array(self.residuals[layer], i32)
            kernels.append(program)
            if layer in self.normalizations:
                norm = asdict(self.normalizations[layer])
                table = from_array(norm.pop("table"), i8)
                data = {name: from_array(values, i32) for name, values in norm.items()}
                target = program.target().sym_name.data
                name = f"{program.sym_name.data}_norm"
                kernels.append(NormalizationOp(name, target, table=table, **data))
        module.body.block.erase_op(next(op for op in module.ops if isinstance(op, FuncOp)))
        norms = [kernel for kernel in kernels if isinstance(kernel, NormalizationOp)]
        module.body.block.add_ops([*norms, chain := ChainOp("chain", kernels, saves)])
        block = Block(arg_types=[activations(chain.features.value.data, i8)])
        run = RunOp(chain, block.args[0])
        block.add_ops([run, ReturnOp(run)])
        kind = FunctionType.from_lists(list(block.arg_types), [run.result.type])
        module.body.block.add_op(FuncOp("network", kind, Region(block)))
        module.verify()
        return module

    def expected(self, x: NDArray[np.int8]) -> NDArray[np.int8]:
        """Straight from the formulas."""
        made, kept = self.layers, x
        for layer, levels in enumerate(made.levels):
            kept = x if layer in self.saves else kept
            total = x.astype(np.int64) @ levels
            if layer in self.residuals:
                total += kept[:, : levels.shape[1]] * self.residuals[layer]
            total = (3 * total + (1 << (made.shifts[layer] - 1))) >> made.shifts[layer]
            x = made.tables[layer][np.clip(total, -128, 127) & 0xFF]
            if layer in self.normalizations:
                x = self.normalizations[layer].expected(x)
        return x
