# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What `nn` operations compute, over NumPy arrays of their element types."""

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import IntegerType, i1
from xdsl.dialects.func import FuncOp
from xdsl.interpreter import Interpreter, InterpreterFunctions, impl, register_impls
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import IRDLOperation
from xdsl.traits import SymbolTable
from xdsl.utils.exceptions import InterpretationError

from daqkf.dialects.dense import integer_range, storage_dtype
from daqkf.dialects.nn.attention import AttentionOp, IntegerAttention, Operands
from daqkf.dialects.nn.base import element_of, integers_of, node_name, shape_of
from daqkf.dialects.nn.causal_attention import CausalAttentionOp
from daqkf.dialects.nn.convolution import Col2ImOp, Im2ColOp
from daqkf.dialects.nn.decoders import (
    CachedAttentionOp,
    CachedOperation,
    Pairs,
    RmsNormOp,
    RotaryOp,
)
from daqkf.dialects.nn.elementwise import ELEMENTWISE, REDUCTIONS, Function, apply_elementwise
from daqkf.dialects.nn.operators import OperatorOp
from daqkf.dialects.nn.ops import (
    ABSENT,
    CastOp,
    ConstantOp,
    DequantizeOp,
    ElementwiseOp,
    LayerNormOp,
    LinearOp,
    MatmulOp,
    ProductOp,
    QuantizeOp,
    ReduceOp,
    SoftmaxOp,
    attends,
    constant_of,
)
from daqkf.dialects.nn.running import run_operator
from daqkf.dialects.nn.sequences import attend, rms_norm, rotate
from daqkf.dialects.nn.shaping import (
    ConcatOp,
    ExpandOp,
    GatherOp,
    ReshapeOp,
    ShapeOp,
    SliceOp,
    SqueezeOp,
    TransposeOp,
    UnsqueezeOp,
)
from daqkf.dialects.nn.windows import col2im, im2col
from daqkf.dialects.spaq.interpreter import split_sequences
from daqkf.hw_targets import numerics

Array = np.ndarray[Any, Any]
Values = tuple[Any, ...]

Kernel = Callable[[FuncOp, Array, Sequence[int]], Array]
"""Runs a kernel's function on rows [T, K]: the rows [T, N]. One with attention gets the tokens of
each sequence, which follow one another."""

Product = Callable[[ProductOp, Array, Array], Array]
"""The integer results [L, N] of int8 operands [L, K] and [K, N]."""


Attention = Callable[[IntegerAttention, Array, Operands], Array]
"""The integer results [L, H·D] of int8 queries [L, H·D] and a sequence's keys and values."""


CachedAttention = Callable[[CachedOperation, Array, Array, Array, Array, Array], Values]
"""The results of causal attention for queries, keys, values, past keys and past values."""


def _integers(op: IntegerAttention, queries: Array, operands: Operands) -> Array:
    """What the array is to compute."""
    return op.integers(queries, operands)


def _continued(past: Array, new: Array) -> Array:
    """The keys or values [.., S + T, G, D] of earlier tokens and of new ones."""
    return np.concatenate([past, new], axis=-3)


def attend_cached(
    op: CachedOperation,
    queries: Array,
    keys: Array,
    values: Array,
    past_keys: Array,
    past_values: Array,
) -> Values:
    """The results of attention, and all keys and values."""
    keys, values = _continued(past_keys, keys), _continued(past_values, values)
    return (attend(queries, keys, values, op.scale.value.data), keys, values)


def attend_causally(
    op: CausalAttentionOp,
    attention: Attention,
    queries: Array,
    keys: Array,
    values: Array,
    past_keys: Array,
    past_values: Array,
) -> Values:
    """The same in int8, sequence by sequence."""
    keys, values = _continued(past_keys, keys), _continued(past_values, values)
    batch, (length, heads, features) = queries.shape[:-3], queries.shape[-3:]
    results = np.empty((*batch, length, heads * features), np.float32)
    with np.errstate(over="ignore"):
        levels = op.key_levels(keys), op.value_levels(values)
    for place in np.ndindex(batch):
        operands = op.operands_of(levels[0][place], levels[1][place], length)
        rows = attention(op, op.rows_of(queries[place]), operands)
        results[place] = op.results_of(rows, length)
    return results, keys, values


