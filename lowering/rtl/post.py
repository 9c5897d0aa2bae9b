# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_post`: one post-processing unit for all elements.

It polls the elements in turn, takes a finished output a few lanes at a time, and sends each
sum through bias → requantisation → saturation → table into a row of the result memory. One
group of lanes enters in each cycle and nothing after the entry ever waits.

In an array that keeps partial sums, `adds` lets the sums go on from those of a program before, and
`keeps` leaves them for a later one in place of results. In one that keeps activations, those of a
kernel that `saves` join the sums as residuals. In one with a row unit this gives sums
in place of the elements while `streaming`, and, if it normalises, gets each value that leaves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from daqkf.dialects.rpea import ArrayConfig
from daqkf.hw_targets.numerics import (
    ACTIVATION_BITS,
    MULTIPLIER_BITS,
    NORMALIZED_BITS,
    SHIFT_MAX,
)
from daqkf.hw_targets.words import parameter_row, table_row
from daqkf.lowering.hdl.circuit import Circuit, Memory, Signal, concat, mux
from daqkf.lowering.hdl.pipeline import delayed
from daqkf.lowering.hdl.select import choose, index_bits, unpack
from daqkf.lowering.rtl.residual import (
    MULTIPLYING,
    READING,
    read_kept,
    subtract_residuals,
)

FINE = 3
"""Low bits of the shift that the second shifter stage handles."""


