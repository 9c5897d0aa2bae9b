# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What rotary embedding of SmolLM2's queries and keys would take on an array, in two ways.

As gates: a kernel picks features and cosines in turns, the row unit multiplies them, and a kernel
adds two products each. Then each lane may be at another position. The cosines come as activations,
shifted to be above 0, and what that adds is subtracted again.

As weights: a program for each position, whose lanes are the heads of one token.

Cycles are those of the simulated circuit: of a tile's rows that arrive, of its kernels, and of the
results that leave, with those in which a program is loaded that is for one position alone. The
noise is that of int8 against float32, on random features.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from xdsl.dialects.builtin import DYNAMIC_INDEX, FunctionType, ModuleOp, TensorType, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue

import daqkf
from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.dialects.dense import from_array
from daqkf.dialects.nn import ConstantOp, ElementwiseOp, MatmulOp
from daqkf.dialects.nn.elementwise import Function
from daqkf.hw_targets import load_target
from daqkf.passes.defaults import HOST_CYCLES
from daqkf.support.tables import table_console

HEADS, FEATURES, BASE = 12, 64, 1e5
"""Of queries and keys together, neighbouring features of which are turned."""

POSITION = 100
"""Of the first token."""

Floats = NDArray[np.float32]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", default="wide-norm", help="default: wide-norm")
    target = parser.parse_args(arguments).target
    lanes = load_target(target).machine.lanes
    table = Table("way", "tokens", "bytes loaded", "cycles a tile", "cycles a token", "noise [dB]")
    for way in (as_gates(target, lanes), as_weights(target)):
        table.add_row(*way.cells())
    host = HOST_CYCLES * HEADS * FEATURES
    table.add_row("host, at 4 cycles a value", "1", "", "", f"{host:,.0f}", "")
    table_console().print(table)


@dataclass(frozen=True)
class Way:
    """What a way to turn features takes."""

    name: str
    tokens: int
    """Of which all heads are turned."""
    loaded: int
    """Bytes of a program that no other token can have."""
    cycles: int
    noise: float

    def cells(self) -> list[str]:
        """A row of the table."""
        numbers = f"{self.loaded:,}", f"{self.cycles:,}", f"{self.cycles / self.tokens:,.0f}"
        return [self.name, str(self.tokens), *numbers, f"{self.noise:.1f}"]


def turns(positions: NDArray[np.int64]) -> Floats:
    """Cosines and sines [T, 2, FEATURES / 2]."""
    speeds = BASE ** (-np.arange(0, FEATURES, 2) / FEATURES)
    angles = positions[:, np.newaxis] * speeds
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def turned(x: Floats, factors: Floats) -> Floats:
    """Rows [T, heads, FEATURES] by cosines and sines [T, 2, FEATURES / 2]."""
    cos, sin = factors[:, :1], factors[:, 1:]
    even, odd = x[..., ::2], x[..., 1::2]
    found = np.empty(np.broadcast_shapes(x.shape, (len(factors), 1, FEATURES)), np.float32)
    found[..., ::2], found[..., 1::2] = even * cos - odd * sin, odd * cos + even * sin
    return found


def as_gates(target: str, lanes: int) -> Way:
    """All heads of a token in a lane, behind the cosines and the sines of its position."""
    rng = np.random.default_rng(1)
    pairs, values = FEATURES // 2, HEADS * FEATURES
    x = rng.uniform(-1, 1, (64, HEADS, FEATURES)).astype(np.float32)
    factors = turns(np.arange(64) + POSITION)
    gates, features = np.zeros((2, values + FEATURES, 2 * values), np.float32)
    sums = np.zeros((2 * values, values), np.float32)
    for value in range(values):
        head, feature = divmod(value, FEATURES)
        pair, odd = divmod(feature, 2)
        other = head * FEATURES + feature + (1 - 2 * odd)
        for number, (source, angle) in enumerate(((value, pair), (other, pairs + pair))):
            gates[values + angle, 2 * value + number] = 1
            features[source, 2 * value + number] = 1
            sums[2 * value + number, value] = 1 if number == 0 or odd else -1
    # A gate is 1 + cos, as ReLU leaves that: the features themselves are subtracted again.
    bias = np.ones(2 * values, np.float32)
    network = gated(gates, features, sums, bias)
    rows = np.concatenate([x.reshape(64, -1), factors.reshape(64, -1)], axis=1)
    compiled = daqkf.compile(
        network, calibration={"input0": rows}, target=target, host_cycles=1e9, split=0.0
    )
    assert isinstance(compiled, CompiledNetwork) and len(compiled.stages) == 1
    own = rows[:lanes]
    (found,) = compiled.run({"input0": own}, accelerator="rtl").values()
    even, odd = x[:lanes, :, ::2], x[:lanes, :, 1::2]
    shift = np.stack([even - odd, odd + even], axis=-1).reshape(len(own), -1)
    return Way("gates", lanes, 0, cycles_of(compiled), noise(found - shift, turned(x, factors)))


def gated(gates: Floats, features: Floats, sums: Floats, bias: Floats) -> ModuleOp:
    """`(relu(x·gates + bias) · (x·features))·sums`."""
    block = Block(arg_types=[TensorType(f32, [DYNAMIC_INDEX, len(gates)])])

    def constant(values: Floats) -> SSAValue:
        block.add_op(made := ConstantOp(from_array(values, f32)))
        return made.result

    def product(value: SSAValue, matrix: Floats) -> SSAValue:
        kind = TensorType(f32, [DYNAMIC_INDEX, matrix.shape[1]])
        block.add_op(made := MatmulOp(value, constant(matrix), kind))
        return made.result

    def applied(function: Function, *values: SSAValue) -> SSAValue:
        block.add_op(made := ElementwiseOp(function, values, values[0].type))
        return made.result

    x = block.args[0]
    gate = applied(Function.RELU, applied(Function.ADD, product(x, gates), constant(bias)))
    result = product(applied(Function.MUL, gate, product(x, features)), sums)
    block.add_op(ReturnOp(result))
    kind = FunctionType.from_lists([x.type], [result.type])
    return ModuleOp([FuncOp("main", kind, Region(block))])


def as_weights(target: str) -> Way:
    """The heads of one token in as many lanes, by a matrix that is of its position."""
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, (64, 1, FEATURES)).astype(np.float32)
    factors = turns(np.array([POSITION]))
    matrix = turned(np.eye(FEATURES, dtype=np.float32)[:, np.newaxis], factors)[:, 0]
    design = daqkf.compile(matrix, calibration=x[:, 0], target=target, split=0.0)
    measured = design.measure(x[:HEADS, 0])
    wanted = turned(x[:HEADS], np.repeat(factors, HEADS, axis=0))
    cycles = measured.cycles.total
    return Way("weights", 1, len(design.program), cycles, noise(measured.y, wanted[:, 0]))


def cycles_of(network: CompiledNetwork) -> int:
    """Of the one program that was simulated."""
    (found,) = network.simulated.cycles.values()
    return found.total - found.loading_program


def noise(found: NDArray[np.floating], wanted: Floats) -> float:
    """The ratio of signal to noise in dB."""
    rows = wanted.reshape(len(wanted), -1)[: len(found)]
    error = np.square(found.reshape(rows.shape) - rows, dtype=np.float64).sum()
    return float(10 * np.log10(np.square(rows, dtype=np.float64).sum() / error))


if __name__ == "__main__":
    main()
