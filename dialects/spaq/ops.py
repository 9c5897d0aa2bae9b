# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of `spaq`. A layer appears first over f32 and, once quantised, over integers.

Activations are `tensor<?xKx…>`: any number of tokens, K features.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DenseIntOrFPElementsAttr,
    Float32Type,
    IntegerAttr,
    IntegerType,
    TensorType,
    f32,
    i8,
    i16,
    i32,
    i64,
)
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.parser import Parser
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern
from xdsl.printer import Printer
from xdsl.traits import ConstantLike, HasCanonicalizationPatternsTrait, Pure

from daqkf.dialects.dense import from_array, tensor, to_array
from daqkf.dialects.spaq.analysis import KEY, AnalysisAttr
from daqkf.dialects.spaq.attributes import (
    EncodingAttr,
    FunctionAttr,
    LevelsAttr,
    SemiringAttr,
)
from daqkf.dialects.spaq.checks import (
    element,
    features,
    is_wide,
    require,
    require_within,
    tensor_type,
)
from daqkf.dialects.spaq.reals import (
    REALS,
    Reals,
    as_reals,
    reals,
    require_reals,
)
from daqkf.dialects.spaq.types import (
    ACCUMULATORS,
    ANY_ACTIVATIONS,
    LEVELS,
    NUMBERS,
    RESULT_ACTIVATIONS,
    SAME_REAL,
    SUMS,
    RankedTensor,
    Tensor,
    activations_of,
)
from daqkf.hw_targets.functions import Function
from daqkf.hw_targets.numerics import (
    MAX_REACH,
    MULTIPLIER_MAX,
    SHIFT_MAX,
    SHIFT_MIN,
    TABLE_SIZE,
    distinct_magnitudes,
)
from daqkf.hw_targets.semirings import Semiring
from daqkf.hw_targets.zeros import follows


def activations(features: int, element_type: Attribute) -> Tensor:
    """`tensor<?xfeatures x element_type>`: any number of tokens."""
    return tensor(element_type, (DYNAMIC_INDEX, features))


def parse_dense(parser: Parser) -> DenseIntOrFPElementsAttr:
    """A dense constant, as MLIR spells it."""
    start = parser.pos
    attribute = parser.parse_attribute()
    if not isinstance(attribute, DenseIntOrFPElementsAttr):
        parser.raise_error("expected a dense constant", start, parser.pos)
    return cast(DenseIntOrFPElementsAttr, attribute)