def dtype_of(value: SSAValue) -> np.dtype[Any]:
    """The NumPy type of a tensor's elements."""
    return element_dtype(element_of(value))


def element_dtype(kind: Attribute) -> np.dtype[Any]:
    """The NumPy type that arrays of an element type have while they are computed with."""
    return np.dtype(bool) if kind == i1 else storage_dtype(kind).newbyteorder("=")


def integer_product(op: ProductOp, lhs: Array, rhs: Array) -> Array:
    """`spaq.matmul` and `spaq.requantize` of int8 [L, K] and [K, N]: int8 [L, N]."""
    multiplier, shift = op.requantization()
    columns = np.ones(rhs.shape[1], np.int64)
    return numerics.requantize(numerics.matmul(lhs, rhs), multiplier * columns, shift * columns)


def tokens_of(x: Array, mask: Array | None = None) -> tuple[NDArray[np.bool_], list[int]]:
    """Which of the tokens [B·L] of x [B, L, K] are there, and how many of each sequence are.

    Raises:
        ValueError: a mask that is neither 0 nor at most ABSENT, or that is not [B, 1, 1, L].
    """
    if mask is None:
        mask = np.zeros((1, 1, 1, 1))
    if not np.all((mask == 0) | (mask <= ABSENT)):
        raise ValueError(f"a mask of sequences is 0 or at most {ABSENT:g}")
    there = np.broadcast_to(mask[:, 0, 0] == 0, x.shape[:2])
    counts = there.sum(axis=1)
    return there.reshape(-1), counts[counts > 0].tolist()


@contextmanager
def _named(op: IRDLOperation) -> Generator[None]:
    """Turn what NumPy refuses into an error that names the op."""
    try:
        yield
    except (ValueError, IndexError) as error:
        raise InterpretationError(f"{node_name(op)}: {error}") from None


def _impl[Op: IRDLOperation](
    kind: type[Op],
) -> Callable[[Callable[["NnFunctions", Interpreter, Op, Values], Values]], Any]:
    """As `impl`, but errors name the op, and infinities and NaNs come without warnings."""

    def named(method: Callable[["NnFunctions", Interpreter, Op, Values], Values]) -> Any:
        def run(functions: "NnFunctions", interpreter: Interpreter, op: Op, args: Values) -> Values:
            with _named(op), np.errstate(all="ignore"):
                results = method(functions, interpreter, op, args)
            # NumPy makes numbers of arrays without dimensions.
            return tuple(np.asarray(cast(Any, x)) if np.isscalar(x) else x for x in results)

        return impl(kind)(run)

    return named


