# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What reports say of compiled layers and networks beside their weights: operators, programs and
accuracy, as data for `daqkf.reports.pages`."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import BlockArgument, Operation, SSAValue

from daqkf.compiler.stages import Stage
from daqkf.dialects.dense import to_array
from daqkf.dialects.interpreting import entry
from daqkf.dialects.nn import (
    ConstantOp,
    ElementwiseOp,
    LinearOp,
    OperatorOp,
    ProductOp,
    ReduceOp,
    SliceOp,
)
from daqkf.dialects.nn.attention import IntegerAttention
from daqkf.dialects.nn.base import HOST, node_name
from daqkf.dialects.rpea import Playable, ProgramOp
from daqkf.dialects.spaq import MatmulOp
from daqkf.dialects.spaq.checks import features as columns_of
from daqkf.lowering.image.encode import encode, parts_of
from daqkf.passes.nn_kernels import kernel_of
from daqkf.passes.nn_product import input_names
from daqkf.reports.pages.blocks import Block, Note, Section, Share, Table
from daqkf.reports.pages.networks import Operator
from daqkf.reports.pages.programs import Work

_BETWEEN = (
    *("constant", "add", "requantize", "quantize", "dequantize", "concat", "return"),
    *("columns", "gather"),
)
"""Operations of a kernel that are a part of the step before them."""

_FULL = 60.0
"""The SQNR in dB at which a bar is full."""


def works(stages: Iterable[Stage]) -> list[Work]:
    """What the array does for a tile, kernel after kernel, of a network."""
    found: list[Work] = []
    for stage in stages:
        groups = list(zip(stage.programs, stage.images, strict=True))
        for programs, images in groups:
            for program, image in zip(programs, images, strict=True):
                name = (
                    stage.name
                    if len(groups) * len(programs) == 1
                    else f"{stage.name}[{len(found)}]"
                )
                keeps = program is not programs[-1]
                found += program_works(program, name, len(image), keeps, stage.attends)
    return found


def program_works(
    program: Playable, name: str, size: int | None = None, keeps: bool = False, twice: bool = False
) -> list[Work]:
    """What the array does for a tile of one program: a row for each kernel of a chain.

    Args:
        program: of which only the first variant counts, if it has several.
        name: of the kernel.
        size: the bytes of its image.
        keeps: whether its results stay on the array, as partial sums.
        twice: whether its activations come twice, as those of attention do.
    """
    parts = [part for part in parts_of(program) if isinstance(part, ProgramOp)]
    if program.name == "rpea.dispatch":
        parts = parts[:1]
    if size is None:
        size = len(encode(program))
    found: list[Work] = []
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        features = part.features.value.data
        found.append(
            Work(
                name if len(parts) == 1 else f"{name} {number + 1}/{len(parts)}",
                to_array(part.rows).astype(np.int64),
                part.result_rows,
                features * (1 + twice) if number == 0 else 0,
                part.result_rows if last and not keeps else 0,
                0 if part.operands_from is not None else features * part.channels,
                size if number == 0 else 0,
            )
        )
    return found


def operators(network: ModuleOp) -> list[Operator]:
    """The operations of a compiled network in the order in which they run, constants left out."""
    function = entry(network)
    names: dict[Operation, str] = {}
    inputs = input_names(function)
    found = [
        Operator(f"input {name}", "input", "host", "the network reads it", ()) for name in inputs
    ]
    taken = {operator.name for operator in found}
    for op in function.body.block.ops:
        if isinstance(op, ConstantOp) or not op.name.startswith("nn."):
            continue
        own = base = node_name(op).strip("'").removeprefix("nn.")
        number = 2
        while own in taken:
            own, number = f"{base} ({number})", number + 1
        taken.add(own)
        names[op] = own
        reads = dict.fromkeys(_readers(op.operands, names, inputs))
        where, why = _placed(op)
        layers = _layers(op) if isinstance(op, LinearOp) else ()
        found.append(Operator(own, _kind(op), where, why, list(reads), layers))
    return found


def _readers(
    operands: Sequence[SSAValue], names: Mapping[Operation, str], inputs: Sequence[str]
) -> Iterable[str]:
    """The names of what operands are from; constants have none."""
    for value in operands:
        if isinstance(value, BlockArgument):
            yield f"input {inputs[value.index]}"
        elif value.owner in names:
            assert isinstance(value.owner, Operation)
            yield names[value.owner]


def _kind(op: Operation) -> str:
    if isinstance(op, LinearOp):
        return "kernel"
    if isinstance(op, OperatorOp):
        return op.operator.data
    return op.kind.data if isinstance(op, ElementwiseOp | ReduceOp) else op.name.removeprefix("nn.")


