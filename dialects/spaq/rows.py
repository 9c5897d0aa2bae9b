# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of `spaq` on whole rows, the features of a token: residuals, normalisations, gates,
and rows that are cut and put together."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    DenseIntOrFPElementsAttr,
    Float32Type,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    TensorType,
    UnitAttr,
    f32,
    f64,
    i32,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    EqAttrConstraint,
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern
from xdsl.traits import HasCanonicalizationPatternsTrait, Pure

from daqkf.dialects.dense import from_array, to_array
from daqkf.dialects.spaq.checks import (
    element,
    features,
    require,
    require_channels,
    require_within,
    tensor_type,
)
from daqkf.dialects.spaq.ops import FunctionOperation, activations
from daqkf.dialects.spaq.types import (
    INT8_ACTIVATIONS,
    LEVELS,
    REAL,
    SAME_ELEMENTS,
    SAME_REAL,
    SUMS,
    RankedTensor,
    activations_of,
)
from daqkf.hw_targets.numerics import (
    EXPONENT_MAX,
    GATED_BITS,
    MULTIPLIER_MAX,
    NORMALIZED_BITS,
    NORMALIZED_FEATURES,
    epsilon_limit,
)


@irdl_op_definition
class ResidualOp(IRDLOperation):
    """`x + r`: the activations of an earlier layer, added to sums before they are requantised.

    Over f32, or exactly over integers, `x + r·M[n]` with `r` of i8 (`numerics.add_residual`); of
    `r` the first N columns count.

    ```mlir
    %2 = spaq.residual %1, %r multiplier dense<[1700, 1693]> : tensor<2xi32>
      : (tensor<?x2xi20>, tensor<?x3xi8>) -> tensor<?x2xi24>
    ```
    """

    name = "spaq.residual"

    input = operand_def(activations_of(SUMS))
    kept = operand_def(activations_of(LEVELS))
    multiplier = opt_prop_def(DenseIntOrFPElementsAttr)
    result = result_def(activations_of(SUMS))

    traits = traits_def(Pure())
    assembly_format = (
        "$input `,` $kept (`multiplier` $multiplier^)? attr-dict `:` "
        "functional-type(operands, results)"
    )

    def __init__(
        self,
        value: SSAValue,
        kept: SSAValue,
        multiplier: DenseIntOrFPElementsAttr | None = None,
        result_type: Attribute | None = None,
    ):
        super().__init__(
            operands=[value, kept],
            properties={"multiplier": multiplier},
            result_types=[result_type or value.type],
        )

    def verify_(self) -> None:
        count = features(self.input)
        require(count == features(self.result), "input and result differ in shape")
        kinds = [element(value) for value in (self.input, self.kept, self.result)]
        if self.multiplier is None:
            require(
                all(isinstance(kind, Float32Type) for kind in kinds)
                and features(self.kept) == count,
                "a residual without multipliers is over f32, in the shape of the input",
            )
            return
        require(
            not any(isinstance(kind, Float32Type) for kind in kinds),
            "a residual with multipliers is of i8, added to integers of 8..32 bits",
        )
        require(
            features(self.kept) >= count,
            f"a residual of {features(self.kept)} columns for {count} features",
        )
        require_within(self, "multiplier", self.multiplier, 0, MULTIPLIER_MAX)


class NormOperation(IRDLOperation):
    """A normalisation over the features of each token, over f32, that has a scale γ and an ε."""

    input = operand_def(SAME_REAL)
    gamma = operand_def(RankedTensor(1, REAL))
    epsilon = prop_def(FloatAttr.constr(f64))
    result = result_def(SAME_REAL)

    traits = traits_def(Pure())
    assembly_format = "operands `epsilon` $epsilon attr-dict `:` functional-type(operands, results)"

    def __init__(self, operands: Sequence[SSAValue], epsilon: float):
        super().__init__(
            operands=operands,
            properties={"epsilon": FloatAttr(epsilon, f64)},
            result_types=[operands[0].type],
        )

    def verify_(self) -> None:
        for name, value in zip(("gamma", "beta"), self.operands[1:], strict=False):
            require(
                tensor_type(value).get_shape() == (features(self.input),),
                f"{name} has one f32 for each of the {features(self.input)} features",
            )
        require(self.epsilon.value.data >= 0, "epsilon is negative")


@irdl_op_definition
class LayerNormOp(NormOperation):
    """`(x - mean(x)) / √(var(x) + ε) · γ + β` over the features of each token, over f32.

    Ba et al., "Layer Normalization", 2016.
    """

    name = "spaq.layer_norm"

    # xDSL takes the operands of a class before those of its bases.
    input = operand_def(SAME_REAL)
    gamma = operand_def(RankedTensor(1, REAL))
    beta = operand_def(RankedTensor(1, REAL))

    def __init__(self, value: SSAValue, gamma: SSAValue, beta: SSAValue, epsilon: float):
        super().__init__([value, gamma, beta], epsilon)


