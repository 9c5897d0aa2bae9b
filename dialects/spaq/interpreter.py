# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What `spaq` operations compute, over NumPy arrays: int8, int64 for sums, or float32."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import IntegerType
from xdsl.interpreter import Interpreter, InterpreterFunctions, impl, register_impls
from xdsl.ir import Operation
from xdsl.utils.exceptions import InterpretationError

from daqkf.dialects.dense import integer_bits, to_array
from daqkf.dialects.spaq.attention import AttendOp, AttentionOp, SequenceOperation
from daqkf.dialects.spaq.checks import element, features
from daqkf.dialects.spaq.exponents import RequantizeRowsOp, ScaleRowsOp
from daqkf.dialects.spaq.ops import (
    ActivationOp,
    AddOp,
    CalibratedOp,
    ConstantOp,
    DequantizeOp,
    MatmulOp,
    QuantizeOp,
    RequantizeOp,
)
from daqkf.dialects.spaq.prepared import Deferred, Prepared
from daqkf.dialects.spaq.rows import (
    ColumnsOp,
    ConcatOp,
    GateOp,
    GatherOp,
    LayerNormOp,
    NormalizeOp,
    ResidualOp,
    RmsNormOp,
)
from daqkf.hw_targets import numerics
from daqkf.hw_targets.functions import apply_function
from daqkf.hw_targets.semirings import product

Values = tuple[Any, ...]


def _checked(op: Operation, sums: NDArray[np.integer]) -> NDArray[np.integer]:
    """The sums, which must fit the integer type that the IR gives them."""
    kind = element(op.results[0])
    room = integer_bits(kind)
    if room is not None and sums.size:
        bits = numerics.signed_bits(int(sums.min()), int(sums.max()))
        if bits > room:
            raise InterpretationError(f"{op.name}: a sum needs {bits} bits, but its type is {kind}")
    return sums


def _sum_type(op: Operation) -> type[np.integer]:
    """What NumPy holds integers of the op's result in."""
    bits = integer_bits(element(op.results[0]))
    return np.int32 if bits is not None and bits <= 32 else np.int64


def split_sequences(rows: NDArray[Any], sequences: Sequence[int]) -> list[NDArray[Any]]:
    """The rows of each sequence; of one, if nothing says."""
    return np.split(rows, np.cumsum(sequences[:-1], dtype=np.int64))


def _require_tokens(op: SequenceOperation, tokens: int) -> None:
    most = op.tokens.value.data
    if not 0 < tokens <= most:
        raise InterpretationError(f"{op.name}: a sequence of {tokens} tokens; it is for 1..{most}")


def _by_head(op: SequenceOperation, x: NDArray[Any]) -> NDArray[Any]:
    """The features [H, T, D] of each head."""
    return np.stack(np.split(x, op.heads.value.data, axis=1))


