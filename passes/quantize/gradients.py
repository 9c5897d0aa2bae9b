# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How gradients go through each operation of `nn` and of its kernels in `spaq`.

What one kind of operation does is one entry of `PRODUCTS`, which multiplies a gradient by the
operation's Jacobian (Griewank and Walther, "Evaluating Derivatives", 2008). Roundings pass
gradients straight through (Bengio, Léonard and Courville, 2013). `tape.Tape` uses them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Operation

from daqkf.dialects import nn, spaq
from daqkf.dialects.nn.base import integers_of
from daqkf.dialects.nn.decoders import Pairs
from daqkf.dialects.nn.interpreter import along, onnx_slice
from daqkf.dialects.nn.sequences import attention_shares, grouped, rotate, ungrouped
from daqkf.dialects.nn.windows import col2im, im2col
from daqkf.dialects.spaq.interpreter import (
    attention_scores,
    softmax,
    split_sequences,
)
from daqkf.hw_targets.functions import FUNCTIONS
from daqkf.hw_targets.numerics import ACTIVATION_MAX, ACTIVATION_MIN

Array = NDArray[Any]
Values = Sequence[Array]
Gradients = Sequence[Array | None]
"""Of each operand; None of one that nothing flows to."""

VectorJacobianProduct = Callable[[Any, Values, Array, Array], Gradients]
"""The gradients of an operation's operands, from the operation, what it read, what it gave, and
the gradient of that."""

PRODUCTS: dict[type[Operation], VectorJacobianProduct] = {}
"""How gradients go through each kind of operation."""


class NoGradientError(Exception):
    """A gradient meets an operation that `PRODUCTS` does not know."""


def vector_jacobian_product(
    *kinds: type[Operation],
) -> Callable[[VectorJacobianProduct], VectorJacobianProduct]:
    """Enter a function for kinds of operations into `PRODUCTS`."""

    def enter(function: VectorJacobianProduct) -> VectorJacobianProduct:
        PRODUCTS.update(dict.fromkeys(kinds, function))
        return function

    return enter


def gradients_of(
    op: Operation, arguments: Values, result: Array, gradient: Array, lengths: Sequence[int] = ()
) -> Gradients:
    """The gradients of an operation's operands.

    Args:
        op: the operation.
        arguments: what it read.
        result: what it gave.
        gradient: of that.
        lengths: tokens of each sequence, of attention.

    Raises:
        NoGradientError: it has no entry in `PRODUCTS`.
    """
    with np.errstate(all="ignore"):
        if isinstance(op, spaq.AttentionOp):
            return _attention(op, arguments, gradient, lengths)
        product = PRODUCTS.get(type(op))
        if product is None:
            raise NoGradientError(op.name)
        return product(op, arguments, result, gradient)


