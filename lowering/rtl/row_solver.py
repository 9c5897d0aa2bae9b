# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_row_solver`: what a token's normalisation multiplies by and adds, bit by bit.

    sums of u and u² → N·Σu² - (Σu)² and the mean → its root → the factor, N over the root

Products by Horner's scheme, root and quotients without restoring: a negative remainder stays, and
the next step adds. Either way a step is one addition, and its result's sign is a bit of the root
or the quotient. What it computes is `numerics.normalize`, and the quotients of `numerics.shares`.
"""

from dataclasses import dataclass

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.numerics import (
    ACTIVATION_BITS,
    EXPONENT_MAX,
    FACTOR_BITS,
    MEAN_FRACTION,
    NORMALIZED_FEATURES,
    NORMALIZED_FRACTION,
    SHARE_LOG_COUNT,
)
from daqkf.lowering.hdl.circuit import Circuit, Signal, concat, mux, named
from daqkf.lowering.hdl.select import choose, index_bits
from daqkf.lowering.rtl.booth import add

SCALED_BITS = ACTIVATION_BITS + EXPONENT_MAX
"""Bits of u, a value times 2 to its channel's exponent."""
_STEP_BITS = 2
SHIFT_STEP = 1 << _STEP_BITS
"""Shifts are multiples of it: factor and offset go up to them, once for all values of a token."""
_EXPONENT_MAX = FACTOR_BITS - 1 + SCALED_BITS - 1
"""The largest k, that of a deviation of 2^(SCALED_BITS - 1)."""
MAX_STEPS = -(-(_EXPONENT_MAX + MEAN_FRACTION - NORMALIZED_FRACTION) // SHIFT_STEP)
_MEAN_BITS = SCALED_BITS + MEAN_FRACTION
_RAISED_BITS = FACTOR_BITS + SHIFT_STEP - 1
SOLUTION = {
    "factor": _RAISED_BITS,
    "offset": _MEAN_BITS + _RAISED_BITS,
    "steps": MAX_STEPS.bit_length(),
}
"""Bits of what the solver says of a token."""


@dataclass(frozen=True)
class RowWidths:
    """Bits of what depends on how many features, 2^`log_features`, a row has at most."""

    log_features: int
    shares: bool

    @classmethod
    def of(cls, config: ArrayConfig) -> "RowWidths":
        """Those of an array's rows."""
        log_features = min(NORMALIZED_FEATURES, config.result_depth).bit_length() - 1
        return cls(log_features, config.softmax)

    @property
    def count(self) -> int:
        """Of N."""
        return 1 + max(self.log_features, SHARE_LOG_COUNT if self.shares else 0)

    @property
    def total(self) -> int:
        """Of Σu, signed."""
        return self.log_features + SCALED_BITS

    @property
    def squares(self) -> int:
        """Of Σu², and of normalised values before their shift."""
        squares = self.log_features + 2 * (SCALED_BITS - 1) + 1
        return max(squares, SOLUTION["offset"] + 1 - MEAN_FRACTION)

    @property
    def root(self) -> int:
        """Of Q: half of those of N·Σu² - (Σu)², as a deviation is below 2^(SCALED_BITS - 1)."""
        return self.log_features + SCALED_BITS - 1


def build_row_solver(config: ArrayConfig) -> Circuit:
    """The unit, which solves one token at a time.

    `start` comes a cycle before the sums, which then stay. With `solved` there are the `factor` g,
    the `offset` -m·g and the `steps` of which `(u·g·2^MEAN_FRACTION + offset) >> steps·SHIFT_STEP`
    is what `normalize` says. Of `shares` the total is what to divide the count by,
    2^SHARE_LOG_COUNT, and the offset is 0.
    """
    widths = RowWidths.of(config)
    c = Circuit("daqkf_row_solver")
    c.clock("clk")
    c.reset(c.input("rst", 1))
    start, count = c.input("start", 1), c.input("count", widths.count)
    total, squares = c.input("total", widths.total), c.input("squares", widths.squares)

    # Three phases, in each of which a counter goes up to 0; the last one then goes on. Shares only
    # need this one.
    summing, rooting, dividing = (
        c.register(name, 1, reset=0) for name in ("summing", "rooting", "dividing")
    )
    sharing, solve = c.const(0, 1), start
    if config.softmax:
        shares = c.input("shares", 1)
        sharing, solve = c.delay(start & shares, "sharing", reset=0), start & ~shares
    bits = 1 + max(widths.total, _EXPONENT_MAX + SHIFT_STEP).bit_length()
    counter = c.register("counter", bits, reset=0)
    below = counter[bits - 1]
    following: Signal = counter + 1
    for condition, cycles in (
        (solve, widths.total),
        (summing & ~below, widths.root),
        (rooting & ~below, widths.count),
        *([(sharing, SHARE_LOG_COUNT + 1)] if config.softmax else []),
    ):
        following = mux(condition, c.const(-cycles, bits), following)
    counter.drive(following)
    summing.drive(solve | (summing & below))
    rooting.drive((summing & ~below) | (rooting & below))
    began = {
        name: c.delay(phase, f"was_{name}", reset=0)
        for name, phase in (("summing", summing), ("rooting", rooting), ("dividing", dividing))
    }
    early = summing | rooting

    # Highest bits first, those of the count beside the last ones of the total.
    number = (~counter)[: index_bits(widths.total)]
    counts = [count[n] for n in range(widths.count)]
    counts += [c.const(0, 1)] * (widths.total - widths.count)
    count_bit = choose(number, counts) & below
    total_bit = choose(number, [total[n] for n in range(widths.total)]) & summing & below

    # The mean: the total's sign, then its other bits and those of the fraction against the count.
    width = widths.count
    rest = c.register("mean_rest", width, reset=0, clear=~early)
    first = summing & ~began["summing"]
    less = ~rest[width - 1] & ~first
    term = mux(
        first,
        concat(total_bit.replicate(width - 1), c.const(0, 1)),
        count ^ less.replicate(width),
    )
    rest.drive(add(concat(rest[: width - 1], total_bit), term, less))
    mean = c.register(
        "mean",
        _MEAN_BITS,
        reset=0 if config.softmax else None,
        clear=sharing if config.softmax else None,
    )
    fraction = below & counter.ult((1 << bits) - widths.root + MEAN_FRACTION)
    mean.drive(
        concat(mean[: _MEAN_BITS - 1], ~rest[width - 1]), enable=summing | (rooting & fraction)
    )

    # N·Σu² - (Σu)².
    step = c.register("step", widths.squares + 1, reset=0, clear=~summing)
    added = squares.zext(step.width) & count_bit.replicate(step.width)
    taken = total.sext(step.width) & total_bit.replicate(step.width)
    # The total's sign counts the other way.
    step.drive(add(added, taken ^ (~first).replicate(step.width), ~first))
    variance = c.register("variance", 2 * widths.root, reset=0, clear=~early)
    doubled = concat(variance[: variance.width - 1], c.const(0, 1))
    variance.drive(doubled + fitted(step, variance.width), enable=summing)

    # The root by pairs of the variance's bits, and the quotient by the count's.
    width = widths.root + 2
    root = c.register("root", widths.root, reset=0, clear=~(rooting | sharing | dividing))
    rest = c.register("rest", width, reset=0, clear=~((rooting & below) | dividing))
    less = ~rest[width - 1]
    root_bit = less & began["rooting"]
    trial = concat(root, root_bit, ~less, c.const(1, 1))[:width] & rooting.replicate(width)
    trial = trial | (root.zext(width) & dividing.replicate(width))
    pairs = [variance[2 * n : 2 * n + 2] for n in range(widths.root)]
    rooted = concat(rest[: width - 2], choose(number[: index_bits(widths.root)], pairs))
    divided = concat(rest[: width - 1], count_bit)
    rest.drive(add(mux(rooting, rooted, divided), trial ^ less.replicate(width), less))
    # At the end at least 1.
    seen = c.register("root_seen", 1, reset=0)
    seen.drive((seen | root_bit) & rooting)
    root_bit = root_bit | ~(below | seen)
    following = concat(root[: widths.root - 1], root_bit)
    if config.softmax:
        # All exponentials may be 0.
        divisor = fitted(total, widths.root) | (~total.any()).zext(widths.root)
        following = mux(sharing, divisor, following)
    root.drive(following, enable=rooting | sharing)

    # As many bits of the quotient as the factor has, with the offset's product beside it; then both
    # go up until the shift, of which the counter knows, has only whole steps.
    factor = c.register("factor", SOLUTION["factor"], reset=0, clear=~dividing)
    offset = c.register("offset", SOLUTION["offset"], reset=0, clear=~dividing)
    found = factor[FACTOR_BITS - 1 :].any()
    # It is one ahead of k.
    shift = named(counter - (1 + NORMALIZED_FRACTION - MEAN_FRACTION), "shift_unused")
    none = shift[bits - 1]
    solved = dividing & found & (none | ~shift[:_STEP_BITS].any())
    dividing.drive((rooting & ~below) | sharing | (dividing & ~solved))
    going = began["dividing"] & ~solved
    quotient_bit = less & ~found
    factor.drive(concat(factor[: factor.width - 1], quotient_bit), enable=going)
    product = mean.sext(offset.width) & quotient_bit.replicate(offset.width)
    offset.drive(concat(offset[: offset.width - 1], c.const(0, 1)) - product, enable=going)
    steps = shift[_STEP_BITS : _STEP_BITS + SOLUTION["steps"]]

    c.output("solved", solved)
    c.output("factor", factor)
    c.output("offset", offset)
    c.output("steps", steps & (~none).replicate(steps.width))
    c.finish()
    return c


def fitted(value: Signal, width: int) -> Signal:
    """The signed number in so many bits."""
    return value[:width] if width <= value.width else value.sext(width)