@register_impls
class NnFunctions(InterpreterFunctions):
    """Implementations of the `nn` operations.

    `kernel`, `product`, `integers` and `cached` stand in for the interpreter where it meets
    `nn.linear`, `nn.product`, attention in int8 and attention behind what is past: an array, say,
    or somebody who keeps keys and values.
    """

    def __init__(
        self,
        kernel: Kernel | None = None,
        product: Product = integer_product,
        integers: Attention = _integers,
        cached: CachedAttention | None = None,
    ):
        super().__init__()
        self._cached = cached
        self.integers = integers
        self._kernel = kernel
        self._product = product

    def prepare(self, interpreter: Interpreter, op: Operation) -> Callable[..., Values] | None:
        """What computes the results of an operation for its operands, as the methods below do.

        What these find out at every call is found out now. None if there is nothing to prepare.
        """
        if isinstance(op, ElementwiseOp):
            return _prepared_elementwise(op)
        if isinstance(op, ReduceOp):
            axes, keep = tuple(integers_of(op.axes)), op.keep is not None
            reduced = partial(REDUCTIONS[op.kind.data], axis=axes, keepdims=keep)
            return _typed(reduced, dtype_of(op.result))
        if isinstance(op, RmsNormOp):
            return _single(partial(rms_norm, epsilon=op.epsilon.value.data))
        if isinstance(op, RotaryOp):
            halves = op.pairs.data is Pairs.HALVES
            frequencies = cache(op.frequencies)

            def turned(x: Array, positions: Array) -> Array:
                return rotate(x, positions, frequencies(int(x.shape[-1])), halves)

            return _single(turned)
        if isinstance(op, CachedOperation):
            return partial(self._attend_cached, op)
        if isinstance(op, LinearOp) and self._kernel is not None:
            return self._prepared_kernel(op)
        return _prepared_shape(op)

    def _prepared_kernel(self, op: LinearOp) -> Callable[..., Values] | None:
        """What calls a kernel of rows, which are not sequences."""
        function, kernel = SymbolTable.lookup_symbol(op, op.callee), self._kernel
        assert isinstance(function, FuncOp) and kernel is not None
        if attends(function):
            return None

        def linear(x: Array) -> Values:
            if x.ndim == 2:
                return (kernel(function, x, ()),)
            y = kernel(function, x.reshape(-1, x.shape[-1]), ())
            return (y.reshape(*x.shape[:-1], y.shape[-1]),)

        return linear

    @_impl(ConstantOp)
    def constant(self, interpreter: Interpreter, op: ConstantOp, args: Values) -> Values:
        return (op.array().astype(dtype_of(op.result), copy=False),)

    @_impl(ElementwiseOp)
    def elementwise(self, interpreter: Interpreter, op: ElementwiseOp, args: Values) -> Values:
        result = apply_elementwise(op.kind.data, args)
        return (np.asarray(result).astype(dtype_of(op.result), copy=False),)

    @_impl(CastOp)
    def cast(self, interpreter: Interpreter, op: CastOp, args: Values) -> Values:
        return (args[0].astype(dtype_of(op.result)),)

    @_impl(MatmulOp)
    def matmul(self, interpreter: Interpreter, op: MatmulOp, args: Values) -> Values:
        return (np.matmul(*args),)

    @impl(LinearOp)
    def linear(self, interpreter: Interpreter, op: LinearOp, args: Values) -> Values:
        x, *mask = args
        function = SymbolTable.lookup_symbol(op, op.callee)
        assert isinstance(function, FuncOp)
        with _named(op):
            rows, there, lengths = x.reshape(-1, x.shape[-1]), np.s_[:], ()
            if attends(function):
                there, lengths = tokens_of(x, *mask)
            rows = rows[there]
        if self._kernel is not None:
            y = self._kernel(function, rows, lengths)
        else:
            with _named(op):
                parts = split_sequences(rows, lengths)
                results = [interpreter.call_op(function, (part,))[0] for part in parts]
                y = np.concatenate(results) if len(results) > 1 else results[0]
        whole = y
        if len(y) != math.prod(x.shape[:-1]):
            whole = np.zeros((math.prod(x.shape[:-1]), y.shape[1]), y.dtype)
            whole[there] = y
        return (whole.reshape(*x.shape[:-1], y.shape[-1]),)

    @impl(ProductOp)
    def product(self, interpreter: Interpreter, op: ProductOp, args: Values) -> Values:
        left, right, result = op.steps()
        # The right side is weights, which have no -128.
        lhs = numerics.quantize(args[0], left)
        rhs = np.maximum(numerics.quantize(args[1], right), -numerics.LEVEL_MAX)
        with _named(op):
            _require_matrices(lhs, rhs)
            batch = np.broadcast_shapes(lhs.shape[:-2], rhs.shape[:-2])
        lhs = np.broadcast_to(lhs, batch + lhs.shape[-2:])
        rhs = np.broadcast_to(rhs, batch + rhs.shape[-2:])
        sums = [self._product(op, lhs[place], rhs[place]) for place in np.ndindex(batch)]
        y = np.array(sums).reshape(*batch, lhs.shape[-2], rhs.shape[-1])
        return (y.astype(np.float32) * np.float32(result),)

    @impl(AttentionOp)
    def attention(self, interpreter: Interpreter, op: AttentionOp, args: Values) -> Values:
        queries, keys, values, *masks = args
        with _named(op):
            _require_heads(op, queries, keys, values)
            shape = (len(keys), op.heads, 1, keys.shape[3])
            masks = [np.broadcast_to(mask, shape)[:, :, 0] for mask in masks]
        steps = op.steps()
        tokens = numerics.quantize(queries, steps.queries).transpose(0, 2, 1, 3)
        batch, length, heads, features = tokens.shape
        results: list[Array] = []
        for sequence, rows in enumerate(tokens.reshape(batch, length, -1)):
            mask = masks[0][sequence] if masks else None
            with np.errstate(over="ignore"):
                operands = op.operands_of(keys[sequence], values[sequence], mask)
            results.append(self.integers(op, rows, operands))
        y = np.array(results).reshape(batch, length, heads, features).transpose(0, 2, 1, 3)
        return ((y * steps.results[:, np.newaxis, np.newaxis]).astype(np.float32),)

    @_impl(LayerNormOp)
    def layer_norm(self, interpreter: Interpreter, op: LayerNormOp, args: Values) -> Values:
        x, gamma, beta = args
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.mean(centred * centred, axis=-1, keepdims=True)
        epsilon = x.dtype.type(op.epsilon.value.data)
        centred /= np.sqrt(variance + epsilon)
        if gamma.dtype != x.dtype or beta.dtype != x.dtype:
            return (centred * gamma + beta,)
        centred *= gamma
        centred += beta
        return (centred,)

    @_impl(RmsNormOp)
    def rms_norm(self, interpreter: Interpreter, op: RmsNormOp, args: Values) -> Values:
        x, gamma = args
        return (rms_norm(x, gamma, op.epsilon.value.data),)

    @_impl(RotaryOp)
    def rotary(self, interpreter: Interpreter, op: RotaryOp, args: Values) -> Values:
        x, positions = args
        frequencies = op.frequencies(x.shape[-1])
        return (rotate(x, positions, frequencies, op.pairs.data is Pairs.HALVES),)

    @_impl(CachedAttentionOp)
    def cached_attention(
        self, interpreter: Interpreter, op: CachedAttentionOp, args: Values
    ) -> Values:
        return self._attend_cached(op, *args)

    @_impl(CausalAttentionOp)
    def causal_attention(
        self, interpreter: Interpreter, op: CausalAttentionOp, args: Values
    ) -> Values:
        return self._attend_cached(op, *args)

    def _attend_cached(self, op: CachedOperation, *args: Array) -> Values:
        """The results of attention behind what is past, and what is the past of the next tokens."""
        if self._cached is not None:
            return self._cached(op, *args)
        if isinstance(op, CausalAttentionOp):
            return attend_causally(op, self.integers, *args)
        return attend_cached(op, *args)

    @_impl(SoftmaxOp)
    def softmax(self, interpreter: Interpreter, op: SoftmaxOp, args: Values) -> Values:
        axis = op.axis.value.data
        e = args[0] - args[0].max(axis=axis, keepdims=True)
        np.exp(e, out=e)
        e /= e.sum(axis=axis, keepdims=True)
        return (e,)

    @_impl(ReduceOp)
    def reduce(self, interpreter: Interpreter, op: ReduceOp, args: Values) -> Values:
        axes = tuple(integers_of(op.axes))
        reduction = REDUCTIONS[op.kind.data]
        result = reduction(args[0], axis=axes, keepdims=op.keep is not None)
        return (np.asarray(result, dtype_of(op.result)),)

    @_impl(ReshapeOp)
    def reshape(self, interpreter: Interpreter, op: ReshapeOp, args: Values) -> Values:
        x, extents = args
        return (x.reshape(_extents(x, [int(extent) for extent in extents])),)

    @_impl(ExpandOp)
    def expand(self, interpreter: Interpreter, op: ExpandOp, args: Values) -> Values:
        x, extents = args
        shape = np.broadcast_shapes(x.shape, tuple(int(n) for n in extents))
        return (np.broadcast_to(x, shape),)

    @_impl(TransposeOp)
    def transpose(self, interpreter: Interpreter, op: TransposeOp, args: Values) -> Values:
        return (args[0].transpose(integers_of(op.axes)),)

    @_impl(UnsqueezeOp)
    def unsqueeze(self, interpreter: Interpreter, op: UnsqueezeOp, args: Values) -> Values:
        axes = tuple(integers_of(op.axes))
        return (np.expand_dims(args[0], axes),)

    @_impl(SqueezeOp)
    def squeeze(self, interpreter: Interpreter, op: SqueezeOp, args: Values) -> Values:
        axes = tuple(integers_of(op.axes))
        return (np.squeeze(args[0], axes),)

    @_impl(GatherOp)
    def gather(self, interpreter: Interpreter, op: GatherOp, args: Values) -> Values:
        axis = op.axis.value.data
        return (np.take(args[0], args[1], axis=axis, mode="raise"),)

    @_impl(ConcatOp)
    def concat(self, interpreter: Interpreter, op: ConcatOp, args: Values) -> Values:
        return (np.concatenate(args, axis=op.axis.value.data),)

    @_impl(SliceOp)
    def slice(self, interpreter: Interpreter, op: SliceOp, args: Values) -> Values:
        x, starts, ends = args
        places = [slice(None)] * x.ndim
        bounds = zip(integers_of(op.axes), starts, ends, integers_of(op.steps), strict=True)
        for axis, start, end, step in bounds:
            places[axis] = onnx_slice(x.shape[axis], int(start), int(end), step)
        return (x[tuple(places)],)

    @_impl(ShapeOp)
    def shape(self, interpreter: Interpreter, op: ShapeOp, args: Values) -> Values:
        return (np.array(args[0].shape, np.int64),)

    @_impl(Im2ColOp)
    def im2col(self, interpreter: Interpreter, op: Im2ColOp, args: Values) -> Values:
        return (im2col(args[0], op.windows(), op.fill.value.data),)

    @_impl(Col2ImOp)
    def col2im(self, interpreter: Interpreter, op: Col2ImOp, args: Values) -> Values:
        return (col2im(args[0], op.windows()),)

    @_impl(QuantizeOp)
    def quantize(self, interpreter: Interpreter, op: QuantizeOp, args: Values) -> Values:
        x, scale, zero = args
        low, high = integer_range(cast(IntegerType, element_of(op.result)))
        axis = op.axis.value.data
        with np.errstate(over="ignore"):
            levels = np.rint(x / along(scale, x, axis)) + along(zero, x, axis)
        return (np.clip(levels, low, high).astype(dtype_of(op.result)),)

    @_impl(OperatorOp)
    def operator(self, interpreter: Interpreter, op: OperatorOp, args: Values) -> Values:
        return run_operator(op, args)

    @_impl(DequantizeOp)
    def dequantize(self, interpreter: Interpreter, op: DequantizeOp, args: Values) -> Values:
        x, scale, zero = args
        axis = op.axis.value.data
        levels = x.astype(np.int32) - along(zero, x, axis).astype(np.int32)
        return ((levels * along(scale, x, axis)).astype(dtype_of(op.result)),)