def _placed(op: Operation) -> tuple[str, str]:
    """Where an operation runs, and why."""
    if isinstance(op, LinearOp):
        return "array", "its weights are constant, so they are a program of the array"
    if isinstance(op, ProductOp):
        return "array", "a product of activations, one of which becomes a program while it runs"
    if isinstance(op, IntegerAttention):
        return "array", "attention, which the target's operand memories and row unit compute"
    if isinstance(why := op.attributes.get(HOST), StringAttr):
        return "host", why.data
    if isinstance(op, OperatorOp):
        return "host", "the array has no such operator; onnxruntime runs it as the file has it"
    return "host", "it is no product with constant weights, and was not fused into a kernel"


def _layers(call: LinearOp) -> list[tuple[str, str, bool]]:
    """What a kernel was fused of: layers side by side whose results are sliced, or a chain."""
    uses = [use.operation for use in call.result.uses]
    if len(uses) > 1 and all(isinstance(op, SliceOp) for op in uses):
        names = [node_name(op).strip("'") for op in reversed(uses)]
        return [(name, "product", True) for name in names]
    found: list[tuple[str, str, bool]] = []
    for op in kernel_of(call).body.block.ops:
        kind = op.name.partition(".")[2]
        if kind in _BETWEEN:
            continue
        if isinstance(op, MatmulOp):
            kind = f"product {columns_of(op.input)} × {columns_of(op.result)}"
        found.append((kind, kind, False))
    return found


def kernel_accuracy(errors: Sequence[Mapping[str, Any]], hints: Sequence[str]) -> Section:
    """The section on the accuracy of each kernel on given inputs.

    Args:
        errors: a row for each kernel, as `KernelErrors.facts` has them.
        hints: what they say about where accuracy gets lost.
    """
    rows = [
        (
            error["name"],
            _decibels(math.inf if error["sqnr"] is None else error["sqnr"]),
            f"{error['saturated']:.2%}",
            *error["range"],
            error["error"],
        )
        for error in errors
    ]
    headings = (
        *("kernel", "SQNR", "saturated", "least float result", "greatest", "greatest error"),
    )
    text = (
        "The results of each kernel beside those of the float network on the same inputs. Errors "
        "of earlier kernels are in the results of later ones. SQNR is the energy of the float "
        "results over that of the difference."
    )
    blocks: list[Block] = [
        Note(text),
        Table("Float against integers, kernel by kernel", headings, rows),
    ]
    blocks += [Note(hint[:1].upper() + hint[1:] + ".") for hint in hints]
    return Section("accuracy", "Accuracy by layer", blocks)


def weight_accuracy(
    pairs: Iterable[tuple[str, NDArray[np.floating], NDArray[np.floating]]],
) -> Section:
    """The section on the accuracy of weights alone.

    Args:
        pairs: a name, float weights [K, N], and what the levels are worth, [K, N].
    """
    rows: list[tuple[object, ...]] = []
    for name, real, found in pairs:
        noise = (real.astype(np.float64) - found) ** 2
        energy = real.astype(np.float64) ** 2
        outputs = [_sqnr(a, b) for a, b in zip(energy.sum(axis=0), noise.sum(axis=0), strict=True)]
        worst = int(np.argmin(outputs))
        rows.append(
            (
                name,
                _decibels(_sqnr(float(energy.sum()), float(noise.sum()))),
                _text(outputs[worst]),
                worst,
            )
        )
    text = (
        "These are of the weights alone: the energy of the float weights over that of what pruning "
        "and quantising changed. They do not say what results lose, as inputs were not given "
        "(--inputs), and weights that were moved to make up for others count as errors."
    )
    headings = "matrix", "SQNR of the weights", "of the worst output", "which output"
    blocks: list[Block] = [Note(text), Table("Float weights against levels", headings, rows)]
    return Section("accuracy", "Accuracy by layer", blocks)


def no_accuracy() -> Section:
    """The section that says why there is no accuracy."""
    text = (
        "A folder has integers alone. With --source, the network or the weights that it was "
        "compiled from, this section has the SQNR of the weights, and with --inputs, too, that of "
        "the results of each kernel."
    )
    return Section("accuracy", "Accuracy by layer", [Note(text)])


def _sqnr(energy: float, noise: float) -> float:
    if not noise:
        return math.inf
    return 10 * math.log10(energy / noise) if energy else -math.inf


def _text(decibels: float) -> str:
    return (
        f"{decibels:.1f} dB"
        if math.isfinite(decibels)
        else "exact"
        if decibels > 0
        else "no signal"
    )


def _decibels(value: float) -> Share:
    bar = 1.0 if value == math.inf else max(0.0, min(value / _FULL, 1.0)) if value > 0 else 0.0
    return Share(bar, _text(value))
