# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Random layers of exact integers in `spaq`, and how they become programs of an array."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from networks import MACHINE
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import FunctionType, IntegerType, ModuleOp, i8, i32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue
from xdsl.pattern_rewriter import PatternRewriteWalker
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.utils.exceptions import PassFailedException

from daqkf.dialects.dense import from_array
from daqkf.dialects.rpea import ArrayOp
from daqkf.dialects.spaq import (
    ActivationOp,
    AddOp,
    AttendOp,
    ConstantOp,
    MatmulOp,
    RequantizeOp,
    ResidualOp,
)
from daqkf.dialects.spaq.attention import Factors
from daqkf.dialects.spaq.ops import activations
from daqkf.dialects.spaq.rows import GateOp, GatherOp, NormalizeOp
from daqkf.hw_targets.config import ArrayConfig, epsilon_bits
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.numerics import epsilon_limit
from daqkf.hw_targets.semirings import Semiring
from daqkf.lowering.conversions.config_sizing import shared_config
from daqkf.lowering.conversions.dfke_to_rpea import LowerDfkeToRpeaPass
from daqkf.passes.dfke_chain import DfkeChainPass
from daqkf.passes.dfke_fuse import DfkeFusePass
from daqkf.passes.dfke_schedule import ScheduleKernel
from daqkf.passes.dfke_specialize_bitwidth import DfkeSpecializeBitwidthPass
from daqkf.passes.encode.coding import coding_of

Ints = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Making:
    """What random layers may have, beside products, biases, requantisation and tables."""

    most: int = 127
    """The largest level."""
    layers: int = 1
    """The most products that follow one another."""
    features: int = 40
    channels: int = 24
    semirings: tuple[Semiring, ...] = (Semiring.PLUS_TIMES,)
    residuals: bool = False
    normalizes: bool = False
    gates: bool = False
    attends: int = 0
    """The tokens of a sequence, if layers begin with attention."""


