# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Exact products of sparse matrices over a semiring, tile by tile on an array.

Features beyond the activation memory are tiled, and the tiles' results joined; so are outputs.
A sum leaves the array in int8. One of a wider range leaves it as often as it takes, in windows
that lie side by side: each saturates where the sum is not its own, so that all of them add up
to the sum. Nothing is ever lost; the ranges are known from the entries beforehand.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import FunctionType, ModuleOp, i8, i32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region
from xdsl.rewriter import InsertPoint, Rewriter

from daqkf.compiler.design import run_passes
from daqkf.compiler.pipelines import LOWER
from daqkf.dialects.dense import from_array
from daqkf.dialects.dfke import KernelOp, Machine
from daqkf.dialects.interpreting import run
from daqkf.dialects.rpea import ArrayConfig, ArrayOp, Playable
from daqkf.dialects.spaq import AddOp, ConstantOp, MatmulOp, RequantizeOp, Semiring
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets import load_target, numerics
from daqkf.hw_targets.families.semiring import FAMILY
from daqkf.hw_targets.semirings import INFINITY
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.image.encode import encode, playable
from daqkf.lowering.rtl.array import build_array
from daqkf.passes.dfke_schedule import schedule
from daqkf.passes.encode.grouping import ranks
from daqkf.passes.encode.semiring import cost
from daqkf.runtime.simulator import Job, Simulator

WINDOW = numerics.ACTIVATION_MAX - numerics.ACTIVATION_MIN
"""How far one int8 reaches."""

MOST_WINDOWS = 1024
"""Of one output in one tile; sums within about ±130000."""

JOINS: dict[Semiring, np.ufunc] = {
    Semiring.PLUS_TIMES: np.add,
    Semiring.MAX_PLUS: np.maximum,
    Semiring.MIN_PLUS: np.minimum,
    Semiring.OR_AND: np.bitwise_or,
}


class TooWideError(ValueError):
    """The sums of an output have too wide a range to leave an array in int8."""

    def __init__(self, column: int, low: int, high: int):
        super().__init__(
            f"may reach {low}..{high}, more than {MOST_WINDOWS} results of int8 hold; use "
            f"smaller values"
        )
        self.column = column


@dataclass(frozen=True)
class Entries:
    """The stored entries of a matrix, sorted by row and column. All arrays are [nnz]."""

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    value: NDArray[np.int64]

    def dense(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], zero: int
    ) -> NDArray[np.int8]:
        """int8 [rows, columns] of a submatrix, whose indices ascend; `zero` where nothing is."""
        matrix = np.full((len(rows), len(columns)), zero, np.int8)
        inside = np.isin(self.row, rows) & np.isin(self.column, columns)
        row = np.searchsorted(rows, self.row[inside])
        matrix[row, np.searchsorted(columns, self.column[inside])] = self.value[inside]
        return matrix


@dataclass(frozen=True)
class Tile:
    """One program's work: int8 results [T, N] are `clamp(x·W + bias)` over the semiring."""

    x: NDArray[np.int8]
    weights: NDArray[np.int8]
    bias: NDArray[np.int64]


