# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_row_solver`: what a token's normalisation multiplies by and adds, bit by bit.

    sums of u and u² → N·(Σu² + ε) - (Σu)² and the mean → its root → the factor, N over the root

Products by Horner's scheme, root and quotients without restoring: a negative remainder stays, and
the next step adds. Either way a step is one addition, and its result's sign is a bit of the root
or the quotient. To normalise by the root mean square, the bits of Σu are taken as 0. What it
computes is `numerics.normalize`, and the quotients of `numerics.shares`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.numerics import (
    FACTOR_BITS,
    MEAN_FRACTION,
    NORMALIZED_FEATURES,
    NORMALIZED_FRACTION,
    SCALED_BITS,
    SHARE_LOG_COUNT,
)
from daqkf.lowering.hdl.circuit import Circuit, Register, Signal, concat, mux, named
from daqkf.lowering.hdl.select import choose, index_bits
from daqkf.lowering.rtl.booth import add

_STEP_BITS = 2
SHIFT_STEP = 1 << _STEP_BITS
"""Shifts are multiples of it: factor and offset go up to them, once for all values of a token."""
_EXPONENT_MAX = FACTOR_BITS - 1 + SCALED_BITS
"""No k is beyond it, as what is divided by is below 2^SCALED_BITS."""
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
    beyond: bool
    """What is divided by may be more than a deviation can be."""

    @classmethod
    def of(cls, config: ArrayConfig) -> "RowWidths":
        """Those of an array's rows."""
        log_features = min(NORMALIZED_FEATURES, config.result_depth).bit_length() - 1
        beyond = config.rms_norms or config.epsilon_width > 0
        return cls(log_features, config.softmax, beyond)

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
        """Of Σu² + ε, and of normalised values before their shift."""
        squares = self.log_features + 2 * (SCALED_BITS - 1) + 1
        return max(squares, SOLUTION["offset"] + 1 - MEAN_FRACTION)

    @property
    def root(self) -> int:
        """Of Q: half of those of its square, as a deviation is below 2^(SCALED_BITS - 1), and the
        root of the largest mean square with the largest epsilon below 2^SCALED_BITS."""
        return self.log_features + SCALED_BITS - 1 + self.beyond


def build_row_solver(config: ArrayConfig) -> Circuit:
    """The unit, which solves one token at a time.

    `start` comes a cycle before the sums, which then stay. With `solved` there are the `factor` g,
    the `offset` -m·g and the `steps` of which `(u·g·2^MEAN_FRACTION + offset) >> steps·SHIFT_STEP`
    is what `normalize` says. The kernel says whether it is of an `rms`, and its `epsilon`. Of
    `shares` the total is what to divide the count by, 2^SHARE_LOG_COUNT, and the offset is 0.
    """
    widths = RowWidths.of(config)
    c = Circuit("daqkf_row_solver", "solves the normalisation of a token.")
    c.clock("clk")
    c.reset(c.input("rst", 1))
    start, count = c.input("start", 1), c.input("count", widths.count)
    total, squares = c.input("total", widths.total), c.input("squares", widths.squares)
    if config.epsilon_width:
        # The first step is a cycle behind the sums.
        epsilon = c.input("epsilon", config.epsilon_width).zext(widths.squares)
        squares = c.delay(squares + epsilon, "squares_and_epsilon")
    steps = _Steps.count(c, config, start)
    count_bit, total_bit = _select_bits(c, config, steps, count, total)
    mean = _divide_mean(c, config, steps, count, total_bit)
    variance = _multiply_variance(c, widths, steps, (total, squares), (count_bit, total_bit))
    less = _take_root(c, config, steps, variance, total, count_bit)
    _divide_factor(c, steps, mean, less)
    c.finish()
    return c


