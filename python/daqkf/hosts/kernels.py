# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Kernels of a network as tables in C, and their programs in the device's memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.func import FuncOp, ReturnOp

from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.stages import Stage
from daqkf.dialects.rpea import ChainOp, RunOp
from daqkf.dialects.spaq import DequantizeOp, QuantizeOp
from daqkf.hosts.operations import as_number, numbers
from daqkf.hw_targets import numerics
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.descriptors import DESCRIPTOR_BYTES
from daqkf.lowering.image.queue_memory import QueueMemory
from daqkf.support.errors import DaqkfError

RING = 64
"""Descriptors of the ring of daqkf_network.c."""


@dataclass(frozen=True)
class KernelInC:
    """A kernel that quantises floats, runs programs one after another, and scales the results."""

    name: str
    """Of the kernel, for messages."""
    stages: tuple[Stage, ...]
    quantize: QuantizeOp
    dequantize: DequantizeOp

    @classmethod
    def of(cls, network: CompiledNetwork, function: FuncOp) -> "KernelInC":
        """The kernel of a function.

        Raises:
            DaqkfError: it does more than that, or a program has several parts.
        """
        name, found = function.sym_name.data, list[Any](function.body.block.ops)
        stages = {stage.program: stage for stage in network.stages}
        value, own = function.body.block.args[0], list[Stage]()
        for op in found[:-1]:
            if list(op.operands) != [value] or not isinstance(
                op, QuantizeOp | RunOp | DequantizeOp
            ):
                raise DaqkfError(f"{name}: hosts in C do not have {op.name} in a kernel")
            value = op.results[0]
            if isinstance(op, RunOp):
                own.append(stages[op.target()])
        first, last = found[0], found[-2]
        if not (isinstance(first, QuantizeOp) and isinstance(last, DequantizeOp) and own):
            raise DaqkfError(f"{name}: hosts in C run kernels from floats to floats")
        assert isinstance(found[-1], ReturnOp)
        for stage in own:
            if [len(group) for group in stage.programs] != [1]:
                raise DaqkfError(
                    f"{name}: it is several programs, and hosts in C run kernels of one; compile "
                    "for a target with larger memories"
                )
        return cls(name, tuple(own), first, last)

    @property
    def attends(self) -> bool:
        """Whether its tokens are sequences."""
        return any(stage.attends for stage in self.stages)

    @property
    def most_tokens(self) -> int:
        """Of a sequence, or 0 if there are none."""
        chains = (stage.program for stage in self.stages if isinstance(stage.program, ChainOp))
        return min((chain.tokens for chain in chains if chain.tokens is not None), default=0)

    def rows(self) -> list[tuple[int, int]]:
        """Rows of activations and of results of a tile, for each program."""
        return [(stage.program.features.value.data, stage.outputs) for stage in self.stages]

    def room(self, config: ArrayConfig, lengths: Sequence[int]) -> int:
        """Bytes of the device's memory in which it works; see `check` in daqkf_network.c."""
        lanes, total = config.lanes, RING * DESCRIPTOR_BYTES
        for tokens in lengths:
            tiles = -(-tokens // lanes)
            sizes = [lanes, tiles * self.rows()[0][0] * lanes]
            sizes += [tiles * outputs * lanes for _, outputs in self.rows()]
            total += sum(size + -size % DESCRIPTOR_BYTES for size in sizes)
        return total

    def tables(self, number: int, memory: QueueMemory) -> list[str]:
        """What describes it in C; its programs go to the memory."""
        programs: list[str] = []
        for stage in self.stages:
            ((image,),) = stage.images
            stored = memory.program(image)
            features, outputs = stage.program.features.value.data, stage.outputs
            values = [
                f"{stored.address:#x}u",
                f"{stored.words}u",
                f"{features}u",
                f"{outputs // 2 if stage.wide else outputs}u",
                str(stage.wide).lower(),
                str(stage.attends).lower(),
            ]
            programs.append(f"    {{{', '.join(values)}}},")
        names = [f"kernel{number}_{end}" for end in ("in", "out")]
        lines = [
            f"static const struct daqkf_program kernel{number}_programs[] = {{",
            *programs,
            "};",
        ]
        ends = (self.quantize, self.dequantize)
        scales = [_scales(name, op, lines) for name, op in zip(names, ends, strict=True)]
        features = self.quantize.operands[0].type
        return [
            *lines,
            f"static const struct daqkf_kernel kernel{number} = {{",
            f"    kernel{number}_programs, {len(self.stages)}u,",
            f"    {_columns(features)}u, {_columns(self.dequantize.result.type)}u, "
            f"{self.most_tokens}u,",
            *(f"    {text}," for text in scales),
            "};",
        ]


def _columns(kind: Any) -> int:
    return kind.get_shape()[-1]


def _scales(name: str, op: QuantizeOp | DequantizeOp, lines: list[str]) -> str:
    """The initialiser of `struct daqkf_scales`, and before it what it points at."""
    given = op.scales()
    scales: NDArray[np.float64] = np.atleast_1d(np.asarray(given, np.float64))
    factor = None
    if isinstance(op, QuantizeOp) and scales.size == 1:
        factor = numerics.reciprocal(scales.item())
    split = op.columns()
    lines.append(f"static const double {name}_scale[] = {{{numbers(scales)}}};")
    if len(split):
        columns = ", ".join(f"{column}u" for column in split)
        lines.append(f"static const uint32_t {name}_split[] = {{{columns}}};")
    return (
        f"{{{name}_scale, {scales.size}u, {as_number(factor or 0.0)}, "
        f"{f'{name}_split' if len(split) else 'NULL'}, {len(split)}u}}"
    )
