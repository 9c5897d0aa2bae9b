# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`lower-dfke-to-rpea`: scheduled kernels → an array and its programs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, StringAttr, i8, i32, i64
from xdsl.dialects.func import FuncOp
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from daqkf.dialects.dense import from_array, to_array
from daqkf.dialects.dfke import (
    ChainOp,
    DispatchOp,
    KernelOp,
    RowOperation,
    ScheduleAttr,
    TilesAttr,
)
from daqkf.dialects.rpea import ArrayOp, ProgramOp, Runnable, RunOp, SoftmaxOp, TiledOp
from daqkf.dialects.rpea import ChainOp as ProgramChainOp
from daqkf.dialects.rpea import DispatchOp as ProgramDispatchOp
from daqkf.dialects.rpea import GatingOp as ProgramGatingOp
from daqkf.dialects.rpea import NormalizationOp as ProgramNormalizationOp
from daqkf.dialects.spaq import ActivationOp, AttendOp, GateOp, NormalizeOp
from daqkf.dialects.spaq.checks import features
from daqkf.hw_targets import numerics
from daqkf.hw_targets.config import ArrayConfig
from daqkf.lowering.conversions.attention_to_rpea import lower_attend
from daqkf.lowering.conversions.config_sizing import (
    Fused,
    attending_config,
    require_fit,
    required_config,
    shared_config,
)
from daqkf.lowering.conversions.streams import pack_streams
from daqkf.passes.diagnostics import fail, failing_at
from daqkf.passes.encode.operands import attention_need

ARRAY_NAME = "array"

RowProgram = ProgramNormalizationOp | ProgramGatingOp | SoftmaxOp
"""What the row unit does with a program's results."""


def lower_kernel(kernel: KernelOp, name: str, array: str, config: ArrayConfig) -> ProgramOp:
    """The program that runs a scheduled kernel on an array of this config.

    Raises:
        ValueError: the kernel does not fit the array.
    """
    require_fit(config, required_config(kernel))
    assert kernel.schedule is not None
    return _program(kernel, name, array, config, _Part(kernel.schedule))


def lower_tiles(
    kernel: KernelOp, tiles: TilesAttr, name: str, array: str, config: ArrayConfig
) -> list[ProgramOp]:
    """The programs of a kernel's parts, group by group.

    Raises:
        ValueError: the kernel does not fit the array.
    """
    require_fit(config, required_config(kernel))
    ends = [np.cumsum([0, *extents]).tolist() for extents in (tiles.parts(), tiles.groups())]
    cells = [
        (slice(*inputs), slice(*outputs))
        for outputs in pairwise(ends[1])
        for inputs in pairwise(ends[0])
    ]
    return [
        _program(
            kernel,
            f"{name}_part_{number}",
            array,
            config,
            _Part(
                schedule,
                inputs,
                outputs,
                adds=inputs.start > 0,
                keeps=inputs.stop < ends[0][-1],
            ),
        )
        for number, ((inputs, outputs), schedule) in enumerate(
            zip(cells, tiles.schedules, strict=True)
        )
    ]


@dataclass(frozen=True)
class _Part:
    """What of a kernel a program computes."""

    schedule: ScheduleAttr
    features: slice = slice(None)
    outputs: slice = slice(None)
    adds: bool = False
    keeps: bool = False


def _program(
    kernel: KernelOp, name: str, array: str, config: ArrayConfig, part: _Part
) -> ProgramOp:
    body = kernel.parts()
    levels, semiring = body.weights.array(), body.matmul.semiring.data
    levels = np.ascontiguousarray(levels[part.features, part.outputs])
    shares = part.schedule.shares()
    columns, inputs = None, levels.shape[0]
    if body.gather is not None:
        columns, inputs = body.gather.array(), features(kernel.input)
    stream, rows, bias = pack_streams(levels, shares, config, semiring, columns)
    residual = None
    if body.residual is not None and body.residual.multiplier is not None:
        residual = from_array(to_array(body.residual.multiplier)[part.outputs], i32)
    correction = None
    if body.scale is not None:
        correction = from_array(numerics.wrap(bias, config.sum_width), i32)
        bias = np.zeros_like(bias)
    if body.bias is not None and not part.adds:
        bias = bias + body.bias.array()[part.outputs]
    bias = numerics.wrap(bias, config.sum_width)
    return ProgramOp(
        name,
        array,
        inputs,
        stream=from_array(stream.view(np.int32), i32),
        rows=from_array(rows, i32),
        outputs=part.schedule.outputs,
        counts=part.schedule.counts,
        bias=from_array(bias, i32),
        multiplier=from_array(to_array(body.requantize.multiplier)[part.outputs], i32),
        shift=from_array(to_array(body.requantize.shift)[part.outputs], i32),
        table=from_array(_table(body.activation), i8),
        adds=part.adds,
        keeps=part.keeps,
        wide=kernel.wide and not part.keeps,
        residual=residual,
        correction=correction,
    )


