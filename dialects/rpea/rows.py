# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the row unit of an array does between two kernels of a chain."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from xdsl.dialects.builtin import (
    DenseIntOrFPElementsAttr,
    FlatSymbolRefAttr,
    IntegerAttr,
    StringAttr,
    SymbolNameConstraint,
    SymbolRefAttr,
    UnitAttr,
    i8,
    i32,
    i64,
)
from xdsl.ir import Operation
from xdsl.irdl import IRDLOperation, irdl_op_definition, opt_prop_def, prop_def, traits_def
from xdsl.traits import SymbolOpInterface, SymbolUserOpInterface

from daqkf.dialects.dense import to_array
from daqkf.dialects.rpea.checks import (
    require,
    require_bias,
    require_length,
    require_range,
    require_tensor,
)
from daqkf.dialects.rpea.ops import ArrayOp, array_of, require_array, require_post
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.numerics import (
    ACTIVATION_MAX,
    ACTIVATION_MIN,
    EXPONENT_MAX,
    IDENTITY,
    NORMALIZED_FEATURES,
    TABLE_SIZE,
    epsilon_limit,
    width_for,
)
from daqkf.hw_targets.words import QUERY_BITS


class _UsesArray(SymbolUserOpInterface):
    def verify(self, op: Operation) -> None:
        assert isinstance(op, RowOperation)
        op.verify_parts()
        op.verify_against(op.target().config.data)


class RowOperation(IRDLOperation, ABC):
    """A kernel of the row unit: int8 [T, K] → int8 [T, N], token by token.

    Only in an `rpea.chain`, behind a program whose results it takes. It has no stream; its rows of
    the parameter memory follow one another.
    """

    UNIT: ClassVar[str]
    """The field of a config that says whether the array has this."""
    FIELD: ClassVar[str]
    """The field of a chain's row that is not 0 for these kernels."""
    VERB: ClassVar[str]
    """What it does with its features, for messages."""

    sym_name = prop_def(SymbolNameConstraint())
    array = prop_def(FlatSymbolRefAttr)
    multiplier = prop_def(DenseIntOrFPElementsAttr)
    shift = prop_def(DenseIntOrFPElementsAttr)
    table = prop_def(DenseIntOrFPElementsAttr)

    traits = traits_def(SymbolOpInterface(), _UsesArray())

    def __init__(
        self, name: str, array: str, **data: DenseIntOrFPElementsAttr | IntegerAttr | None
    ):
        super().__init__(
            properties={"sym_name": StringAttr(name), "array": SymbolRefAttr(array), **data}
        )

    def target(self) -> ArrayOp:
        """The array this is for."""
        return array_of(self, self.array)

    @property
    @abstractmethod
    def channels(self) -> int:
        """Output channels N."""

    @property
    def features(self) -> IntegerAttr:
        """Input features K: as many, unless it says otherwise."""
        return IntegerAttr(self.channels, i64)

    @property
    def longest(self) -> int:
        """Words of streams: none."""
        return 0

    def memory_rows(self, config: ArrayConfig) -> int:
        """Rows of external memory: none."""
        return 0

    @property
    def rows(self) -> int:
        """Rows of the parameter memory: one for each output, unless it says otherwise."""
        return self.channels

    @property
    def slots(self) -> int:
        """Slots of the parameter memory, whose rows follow one another here."""
        return self.target().config.data.slots(self.rows)

    def verify_parts(self) -> None:
        """Find the array, and hold the properties against one another.

        Raises:
            VerifyException: no array; shapes or ranges that do not agree.
        """
        require_array(self, self.array)
        self.verify_shapes()

    @abstractmethod
    def verify_shapes(self) -> None:
        """Hold the properties against one another.

        Raises:
            VerifyException: shapes or ranges that do not agree.
        """

    def verify_against(self, config: ArrayConfig) -> None:
        """Hold the kernel against the array it is for.

        Raises:
            VerifyException: the array does not do this, or not so much.
        """
        count = self.features.value.data
        require(getattr(config, self.UNIT), f"the array has no unit that {self.VERB} results")
        require(
            count <= config.result_depth,
            f"@{self.sym_name.data} {self.VERB} {count} features; the array holds "
            f"{config.result_depth}",
        )


class _BiasedOperation(RowOperation):
    """One whose results have a bias before they are requantised."""

    bias = prop_def(DenseIntOrFPElementsAttr)

    def verify_against(self, config: ArrayConfig) -> None:
        """As of any kernel; the biases too."""
        super().verify_against(config)
        require_bias("a bias", self.bias, config)


