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
    EqAttrConstraint,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    var_operand_def,
)

from daqkf.dialects.nn.base import (
    EXTENTS,
    INTEGER,
    INTEGERS,
    PLAIN,
    SAME,
    TENSOR,
    IdentityOperation,
    TensorConstraint,
    TensorOp,
    integers,
    integers_of,
    require,
    require_axis,
    shape_of,
)


class _Shaped(TensorOp):
    """A tensor, and a vector of integers that says what to make of it."""

    input = operand_def(SAME)
    extents = operand_def(EXTENTS)
    result = result_def(SAME)

    assembly_format = PLAIN

    def __init__(self, value: SSAValue, extents: SSAValue, result: Attribute):
        super().__init__(operands=[value, extents], result_types=[result])


@irdl_op_definition
class ReshapeOp(_Shaped):
    """The same elements in other extents: 0 keeps the input's, one -1 is what is left.

    ```mlir
    %y = nn.reshape %x, %extents : (tensor<?x8xf32>, tensor<3xi64>) -> tensor<?x2x4xf32>
    ```
    """

    name = "nn.reshape"


@irdl_op_definition
class ExpandOp(_Shaped):
    """A tensor that is broadcast together with these extents.

    ```mlir
    %y = nn.expand %x, %extents : (tensor<1x8xf32>, tensor<2xi64>) -> tensor<?x8xf32>
    ```
    """

    name = "nn.expand"


class _Axes(IdentityOperation):
    """A tensor and axes of it."""

    input = operand_def(SAME)
    axes = prop_def(INTEGERS)
    result = result_def(SAME)

    assembly_format = PLAIN

    def __init__(self, value: SSAValue, axes: Sequence[int], result: Attribute):
        super().__init__(
            operands=[value], properties={"axes": integers(axes)}, result_types=[result]
        )

    def is_identity(self) -> bool:
        return not integers_of(self.axes)


@irdl_op_definition
class TransposeOp(_Axes):
    """Dimensions in another order: dimension i of the result is `axes[i]` of the input.

    ```mlir
    %y = nn.transpose %x {axes = array<i64: 1, 0>} : (tensor<?x4xf32>) -> tensor<4x?xf32>
    ```
    """

    name = "nn.transpose"

    def is_identity(self) -> bool:
        axes = integers_of(self.axes)
        return axes == list(range(len(axes)))

    def verify_(self) -> None:
        axes = integers_of(self.axes)
        shape = shape_of(self.input)
        rank = len(axes) if shape is None else len(shape)
        require(sorted(axes) == list(range(rank)), f"{axes} is no order of {rank} dimensions")


@irdl_op_definition
class UnsqueezeOp(_Axes):
    """Extents of 1 that are inserted, at these axes of the result.

    ```mlir
    %y = nn.unsqueeze %x {axes = array<i64: 0>} : (tensor<?x4xf32>) -> tensor<1x?x4xf32>
    ```
    """

    name = "nn.unsqueeze"

    def verify_(self) -> None:
        axes = integers_of(self.axes)
        for axis in axes:
            require_axis(axis, self.input, len(axes))


@irdl_op_definition
class SqueezeOp(_Axes):
    """Extents of 1 that fall away, at these axes of the input.

    ```mlir
    %y = nn.squeeze %x {axes = array<i64: 0>} : (tensor<1x?x4xf32>) -> tensor<?x4xf32>
    ```
    """

    name = "nn.squeeze"

    def verify_(self) -> None:
        for axis in integers_of(self.axes):
            require_axis(axis, self.input)


@irdl_op_definition
class GatherOp(TensorOp):
    """The rows that indices name along an axis; a negative index counts from the end.

    ```mlir
    %y = nn.gather %words, %ids {axis = 0 : i64}
      : (tensor<9x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    ```
    """

    name = "nn.gather"

    input = operand_def(SAME)
    indices = operand_def(EXTENTS)
    axis = prop_def(INTEGER)
    result = result_def(SAME)

    assembly_format = PLAIN

    def __init__(self, value: SSAValue, indices: SSAValue, axis: int, result: Attribute):
        super().__init__(
            operands=[value, indices],
            properties={"axis": IntegerAttr(axis, i64)},
            result_types=[result],
        )

    def verify_(self) -> None:
        require_axis(self.axis.value.data, self.input)


@irdl_op_definition
class ConcatOp(IdentityOperation):
    """Tensors one after another along an axis.

    ```mlir
    %y = nn.concat %a, %b {axis = 0 : i64} : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
    ```
    """

    name = "nn.concat"

    inputs = var_operand_def(SAME)
    axis = prop_def(INTEGER)
    result = result_def(SAME)

    assembly_format = PLAIN

    def __init__(self, inputs: Sequence[SSAValue], axis: int, result: Attribute):
        super().__init__(
            operands=[inputs],
            properties={"axis": IntegerAttr(axis, i64)},
            result_types=[result],
        )

    def is_identity(self) -> bool:
        return len(self.inputs) == 1

    def verify_(self) -> None:
        require(self.inputs, "nothing to put together")
        require_axis(self.axis.value.data, self.inputs[0])


@irdl_op_definition
class SliceOp(TensorOp):
    """Every `steps`-th element from `starts` to before `ends`, along axes; as Python's slices.

    The bounds are vectors of integers, one for each of the axes.

    ```mlir
    %y = nn.slice %x, %starts, %ends {axes = array<i64: 1>, steps = array<i64: -1>}
      : (tensor<?x4xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xf32>
    ```
    """

    name = "nn.slice"

    input = operand_def(SAME)
    starts = operand_def(EXTENTS)
    ends = operand_def(EXTENTS)
    axes = prop_def(INTEGERS)
    steps = prop_def(INTEGERS)
    result = result_def(SAME)

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

    def verify_(self) -> None:
        require(
            len(integers_of(self.axes)) == len(integers_of(self.steps)), "one step for each axis"
        )
        require(all(integers_of(self.steps)), "a step of 0")
        for axis in integers_of(self.axes):
            require_axis(axis, self.input)


@irdl_op_definition
class ShapeOp(TensorOp):
    """The extents of a tensor, as a vector of integers.

    ```mlir
    %extents = nn.shape %x : (tensor<?x4xf32>) -> tensor<2xi64>
    ```
    """

    name = "nn.shape"

    input = operand_def(TENSOR)
    result = result_def(TensorConstraint(EqAttrConstraint(i64)))

    assembly_format = PLAIN

    def __init__(self, value: SSAValue, result: Attribute):
        super().__init__(operands=[value], result_types=[result])