def attention_scores(
    op: AttentionOp, queries: NDArray[np.float32], keys: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What the softmax is of, [H, T, T]."""
    product = _by_head(op, queries) @ _by_head(op, keys).swapaxes(1, 2)
    return product * np.float32(op.scale.value.data)


def softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shares along the last axis."""
    from scipy import special  # pyright: ignore[reportMissingTypeStubs]

    return cast(Any, special).softmax(scores, axis=-1)


def _divided_by_root(x: NDArray[np.float64], epsilon: float) -> NDArray[np.float64]:
    """Rows [T, N] over the root of their mean square and ε."""
    return x / np.sqrt((x**2).mean(axis=1, keepdims=True) + epsilon)


def _same(*args: Any) -> Values:
    """The operands."""
    return args


@register_impls
class SpaqFunctions(InterpreterFunctions):
    """Implementations of the `spaq` operations.

    Tokens are of `sequences` of so many, one after another, or all of one. What is `prepared` for
    earlier runs of the same IR is not made again.
    """

    def __init__(self, sequences: Sequence[int] = (), prepared: Prepared | None = None):
        super().__init__()
        self._sequences = sequences
        self._prepared = Prepared() if prepared is None else prepared

    def prepare(self, interpreter: Interpreter, op: Operation) -> Callable[..., Values] | None:
        """What computes the results of an operation for its operands, as the methods below do.

        What these find out at every call is found out now. None if there is nothing to prepare.
        """
        prepared = self._prepared
        if isinstance(op, QuantizeOp | DequantizeOp):
            scales, columns = op.scales(), op.columns()
            if isinstance(op, QuantizeOp):
                if prepared.quantization(op) is not None:
                    return _same
                return lambda *x: (numerics.quantize(x[0], scales, columns),)
            if prepared.scaled(op):
                return _same
            return lambda *q: (numerics.dequantize(q[0], scales, columns),)
        if isinstance(op, MatmulOp) and prepared.deferred(op):
            return lambda *args: (Deferred(args[0]),)
        if isinstance(op, RequantizeOp) and (run := prepared.run(op)) is not None:
            return lambda *sums: (run(sums[0]),)
        return None

    @impl(ConstantOp)
    def constant(self, interpreter: Interpreter, op: ConstantOp, args: Values) -> Values:
        return (op.array(),)

    @impl(CalibratedOp)
    def calibrated(self, interpreter: Interpreter, op: CalibratedOp, args: Values) -> Values:
        return args

    @impl(MatmulOp)
    def matmul(self, interpreter: Interpreter, op: MatmulOp, args: Values) -> Values:
        x, weights = args
        if not isinstance(element(op.result), IntegerType):
            return (x @ weights,)
        if self._prepared.deferred(op):
            return (Deferred(x),)
        factors = self._prepared.factors(op)
        if factors is None:
            return (_checked(op, product(x, weights, op.semiring.data)),)
        if self._prepared.fits(op):
            return (numerics.matmul(x, factors, _sum_type(op)),)
        return (_checked(op, numerics.matmul(x, factors)),)

    @impl(AddOp)
    def add(self, interpreter: Interpreter, op: AddOp, args: Values) -> Values:
        x, bias = args
        if isinstance(x, Deferred):
            return (x,)
        if not isinstance(element(op.result), IntegerType):
            return (x + bias.astype(x.dtype),)
        if self._prepared.fits(op):
            return (np.add(x, bias, dtype=_sum_type(op)),)
        return (_checked(op, np.add(x, bias, dtype=np.int64)),)

    @impl(QuantizeOp)
    def quantize(self, interpreter: Interpreter, op: QuantizeOp, args: Values) -> Values:
        return (numerics.quantize(args[0], op.scales(), op.columns()),)

    @impl(DequantizeOp)
    def dequantize(self, interpreter: Interpreter, op: DequantizeOp, args: Values) -> Values:
        return (numerics.dequantize(args[0], op.scales(), op.columns()),)

    @impl(RequantizeOp)
    def requantize(self, interpreter: Interpreter, op: RequantizeOp, args: Values) -> Values:
        (x,) = args
        if isinstance(x, Deferred):
            run = self._prepared.fused(op)
            assert run is not None
            return (run(x.x, x.kept),)
        kind = np.int16 if op.wide else np.int8
        return (numerics.requantize(x, to_array(op.multiplier), to_array(op.shift), kind=kind),)

    @impl(RequantizeRowsOp)
    def requantize_rows(
        self, interpreter: Interpreter, op: RequantizeRowsOp, args: Values
    ) -> Values:
        return op.run(args[0])

    @impl(ScaleRowsOp)
    def scale_rows(self, interpreter: Interpreter, op: ScaleRowsOp, args: Values) -> Values:
        x, exponents = args
        wrong = np.flatnonzero((exponents < 0) | (exponents > op.reach.value.data))
        if len(wrong):
            raise InterpretationError(f"{op.name}: token {wrong[0]} has another exponent")
        if not isinstance(element(op.result), IntegerType):
            return (numerics.scale_rows(x, exponents),)
        if self._prepared.fits(op):
            return (numerics.scale_rows(x.astype(_sum_type(op), copy=False), exponents),)
        return (_checked(op, numerics.scale_rows(x.astype(np.int64), exponents)),)

    @impl(ActivationOp)
    def activation(self, interpreter: Interpreter, op: ActivationOp, args: Values) -> Values:
        if op.table is not None:
            return (numerics.look_up(to_array(op.table), args[0]),)
        return (apply_function(op.function.data, args[0]).astype(np.float32),)

    @impl(ResidualOp)
    def residual(self, interpreter: Interpreter, op: ResidualOp, args: Values) -> Values:
        x, kept = args
        if isinstance(x, Deferred):
            return (x._replace(kept=kept),)
        if op.multiplier is None:
            return (x + kept,)
        multiplier = to_array(op.multiplier)
        if self._prepared.fits(op):
            x = x.astype(_sum_type(op), copy=False)
            return (numerics.add_residual(x, kept, multiplier),)
        return (_checked(op, numerics.add_residual(x.astype(np.int64), kept, multiplier)),)

    @impl(LayerNormOp)
    def layer_norm(self, interpreter: Interpreter, op: LayerNormOp, args: Values) -> Values:
        x, gamma, beta = (np.asarray(value, np.float64) for value in args)
        normal = _divided_by_root(x - x.mean(axis=1, keepdims=True), op.epsilon.value.data)
        return ((normal * gamma + beta).astype(np.float32),)

    @impl(RmsNormOp)
    def rms_norm(self, interpreter: Interpreter, op: RmsNormOp, args: Values) -> Values:
        x, gamma = (np.asarray(value, np.float64) for value in args)
        return ((_divided_by_root(x, op.epsilon.value.data) * gamma).astype(np.float32),)

    @impl(NormalizeOp)
    def normalize(self, interpreter: Interpreter, op: NormalizeOp, args: Values) -> Values:
        if self._prepared.deferred(op):
            return (Deferred(args[0]),)
        (q,), rms = args, op.rms is not None
        return (numerics.normalize(q, to_array(op.exponent), op.added, rms=rms),)

    @impl(GateOp)
    def gate(self, interpreter: Interpreter, op: GateOp, args: Values) -> Values:
        (x,) = args
        if op.table is not None:
            return (numerics.gate(x, to_array(op.table)),)
        gates = apply_function(op.function.data, x[:, 0::2])
        return ((gates * x[:, 1::2]).astype(np.float32),)

    @impl(AttentionOp)
    def attention(self, interpreter: Interpreter, op: AttentionOp, args: Values) -> Values:
        def attend(
            q: NDArray[np.float32], k: NDArray[np.float32], v: NDArray[np.float32]
        ) -> NDArray[np.float32]:
            shares = softmax(attention_scores(op, q, k))
            return np.concatenate(list(shares @ _by_head(op, v)), axis=1)

        return (self._each(op, attend, args),)

    @impl(AttendOp)
    def attend(self, interpreter: Interpreter, op: AttendOp, args: Values) -> Values:
        fast = self._prepared.attention(op)
        if fast is not None:
            return (self._each(op, fast, args),)
        table = to_array(op.table)

        def attend(
            q: NDArray[np.int8], k: NDArray[np.int8], v: NDArray[np.int8]
        ) -> NDArray[np.int8]:
            keys, values = _by_head(op, k).swapaxes(1, 2), _by_head(op, v)
            return numerics.attend(q, keys, values, op.channel_factors(len(k)), table)

        return (self._each(op, attend, args),)

    def _each(
        self, op: SequenceOperation, attend: Callable[..., NDArray[Any]], args: Values
    ) -> NDArray[Any]:
        """Attention of each sequence by itself."""
        parts = [split_sequences(value, self._sequences) for value in args]
        for part in parts[0]:
            _require_tokens(op, len(part))
        return np.concatenate([attend(*own) for own in zip(*parts, strict=True)])

    @impl(ColumnsOp)
    def columns(self, interpreter: Interpreter, op: ColumnsOp, args: Values) -> Values:
        first = op.first.value.data
        return (args[0][:, first : first + features(op.result)],)

    @impl(GatherOp)
    def gather(self, interpreter: Interpreter, op: GatherOp, args: Values) -> Values:
        return args if self._prepared.deferred(op) else (args[0][:, op.array()],)

    @impl(ConcatOp)
    def concat(self, interpreter: Interpreter, op: ConcatOp, args: Values) -> Values:
        return (np.concatenate(args, axis=1),)