@irdl_op_definition
class ConstantOp(IRDLOperation):
    """A weight matrix [K, N] or a bias [N], f32 or integer, kept as bytes.

    Integer weights may carry per-channel `scales` [N], so that `levels · scale` is the real
    weight, and an encoding that states their sparsity and level set; the verifier holds the
    encoding against the bytes.

    ```mlir
    %w = spaq.constant dense<[[0, 2], [-1, 0]]> : tensor<2x2xi8, #spaq.encoding<
      #spaq.sparsity<nonzeros = 2, column_nonzeros = 1, pattern = "unstructured">,
      #spaq.levels<kind = "uniform", magnitudes = 2, maximum = 2>>>
    ```
    """

    name = "spaq.constant"

    value = prop_def(DenseIntOrFPElementsAttr)
    scales = opt_prop_def(DenseIntOrFPElementsAttr)
    result = result_def(TensorType.constr(NUMBERS))

    traits = traits_def(Pure(), ConstantLike())

    def __init__(
        self, value: DenseIntOrFPElementsAttr, scales: DenseIntOrFPElementsAttr | None = None
    ):
        super().__init__(
            properties={"value": value, "scales": scales}, result_types=[value.get_type()]
        )

    @classmethod
    def parse(cls, parser: Parser) -> "ConstantOp":
        scales = None
        if parser.parse_optional_keyword("scales") is not None:
            scales = parse_dense(parser)
        attributes = parser.parse_optional_attr_dict()
        value = parse_dense(parser)
        op = cls(value, scales)
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        if self.scales is not None:
            printer.print_string(" scales ")
            printer.print_attribute(self.scales)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" ")
        printer.print_attribute(self.value)

    def array(self) -> np.ndarray[Any, Any]:
        """A read-only view of the constant, shaped [K, N] or [N]."""
        return to_array(self.value)

    @property
    def encoding(self) -> EncodingAttr | None:
        """What is stated of the zeros and levels, if anything."""
        encoding = self.value.type.encoding if isinstance(self.value.type, TensorType) else None
        return encoding if isinstance(encoding, EncodingAttr) else None

    def verify_(self) -> None:
        require(self.value.get_type() == self.result.type, "value and result differ in type")
        shape = self.value.get_shape()
        require(
            len(shape) in (1, 2) and all(extent > 0 for extent in shape),
            "a constant is a matrix [K, N] or a vector [N] with static, positive extents",
        )
        require(self.value.shape_is_complete, "the bytes do not fill the tensor")
        kind = self.value.get_element_type()
        if isinstance(kind, Float32Type):
            require(np.isfinite(self.array()).all(), "a constant must be finite")
        if self.scales is not None:
            require(
                kind == i8 and len(shape) == 2 and self.scales.get_shape() == shape[1:],
                "scales belong to an i8 matrix, one for each output channel",
            )
            scales = to_array(self.scales)
            require(
                np.isfinite(scales).all() and (scales > 0).all(), "scales must be finite, above 0"
            )
        if self.encoding is not None:
            self._verify_encoding(self.encoding)
        analysis = self.attributes.get(KEY)
        if analysis is not None:
            require(
                isinstance(analysis, AnalysisAttr) and len(shape) == 2,
                f"{KEY} belongs to a matrix and is a #{AnalysisAttr.name}",
            )
            assert isinstance(analysis, AnalysisAttr)
            analysis.verify_against(self.array())

    def _verify_encoding(self, encoding: EncodingAttr) -> None:
        array = self.array()
        require(array.ndim == 2, "only a matrix carries a sparsity encoding")
        columns = np.count_nonzero(array, axis=0)
        stated = encoding.sparsity.data
        require(
            stated.nonzeros == columns.sum(),
            f"{columns.sum()} non-zeros, but the encoding states {stated.nonzeros}",
        )
        require(
            stated.column_nonzeros == columns.max(),
            f"the fullest channel has {columns.max()} non-zeros, but the encoding states "
            f"{stated.column_nonzeros}",
        )
        require(
            follows(array != 0, stated.pattern),
            f"the zeros do not follow the stated pattern '{stated.pattern}'",
        )
        if not isinstance(encoding.levels, LevelsAttr):
            return
        require(self.value.get_element_type() == i8, "a level set belongs to i8 weights")
        levels = encoding.levels.data
        largest = np.abs(array.astype(np.int16)).max()
        require(
            largest <= levels.maximum,
            f"a weight of magnitude {largest} is beyond the level set's maximum {levels.maximum}",
        )
        distinct = distinct_magnitudes(array)
        require(
            distinct.max() <= levels.magnitudes,
            f"channel {int(distinct.argmax())} uses {distinct.max()} magnitudes, but its level "
            f"set has {levels.magnitudes}",
        )


@irdl_op_definition
class CalibratedOp(IRDLOperation):
    """The identity, stating that |x| stays within `absmax` on the calibration data.

    One number for all features, or `dense<…>` with one for each. `spaq-quantize` turns the
    statement into scales; values beyond it will saturate. With a `reach`, it lets the values of a
    token share an exponent of so many bits.
    """

    name = "spaq.calibrated"

    input = operand_def(SAME_REAL)
    absmax = prop_def(REALS)
    reach = opt_prop_def(IntegerAttr.constr(i64))
    result = result_def(SAME_REAL)

    traits = traits_def(Pure())
    custom_directives = (Reals,)
    assembly_format = (
        "$input `absmax` custom<Reals>($absmax) (`reach` $reach^)? attr-dict "
        "`:` type($input) `->` type($result)"
    )

    def __init__(
        self, value: SSAValue, absmax: float | NDArray[np.float64], reach: int | None = None
    ):
        super().__init__(
            operands=[value],
            properties={
                "absmax": as_reals(absmax),
                "reach": None if reach is None else IntegerAttr(reach, i64),
            },
            result_types=[value.type],
        )

    def ranges(self) -> float | NDArray[np.float64]:
        """The stated range, of all features or [K] of each."""
        return reals(self.absmax)

    def verify_(self) -> None:
        require_reals(self, "absmax", self.absmax, features(self.input))
        require(
            self.reach is None or 1 <= self.reach.value.data <= MAX_REACH,
            f"a reach is 1..{MAX_REACH} bits",
        )