@dataclass(frozen=True)
class _Steps:
    """Three phases, in each of which a counter goes up to 0; the last one then goes on.

    Shares only need the last one. All of this is a cycle behind the counter itself, so that bits
    can be chosen by it before they are used.
    """

    summing: Register
    """The mean's bits, and the variance."""
    rooting: Register
    dividing: Register
    began: Mapping[str, Register]
    """The phases a cycle ago."""
    sharing: Signal
    """Pulses when shares begin."""
    counter: Register
    below: Signal
    """The counter is negative."""
    first: Signal
    """It is the first cycle of all."""
    number: Signal
    """Of the bit whose turn it is in the next cycle, the highest ones first."""
    adds: Signal
    """Bits of the count are taken in the next cycle, and with `sums` those of the total, too."""
    sums: Signal
    early: Signal
    """It is one of the first two phases."""

    @classmethod
    def count(cls, c: Circuit, config: ArrayConfig, start: Signal) -> "_Steps":
        """The counter and the phases; `dividing` is to be driven."""
        c.section("The phases, each of as many cycles as the counter goes up to 0.")
        widths = RowWidths.of(config)
        summing, rooting = (c.register(name, 1, reset=0) for name in ("summing", "rooting"))
        sharing, solve = c.const(0, 1), start
        if config.softmax:
            shares = c.input("shares", 1)
            sharing, solve = c.delay(start & shares, "sharing", reset=0), start & ~shares
            solve = named(solve, "solve")
        bits = 1 + max(widths.total, _EXPONENT_MAX + SHIFT_STEP).bit_length()
        counter = c.register("counter", bits, reset=0)
        below = counter[bits - 1]
        summed, rooted = (
            named(phase & ~below, f"{phase.name}_ends") for phase in (summing, rooting)
        )
        following: Signal = counter + 1
        for condition, cycles in (
            (solve, widths.total),
            (summed, widths.root),
            (rooted, widths.count),
            *([(sharing, SHARE_LOG_COUNT + 1)] if config.softmax else []),
        ):
            following = mux(condition, c.const(-cycles, bits), following)
        counter.drive(following)
        summing.drive(solve | (summing & below))
        rooting.drive(summed | (rooting & below))
        if config.softmax:
            sharing = c.delay(sharing, "late_sharing", reset=0)
        return cls._behind(c, widths, counter, (summing, rooting), sharing)

    @classmethod
    def _behind(
        cls,
        c: Circuit,
        widths: "RowWidths",
        counter: Register,
        phases: tuple[Register, Register],
        sharing: Signal,
    ) -> "_Steps":
        """What is known a cycle later, `sharing` among it; `dividing` is to be driven."""
        ahead, below = phases[0], counter[counter.width - 1]
        number = named((~counter)[: index_bits(widths.total)], "bit_number")
        counter = c.delay(counter, "late_counter")
        summing, rooting = (c.delay(phase, f"late_{phase.name}", reset=0) for phase in phases)
        dividing = c.register("dividing", 1, reset=0)
        began = {
            name: c.delay(phase, f"was_{name}", reset=0)
            for name, phase in (("summing", summing), ("rooting", rooting), ("dividing", dividing))
        }
        return cls(
            summing=summing,
            rooting=rooting,
            dividing=dividing,
            began=began,
            sharing=sharing,
            counter=counter,
            below=counter[counter.width - 1],
            first=named(summing & ~began["summing"], "first_step"),
            number=number,
            adds=below,
            sums=named(ahead & below, "sums_next"),
            early=named(summing | rooting, "early"),
        )


def _select_bits(
    c: Circuit, config: ArrayConfig, steps: _Steps, count: Signal, total: Signal
) -> tuple[Signal, Signal]:
    """Bits of the count and of the total: highest first, those of the count beside the total's
    last ones. Those of the total are 0 for a root mean square."""
    widths, sums = RowWidths.of(config), steps.sums
    if config.rms_norms:
        sums = sums & ~c.input("rms", 1)
    counts = [count[n] for n in range(widths.count)]
    counts += [c.const(0, 1)] * (widths.total - widths.count)
    count_bit = choose(steps.number, counts) & steps.adds
    total_bit = choose(steps.number, [total[n] for n in range(widths.total)]) & sums
    return c.delay(count_bit, "count_bit"), c.delay(total_bit, "total_bit")


def _divide_mean(
    c: Circuit, config: ArrayConfig, steps: _Steps, count: Signal, total_bit: Signal
) -> Signal:
    """The mean: the total's sign, then its other bits and those of the fraction against the count.

    The remainder is not restored.
    """
    c.section("The mean, bit by bit.")
    widths, width = RowWidths.of(config), count.width
    rest = c.register("mean_rest", width, reset=0, clear=~steps.early)
    less = named(~rest[width - 1] & ~steps.first, "mean_less")
    term = mux(
        steps.first,
        concat(total_bit.replicate(width - 1), c.const(0, 1)),
        count ^ less.replicate(width),
    )
    rest.drive(add(concat(rest[: width - 1], total_bit), term, less, "mean_rest"))
    mean = c.register(
        "mean",
        _MEAN_BITS,
        reset=0 if config.softmax else None,
        clear=steps.sharing if config.softmax else None,
    )
    last = (1 << steps.counter.width) - widths.root + MEAN_FRACTION
    fraction = steps.below & steps.counter.ult(last)
    mean.drive(
        concat(mean[: _MEAN_BITS - 1], ~rest[width - 1]),
        enable=steps.summing | (steps.rooting & fraction),
    )
    return mean


