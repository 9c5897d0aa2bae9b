# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Sums become results of 8 bits: multiplied, shifted, rounded and saturated, stage by stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.fan_out import tree_stages
from daqkf.hw_targets.numerics import ACTIVATION_BITS, MULTIPLIER_BITS, SHIFT_MAX
from daqkf.lowering.hdl.circuit import Circuit, Signal, concat, mux, named, signed_product
from daqkf.lowering.hdl.pipeline import delayed
from daqkf.lowering.hdl.select import choose

LANES_OF_A_COPY = 2
"""Lanes that share registers of factors, in arrays of many lanes."""

FINE = 3
"""Low bits of the shift that the second shifter stage handles."""

_STAGE_BITS = 4
"""Bits of the multiplier that a stage takes, two in a row."""
_PRODUCT_STAGES = MULTIPLIER_BITS // _STAGE_BITS
_FACTOR_STAGES = 3
"""Those in which the factors of a DSP block are delayed: two of them are registers of its own."""
STAGES = 1 + 1 + _PRODUCT_STAGES + 3
"""Cycles from a sum to its result, the negation of the sum included."""
_VALUE_BITS = ACTIVATION_BITS + 1
"""A result before its last halving, which rounds."""
_WINDOW_BITS = _VALUE_BITS + (1 << FINE)
"""What the fine shift can see of a product, with a bit that says the sign of the rest."""


