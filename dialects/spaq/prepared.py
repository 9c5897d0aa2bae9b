# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What runs of the same `spaq` IR share: bounds of its sums, and operations that run as one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Operation, SSAValue

from daqkf.dialects.dense import integer_bits, to_array
from daqkf.dialects.spaq.attention import AttendOp
from daqkf.dialects.spaq.checks import element, features
from daqkf.dialects.spaq.exponents import ScaleRowsOp
from daqkf.dialects.spaq.ops import (
    AddOp,
    ConstantOp,
    DequantizeOp,
    MatmulOp,
    QuantizeOp,
    RequantizeOp,
)
from daqkf.dialects.spaq.rows import GatherOp, NormalizeOp, ResidualOp
from daqkf.hw_targets import numerics
from daqkf.hw_targets.fused import Attention, Epilogue, Normalization, Product, Quantization
from daqkf.hw_targets.semirings import Semiring

Fused = Product | Normalization


class Deferred(NamedTuple):
    """Sums that are not computed but by the `spaq.requantize` which they lead to."""

    x: NDArray[Any]
    """What the product or the normalisation is of."""
    kept: NDArray[np.int8] | None = None
    """What a residual adds."""


def _constant(value: SSAValue) -> NDArray[Any] | None:
    return value.owner.array() if isinstance(value.owner, ConstantOp) else None


