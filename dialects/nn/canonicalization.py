# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Canonical forms of `nn`: what `canonicalize` does with its operations.

An operation of constants is computed by the interpreter, so that it is what a run would give, bit
for bit. An operation that gives what it reads falls away where the types and constants prove that;
the types of results alone prove nothing, as the interpreter goes by the arrays. The operations know
nothing of this module, which gives them their traits.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    AnyFloat,
    IntegerType,
    ModuleOp,
    TensorType,
)
from xdsl.interpreter import Interpreter
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import IRDLOperation, traits_def
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern
from xdsl.traits import HasCanonicalizationPatternsTrait
from xdsl.utils.exceptions import InterpretationError

from daqkf.dialects.dense import from_array, integer_bits, storage_dtype
from daqkf.dialects.nn.base import NODE, element_of, integers_of, shape_of
from daqkf.dialects.nn.interpreter import NnFunctions
from daqkf.dialects.nn.ops import (
    CastOp,
    ConstantOp,
    DequantizeOp,
    ElementwiseOp,
    QuantizeOp,
    ReduceOp,
    constant_of,
)
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

Array = NDArray[Any]

_SMALL = 8192
"""Bytes of a constant that may be made beside those it is made of."""

_FINE, _COARSE = 2.0**-100, 2.0**100
"""Scales between these, times any difference of 16-bit numbers, are normal float32 numbers."""


def computed(op: Operation, operands: Sequence[Array]) -> Array | None:
    """What an operation makes of arrays, if that is an array of its type."""
    interpreter = Interpreter(ModuleOp([]))
    interpreter.register_implementations(NnFunctions())
    try:
        (found,) = interpreter.run_op(op, tuple(operands))
    except InterpretationError:
        # It is for the run to say so, with the name of the node.
        return None
    array = np.asarray(found)
    return array if array.shape == shape_of(op.results[0]) else None


def _replace(
    rewriter: PatternRewriter, op: Operation, array: Array, name: Attribute | None
) -> None:
    """Put a constant in place of an operation, if it has the type of the result."""
    (result,) = op.results
    constant = ConstantOp(from_array(array, cast(IntegerType | AnyFloat, element_of(result))))
    if name is not None:
        constant.attributes[NODE] = name
    constant.location = op.location
    if constant.result.type == result.type:
        rewriter.replace(op, constant)


class FoldConstants(RewritePattern):
    """An operation of constants → its result, a constant.

    A large one is made only where what it is made of falls away, so that no text makes constants
    that are large beside it.
    """

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        """Compute the operation if all that it reads are constants."""
        operands = [constant_of(value) for value in op.operands]
        arrays = [array for array in operands if array is not None]
        (result,) = op.results
        kind = result.type
        if len(arrays) < len(operands) or not isinstance(kind, TensorType):
            return
        if not kind.has_static_shape() or not _is_sized(op, arrays, kind.get_shape()):
            return
        size = math.prod(kind.get_shape()) * storage_dtype(element_of(result)).itemsize
        freed = sum(
            array.nbytes
            for value, array in zip(op.operands, arrays, strict=True)
            if value.has_one_use()
        )
        if size > max(_SMALL, freed):
            return
        found = computed(op, arrays)
        if found is not None:
            _replace(rewriter, op, found, _name(op))


def _name(op: Operation) -> Attribute | None:
    """What a constant is called that an operation makes: as the one constant that has a name."""
    sources = [value.owner for value in op.operands]
    names = {
        source.attributes[NODE]
        for source in sources
        if isinstance(source, Operation) and NODE in source.attributes
    }
    return names.pop() if len(names) == 1 else op.attributes.get(NODE)


def _is_sized(op: Operation, arrays: Sequence[Array], shape: Sequence[int]) -> bool:
    """Whether what NumPy would make of arrays is as large as the type says."""
    try:
        if isinstance(op, ElementwiseOp):
            return np.broadcast_shapes(*(array.shape for array in arrays)) == tuple(shape)
        if isinstance(op, GatherOp):
            array, indices = arrays
            return math.prod(shape) == array.size // array.shape[op.axis.value.data] * indices.size
        if isinstance(op, ConcatOp):
            return math.prod(shape) == sum(array.size for array in arrays)
    except (ValueError, IndexError, ZeroDivisionError):
        return False
    # The others give views, or no more elements than they read.
    return True