@irdl_op_definition
class MatmulOp(IRDLOperation):
    """`x · W`: [T, K] × [K, N] → [T, N], over f32, or exact over i8 into a wider integer.

    Over i8 it may be a product over another semiring (`semirings.Semiring`): `max_plus`,
    `min_plus` or `or_and` in place of `plus_times`, which is not printed. An entry that holds
    the semiring's zero (-128, 127, 0) is absent, in the weights as in the activations. A sum
    of absent entries alone is -512 (`max_plus`), 511 (`min_plus`) or 0.
    """

    name = "spaq.matmul"

    input = operand_def(activations_of(LEVELS))
    weights = operand_def(RankedTensor(2, LEVELS))
    semiring = prop_def(SemiringAttr, default_value=SemiringAttr(Semiring.PLUS_TIMES))
    result = result_def(activations_of(SUMS))

    traits = traits_def(Pure())
    assembly_format = (
        "operands (`semiring` $semiring^)? attr-dict `:` functional-type(operands, results)"
    )

    def __init__(
        self,
        value: SSAValue,
        weights: SSAValue,
        result_type: Attribute,
        semiring: Semiring = Semiring.PLUS_TIMES,
    ):
        super().__init__(
            operands=[value, weights],
            properties={"semiring": SemiringAttr(semiring)},
            result_types=[result_type],
        )

    def verify_(self) -> None:
        weights = tensor_type(self.weights)
        rows, columns = weights.get_shape()
        require(
            (rows, columns) == (features(self.input), features(self.result)),
            f"weights of {rows}x{columns} do not map {features(self.input)} features to "
            f"{features(self.result)}",
        )
        kinds = element(self.input), weights.element_type, element(self.result)
        exact = kinds[:2] == (i8, i8) and isinstance(kinds[2], IntegerType)
        real = all(isinstance(kind, Float32Type) for kind in kinds)
        require(exact or real, "a product is f32 × f32 → f32, or i8 × i8 → i8..i32")
        semiring, encoded = self.semiring.data, isinstance(weights.encoding, EncodingAttr)
        if semiring is not Semiring.PLUS_TIMES:
            require(exact, f"a product over {semiring} is of i8")
            require(not encoded, f"weights over {semiring} have absent entries, and no encoding")


@irdl_op_definition
class AddOp(IRDLOperation):
    """`x + b`: a bias [N] added to each row of [T, N]; integers may widen."""

    name = "spaq.add"

    input = operand_def(activations_of(SUMS))
    bias = operand_def(RankedTensor(1, SUMS))
    result = result_def(activations_of(SUMS))

    traits = traits_def(Pure())
    assembly_format = "operands attr-dict `:` functional-type(operands, results)"

    def __init__(self, value: SSAValue, bias: SSAValue, result_type: Attribute | None = None):
        super().__init__(operands=[value, bias], result_types=[result_type or value.type])

    def verify_(self) -> None:
        bias = tensor_type(self.bias)
        require(features(self.input) == features(self.result), "input and result differ in shape")
        require(
            bias.get_shape() == (features(self.input),),
            f"a bias for {features(self.input)} features, not {list(bias.get_shape())}",
        )
        kinds = element(self.input), bias.element_type, element(self.result)
        require(
            len({isinstance(kind, Float32Type) for kind in kinds}) == 1,
            "a sum is over f32 alone, or over integers of 8..32 bits",
        )


