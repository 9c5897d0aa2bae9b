# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The semiring family: the running sum's adders, which also find maxima.

    operands → delta → running sum → accumulator → held sum

For (max, +), the adder of the running sum adds the output's offset, which only steps change
and all lanes have in common. So no sum goes around, and the maximum is a stage of its own.
`passes/encode/semiring.py` has the method.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families.semiring import SEMIRINGS
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.hw_targets.semirings import INFINITY, Semiring
from daqkf.lowering.hdl.circuit import Circuit, Signal, mux, named
from daqkf.lowering.hdl.select import choose
from daqkf.lowering.rtl.families.running_sum import fitted, shifted
from daqkf.lowering.rtl.families.stage import Datapath, DatapathBuilder, Operands

_INFINITE_BITS = INFINITY.bit_length()
"""Of a signed -INFINITY."""


@dataclass(frozen=True)
class Kind:
    """What a word's semiring is, decoded."""

    code: Signal

    def any_of(self, *semirings: Semiring) -> Signal:
        """Whether it is one of these."""
        first, *others = (self.code.eq(SEMIRINGS.index(semiring)) for semiring in semirings)
        for other in others:
            first = first | other
        return first

    @property
    def plus_times(self) -> Signal:
        """Whether it is the running sum."""
        return self.any_of(Semiring.PLUS_TIMES)

    @property
    def tropical(self) -> Signal:
        """Whether the items and the offset are added, and the maximum taken."""
        return self.any_of(Semiring.MAX_PLUS, Semiring.MIN_PLUS)


def stages(config: ArrayConfig) -> Sequence[str]:
    """The stages of a lane that depend on the semiring; a single item is joined with none."""
    return ("delta", "sum", "join") if config.items > 1 else ("sum", "join")


def build_datapath(c: Circuit, config: ArrayConfig, operands: Operands) -> Datapath:
    """The element's control, stage by stage, and its lanes."""
    enable, start = operands.enable, operands.start
    operand = operands.fields

    # Delta: the items are joined; what follows them travels along.
    delta_valid = c.delay(operands.valid, "delta_valid", enable=enable, reset=0)
    delta = {
        name: c.delay(operand[name], f"delta_{name}", enable=enable)
        for name in operand
        if not name.startswith("negative")
    }
    first = c.register("first", 1, reset=1)
    sum_enable = enable & delta_valid
    first.drive(start | delta["last"], enable=start | sum_enable)

    # Running sum: the offset of a tropical output falls with each of its steps.
    width = config.running_sum_width
    one = c.const(1, width)
    step = mux(delta["step"], shifted(c, one, delta.get("shift"), config.max_shift), 0)
    offset = c.register("offset", width, reset=0)
    following = mux(Kind(delta["semiring"]).tropical, offset - step, offset)
    offset.drive(mux(start | delta["last"], 0, following), enable=start | sum_enable)

    # Accumulator: only (+, ×) waits for a step.
    sum_valid = c.delay(delta_valid, "sum_valid", enable=enable, reset=0)
    summed = {name: c.delay(delta[name], f"sum_{name}", enable=enable) for name in delta}
    fresh = c.register("fresh", 1, reset=1)
    joins = summed["step"] | ~Kind(summed["semiring"]).plus_times
    join_enable = enable & sum_valid & joins
    fresh.drive(start | summed["last"], enable=start | join_enable)
    finished = c.delay(sum_valid & summed["last"], "finished", enable=enable, reset=0)
    minimum = Kind(summed["semiring"]).any_of(Semiring.MIN_PLUS)
    complement = c.delay(minimum, "complement", enable=enable)

    fields = {"delta": operand, "sum": delta, "join": summed}
    control = {
        "enable": enable,
        "sum_enable": sum_enable,
        "first": first,
        "offset": offset,
        "join_enable": join_enable,
        "fresh": fresh,
        "complement": complement,
        "hold_enable": operands.hold_enable,
        **({"shift": summed["shift"]} if "shift" in summed else {}),
        **{f"{stage}_semiring": fields[stage]["semiring"] for stage in stages(config)},
    }
    return Datapath(finished, _place_lanes(c, config, operands, control))


def _place_lanes(
    c: Circuit, config: ArrayConfig, operands: Operands, control: Mapping[str, Signal]
) -> list[Signal]:
    """Each token's lane, with its items and the control of all, and what it holds."""
    lane = build_lane(config)
    held: list[Signal] = []
    for t in range(config.lanes):
        low = ACTIVATION_BITS * t
        items: dict[str, Signal] = {}
        for item, row in enumerate(operands.rows):
            items[f"x{item}"] = row[low : low + ACTIVATION_BITS]
            items[f"negative{item}"] = operands.fields[f"negative{item}"]
        held.append(c.instance(f"lane{t}", lane, clk=c.clk, **items, **control)["held"])
    return held


