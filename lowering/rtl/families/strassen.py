# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The Strassen family: seven multipliers for two lanes, two features and two outputs.

    operands → sides → products → partial sums → terms → accumulators → held sums

`passes/encode/strassen.py` has the method. The products are combined in every cycle, so that a
pair of lanes has four accumulators: one for each of its sums.
"""

from collections.abc import Mapping, Sequence

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families.strassen import OPERANDS
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.lowering.hdl.circuit import Circuit, Signal, mux, named
from daqkf.lowering.rtl.families.running_sum import fitted
from daqkf.lowering.rtl.families.stage import Datapath, DatapathBuilder, Operands

SIDE_BITS = ACTIVATION_BITS + 1
"""Bits of a sum or a difference of two activations."""

PRODUCT_BITS = SIDE_BITS + max(OPERANDS.values())

SUMS = ("11", "12", "21", "22")
"""Token and output of each accumulator."""


def build_datapath(c: Circuit, config: ArrayConfig, operands: Operands) -> Datapath:
    """The element's control, stage by stage, and its pairs of lanes."""
    enable, operand = operands.enable, operands.fields

    # The weights meet the activations' sides, the directions meet the products.
    weights = {name: c.delay(operand[name], f"side_{name}", enable=enable) for name in _WEIGHTS}
    third = [operand[f"third{output}"] for output in range(2)]
    routed = [
        c.delay(c.delay(flag, f"side_third{output}", enable=enable), f"third{output}", enable)
        for output, flag in enumerate(third)
    ]
    valid, last, both = operands.valid, operand["last"], operand["both"]
    for stage in ("side", "product", "partial", "term"):
        valid = c.delay(valid, f"{stage}_valid", enable=enable, reset=0)
        last = c.delay(last, f"{stage}_last", enable=enable)
        both = c.delay(both, f"{stage}_both", enable=enable)
    add_enable = enable & valid
    fresh = c.register("fresh", 1, reset=1)
    fresh.drive(operands.start | last, enable=operands.start | add_enable)
    finished = c.delay(valid & last, "finished", enable=enable, reset=0)
    finished_both = c.delay(both, "finished_both", enable=enable)

    pair = build_pair(config)
    held: list[Signal] = []
    second: list[Signal] = []
    for t in range(0, config.lanes, 2):
        rows = {
            f"x{number}{token}": row[
                ACTIVATION_BITS * (t + token) : ACTIVATION_BITS * (t + token + 1)
            ]
            for number, row in enumerate(operands.rows)
            for token in range(2)
        }
        outputs = c.instance(
            f"pair{t // 2}",
            pair,
            clk=c.clk,
            enable=enable,
            add_enable=add_enable,
            fresh=fresh,
            hold_enable=operands.hold_enable,
            **{f"choose_third{output}": flag for output, flag in enumerate(third)},
            **{f"third{output}": flag for output, flag in enumerate(routed)},
            **weights,
            **rows,
        )
        held += [outputs["held11"], outputs["held21"]]
        second += [outputs["held12"], outputs["held22"]]
    return Datapath(finished, held, finished_both, second)


_WEIGHTS = tuple(OPERANDS)