class ScaleOperation(IRDLOperation, ABC):
    """What quantize and dequantize share: scales, extra columns, and two element types."""

    SOURCE: ClassVar[Attribute]
    TARGET: ClassVar[Attribute]
    WIDE: ClassVar[Attribute | None] = None
    """What may be in place of the source where there are no extra columns."""
    WIDENS: ClassVar[bool]
    """Whether the result has the extra columns, and not the input."""

    input = operand_def(ANY_ACTIVATIONS)
    scale = prop_def(REALS)
    split = opt_prop_def(DenseIntOrFPElementsAttr)
    result = result_def(activations_of(LEVELS))

    traits = traits_def(Pure())
    custom_directives = (Reals,)
    assembly_format = (
        "$input `scale` custom<Reals>($scale) (`split` $split^)? attr-dict "
        "`:` type($input) `->` type($result)"
    )

    def __init__(
        self,
        value: SSAValue,
        scale: float | NDArray[np.float64],
        split: NDArray[np.integer] | None = None,
    ):
        extra = 0 if split is None else len(split)
        columns = features(value) + (extra if self.WIDENS else -extra)
        super().__init__(
            operands=[value],
            properties={
                "scale": as_reals(scale),
                "split": from_array(split, i32) if split is not None and extra else None,
            },
            result_types=[activations(columns, self.TARGET)],
        )

    def scales(self) -> float | NDArray[np.float64]:
        """What one step is worth: of all features, or [K] of each."""
        return reals(self.scale)

    def columns(self) -> NDArray[np.int32]:
        """The feature of each extra column [E], ascending."""
        return np.empty(0, np.int32) if self.split is None else to_array(self.split)

    def verify_(self) -> None:
        kinds = element(self.input), element(self.result)
        ends = self.input, self.result
        real, integer = ends if self.WIDENS else ends[::-1]
        count = features(real)
        require_reals(self, "the scale", self.scale, count)
        if self.split is not None:
            shape = self.split.get_shape()
            require(
                self.split.get_element_type() == i32
                and len(shape) == 1
                and self.split.shape_is_complete,
                "split is a vector of i32, the feature of each extra column",
            )
            split = self.columns()
            require((np.diff(split) >= 0).all(), "the features of split must ascend")
            require(
                not len(split) or (split[0] >= 0 and split[-1] < count),
                f"split names a feature outside 0..{count - 1}",
            )
        extra = len(self.columns())
        sources = (self.SOURCE, self.WIDE) if self.split is None else (self.SOURCE,)
        require(
            kinds[0] in sources and kinds[1] == self.TARGET and features(integer) == count + extra,
            f"{self.name} maps {self.SOURCE} to {self.TARGET} in the same shape"
            + (f", but for the {extra} extra columns of i8" if extra else ""),
        )


class QuantizePatterns(HasCanonicalizationPatternsTrait):
    """The canonicalisation of `spaq.quantize`."""

    @classmethod
    def get_canonicalization_patterns(cls) -> tuple[RewritePattern, ...]:
        """The patterns."""
        return (QuantizeOfDequantize(),)


@irdl_op_definition
class QuantizeOp(ScaleOperation):
    """`clamp(rint(x / scale), -128, 127)`: f32 → i8, one scale for all features or one for each.

    With `split`, features get extra columns behind all others, which carry what exceeds the
    range of int8 (outlier channel splitting, Zhao et al., ICML 2019). Products repeat the
    features' weights for them.

    ```mlir
    // x[1] = 35.0 becomes 127 in column 1, 127 in column 3 and 96 in column 4.
    %q = spaq.quantize %x scale 0.1 split dense<[1, 1]> : tensor<2xi32>
      : tensor<?x3xf32> -> tensor<?x5xi8>
    ```
    """

    name = "spaq.quantize"

    traits = traits_def(QuantizePatterns())

    SOURCE: ClassVar[Attribute] = f32
    TARGET: ClassVar[Attribute] = i8
    WIDENS: ClassVar[bool] = True


@irdl_op_definition
class DequantizeOp(ScaleOperation):
    """`q · scale`: i8 or i16 → f32, one scale for all features or one for each.

    With `split`, a feature's extra columns are added to its own; then all are i8.
    """

    name = "spaq.dequantize"
    SOURCE: ClassVar[Attribute] = i8
    TARGET: ClassVar[Attribute] = f32
    WIDE: ClassVar[Attribute | None] = i16
    WIDENS: ClassVar[bool] = False