def _prepared_elementwise(op: ElementwiseOp) -> Callable[..., Values]:
    """What computes a function of elements; NumPy's own where that gives an array of the type."""
    function, kind = ELEMENTWISE[op.kind.data], dtype_of(op.result)
    kinds = {dtype_of(value) for value in (*op.inputs, op.result)}
    if kinds == {np.dtype(np.float32)} and shape_of(op.result) not in (None, ()):
        if op.kind.data is Function.DIV:
            function = np.divide
        if isinstance(function, np.ufunc):
            return _single(function)
    return _typed(function, kind)


def _prepared_shape(op: Operation) -> Callable[..., Values] | None:
    """What reshapes or cuts tensors to a shape that the network says."""
    if isinstance(op, ReshapeOp) and (extents := constant_of(op.extents)) is not None:
        wanted = [int(extent) for extent in extents]
        if 0 not in wanted:

            def reshaped(x: Array, _: Array) -> Array:
                return x.reshape(wanted if x.size else _extents(x, wanted))

            return _single(reshaped)
    if isinstance(op, SliceOp):
        starts, ends = constant_of(op.starts), constant_of(op.ends)
        if starts is not None and ends is not None:
            axes, steps = integers_of(op.axes), integers_of(op.steps)
            parts = [
                (axis, int(start), int(end), step)
                for axis, start, end, step in zip(axes, starts, ends, steps, strict=True)
            ]

            def cut(x: Array, starts: Array, ends: Array) -> Values:
                places = [slice(None)] * x.ndim
                for axis, start, end, step in parts:
                    places[axis] = onnx_slice(x.shape[axis], start, end, step)
                return (x[tuple(places)],)

            return cut
    return None


