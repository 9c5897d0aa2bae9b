# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Float layers that are calibrated: where they begin and end, and the int8 columns that they read
and leave."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Block, Operation

from daqkf.dialects.nn.base import RANKED
from daqkf.dialects.spaq import (
    ActivationOp,
    AddOp,
    CalibratedOp,
    ConstantOp,
    DequantizeOp,
    GateOp,
    MatmulOp,
    NormOperation,
    QuantizeOp,
    ResidualOp,
    ScaleRowsOp,
)
from daqkf.dialects.spaq.checks import features, is_wide
from daqkf.dialects.spaq.ops import chain, defining_constant
from daqkf.hw_targets.numerics import ACTIVATION_MAX
from daqkf.passes.quantize.calibration import HEADROOM, Columns, table_columns
from daqkf.passes.quantize.gating import gate_scales
from daqkf.passes.quantize.normalization import summable_scales
from daqkf.passes.quantize.rows import attention_of, head_ranges


@dataclass(frozen=True)
class FloatLayer:
    """A calibrated float layer, as found in the IR."""

    matmul: MatmulOp
    weights: ConstantOp
    bias: ConstantOp | None
    residual: ResidualOp | None
    activation: ActivationOp | None
    last: Operation
    input: Columns
    sum_scales: NDArray[np.float64]
    """[N] what one step of the requantised sums is worth."""
    output: Columns
    wide: bool = False
    """Whether results are wide."""


def layer_of(
    matmul: MatmulOp, weights: ConstantOp, budget: float, wide: bool = False
) -> FloatLayer:
    """The layer that starts with a product, and the int8 columns it reads and leaves.

    If `wide` results are wanted, it leaves int16 in place of int8 where it `can_be_wide`.

    Raises:
        ValueError: a range is missing, or the bias is no constant.
    """
    stages = _stages(matmul)
    add = next((stage for stage in stages if isinstance(stage, AddOp)), None)
    bias = defining_constant(add.bias) if add else None
    if add is not None and bias is None:
        raise ValueError("the bias of a layer must be a spaq.constant")
    residual = next((stage for stage in stages if isinstance(stage, ResidualOp)), None)
    activation = next((stage for stage in stages if isinstance(stage, ActivationOp)), None)
    if residual is not None and activation is not None:
        raise ValueError("a function stands behind a residual; nothing but a normalisation may")
    stated = [stage for stage in stages if isinstance(stage, CalibratedOp | QuantizeOp)]
    if len(stated) != (1 if activation is None else 2):
        raise ValueError("the sums or the results of a product have no spaq.calibrated range")
    channels, last = features(matmul.result), stages[-1]
    if wide := wide and can_be_wide(matmul):
        assert isinstance(stated[0], CalibratedOp)
        ranges = stated[0].ranges()
        output = Columns.wide(float(np.max(ranges)) if _is_ranked(matmul) else ranges)
        sum_scale = output.scale
    elif activation is None:
        sum_scale, output = _sum_columns(matmul, stated[0], stages[-1])
    else:
        sum_scale, output = _result_columns(activation, stated[0], stated[1], budget)
    sum_scales = np.broadcast_to(np.asarray(sum_scale, np.float64), channels)
    read = _input_columns(matmul, budget)
    return FloatLayer(
        matmul, weights, bias, residual, activation, last, read, sum_scales, output, wide
    )


def can_be_wide(matmul: MatmulOp) -> bool:
    """Whether a layer leaves sums without a function, which nothing else in its function reads.

    Then the array runs it alone or at the end of a chain, and only the host reads its results.
    """
    stages = _stages(matmul)
    statement = stages[-1] if stages else None
    return (
        isinstance(statement, CalibratedOp)
        and not any(isinstance(stage, ActivationOp | ResidualOp) for stage in stages)
        and all(isinstance(use.operation, ReturnOp) for use in statement.result.uses)
    )


def _is_ranked(matmul: MatmulOp) -> bool:
    """Whether a layer's results are to have one scale, so that their order is that of integers."""
    function = matmul.parent_op()
    return isinstance(function, Operation) and RANKED in function.attributes


def _sum_columns(
    matmul: MatmulOp, stated: CalibratedOp | QuantizeOp, last: Operation
) -> tuple[float | NDArray[np.float64], Columns]:
    """The scale of a product's sums, and the int8 columns that they leave as."""
    if isinstance(stated, QuantizeOp):
        output = Columns(stated.scales(), stated.columns())
        return output.scale, output
    ranges, channels = stated.ranges(), features(matmul.result)
    if (row := row_of(matmul)) is not None:
        found = np.broadcast_to(ranges, channels)
        if isinstance(row, GateOp):
            scale = gate_scales(row.function.data, found)
        else:
            scale = summable_scales(found, row.epsilon.value.data)
        return scale, Columns(scale, np.empty(0, np.int32))
    if (attention := attention_of(last.results[0])) is not None:
        output = Columns.plain(head_ranges(attention, ranges) * HEADROOM)
        return output.scale, output
    # One multiplier and shift per channel are there anyway, so a scale for each is free.
    # A product that reads the integers needs a common one.
    common = any(isinstance(use.operation, MatmulOp) for use in last.results[0].uses)
    found = float(np.max(ranges)) if common else ranges
    output = Columns.plain(found if isinstance(found, float) else found * HEADROOM)
    return output.scale, output