def build_lane(config: ArrayConfig) -> Circuit:
    """One token's lane; the element's control says in each stage what to do.

    d ← Σ (x ^ n), or their maximum, or their OR              when `enable`
    R ← (first ? 0 : R) + d, or offset + d, or d              when `sum_enable`
    A ← (fresh ? 0 : A) + (R << s), or max(A, R), or A | R    when `join_enable`
    H ← A, or its complement                                  when `hold_enable`

    In a tropical semiring, a `d` of -128 makes R -512, whatever the offset; a fresh A takes R.
    """
    c = Circuit("daqkf_semiring_lane", "a lane of a semiring element.")
    c.clock("clk")
    enable = c.input("enable", 1)
    items = [
        (c.input(f"x{i}", ACTIVATION_BITS), c.input(f"negative{i}", 1)) for i in range(config.items)
    ]
    bits = (len(SEMIRINGS) - 1).bit_length()
    at = {stage: Kind(c.input(f"{stage}_semiring", bits)) for stage in stages(config)}
    sum_enable, first = c.input("sum_enable", 1), c.input("first", 1)
    offset = c.input("offset", config.running_sum_width)
    join_enable, fresh = c.input("join_enable", 1), c.input("fresh", 1)
    shift = c.input("shift", config.shift_width) if config.shift_width else None
    complement, hold_enable = c.input("complement", 1), c.input("hold_enable", 1)

    delta = _join_items(c, items, at.get("delta"), enable)

    c.section("The running sum, or the offset added.")
    width = config.running_sum_width
    running = c.register("running_sum", width)
    base = _select(at["sum"], mux(first, 0, running), offset, c.const(0, width))
    term = fitted(delta, width)
    if width >= _INFINITE_BITS:
        lowest = delta[ACTIVATION_BITS - 1] & ~delta[: ACTIVATION_BITS - 1].any()
        infinite = at["sum"].tropical & lowest
        term = mux(infinite, c.const(-INFINITY, width), term)
    running.drive(base + term, enable=sum_enable)

    c.section("The accumulator.")
    # A maximum is no wider than what it is of.
    narrow, width = width, config.accumulator_width
    accumulator = c.register("accumulator", width)
    term = named(running.sext(width), "term")
    largest = named(_larger(accumulator[:narrow], running), "largest").sext(width)
    so_far = named(mux(fresh, 0, accumulator), "so_far")
    joined = _select(
        at["join"],
        so_far + shifted(c, term, shift, config.max_shift),
        named(mux(fresh, term, largest), "most_so_far"),
        so_far | term,
    )
    accumulator.drive(joined, enable=join_enable)

    c.section("The sum that is held for the post unit.")
    held = accumulator ^ complement.replicate(width)
    c.output("held", c.delay(held, "held_sum", enable=hold_enable))
    c.finish()
    return c


def _join_items(
    c: Circuit,
    items: Sequence[tuple[Signal, Signal]],
    kind: Kind | None,
    enable: Signal,
) -> Signal:
    """The items of a word, each with its sign, joined as the word's semiring says."""
    c.section("The items of a word, joined.")
    signed = [
        named(x ^ negative.replicate(ACTIVATION_BITS), f"signed{item}")
        for item, (x, negative) in enumerate(items)
    ]
    joined = _added(signed)
    if kind is not None:
        most = _tree(_larger, signed, "most").sext(joined.width)
        some = _tree(Signal.__or__, signed, "some").sext(joined.width)
        joined = _select(kind, joined, most, some)
    return c.delay(joined, "delta", enable=enable)


def _select(kind: Kind, plus_times: Signal, tropical: Signal, or_and: Signal) -> Signal:
    """The signal of a word's semiring."""
    options: Mapping[Semiring, Signal] = {
        Semiring.PLUS_TIMES: plus_times,
        Semiring.MAX_PLUS: tropical,
        Semiring.MIN_PLUS: tropical,
        Semiring.OR_AND: or_and,
    }
    return choose(kind.code, [options[semiring] for semiring in SEMIRINGS])


def _larger(a: Signal, b: Signal) -> Signal:
    """The larger of two signed signals: with their sign bits turned, they compare unsigned."""
    sign = 1 << (a.width - 1)
    return mux((a ^ sign).ult(b ^ sign), b, a)


def _tree(join: Callable[[Signal, Signal], Signal], terms: Sequence[Signal], name: str) -> Signal:
    """A power of two of terms, joined in pairs."""
    if len(terms) == 1:
        return terms[0]
    joined = [join(a, b) for a, b in zip(terms[::2], terms[1::2], strict=True)]
    return _tree(
        join, [named(term, f"{name}{len(terms)}_{n}") for n, term in enumerate(joined)], name
    )


def _added(terms: Sequence[Signal]) -> Signal:
    """The sum of a power of two of signed terms, as a tree, one bit wider at each level."""
    if len(terms) == 1:
        return terms[0]
    width = terms[0].width + 1
    pairs = zip(terms[::2], terms[1::2], strict=True)
    sums = [a.sext(width) + b.sext(width) for a, b in pairs]
    return _added([named(term, f"sum{len(terms)}_{n}") for n, term in enumerate(sums)])


DATAPATH = DatapathBuilder(build_datapath)
