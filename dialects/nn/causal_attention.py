# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn.causal_attention`: what `nn.cached_attention` is in int8, as the array computes it.

The rows of queries that the array gets have a feature for each head of keys and values, and of
these heads' features: a token has H / G rows, of which row r has head r of each group. So heads
that share keys and values are lanes, as tokens are.
"""

from collections.abc import Mapping, Sequence
from typing import Any, override

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DYNAMIC_INDEX
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition

from daqkf.dialects.nn.attention import (
    UNKNOWN_HEADS,
    IntegerAttention,
    Operands,
    Scales,
    integer_properties,
)
from daqkf.dialects.nn.base import differ, require, shape_of
from daqkf.dialects.nn.decoders import CachedOperation
from daqkf.dialects.spaq.attention import Factors
from daqkf.hw_targets import numerics
from daqkf.hw_targets.numerics import ACTIVATION_MAX, ACTIVATION_MIN
from daqkf.hw_targets.words import QUERY_BITS

Array = NDArray[Any]


@irdl_op_definition
class CausalAttentionOp(CachedOperation, IntegerAttention):
    """`nn.cached_attention` in int8: see `CachedOperation`, and `IntegerAttention` of the G heads.

    Values have as many features as keys.

    ```mlir
    %y, %keys, %values = nn.causal_attention %q, %k, %v past %past_k, %past_v {levels = 15 : i64,
        scale = 0.5 : f64, query_step = 0.5 : f64, key_steps = array<f64: 0.5>,
        score_step = 1.0 : f64, score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
        share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>,
        share_shifts = array<i64: 7>, value_steps = array<f64: 0.5>,
        result_steps = array<f64: 0.5>, result_multipliers = array<i64: 5>,
        result_shifts = array<i64: 8>, table = dense<0> : tensor<256xi8>}
      : (tensor<?x3x4xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>,
         tensor<?x1x4xf32>) -> (tensor<?x12xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>)
    ```
    """

    name = "nn.causal_attention"

    assembly_format = (
        "$queries `,` $keys `,` $values `past` $past_keys `,` $past_values attr-dict `:` "
        "functional-type(operands, results)"
    )

    def __init__(
        self,
        queries: SSAValue,
        keys: SSAValue,
        values: SSAValue,
        past: tuple[SSAValue, SSAValue],
        *,
        scale: float,
        levels: int,
        steps: Scales,
        factors: Mapping[str, Factors],
        table: NDArray[np.int8],
        results: Sequence[Attribute] | None = None,
    ):
        properties = integer_properties(scale, levels, steps, factors, table)
        super().__init__(queries, keys, values, past, properties, results)

    @property
    @override
    def features(self) -> int:
        shape = shape_of(self.keys)
        return DYNAMIC_INDEX if shape is None else shape[-1]

    @property
    def shared(self) -> int:
        """Heads of queries that share one of keys and values; -1 if they are not known."""
        shape = shape_of(self.queries)
        if shape is None or shape[-2] == DYNAMIC_INDEX:
            return DYNAMIC_INDEX
        return shape[-2] // self.heads

    @override
    def extents(self, most: int) -> tuple[int, int, int]:
        if DYNAMIC_INDEX in (self.features, self.shared):
            raise ValueError(UNKNOWN_HEADS)
        return self.heads, self.features, most

    def key_levels(self, keys: Array) -> NDArray[np.int8]:
        """The levels of keys [..., G, D]."""
        return self._levels(keys, self.steps().keys)

    def value_levels(self, values: Array) -> NDArray[np.int8]:
        """The levels of values [..., G, D]."""
        return self._levels(values, self.steps().values)

    def _levels(self, x: Array, steps: NDArray[np.float64]) -> NDArray[np.int8]:
        most = self.levels.value.data
        return np.clip(numerics.quantize(x, steps[:, np.newaxis]), -most, most)

    def operands_of(
        self, keys: NDArray[np.int8], values: NDArray[np.int8], queries: int
    ) -> Operands:
        """The integers that attention is of, for the levels [S, G, D] of all tokens.

        The last ones, as many as there are `queries`, are those that attend.
        """
        length, heads, _ = keys.shape
        nothing = np.zeros((heads, length), np.int64)
        return Operands(
            keys.transpose(1, 2, 0),
            values.transpose(1, 0, 2),
            nothing,
            nothing + ACTIVATION_MAX,
            length - queries,
        )

    def rows_of(self, queries: Array) -> NDArray[np.int8]:
        """The rows [T·H/G, G·D] that the array gets, of queries [T, H, D]."""
        levels = numerics.quantize(queries, self.steps().queries)
        tokens, heads, features = levels.shape
        groups = self.heads
        split = levels.reshape(tokens, groups, heads // groups, features)
        return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(-1, groups * features)

    def results_of(self, rows: NDArray[np.int8], tokens: int) -> NDArray[np.float32]:
        """Results [T, H·D] of the array's rows [T·H/G, G·D]."""
        groups = self.heads
        split = rows.reshape(tokens, len(rows) // max(tokens, 1), groups, -1).swapaxes(1, 2)
        worth = self.steps().results[:, np.newaxis, np.newaxis]
        return (split * worth).astype(np.float32).reshape(tokens, -1)

    @override
    def seen(self, operands: Operands) -> tuple[int, int]:
        return self.shared, self.shared * operands.past

    @override
    def integers(self, queries: NDArray[np.int8], operands: Operands) -> NDArray[np.int8]:
        return numerics.attend(
            queries,
            operands.keys,
            operands.values,
            self.channel_factors(operands.keys.shape[2]),
            self.exponentials(),
            present=numerics.visible_keys(len(queries), *self.seen(operands)),
        )

    @override
    def verify_(self) -> None:
        self.require_integers()
        CachedOperation.verify_(self)
        heads = self.heads
        queries, keys, values = (shape_of(x) for x in (self.queries, self.keys, self.values))
        require(
            keys is None or not differ(keys[-2], heads),
            f"steps of {heads} heads, for keys and values of {self.keys.type}",
        )
        require(
            keys is None or values is None or not differ(keys[-1], values[-1]),
            f"keys of {self.keys.type} and values of {self.values.type} differ in their features",
        )
        if queries is not None and queries[-2] != DYNAMIC_INDEX:
            require(
                queries[-2] % heads == 0 and 0 < queries[-2] // heads < 1 << QUERY_BITS,
                f"{queries[-2]} heads of queries for {heads} of keys and values",
            )
        require(
            self.exponentials()[ACTIVATION_MIN] == 0,
            f"the table has 0 for {ACTIVATION_MIN}, which keys read that are not seen",
        )