def _single(function: Callable[..., Array]) -> Callable[..., Values]:
    """A function whose one result is that of another one."""
    return lambda *args: (function(*args),)


def _typed(function: Callable[..., Array], kind: np.dtype[Any]) -> Callable[..., Values]:
    """A function whose one result has elements of a type."""

    def run(*args: Array) -> Values:
        result: Array = np.asarray(function(*args))  # numbers of NumPy, too
        return (result if result.dtype == kind else result.astype(kind),)

    return run


def _extents(x: Array, wanted: list[int]) -> list[int]:
    """The extents that a tensor gets: 0 keeps its own, and one -1 is what is left.

    That is the quotient of the extents that are not kept, so that it is known of an empty batch.
    """
    shape = [x.shape[axis] if extent == 0 else extent for axis, extent in enumerate(wanted)]
    if x.size == 0 and -1 in wanted:
        kept = {axis for axis, extent in enumerate(wanted) if extent == 0}
        left = math.prod(extent for axis, extent in enumerate(x.shape) if axis not in kept)
        shape[wanted.index(-1)] = left // math.prod(extent for extent in wanted if extent > 0)
    return shape


def _require_heads(op: AttentionOp, queries: Array, keys: Array, values: Array) -> None:
    """Raise a ValueError for tensors that attention is not of."""
    batch, heads, features = len(queries), op.heads, queries.shape[-1]
    length = keys.shape[-1]
    expected = (
        (batch, heads, queries.shape[-2], features),
        (batch, heads, features, length),
        (batch, heads, length, features),
    )
    found = queries.shape, keys.shape, values.shape
    if found != expected or not length:
        raise ValueError(f"attention of {heads} heads over {', '.join(map(str, found))}")


def _require_matrices(lhs: Array, rhs: Array) -> None:
    """Raise a ValueError unless the last two dimensions have a product."""
    if min(lhs.ndim, rhs.ndim) < 2 or lhs.shape[-1] != rhs.shape[-2]:
        raise ValueError(f"{lhs.shape} and {rhs.shape} have no product of matrices")


def along(factors: Array, x: Array, axis: int) -> Array:
    """One factor, or a vector of them along an axis, ready to broadcast."""
    if factors.size == 1:
        return factors.reshape(())
    shape = [1] * x.ndim
    shape[axis] = len(factors)
    return factors.reshape(shape)


def onnx_slice(extent: int, start: int, end: int, step: int) -> slice:
    """ONNX's bounds, which are clamped after a negative one has counted from the end."""
    first, last = (bound + extent if bound < 0 else bound for bound in (start, end))
    if step > 0:
        return slice(min(max(first, 0), extent), min(max(last, 0), extent), step)
    first, last = min(max(first, 0), extent - 1), min(last, extent - 1)
    return slice(first, None if last < 0 else last, step)