@dataclass(frozen=True)
class _Block:
    """The part of a product that some features and some outputs make, in windows.

    The sum of output n is `base[n]` and, of each of its windows, how far the result is from
    the end of int8 where the windows are anchored.
    """

    x: NDArray[np.int8]
    """[T, K]"""
    weights: NDArray[np.int8]
    """[K, N]"""
    tokens: NDArray[np.int64]
    """[T] rows of the whole product."""
    outputs: NDArray[np.int64]
    """[N] columns of the whole product."""
    base: NDArray[np.int64]
    """[N] the end of each output's range at which its windows are anchored."""
    window_of: NDArray[np.int64]
    """[N'] the output of each window."""
    bias: NDArray[np.int64]
    """[N'] what moves each window onto int8."""

    @classmethod
    def of(
        cls,
        x: NDArray[np.int8],
        weights: NDArray[np.int8],
        tokens: NDArray[np.int64],
        outputs: NDArray[np.int64],
        semiring: Semiring,
    ) -> "_Block":
        """Lay windows over the ranges of the sums.

        Those of (min, +) are anchored at the top, beside infinity; so every window of a sum
        that is infinite saturates.
        """
        low, high = _range(x, weights, semiring)
        count = np.maximum(-(-(high - low) // WINDOW), 1)
        if (count > MOST_WINDOWS).any():
            worst = int(count.argmax())
            raise TooWideError(int(outputs[worst]), int(low[worst]), int(high[worst]))
        window_of = np.repeat(np.arange(len(count)), count)
        rank = ranks(count)
        top = semiring is Semiring.MIN_PLUS
        base = high if top else low
        bias = _anchor(semiring) - base[window_of] + (WINDOW * rank if top else -WINDOW * rank)
        return cls(x, weights, tokens, outputs, base, window_of, bias)

    def tiles(self, machine: Machine, semiring: Semiring) -> list[Tile]:
        """Programs that fit a machine however their outputs are shared out.

        Each has as many outputs and stream words as a single element holds.
        """
        most = min(machine.result_depth, machine.parameter_depth)
        words = cost(self.weights, machine.max_shift, semiring, machine.items)[self.window_of]
        tiles: list[Tile] = []
        start = 0
        while start < len(words):
            fitting = np.cumsum(words[start : start + most]) <= machine.stream_depth
            end = start + max(int(fitting.sum()), 1)
            part = slice(start, end)
            tiles.append(Tile(self.x, self.weights[:, self.window_of[part]], self.bias[part]))
            start = end
        return tiles

    def entries(self, results: Sequence[NDArray[np.int8]], semiring: Semiring) -> Entries:
        """What the tiles' results, int8 [T, n] each, add up to; zeros are left out."""
        beyond = np.concatenate(results, axis=1).astype(np.int64) - _anchor(semiring)
        starts = np.flatnonzero(np.diff(self.window_of, prepend=-1))
        sums = self.base + np.add.reduceat(beyond, starts, axis=1)
        zero = self.base if semiring.tropical else 0
        row, column = np.nonzero(sums != zero)
        return Entries(self.tokens[row], self.outputs[column], sums[row, column])


def _anchor(semiring: Semiring) -> int:
    """The end of int8 at which a sum at the anchored end of its range leaves the array."""
    high = semiring is Semiring.MIN_PLUS
    return numerics.ACTIVATION_MAX if high else numerics.ACTIVATION_MIN


def _range(
    x: NDArray[np.int8], weights: NDArray[np.int8], semiring: Semiring
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What the sums [N] of x [T, K] and weights [K, N] reach at most.

    In a tropical semiring, one step further stands for infinity.
    """
    levels, channels = weights.astype(np.int64), weights.shape[1]
    if semiring is Semiring.OR_AND:
        ends = numerics.ACTIVATION_MIN, numerics.ACTIVATION_MAX
        return np.full(channels, ends[0]), np.full(channels, ends[1])
    if semiring is Semiring.PLUS_TIMES:
        least, most = (end(x, axis=0, initial=0).astype(np.int64) for end in (np.min, np.max))
        up, down = np.maximum(levels, 0), np.minimum(levels, 0)
        return least @ up + most @ down, most @ up + least @ down
    far = -numerics.ACTIVATION_MIN * 4
    absent, missing, items = weights == semiring.zero, x == semiring.zero, x.astype(np.int64)
    least = np.where(missing, far, items).min(axis=0)[:, np.newaxis]
    most = np.where(missing, -far, items).max(axis=0)[:, np.newaxis]
    low = np.where(absent, far, least + levels).min(axis=0)
    high = np.where(absent, -far, most + levels).max(axis=0)
    maximum = semiring is Semiring.MAX_PLUS
    return low - maximum, high + (not maximum)


def _blocks(x: Entries, weights: Entries, semiring: Semiring, machine: Machine) -> Iterator[_Block]:
    """Tiles of as many features as a machine holds, and of outputs; empty ones are left out."""
    features = np.intersect1d(x.column, weights.row)
    for start in range(0, len(features), machine.activation_depth - 1):
        chosen = features[start : start + machine.activation_depth - 1]
        tokens = np.unique(x.row[np.isin(x.column, chosen)])
        outputs = np.unique(weights.column[np.isin(weights.row, chosen)])
        block = x.dense(tokens, chosen, semiring.zero)
        for first in range(0, len(outputs), machine.result_depth):
            some = outputs[first : first + machine.result_depth]
            yield _Block.of(
                block, weights.dense(chosen, some, semiring.zero), tokens, some, semiring
            )


def multiply(
    x: Entries, weights: Entries, semiring: Semiring, *, target: str, engine: str
) -> Entries:
    """The product of x [T, K] and weights [K, N]; entries of the semiring's zero are left out.

    The values of x and weights are int8, and none is a tropical semiring's zero.

    Args:
        x: its rows are the tokens.
        weights: become the programs. Those of `or_and` are -1.
        semiring: of the product.
        target: an array's target, whose memories set the tiles.
        engine: `golden` interprets the integer IR, `rtl` simulates the generated array.

    Raises:
        TooWideError: a sum has too wide a range.
        ValueError: no such target or engine.
        SimulationError, ToolNotFoundError: the simulation failed, or a tool is missing.
    """
    machine = load_target(target).machine
    if engine not in _ENGINES:
        raise ValueError(f"unknown engine '{engine}' (known: {', '.join(_ENGINES)})")
    blocks = list(_blocks(x, weights, semiring, machine))
    tiles = [block.tiles(machine, semiring) for block in blocks]
    results = iter(_ENGINES[engine]([tile for part in tiles for tile in part], semiring, target))
    parts = [
        block.entries([next(results) for _ in part], semiring)
        for block, part in zip(blocks, tiles, strict=True)
    ]
    return joined(parts, JOINS[semiring], 0 if not semiring.tropical else None)


def joined(parts: Sequence[Entries], join: np.ufunc, zero: int | None) -> Entries:
    """All entries of several matrices of one shape, joined where they meet.

    What becomes `zero` is left out.
    """
    row, column, value = (
        np.concatenate([np.empty(0, np.int64), *(getattr(part, name) for part in parts)])
        for name in ("row", "column", "value")
    )
    order = np.lexsort((column, row))
    row, column, value = row[order], column[order], value[order]
    fresh = np.ones(len(row), bool)
    fresh[1:] = (np.diff(row) != 0) | (np.diff(column) != 0)
    starts = np.flatnonzero(fresh)
    if len(starts):
        value = join.reduceat(value, starts)
    keep = np.full(len(starts), True) if zero is None else value != zero
    return Entries(row[starts][keep], column[starts][keep], value[keep])


def _layer(tile: Tile, semiring: Semiring) -> ModuleOp:
    """The integer layer of a tile: its sums leave as they are, saturated."""
    features, channels = tile.weights.shape
    block = Block(arg_types=[activations(features, i8)])
    weights = ConstantOp(from_array(tile.weights, i8))
    bias = ConstantOp(from_array(tile.bias, i32))
    product = MatmulOp(block.args[0], weights.result, activations(channels, i32), semiring)
    total = AddOp(product.result, bias.result)
    # (2·sum + 1) >> 1 is the sum.
    identity = (from_array(np.full(channels, factor), i32) for factor in (2, 1))
    result = RequantizeOp(total.result, *identity)
    block.add_ops([weights, bias, product, total, result, ReturnOp(result.result)])
    kind = FunctionType.from_lists(list(block.arg_types), [result.result.type])
    return ModuleOp([FuncOp("product", kind, Region(block))])


def _interpret(tiles: Sequence[Tile], semiring: Semiring, target: str) -> list[NDArray[np.int8]]:
    """Run the integer IR of each tile."""
    return [run(_layer(tile, semiring), tile.x) for tile in tiles]


def array_config(machine: Machine) -> ArrayConfig:
    """The array that plays every tile: semiring elements, and sums as wide as any tile's."""
    features = machine.activation_depth - 1
    most = numerics.ACTIVATION_MIN * numerics.ACTIVATION_MIN
    accumulator = numerics.width_for(features * most)
    return ArrayConfig(
        **asdict(_with_semirings(machine)),
        running_sum_width=max(
            numerics.width_for(-features * numerics.ACTIVATION_MIN), _TROPICAL_BITS
        ),
        accumulator_width=accumulator,
        # A window's bias reaches as far as the sum.
        sum_width=accumulator + 1,
    )


_TROPICAL_BITS = numerics.width_for(INFINITY + (numerics.ACTIVATION_MAX << 1))
"""Of -∞ below a span of weights."""


def _with_semirings(machine: Machine) -> Machine:
    return replace(machine, families=(FAMILY.name,))


def _simulate(tiles: Sequence[Tile], semiring: Semiring, target: str) -> list[NDArray[np.int8]]:
    """Play the tiles' programs one after another on the Verilated array."""
    if not tiles:
        return []
    machine = _with_semirings(load_target(target).machine)
    config = array_config(machine)
    jobs = [
        Job(encode(_program(tile, semiring, machine, config)), tile.x, len(tile.bias))
        for tile in tiles
    ]
    return [y for y, _ in _simulator(config).run(jobs)]


def _program(tile: Tile, semiring: Semiring, machine: Machine, config: ArrayConfig) -> Playable:
    """A tile's program for an array."""
    module = _layer(tile, semiring)
    run_passes(module, ["dfke-fuse", "dfke-specialize-bitwidth"])
    for kernel in (op for op in module.walk() if isinstance(op, KernelOp)):
        kernel.schedule = schedule(tile.weights, machine, semiring)
    Rewriter.insert_op(ArrayOp("array", config), InsertPoint.at_start(module.body.block))
    run_passes(module, LOWER)
    return playable(module)[-1]


@cache
def _simulator(config: ArrayConfig) -> Simulator:
    from daqkf.lowering.hdl.verilog import emit_verilog

    return Simulator.verilated(emit_verilog(circuit_module(build_array(config))), config)


Engine = Callable[[Sequence[Tile], Semiring, str], list[NDArray[np.int8]]]

_ENGINES: dict[str, Engine] = {"golden": _interpret, "rtl": _simulate}