def _to_shape(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sum over what was broadcast."""
    gradient = gradient.sum(axis=tuple(range(gradient.ndim - len(shape))))
    stretched = tuple(i for i, extent in enumerate(shape) if extent != gradient.shape[i])
    return gradient.sum(axis=stretched, keepdims=True) if stretched else gradient


_ROOT_TWO_PI = float(np.sqrt(2 * np.pi))


def _density(x: Array) -> Array:
    return np.exp(-x * x / 2) / x.dtype.type(_ROOT_TWO_PI)


def _sigmoid(x: Array) -> Array:
    from scipy.special import expit  # pyright: ignore[reportMissingTypeStubs]

    return expit(x)


def _gelu_slope(x: Array) -> Array:
    from scipy.special import ndtr  # pyright: ignore[reportMissingTypeStubs]

    return ndtr(x) + x * _density(x)


def _gelu_tanh_slope(x: Array) -> Array:
    factor, cubic = x.dtype.type(np.sqrt(2 / np.pi)), x.dtype.type(0.044715)
    inner = np.tanh(factor * (x + cubic * x**3))
    return (1 + inner + x * (1 - inner**2) * factor * (1 + 3 * cubic * x * x)) / 2


def _silu_slope(x: Array) -> Array:
    gate = _sigmoid(x)
    return gate * (1 + x * (1 - gate))


SLOPES: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: (x > 0).astype(x.dtype),
    "gelu": _gelu_slope,
    "gelu_tanh": _gelu_tanh_slope,
    "silu": _silu_slope,
    "sigmoid": lambda x: _sigmoid(x) * (1 - _sigmoid(x)),
    "tanh": lambda x: 1 - np.tanh(x) ** 2,
}
"""Derivatives of `daqkf.hw_targets.functions.FUNCTIONS`."""

_UNARY: dict[str, Callable[[Array, Array], Array]] = {
    "abs": lambda x, y: np.sign(x),
    "erf": lambda x, y: 2 / np.sqrt(np.pi) * np.exp(-x * x),
    "exp": lambda x, y: y,
    "log": lambda x, y: 1 / x,
    "neg": lambda x, y: -np.ones_like(x),
    "reciprocal": lambda x, y: -y * y,
    "sqrt": lambda x, y: 1 / (2 * y),
    **{name: (lambda x, y, name=name: SLOPES[name](x)) for name in FUNCTIONS},
}

_BINARY: dict[str, Callable[[Array, Array, Array], tuple[Any, Any]]] = {
    "add": lambda a, b, y: (1, 1),
    "sub": lambda a, b, y: (1, -1),
    "mul": lambda a, b, y: (b, a),
    "div": lambda a, b, y: (1 / b, -y / b),
    "max": lambda a, b, y: (a >= b, a < b),
    "min": lambda a, b, y: (a <= b, a > b),
    "pow": lambda a, b, y: (b * a ** (b - 1), np.where(a > 0, y * np.log(np.abs(a)), 0)),
}


@vector_jacobian_product(nn.ElementwiseOp)
def _elementwise(op: nn.ElementwiseOp, args: Values, y: Array, gradient: Array) -> Gradients:
    kind = op.kind.data
    if kind in _UNARY:
        factors: tuple[Any, ...] = (_UNARY[kind](args[0], y),)
    elif kind in _BINARY:
        factors = _BINARY[kind](args[0], args[1], y)
    elif kind == "where":
        factors = (None, args[0], ~args[0])
    else:  # comparisons and logic
        return [None] * len(args)
    return [
        None
        if factor is None or arg.dtype.kind != "f"
        else _to_shape((gradient * factor).astype(gradient.dtype, copy=False), arg.shape)
        for factor, arg in zip(factors, args, strict=True)
    ]


@vector_jacobian_product(nn.CastOp)
def _cast(op: nn.CastOp, args: Values, y: Array, gradient: Array) -> Gradients:
    (x,) = args
    return [gradient.astype(x.dtype) if x.dtype.kind == "f" else None]


@vector_jacobian_product(nn.MatmulOp, nn.ProductOp)
def _matmul(op: nn.MatmulOp | nn.ProductOp, args: Values, y: Array, gradient: Array) -> Gradients:
    left, right = args
    if left.ndim == 1 or right.ndim == 1:
        a = left[np.newaxis] if left.ndim == 1 else left
        b = right[:, np.newaxis] if right.ndim == 1 else right
        wide = gradient[..., np.newaxis] if right.ndim == 1 else gradient
        wide = wide[..., np.newaxis, :] if left.ndim == 1 else wide
        back = _matmul(op, (a, b), y, wide)
        return [
            None if part is None else part.reshape(arg.shape)
            for part, arg in zip(back, args, strict=True)
        ]
    of_left = gradient @ right.swapaxes(-1, -2)
    of_right = left.swapaxes(-1, -2) @ gradient
    return [_to_shape(of_left, left.shape), _to_shape(of_right, right.shape)]


def _of_norm(x: Array, gamma: Array, epsilon: float, gradient: Array) -> tuple[Array, Array]:
    """The gradient of what is normalised along the last axis, and the normalised values."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    inverse = 1 / np.sqrt(variance + x.dtype.type(epsilon))
    unit, scaled = centred * inverse, gradient * gamma
    along = (scaled * unit).mean(axis=-1, keepdims=True)
    return inverse * (scaled - scaled.mean(axis=-1, keepdims=True) - unit * along), unit


@vector_jacobian_product(nn.LayerNormOp, spaq.LayerNormOp)
def _layer_norm(
    op: nn.LayerNormOp | spaq.LayerNormOp, args: Values, y: Array, gradient: Array
) -> Gradients:
    x, gamma, beta = args
    of_x, unit = _of_norm(x, gamma, op.epsilon.value.data, gradient)
    return [of_x, _to_shape(gradient * unit, gamma.shape), _to_shape(gradient, beta.shape)]


@vector_jacobian_product(nn.RmsNormOp, spaq.RmsNormOp)
def _rms_norm(
    op: nn.RmsNormOp | spaq.RmsNormOp, args: Values, y: Array, gradient: Array
) -> Gradients:
    x, gamma = args
    power = np.square(x).mean(axis=-1, keepdims=True)
    inverse = 1 / np.sqrt(power + x.dtype.type(op.epsilon.value.data))
    unit, scaled = x * inverse, gradient * gamma
    along = (scaled * unit).mean(axis=-1, keepdims=True)
    return [inverse * (scaled - unit * along), _to_shape(gradient * unit, gamma.shape)]


@vector_jacobian_product(nn.RotaryOp)
def _rotary(op: nn.RotaryOp, args: Values, y: Array, gradient: Array) -> Gradients:
    x, positions = args
    frequencies = op.frequencies(x.shape[-1])
    return [rotate(gradient, -positions, frequencies, op.pairs.data is Pairs.HALVES), None]


@vector_jacobian_product(nn.CachedAttentionOp)
def _cached_attention(
    op: nn.CachedAttentionOp, args: Values, y: Array, gradient: Array
) -> Gradients:
    queries, keys, values, past_keys, past_values = args
    scale, past, groups = op.scale.value.data, past_keys.shape[-3], keys.shape[-2]
    rows = grouped(queries, groups)
    both = np.concatenate([past_keys, keys], axis=-3)
    shares = attention_shares(rows, both, scale)
    # [..., G, 1, S + T, D], as many times as heads read them.
    of_keys, of_values = (
        np.moveaxis(x, -3, -2)[..., np.newaxis, :, :]
        for x in (both, np.concatenate([past_values, values], axis=-3))
    )
    heads = (*queries.shape[:-1], values.shape[-1])
    back = grouped(gradient.reshape(heads), groups)
    scores = _of_softmax(shares, back @ of_values.swapaxes(-1, -2)) * rows.dtype.type(scale)
    found = [
        np.moveaxis((left.swapaxes(-1, -2) @ right).sum(axis=-3), -2, -3)
        for left, right in ((scores, rows), (shares, back))
    ]
    new, old = ([x[..., part, :, :] for x in found] for part in (np.s_[past:], np.s_[:past]))
    return [ungrouped(scores @ of_keys), *new, *old]


@vector_jacobian_product(nn.SoftmaxOp)
def _softmax(op: nn.SoftmaxOp, args: Values, y: Array, gradient: Array) -> Gradients:
    return [_of_softmax(y, gradient, op.axis.value.data)]


def _of_softmax(shares: Array, gradient: Array, axis: int = -1) -> Array:
    return shares * (gradient - (gradient * shares).sum(axis=axis, keepdims=True))


@vector_jacobian_product(nn.ReduceOp)
def _reduce(op: nn.ReduceOp, args: Values, y: Array, gradient: Array) -> Gradients:
    (x,) = args
    axes = tuple(axis % x.ndim for axis in integers_of(op.axes)) or tuple(range(x.ndim))
    if op.keep is None:
        y, gradient = (np.expand_dims(value, axes) for value in (y, gradient))
    kind = op.kind.data
    if kind in ("max", "min"):
        chosen = x == y
        factor = chosen / chosen.sum(axis=axes, keepdims=True)
    elif kind == "prod":
        factor = y / x
    else:
        count = np.prod([x.shape[axis] for axis in axes])
        factor = np.full(x.shape, 1 / count if kind == "mean" else 1.0, x.dtype)
    return [(gradient * factor).astype(x.dtype, copy=False)]


@vector_jacobian_product(nn.ReshapeOp, nn.SqueezeOp, nn.UnsqueezeOp)
def _reshape(op: Operation, args: Values, y: Array, gradient: Array) -> Gradients:
    return [gradient.reshape(args[0].shape), *[None] * (len(args) - 1)]


@vector_jacobian_product(nn.ExpandOp)
def _expand(op: nn.ExpandOp, args: Values, y: Array, gradient: Array) -> Gradients:
    return [_to_shape(gradient, args[0].shape), None]


@vector_jacobian_product(nn.TransposeOp)
def _transpose(op: nn.TransposeOp, args: Values, y: Array, gradient: Array) -> Gradients:
    return [gradient.transpose(np.argsort(integers_of(op.axes)))]


@vector_jacobian_product(nn.GatherOp)
def _gather(op: nn.GatherOp, args: Values, y: Array, gradient: Array) -> Gradients:
    x, indices = args
    axis = op.axis.value.data % x.ndim
    back = np.zeros_like(x)
    moved = np.moveaxis(back, axis, 0)
    parts = np.moveaxis(gradient, range(axis, axis + indices.ndim), range(indices.ndim))
    np.add.at(moved, indices, parts)
    return [back, None]


@vector_jacobian_product(nn.ConcatOp, spaq.ConcatOp)
def _concat(op: nn.ConcatOp | spaq.ConcatOp, args: Values, y: Array, gradient: Array) -> Gradients:
    axis = op.axis.value.data if isinstance(op, nn.ConcatOp) else 1
    return np.split(gradient, np.cumsum([x.shape[axis] for x in args])[:-1], axis)


@vector_jacobian_product(nn.SliceOp)
def _slice(op: nn.SliceOp, args: Values, y: Array, gradient: Array) -> Gradients:
    x, starts, ends = args
    places = [slice(None)] * x.ndim
    bounds = zip(integers_of(op.axes), starts, ends, integers_of(op.steps), strict=True)
    for axis, start, end, step in bounds:
        places[axis] = onnx_slice(x.shape[axis], int(start), int(end), step)
    back = np.zeros_like(x)
    back[tuple(places)] = gradient
    return [back, None, None]


@vector_jacobian_product(nn.Im2ColOp)
def _im2col(op: nn.Im2ColOp, args: Values, y: Array, gradient: Array) -> Gradients:
    return [col2im(gradient, op.windows(), args[0].shape[2:])]


@vector_jacobian_product(nn.Col2ImOp)
def _col2im(op: nn.Col2ImOp, args: Values, y: Array, gradient: Array) -> Gradients:
    windows = op.windows()
    # Padding that makes an image larger is cut off again, instead of padding by less than none.
    cut = tuple(
        slice(max(-b, 0), x - max(-a, 0))
        for b, a, x in zip(windows.before, windows.after, gradient.shape[2:], strict=True)
    )
    before, after = (tuple(max(pad, 0) for pad in pads) for pads in (windows.before, windows.after))
    inner = replace(windows, before=before, after=after)
    return [im2col(gradient[(..., *cut)], inner)]


@vector_jacobian_product(nn.ShapeOp, nn.ConstantOp)
def _constant(op: Operation, args: Values, y: Array, gradient: Array) -> Gradients:
    return [None] * len(args)


@vector_jacobian_product(nn.QuantizeOp)
def _quantize(op: nn.QuantizeOp, args: Values, y: Array, gradient: Array) -> Gradients:
    return [(gradient / along(args[1], args[0], op.axis.value.data)), None, None]


@vector_jacobian_product(nn.DequantizeOp)
def _dequantize(op: nn.DequantizeOp, args: Values, y: Array, gradient: Array) -> Gradients:
    return [gradient * along(args[1], args[0], op.axis.value.data), None, None]


@vector_jacobian_product(spaq.MatmulOp)
def _kernel_matmul(op: spaq.MatmulOp, args: Values, y: Array, gradient: Array) -> Gradients:
    # Products of constant weights: their gradient is not asked for.
    return [gradient @ args[1].T, None]


@vector_jacobian_product(spaq.AddOp)
def _add_bias(op: spaq.AddOp, args: Values, y: Array, gradient: Array) -> Gradients:
    return [gradient, None]


@vector_jacobian_product(spaq.CalibratedOp)
def _calibrated(op: spaq.CalibratedOp, args: Values, y: Array, gradient: Array) -> Gradients:
    return [gradient]


@vector_jacobian_product(spaq.QuantizeOp)
def _round(op: spaq.QuantizeOp, args: Values, y: Array, gradient: Array) -> Gradients:
    # As if nothing were rounded; what saturates has no slope.
    real = args[0] / op.scales()
    inside = (real >= ACTIVATION_MIN) & (real <= ACTIVATION_MAX)
    return [(gradient[:, : real.shape[1]] / op.scales() * inside).astype(args[0].dtype)]


@vector_jacobian_product(spaq.DequantizeOp)
def _scale_up(op: spaq.DequantizeOp, args: Values, y: Array, gradient: Array) -> Gradients:
    return [(gradient * op.scales()).astype(gradient.dtype)]


@vector_jacobian_product(spaq.ActivationOp)
def _activation(op: spaq.ActivationOp, args: Values, y: Array, gradient: Array) -> Gradients:
    return [gradient * SLOPES[op.function.data](args[0])]


@vector_jacobian_product(spaq.ResidualOp)
def _residual(op: spaq.ResidualOp, args: Values, y: Array, gradient: Array) -> Gradients:
    return [gradient, gradient]


@vector_jacobian_product(spaq.GateOp)
def _gate(op: spaq.GateOp, args: Values, y: Array, gradient: Array) -> Gradients:
    (x,) = args
    gates, values = x[:, 0::2], x[:, 1::2]
    name = op.function.data
    back = np.empty_like(x)
    back[:, 0::2] = gradient * values * SLOPES[name](gates)
    back[:, 1::2] = gradient * FUNCTIONS[name](gates)
    return [back]


@vector_jacobian_product(spaq.ColumnsOp)
def _columns(op: spaq.ColumnsOp, args: Values, y: Array, gradient: Array) -> Gradients:
    first = op.first.value.data
    back = np.zeros_like(args[0])
    back[:, first : first + gradient.shape[1]] = gradient
    return [back]


@vector_jacobian_product(spaq.GatherOp)
def _gather_columns(op: spaq.GatherOp, args: Values, y: Array, gradient: Array) -> Gradients:
    back = np.zeros_like(args[0])
    np.add.at(back.T, op.array(), gradient.T)
    return [back]


def _attention(
    op: spaq.AttentionOp, args: Values, gradient: Array, lengths: Sequence[int]
) -> Gradients:
    """`softmax(q·kᵀ·scale)·v` of each sequence by itself."""
    heads, scale = op.heads.value.data, np.float32(op.scale.value.data)
    parts: list[list[Array]] = [[], [], []]
    split = (split_sequences(value, lengths) for value in (*args, gradient))
    for queries, keys, values, own in zip(*split, strict=True):
        q, k, v, g = (np.stack(np.split(x, heads, axis=1)) for x in (queries, keys, values, own))
        shares = softmax(attention_scores(op, queries, keys))
        of_scores = _of_softmax(shares, g @ v.swapaxes(1, 2)) * scale
        back = of_scores @ k, of_scores.swapaxes(1, 2) @ q, shares.swapaxes(1, 2) @ g
        for part, found in zip(parts, back, strict=True):
            part.append(np.concatenate(list(found), axis=1))
    return [np.concatenate(part) for part in parts]