class FoldExtents(RewritePattern):
    """The extents of a tensor, where its type says them → a constant."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ShapeOp, rewriter: PatternRewriter) -> None:
        """Take the extents of the type."""
        shape = shape_of(op.input)
        if shape is not None and DYNAMIC_INDEX not in shape:
            _replace(rewriter, op, np.array(shape, np.int64), op.attributes.get(NODE))


class FoldPickedExtents(RewritePattern):
    """Some extents of a tensor, where its type says those → a constant."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: GatherOp | SliceOp, rewriter: PatternRewriter) -> None:
        """Pick from the extents of the type, of which others may not be known."""
        source, result = op.input.owner, shape_of(op.result)
        shape = shape_of(source.input) if isinstance(source, ShapeOp) else None
        picks = [constant_of(value) for value in op.operands[1:]]
        arrays = [array for array in picks if array is not None]
        if shape is None or result is None or len(arrays) < len(picks):
            return
        arrays.insert(0, np.array(shape, np.int64))
        found = computed(op, arrays) if _is_sized(op, arrays, result) else None
        if found is not None and DYNAMIC_INDEX not in found:
            _replace(rewriter, op, found, op.attributes.get(NODE))


def _pass_through(rewriter: PatternRewriter, op: IRDLOperation, value: SSAValue) -> None:
    """Let the readers of an operation read a value that is the same, if the type is, too."""
    if value.type == op.results[0].type:
        rewriter.replace(op, (), [value])


class ComposeTransposes(RewritePattern):
    """`transpose(transpose(x))` → `transpose(x)`."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: TransposeOp, rewriter: PatternRewriter) -> None:
        """Read what the transposition before reads, in one order for both."""
        inner = op.input.owner
        if not isinstance(inner, TransposeOp):
            return
        axes, before = integers_of(op.axes), integers_of(inner.axes)
        if len(axes) == len(before):
            order = [before[axis] for axis in axes]
            composed = TransposeOp(inner.input, order, op.result.type)
            composed.attributes |= op.attributes
            composed.location = op.location
            rewriter.replace(op, composed)


class DropSqueezeOfUnsqueeze(RewritePattern):
    """`squeeze(unsqueeze(x))` → `x`, at the same axes."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: SqueezeOp, rewriter: PatternRewriter) -> None:
        """Read what the extents of 1 were inserted into."""
        inner, shape = op.input.owner, shape_of(op.input)
        if isinstance(inner, UnsqueezeOp) and shape is not None:
            axes, before = (
                sorted(axis % len(shape) for axis in integers_of(found.axes))
                for found in (op, inner)
            )
            if axes == before:
                _pass_through(rewriter, op, inner.input)


class DropIdentityReshape(RewritePattern):
    """A reshape to the extents that a tensor has → the tensor."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ReshapeOp, rewriter: PatternRewriter) -> None:
        """Compare the extents, of which one may be left to what remains."""
        extents, shape = constant_of(op.extents), shape_of(op.input)
        if _are_extents_of(op.extents, op.input):
            _pass_through(rewriter, op, op.input)
        elif extents is not None and shape is not None and extents.shape == (len(shape),):
            same = [
                extent == 0 or (own != DYNAMIC_INDEX and extent == own)
                for extent, own in zip(extents.tolist(), shape, strict=True)
            ]
            left = [extent for extent, kept in zip(extents.tolist(), same, strict=True) if not kept]
            if left in ([], [-1]) and (not left or 0 not in shape):
                _pass_through(rewriter, op, op.input)


class DropIdentityExpand(RewritePattern):
    """A broadcast to extents that a tensor has → the tensor."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ExpandOp, rewriter: PatternRewriter) -> None:
        """Compare the extents, which are 1 where they leave the tensor's as they are."""
        extents, shape = constant_of(op.extents), shape_of(op.input)
        if _are_extents_of(op.extents, op.input):
            _pass_through(rewriter, op, op.input)
        elif extents is not None and shape is not None and extents.size <= len(shape):
            pairs = zip(reversed(extents.tolist()), reversed(shape), strict=False)
            if all(extent == 1 or (extent == own != DYNAMIC_INDEX) for extent, own in pairs):
                _pass_through(rewriter, op, op.input)


