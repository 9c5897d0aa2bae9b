# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_post`: one post-processing unit for all elements.

It polls the elements in turn, takes a finished output a few lanes at a time, and sends each
sum through bias → requantisation → saturation → table into a row of the result memory. One
group of lanes enters in each cycle and nothing after the entry ever waits.
"""

from dataclasses import dataclass

from daqkf.dialects.rpea import ArrayConfig
from daqkf.dialects.spaq.numerics import (
    ACTIVATION_BITS,
    ACTIVATION_MAX,
    ACTIVATION_MIN,
    MULTIPLIER_BITS,
    SHIFT_MAX,
)
from daqkf.lowering.circuit import Circuit, Signal, concat, mux
from daqkf.lowering.rtl.select import choose, index_bits, unpack

HALF = MULTIPLIER_BITS // 2
FINE = 3
"""Low bits of the shift that the second shifter stage handles."""


def build_post(config: ArrayConfig) -> Circuit:
    """The unit, with its parameter memory and its activation table."""
    c = Circuit("daqkf_post")
    c.clock("clk")
    c.reset(c.input("rst", 1))
    start = c.input("start", 1)
    slot_bits = index_bits(config.parameter_depth)
    slot_start = c.input("slot_start", slot_bits) if config.dispatches else c.const(0, slot_bits)
    full = [c.input(f"full{p}", 1) for p in range(config.pes)]
    width = config.accumulator_width
    sums = [c.input(f"sums{p}", width * config.post_lanes) for p in range(config.pes)]
    rows = config.parameter_depth * config.parameter_stride
    parameter_write = (
        c.input("parameters_address", index_bits(rows)),
        c.input("parameters_data", config.parameter_row.width),
        c.input("parameters_write", 1),
    )
    table_write = (
        c.input("table_address", index_bits(config.table_depth)),
        c.input("table_data", config.table_row.width),
        c.input("table_write", 1),
    )

    # Entry: the polled element, the group of lanes, and how many outputs it has given.
    groups = config.lanes // config.post_lanes
    polled = c.register("polled", index_bits(config.pes), reset=0)
    group = c.register("group", index_bits(groups), reset=0)
    taking = choose(polled, full)
    final = group.eq(groups - 1)
    done = taking & final
    group.drive(mux(done, c.const(0, group.width), group + 1), enable=taking)
    around = mux(polled.eq(config.pes - 1), c.const(0, polled.width), polled + 1)
    polled.drive(around, enable=done | ~taking)
    slots: list[Signal] = []
    for p in range(config.pes):
        chosen = polled.eq(p)
        slot = c.register(f"slot{p}", slot_bits, reset=0)
        following = mux(start, slot_start, slot + 1)
        slot.drive(following, enable=start | (done & chosen))
        slots.append(slot)
        c.output(f"take{p}", done & chosen)
    if groups > 1:
        c.output("group", group)

    parameters = c.memory("parameters", rows, config.parameter_row.width)
    parameters.write(*parameter_write)
    address = choose(polled, slots)
    if config.pes > 1:
        address = concat(address, polled[: (config.parameter_stride - 1).bit_length()])
    parameter = unpack(config.parameter_row, parameters.read(address, taking, "parameter"))

    valid = c.delay(taking, "entered", reset=0)
    finishing = c.delay(final, "entered_final")
    entered = c.delay(choose(polled, sums), "entered_sums")
    lanes = [entered[width * v : width * (v + 1)] for v in range(config.post_lanes)]

    table = [
        c.memory(f"table{v}", config.table_depth, config.table_row.width)
        for v in range(config.post_lanes)
    ]
    for memory in table:
        memory.write(*table_write)
    factors = _Factors.delayed(c, parameter)
    levels = [_requantize(c, config, lane, factors, v) for v, lane in enumerate(lanes)]
    values = [
        memory.read(level, c.const(1, 1), f"value{v}")
        for v, (memory, level) in enumerate(zip(table, levels, strict=True))
    ]

    # The row of T values fills from the top; after the last group, lane 0 is lowest.
    latency = _REQUANTIZE_STAGES + 1
    valid = _delayed(c, valid, "valid", latency, reset=0)
    finishing = _delayed(c, finishing, "final", latency)
    address = _delayed(c, parameter["address"], "address", latency)
    taken = ACTIVATION_BITS * config.post_lanes
    value = concat(*reversed(values))
    result = c.register("result", config.row_bits)
    kept = [result[taken:]] if taken < config.row_bits else []
    result.drive(concat(value, *kept), enable=valid)
    c.output("result_write", c.delay(valid & finishing, "result_valid", reset=0))
    c.output("result_address", c.delay(address, "result_row"))
    c.output("result_data", result)
    c.finish()
    return c


_REQUANTIZE_STAGES = 7


@dataclass(frozen=True)
class _Factors:
    """The parameters of an output channel, each delayed to the stages that read it."""

    bias: Signal
    multiplier: list[Signal]
    """Of stages 1, 2 and 3."""
    coarse_shift: Signal
    fine_shift: Signal

    @classmethod
    def delayed(cls, c: Circuit, parameter: dict[str, Signal]) -> "_Factors":
        multiplier = [parameter["multiplier"]]
        for stage in range(1, 4):
            multiplier.append(c.delay(multiplier[-1], f"multiplier{stage}"))
        shift = _delayed(c, parameter["shift_minus_1"], "shift", 4)
        fine_shift = c.delay(shift[:FINE], "fine_shift")
        return cls(parameter["bias"], multiplier[1:], shift[FINE:], fine_shift)


def _requantize(c: Circuit, config: ArrayConfig, lane: Signal, factors: _Factors, v: int) -> Signal:
    """clamp(((sum + bias)·M + 2^(S-1)) >> S), in `_REQUANTIZE_STAGES` stages.

    Computed as ((((sum + bias)·M) >> (S-1)) + 1) >> 1, which rounds the same.
    """
    width = config.sum_width
    multiplier, _, multiplier_later = factors.multiplier
    total = c.delay(lane.sext(width) + factors.bias, f"total{v}")

    # Flipping the sign bit adds 2^(width-1), so that the multiplier is an unsigned one.
    biased = concat(~total[width - 1], total[: width - 1])
    halves = [
        c.delay(biased.zext(width + HALF) * part.zext(width + HALF), f"product_{name}{v}")
        for name, part in (("low", multiplier[:HALF]), ("high", multiplier[HALF:]))
    ]

    wide = width + MULTIPLIER_BITS
    low = halves[0].zext(wide)
    product = c.delay(low + concat(halves[1], c.const(0, HALF)), f"product{v}")

    # Take the 2^(width-1)·M out again; the lower bits have no part in it.
    top = product[width - 1 :] - multiplier_later.zext(MULTIPLIER_BITS + 1)
    product = c.delay(concat(top, product[: width - 1]), f"signed_product{v}")

    coarse = [
        product[min(amount, wide - 1) :].sext(wide) for amount in range(0, SHIFT_MAX, 1 << FINE)
    ]
    product = c.delay(choose(factors.coarse_shift, coarse), f"shifted_coarse{v}")
    fine = [product[amount:].sext(wide) for amount in range(1 << FINE)]
    product = c.delay(choose(factors.fine_shift, fine), f"shifted{v}")

    # Halve with halves rounded up, then saturate.
    bits = ACTIVATION_BITS + 1
    rounded = product[1:].sext(wide) + product[0].zext(wide)
    high = rounded[bits - 2 :]
    fits = high.all() | ~high.any()
    saturated = mux(
        rounded[wide - 1],
        c.const(ACTIVATION_MIN, ACTIVATION_BITS),
        c.const(ACTIVATION_MAX, ACTIVATION_BITS),
    )
    return c.delay(mux(fits, rounded[:ACTIVATION_BITS], saturated), f"level{v}")


def _delayed(
    c: Circuit, signal: Signal, name: str, stages: int, reset: int | None = None
) -> Signal:
    for stage in range(stages):
        signal = c.delay(signal, f"{name}{stage + 1}", reset=reset)
    return signal