def lower_row(row: RowOperation, name: str, array: str) -> RowProgram:
    """What the row unit of an array is to do."""
    body, count = row.parts(), features(row.result)
    bias = np.zeros(count, np.int64) if body.bias is None else body.bias.array()
    post = {
        "bias": from_array(bias, i32),
        "multiplier": body.requantize.multiplier,
        "shift": body.requantize.shift,
        "table": from_array(_table(body.activation), i8),
    }
    if isinstance(body.first, GateOp):
        reach = None if body.reach is None else IntegerAttr(body.reach, i64)
        gate = from_array(_table(body.first), i8)
        return ProgramGatingOp(name, array, gate=gate, reach=reach, **post)
    assert isinstance(body.first, NormalizeOp)
    norm = body.first
    rms = norm.rms is not None
    return ProgramNormalizationOp(name, array, norm.added, rms=rms, exponent=norm.exponent, **post)


def _table(activation: ActivationOp | GateOp | None) -> NDArray[np.int8]:
    if activation is not None and activation.table is not None:
        return to_array(activation.table)
    return numerics.IDENTITY


def _refuse(attend: AttendOp) -> None:
    """Say why an attention that is in no chain cannot run.

    Raises:
        ValueError: the target does not hold it, or nothing has made a chain of it.
    """
    owners = [value.owner for value in attend.operands]
    kernels = [owner for owner in owners if isinstance(owner, KernelOp)]
    if len(kernels) == len(owners):
        attending_config(kernels, attend, len(kernels), [])
    raise ValueError(
        "attention runs in a chain, with the kernels of its queries, keys and values; run "
        "dfke-chain first"
    )


@dataclass(frozen=True)
class LowerDfkeToRpeaPass(ModulePass):
    """Turn scheduled `dfke.kernel`s into `rpea.program`s and the `rpea.run`s that run them.

    The kernels of a `dfke.dispatch` become programs under one `rpea.dispatch`, those of a
    `dfke.chain` under one `rpea.chain`.

    A module that has an `rpea.array` already gets its kernels lowered onto that array, or
    an error where one does not fit; otherwise one array is sized for all of the kernels.
    """

    name = "lower-dfke-to-rpea"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if not (kernels := runnable(op)):
            return
        arrays = [array for array in op.ops if isinstance(array, ArrayOp)]
        if len(arrays) > 1:
            text = "a module with several arrays; kernels would not know theirs"
            fail(arrays[1], self.name, text)
        if not arrays:
            arrays = [sized_array(kernels)]
            _rename(arrays[0], op)
            Rewriter.insert_op(arrays[0], InsertPoint.at_start(op.body.block))
        lower_kernels(op, arrays[0])


def _rename(array: ArrayOp, module: ModuleOp) -> None:
    """Give an array a symbol that nothing in the module has."""
    used = {op.properties.get("sym_name") for op in module.ops}
    number = 1
    while array.sym_name in used:
        array.sym_name = StringAttr(f"{ARRAY_NAME}.{number}")
        number += 1


def runnable(module: ModuleOp) -> list[Fused]:
    """What a module runs on its array: kernels that are no part of others, and those others.

    Raises:
        PassFailedException: an attention that is not in a chain.
    """
    for found in module.walk():
        if isinstance(found, AttendOp) and not isinstance(found.parent_op(), ChainOp):
            with failing_at(found, LowerDfkeToRpeaPass.name):
                _refuse(found)
    return [
        op
        for op in module.walk()
        if isinstance(op, Fused) and not isinstance(op.parent_op(), DispatchOp | ChainOp)
    ]