def build_post(config: ArrayConfig) -> Circuit:
    """The unit, with its parameter memory and its activation table."""
    c = Circuit("daqkf_post")
    c.clock("clk")
    rst = c.input("rst", 1)
    c.reset(rst)
    start = c.input("start", 1)
    slot_bits = index_bits(config.banks * config.parameter_depth)
    slot_start = c.input("slot_start", slot_bits) if config.relocates else c.const(0, slot_bits)
    # Which of the activation tables: that of the bank and of the kernel.
    chosen_table = [
        *([c.input("bank", 1)] if config.double_buffered else []),
        *([c.input("kernel", index_bits(config.kernels))] if config.chains else []),
    ]
    full = [c.input(f"full{p}", 1) for p in range(config.pes)]
    width = config.accumulator_width
    sums = [c.input(f"sums{p}", width * config.post_lanes) for p in range(config.pes)]
    rows = config.banks * config.parameter_depth * config.parameter_stride
    parameter_write = (
        c.input("parameters_address", index_bits(rows)),
        c.input("parameters_data", parameter_row(config).width),
        c.input("parameters_write", 1),
    )
    table_write = (
        c.input("table_address", index_bits(config.banks * config.table_depth)),
        c.input("table_data", table_row(config).width),
        c.input("table_write", 1),
    )

    # Entry: the polled element, the group of lanes, and how many outputs it has given.
    groups = config.lanes // config.post_lanes
    turns, rewind, streaming = config.pes, None, c.const(0, 1)
    if config.has_rows:
        # The parameters of its sums follow one another, through the padding of slots too.
        turns, rewind, streaming = config.parameter_stride, rst | start, c.input("streaming", 1)
    polled = c.register("polled", index_bits(turns), reset=0, clear=rewind)
    group = c.register("group", index_bits(groups), reset=0)
    taking = choose(polled, full)
    final_turn = polled.eq(config.pes - 1)
    if config.has_rows:
        taking = taking | c.input("rows_valid", 1)
        if turns > config.pes:
            final_turn = final_turn & ~streaming
    final = group.eq(groups - 1)
    done = taking & final
    group.drive(mux(done, c.const(0, group.width), group + 1), enable=taking)
    around = mux(final_turn, c.const(0, polled.width), polled + 1)
    polled.drive(around, enable=done | ~(taking | streaming))
    slots: list[Signal] = []
    for p in range(turns):
        chosen = polled.eq(p)
        slot = c.register(f"slot{p}", slot_bits, reset=0)
        following = mux(start, slot_start, slot + 1)
        slot.drive(following, enable=start | (done & chosen))
        slots.append(slot)
        if p < config.pes:
            c.output(f"take{p}", done & chosen)
    if groups > 1:
        c.output("group", group)

    parameters = c.memory("parameters", rows, parameter_row(config).width)
    parameters.write(*parameter_write)
    address = choose(polled, slots)
    if config.pes > 1:
        address = concat(address, polled[: (config.parameter_stride - 1).bit_length()])
    row = c.delay(parameters.read(address, taking, "parameter_row"), "parameter")
    parameter = unpack(parameter_row(config), row)

    valid = delayed(c, taking, "entered", _ENTRY_STAGES, reset=0)
    finishing = delayed(c, final, "entered_final", _ENTRY_STAGES)
    polled_sums = c.delay(choose(polled, sums), "polled_sums")
    # The row unit's sums take the place of zeros.
    entered = c.register(
        "entered_sums",
        polled_sums.width,
        reset=0 if config.has_rows else None,
        clear=streaming if config.has_rows else None,
    )
    entered.drive(polled_sums)

    # The offset of each lane may take a while; everything else waits for it.
    waiting = _offset_stages(config)
    bias = parameter.pop("negated_bias")
    offsets, late = [bias] * config.post_lanes, 0
    part = delayed(c, group, "part", _ENTRY_STAGES)
    partial: _Partial | None = None
    if config.accumulates:
        partial = _Partial.read(c, config, parameter["address"], part, waiting)
        offsets = partial.offsets(c, c.delay(bias, "offset_bias"))
        late = _PARTIAL_STAGES - READING
    if config.residual_depth:
        kept = read_kept(c, config, parameter["address"], part)
        if not late:
            offsets = [delayed(c, bias, "offset_bias", READING)] * config.post_lanes
        offsets = subtract_residuals(c, offsets, kept, parameter.pop("residual"), late)
    valid = delayed(c, valid, "summed", waiting, reset=0)
    finishing = delayed(c, finishing, "summed_final", waiting)
    entered = delayed(c, entered, "summed_sums", waiting)
    parameter = {
        name: delayed(c, field, f"summed_{name}", waiting) for name, field in parameter.items()
    }
    lanes = [entered[width * v : width * (v + 1)] for v in range(config.post_lanes)]
    if config.has_rows:
        bits = NORMALIZED_BITS
        rows_sums = c.input("rows_sums", bits * config.post_lanes)
        lanes = [
            lane | rows_sums[bits * v : bits * (v + 1)].sext(width) for v, lane in enumerate(lanes)
        ]

    table = [
        c.memory(f"table{v}", config.banks * config.table_depth, table_row(config).width)
        for v in range(config.post_lanes)
    ]
    for memory in table:
        memory.write(*table_write)
    factors = _Factors.delayed(c, parameter)
    negated = [
        c.delay(offset - lane.sext(config.sum_width), f"negated{v}")
        for v, (offset, lane) in enumerate(zip(offsets, lanes, strict=True))
    ]
    if partial is not None:
        keeps = c.input("keeps", 1)
        partial.write(c, negated, c.delay(valid & keeps, "keeping", reset=0))
        c.output("kept", c.delay(valid & finishing & keeps, "kept_last", reset=0))
        valid = valid & ~keeps
    levels = [_requantize(c, sums, factors, v) for v, sums in enumerate(negated)]
    values = [
        memory.read(concat(*chosen_table, level), c.const(1, 1), f"table_row{v}")
        for v, (memory, level) in enumerate(zip(table, levels, strict=True))
    ]
    if "plain" in parameter:
        plain = delayed(c, parameter["plain"], "plain", _REQUANTIZE_STAGES + 1)
        values = [
            mux(plain, c.delay(level, f"plain_level{v}"), value)
            for v, (level, value) in enumerate(zip(levels, values, strict=True))
        ]
    values = [c.delay(value, f"value{v}") for v, value in enumerate(values)]

    # The row of T values fills from the top; after the last group, lane 0 is lowest.
    latency = _REQUANTIZE_STAGES + 2
    valid = delayed(c, valid, "valid", latency, reset=0)
    finishing = delayed(c, finishing, "final", latency)
    address = delayed(c, parameter["address"], "address", latency)
    taken = ACTIVATION_BITS * config.post_lanes
    value = concat(*reversed(values))
    if config.normalizes:
        exponent = delayed(c, parameter["exponent"], "exponent", latency)
        c.output("values_exponent", exponent)
        c.output("values", value)
        c.output("values_valid", valid)
        c.output("result_exponent", c.delay(exponent, "result_row_exponent"))
    result = c.register("result", config.row_bits)
    kept = [result[taken:]] if taken < config.row_bits else []
    result.drive(concat(value, *kept), enable=valid)
    c.output("result_write", c.delay(valid & finishing, "result_valid", reset=0))
    c.output("result_address", c.delay(address, "result_row"))
    c.output("result_data", result)
    c.finish()
    return c


