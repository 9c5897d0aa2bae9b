# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The families that multiply, with non-zeros or with all weights.

    operands → product, in a few stages → accumulator and held sum

`hw_targets/multiplication.py` says what a lane computes. The accumulator is cleared behind
the last item of an output instead of before the first: a flip-flop's reset costs no logic
cell, a multiplexer in front of the adder does.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, override

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.multiplication import MIDDLE, PRODUCT_BITS, ROW_BITS
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.lowering.hdl.circuit import Circuit, Signal, concat, mux, named, signed_product
from daqkf.lowering.rtl import booth
from daqkf.lowering.rtl.families.running_sum import fitted
from daqkf.lowering.rtl.families.stage import Datapath, DatapathBuilder, Operands

FIELD = PRODUCT_BITS
"""Bits between two activations that are packed side by side."""


def build_datapath(c: Circuit, config: ArrayConfig, operands: Operands) -> Datapath:
    """The element's control, stage by stage, and its lanes."""
    enable, start = operands.enable, operands.start
    weights = [operands.fields[f"weight{item}"] for item in range(len(operands.rows))]
    narrow = operands.fields.get("narrow")
    styles = STYLES if narrow is None else MODAL_STYLES
    style = styles[config.multiplier](config, [weight.width for weight in weights])
    ports = style.spread(c, weights if narrow is None else [*weights, narrow], enable)

    valid, last = operands.valid, operands.fields["last"]
    for stage in range(style.stages - 1):
        valid = c.delay(valid, f"valid{stage}", enable=enable, reset=0)
        last = c.delay(last, f"last{stage}", enable=enable)
    product_valid = c.delay(valid, "product_valid", enable=enable, reset=0)
    finished = c.delay(valid & last, "finished", enable=enable, reset=0)
    step = named(enable & product_valid, "step")

    lane = style.build()
    held: list[Signal] = []
    for t in range(0, config.lanes, style.lanes):
        items = {
            f"x{item}": row[ACTIVATION_BITS * t : ACTIVATION_BITS * (t + style.lanes)]
            for item, row in enumerate(operands.rows)
        }
        outputs = c.instance(
            f"lane{t}",
            lane,
            clk=c.clk,
            enable=enable,
            clear=start | finished,
            accumulate=start | step,
            hold_enable=operands.hold_enable,
            **items,
            **ports,
        )
        held += [outputs[f"held{lane}"] for lane in range(style.lanes)]
    return Datapath(finished, held)


@dataclass(frozen=True)
class Style(ABC):
    """How a lane, or a few that share a multiplier, makes the sum of a word's products."""

    config: ArrayConfig
    bits: Sequence[int]
    """Of the weight of each item."""

    lanes: ClassVar[int] = 1
    """Lanes of one circuit."""

    @property
    def stages(self) -> int:
        """Cycles from the operands to the sum of their products: one for each item."""
        return len(self.bits)

    def spread(self, c: Circuit, weights: Sequence[Signal], enable: Signal) -> dict[str, Signal]:
        """What a lane's ports need of the weights, and of `narrow` behind them, in its cycle."""
        return {f"weight{item}": weight for item, weight in enumerate(weights)}

    @abstractmethod
    def build(self) -> Circuit:
        """The circuit of a lane, or of a few."""

    def _begin(self, name: str) -> tuple[Circuit, Signal, list[Signal]]:
        """A circuit with its clock, its enable and the activations of each item."""
        c = Circuit(f"daqkf_{name}", "a lane of a multiplying element, or a few.")
        c.clock("clk")
        enable = c.input("enable", 1)
        width = ACTIVATION_BITS * self.lanes
        c.section("The products.")
        return c, enable, [c.input(f"x{item}", width) for item in range(len(self.bits))]

    def _finish(self, c: Circuit, terms: Sequence[Callable[[Signal], Signal]]) -> Circuit:
        """Accumulators: a term maps one to its sum with a product; the ports, and the end."""
        c.section("The accumulator, and the sum that is held for the post unit.")
        clear, accumulate = c.input("clear", 1), c.input("accumulate", 1)
        hold_enable = c.input("hold_enable", 1)
        width = self.config.accumulator_width
        for lane, term in enumerate(terms):
            accumulator = c.register(f"accumulator{lane}", width)
            total = term(accumulator)
            accumulator.drive(mux(clear, c.const(0, width), total), enable=accumulate)
            c.output(f"held{lane}", c.delay(total, f"held_sum{lane}", enable=hold_enable))
        c.finish()
        return c