@irdl_op_definition
class RmsNormOp(NormOperation):
    """`x / √(mean(x²) + ε) · γ` over the features of each token, over f32.

    Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
    """

    name = "spaq.rms_norm"

    def __init__(self, value: SSAValue, gamma: SSAValue, epsilon: float):
        super().__init__([value, gamma], epsilon)


@irdl_op_definition
class NormalizeOp(IRDLOperation):
    """`(u - mean(u)) / √(var(u) + ε / N)` over the N features of each token, `u = x·2^exponent[n]`,
    exactly as the array computes it: i8 → integers in steps of 2^-NORMALIZED_FRACTION
    (`numerics.normalize`). An `rms` has the mean square in place of the variance, and no mean.

    ```mlir
    %z = spaq.normalize %x exponent dense<[0, 3]> : tensor<2xi32>
      : tensor<?x2xi8> -> tensor<?x2xi18>
    %y = spaq.normalize rms %x exponent dense<[0, 3]> : tensor<2xi32> epsilon 12
      : tensor<?x2xi8> -> tensor<?x2xi18>
    ```
    """

    name = "spaq.normalize"

    input = operand_def(INT8_ACTIVATIONS)
    exponent = prop_def(DenseIntOrFPElementsAttr)
    epsilon = opt_prop_def(IntegerAttr.constr(i64))
    rms = opt_prop_def(UnitAttr)
    result = result_def(activations_of(EqAttrConstraint(IntegerType(NORMALIZED_BITS))))

    traits = traits_def(Pure())
    assembly_format = (
        "(`rms` $rms^)? $input `exponent` $exponent (`epsilon` $epsilon^)? attr-dict `:` "
        "type($input) `->` type($result)"
    )

    def __init__(
        self,
        value: SSAValue,
        exponent: DenseIntOrFPElementsAttr,
        epsilon: int = 0,
        *,
        rms: bool = False,
    ):
        super().__init__(
            operands=[value],
            properties={
                "exponent": exponent,
                "epsilon": IntegerAttr(epsilon, i64) if epsilon else None,
                "rms": UnitAttr() if rms else None,
            },
            result_types=[activations(features(value), IntegerType(NORMALIZED_BITS))],
        )

    @property
    def added(self) -> int:
        """What is added to the squares of all features together."""
        return 0 if self.epsilon is None else self.epsilon.value.data

    def verify_(self) -> None:
        count = features(self.input)
        require(count == features(self.result), "input and result differ in shape")
        require(
            count <= NORMALIZED_FEATURES,
            f"{count} features to normalise; at most {NORMALIZED_FEATURES}",
        )
        require_within(self, "exponent", self.exponent, 0, EXPONENT_MAX)
        require(
            0 <= self.added < epsilon_limit(count),
            f"an epsilon of {count} features is 0..{epsilon_limit(count) - 1}",
        )


