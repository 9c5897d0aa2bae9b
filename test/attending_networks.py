# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Small random layers with attention, and the results that they must have."""

from dataclasses import dataclass, replace

import numpy as np
from networks import MACHINE
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import FunctionType, ModuleOp, i8, i32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from daqkf.dialects.dense import from_array
from daqkf.dialects.dfke import KernelOp
from daqkf.dialects.rpea import ArrayOp
from daqkf.dialects.spaq import AttendOp, ConstantOp, MatmulOp, RequantizeOp, ResidualOp
from daqkf.dialects.spaq.attention import Factors
from daqkf.dialects.spaq.checks import features
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import Machine
from daqkf.lowering.conversions.dfke_to_rpea import LowerDfkeToRpeaPass
from daqkf.passes.dfke_chain import DfkeChainPass
from daqkf.passes.dfke_fuse import DfkeFusePass
from daqkf.passes.dfke_schedule import schedule
from daqkf.passes.dfke_specialize_bitwidth import DfkeSpecializeBitwidthPass

SEQUENCES = replace(
    MACHINE,
    lanes=4,
    items=4,
    post_lanes=2,
    max_shift=0,
    parameter_depth=1024,
    residual_depth=64,
    operand_depth=512,
    normalizes=True,
    softmax=True,
)


@dataclass(frozen=True)
class Attending:
    """The layer `x + out(attention(x))`, for sequences of at most a number of tokens."""

    heads: int
    tokens: int
    levels: dict[str, NDArray[np.int8]]
    """The levels of keys, values, queries and the output."""
    shift: int
    table: NDArray[np.int8]
    residual: NDArray[np.int64]

    @classmethod
    def random(cls, seed: int, features: int, heads: int, width: int, tokens: int) -> "Attending":
        """Draw a layer at random; a head has `width` features."""
        rng = np.random.default_rng(seed)
        shapes = dict.fromkeys(("keys", "values", "queries"), (features, heads * width))
        shapes["output"] = heads * width, features
        levels = {
            name: (rng.integers(-7, 8, shape) * (rng.random(shape) < 0.6)).astype(np.int8)
            for name, shape in shapes.items()
        }
        below = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float64) - 127
        table = np.rint(127 * np.exp(below / 20)).astype(np.int8)
        return cls(heads, tokens, levels, 8, table, rng.integers(0, 40, features))

    def module(self) -> ModuleOp:
        """The layer as exact integers in `spaq`."""
        count = len(self.levels["keys"])
        block = Block(arg_types=[activations(count, i8)])
        (x,) = block.args

        def layer(name: str, value: SSAValue, kept: SSAValue | None = None) -> SSAValue:
            weights = ConstantOp(from_array(self.levels[name], i8))
            channels = self.levels[name].shape[1]
            sums: Operation = MatmulOp(value, weights.result, activations(channels, i32))
            block.add_ops([weights, sums])
            if kept is not None:
                sums = ResidualOp(sums.results[0], kept, from_array(self.residual, i32))
                block.add_op(sums)
            ones = np.ones(channels, np.int64)
            result = RequantizeOp(
                sums.results[0], from_array(3 * ones, i32), from_array(self.shift * ones, i32)
            )
            block.add_op(result)
            return result.result

        keys, values, queries = (layer(name, x) for name in ("keys", "values", "queries"))
        ones = np.ones(self.heads, np.int64)
        attend = AttendOp(
            queries,
            keys,
            values,
            heads=self.heads,
            tokens=self.tokens,
            scores=Factors(ones, (6 + np.arange(self.heads) % 3)),
            table=self.table,
            results=Factors(np.full(features(keys), 3), np.full(features(keys), 8)),
        )
        block.add_op(attend)
        block.add_op(ReturnOp(layer("output", attend.result, x)))
        kind = FunctionType.from_lists(list(block.arg_types), list(block.arg_types))
        return ModuleOp([FuncOp("layer", kind, Region(block))])

    def lowered(self, machine: Machine, config: ArrayConfig | None = None) -> ModuleOp:
        """The layer as a chain on an array of the machine, or on the given array."""
        module, context = self.module(), Context()
        for step in (DfkeFusePass(), DfkeSpecializeBitwidthPass()):
            step.apply(context, module)
        for kernel in [op for op in module.walk() if isinstance(op, KernelOp)]:
            kernel.schedule = schedule(kernel.parts().weights.array(), machine)
        DfkeChainPass().apply(context, module)
        if config is not None:
            Rewriter.insert_op(ArrayOp("array", config), InsertPoint.at_start(module.body.block))
        LowerDfkeToRpeaPass().apply(context, module)
        module.verify()
        return module

    def expected(self, x: NDArray[np.int8]) -> NDArray[np.int8]:
        """The results by the formulas, computed in Python's integers."""

        def requantized(sums: NDArray[np.int64], factor: int, shift: int) -> NDArray[np.int64]:
            return np.clip((sums * factor + (1 << (shift - 1))) >> shift, -128, 127)

        wide = x.astype(np.int64)
        keys, values, queries = (
            requantized(wide @ self.levels[name], 3, self.shift)
            for name in ("keys", "values", "queries")
        )
        width = keys.shape[1] // self.heads
        found: list[NDArray[np.int64]] = []
        for head in range(self.heads):
            q, k, v = (part[:, head * width :][:, :width] for part in (queries, keys, values))
            score = requantized(q @ k.T, 1, 6 + head % 3)
            below = np.clip(score - score.max(axis=1, keepdims=True) + 127, -128, 127)
            e = self.table[below & 0xFF].astype(np.int64)
            total = np.maximum(e.sum(axis=1), 1).tolist()
            power = [next(k for k in range(64) if (64 << k) // t >= 1 << 11) for t in total]
            share = np.array(
                [
                    [(value << 4) * ((64 << k) // t) >> max(k - 6, 0) for value in row]
                    for row, t, k in zip(e.tolist(), total, power, strict=True)
                ]
            )
            found.append(requantized(requantized(share, 127, 16) @ v, 3, 8))
        sums = np.concatenate(found, axis=1) @ self.levels["output"]
        return requantized(sums + wide * self.residual, 3, self.shift).astype(np.int8)