class Booth(Style):
    """One row of radix-4 digits a stage, each of them added to the rows before it.

    A bit of a row is a function of two bits of the activation and three of the weight, so a bit
    of the sum with the rows before it is one LUT of six inputs, and those rows are a raw
    operand of the carry chain, which spares another one.
    """

    @property
    def rows(self) -> list[tuple[int, int]]:
        """The item of each row and its lower bit in the weight, the low ones first."""
        return sorted(
            ((item, low) for item, bits in enumerate(self.bits) for low in range(0, bits, 2)),
            key=lambda row: row[1],
        )

    @property
    @override
    def stages(self) -> int:
        return len(self.rows)

    @override
    def spread(self, c: Circuit, weights: Sequence[Signal], enable: Signal) -> dict[str, Signal]:
        ports: dict[str, Signal] = {}
        # Below its lowest bit a weight has a zero; bits that are done with fall off.
        left = {item: concat(weight, c.const(0, 1)) for item, weight in enumerate(weights)}
        for stage, (item, _) in enumerate(self.rows):
            ports[f"digit{stage}"] = left[item][:3]
            later = {later for later, _ in self.rows[stage + 1 :]}
            left = {
                number: c.delay(
                    weight[2:] if number == item else weight,
                    f"weight{number}_{stage + 1}",
                    enable=enable,
                )
                for number, weight in left.items()
                if number in later
            }
        return ports

    @override
    def build(self) -> Circuit:
        c, enable, activations = self._begin("booth_lane")
        total, most = None, 0
        delayed = _delays(c, "x", activations, enable, self.stages)
        for stage, (item, low) in enumerate(self.rows):
            row = _row(delayed[stage][item], c.input(f"digit{stage}", 3), f"row{stage}")
            most += ((1 << ROW_BITS) - 1) << low
            total = _added(total, row, low, most.bit_length()) if total else row
            total = c.delay(total, f"rows{stage}", enable=enable)
        assert total is not None
        product = total
        return self._finish(c, [lambda a: a + _fitted(product, a.width)])


class ModalBooth(Style):
    """Two rows for each item; those of the upper one count 16 times as much unless `narrow`.

    In a wide word both items have one activation, so the rows need no multiplexer, and the one
    of the shift is in front of an adder whose other operand is a register.
    """

    @property
    @override
    def stages(self) -> int:
        return 3

    @override
    def spread(self, c: Circuit, weights: Sequence[Signal], enable: Signal) -> dict[str, Signal]:
        low, high, narrow = weights
        # The lowest digit of a wide weight's upper half looks at the lower half's top bit.
        below = c.const(0, 1), low[low.width - 1] & ~narrow
        ports: dict[str, Signal] = {}
        for item, (weight, bit) in enumerate(zip((low, high), below, strict=True)):
            digits = concat(weight, bit)
            ports[f"digit{item}0"] = digits[:3]
            ports[f"digit{item}1"] = c.delay(digits[2:], f"weight{item}_1", enable=enable)
        for stage in range(1, self.stages):
            narrow = c.delay(narrow, f"narrow_{stage}", enable=enable)
        return ports | {"narrow": narrow}

    @override
    def build(self) -> Circuit:
        c, enable, activations = self._begin("modal_booth_lane")
        sums: list[Signal] = []
        for item, (x, later) in enumerate(
            zip(*_delays(c, "x", activations, enable, 2), strict=True)
        ):
            row = c.delay(
                _row(x, c.input(f"digit{item}0", 3), f"low{item}"), f"row{item}", enable=enable
            )
            upper = _row(later, c.input(f"digit{item}1", 3), f"high{item}")
            both = _added(row, upper, 2, (5 * ((1 << ROW_BITS) - 1)).bit_length())
            sums.append(c.delay(both, f"rows{item}", enable=enable))
        low, high = sums
        raised = concat(high, c.const(0, self.bits[0]))
        high = mux(c.input("narrow", 1), high.zext(raised.width), raised)
        total = c.delay(low.zext(raised.width) + high, "rows", enable=enable)
        return self._finish(c, [lambda a: a + _fitted(total, a.width)])


def _delays(
    c: Circuit, name: str, signals: Sequence[Signal], enable: Signal, stages: int
) -> list[list[Signal]]:
    """The signals as they are, and one cycle later, and so on, for as many stages."""
    delayed = [list(signals)]
    for stage in range(1, stages):
        delayed.append(
            [
                c.delay(signal, f"{name}{item}_{stage}", enable=enable)
                for item, signal in enumerate(delayed[-1])
            ]
        )
    return delayed


def _row(x: Signal, digit: Signal, name: str) -> Signal:
    """`digit·x - (digit < 0) + 256`, unsigned; see `booth.row`."""
    row, _ = booth.row(x, digit, ROW_BITS, name)
    return concat(~row[ROW_BITS - 1], row[: ROW_BITS - 1])