class QuantizeOfDequantize(RewritePattern):
    """int8 that is scaled up and quantised by the same scales again → what it was.

    A float32 tells the 256 multiples of a scale apart, so nothing is lost. Extra columns are: there
    is more than one way to share out a value over them.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: QuantizeOp, rewriter: PatternRewriter) -> None:
        """Take the integers as they are."""
        before = op.input.owner
        if (
            isinstance(before, DequantizeOp)
            and before.input.type == op.result.type
            and before.scale == op.scale
            and op.split is None
            and before.split is None
        ):
            rewriter.replace(op, [], [before.input])


@irdl_op_definition
class RequantizeOp(IRDLOperation):
    """`clamp((acc·M[n] + 2^(S[n]-1)) >> S[n], -128, 127)`: sums → i8, per output channel.

    Wide results, i16, are limited to -32768..32767. No other operation of integers reads them.
    """

    name = "spaq.requantize"

    input = operand_def(activations_of(ACCUMULATORS))
    multiplier = prop_def(DenseIntOrFPElementsAttr)
    shift = prop_def(DenseIntOrFPElementsAttr)
    result = result_def(RESULT_ACTIVATIONS)

    traits = traits_def(Pure())
    assembly_format = (
        "$input `multiplier` $multiplier `shift` $shift attr-dict "
        "`:` type($input) `->` type($result)"
    )

    def __init__(
        self,
        value: SSAValue,
        multiplier: DenseIntOrFPElementsAttr,
        shift: DenseIntOrFPElementsAttr,
        wide: bool = False,
    ):
        super().__init__(
            operands=[value],
            properties={"multiplier": multiplier, "shift": shift},
            result_types=[activations(features(value), i16 if wide else i8)],
        )

    @property
    def wide(self) -> bool:
        """Whether results are wide."""
        return is_wide(self.result)

    def verify_(self) -> None:
        require(features(self.input) == features(self.result), "input and result differ in shape")
        require_within(self, "multiplier", self.multiplier, 1, MULTIPLIER_MAX)
        require_within(self, "shift", self.shift, SHIFT_MIN, SHIFT_MAX)


class FunctionOperation(IRDLOperation, ABC):
    """A function over f32 by its name, or over i8 by a table of 256 entries.

    The table is indexed by the unsigned byte of the element.
    """

    function = prop_def(FunctionAttr)
    input = operand_def(activations_of(LEVELS))
    table = opt_prop_def(DenseIntOrFPElementsAttr)
    result = result_def(ANY_ACTIVATIONS)

    traits = traits_def(Pure())
    assembly_format = (
        "$function $input (`table` $table^)? attr-dict `:` type($input) `->` type($result)"
    )

    def __init__(
        self, function: str, value: SSAValue, table: DenseIntOrFPElementsAttr | None = None
    ):
        super().__init__(
            operands=[value],
            properties={"function": FunctionAttr(Function(function)), "table": table},
            result_types=[self.result_of(value)],
        )

    @staticmethod
    @abstractmethod
    def result_of(value: SSAValue) -> Attribute:
        """The type of the result."""

    def verify_(self) -> None:
        if isinstance(element(self.input), Float32Type):
            require(self.table is None, "a table belongs to i8 elements")
            require(
                self.function.data is not Function.TABLE,
                "a function that is nothing but a table works on i8",
            )
        else:
            require(
                self.table is not None
                and self.table.get_element_type() == i8
                and self.table.get_shape() == (TABLE_SIZE,)
                and self.table.shape_is_complete,
                f"{self.name} over i8 needs a table of {TABLE_SIZE} i8 entries",
            )
        expected = self.result_of(self.input)
        require(self.result.type == expected, f"{self.name} of this input is of {expected}")


@irdl_op_definition
class ActivationOp(FunctionOperation):
    """A function of each element.

    ```mlir
    %1 = spaq.activation "relu" %0 : tensor<?x2xf32> -> tensor<?x2xf32>
    ```
    """

    name = "spaq.activation"

    @staticmethod
    def result_of(value: SSAValue) -> Attribute:
        """That of the input."""
        return value.type


def defining_constant(value: SSAValue) -> ConstantOp | None:
    """The `spaq.constant` that makes this value, if one does."""
    return value.owner if isinstance(value.owner, ConstantOp) else None


def chain(start: Operation, kinds: Sequence[type[Operation]]) -> list[Operation]:
    """The operations after `start` along single uses, as long as they are of `kinds`, in order.

    Each kind is optional and matches at most once.
    """
    found: list[Operation] = []
    value = start.results[0]
    for kind in kinds:
        user = value.get_user_of_unique_use()
        if isinstance(user, kind) and user.operands[0] is value:
            found.append(user)
            value = user.results[0]
    return found
