# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of `spaq` that `canonicalize` drops as they change nothing, bit for bit.

What cuts rows and puts them together has its canonical forms beside it, in `rows`, and
`spaq.quantize` has its own in `ops`. The operations here know nothing of this module, which gives
them their traits.
"""

import numpy as np
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import traits_def
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern
from xdsl.traits import HasCanonicalizationPatternsTrait

from daqkf.dialects.dense import integer_bits, to_array
from daqkf.dialects.spaq.checks import element
from daqkf.dialects.spaq.ops import ActivationOp, AddOp, CalibratedOp, defining_constant
from daqkf.hw_targets.numerics import look_up

_BYTES = np.arange(-128, 128).astype(np.int8)


class DropAddOfZeros(RewritePattern):
    """Integers and zeros in the same type, added: the integers.

    A sum of floats stays, as -0.0 + 0.0 is 0.0.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: AddOp, rewriter: PatternRewriter) -> None:
        """Drop a bias of zeros."""
        bias = defining_constant(op.bias)
        whole = integer_bits(element(op.result)) is not None
        if whole and op.input.type == op.result.type and bias and not bias.array().any():
            _pass_through(rewriter, op, op.input)


class DropIdentityTable(RewritePattern):
    """A function of int8 whose table gives every number itself: what it reads."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ActivationOp, rewriter: PatternRewriter) -> None:
        """Drop a function that changes nothing."""
        if op.table is not None and np.array_equal(look_up(to_array(op.table), _BYTES), _BYTES):
            _pass_through(rewriter, op, op.input)


class DropRepeatedRange(RewritePattern):
    """A range that is stated of a value of which it is stated already: the first statement."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: CalibratedOp, rewriter: PatternRewriter) -> None:
        """Drop the second statement."""
        before = op.input.owner
        if isinstance(before, CalibratedOp) and before.absmax == op.absmax:
            _pass_through(rewriter, op, op.input)


def _pass_through(rewriter: PatternRewriter, op: Operation, value: SSAValue) -> None:
    """Let what an operation reads take the place of its result; its name stays as it is."""
    rewriter.replace_all_uses_with(op.results[0], value)
    rewriter.erase(op)


class Canonicalization(HasCanonicalizationPatternsTrait):
    """The canonical forms of an operation that may change nothing."""

    @classmethod
    def get_canonicalization_patterns(cls) -> tuple[RewritePattern, ...]:
        """Those of every operation; each has its own by `get_patterns`."""
        return ()

    def get_patterns(self, op: type[Operation]) -> tuple[RewritePattern, ...]:
        """Those of one operation."""
        return (PATTERNS[op],)


PATTERNS: dict[type[Operation], RewritePattern] = {
    ActivationOp: DropIdentityTable(),
    AddOp: DropAddOfZeros(),
    CalibratedOp: DropRepeatedRange(),
}


def give_traits() -> None:
    """Give the operations the trait."""
    for op in PATTERNS:
        own = tuple(op.traits.traits)
        op.traits = traits_def(*own, Canonicalization())