@irdl_op_definition
class GateOp(FunctionOperation):
    """`f(x[2n]) · x[2n + 1]` over the features of each token: gates and what they let through.

    Over i8 exactly, which gives integers of GATED_BITS (`numerics.gate`). Shazeer, "GLU Variants
    Improve Transformer", 2020.

    ```mlir
    %y = spaq.gate "silu" %x : tensor<?x6xf32> -> tensor<?x3xf32>
    ```
    """

    name = "spaq.gate"

    @staticmethod
    def result_of(value: SSAValue) -> Attribute:
        """Half as many features."""
        tokens, count = tensor_type(value).get_shape()
        kind = f32 if element(value) == f32 else IntegerType(GATED_BITS)
        return TensorType(kind, [tokens, count // 2])

    def verify_(self) -> None:
        count = features(self.input)
        require(count % 2 == 0, f"{count} features are no gates and values")
        super().verify_()


class ColumnsPatterns(HasCanonicalizationPatternsTrait):
    """The canonicalisation of `spaq.columns`."""

    @classmethod
    def get_canonicalization_patterns(cls) -> tuple[RewritePattern, ...]:
        """The patterns."""
        return (
            AllColumns(),
            ColumnsOfColumns(),
        )


@irdl_op_definition
class ColumnsOp(IRDLOperation):
    """Neighbouring features of a tensor, the first of which is number `first`.

    ```mlir
    %1 = spaq.columns %0 from 384 : tensor<?x768xf32> -> tensor<?x384xf32>
    ```
    """

    name = "spaq.columns"

    input = operand_def(SAME_ELEMENTS)
    first = prop_def(IntegerAttr.constr(i64))
    result = result_def(SAME_ELEMENTS)

    traits = traits_def(Pure(), ColumnsPatterns())
    assembly_format = "$input `from` $first attr-dict `:` type($input) `->` type($result)"

    def __init__(self, value: SSAValue, first: int, count: int):
        super().__init__(
            operands=[value],
            properties={"first": IntegerAttr(first, i64)},
            result_types=[activations(count, element(value))],
        )

    def verify_(self) -> None:
        first, count = self.first.value.data, features(self.result)
        require(
            0 <= first <= features(self.input) - count,
            f"features {first}..{first + count - 1} of {features(self.input)}",
        )


class GatherPatterns(HasCanonicalizationPatternsTrait):
    """The canonicalisation of `spaq.gather`."""

    @classmethod
    def get_canonicalization_patterns(cls) -> tuple[RewritePattern, ...]:
        """The patterns."""
        return (
            GatherOfAll(),
            GatherOfGather(),
        )


@irdl_op_definition
class GatherOp(IRDLOperation):
    """The features that `columns` names, in that order: some of them, or some more than once.

    A feature of large range with a scale that is m times the others' is read m times over. To the
    array that is reading the same row again.

    ```mlir
    %1 = spaq.gather %0 columns dense<[0, 1, 1]> : tensor<3xi32> : tensor<?x2xi8> -> tensor<?x3xi8>
    ```
    """

    name = "spaq.gather"

    input = operand_def(SAME_ELEMENTS)
    columns = prop_def(DenseIntOrFPElementsAttr)
    result = result_def(SAME_ELEMENTS)

    traits = traits_def(Pure(), GatherPatterns())
    assembly_format = "$input `columns` $columns attr-dict `:` type($input) `->` type($result)"

    def __init__(self, value: SSAValue, columns: NDArray[np.integer]):
        super().__init__(
            operands=[value],
            properties={"columns": from_array(columns, i32)},
            result_types=[activations(len(columns), element(value))],
        )

    def array(self) -> NDArray[np.int32]:
        """The columns, one for each feature of the result."""
        return to_array(self.columns)

    def verify_(self) -> None:
        require(self.columns.get_element_type() == i32, "columns are of i32")
        require_channels(self, "columns", self.columns)
        count, columns = features(self.input), self.array()
        outside = np.flatnonzero((columns < 0) | (columns >= count))
        require(
            not len(outside),
            f"column {columns[outside[0]] if len(outside) else 0} of {count} features",
        )


class ConcatPatterns(HasCanonicalizationPatternsTrait):
    """The canonicalisation of `spaq.concat`."""

    @classmethod
    def get_canonicalization_patterns(cls) -> tuple[RewritePattern, ...]:
        """The patterns."""
        return (ConcatOfOne(),)


@irdl_op_definition
class ConcatOp(IRDLOperation):
    """The features of several tensors side by side."""

    name = "spaq.concat"

    inputs = var_operand_def(SAME_ELEMENTS)
    result = result_def(SAME_ELEMENTS)

    traits = traits_def(Pure(), ConcatPatterns())
    assembly_format = "$inputs attr-dict `:` functional-type($inputs, $result)"

    def __init__(self, inputs: Sequence[SSAValue]):
        count = sum(features(value) for value in inputs)
        super().__init__(operands=[inputs], result_types=[activations(count, element(inputs[0]))])

    def verify_(self) -> None:
        require(self.inputs, "nothing to put together")
        count = sum(features(value) for value in self.inputs)
        require(
            count == features(self.result),
            f"{count} features together, not {features(self.result)}",
        )


class AllColumns(RewritePattern):
    """All features of a tensor → the tensor."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ColumnsOp, rewriter: PatternRewriter) -> None:
        """Read the tensor itself."""
        if op.input.type == op.result.type:
            rewriter.replace(op, [], [op.input])


class ColumnsOfColumns(RewritePattern):
    """Neighbouring features of neighbouring features → those of the tensor."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ColumnsOp, rewriter: PatternRewriter) -> None:
        """Count from the tensor's first feature."""
        inner = op.input.owner
        if isinstance(inner, ColumnsOp):
            first = inner.first.value.data + op.first.value.data
            rewriter.replace(op, ColumnsOp(inner.input, first, features(op.result)))


class GatherOfAll(RewritePattern):
    """Every feature once and in order → the tensor."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: GatherOp, rewriter: PatternRewriter) -> None:
        """Read the tensor itself."""
        if op.input.type == op.result.type and (np.diff(op.array()) == 1).all():
            rewriter.replace(op, [], [op.input])


class GatherOfGather(RewritePattern):
    """Features of gathered features → those of the tensor."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: GatherOp, rewriter: PatternRewriter) -> None:
        """Name the tensor's features."""
        inner = op.input.owner
        if isinstance(inner, GatherOp):
            rewriter.replace(op, GatherOp(inner.input, inner.array()[op.array()]))


class ConcatOfOne(RewritePattern):
    """A single tensor, put together → the tensor."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ConcatOp, rewriter: PatternRewriter) -> None:
        """Read the tensor itself."""
        if len(op.inputs) == 1:
            rewriter.replace(op, [], [op.inputs[0]])
