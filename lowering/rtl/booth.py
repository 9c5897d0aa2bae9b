# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Products by rows of radix-4 digits -2..2 (Booth, as MacSorley has them).

A bit of a row is a function of two bits of the multiplicand and three of the factor, so a bit of
the sum with the rows before it is one LUT of six inputs, and those rows are a raw operand of the
carry chain.
"""

from daqkf.lowering.hdl.circuit import Circuit, Signal, concat, named

_DIGIT = 2
"""Bits of a digit."""
_STAGE = 2 * _DIGIT
"""Bits of a factor that a stage takes, in two rows."""


def stages(bits: int) -> int:
    """Cycles for a factor of so many bits."""
    return -(-bits // _STAGE)


def row(x: Signal, digit: Signal, width: int, name: str) -> tuple[Signal, Signal]:
    """`digit·x - (digit < 0)` of a signed x, modulo 2^width, and whether the digit is negative.

    The digit is three bits of a factor, of which the lowest is the digit before's.
    """
    one = named(digit[0] ^ digit[1], f"{name}_one")
    two = named(~one & (digit[1] ^ digit[2]), f"{name}_two")
    negative = named(digit[2] & (one | two), f"{name}_negative")
    most = max(width, x.width + 1)
    single = named(x.sext(most)[:width], f"{name}_single")
    double = named(concat(x, x.circuit.const(0, 1)).sext(most)[:width], f"{name}_double")
    magnitude = (single & one.replicate(width)) | (double & two.replicate(width))
    return named(magnitude ^ negative.replicate(width), f"{name}_term"), negative


def add(a: Signal, b: Signal, carry: Signal, name: str) -> Signal:
    """`a + b + carry`: the carry comes from a bit below the others, which spares an adder.

    `name` is for the sum in the text.
    """
    low = a.circuit.const(1, 1)
    return named(concat(a, low) + concat(b, carry), f"{name}_and_carry_unused")[1:]


def multiply(c: Circuit, x: Signal, factor: Signal, name: str) -> Signal:
    """The product of two signed numbers, `stages` later.

    It has as many bits as its rows together. None of them overflows unless x is the least number
    of its width and the factor another one.
    """
    return _rows(c, c.const(0, x.width + 1), x, factor, name, grows=True)


def subtract_product(c: Circuit, total: Signal, x: Signal, factor: Signal, name: str) -> Signal:
    """`total - x·factor` of signed numbers, `stages` later, modulo 2 to its width."""
    return _rows(c, total, x, factor, name, negate=True)


def _rows(
    c: Circuit,
    upper: Signal,
    x: Signal,
    factor: Signal,
    name: str,
    *,
    grows: bool = False,
    negate: bool = False,
) -> Signal:
    """What the rows make of `upper`, which loses a digit with each or goes on in all its bits."""
    width = upper.width
    lower: list[Signal] = []
    # Below its lowest bit a factor has a zero.
    factor = concat(factor.sext(factor.width + factor.width % _DIGIT), c.const(0, 1))
    for stage in range(stages(factor.width - 1)):
        if stage:
            x = c.delay(x, f"{name}_x{stage}")
            factor = c.delay(factor[_STAGE:], f"{name}_factor{stage}")
        for low in range(0, min(_STAGE, factor.width - 1), _DIGIT):
            of_row = f"{name}_stage{stage}_row{low // _DIGIT}"
            term, negative = row(x, factor[low : low + _DIGIT + 1], upper.width, of_row)
            if negate:
                term, negative = ~term, ~negative
            upper = add(upper, term, negative, of_row)
            lower.append(upper[:_DIGIT])
            upper = upper[_DIGIT:].sext(width if grows else upper.width - _DIGIT)
        kept = upper[: width - _DIGIT] if grows else upper
        upper = c.delay(kept, f"{name}_rows{stage}").sext(upper.width)
        lower = [c.delay(concat(*reversed(lower)), f"{name}_low{stage}")]
    return concat(upper[: width - _DIGIT] if grows else upper, *lower)
