# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of `nn`, over tensors of any rank, some of whose extents may be `?`.

They mean what the operators of the same name mean in ONNX, which is mostly what NumPy makes of
them. An op that comes from a file carries the name it has there as the attribute `node`.
"""

import math
from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    FlatSymbolRefAttrConstr,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    StringAttr,
    SymbolRefAttr,
    TensorType,
    UnrankedTensorType,
    f64,
    i64,
)
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
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
from xdsl.traits import ConstantLike, Pure, SymbolTable

from daqkf.dialects.dense import storage_dtype, to_array
from daqkf.dialects.nn.base import (
    INTEGERS,
    PLAIN,
    TENSOR,
    TensorOp,
    differ,
    integers,
    integers_of,
    require,
    require_elements,
    require_product,
    shape_of,
)
from daqkf.dialects.nn.elementwise import ARITY
from daqkf.dialects.spaq.attention import SequenceOperation
from daqkf.dialects.spaq.ops import parse_dense
from daqkf.hw_targets.numerics import MULTIPLIER_MAX, SHIFT_MAX, SHIFT_MIN


@irdl_op_definition
class ConstantOp(IRDLOperation):
    """A constant of any shape, kept as bytes.

    ```mlir
    %c = nn.constant dense<[0.5, 1.0]> : tensor<2xf32>
    ```
    """

    name = "nn.constant"

    value = prop_def(DenseIntOrFPElementsAttr)
    result = result_def(TensorType)

    traits = traits_def(Pure(), ConstantLike())

    def __init__(self, value: DenseIntOrFPElementsAttr):
        super().__init__(properties={"value": value}, result_types=[value.get_type()])

    @classmethod
    def parse(cls, parser: Parser) -> "ConstantOp":
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

    def array(self) -> np.ndarray:
        """A read-only view of the constant."""
        return to_array(self.value)


@irdl_op_definition
class ElementwiseOp(TensorOp):
    """A function of each element (`nn.elementwise.ARITY` has their names), with broadcasting.

    ```mlir
    %y = nn.elementwise "add" %a, %b : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
    ```
    """

    name = "nn.elementwise"

    kind = prop_def(StringAttr)
    inputs = var_operand_def(TENSOR)
    result = result_def(TENSOR)

    assembly_format = "$kind $inputs attr-dict `:` functional-type($inputs, $result)"

    def __init__(self, kind: str, inputs: Sequence[SSAValue], result: Attribute):
        super().__init__(
            properties={"kind": StringAttr(kind)}, operands=[inputs], result_types=[result]
        )

    def _check(self) -> None:
        kind = self.kind.data
        require(kind in ARITY, f"unknown function '{kind}' (known: {', '.join(sorted(ARITY))})")
        require(
            len(self.inputs) == ARITY[kind],
            f"{kind} is of {ARITY[kind]} tensors, not of {len(self.inputs)}",
        )
        shapes = [shape_of(value) for value in (*self.inputs, self.result)]
        known = [shape for shape in shapes if shape is not None]
        for extents in zip(*(shape[::-1] for shape in known), strict=False):
            sizes = {extent for extent in extents if extent not in (1, DYNAMIC_INDEX)}
            require(len(sizes) < 2, f"extents {sorted(sizes)} do not broadcast")


@irdl_op_definition
class CastOp(TensorOp):
    """The same numbers in another element type."""

    name = "nn.cast"

    input = operand_def(TENSOR)
    result = result_def(TENSOR)

    assembly_format = PLAIN

    def __init__(self, value: SSAValue, result: Attribute):
        super().__init__(operands=[value], result_types=[result])


@irdl_op_definition
class MatmulOp(TensorOp):
    """The product of matrices in the last two dimensions; those before broadcast.

    ```mlir
    %y = nn.matmul %a, %b : (tensor<?x4x8xf32>, tensor<8x2xf32>) -> tensor<?x4x2xf32>
    ```
    """

    name = "nn.matmul"

    lhs = operand_def(TENSOR)
    rhs = operand_def(TENSOR)
    result = result_def(TENSOR)

    assembly_format = PLAIN

    def __init__(self, lhs: SSAValue, rhs: SSAValue, result: Attribute):
        super().__init__(operands=[lhs, rhs], result_types=[result])

    def _check(self) -> None:
        require_product(self.lhs, self.rhs)


ABSENT = -1e4
"""What a mask has at most of tokens that are not there."""


def attends(function: FuncOp) -> bool:
    """Whether a kernel has attention, so that its tokens are a sequence."""
    return any(isinstance(op, SequenceOperation) for op in function.body.block.ops)


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
    input = operand_def(TENSOR)
    mask = opt_operand_def(TENSOR)
    result = result_def(TENSOR)

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

    def _check(self) -> None:
        function = SymbolTable.lookup_symbol(self, self.callee)
        require(
            isinstance(function, FuncOp) and not function.is_declaration,
            f"no function {self.callee} with a body",
        )
        assert isinstance(function, FuncOp)
        ends = (*function.function_type.inputs, *function.function_type.outputs)
        columns = [
            end.get_shape()[1]
            for end in ends
            if isinstance(end, TensorType) and len(end.get_shape()) == 2
        ]
        require(len(columns) == len(ends) == 2, f"{self.callee} is no kernel of [T, K] → [T, N]")
        if self.mask is not None:
            shape, own = shape_of(self.mask), shape_of(self.input)
            require(
                (shape is None or (len(shape) == 4 and shape[1:3] == (1, 1)))
                and (own is None or len(own) == 3),
                f"a mask is of [B, 1, 1, L] for sequences [B, L, K], not {self.mask.type} for "
                f"{self.input.type}",
            )
        for value, count in zip((self.input, self.result), columns, strict=True):
            own = shape_of(value)
            require(
                own is None or not differ((own or (0,))[-1], count),
                f"{self.callee} has {count} columns, {value.type} has not",
            )


@irdl_op_definition
class ProductOp(TensorOp):
    """A product of activations in int8, as the array computes it once `rhs` is its program.

    Both operands are quantised with one scale each, the right one to weights of -127 … 127, and so
    is the result, by an integer multiplier and shift (`spaq.numerics`). Batched as `nn.matmul`.

    ```mlir
    %y = nn.product %q, %k {factors = array<i64: 32768, 17>, scales = array<f64: 0.5, 0.5, 1.0>}
      : (tensor<?x4x8xf32>, tensor<?x8x4xf32>) -> tensor<?x4x4xf32>
    ```
    """

    name = "nn.product"

    lhs = operand_def(TENSOR)
    rhs = operand_def(TENSOR)
    scales = prop_def(DenseArrayBase.constr(f64))
    factors = prop_def(INTEGERS)
    result = result_def(TENSOR)

    assembly_format = PLAIN

    def __init__(
        self,
        lhs: SSAValue,
        rhs: SSAValue,
        scales: Sequence[float],
        factors: tuple[int, int],
        result: Attribute,
    ):
        super().__init__(
            operands=[lhs, rhs],
            properties={
                "scales": DenseArrayBase.from_list(f64, list(scales)),
                "factors": integers(factors),
            },
            result_types=[result],
        )

    def steps(self) -> tuple[float, float, float]:
        """What an int8 step is worth: of the left side, of the right one, of the result."""
        left, right, result = np.frombuffer(self.scales.data.data, "<f8").tolist()
        return left, right, result

    def requantization(self) -> tuple[int, int]:
        """The multiplier and the shift of the sums."""
        multiplier, shift = integers_of(self.factors)
        return multiplier, shift

    def _check(self) -> None:
        require_product(self.lhs, self.rhs)
        for value in (self.lhs, self.rhs):
            shape = shape_of(value)
            require(shape is None or len(shape) > 1, f"{value.type} is no matrix, nor many")
        values = np.frombuffer(self.scales.data.data, "<f8")
        require(
            len(values) == 3 and np.all(np.isfinite(values) & (values > 0)),
            "scales are three positive numbers",
        )
        factors = integers_of(self.factors)
        require(
            len(factors) == 2
            and 0 < factors[0] <= MULTIPLIER_MAX
            and SHIFT_MIN <= factors[1] <= SHIFT_MAX,
            f"factors are a multiplier of 1..{MULTIPLIER_MAX} and a shift of "
            f"{SHIFT_MIN}..{SHIFT_MAX}",
        )


@irdl_op_definition
class LayerNormOp(TensorOp):
    """Normalisation over the last dimension (Ba et al., "Layer Normalization", 2016)."""

    name = "nn.layer_norm"

    input = operand_def(TENSOR)
    gamma = operand_def(TENSOR)
    beta = operand_def(TENSOR)
    epsilon = prop_def(FloatAttr)
    result = result_def(TENSOR)

    assembly_format = PLAIN

    def __init__(self, value: SSAValue, gamma: SSAValue, beta: SSAValue, epsilon: float):
        super().__init__(
            operands=[value, gamma, beta],
            properties={"epsilon": FloatAttr(epsilon, f64)},
            result_types=[value.type],
        )

    def _check(self) -> None:
        require(self.epsilon.value.data >= 0, "epsilon is negative")


@irdl_op_definition
class SoftmaxOp(TensorOp):
    """`exp(x) / Σ exp(x)` along an axis."""

    name = "nn.softmax"

    input = operand_def(TENSOR)
    axis = prop_def(IntegerAttr)
    result = result_def(TENSOR)

    assembly_format = PLAIN

    def __init__(self, value: SSAValue, axis: int):
        super().__init__(
            operands=[value],
            properties={"axis": IntegerAttr(axis, i64)},
            result_types=[value.type],
        )

    def _check(self) -> None:
        self.require_axis(self.axis.value.data, self.input)


REDUCTIONS = {"mean": np.mean, "sum": np.sum, "max": np.max, "min": np.min, "prod": np.prod}


@irdl_op_definition
class ReduceOp(TensorOp):
    """A mean, sum, max, min or prod along axes; with `keep`, those stay with an extent of 1."""

    name = "nn.reduce"

    kind = prop_def(StringAttr)
    input = operand_def(TENSOR)
    axes = prop_def(INTEGERS)
    keep = opt_prop_def(IntegerAttr)
    result = result_def(TENSOR)

    assembly_format = "$kind $input attr-dict `:` functional-type($input, $result)"

    def __init__(
        self, kind: str, value: SSAValue, axes: Sequence[int], keep: bool, result: Attribute
    ):
        super().__init__(
            operands=[value],
            properties={
                "kind": StringAttr(kind),
                "axes": integers(axes),
                "keep": IntegerAttr(1, i64) if keep else None,
            },
            result_types=[result],
        )

    def _check(self) -> None:
        known = ", ".join(REDUCTIONS)
        require(self.kind.data in REDUCTIONS, f"unknown reduction (known: {known})")
        for axis in integers_of(self.axes):
            self.require_axis(axis, self.input)


class _Quantization(TensorOp):
    """A tensor, its scale and its zero point, which may be one for each entry of an axis."""

    input = operand_def(TENSOR)
    scale = operand_def(TENSOR)
    zero_point = operand_def(TENSOR)
    axis = prop_def(IntegerAttr)
    result = result_def(TENSOR)

    assembly_format = PLAIN

    def __init__(
        self, value: SSAValue, factors: tuple[SSAValue, SSAValue], axis: int, result: Attribute
    ):
        super().__init__(
            operands=[value, *factors],
            properties={"axis": IntegerAttr(axis, i64)},
            result_types=[result],
        )

    def _check(self) -> None:
        if shape_of(self.scale) not in ((), (1,)):
            self.require_axis(self.axis.value.data, self.input)


@irdl_op_definition
class QuantizeOp(_Quantization):
    """`clamp(round(x / scale) + zero_point)`, halves to even, to the element type's range."""

    name = "nn.quantize"

    def _check(self) -> None:
        super()._check()
        assert isinstance(self.result.type, TensorType | UnrankedTensorType)
        kind = self.result.type.element_type
        require(
            isinstance(kind, IntegerType) and kind.width.data in (8, 16, 32),
            f"{self.name} gives integers of 8, 16 or 32 bits, not {kind}",
        )


@irdl_op_definition
class DequantizeOp(_Quantization):
    """`(x - zero_point) · scale`."""

    name = "nn.dequantize"
