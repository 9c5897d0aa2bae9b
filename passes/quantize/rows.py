# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What `spaq-quantize` makes of operations between layers: normalisations, gates, attention."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, ModuleOp, i8, i32
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from daqkf.dialects.dense import from_array
from daqkf.dialects.spaq import (
    AddOp,
    AttendOp,
    AttentionOp,
    CalibratedOp,
    ConstantOp,
    DequantizeOp,
    GateOp,
    LayerNormOp,
    MatmulOp,
    NormalizeOp,
    NormOperation,
    RequantizeOp,
    RequantizeRowsOp,
    ResidualOp,
    RmsNormOp,
    ScaleRowsOp,
)
from daqkf.dialects.spaq.attention import Factors
from daqkf.dialects.spaq.checks import features
from daqkf.dialects.spaq.ops import activations, defining_constant
from daqkf.hw_targets.numerics import ACTIVATION_MAX
from daqkf.passes.quantize.attention import exponential_table
from daqkf.passes.quantize.calibration import HEADROOM, Columns
from daqkf.passes.quantize.gating import gated_scale
from daqkf.passes.quantize.normalization import affine_factors, epsilon_of, exponents_of
from daqkf.passes.quantize.quantization import activation_table, requantization, symmetric_scale

Row = NormOperation | GateOp | AttentionOp


def attention_of(value: SSAValue) -> AttentionOp | None:
    """The attention that a layer's sums alone are for, if there is one."""
    reader = value.get_user_of_unique_use()
    return reader if isinstance(reader, AttentionOp) else None