_ENTRY_STAGES = 2
"""From a group of lanes that is taken to its sums, beside which there are the parameters."""
_PARTIAL_STAGES = 3
"""From a parameter row to the sums' offsets: the memory, the register behind it, an addition."""


def _offset_stages(config: ArrayConfig) -> int:
    """Cycles from the parameters to the offsets of the sums."""
    stages = _PARTIAL_STAGES if config.accumulates else 0
    return max(stages, READING) + MULTIPLYING if config.residual_depth else stages


def rows_stages(config: ArrayConfig) -> int:
    """Cycles from `rows_valid` to the `rows_sums` that it is for."""
    return _ENTRY_STAGES + _offset_stages(config)


def result_stages() -> int:
    """Cycles from `rows_sums` to the write of the results that they become."""
    return _REQUANTIZE_STAGES + 3


@dataclass(frozen=True)
class _Partial:
    """The memory of negated partial sums, a row for each group of lanes of each output.

    The outputs of a tile are `base` and what follows it.
    """

    memory: Memory
    place: Signal
    rows: Signal
    width: int

    @classmethod
    def read(
        cls, c: Circuit, config: ArrayConfig, address: Signal, group: Signal, waiting: int
    ) -> "_Partial":
        bits, groups = index_bits(config.partial_depth), config.lanes // config.post_lanes
        base = c.input("base", bits)
        wide = max(bits, address.width)
        output = (base.zext(wide) + address.zext(wide))[:bits]
        place = concat(output, group) if groups > 1 else output
        width = config.sum_width * config.post_lanes
        memory = c.memory("partial", config.partial_depth << group_bits(groups), width)
        row = c.delay(memory.read(place, c.const(1, 1), "partial_row"), "partial_sums")
        return cls(memory, delayed(c, place, "partial_place", 1 + waiting), row, width)

    def offsets(self, c: Circuit, bias: Signal) -> list[Signal]:
        """What each lane's sum is subtracted from."""
        bias, adds = c.delay(bias, "offset_of_all"), c.input("adds", 1)
        lanes = [self.rows[low : low + bias.width] for low in range(0, self.width, bias.width)]
        return [
            c.delay(bias + (lane & adds.replicate(bias.width)), f"offset{v}")
            for v, lane in enumerate(lanes)
        ]

    def write(self, c: Circuit, negated: Sequence[Signal], enable: Signal) -> None:
        """Keep the negated sums of a group."""
        self.memory.write(self.place, concat(*reversed(negated)), enable)


def group_bits(groups: int) -> int:
    """Address bits that tell groups of lanes apart."""
    return (groups - 1).bit_length()


_STAGE_BITS = 4
"""Bits of the multiplier that a stage takes, two in a row."""
_PRODUCT_STAGES = MULTIPLIER_BITS // _STAGE_BITS
_REQUANTIZE_STAGES = 1 + 1 + _PRODUCT_STAGES + 3
_VALUE_BITS = ACTIVATION_BITS + 1
"""A result before its last halving, which rounds."""
_WINDOW_BITS = _VALUE_BITS + (1 << FINE)
"""What the fine shift can see of a product, with a bit that says the sign of the rest."""