@dataclass(frozen=True)
class Factors:
    """The parameters of an output channel, each delayed to the stages that read it."""

    multiplier: list[Signal]
    """Of each stage of the product, its bits; for a DSP block, the multiplier negated, signed."""
    coarse_shift: Signal
    fine_shift: Signal

    @classmethod
    def of_lanes(
        cls, c: Circuit, config: ArrayConfig, parameter: Mapping[str, Signal]
    ) -> "list[Factors]":
        """Those of each lane, for the parameters of the output whose sums are negated in this
        cycle. In arrays of many lanes there is a copy for a few lanes each."""
        c.section("Requantisation: the multiplier and the shift of an output, for all lanes.")
        if not tree_stages(config):
            return [cls.delayed(c, config, parameter, "", keep=False)] * config.post_lanes
        copies = [
            cls.delayed(c, config, parameter, f"_lanes{low}", keep=True)
            for low in range(0, config.post_lanes, LANES_OF_A_COPY)
        ]
        return [copies[v // LANES_OF_A_COPY] for v in range(config.post_lanes)]

    @classmethod
    def delayed(
        cls,
        c: Circuit,
        config: ArrayConfig,
        parameter: Mapping[str, Signal],
        of: str,
        keep: bool,
    ) -> "Factors":
        """The registers of one copy, whose names end in `of`."""
        bits = c.delay(parameter["multiplier"], f"multiplier{of}", keep=keep)
        multiplier: list[Signal] = []
        if config.post_multiplier == "dsp":
            opposite = c.const(0, MULTIPLIER_BITS + 1) - bits.zext(MULTIPLIER_BITS + 1)
            multiplier.append(delayed(c, opposite, f"opposite{of}", _FACTOR_STAGES))
        for stage in range(_PRODUCT_STAGES * (not multiplier)):
            bits = c.delay(bits, f"multiplier{stage}{of}")
            multiplier.append(bits[:_STAGE_BITS])
            bits = bits[_STAGE_BITS:] if bits.width > _STAGE_BITS else bits
        shift = c.delay(parameter["shift_minus_1"], f"shift1{of}", keep=keep)
        for stage in range(1, 2 + _PRODUCT_STAGES):
            shift = c.delay(shift, f"shift{stage + 1}{of}")
        fine_shift = c.delay(shift[:FINE], f"fine_shift{of}")
        return cls(multiplier, shift[FINE:], fine_shift)


def requantize(c: Circuit, negated: Signal, factors: Factors, v: int) -> Signal:
    """clamp(((sum + bias)·M + 2^(S-1)) >> S) of what is negated, in `STAGES` stages, of which the
    negation has been the first.

    Computed as ((((sum + bias)·M) >> (S-1)) + 1) >> 1, which rounds the same.
    """
    if len(factors.multiplier) == 1:
        c.section(f"Requantisation of lane {v}: its sum times the multiplier, in a DSP block.")
        product = _dsp_product(c, negated, factors.multiplier[0], v)
    else:
        c.section(f"Requantisation of lane {v}: its sum times the multiplier, four bits a stage.")
        product = _product(c, negated, factors.multiplier, v)
    c.section(f"Requantisation of lane {v}: the shift, rounding and saturation.")
    window, over, sign = _shift_coarse(c, product, factors.coarse_shift, v)
    value, over, sign = _shift_fine(c, window, over, sign, factors.fine_shift, v)

    # Halve with halves rounded up, unless that or what was left out saturates.
    positive = named(~sign, f"positive{v}")
    most = positive & value[:ACTIVATION_BITS].all()
    limit = concat(sign, positive.replicate(ACTIVATION_BITS - 1))
    up = value[0] & ~over & ~most
    level = mux(over, limit, value[1:]) + up.zext(ACTIVATION_BITS)
    return c.delay(level, f"level{v}")


def _shift_coarse(
    c: Circuit, product: Signal, shift: Signal, v: int
) -> tuple[Signal, Signal, Signal]:
    """A window of the product, whether what it leaves out is anything but the sign, the sign."""
    wide = product.width
    windows: list[Signal] = []
    beyond: list[Signal] = []
    for amount in range(0, SHIFT_MAX, 1 << FINE):
        shifted = product[min(amount, wide - 1) :]
        shifted = shifted.sext(max(_WINDOW_BITS, shifted.width))
        windows.append(shifted[:_WINDOW_BITS])
        above = named(shifted[_WINDOW_BITS - 1 :], f"above{v}_{amount}")
        beyond.append(_differs(above))
    return (
        c.delay(choose(shift, windows), f"window{v}"),
        c.delay(choose(shift, beyond), f"beyond{v}"),
        c.delay(product[wide - 1], f"window_sign{v}"),
    )


def _shift_fine(
    c: Circuit, window: Signal, over: Signal, sign: Signal, shift: Signal, v: int
) -> tuple[Signal, Signal, Signal]:
    """Twice the result, whether it is too large, and its sign."""
    amounts = range(1 << FINE)
    value = choose(shift, [window[n : n + _VALUE_BITS] for n in amounts])
    over = over | choose(shift, [_differs(window[n + _VALUE_BITS - 1 :]) for n in amounts])
    return (
        c.delay(value, f"value{v}_doubled"),
        c.delay(over, f"over{v}"),
        c.delay(sign, f"value_sign{v}"),
    )


def _differs(bits: Signal) -> Signal:
    """Whether the bits are not all the same."""
    return bits.any() & ~bits.all()


def _product(c: Circuit, negated: Signal, multiplier: Sequence[Signal], v: int) -> Signal:
    """-negated · M, M unsigned, from its lowest bits on.

    A row subtracts 0, 1, 2 or 3 times `negated`, a logic cell a bit: see
    `families.running_sum`.
    """
    width = negated.width + 2
    negated = negated.sext(width)
    triple = c.delay(negated + _double(c, negated), f"triple{v}")
    negated = c.delay(negated[: width - 2], f"factor{v}")
    upper = c.const(0, width)
    lower: list[Signal] = []
    for stage, bits in enumerate(multiplier):
        once = named(negated.sext(width), f"once{v}_{stage}")
        twice = named(_double(c, once), f"twice{v}_{stage}")
        for row in range(0, bits.width, 2):
            options = [c.const(0, width), once, twice, triple]
            upper = named(
                upper - choose(bits[row : row + 2], options), f"product{v}_{stage}_row{row // 2}"
            )
            lower.append(upper[:2])
            upper = upper[2:].sext(width)
        upper = c.delay(upper[: width - 2], f"product{v}_{stage}").sext(width)
        lower = [c.delay(concat(*reversed(lower)), f"product{v}_{stage}_low")]
        if stage + 1 < len(multiplier):
            negated = c.delay(negated, f"factor{v}_{stage}")
            triple = c.delay(triple, f"triple{v}_{stage}")
    return concat(upper[: width - 2], *lower)


def _dsp_product(c: Circuit, negated: Signal, opposite: Signal, v: int) -> Signal:
    """-negated · M, of the multiplier that is negated, once for all lanes.

    Registers of a DSP block take what it is made of and what comes out of it; it comes as late as
    from the rows of `_product`.
    """
    factor = delayed(c, negated, f"factor{v}", _FACTOR_STAGES)
    product = signed_product(factor, opposite, negated.width + MULTIPLIER_BITS)
    return delayed(c, product, f"product{v}", 1 + _PRODUCT_STAGES - _FACTOR_STAGES)


def _double(c: Circuit, value: Signal) -> Signal:
    """Twice the value, of the same width."""
    return concat(value[: value.width - 1], c.const(0, 1))