class _Layers:
    """A function under way."""

    def __init__(self, rng: np.random.Generator, making: Making, features: int):
        self.rng, self.making = rng, making
        self.block = Block(arg_types=[activations(features, i8)])
        self.value: SSAValue = self.block.args[0]
        self.features = features

    def add(self, op: Any) -> SSAValue:
        self.block.add_op(op)
        return op.results[0]

    def constant(self, values: Ints, kind: IntegerType) -> SSAValue:
        return self.add(ConstantOp(from_array(values, kind)))

    def table(self) -> Any:
        return from_array(self.rng.integers(-128, 128, 256).astype(np.int8), i8)

    def levels(self, features: int, channels: int, semiring: Semiring) -> NDArray[np.int8]:
        """Random levels, some of whose channels have none."""
        rng, most = self.rng, self.making.most
        largest = min(int(rng.choice([1, 2, 7, 127])), most)
        density = float(rng.choice([0.0, 0.05, 0.3, 0.7, 1.0], p=[0.05, 0.2, 0.3, 0.25, 0.2]))
        levels = rng.integers(1, largest + 1, (features, channels))
        levels *= rng.choice([-1, 1], levels.shape)
        if semiring is Semiring.OR_AND:
            levels[:] = -1
        keeps = rng.random(levels.shape) < density
        if rng.random() < 0.2:
            keeps[:, rng.integers(channels)] = False
        return np.where(keeps, levels, semiring.zero).astype(np.int8)

    def factors(self, sums: Ints) -> tuple[Any, Any]:
        """Multipliers and shifts that leave something to see of sums so large, mostly."""
        rng, channels = self.rng, len(sums)
        multiplier = rng.integers(1, 65536, channels)
        if rng.random() < 0.1:
            multiplier[rng.integers(channels)] = rng.choice([1, 65535])
        shift = (
            np.log2(np.maximum(sums, 1)) + np.log2(multiplier) - 7 + rng.integers(-2, 2, channels)
        )
        extreme = rng.random(channels) < 0.05
        shift = np.where(extreme, rng.choice([1, 47], channels), shift)
        return (
            from_array(multiplier, i32),
            from_array(np.clip(shift, 1, 47).astype(np.int64), i32),
        )

    def requantize(self, value: SSAValue, sums: Ints) -> SSAValue:
        """int8 of sums of about this size."""
        return self.add(RequantizeOp(value, *self.factors(sums)))

    def layer(
        self,
        channels: int,
        kept: SSAValue | None = None,
        source: SSAValue | None = None,
        table: bool = True,
        gather: bool = False,
    ) -> SSAValue:
        """A product of the value, or of another one, and what follows it."""
        rng, features = self.rng, self.features
        value = source if source is not None else self.value
        if gather:
            columns = np.sort(rng.integers(0, features, features + int(rng.integers(0, 4))))
            value, features = self.add(GatherOp(value, columns)), len(columns)
        semiring = self.making.semirings[rng.integers(len(self.making.semirings))]
        levels = self.levels(features, channels, semiring)
        weights = self.constant(levels, i8)
        sums = self.add(MatmulOp(value, weights, activations(channels, i32), semiring))
        if semiring.tropical:
            # Not scaled down: infinity would become a number.
            bias = self.constant(rng.integers(-100, 101, channels), i32)
            sums = self.add(AddOp(sums, bias))
            factors = rng.choice([1, 2, 3, 65535], channels), np.ones(channels, np.int64)
            result = self.add(RequantizeOp(sums, *(from_array(part, i32) for part in factors)))
            return self.add(ActivationOp("table", result, self.table()))
        if semiring is Semiring.OR_AND:
            reach = np.full(channels, 128)
        else:
            reach = np.abs(levels.astype(np.int64)).sum(axis=0) * 60
        if rng.random() < 0.8:
            bias = rng.integers(-1, 2, channels) * rng.integers(0, 1 + np.maximum(reach // 2, 1))
            sums = self.add(AddOp(sums, self.constant(bias, i32)))
        if kept is not None:
            multiplier = rng.integers(0, 1 + int(np.clip(reach.max() // 64, 1, 65535)), channels)
            sums = self.add(ResidualOp(sums, kept, from_array(multiplier, i32)))
        result = self.requantize(sums, reach)
        if table and rng.random() < 0.7:
            result = self.add(ActivationOp("table", result, self.table()))
        return result

    def finish(self, result: SSAValue) -> ModuleOp:
        self.add_return(result)
        kind = FunctionType.from_lists(list(self.block.arg_types), [result.type])
        module = ModuleOp([FuncOp("layer", kind, Region(self.block))])
        module.verify()
        return module

    def add_return(self, result: SSAValue) -> None:
        self.block.add_op(ReturnOp(result))


def random_layers(rng: np.random.Generator, making: Making) -> ModuleOp:
    """A function `layer` of int8 [T, K] → int8 [T, N]."""
    if making.attends:
        return _attention(rng, making)
    features = int(rng.choice([1, 2, *range(3, making.features + 1)]))
    made = _Layers(rng, making, features)
    kept: SSAValue | None = made.value
    kept_features = features
    plain = making.semirings == (Semiring.PLUS_TIMES,)
    for number in range(int(rng.integers(1, making.layers + 1))):
        gates = making.gates and rng.random() < 0.3
        channels = int(rng.choice([1, 2, *range(3, making.channels + 1)]))
        adds = making.residuals and kept is not None and rng.random() < 0.5
        if adds:
            channels = min(channels, kept_features)
        if gates:
            channels += channels % 2
            adds = adds and channels <= kept_features
        result = made.layer(
            channels,
            kept if adds else None,
            table=not gates,
            gather=plain and number == 0 and not adds and rng.random() < 0.15,
        )
        if gates:
            result = made.add(GateOp("table", result, made.table()))
            channels //= 2
            result = _behind(made, result, channels, 1 << 13)
        elif making.normalizes and rng.random() < 0.4:
            exponent = from_array(rng.integers(0, 8, channels), i32)
            epsilon = int(rng.choice([0, 0, 1, 500 * channels, epsilon_limit(channels) - 1]))
            rms = bool(rng.random() < 0.5)
            result = made.add(NormalizeOp(result, exponent, epsilon, rms=rms))
            result = _behind(made, result, channels, 1 << 11)
        made.value, made.features = result, channels
        if making.residuals and rng.random() < 0.5:
            kept, kept_features = result, channels
    return made.finish(made.value)


def _behind(made: _Layers, value: SSAValue, channels: int, reach: int) -> SSAValue:
    """What the post unit does with the results of the row unit."""
    rng = made.rng
    bias = made.constant(rng.integers(-reach, reach, channels), i32)
    value = made.add(AddOp(value, bias, activations(channels, i32)))
    value = made.requantize(value, np.full(channels, reach))
    if rng.random() < 0.7:
        value = made.add(ActivationOp("table", value, made.table()))
    return value


def _attention(rng: np.random.Generator, making: Making) -> ModuleOp:
    """Attention with its projections, and a layer behind it that may add what came in."""
    features = int(rng.integers(2, making.features + 1))
    made = _Layers(rng, making, features)
    heads, width = int(rng.integers(1, 4)), int(rng.choice([4, 8]))
    x = made.value
    keys, values, queries = (made.layer(heads * width, table=False) for _ in range(3))
    table = np.zeros(256, np.int64)
    below = np.arange(256) - 127
    table[:128] = np.rint(127 * np.exp(below[:128] / float(rng.choice([3, 20, 200]))))
    table[128:] = np.rint(127 * np.exp((np.arange(128, 256) - 256 - 127) / 20.0))
    if rng.random() < 0.3:
        table = rng.integers(0, 128, 256)
    table[128] = 0
    scores = rng.integers(1, 40, heads), rng.integers(4, 14, heads)
    count = heads * width
    attend = AttendOp(
        queries,
        keys,
        values,
        heads=heads,
        tokens=making.attends,
        scores=Factors(*scores),
        table=table.astype(np.int8),
        results=Factors(rng.integers(1, 2000, count), rng.integers(7, 17, count)),
    )
    made.value, made.features = made.add(attend), count
    adds = making.residuals and rng.random() < 0.6
    result = made.layer(features if adds else int(rng.integers(1, 20)), x if adds else None)
    return made.finish(result)


def activations_of(rng: np.random.Generator, module: ModuleOp, tokens: int) -> NDArray[np.int8]:
    """Random int8 [T, K]: all values, few, hardly any but zeros, or the ends of the range."""
    function = next(op for op in module.ops if isinstance(op, FuncOp))
    features = function.function_type.inputs.data[0].get_shape()[1]  # type: ignore[attr-defined]
    shape = (tokens, features)
    x = rng.integers(-128, 128, shape)
    match rng.integers(5):
        case 0:
            x = np.where(rng.random(shape) < 0.8, 0, x)
        case 1:
            x = rng.choice([-128, 127], shape)
        case 2:
            x[:] = rng.integers(-128, 128)
        case _:
            pass
    if rng.random() < 0.3:
        x[rng.integers(tokens)] = rng.choice([-128, 0, 127])
    return x.astype(np.int8)


def fused(module: ModuleOp, machine: Machine, chains: bool) -> ModuleOp:
    """A copy with scheduled kernels, in chains if the machine is to have some."""
    module = module.clone()
    context = Context()
    for step in (DfkeFusePass(), DfkeSpecializeBitwidthPass()):
        step.apply(context, module)
    pattern = ScheduleKernel(machine, "fuzz", False)
    PatternRewriteWalker(pattern, apply_recursively=False).rewrite_module(module)
    if chains:
        DfkeChainPass().apply(context, module)
    module.verify()
    return module


def lowered(module: ModuleOp, config: ArrayConfig | None = None) -> ModuleOp:
    """A copy with programs, on an array of this configuration or on one that just fits."""
    module = module.clone()
    if config is not None:
        Rewriter.insert_op(ArrayOp("array", config), InsertPoint.at_start(module.body.block))
    LowerDfkeToRpeaPass().apply(Context(), module)
    module.verify()
    return module


@dataclass(frozen=True)
class Array:
    """An array that random programs run on."""

    name: str
    machine: Machine
    making: Making
    unit: str = ""
    """What its row unit has, in words."""

    @property
    def chains(self) -> bool:
        """Whether several kernels make a program."""
        return self.making.layers > 1 or bool(self.making.attends)

    def random(self, seed: int) -> ModuleOp:
        """Random layers for it."""
        return random_layers(np.random.default_rng(seed), self.making)


def _wide(config: ArrayConfig) -> ArrayConfig:
    """An array with room to spare, for programs that nobody has seen when it was made."""
    depths = {name: 2 * getattr(config, name) for name in ("stream_depth", "parameter_depth")}
    config = replace(config, **depths, accumulator_width=30, sum_width=30)
    if not config.normalizes:
        return config
    return replace(config, rms_norms=True, epsilon_width=epsilon_bits(config.result_depth))


def config_for(array: Array, samples: int = 30) -> ArrayConfig:
    """A configuration for the programs of an array, sized by some that are always the same."""
    configs: list[ArrayConfig] = []
    for seed in range(samples):
        with suppress(PassFailedException):
            module = lowered(fused(array.random(seed), array.machine, array.chains))
            configs += [op.config.data for op in module.ops if isinstance(op, ArrayOp)]
    return _wide(shared_config(configs))


def largest_level(machine: Machine) -> int:
    """The largest level that all families of a machine have."""
    return min(coding_of(family).most(machine) for family in machine.families)


_ROWS = {"normalizes": True, "gates": True, "residual_depth": 64}


def _arrays() -> Sequence[Array]:
    made: Callable[..., Machine] = lambda **changes: replace(MACHINE, **changes)  # noqa: E731
    machines = {
        "mixed": made(pes=3, lanes=5, post_lanes=5, items=4, families=("running_sum", "multiply")),
        "strassen": made(lanes=4, post_lanes=2, families=("strassen",)),
        "windows": made(pes=3, items=8, max_shift=3, index_bits=3),
        "ternary": made(pes=5, items=4, families=("ternary", "running_sum"), banks=2),
        "dense": made(pes=3, lanes=4, families=("dense",), multiplier="packed"),
        "modes": made(pes=3, families=("multiply",), weight_bits=(4, 8), multiplier="dsp"),
    }
    plain = [
        Array(name, machine, Making(most=largest_level(machine)))
        for name, machine in machines.items()
    ]
    semiring = made(
        pes=3,
        lanes=4,
        post_lanes=2,
        items=4,
        families=("semiring", "running_sum", "semiring"),
    )
    rows = made(pes=4, lanes=8, post_lanes=2, items=8, max_shift=0, banks=2, **_ROWS)
    one = made(**_ROWS, items=2)
    sequences = made(
        lanes=4,
        items=4,
        post_lanes=2,
        max_shift=0,
        parameter_depth=1024,
        residual_depth=64,
        operand_depth=512,
        normalizes=True,
        softmax=True,
        banks=2,
    )
    chain = Making(layers=4, features=24, channels=20, residuals=True, normalizes=True, gates=True)
    return (
        *plain,
        Array("semirings", semiring, Making(semirings=tuple(Semiring))),
        Array("rows", rows, chain),
        Array("rows-one-bank", one, chain),
        Array("attention", sequences, Making(features=12, attends=10, residuals=True)),
    )


ARRAYS = {array.name: array for array in _arrays()}