@irdl_op_definition
class NormalizationOp(_BiasedOperation):
    """Normalisation of a kernel's results: int8 [T, N] → int8 [T, N], token by token.

    `look_up(table, requantize(normalize(q, exponent, epsilon) + bias, multiplier, shift))`, by the
    functions of `spaq.numerics`: layer normalisation, or by the root mean square of an `rms`. Only
    a kernel of an `rpea.chain`.

    ```mlir
    rpea.normalization @norm for @array exponent dense<[0, 2]> : tensor<2xi32>
      bias dense<[1024, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
      shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>
    rpea.normalization @rms for @array rms exponent dense<[0, 2]> : tensor<2xi32> epsilon 12
      bias dense<0> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
      shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8>
    ```
    """

    name = "rpea.normalization"

    UNIT: ClassVar = "normalizes"
    FIELD: ClassVar = "normalizes"
    VERB: ClassVar = "normalises"

    exponent = prop_def(DenseIntOrFPElementsAttr)
    epsilon = opt_prop_def(IntegerAttr.constr(i64))
    rms = opt_prop_def(UnitAttr)

    assembly_format = (
        "$sym_name `for` $array (`rms` $rms^)? `exponent` $exponent (`epsilon` $epsilon^)? "
        "`bias` $bias `multiplier` $multiplier `shift` $shift `table` $table attr-dict"
    )

    def __init__(
        self,
        name: str,
        array: str,
        epsilon: int = 0,
        *,
        rms: bool = False,
        **data: DenseIntOrFPElementsAttr | IntegerAttr,
    ):
        super().__init__(name, array, **data)
        self.epsilon = IntegerAttr(epsilon, i64) if epsilon else None
        self.rms = UnitAttr() if rms else None

    @property
    def added(self) -> int:
        """What is added to the squares of all features together."""
        return 0 if self.epsilon is None else self.epsilon.value.data

    @property
    def channels(self) -> int:
        """Channels N, as many out as in."""
        return self.exponent.get_shape()[0]

    def verify_shapes(self) -> None:
        """As of any kernel; no more features than are normalised together."""
        channels = require_length("exponent", self.exponent)
        require_tensor("exponent", self.exponent, i32, channels)
        require_range("exponents", self.exponent, 0, EXPONENT_MAX)
        require_post(self, channels)
        require(
            channels <= NORMALIZED_FEATURES,
            f"{channels} features to normalise; at most {NORMALIZED_FEATURES}",
        )
        require(
            0 <= self.added < epsilon_limit(channels),
            f"an epsilon of {channels} features is 0..{epsilon_limit(channels) - 1}",
        )

    def verify_against(self, config: ArrayConfig) -> None:
        """As of any kernel; the kind of normalisation and the epsilon too."""
        super().verify_against(config)
        require(
            self.rms is None or config.rms_norms,
            f"@{self.sym_name.data} divides by a root mean square, and the array by deviations",
        )
        require(
            self.added.bit_length() <= config.epsilon_width,
            f"@{self.sym_name.data} adds {self.added} to squares; the array has "
            f"{config.epsilon_width} bits for that",
        )


@irdl_op_definition
class GatingOp(_BiasedOperation):
    """Every second result, times a function of the one before: int8 [T, 2N] → int8 [T, N].

    `look_up(table, requantize(gate(q, gate) + bias, multiplier, shift))`, by the functions of
    `spaq.numerics`. The program before it in its `rpea.chain` has no activation of its own: the
    array looks up `gate` when that one's results are made.

    With a `reach`, that of the array, the results of a token share an exponent
    (`numerics.requantize_rows`), and are looked up in no table. The program behind it has a
    `correction`: its sums take the exponents back.

    ```mlir
    rpea.gating @gate for @array gate dense<1> : tensor<256xi8>
      bias dense<[64, -7]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
      shift dense<7> : tensor<2xi32> table dense<0> : tensor<256xi8> reach 3
    ```
    """

    name = "rpea.gating"

    UNIT: ClassVar = "gates"
    FIELD: ClassVar = "gates"
    VERB: ClassVar = "gates"

    gate = prop_def(DenseIntOrFPElementsAttr)
    reach = opt_prop_def(IntegerAttr.constr(i64))

    assembly_format = (
        "$sym_name `for` $array `gate` $gate `bias` $bias `multiplier` $multiplier "
        "`shift` $shift `table` $table (`reach` $reach^)? attr-dict"
    )

    @property
    def channels(self) -> int:
        """Channels N, half of the features."""
        return self.bias.get_shape()[0]

    @property
    def features(self) -> IntegerAttr:
        """2N: gates and what they let through, side by side."""
        return IntegerAttr(2 * self.channels, i64)

    def verify_shapes(self) -> None:
        """As of any kernel."""
        require_tensor("gate", self.gate, i8, TABLE_SIZE)
        require_post(self, require_length("bias", self.bias))
        require(
            self.reach is None or np.array_equal(to_array(self.table), IDENTITY),
            "results that share exponents are looked up in no activation table",
        )

    def verify_against(self, config: ArrayConfig) -> None:
        """As of any kernel; the exponents too, which are the array's."""
        super().verify_against(config)
        if self.reach is not None:
            reach = self.reach.value.data
            require(
                reach == config.row_exponents > 0,
                f"@{self.sym_name.data} has exponents of a reach of {reach} bits; those of the "
                f"array have {config.row_exponents}",
            )
            bias = int(np.abs(to_array(self.bias).astype(np.int64)).max())
            bits = width_for((bias + ACTIVATION_MIN * ACTIVATION_MIN) << reach)
            require(
                bits <= config.sum_width,
                f"@{self.sym_name.data} has sums of {bits} bits; the array has {config.sum_width}",
            )