def head_ranges(attention: AttentionOp, ranges: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """One range for all features of a head: [N]."""
    count = features(attention.result)
    whole = np.broadcast_to(ranges, count).reshape(attention.heads.value.data, -1)
    return np.repeat(whole.max(axis=1), whole.shape[1])


def complete_attentions(module: ModuleOp) -> list[AttentionOp]:
    """Those whose queries, keys and values are all quantised."""
    return [
        op
        for op in module.walk()
        if isinstance(op, AttentionOp)
        and all(isinstance(value.owner, DequantizeOp) for value in op.operands)
    ]


class _Scaled(NamedTuple):
    """What a layer has left as integers, and what a step of each feature is worth."""

    op: DequantizeOp
    scales: NDArray[np.float64]
    """[N]."""


def _scaled(value: SSAValue) -> _Scaled:
    """What a value is of.

    Raises:
        ValueError: it is not what a layer has left.
    """
    before = value.owner
    if not isinstance(before, DequantizeOp):
        raise ValueError("queries, keys and values are not of a layer's sums")
    scales = np.broadcast_to(before.scales(), features(value))
    return _Scaled(before, scales.astype(np.float64))


def quantize_attention(attention: AttentionOp, budget: float) -> None:
    """Compute attention of what three layers have just left, as integers.

    Raises:
        ValueError: the range of the scores or of the result is missing.
    """
    if attention.scores is None:
        raise ValueError("the scores of spaq.attention have no range; run spaq-calibrate")
    heads = attention.heads.value.data
    queries, keys, values = (
        _scaled(value) for value in (attention.queries, attention.keys, attention.values)
    )
    sums = (queries.scales * keys.scales).reshape(heads, -1)[:, 0] * attention.scale.value.data
    # What is finer than a step of the sums says nothing.
    step = max(float(symmetric_scale(attention.scores.value.data)), float(sums.max()))
    columns = _row_columns(attention, budget)
    attend = AttendOp(
        queries.op.input,
        keys.op.input,
        values.op.input,
        heads=heads,
        tokens=attention.tokens.value.data,
        scores=Factors(*requantization(sums / step)),
        table=exponential_table(step),
        results=Factors(*requantization(values.scales / ACTIVATION_MAX / columns.scale)),
    )
    Rewriter.insert_op(attend, InsertPoint.before(attention))
    _finish(attention, attend.result, columns)
    for op in (queries.op, keys.op, values.op):
        if not op.result.uses:
            Rewriter.erase_op(op)


def quantize_normalization(norm: NormOperation, budget: float) -> None:
    """Normalise what a layer has just left, as integers.

    Raises:
        ValueError: the range of the result is missing, or γ or β are no constants.
    """
    shifts = [norm.beta] if isinstance(norm, LayerNormOp) else []
    gamma, betas = defining_constant(norm.gamma), [defining_constant(value) for value in shifts]
    others = [beta for beta in betas if beta is not None]
    if gamma is None or len(others) < len(shifts):
        raise ValueError("a normalisation has constants γ and β")
    before, scales = _left(norm)
    columns = _row_columns(norm, budget)
    beta = others[0].array() if others else np.zeros(len(scales))
    bias, multiplier, shift = affine_factors(
        gamma.array().astype(np.float64),
        beta.astype(np.float64),
        np.broadcast_to(columns.scale, len(scales)),
    )
    normal = NormalizeOp(
        before.input,
        from_array(exponents_of(scales), i32),
        epsilon_of(norm.epsilon.value.data, scales),
        rms=isinstance(norm, RmsNormOp),
    )
    added: list[Operation] = []
    if others:
        offset = ConstantOp(from_array(bias, i32))
        added = [offset, AddOp(normal.result, offset.result, activations(len(scales), i32))]
    new = [normal, *added]
    Rewriter.insert_op(new, InsertPoint.before(norm))
    _finish_row(norm, new[-1].results[0], multiplier, shift, columns)
    for op in (before, gamma, *others):
        if not any(value.uses for value in op.results):
            Rewriter.erase_op(op)


def quantize_gate(gate: GateOp, budget: float) -> None:
    """Gate what a layer has just left, as integers.

    Raises:
        ValueError: the range of the result is missing.
    """
    function = gate.function.data
    before, scales = _left(gate)
    columns = _row_columns(gate, budget)
    scale = gated_scale(function, float(scales[0]))
    table = activation_table(function, float(scales[0]), scale)
    product = GateOp(function, before.input, from_array(table, i8))
    Rewriter.insert_op(product, InsertPoint.before(gate))
    multiplier, shift = requantization(scale * scales[1::2] / columns.scale)
    after = gate.result.get_user_of_unique_use()
    assert isinstance(after, CalibratedOp)
    if after.reach is None:
        _finish_row(gate, product.result, multiplier, shift, columns)
    else:
        factors = from_array(multiplier, i32), from_array(shift, i32)
        _share_exponents(gate, product.result, factors, columns, after.reach.value.data)
    Rewriter.erase_op(before)


def _left(row: NormOperation | GateOp) -> _Scaled:
    """What a layer has left for a row's operation, and its scales [N].

    Raises:
        ValueError: it is not what a layer has left.
    """
    before = row.input.owner
    if not isinstance(before, DequantizeOp) or len(before.columns()):
        raise ValueError(f"{row.name} is not of a layer's sums")
    return _scaled(row.input)


def _row_columns(row: Row, budget: float) -> Columns:
    """The int8 columns of a row's operation, from what is stated behind it.

    Raises:
        ValueError: its range is missing.
    """
    after = row.result.get_user_of_unique_use()
    if not isinstance(after, CalibratedOp):
        raise ValueError(f"the result of {row.name} has no spaq.calibrated range")
    ranges = np.broadcast_to(after.ranges(), features(row.result))
    inside = any(isinstance(use.operation, MatmulOp | ResidualOp) for use in after.result.uses)
    return Columns.single(ranges, budget) if inside else Columns.plain(ranges * HEADROOM)


def _finish_row(
    row: NormOperation | GateOp,
    sums: SSAValue,
    multiplier: NDArray[np.int64],
    shift: NDArray[np.int64],
    columns: Columns,
) -> None:
    """Requantise sums in the place of a row's operation."""
    level = RequantizeOp(sums, from_array(multiplier, i32), from_array(shift, i32))
    Rewriter.insert_op(level, InsertPoint.before(row))
    _finish(row, level.result, columns)


def _share_exponents(
    gate: GateOp,
    sums: SSAValue,
    factors: tuple[DenseIntOrFPElementsAttr, DenseIntOrFPElementsAttr],
    columns: Columns,
    reach: int,
) -> None:
    """Requantise sums in the place of a gate, with exponents that rows share.

    Raises:
        ValueError: no product takes the exponents back.
    """
    after = gate.result.get_user_of_unique_use()
    assert isinstance(after, CalibratedOp)
    reader = after.result.get_user_of_unique_use()
    if not isinstance(reader, MatmulOp):
        raise ValueError("rows share exponents that no product alone takes back")
    levels = RequantizeRowsOp(sums, *factors, reach)
    Rewriter.insert_op(levels, InsertPoint.before(gate))
    _finish(gate, levels.result, Columns(columns.scale / (1 << reach), columns.split))
    scaled = ScaleRowsOp(reader.input, levels.exponents, reach)
    Rewriter.insert_op(scaled, InsertPoint.before(reader))
    reader.operands[0] = scaled.result


def _finish(row: Row, level: SSAValue, columns: Columns) -> None:
    """Put int8 columns in the place of a row's operation and its stated range, which go."""
    after = row.result.get_user_of_unique_use()
    assert isinstance(after, CalibratedOp)
    result = DequantizeOp(level, columns.scale)
    result.result.name_hint = row.result.name_hint
    Rewriter.insert_op(result, InsertPoint.before(row))
    after.result.replace_all_uses_with(result.result)
    for op in (after, row):
        Rewriter.erase_op(op)
