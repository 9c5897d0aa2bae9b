# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_row_lane`: the row unit's arithmetic, for one of the lanes the post unit takes at once.

    value → u, scaled by the exponent → u·u or u·g → running sum of squares or + offset → shift

One multiplier and one adder do both: they sum squares while the results of a kernel are
written, and normalise these afterwards. Lanes of other groups take turns; their sums go around in
a ring, their factors are in a memory. To be solved, the sums of all lanes go through one shift
register, of which the rings are parts.

A gate is the factor of the value that follows it. For a softmax, values are first compared with the
largest so far, then taken with it subtracted, and multiplied by 1; their exponentials, which are
snooped, go into the running sums. Both need one more ring.
"""

from dataclasses import dataclass
from itertools import pairwise

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.numerics import (
    ACTIVATION_BITS,
    EXPONENT_BITS,
    MEAN_FRACTION,
    NORMALIZED_BITS,
    SCALED_BITS,
)
from daqkf.lowering.hdl.circuit import Circuit, Signal, concat, mux, named
from daqkf.lowering.hdl.pipeline import delayed
from daqkf.lowering.hdl.select import choose, index_bits
from daqkf.lowering.rtl import booth
from daqkf.lowering.rtl.row_solver import (
    MAX_STEPS,
    SHIFT_STEP,
    SOLUTION,
    RowWidths,
    fitted,
)

_MULTIPLYING = booth.stages(SCALED_BITS)
SUMMING = 3 + _MULTIPLYING
"""Cycles from a value to the addition: registers for it, for u, and for the multiplicand."""
NORMALIZING = SUMMING + 2
"""Cycles from a value to its sum for the post unit."""
OFFSET_READING = SUMMING - 2
"""Cycles from a value to the read of its offset, which takes as long as one of its factor."""


def build_row_lane(config: ArrayConfig) -> Circuit:
    """The lane. While `streaming` it multiplies what is `selected`, else it sums what is `snooped`.

    A value comes with its group, the exponent a cycle later, `fresh` and `advance` by `SUMMING`
    later: these say that it is of the first output, and that the sums are to move on. In place of
    a sum, `unload` takes the one of the next lane. `store` writes what the solver says of the lane
    in the group `stored`.

    What is selected is there while `present`. While `gating` a value is multiplied by the one
    `groups` before it, while `raising` it is taken with the largest one of its token subtracted,
    which begins with the `first`. Exponentials that are snooped meanwhile are in the total two
    cycles later, if `total_advance` says so after one.
    """
    c = Circuit("daqkf_row_lane", "a lane of the row unit.")
    c.clock("clk")
    ports = _Ports.declare(c, config)
    selected, held = _hold(c, config, ports)
    scaled = _scale(c, ports, selected)
    multiplicand = _multiplicand(c, config, ports, scaled, held)
    c.section("The multiplication.")
    u = c.delay(c.delay(scaled, "u"), "multiplier")
    product = booth.multiply(c, c.delay(multiplicand, "multiplicand"), u, "product")
    offset, steps = _read_offset(c, config, ports, held is not None)
    total = _sum(c, config, ports, u, product, offset)
    _shift_sums(c, config, ports, total, offset, steps)
    c.finish()
    return c


@dataclass(frozen=True)
class _Ports:
    """The inputs of a lane that several of its parts read."""

    streaming: Signal
    valid: Signal
    snooped: Signal
    selected: Signal
    exponent: Signal
    group: Signal
    offset_group: Signal
    stored: Signal
    store: Signal
    gating: Signal
    raising: Signal
    scaling: Signal
    """What streams is normalised."""

    @classmethod
    def declare(cls, c: Circuit, config: ArrayConfig) -> "_Ports":
        streaming, valid = c.input("streaming", 1), c.input("valid", 1)
        snooped, selected = (c.input(name, ACTIVATION_BITS) for name in ("snooped", "selected"))
        exponent = c.input("exponent", EXPONENT_BITS)
        bits = index_bits(_groups(config))
        group, offset_group, stored = (
            c.input(name, bits) for name in ("group", "offset_group", "stored")
        )
        store = c.input("store", 1)
        gating = c.input("gating", 1) if config.gates else c.const(0, 1)
        raising = c.input("raising", 1) if config.softmax else c.const(0, 1)
        return cls(
            streaming=streaming,
            valid=valid,
            snooped=snooped,
            selected=selected,
            exponent=exponent,
            group=group,
            offset_group=offset_group,
            stored=stored,
            store=store,
            gating=gating,
            raising=raising,
            scaling=named(streaming & ~(gating | raising), "scaling"),
        )


def _groups(config: ArrayConfig) -> int:
    return config.lanes // config.post_lanes


def _only(c: Circuit, signal: Signal, name: str, phase: Signal) -> Signal:
    """The signal a cycle later, and 0 in another phase, so that an OR joins alternatives."""
    register = c.register(name, signal.width, reset=0, clear=~phase)
    register.drive(signal)
    return register


def _hold(c: Circuit, config: ArrayConfig, ports: _Ports) -> tuple[Signal, Signal | None]:
    """The selected value, less the largest one of its token while `raising`; and the one of
    `groups` before, or the largest so far, for gates and softmaxes."""
    selected = ports.selected
    if not (config.gates or config.softmax):
        return selected, None
    c.section("Values that are held for a gate, or the largest ones of a softmax.")
    held = [c.register(f"held{n}", ACTIVATION_BITS) for n in range(_groups(config))]
    kept = selected
    if config.softmax:
        most = named(held[-1] & ports.raising.replicate(ACTIVATION_BITS), "most")
        selected = kept.sext(ACTIVATION_BITS + 1) - most.sext(ACTIVATION_BITS + 1)
        selected = named(selected, "difference")
        larger = ~selected[ACTIVATION_BITS]
        if config.hides_keys:
            larger = larger & ~c.input("absent", 1)
        kept = mux(c.input("first", 1) | larger, kept, held[-1])
    present = c.input("present", 1)
    for register, before in zip(held, [kept, *held], strict=False):
        register.drive(before, enable=present)
    return selected, held[-1]


def _scale(c: Circuit, ports: _Ports, selected: Signal) -> Signal:
    """u: the value times 2 to its exponent, of what is snooped or what streams."""
    c.section("The value, scaled by its exponent.")
    summing = ports.valid & ~ports.streaming
    value = _only(c, ports.snooped, "snooped_value", summing).sext(selected.width)
    value = named(value | _only(c, selected, "selected_value", ports.streaming), "value")
    shifts = range(1 << EXPONENT_BITS)
    options = [concat(value, c.const(0, n)) if n else value for n in shifts]
    scaled = choose(ports.exponent, [fitted(option, SCALED_BITS) for option in options])
    return named(scaled, "scaled")


def _multiplicand(
    c: Circuit, config: ArrayConfig, ports: _Ports, scaled: Signal, held: Signal | None
) -> Signal:
    """What u is multiplied by: itself while it is summed, its factor, its gate, or 1."""
    c.section("The multiplicand: u itself, the factor of its token, a gate, or 1.")
    bits = SOLUTION["factor"]
    factors = c.memory("factors", _groups(config), bits, style="distributed")
    factors.write(ports.stored, c.input("factor", bits), ports.store)
    factor = factors.read(ports.group, c.const(1, 1), "factor_row")
    factor = _only(c, factor, "streaming_factor", ports.scaling)
    own = _only(c, scaled, "summing_u", ~ports.streaming)
    multiplicand = own.sext(bits + 1) | factor.zext(bits + 1)
    if config.gates and held is not None:
        gate = _only(c, c.delay(held, "gate"), "streaming_gate", ports.gating)
        multiplicand = multiplicand | gate.sext(bits + 1)
    if config.softmax:
        multiplicand = multiplicand | ports.raising.zext(bits + 1)
    return multiplicand


def _read_offset(
    c: Circuit, config: ArrayConfig, ports: _Ports, passes: bool
) -> tuple[Signal, Signal]:
    """The token's offset and, two cycles later, its steps.

    Where products `pass` as they are, these have one step and no offset.
    """
    c.section("The offset of a token, and the steps of its shift.")
    bits, steps_bits = SOLUTION["offset"], SOLUTION["steps"]
    offsets = c.memory("offsets", _groups(config), bits + steps_bits, style="distributed")
    row = concat(c.input("steps", steps_bits), c.input("offset", bits))
    offsets.write(ports.stored, row, ports.store)
    row = offsets.read(ports.offset_group, c.const(1, 1), "offset_row")
    offset = _only(c, row[:bits], "streaming_offset", ports.scaling)
    steps = c.delay(row[bits:], "steps1")
    if passes:
        steps = mux(ports.gating | ports.raising, c.const(1, steps_bits), steps)
    return offset, c.delay(steps, "steps2")


def _sum(
    c: Circuit,
    config: ArrayConfig,
    ports: _Ports,
    u: Signal,
    product: Signal,
    offset: Signal,
) -> Signal:
    """The rings of Σu and Σu², unless there are none so far; the latest sum of products."""
    widths = RowWidths.of(config)
    c.section("The rings of the running sums.")
    fresh, advance, unload = (c.input(name, 1) for name in ("fresh", "advance", "unload"))
    adds = named(~(fresh | ports.streaming | unload), "adds")

    def ring(
        name: str,
        width: int,
        own: Signal,
        adds: Signal,
        advance: Signal,
        other: Signal | None = None,
    ) -> Signal:
        """The first register of a ring; `other` is 0 while it has a sum to go on from."""
        parts = [c.register(f"{name}{n}", width) for n in range(_groups(config))]
        following = c.input(f"next_{name}", width)
        addend = (parts[-1] & adds.replicate(width)) | (following & unload.replicate(width))
        addend = addend | other.sext(width) if other is not None else addend
        parts[0].drive(fitted(own, width) + addend, advance)
        for earlier, later in pairwise(parts):
            later.drive(earlier, enable=advance)
        c.output(name, parts[-1])
        return parts[0]

    if config.softmax:
        early = delayed(c, u, "summed_u", _MULTIPLYING - 1)
        summed_u = c.register(
            "summed_value", u.width, reset=0, clear=ports.streaming & ~ports.valid
        )
        summed_u.drive(mux(ports.streaming, ports.snooped.sext(u.width), early))
        ring("total", widths.total, summed_u, ~(fresh | unload), c.input("total_advance", 1))
    else:
        ring("total", widths.total, delayed(c, u, "summed_u", _MULTIPLYING), adds, advance)
    # What is below the multiples of u·g only has the offset.
    return ring("squares", widths.squares, product, adds, advance, offset[MEAN_FRACTION:])


def _shift_sums(
    c: Circuit,
    config: ArrayConfig,
    ports: _Ports,
    total: Signal,
    offset: Signal,
    steps: Signal,
) -> None:
    """The port of normalised sums, 0 unless they stream."""
    c.section("The sum for the post unit.")
    bits = SOLUTION["offset"]
    low = c.delay(offset[:MEAN_FRACTION], "offset_low")
    amounts = [SHIFT_STEP * n for n in range(MAX_STEPS + 1)]
    sums = concat(total[: bits + 1 - MEAN_FRACTION], low)
    sums = named(sums.sext(max(bits + 1, amounts[-1] + NORMALIZED_BITS)), "unshifted")
    sums = choose(steps, [sums[amount : amount + NORMALIZED_BITS] for amount in amounts])
    if config.hides_keys:
        # So far below the largest one that there is no exponential.
        least = c.const(1 << (NORMALIZED_BITS - 1), NORMALIZED_BITS)
        sums = mux(c.input("absent_sums", 1), least, sums)
    c.output("sums", _only(c, sums, "normalized", ports.streaming))
