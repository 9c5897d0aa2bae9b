# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of `nn` that move elements about, or ask for the shape."""

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    IntegerAttr,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    var_operand_def,
)

from daqkf.dialects.nn.base import (
    INTEGERS,
    PLAIN,
    TENSOR,
    TensorOp,
    integers,
    integers_of,
    require,
    shape_of,
)


class _Shaped(TensorOp):
    """A tensor, and a vector of integers that says what to make of it."""

    input = operand_def(TENSOR)
    extents = operand_def(TENSOR)
    result = result_def(TENSOR)

    assembly_format = PLAIN

    def __init__(self, value: SSAValue, extents: SSAValue, result: Attribute):
        super().__init__(operands=[value, extents], result_types=[result])


@irdl_op_definition
class ReshapeOp(_Shaped):
    """The same elements in other extents: 0 keeps the input's, one -1 is what is left."""

    name = "nn.reshape"


@irdl_op_definition
class ExpandOp(_Shaped):
    """Broadcast together with these extents."""

    name = "nn.expand"


class _Axes(TensorOp):
    """A tensor and axes of it."""

    input = operand_def(TENSOR)
    axes = prop_def(INTEGERS)
    result = result_def(TENSOR)

    assembly_format = PLAIN

    def __init__(self, value: SSAValue, axes: Sequence[int], result: Attribute):
        super().__init__(
            operands=[value], properties={"axes": integers(axes)}, result_types=[result]
        )


@irdl_op_definition
class TransposeOp(_Axes):
    """Dimensions in another order: dimension i of the result is `axes[i]` of the input."""

    name = "nn.transpose"

    def _check(self) -> None:
        axes = integers_of(self.axes)
        shape = shape_of(self.input)
        rank = len(axes) if shape is None else len(shape)
        require(sorted(axes) == list(range(rank)), f"{axes} is no order of {rank} dimensions")


@irdl_op_definition
class UnsqueezeOp(_Axes):
    """Extents of 1 that are inserted, at these axes of the result."""

    name = "nn.unsqueeze"

    def _check(self) -> None:
        axes = integers_of(self.axes)
        for axis in axes:
            self.require_axis(axis, self.input, len(axes))


@irdl_op_definition
class SqueezeOp(_Axes):
    """Extents of 1 that fall away, at these axes of the input."""

    name = "nn.squeeze"

    def _check(self) -> None:
        for axis in integers_of(self.axes):
            self.require_axis(axis, self.input)


@irdl_op_definition
class GatherOp(TensorOp):
    """The rows that indices name along an axis; a negative index counts from the end."""

    name = "nn.gather"

    input = operand_def(TENSOR)
    indices = operand_def(TENSOR)
    axis = prop_def(IntegerAttr)
    result = result_def(TENSOR)

    assembly_format = PLAIN

    def __init__(self, value: SSAValue, indices: SSAValue, axis: int, result: Attribute):
        super().__init__(
            operands=[value, indices],
            properties={"axis": IntegerAttr(axis, i64)},
            result_types=[result],
        )

    def _check(self) -> None:
        self.require_axis(self.axis.value.data, self.input)


@irdl_op_definition
class ConcatOp(TensorOp):
    """Tensors one after another along an axis."""

    name = "nn.concat"

    inputs = var_operand_def(TENSOR)
    axis = prop_def(IntegerAttr)
    result = result_def(TENSOR)

    assembly_format = PLAIN

    def __init__(self, inputs: Sequence[SSAValue], axis: int, result: Attribute):
        super().__init__(
            operands=[inputs],
            properties={"axis": IntegerAttr(axis, i64)},
            result_types=[result],
        )

    def _check(self) -> None:
        require(self.inputs, "nothing to put together")
        self.require_axis(self.axis.value.data, self.inputs[0])


@irdl_op_definition
class SliceOp(TensorOp):
    """Every `steps`-th element from `starts` to before `ends`, along axes; as Python's slices.

    The bounds are vectors of integers, one for each of the axes.
    """

    name = "nn.slice"

    input = operand_def(TENSOR)
    starts = operand_def(TENSOR)
    ends = operand_def(TENSOR)
    axes = prop_def(INTEGERS)
    steps = prop_def(INTEGERS)
    result = result_def(TENSOR)

    assembly_format = PLAIN

    def __init__(
        self,
        value: SSAValue,
        bounds: tuple[SSAValue, SSAValue],
        axes: Sequence[int],
        steps: Sequence[int],
        result: Attribute,
    ):
        super().__init__(
            operands=[value, *bounds],
            properties={"axes": integers(axes), "steps": integers(steps)},
            result_types=[result],
        )

    def _check(self) -> None:
        require(
            len(integers_of(self.axes)) == len(integers_of(self.steps)), "one step for each axis"
        )
        require(all(integers_of(self.steps)), "a step of 0")
        for axis in integers_of(self.axes):
            self.require_axis(axis, self.input)


@irdl_op_definition
class ShapeOp(TensorOp):
    """The extents of a tensor, as a vector of integers."""

    name = "nn.shape"

    input = operand_def(TENSOR)
    result = result_def(TENSOR)

    assembly_format = PLAIN

    def __init__(self, value: SSAValue, result: Attribute):
        super().__init__(operands=[value], result_types=[result])