@dataclass(eq=False)
class Prepared:
    """What runs of the same IR have in common: made once, and right while the IR stays the same.

    Weights as products need them, and the largest magnitudes that sums can have: where those fit
    the sums' types, no sum has to be looked at. With `fuses`, a product or a normalisation runs as
    one with the additions and the `spaq.requantize` behind it, which takes a while to prepare.
    """

    fuses: bool = False

    _factors: dict[MatmulOp, numerics.Factors | None] = field(
        default_factory=dict[MatmulOp, numerics.Factors | None]
    )
    _bounds: dict[Operation, int | None] = field(default_factory=dict[Operation, int | None])
    _fused: dict[RequantizeOp, Fused | None] = field(
        default_factory=dict[RequantizeOp, Fused | None]
    )
    _sums: dict[RequantizeOp, list[Operation]] = field(
        default_factory=dict[RequantizeOp, list[Operation]]
    )
    _attentions: dict[AttendOp, Attention | None] = field(
        default_factory=dict[AttendOp, Attention | None]
    )
    _deferred: dict[Operation, bool] = field(default_factory=dict[Operation, bool])

    def factors(self, op: MatmulOp) -> numerics.Factors | None:
        """A product's constant levels; None of other weights, and over other semirings."""
        if op not in self._factors:
            levels = _constant(op.weights) if op.semiring.data is Semiring.PLUS_TIMES else None
            self._factors[op] = None if levels is None else numerics.Factors.of(levels)
        return self._factors[op]

    def fits(self, op: Operation) -> bool:
        """Whether no activations give a sum that the op's result has no room for."""
        bits, bound = integer_bits(element(op.results[0])), self._bound(op)
        return bound is not None and bits is not None and bound < 1 << bits - 1

    def _bound(self, op: Operation) -> int | None:
        """The largest magnitude of what integer ops give, if it is known."""
        if op not in self._bounds:
            self._bounds[op] = self._find_bound(op)
        return self._bounds[op]

    def _find_bound(self, op: Operation) -> int | None:
        if isinstance(op, MatmulOp):
            if self.fuses and op.semiring.data is Semiring.PLUS_TIMES:
                levels = _constant(op.weights)
                return None if levels is None else numerics.largest_sum(levels)
            factors = self.factors(op)
            return None if factors is None else factors.bound
        if isinstance(op, NormalizeOp):
            return (1 << numerics.NORMALIZED_BITS - 1) - 1
        if isinstance(op, ScaleRowsOp):
            before = op.input.owner
            bound = self._bound(before) if isinstance(before, Operation) else None
            return None if bound is None else bound << op.reach.value.data
        if isinstance(op, AddOp):
            added = _constant(op.bias)
        elif isinstance(op, ResidualOp) and op.multiplier is not None:
            added = to_array(op.multiplier) * -numerics.ACTIVATION_MIN
        else:
            return None
        before = op.operands[0].owner
        bound = self._bound(before) if isinstance(before, Operation) else None
        if added is None or bound is None:
            return None
        return bound + int(np.abs(added.astype(np.int64)).max(initial=0))

    def fused(self, op: RequantizeOp) -> Fused | None:
        """What runs in place of a requantisation and of the sums before it, if anything does."""
        if op not in self._fused:
            self._fused[op] = self._fuse(op)
        return self._fused[op]

    def attention(self, op: AttendOp) -> Attention | None:
        """What gives the integers of an attention in place of `numerics.attend`, if anything."""
        if not self.fuses:
            return None
        if op not in self._attentions:
            heads = op.heads.value.data
            self._attentions[op] = Attention.of(
                op.tokens.value.data,
                features(op.result) // heads,
                (to_array(op.score_multiplier), to_array(op.score_shift)),
                (to_array(op.multiplier), to_array(op.shift)),
                to_array(op.table),
            )
        return self._attentions[op]

    def deferred(self, op: Operation) -> bool:
        """Whether an operation is part of what `fused` gives, and need not run.

        A gather is if all that reads it are products which are.
        """
        if not self.fuses:
            return False
        if op not in self._deferred:
            users = [use.operation for use in op.results[0].uses]
            if isinstance(op, GatherOp):
                found = all(isinstance(user, MatmulOp) and self.deferred(user) for user in users)
            else:
                while len(users) == 1 and isinstance(users[0], AddOp | ResidualOp):
                    users = [use.operation for use in users[0].results[0].uses]
                end = users[0] if len(users) == 1 else None
                found = isinstance(end, RequantizeOp) and op in self._before(end)
            self._deferred[op] = found
        return self._deferred[op]

    def quantization(self, op: QuantizeOp) -> Quantization | None:
        """What quantises for the products that read an operation's results, if only they do."""
        read = [use.operation for use in op.result.uses]
        if not read or not all(
            isinstance(user, MatmulOp | GatherOp) and self.deferred(user) for user in read
        ):
            return None
        return Quantization.of(op.scales(), op.columns())

    def run(self, op: RequantizeOp) -> Callable[[Deferred], NDArray[Any]] | None:
        """What gives the results of a requantisation, or of the `spaq.dequantize` behind it.

        That is if nothing else reads them. Then a product may read float32, too; see
        `quantization`.
        """
        run = self.fused(op)
        if not isinstance(run, Product):
            return None if run is None else lambda sums: run(sums.x, sums.kept)
        before = self._before(op)[-1].operands[0].owner
        if isinstance(before, GatherOp) and self.deferred(before):
            before = before.input.owner
        quantization = self.quantization(before) if isinstance(before, QuantizeOp) else None
        users = [use.operation for use in op.results[0].uses]
        last = users[0] if len(users) == 1 else None
        scale = last.scales() if isinstance(last, DequantizeOp) and self.scaled(last) else None
        return lambda sums: run(sums.x, sums.kept, quantization, scale)

    def scaled(self, op: DequantizeOp) -> bool:
        """Whether what comes before an operation gives its results; see `run`."""
        source = op.input.owner
        return (
            op.split is None
            and isinstance(source, RequantizeOp)
            and source.results[0].has_one_use()
            and isinstance(self.fused(source), Product)
        )

    def _before(self, op: RequantizeOp) -> list[Operation]:
        """What runs as one with a requantisation: from the last to the product or normalisation.

        Nothing does if a sum might not fit its type, is read elsewhere, or has two residuals.
        """
        if op not in self._sums:
            found: list[Operation] = []
            value = op.operands[0]
            while isinstance(value.owner, AddOp | ResidualOp | MatmulOp | NormalizeOp):
                found.append(value.owner)
                value = value.owner.operands[0]
            starts = [sums for sums in found if isinstance(sums, MatmulOp | NormalizeOp)]
            residuals = [sums for sums in found if isinstance(sums, ResidualOp)]
            whole = (
                starts == found[-1:]
                and len(residuals) <= 1
                and all(self.fits(sums) and len(list(sums.results[0].uses)) == 1 for sums in found)
            )
            self._sums[op] = found if whole and self.fuses else []
        return self._sums[op]

    def _fuse(self, op: RequantizeOp) -> Fused | None:
        sums = self._before(op)
        if not sums:
            return None
        start, bound = sums[-1], self._bound(sums[0])
        assert bound is not None
        bias = np.zeros(features(start.results[0]), np.int64)
        residual = None
        for added in sums[:-1]:
            if isinstance(added, AddOp):
                own = _constant(added.bias)
                assert own is not None
                bias += own
            elif isinstance(added, ResidualOp) and added.multiplier is not None:
                residual = to_array(added.multiplier)
        factors = to_array(op.multiplier), to_array(op.shift)
        kind = np.int16 if op.wide else np.int8
        epilogue = Epilogue.of(*factors, bound, residual, kind)
        if isinstance(start, NormalizeOp):
            return Normalization(
                to_array(start.exponent),
                start.added,
                start.rms is not None,
                bias.astype(np.float64),
                epilogue,
            )
        assert isinstance(start, MatmulOp)
        levels, gather = _constant(start.weights), start.input.owner
        assert levels is not None
        gathered = None
        if isinstance(gather, GatherOp) and self.deferred(gather):
            gathered = gather.array(), features(gather.input)
        return Product.of(levels, bias, epilogue, gathered)