def _multiply_variance(
    c: Circuit,
    widths: RowWidths,
    steps: _Steps,
    sums: tuple[Signal, Signal],
    bits: tuple[Signal, Signal],
) -> Signal:
    """N·(Σu² + ε) - (Σu)² by Horner's scheme, of the sums and the bits of the count and the total:
    those of a total of 0 for a root mean square."""
    c.section("The variance: the count times the squares less the total times itself.")
    (total, squares), (count_bit, total_bit) = sums, bits
    step = c.register("step", widths.squares + 1, reset=0, clear=~steps.summing)
    added = squares.zext(step.width) & count_bit.replicate(step.width)
    taken = total.sext(step.width) & total_bit.replicate(step.width)
    # The total's sign counts the other way.
    other = ~steps.first
    step.drive(add(added, taken ^ other.replicate(step.width), other, "step"))
    variance = c.register("variance", 2 * widths.root, reset=0, clear=~steps.early)
    doubled = concat(variance[: variance.width - 1], c.const(0, 1))
    total = doubled + fitted(step, variance.width)
    # The root takes two bits at a time, the highest ones first.
    rest = concat(variance[: variance.width - 2], c.const(0, 2))
    variance.drive(mux(steps.summing, total, rest), enable=steps.early)
    return variance


def _take_root(
    c: Circuit,
    config: ArrayConfig,
    steps: _Steps,
    variance: Signal,
    total: Signal,
    count_bit: Signal,
) -> Signal:
    """The root by pairs of the variance's bits, then the quotient by the count's.

    Whether the remainder is not negative, which is the next bit.
    """
    c.section("The root of the variance, and the remainder of the division by it.")
    widths = RowWidths.of(config)
    width = widths.root + 2
    rooting, dividing = steps.rooting, steps.dividing
    busy = rooting | steps.sharing | dividing
    root = c.register("root", widths.root, reset=0, clear=~busy)
    going = (rooting & steps.below) | dividing
    rest = c.register("rest", width, reset=0, clear=~going)
    less = named(~rest[width - 1], "less")
    root_bit = named(less & steps.began["rooting"], "root_bit")
    trial = concat(root, root_bit, ~less, c.const(1, 1))[:width] & rooting.replicate(width)
    trial = trial | (root.zext(width) & dividing.replicate(width))
    pair = variance[variance.width - 2 :]
    rooted, divided = concat(rest[: width - 2], pair), concat(rest[: width - 1], count_bit)
    rest.drive(add(mux(rooting, rooted, divided), trial ^ less.replicate(width), less, "rest"))
    # At the end at least 1.
    seen = c.register("root_seen", 1, reset=0)
    seen.drive((seen | root_bit) & rooting)
    following = concat(root[: widths.root - 1], root_bit | ~(steps.below | seen))
    if config.softmax:
        # All exponentials may be 0.
        divisor = fitted(total, widths.root) | (~total.any()).zext(widths.root)
        following = mux(steps.sharing, divisor, following)
    root.drive(following, enable=rooting | steps.sharing)
    return less


def _divide_factor(c: Circuit, steps: _Steps, mean: Signal, less: Signal) -> None:
    """As many bits of the quotient as the factor has, with the offset's product beside it; then
    both go up until the shift, of which the counter knows, has only whole steps."""
    c.section("The factor, which is the quotient, and the offset, its product with the mean.")
    dividing = steps.dividing
    factor = c.register("factor", SOLUTION["factor"], reset=0, clear=~dividing)
    offset = c.register("offset", SOLUTION["offset"], reset=0, clear=~dividing)
    found = named(factor[FACTOR_BITS - 1 :].any(), "factor_found")
    # It is one ahead of k.
    ahead = 1 + NORMALIZED_FRACTION - MEAN_FRACTION
    shift = named(steps.counter - ahead, "shift_unused")
    none = shift[shift.width - 1]
    whole = none | ~shift[:_STEP_BITS].any()
    solved = named(dividing & found & whole, "solution_found")
    rooted = steps.rooting & ~steps.below
    dividing.drive(rooted | steps.sharing | (dividing & ~solved))
    going = named(steps.began["dividing"] & ~solved, "going")
    quotient_bit = named(less & ~found, "quotient_bit")
    factor.drive(concat(factor[: factor.width - 1], quotient_bit), enable=going)
    product = mean.sext(offset.width) & quotient_bit.replicate(offset.width)
    offset.drive(concat(offset[: offset.width - 1], c.const(0, 1)) - product, enable=going)
    whole_steps = shift[_STEP_BITS : _STEP_BITS + SOLUTION["steps"]]
    c.output("solved", solved)
    c.output("factor", factor)
    c.output("offset", offset)
    c.output("steps", whole_steps & (~none).replicate(whole_steps.width))


def fitted(value: Signal, width: int) -> Signal:
    """The signed number in so many bits."""
    return value[:width] if width <= value.width else value.sext(width)
