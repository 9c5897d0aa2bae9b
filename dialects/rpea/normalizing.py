# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the row unit of an array does between two kernels of a chain."""

from xdsl.dialects.builtin import (
    DenseIntOrFPElementsAttr,
    FlatSymbolRefAttr,
    IntegerAttr,
    StringAttr,
    SymbolNameConstraint,
    SymbolRefAttr,
    i32,
    i64,
)
from xdsl.ir import Operation
from xdsl.irdl import IRDLOperation, irdl_op_definition, prop_def, traits_def
from xdsl.traits import SymbolOpInterface, SymbolUserOpInterface

from daqkf.dialects.rpea.layout import ArrayConfig
from daqkf.dialects.rpea.ops import (
    ArrayOp,
    array_of,
    require,
    require_bias,
    require_length,
    require_post,
    require_range,
    require_tensor,
)
from daqkf.dialects.spaq.numerics import EXPONENT_MAX, NORMALIZED_FEATURES


class _UsesArray(SymbolUserOpInterface):
    def verify(self, op: Operation) -> None:
        assert isinstance(op, NormalizationOp)
        op.verify_shapes()
        op.verify_against(op.target().config.data)


@irdl_op_definition
class NormalizationOp(IRDLOperation):
    """Layer normalisation of a kernel's results: int8 [T, N] → int8 [T, N], token by token.

    `look_up(table, requantize(normalize(q, exponent) + bias, multiplier, shift))`, by the
    functions of `spaq.numerics`. Only a kernel of an `rpea.chain`.

    ```mlir
    rpea.normalization @norm for @array exponent dense<[0, 2]> : tensor<2xi32>
      bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
      shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>
    ```
    """

    name = "rpea.normalization"

    sym_name = prop_def(SymbolNameConstraint())
    array = prop_def(FlatSymbolRefAttr)
    exponent = prop_def(DenseIntOrFPElementsAttr)
    bias = prop_def(DenseIntOrFPElementsAttr)
    multiplier = prop_def(DenseIntOrFPElementsAttr)
    shift = prop_def(DenseIntOrFPElementsAttr)
    table = prop_def(DenseIntOrFPElementsAttr)

    traits = traits_def(SymbolOpInterface(), _UsesArray())
    assembly_format = (
        "$sym_name `for` $array `exponent` $exponent `bias` $bias `multiplier` $multiplier "
        "`shift` $shift `table` $table attr-dict"
    )

    def __init__(self, name: str, array: str, **data: DenseIntOrFPElementsAttr):
        super().__init__(
            properties={"sym_name": StringAttr(name), "array": SymbolRefAttr(array), **data}
        )

    def target(self) -> ArrayOp:
        """The array this is for.

        Raises:
            VerifyException: the symbol names no rpea.array.
        """
        return array_of(self, self.array)

    @property
    def channels(self) -> int:
        """Channels N, as many out as in."""
        return require_length("exponent", self.exponent)

    @property
    def features(self) -> IntegerAttr:
        """Input features, the same N."""
        return IntegerAttr(self.channels, i64)

    @property
    def longest(self) -> int:
        """Words of streams: none."""
        return 0

    @property
    def slots(self) -> int:
        """Slots of the parameter memory, whose rows follow one another here."""
        return self.target().config.data.slots(self.channels)

    def verify_shapes(self) -> None:
        """Hold the properties against one another.

        Raises:
            VerifyException: shapes or ranges that do not agree.
        """
        channels = self.channels
        require_tensor("exponent", self.exponent, i32, channels)
        require_range("exponents", self.exponent, 0, EXPONENT_MAX)
        require_post(self, channels)
        require(
            channels <= NORMALIZED_FEATURES,
            f"{channels} features to normalise; at most {NORMALIZED_FEATURES}",
        )

    def verify_against(self, config: ArrayConfig) -> None:
        """Hold the normalisation against the array it is for.

        Raises:
            VerifyException: the array does not normalise, or not so much.
        """
        require(config.normalizes, "the array has no unit that normalises")
        require(
            self.channels <= config.result_depth,
            f"{self.channels} features to normalise; the array holds {config.result_depth}",
        )
        require_bias(self.bias, config)