def _added(total: Signal, row: Signal, low: int, width: int) -> Signal:
    """`total + row·2^low`, unsigned, in `width` bits."""
    high = total[low:].zext(width - low) + row.zext(width - low)
    return concat(high, total[:low]) if low else high


def _fitted(value: Signal, width: int) -> Signal:
    return value[:width] if width <= value.width else value.zext(width)


class Dsp(Style):
    """A product for each item, which synthesis puts into a DSP block."""

    @override
    def build(self) -> Circuit:
        c, enable, activations = self._begin("dsp_lane")
        product = _products(c, enable, activations, self.bits)
        return self._finish(c, [lambda a: a + fitted(product, a.width)])


class Packed(Style):
    """Two lanes side by side in one factor: `(x1·2^18 + x0)·w`, for multipliers of 27×18 bits."""

    lanes: ClassVar[int] = 2

    @override
    def build(self) -> Circuit:
        c, enable, activations = self._begin("packed_lanes")
        packed: list[Signal] = []
        for pair in activations:
            low, high = (_unsigned(x) for x in (pair[:ACTIVATION_BITS], pair[ACTIVATION_BITS:]))
            packed.append(concat(c.const(0, 1), high, c.const(0, FIELD - ACTIVATION_BITS), low))
        product = _products(c, enable, packed, self.bits, FIELD + ACTIVATION_BITS)
        low, high, borrow = product[:FIELD], product[FIELD:], product[FIELD - 1]

        def lower(a: Signal) -> Signal:
            return a + fitted(low, a.width)

        def upper(a: Signal) -> Signal:
            # The lower product's sign has gone into the upper one; a carry takes it out again.
            term = concat(fitted(high, a.width), borrow)
            return named(concat(a, c.const(1, 1)) + term, "upper_and_carry_unused")[1:]

        return self._finish(c, [lower, upper])


def _unsigned(x: Signal) -> Signal:
    """x + 128."""
    return concat(~x[ACTIVATION_BITS - 1], x[: ACTIVATION_BITS - 1])


def _products(
    c: Circuit,
    enable: Signal,
    factors: Sequence[Signal],
    bits: Sequence[int],
    factor_bits: int = ACTIVATION_BITS,
) -> Signal:
    """The sum of the items' products: one stage, and another one if there are two.

    `factor_bits` are those of a factor that count; an unsigned one has a zero above them.
    """
    products: list[Signal] = []
    for item, (factor, width) in enumerate(zip(factors, bits, strict=True)):
        weight = c.input(f"weight{item}", width)
        product = signed_product(factor, weight, factor_bits + width)
        products.append(c.delay(product, f"product{item}", enable=enable))
    if len(products) == 1:
        return products[0]
    first, second = (product.sext(product.width + 1) for product in products)
    return c.delay(first + second, "products", enable=enable)


class ModalDsp(Style):
    """One or two products in one of 22×18 bits: `(x0·2 + 1 + x1·2^14)·(w1 + w0·2^13)`.

    A wide weight takes the place of w1. What stands above the sum of two products is cut off
    in front of the accumulator, where the sign's multiplexer is part of the adder's LUTs.
    """

    @property
    @override
    def stages(self) -> int:
        return 1

    @override
    def spread(self, c: Circuit, weights: Sequence[Signal], enable: Signal) -> dict[str, Signal]:
        low, high, narrow = weights
        sign = high[high.width - 1]
        upper = low.sext(low.width + 1) + sign.replicate(low.width + 1)
        pair = concat(upper, high.sext(MIDDLE - 1))
        weight = mux(narrow, pair, concat(high, low).sext(pair.width))
        return {"weight": weight, "narrow": c.delay(narrow, "narrow_1", enable=enable)}

    @override
    def build(self) -> Circuit:
        c, enable, (x0, x1) = self._begin("modal_dsp_lane")
        gap = c.const(0, MIDDLE - 1 - ACTIVATION_BITS)
        factor = concat(x1, gap, _unsigned(x0), c.const(1, 1))
        weight = c.input("weight", MIDDLE + self.bits[0])
        product = signed_product(factor, weight, factor.width + weight.width)
        wide = named(product, "product_unused")[MIDDLE : MIDDLE + 2 * ACTIVATION_BITS]
        wide = c.delay(wide, "products", enable=enable)
        two = wide[: MIDDLE - 1].sext(wide.width)
        total = named(mux(c.input("narrow", 1), two, wide), "total")
        return self._finish(c, [lambda a: a + fitted(total, a.width)])


STYLES: Mapping[str, type[Style]] = {"booth": Booth, "dsp": Dsp, "packed": Packed}

MODAL_STYLES: Mapping[str, type[Style]] = {"booth": ModalBooth, "dsp": ModalDsp}
"""For words of two small weights or of a large one."""


DATAPATH = DatapathBuilder(build_datapath)
