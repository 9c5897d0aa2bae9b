# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Exact products of sparse matrices over a semiring, computed tile by tile on an array.

If there are more features or outputs than an array holds, they are cut into tiles, and the results
of the tiles are joined. A sum leaves the array as int8. If its range is wider than that, the range
is covered by windows that lie side by side, and the sum is computed once for each window. A window
saturates where the sum is outside of it, so that the results of all windows add up to the sum. The
ranges are known from the entries beforehand, so nothing is ever lost.
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
from daqkf.dialects.dfke import KernelOp
from daqkf.dialects.interpreting import run
from daqkf.dialects.rpea import ArrayOp, Playable
from daqkf.dialects.spaq import AddOp, ConstantOp, MatmulOp, RequantizeOp
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets import load_target, numerics
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families.semiring import FAMILY
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.semirings import INFINITY, Semiring
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.image.encode import encode, playable
from daqkf.lowering.rtl.array import build_array
from daqkf.passes.dfke_schedule import schedule
from daqkf.passes.encode.grouping import ranks
from daqkf.passes.encode.semiring import cost
from daqkf.runtime.simulator import Job, Simulator

WINDOW = numerics.ACTIVATION_MAX - numerics.ACTIVATION_MIN
"""The width of a window: the largest int8 less the smallest."""

MOST_WINDOWS = 1024
"""The most windows of an output in a tile, which hold sums within about ±130000."""

JOINS: dict[Semiring, np.ufunc] = {
    Semiring.PLUS_TIMES: np.add,
    Semiring.MAX_PLUS: np.maximum,
    Semiring.MIN_PLUS: np.minimum,
    Semiring.OR_AND: np.bitwise_or,
}


class TooWideError(ValueError):
    """The range of an output's sums is too wide for its windows."""

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
        """A submatrix as int8 [rows, columns], with `zero` where there is no entry.

        The indices ascend.
        """
        matrix = np.full((len(rows), len(columns)), zero, np.int8)
        inside = np.isin(self.row, rows) & np.isin(self.column, columns)
        row = np.searchsorted(rows, self.row[inside])
        matrix[row, np.searchsorted(columns, self.column[inside])] = self.value[inside]
        return matrix


@dataclass(frozen=True)
class Tile:
    """The work of one program: int8 results [T, N] are `clamp(x·W + bias)` over the semiring."""

    x: NDArray[np.int8]
    weights: NDArray[np.int8]
    bias: NDArray[np.int64]


@dataclass(frozen=True)
class _Block:
    """A block of a product, for some of its features and outputs, cut into windows.

    Each window's result lies at some distance from the end of int8 at which windows are anchored.
    The sum of output n is `base[n]` plus these distances, over all windows of the output.
    """

    x: NDArray[np.int8]
    """Activations, [T, K]."""
    weights: NDArray[np.int8]
    """Weights, [K, N]."""
    tokens: NDArray[np.int64]
    """The row of the whole product for each token, [T]."""
    outputs: NDArray[np.int64]
    """The column of the whole product for each output, [N]."""
    base: NDArray[np.int64]
    """The end of each output's range at which its windows are anchored, [N]."""
    window_of: NDArray[np.int64]
    """The output of each window, [N']."""
    bias: NDArray[np.int64]
    """The bias that moves each window onto the range of int8, [N']."""

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

        The windows of (min, +) are anchored at the top, where infinity is, so that every window of
        an infinite sum saturates.
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
        """Make programs that fit a machine, however the outputs are shared out over its elements.

        Each program has at most as many outputs and stream words as one element holds.
        """
        most = min(machine.result_depth, machine.parameter_depth)
        words = cost(self.weights, machine.max_shift, semiring, machine.items)[self.window_of]
        tiles: list[Tile] = []
        start = 0
        while start < len(words):
            fitting = np.cumsum(words[start : start + most]) <= machine.stream_limit
            end = start + max(int(fitting.sum()), 1)
            part = slice(start, end)
            tiles.append(Tile(self.x, self.weights[:, self.window_of[part]], self.bias[part]))
            start = end
        return tiles

    def entries(self, results: Sequence[NDArray[np.int8]], semiring: Semiring) -> Entries:
        """The entries that the results of the tiles, int8 [T, n] each, add up to, without zeros."""
        beyond = np.concatenate(results, axis=1).astype(np.int64) - _anchor(semiring)
        starts = np.flatnonzero(np.diff(self.window_of, prepend=-1))
        sums = self.base + np.add.reduceat(beyond, starts, axis=1)
        zero = self.base if semiring.tropical else 0
        row, column = np.nonzero(sums != zero)
        return Entries(self.tokens[row], self.outputs[column], sums[row, column])