def sized_array(kernels: Iterable[Fused], more: Sequence[ArrayConfig] = ()) -> ArrayOp:
    """The smallest array for kernels, wherever they stand, and for programs that need `more`.

    Raises:
        PassFailedException: a kernel that does not fit its machine, or the others' array.
        ValueError: what needs `more` does not fit the kernels' array.
    """
    configs: list[ArrayConfig] = []
    for kernel in kernels:
        with failing_at(kernel, LowerDfkeToRpeaPass.name):
            configs.append(required_config(kernel))
            shared_config(configs)
    return ArrayOp(ARRAY_NAME, shared_config([*configs, *more]))


def lower_kernels(
    module: ModuleOp, array: ArrayOp, first: int = 0, count: int | None = None
) -> None:
    """Put programs for an array of the module, and what runs them, in place of its kernels.

    Args:
        module: changed in place.
        array: of the module, behind which the programs are put.
        first: the number in the programs' names of the first kernel, where the module is a part
            of a larger one.
        count: the kernels of that; by default the module's own.

    Raises:
        PassFailedException: a kernel does not fit the array.
    """
    place, kernels = InsertPoint.after(array), runnable(module)
    alone = (len(kernels) if count is None else count) == 1
    for number, kernel in enumerate(kernels, first):
        parent = kernel.parent_op()
        base = parent.sym_name.data if isinstance(parent, FuncOp) else "kernel"
        name = f"{base}_program" if alone else f"{base}_program_{number}"
        with failing_at(kernel, LowerDfkeToRpeaPass.name):
            programs = _programs(kernel, name, array)
        for program in programs:
            program.location = kernel.location
            Rewriter.insert_op(program, place)
            place = InsertPoint.after(program)
        last = programs[-1]
        assert isinstance(last, Runnable)
        run = RunOp(last, kernel.input)
        run.location = kernel.location
        run.result.name_hint = kernel.result.name_hint
        Rewriter.replace_op(kernel, run)


def _programs(kernel: Fused, name: str, array: ArrayOp) -> Sequence[Runnable | RowProgram]:
    """The programs of a kernel, or of several and what holds them; the last is what runs."""
    config, target = array.config.data, array.sym_name.data
    if isinstance(kernel, KernelOp) and kernel.tiles is not None:
        parts = lower_tiles(kernel, kernel.tiles, name, target, config)
        return [*parts, TiledOp(name, parts)]
    if isinstance(kernel, KernelOp):
        if kernel.kept is not None:
            raise ValueError("a kernel that adds activations runs in a chain; run dfke-chain first")
        if kernel.exponents is not None:
            raise ValueError(
                "a kernel of rows that share exponents runs in a chain, of a target with such "
                "row_exponents; run dfke-chain first"
            )
        return [lower_kernel(kernel, name, target, config)]
    require_fit(config, required_config(kernel))
    if isinstance(kernel, ChainOp):
        return _chain(kernel, name, target, config)
    variants = [
        lower_kernel(variant, f"{name}_variant_{number}", target, config)
        for number, variant in enumerate(kernel.variants())
    ]
    return [*variants, ProgramDispatchOp(name, variants, kernel.decision)]


def _chain(
    chain: ChainOp, name: str, array: str, config: ArrayConfig
) -> list[ProgramOp | RowProgram | ProgramChainOp]:
    """The programs of a chain, and it."""
    programs: list[ProgramOp | RowProgram] = []
    begins: list[int] = []
    tiles = None
    for part in chain.parts():
        number = len(programs)
        begins.append(number)
        own = f"{name}_kernel_{number}"
        if isinstance(part, KernelOp):
            programs.append(lower_kernel(part, own, array, config))
        elif isinstance(part, AttendOp):
            tiles = attention_need(part, config).tiles
            programs += lower_attend(part, f"{name}_attention", array, config)
        else:
            programs.append(lower_row(part, own, array))
    saves = [begins[number] for number in chain.saves()]
    return [*programs, ProgramChainOp(name, programs, saves, tiles)]