def build_pair(config: ArrayConfig) -> Circuit:
    """Two tokens' lanes.

    With a, b the rows of the block and d the third row, each of two tokens:

    s1 … s7 ← a1+b2, a2+b2, a1, b2, a1+b1, a2-a1, b1-b2    when `enable`
    mi ← si · weight i
    C11 += m1 - m5 + m4 + m7    C12 += m3 + m5             when `add_enable`
    C21 += m2 + m4              C22 += m1 - m2 + m3 + m6   from 0 if `fresh`
    H ← C                                                  when `hold_enable`

    For `third0`, s1 and s2 are d1 and d2, and C22 does without m1 and m2; for `third1`, s1
    and s5 are d2 and d1, and C11 does without m1 and m5.
    """
    c = Circuit("daqkf_strassen_pair", "the lanes of two tokens of a strassen element.")
    c.clock("clk")
    enable = c.input("enable", 1)
    third0, third1 = c.input("choose_third0", 1), c.input("choose_third1", 1)
    routed0, routed1 = c.input("third0", 1), c.input("third1", 1)
    weights = [c.input(name, bits) for name, bits in OPERANDS.items()]
    (a1, a2), (b1, b2), (d1, d2) = (
        [
            named(
                c.input(f"x{row}{token}", ACTIVATION_BITS).sext(SIDE_BITS), f"{letter}{token + 1}"
            )
            for token in range(2)
        ]
        for row, letter in enumerate("abd")
    )
    sides = (
        mux(third1, d2, mux(third0, d1, a1 + b2)),
        mux(third0, d2, a2 + b2),
        a1,
        b2,
        mux(third1, d1, a1 + b1),
        a2 - a1,
        b1 - b2,
    )
    products = _multiply(c, config, sides, weights, enable)
    terms = _combine(c, config, products, (routed0, routed1), enable)
    _accumulate(c, config, terms, enable)
    c.finish()
    return c


def _multiply(
    c: Circuit,
    config: ArrayConfig,
    sides: Sequence[Signal],
    weights: Sequence[Signal],
    enable: Signal,
) -> list[Signal]:
    """The seven products of sides and weights, two cycles later.

    Sums of fewer bits need no more of the products.
    """
    c.section("The sides, and their products with the weights.")
    width = min(PRODUCT_BITS, config.accumulator_width)
    products: list[Signal] = []
    for number, (side, weight) in enumerate(zip(sides, weights, strict=True), 1):
        registered = c.delay(side, f"s{number}", enable=enable)
        product = fitted(registered, width) * fitted(weight, width)
        products.append(c.delay(product, f"m{number}_product", enable=enable))
    return products


def _combine(
    c: Circuit,
    config: ArrayConfig,
    products: Sequence[Signal],
    routed: tuple[Signal, Signal],
    enable: Signal,
) -> dict[str, Signal]:
    """What is added to each sum, a cycle later; `routed` says which of the third row there is."""
    c.section("The sums of products, combined in every cycle.")
    routed0, routed1 = routed
    m1, m2, m3, m4, m5, m6, m7 = (
        named(fitted(product, min(PRODUCT_BITS + 2, config.accumulator_width)), f"product{number}")
        for number, product in enumerate(products, 1)
    )
    zero = c.const(0, m1.width)
    partial = {
        "c11_main": mux(routed1, zero, m1 - m5),
        "c11_rest": m4 + m7,
        "c22_main": mux(routed0, zero, m1 - m2),
        "c22_rest": m3 + m6,
        "c12": m3 + m5,
        "c21": m2 + m4,
    }
    partial = {name: c.delay(value, name, enable=enable) for name, value in partial.items()}
    return {
        "11": partial["c11_main"] + partial["c11_rest"],
        "12": partial["c12"],
        "21": partial["c21"],
        "22": partial["c22_main"] + partial["c22_rest"],
    }


def _accumulate(
    c: Circuit, config: ArrayConfig, terms: Mapping[str, Signal], enable: Signal
) -> None:
    """The accumulators, and the ports of the sums that are held."""
    c.section("The accumulators, and the sums that are held for the post unit.")
    add_enable, fresh = c.input("add_enable", 1), c.input("fresh", 1)
    hold_enable, width = c.input("hold_enable", 1), config.accumulator_width
    for place in SUMS:
        term = c.delay(terms[place], f"term{place}", enable=enable)
        total = c.register(f"c{place}_sum", width)
        total.drive(mux(fresh, c.const(0, width), total) + term.sext(width), enable=add_enable)
        c.output(f"held{place}", c.delay(total, f"held_sum{place}", enable=hold_enable))


DATAPATH = DatapathBuilder(build_datapath)