@dataclass(frozen=True)
class _Factors:
    """The parameters of an output channel, each delayed to the stages that read it."""

    multiplier: list[Signal]
    """Of each stage of the product, its bits."""
    coarse_shift: Signal
    fine_shift: Signal

    @classmethod
    def delayed(cls, c: Circuit, parameter: dict[str, Signal]) -> "_Factors":
        bits = c.delay(parameter["multiplier"], "multiplier")
        multiplier: list[Signal] = []
        for stage in range(_PRODUCT_STAGES):
            bits = c.delay(bits, f"multiplier{stage}")
            multiplier.append(bits[:_STAGE_BITS])
            bits = bits[_STAGE_BITS:] if bits.width > _STAGE_BITS else bits
        shift = delayed(c, parameter["shift_minus_1"], "shift", 2 + _PRODUCT_STAGES)
        fine_shift = c.delay(shift[:FINE], "fine_shift")
        return cls(multiplier, shift[FINE:], fine_shift)


def _requantize(c: Circuit, negated: Signal, factors: _Factors, v: int) -> Signal:
    """clamp(((sum + bias)·M + 2^(S-1)) >> S) of what is negated, in `_REQUANTIZE_STAGES` stages,
    of which the negation has been the first.

    Computed as ((((sum + bias)·M) >> (S-1)) + 1) >> 1, which rounds the same.
    """
    product = _product(c, negated, factors.multiplier, v)

    # The coarse shift leaves a window; what it leaves out has to be the sign all over.
    wide = product.width
    sign = product[wide - 1]
    windows: list[Signal] = []
    beyond: list[Signal] = []
    for amount in range(0, SHIFT_MAX, 1 << FINE):
        shifted = product[min(amount, wide - 1) :]
        shifted = shifted.sext(max(_WINDOW_BITS, shifted.width))
        windows.append(shifted[:_WINDOW_BITS])
        beyond.append(_differs(shifted[_WINDOW_BITS - 1 :]))
    window = c.delay(choose(factors.coarse_shift, windows), f"window{v}")
    over = c.delay(choose(factors.coarse_shift, beyond), f"beyond{v}")
    sign = c.delay(sign, f"window_sign{v}")

    # So does the fine one.
    amounts = range(1 << FINE)
    value = choose(factors.fine_shift, [window[n : n + _VALUE_BITS] for n in amounts])
    over = over | choose(
        factors.fine_shift, [_differs(window[n + _VALUE_BITS - 1 :]) for n in amounts]
    )
    value = c.delay(value, f"value{v}_doubled")
    over = c.delay(over, f"over{v}")
    sign = c.delay(sign, f"value_sign{v}")

    # Halve with halves rounded up, unless that or what was left out saturates.
    most = ~sign & value[:ACTIVATION_BITS].all()
    limit = concat(sign, (~sign).replicate(ACTIVATION_BITS - 1))
    up = value[0] & ~over & ~most
    level = mux(over, limit, value[1:]) + up.zext(ACTIVATION_BITS)
    return c.delay(level, f"level{v}")


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
    double = concat(negated[: width - 1], c.const(0, 1))
    triple = c.delay(negated + double, f"triple{v}")
    negated = c.delay(negated[: width - 2], f"factor{v}")
    upper = c.const(0, width)
    lower: list[Signal] = []
    for stage, bits in enumerate(multiplier):
        once = negated.sext(width)
        double = concat(once[: width - 1], c.const(0, 1))
        for row in range(0, bits.width, 2):
            options = [c.const(0, width), once, double, triple]
            upper = upper - choose(bits[row : row + 2], options)
            lower.append(upper[:2])
            upper = upper[2:].sext(width)
        upper = c.delay(upper[: width - 2], f"product{v}_{stage}").sext(width)
        lower = [c.delay(concat(*reversed(lower)), f"product{v}_{stage}_low")]
        if stage + 1 < len(multiplier):
            negated = c.delay(negated, f"factor{v}_{stage}")
            triple = c.delay(triple, f"triple{v}_{stage}")
    return concat(upper[: width - 2], *lower)
