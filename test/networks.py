# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Small random networks of kernels, and functions that tests of arrays share."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pyslang.ast import Compilation
from pyslang.syntax import SyntaxTree
from xdsl.context import Context
from xdsl.dialects.builtin import FunctionType, ModuleOp, i8, i32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region

from daqkf.dialects.dense import from_array
from daqkf.dialects.dfke.ops import kernel
from daqkf.dialects.rpea import ArrayOp
from daqkf.dialects.spaq import ActivationOp, ConstantOp, MatmulOp, RequantizeOp
from daqkf.dialects.spaq.checks import features
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import Machine
from daqkf.lowering.conversions.config_sizing import shared_config
from daqkf.lowering.conversions.dfke_to_rpea import LowerDfkeToRpeaPass
from daqkf.passes.dfke_chain import DfkeChainPass
from daqkf.passes.dfke_schedule import schedule
from daqkf.passes.dfke_specialize_bitwidth import DfkeSpecializeBitwidthPass
from daqkf.runtime import tools

MACHINE = Machine(
    pes=2,
    lanes=2,
    post_lanes=1,
    max_shift=1,
    activation_depth=256,
    stream_depth=2**14,
    parameter_depth=256,
    result_depth=256,
)
MACHINES = {
    "P2-T2": MACHINE,
    "P3-T5-V5": replace(MACHINE, pes=3, lanes=5, post_lanes=5, max_shift=0, items=8),
    "mixed": replace(MACHINE, families=("running_sum", "multiply")),
    "dense": replace(MACHINE, families=("dense",)),
}
SOME = [pytest.param(name, marks=() if name == "mixed" else pytest.mark.slow) for name in MACHINES]
"""Their names, for tests that build a simulator."""


@dataclass(frozen=True)
class Layers:
    """Random kernels that follow one another."""

    levels: list[NDArray[np.int8]]
    shifts: list[int]
    tables: list[NDArray[np.int8]]

    @classmethod
    def random(cls, seed: int, shape: Sequence[int]) -> "Layers":
        return cls.of_shapes(seed, list(pairwise(shape)))

    @classmethod
    def of_shapes(cls, seed: int, shapes: Sequence[tuple[int, int]]) -> "Layers":
        rng = np.random.default_rng(seed)
        levels = [
            (rng.integers(-9, 10, pair) * (rng.random(pair) < 0.6)).astype(np.int8)
            for pair in shapes
        ]
        tables = [rng.permutation(256).astype(np.uint8).view(np.int8) for _ in levels]
        return cls(levels, [int(rng.integers(4, 9)) for _ in levels], tables)

    def module(self, machine: Machine) -> ModuleOp:
        """A function of kernels with their schedules, each on the result of the one before.

        If that result has another number of features, then the kernel reads an argument.
        """
        block = Block(arg_types=[activations(len(self.levels[0]), i8)])
        value = block.args[0]
        for levels, shift, table in zip(self.levels, self.shifts, self.tables, strict=True):
            if features(value) != len(levels):
                value = block.insert_arg(activations(len(levels), i8), len(block.args))
            channels = levels.shape[1]
            weights = ConstantOp(from_array(levels, i8))
            product = MatmulOp(value, weights.result, activations(channels, i32))
            factors = (
                from_array(np.full(channels, 3), i32),
                from_array(np.full(channels, shift), i32),
            )
            level = RequantizeOp(product.result, *factors)
            result = ActivationOp("table", level.result, from_array(table, i8))
            Block([weights, product, level, result])
            fused = kernel(value, [product, level, result])
            fused.schedule = schedule(levels, machine)
            block.add_op(fused)
            value = fused.result
        block.add_op(ReturnOp(value))
        kind = FunctionType.from_lists(list(block.arg_types), [value.type])
        module = ModuleOp([FuncOp("network", kind, Region(block))])
        DfkeSpecializeBitwidthPass().apply(Context(), module)
        module.verify()
        return module

    def expected(self, x: NDArray[np.int8]) -> NDArray[np.int8]:
        """The results by the formulas."""
        for levels, shift, table in zip(self.levels, self.shifts, self.tables, strict=True):
            total = (3 * (x.astype(np.int64) @ levels) + (1 << (shift - 1))) >> shift
            x = table[np.clip(total, -128, 127) & 0xFF]
        return x


def chained(module: ModuleOp) -> ModuleOp:
    module = module.clone()
    DfkeChainPass().apply(Context(), module)
    module.verify()
    return module


def lowered(module: ModuleOp, array: ArrayConfig | None = None) -> ModuleOp:
    module = module.clone()
    if array is not None:
        module.body.block.insert_op_before(ArrayOp("array", array), module.body.block.first_op)
    LowerDfkeToRpeaPass().apply(Context(), module)
    module.verify()
    return module


def config_of(module: ModuleOp) -> ArrayConfig:
    return next(op for op in module.ops if isinstance(op, ArrayOp)).config.data


def chained_on_one_array(
    machine: Machine, shapes: Sequence[Sequence[int]]
) -> tuple[ArrayConfig, list[tuple[Layers, ModuleOp]]]:
    """Random networks of these features and outputs, chained, as programs of one array."""
    layers = [Layers.random(seed, shape) for seed, shape in enumerate(shapes)]
    modules = [chained(entry.module(machine)) for entry in layers]
    config = shared_config([config_of(lowered(module)) for module in modules])
    return config, [
        (entry, lowered(module, config)) for entry, module in zip(layers, modules, strict=True)
    ]


def activations_for(layers: Layers, tokens: int) -> NDArray[np.int8]:
    rng = np.random.default_rng(tokens)
    return rng.integers(-128, 128, (tokens, len(layers.levels[0]))).astype(np.int8)


def lint(sources: Mapping[str, str], top: str, folder: Path) -> None:
    """Check that Verilator and yosys accept the circuit without a warning, and slang accepts it."""
    compilation = Compilation()
    for text in sources.values():
        compilation.addSyntaxTree(SyntaxTree.fromText(text))
    errors = [str(found.code) for found in compilation.getAllDiagnostics() if found.isError()]
    assert not errors
    for file, text in sources.items():
        (folder / file).write_text(text)
    verilator, yosys = tools.verilator(), tools.yosys()
    script = (
        f"read_verilog -sv {' '.join(sources)}; hierarchy -check -top {top}; proc; check -assert"
    )
    for tool, arguments in (
        (verilator, ["--lint-only", "-Wall", "--top-module", top, *sources]),
        (yosys, ["-q", "-p", script]),
    ):
        run = subprocess.run(
            [*tool.argv, *arguments], cwd=folder, env=tool.env, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stdout + run.stderr
        assert "Warning" not in run.stdout + run.stderr