def _are_extents_of(extents: SSAValue, value: SSAValue) -> bool:
    return isinstance(extents.owner, ShapeOp) and extents.owner.input is value


class DropIdentityGather(RewritePattern):
    """All rows in their order → the tensor."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: GatherOp, rewriter: PatternRewriter) -> None:
        """Compare the indices with those of all rows."""
        indices, shape = constant_of(op.indices), shape_of(op.input)
        if indices is None or shape is None or indices.ndim != 1:
            return
        extent = shape[op.axis.value.data]
        if extent == indices.size and np.array_equal(indices, np.arange(indices.size)):
            _pass_through(rewriter, op, op.input)


class DropIdentitySlice(RewritePattern):
    """A slice of everything → the tensor."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: SliceOp, rewriter: PatternRewriter) -> None:
        """Compare the bounds with the extents, or with what is beyond any."""
        starts, ends, shape = constant_of(op.starts), constant_of(op.ends), shape_of(op.input)
        if starts is None or ends is None or shape is None or any(starts.flat):
            return
        if not all(step == 1 for step in integers_of(op.steps)):
            return
        for axis, end in zip(integers_of(op.axes), ends.flat, strict=False):
            most = np.iinfo(np.int64).max if shape[axis] == DYNAMIC_INDEX else shape[axis]
            if end < most:
                return
        _pass_through(rewriter, op, op.input)


class DropRequantization(RewritePattern):
    """`quantize(dequantize(q))` → `q`, with the same scale and zero point.

    Of numbers of 8 and 16 bits nothing is lost: `(q - z)·s / s` is off by less than a hundredth,
    which rounding takes away, as long as none of it overflows or underflows. The other way round
    the pair rounds and saturates, and stays.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: QuantizeOp, rewriter: PatternRewriter) -> None:
        """Read the integers before."""
        inner = op.input.owner
        if not isinstance(inner, DequantizeOp) or inner.axis != op.axis:
            return
        scales, kind = constant_of(op.scale), element_of(op.result)
        if (integer_bits(kind) or 32) > 16 or scales is None:
            return
        if not np.all((scales >= _FINE) & (scales <= _COARSE)):
            return
        if _same(op.scale, inner.scale) and _same(op.zero_point, inner.zero_point):
            _pass_through(rewriter, op, inner.input)


def _same(a: SSAValue, b: SSAValue) -> bool:
    left, right = constant_of(a), constant_of(b)
    if left is None or right is None:
        return a is b
    return left.dtype == right.dtype and np.array_equal(left, right)


class Canonicalization(HasCanonicalizationPatternsTrait):
    """The canonical forms of an operation of `nn`."""

    @classmethod
    def get_canonicalization_patterns(cls) -> tuple[RewritePattern, ...]:
        """Those of every operation; each has its own by `get_patterns`."""
        return ()

    def get_patterns(self, op: type[Operation]) -> tuple[RewritePattern, ...]:
        """Those of one operation."""
        return PATTERNS[op]


PATTERNS: dict[type[Operation], tuple[RewritePattern, ...]] = {
    CastOp: (FoldConstants(),),
    ConcatOp: (FoldConstants(),),
    ElementwiseOp: (FoldConstants(),),
    ExpandOp: (DropIdentityExpand(), FoldConstants()),
    GatherOp: (DropIdentityGather(), FoldConstants(), FoldPickedExtents()),
    QuantizeOp: (DropRequantization(),),
    ReduceOp: (FoldConstants(),),
    ReshapeOp: (DropIdentityReshape(), FoldConstants()),
    ShapeOp: (FoldExtents(),),
    SliceOp: (DropIdentitySlice(), FoldConstants(), FoldPickedExtents()),
    SqueezeOp: (DropSqueezeOfUnsqueeze(), FoldConstants()),
    TransposeOp: (ComposeTransposes(), FoldConstants()),
    UnsqueezeOp: (FoldConstants(),),
}
"""What is tried with each operation, in this order."""


def give_traits() -> None:
    """Give the operations the trait; most share their base's set of traits, which stays."""
    for op in PATTERNS:
        own = tuple(op.traits.traits)
        op.traits = traits_def(*own, Canonicalization())