@irdl_op_definition
class SoftmaxOp(RowOperation):
    """Softmax of scores, over each `keys` neighbours: int8 [T, N] → int8 [T, N], token by token.

    `requantize(shares(exponentials(q, keys, offset, table), keys), multiplier, shift)`, by the
    functions of `spaq.numerics`. Only a kernel of an `rpea.chain`. It has two rows of parameters
    for each output: of each group of keys, those of its exponentials, then those of its shares.

    With `queries` it is causal. Each row of activations is a query, of which a token has so many,
    one after another, and the first one comes behind `past` queries of earlier tokens; so a query
    sees the first `numerics.visible_keys` of each group. Rows count from when the program is
    loaded.

    ```mlir
    rpea.softmax @attend for @array keys 2 table dense<1> : tensor<256xi8>
      offset dense<[127, -4096]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
      shift dense<7> : tensor<2xi32>
    rpea.softmax @causal for @array keys 2 queries 3 past 3 table dense<0> : tensor<256xi8>
      offset dense<127> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
      shift dense<7> : tensor<2xi32>
    ```
    """

    name = "rpea.softmax"

    UNIT: ClassVar = "softmax"
    FIELD: ClassVar = "keys"
    VERB: ClassVar = "takes the softmax of"

    keys = prop_def(IntegerAttr.constr(i64))
    queries = opt_prop_def(IntegerAttr.constr(i64))
    past = opt_prop_def(IntegerAttr.constr(i64))
    offset = prop_def(DenseIntOrFPElementsAttr)

    assembly_format = (
        "$sym_name `for` $array `keys` $keys (`queries` $queries^ `past` $past)? "
        "`table` $table `offset` $offset `multiplier` $multiplier `shift` $shift attr-dict"
    )

    @property
    def channels(self) -> int:
        """Channels N, as many out as in."""
        return self.offset.get_shape()[0]

    @property
    def rows(self) -> int:
        """Rows of the parameter memory: two for each output."""
        return 2 * self.channels

    @property
    def seen(self) -> tuple[int, int]:
        """The queries of a token, 0 if the softmax is not causal, and those before the first."""
        queries, past = (0 if n is None else n.value.data for n in (self.queries, self.past))
        return queries, past

    def verify_shapes(self) -> None:
        """As of any kernel; whole groups of keys, and no exponential below 0."""
        channels, keys = require_length("offset", self.offset), self.keys.value.data
        require_post(self, channels, bias="offset")
        require_range("exponentials", self.table, 0, ACTIVATION_MAX)
        require(
            0 < keys <= NORMALIZED_FEATURES,
            f"{keys} keys share a softmax; there can be 1..{NORMALIZED_FEATURES}",
        )
        require(channels % keys == 0, f"{channels} features are not in groups of {keys} keys")
        if self.queries is not None or self.past is not None:
            self._verify_causal(keys)

    def _verify_causal(self, keys: int) -> None:
        """What a query does not see must not have a share."""
        queries, past = self.seen
        require(self.past is not None, "a causal softmax has no past")
        require(
            0 < queries < 1 << QUERY_BITS,
            f"{queries} queries of a token; there can be 1..{(1 << QUERY_BITS) - 1}",
        )
        require(
            0 <= past < queries * keys,
            f"{past} queries before the first one, of {keys} keys with {queries} each",
        )
        require_range("offsets of a causal softmax", self.offset, 0, ACTIVATION_MAX)
        require(
            to_array(self.table)[ACTIVATION_MIN] == 0,
            f"the table of a causal softmax has 0 for {ACTIVATION_MIN}",
        )

    def verify_against(self, config: ArrayConfig) -> None:
        """As of any kernel; the offsets too, which are added to what is not above 0."""
        super().verify_against(config)
        require(self.queries is None or config.causal, "the array has no softmax that is causal")
        require_bias("an offset", self.offset, config, ACTIVATION_MIN - ACTIVATION_MAX)