def _result_columns(
    activation: ActivationOp,
    sums: CalibratedOp | QuantizeOp,
    results: CalibratedOp | QuantizeOp,
    budget: float,
) -> tuple[float, Columns]:
    """The scale of the sums before a function's table, and the int8 columns behind it."""
    function = activation.function.data
    if isinstance(sums, CalibratedOp) and isinstance(results, CalibratedOp):
        ranges = np.broadcast_to(results.ranges(), features(activation.result))
        return table_columns(function, sums.ranges(), ranges, budget)
    if isinstance(results, CalibratedOp):
        output = Columns.plain(float(np.max(results.ranges())))
    else:
        output = Columns(results.scales(), results.columns())
    assert isinstance(output.scale, float)
    if isinstance(sums, QuantizeOp):
        scale = sums.scales()
        assert isinstance(scale, float)
    elif function == "relu":
        scale = output.scale  # the levels of the results are among those of the sums
    else:
        scale, _ = table_columns(
            function, sums.ranges(), np.array([output.scale * ACTIVATION_MAX]), 0.0
        )
    return scale, output


def _stages(matmul: MatmulOp) -> list[Operation]:
    """What follows a product in its layer: a bias, a residual, a function, and what states the
    levels of sums and results: `spaq.calibrated` a range, `spaq.quantize` and `spaq.dequantize` a
    scale."""
    found = chain(matmul, (AddOp, ResidualOp))
    found += _statement([matmul, *found][-1])
    function = chain([matmul, *found][-1], (ActivationOp,))
    return [*found, *function, *(_statement(function[0]) if function else ())]


def _statement(op: Operation) -> list[Operation]:
    """The operations that state the levels of a result, if they are next."""
    pair = chain(op, (QuantizeOp, DequantizeOp))
    match pair:
        case [QuantizeOp() as quantize, DequantizeOp() as scaled]:
            plain = quantize.split is None and not isinstance(quantize.scales(), np.ndarray)
            return pair if plain and quantize.properties == scaled.properties else []
        case _:
            return chain(op, (CalibratedOp,))


def row_of(matmul: MatmulOp) -> NormOperation | GateOp | None:
    """The normalisation or the gate of a layer's sums, if there is one."""
    last = [matmul, *_stages(matmul)][-1]
    reader = last.results[0].get_user_of_unique_use()
    return reader if isinstance(reader, NormOperation | GateOp) else None


def source_of(matmul: MatmulOp) -> Operation | Block:
    """What a product reads: a stated range, or what another layer has left.

    The exponents that its rows may share are left out: the sums take them.
    """
    before = matmul.input.owner
    return before.input.owner if isinstance(before, ScaleRowsOp) else before


def _input_columns(matmul: MatmulOp, budget: float) -> Columns:
    """The columns that a product reads, some of them repeated ones."""
    before = source_of(matmul)
    if isinstance(before, CalibratedOp):
        stated = stated_columns(before, budget)
    elif isinstance(before, DequantizeOp) and not is_wide(before.input):
        stated = Columns(before.scales(), before.columns())
    else:
        raise ValueError("the input of a product has no spaq.calibrated range")
    if not isinstance(stated.scale, np.ndarray):
        return stated
    scale = float(stated.scale.min())
    counts = np.rint(stated.scale / scale).astype(np.int64)
    if len(stated.split) or not np.allclose(stated.scale, counts * scale):
        raise ValueError(
            "the input of a product has a scale for each feature; state its range with "
            "spaq.calibrated to quantise it anew"
        )
    return Columns(scale, np.repeat(np.arange(len(counts)), counts - 1).astype(np.int32))


def stated_columns(calibrated: CalibratedOp, budget: float) -> Columns:
    """The int8 columns of a value whose range is stated.

    What is added to sums has one column for each feature; and what has been quantised stays so.
    """
    for use in calibrated.input.uses:
        if isinstance(use.operation, QuantizeOp):
            return Columns(use.operation.scales(), use.operation.columns())
    ranges = np.broadcast_to(calibrated.ranges(), features(calibrated.result))
    readers = [use.operation for use in calibrated.result.uses]
    if not any(isinstance(reader, ResidualOp) for reader in readers):
        return Columns.of(ranges, budget)
    multiplied = any(isinstance(reader, MatmulOp) for reader in readers)
    return Columns.single(ranges, budget) if multiplied else Columns.plain(ranges)