def _anchor(semiring: Semiring) -> int:
    """The int8 result of a sum that lies at the anchored end of its range."""
    high = semiring is Semiring.MIN_PLUS
    return numerics.ACTIVATION_MAX if high else numerics.ACTIVATION_MIN


def _range(
    x: NDArray[np.int8], weights: NDArray[np.int8], semiring: Semiring
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The bounds of the sums, each [N], for activations [T, K] and weights [K, N].

    In a tropical semiring, the bounds reach one further, for infinity.
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
    """Cut a product into blocks that fit a machine's memories; empty blocks are left out."""
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
    """The product of x [T, K] and weights [K, N], without entries of the semiring's zero.

    The values of x and the weights are int8; none may be the zero of a tropical semiring.

    Args:
        x: the left operand, whose rows become tokens.
        weights: the right operand, which becomes the programs. In `or_and` its values are -1.
        semiring: the semiring of the product.
        target: the target whose memories set the size of the tiles.
        engine: `golden` interprets the integer IR, `rtl` simulates the generated array.

    Raises:
        TooWideError: the range of a sum is too wide.
        ValueError: there is no such target or engine.
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
    """The entries of several matrices of one shape; where entries meet, `join` combines them.

    Results that are `zero` are left out.
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
    """The integer layer of a tile: its sums leave unchanged, but saturated."""
    features, channels = tile.weights.shape
    block = Block(arg_types=[activations(features, i8)])
    weights = ConstantOp(from_array(tile.weights, i8))
    bias = ConstantOp(from_array(tile.bias, i32))
    product = MatmulOp(block.args[0], weights.result, activations(channels, i32), semiring)
    total = AddOp(product.result, bias.result)
    # (2·sum + 1) >> 1 equals the sum.
    identity = (from_array(np.full(channels, factor), i32) for factor in (2, 1))
    multiplier, shift = identity
    result = RequantizeOp(total.result, multiplier, shift)
    block.add_ops([weights, bias, product, total, result, ReturnOp(result.result)])
    kind = FunctionType.from_lists(list(block.arg_types), [result.result.type])
    return ModuleOp([FuncOp("product", kind, Region(block))])


def _interpret(tiles: Sequence[Tile], semiring: Semiring, target: str) -> list[NDArray[np.int8]]:
    """Run the integer IR of each tile in the interpreter."""
    return [run(_layer(tile, semiring), tile.x) for tile in tiles]


def array_config(machine: Machine) -> ArrayConfig:
    """An array that runs every tile: it has semiring elements, and holds the widest sum."""
    features = machine.activation_depth - 1
    most = numerics.ACTIVATION_MIN * numerics.ACTIVATION_MIN
    accumulator = numerics.width_for(features * most)
    return ArrayConfig(
        **asdict(_with_semirings(machine)),
        running_sum_width=max(
            numerics.width_for(-features * numerics.ACTIVATION_MIN), _TROPICAL_BITS
        ),
        accumulator_width=accumulator,
        # The bias of a window is as wide as the sum.
        sum_width=accumulator + 1,
    )


_TROPICAL_BITS = numerics.width_for(INFINITY + (numerics.ACTIVATION_MAX << 1))
"""The width of a sum that is -∞ less a span of weights."""


def _with_semirings(machine: Machine) -> Machine:
    return replace(machine, families=(FAMILY.name,))


def _simulate(tiles: Sequence[Tile], semiring: Semiring, target: str) -> list[NDArray[np.int8]]:
    """Run the programs of the tiles one after another on the Verilated array."""
    if not tiles:
        return []
    machine = _with_semirings(load_target(target).machine)
    config = array_config(machine)
    jobs = [
        Job(encode(_program(tile, semiring, machine, config)), tile.x, len(tile.bias))
        for tile in tiles
    ]
    return [y.astype(np.int8, copy=False) for y, _ in _simulator(config).run(jobs)]


def _program(tile: Tile, semiring: Semiring, machine: Machine, config: ArrayConfig) -> Playable:
    """The program of a tile for an array."""
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
