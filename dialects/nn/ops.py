# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of `nn`, over tensors of any rank, some of whose extents may be `?`.

They mean what the operators of the same name mean in ONNX, which is mostly what NumPy makes of
them. An op that comes from a file carries the name it has there as the attribute `node`.
"""

import math
from collections.abc import Sequence
from typing import Any, Self

from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DenseIntOrFPElementsAttr,
    FlatSymbolRefAttrConstr,
    FloatAttr,
    IntegerAttr,
    SymbolRefAttr,
    TensorType,
    UnitAttr,
    f64,
    i1,
    i64,
)
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    VarConstraint,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import ConstantLike, HasFolder, Pure, SymbolTable, SymbolUserOpInterface
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.dense import integer_bits, storage_dtype, to_array
from daqkf.dialects.nn.base import (
    FLOATS,
    INTEGER,
    INTEGERS,
    NUMBERS,
    PLAIN,
    SAME,
    SAME_FLOATS,
    SINGLES,
    STEP,
    TENSOR,
    WHOLE,
    IdentityOperation,
    TensorConstraint,
    TensorOp,
    differ,
    element_of,
    integers,
    integers_of,
    require,
    require_axis,
    require_elements,
    require_product,
    shape_of,
)
from daqkf.dialects.nn.elementwise import (
    COMPARISONS,
    LOGICAL,
    Function,
    FunctionAttr,
    Reduction,
    ReductionAttr,
)
from daqkf.dialects.spaq.attention import SequenceOperation
from daqkf.dialects.spaq.ops import parse_dense
from daqkf.hw_targets.numerics import MULTIPLIER_MAX, SHIFT_MAX, SHIFT_MIN


class _ValueOfConstant(HasFolder):
    """A constant is its value."""

    @classmethod
    def fold(cls, op: Operation) -> Sequence[SSAValue | Attribute] | None:
        """The attribute, for `ConstantLike.get_constant_value`."""
        assert isinstance(op, ConstantOp)
        return (op.value,)


@irdl_op_definition
class ConstantOp(IRDLOperation):
    """A constant of any shape, kept as bytes.

    ```mlir
    %c = nn.constant dense<[0.5, 1.0]> : tensor<2xf32>
    ```
    """

    name = "nn.constant"

    value = prop_def(DenseIntOrFPElementsAttr)
    result = result_def(TensorType.constr(NUMBERS))

    traits = traits_def(Pure(), ConstantLike(), _ValueOfConstant())

    def __init__(self, value: DenseIntOrFPElementsAttr):
        super().__init__(properties={"value": value}, result_types=[value.get_type()])

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        attributes = parser.parse_optional_attr_dict()
        op = cls(parse_dense(parser))
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        printer.print_op_attributes(self.attributes)
        printer.print_string(" ")
        printer.print_attribute(self.value)

    def verify_(self) -> None:
        require(self.value.get_type() == self.result.type, "value and result differ in type")
        require_elements(self.value.get_element_type())
        count = math.prod(self.value.get_shape())
        size = storage_dtype(self.value.get_element_type()).itemsize
        require(len(self.value.data.data) == count * size, "the bytes do not fill the tensor")

    def array(self) -> NDArray[Any]:
        """A read-only view of the constant."""
        return to_array(self.value)


def constant_of(value: SSAValue) -> NDArray[Any] | None:
    """The array that a value is known to be."""
    return value.owner.array() if isinstance(value.owner, ConstantOp) else None


@irdl_op_definition
class ElementwiseOp(TensorOp):
    """A function of each element (`nn.elementwise.Function`), with broadcasting.

    Operands and result have one element type, with three exceptions. Comparisons give bits, and
    `and`, `or` and `not` are of bits. The first operand of `where` is of bits. The exponent of
    `pow` may be of any type.

    ```mlir
    %y = nn.elementwise add %a, %b : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
    ```
    """

    name = "nn.elementwise"

    kind = prop_def(FunctionAttr)
    inputs = var_operand_def(TENSOR)
    result = result_def(TENSOR)

    assembly_format = "$kind $inputs attr-dict `:` functional-type($inputs, $result)"

    def __init__(self, kind: str, inputs: Sequence[SSAValue], result: Attribute):
        super().__init__(
            properties={"kind": FunctionAttr(Function(kind))},
            operands=[inputs],
            result_types=[result],
        )

    def verify_(self) -> None:
        kind = self.kind.data
        require(
            len(self.inputs) == kind.operands,
            f"{kind} is of {kind.operands} tensors, not of {len(self.inputs)}",
        )
        self._require_elements(kind)
        shapes = [shape_of(value) for value in (*self.inputs, self.result)]
        known = [shape for shape in shapes if shape is not None]
        for extents in zip(*(shape[::-1] for shape in known), strict=False):
            sizes = {extent for extent in extents if extent not in (1, DYNAMIC_INDEX)}
            require(len(sizes) < 2, f"extents {sorted(sizes)} do not broadcast")

    def _require_elements(self, kind: Function) -> None:
        """Check that the element types are those of the function."""
        inputs, result = [element_of(value) for value in self.inputs], element_of(self.result)
        if kind in COMPARISONS:
            same, bits = inputs, [result]
        elif kind in LOGICAL:
            same, bits = [], [*inputs, result]
        elif kind is Function.WHERE:
            same, bits = [*inputs[1:], result], inputs[:1]
        elif kind is Function.POW:
            same, bits = [inputs[0], result], []
        else:
            same, bits = [*inputs, result], []
        names = ", ".join(map(str, dict.fromkeys(same)))
        require(len(set(same)) < 2, f"{kind} is of elements of one type, not of {names}")
        for found in bits:
            require(found == i1, f"{kind} has i1 where the elements are {found}")


@irdl_op_definition
class CastOp(IdentityOperation):
    """The same numbers in another element type.

    ```mlir
    %y = nn.cast %x : (tensor<?xi64>) -> tensor<?xf32>
    ```
    """

    name = "nn.cast"

    input = operand_def(TENSOR)
    result = result_def(TENSOR)

    assembly_format = PLAIN

    def __init__(self, value: SSAValue, result: Attribute):
        super().__init__(operands=[value], result_types=[result])

    def is_identity(self) -> bool:
        return element_of(self.input) == element_of(self.result)


@irdl_op_definition
class MatmulOp(TensorOp):
    """The product of matrices in the last two dimensions; those before broadcast.

    ```mlir
    %y = nn.matmul %a, %b : (tensor<?x4x8xf32>, tensor<8x2xf32>) -> tensor<?x4x2xf32>
    ```
    """

    name = "nn.matmul"

    lhs = operand_def(SAME)
    rhs = operand_def(SAME)
    result = result_def(SAME)

    assembly_format = PLAIN

    def __init__(self, lhs: SSAValue, rhs: SSAValue, result: Attribute):
        super().__init__(operands=[lhs, rhs], result_types=[result])

    def verify_(self) -> None:
        require_product(self.lhs, self.rhs)


ABSENT = -1e4
"""What a mask has at most of tokens that are not there."""


def attends(function: FuncOp) -> bool:
    """Whether a kernel has attention, so that its tokens are a sequence."""
    return any(isinstance(op, SequenceOperation) for op in function.body.block.ops)


class _CallsKernel(SymbolUserOpInterface):
    """The callee is a kernel whose columns are those of the tensors."""

    def verify(self, op: Operation) -> None:
        """Raise a VerifyException for a callee that is missing, or that does not fit."""
        assert isinstance(op, LinearOp)
        function = SymbolTable.lookup_symbol(op, op.callee)
        if not isinstance(function, FuncOp) or function.is_declaration:
            raise VerifyException(f"no function {op.callee} with a body")
        ends = (*function.function_type.inputs, *function.function_type.outputs)
        columns = [
            end.get_shape()[1]
            for end in ends
            if isinstance(end, TensorType) and len(end.get_shape()) == 2
        ]
        require(len(columns) == len(ends) == 2, f"{op.callee} is no kernel of [T, K] → [T, N]")
        for value, count in zip((op.input, op.result), columns, strict=True):
            own = shape_of(value)
            require(
                own is None or not differ((own or (0,))[-1], count),
                f"{op.callee} has {count} columns, {value.type} has not",
            )


@irdl_op_definition
class LinearOp(TensorOp):
    """The rows along the last dimension through a kernel, a function of [T, K] → [T, N].

    One with attention (`spaq.attention`) takes sequences [B, L, K], each by itself. A token of
    which the mask [B, 1, 1, L] is at most ABSENT, and not 0, is not part of its sequence, and has
    results of 0.

    ```mlir
    %y = nn.linear @up %x : (tensor<?x?x384xf32>) -> tensor<?x?x1536xf32>
    %z = nn.linear @layer %x mask %m
      : (tensor<?x?x384xf32>, tensor<?x1x1x?xf32>) -> tensor<?x?x384xf32>
    ```
    """

    name = "nn.linear"

    callee = prop_def(FlatSymbolRefAttrConstr)
    input = operand_def(SINGLES)
    mask = opt_operand_def(SINGLES)
    result = result_def(SINGLES)

    traits = traits_def(_CallsKernel())

    assembly_format = (
        "$callee $input (`mask` $mask^)? attr-dict `:` functional-type(operands, results)"
    )

    def __init__(
        self, callee: str, value: SSAValue, result: Attribute, mask: SSAValue | None = None
    ):
        super().__init__(
            properties={"callee": SymbolRefAttr(callee)},
            operands=[value, mask],
            result_types=[result],
        )

    def verify_(self) -> None:
        if self.mask is None:
            return
        shape, own = shape_of(self.mask), shape_of(self.input)
        require(
            (shape is None or (len(shape) == 4 and shape[1:3] == (1, 1)))
            and (own is None or len(own) == 3),
            f"a mask is of [B, 1, 1, L] for sequences [B, L, K], not {self.mask.type} for "
            f"{self.input.type}",
        )


@irdl_op_definition
class ProductOp(TensorOp):
    """A product of activations in int8, as the array computes it once `rhs` is its program.

    Both operands are quantised with one scale each, the right one to weights of -127 … 127. The
    result is quantised by an integer multiplier and a shift (`numerics.requantize`). The steps are
    what an int8 step is worth of each of the three. Batched as `nn.matmul`.

    ```mlir
    %y = nn.product %q, %k {lhs_step = 0.5 : f64, rhs_step = 0.5 : f64, result_step = 1.0 : f64,
        multiplier = 32768 : i64, shift = 17 : i64}
      : (tensor<?x4x8xf32>, tensor<?x8x4xf32>) -> tensor<?x4x4xf32>
    ```
    """

    name = "nn.product"

    lhs = operand_def(SINGLES)
    rhs = operand_def(SINGLES)
    lhs_step = prop_def(STEP)
    rhs_step = prop_def(STEP)
    result_step = prop_def(STEP)
    multiplier = prop_def(INTEGER)
    shift = prop_def(INTEGER)
    result = result_def(SINGLES)

    assembly_format = PLAIN

    def __init__(
        self,
        lhs: SSAValue,
        rhs: SSAValue,
        steps: tuple[float, float, float],
        factors: tuple[int, int],
        result: Attribute,
    ):
        left, right, result_step = (FloatAttr(step, f64) for step in steps)
        multiplier, shift = (IntegerAttr(factor, i64) for factor in factors)
        super().__init__(
            operands=[lhs, rhs],
            properties={
                "lhs_step": left,
                "rhs_step": right,
                "result_step": result_step,
                "multiplier": multiplier,
                "shift": shift,
            },
            result_types=[result],
        )

    def steps(self) -> tuple[float, float, float]:
        """What an int8 step is worth: of the left side, of the right one, of the result."""
        return (
            self.lhs_step.value.data,
            self.rhs_step.value.data,
            self.result_step.value.data,
        )

    def requantization(self) -> tuple[int, int]:
        """The multiplier and the shift of the sums."""
        return self.multiplier.value.data, self.shift.value.data

    def verify_(self) -> None:
        require_product(self.lhs, self.rhs)
        for value in (self.lhs, self.rhs):
            shape = shape_of(value)
            require(shape is None or len(shape) > 1, f"{value.type} is no matrix, nor many")
        for step in self.steps():
            require(math.isfinite(step) and step > 0, f"steps are positive numbers, not {step}")
        multiplier, shift = self.requantization()
        require(
            0 < multiplier <= MULTIPLIER_MAX,
            f"multipliers are 1..{MULTIPLIER_MAX}, not {multiplier}",
        )
        require(
            SHIFT_MIN <= shift <= SHIFT_MAX, f"shifts are {SHIFT_MIN}..{SHIFT_MAX}, not {shift}"
        )


@irdl_op_definition
class LayerNormOp(TensorOp):
    """Normalisation over the last dimension (Ba et al., "Layer Normalization", 2016).

    `(x - mean(x)) / √(mean((x - mean(x))²) + epsilon) · gamma + beta`

    ```mlir
    %y = nn.layer_norm %x, %gamma, %beta {epsilon = 1.0e-12 : f64}
      : (tensor<?x?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x?x2xf32>
    ```
    """

    name = "nn.layer_norm"

    input = operand_def(SAME_FLOATS)
    gamma = operand_def(SAME_FLOATS)
    beta = operand_def(SAME_FLOATS)
    epsilon = prop_def(STEP)
    result = result_def(SAME_FLOATS)

    assembly_format = PLAIN

    def __init__(self, value: SSAValue, gamma: SSAValue, beta: SSAValue, epsilon: float):
        super().__init__(
            operands=[value, gamma, beta],
            properties={"epsilon": FloatAttr(epsilon, f64)},
            result_types=[value.type],
        )

    def verify_(self) -> None:
        require(self.epsilon.value.data >= 0, "epsilon is negative")


@irdl_op_definition
class SoftmaxOp(TensorOp):
    """`exp(x) / Σ exp(x)` along an axis.

    ```mlir
    %y = nn.softmax %x {axis = -1 : i64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
    ```
    """

    name = "nn.softmax"

    input = operand_def(SAME_FLOATS)
    axis = prop_def(INTEGER)
    result = result_def(SAME_FLOATS)

    assembly_format = PLAIN

    def __init__(self, value: SSAValue, axis: int):
        super().__init__(
            operands=[value],
            properties={"axis": IntegerAttr(axis, i64)},
            result_types=[value.type],
        )

    def verify_(self) -> None:
        require_axis(self.axis.value.data, self.input)


@irdl_op_definition
class ReduceOp(TensorOp):
    """A mean, sum, max, min or prod along axes; with `keep`, those stay with an extent of 1.

    ```mlir
    %y = nn.reduce mean %x {axes = array<i64: -1>, keep} : (tensor<?x8xf32>) -> tensor<?x1xf32>
    ```
    """

    name = "nn.reduce"

    kind = prop_def(ReductionAttr)
    input = operand_def(SAME)
    axes = prop_def(INTEGERS)
    keep = opt_prop_def(UnitAttr)
    result = result_def(SAME)

    assembly_format = "$kind $input attr-dict `:` functional-type($input, $result)"

    def __init__(
        self, kind: str, value: SSAValue, axes: Sequence[int], keep: bool, result: Attribute
    ):
        super().__init__(
            operands=[value],
            properties={
                "kind": ReductionAttr(Reduction(kind)),
                "axes": integers(axes),
                "keep": UnitAttr() if keep else None,
            },
            result_types=[result],
        )

    def verify_(self) -> None:
        for axis in integers_of(self.axes):
            require_axis(axis, self.input)


_LEVELS = TensorConstraint(VarConstraint("Level", WHOLE))
"""Quantised numbers and their zero points."""

_SCALES = TensorConstraint(VarConstraint("Scale", FLOATS))
"""Scales, and the numbers that they give."""


def _require_quantized(op: "QuantizeOp | DequantizeOp", levels: SSAValue) -> None:
    """Check the type of quantised numbers, and that there is an axis for several scales."""
    kind = element_of(levels)
    require(
        1 < (integer_bits(kind) or 0) <= 32,
        f"quantised numbers are integers of 2 to 32 bits, not {kind}",
    )
    if shape_of(op.scale) not in ((), (1,)):
        require_axis(op.axis.value.data, op.input)


@irdl_op_definition
class QuantizeOp(TensorOp):
    """`clamp(round(x / scale) + zero_point)`, halves to even, to the element type's range.

    The scale and the zero point may be vectors, with an entry for each index along the axis.

    ```mlir
    %q = nn.quantize %x, %s, %z {axis = 1 : i64}
      : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xui8>) -> tensor<?x2xui8>
    ```
    """

    name = "nn.quantize"

    input = operand_def(TENSOR)
    scale = operand_def(TensorConstraint(FLOATS))
    zero_point = operand_def(_LEVELS)
    axis = prop_def(INTEGER)
    result = result_def(_LEVELS)

    assembly_format = PLAIN

    def __init__(
        self, value: SSAValue, factors: tuple[SSAValue, SSAValue], axis: int, result: Attribute
    ):
        super().__init__(
            operands=[value, *factors],
            properties={"axis": IntegerAttr(axis, i64)},
            result_types=[result],
        )

    def verify_(self) -> None:
        _require_quantized(self, self.result)


@irdl_op_definition
class DequantizeOp(TensorOp):
    """`(x - zero_point) · scale`.

    The scale and the zero point may be vectors, with an entry for each index along the axis.

    ```mlir
    %x = nn.dequantize %q, %s, %z {axis = 1 : i64}
      : (tensor<?x2xui8>, tensor<2xf32>, tensor<2xui8>) -> tensor<?x2xf32>
    ```
    """

    name = "nn.dequantize"

    input = operand_def(_LEVELS)
    scale = operand_def(_SCALES)
    zero_point = operand_def(_LEVELS)
    axis = prop_def(INTEGER)
    result = result_def(_SCALES)

    assembly_format = PLAIN

    def __init__(
        self, value: SSAValue, factors: tuple[SSAValue, SSAValue], axis: int, result: Attribute
    ):
        super().__init__(
            operands=[value, *factors],
            properties={"axis": IntegerAttr(axis, i64)},
            result_types=[result],
        )

    def verify_(self) -> None:
        _require_quantized(self, self.input)
