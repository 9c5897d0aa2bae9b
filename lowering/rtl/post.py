# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_post`: one post-processing unit for all elements.

It polls the elements in turn, takes a finished output a few lanes at a time, and sends each
sum through bias → requantisation → saturation → table into a row of the result memory. One
group of lanes enters in each cycle and nothing after the entry ever waits.

In an array that gives wide results, those of a `wide` program go through it twice, and become two
rows: low bytes, then high ones (`hw_targets/results.py`). Where an array can find the largest of
them, a program may give those alone (`top_k`).

In an array that keeps partial sums, `adds` lets the sums go on from those of a program before, and
`keeps` leaves them for a later one in place of results. In one that keeps activations, those of a
kernel that `saves` join the sums as residuals. In one with a row unit this gives sums
in place of the elements while `streaming`, and, if it normalises, gets each value that leaves.
In one whose rows share exponents, sums are shifted by them (`exponents`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.hw_targets.words import table_row, table_rows, table_values
from daqkf.lowering.hdl.bundle import Bundle, inputs
from daqkf.lowering.hdl.circuit import Circuit, Signal, concat, mux, named
from daqkf.lowering.hdl.pipeline import delayed
from daqkf.lowering.hdl.select import choose, index_bits
from daqkf.lowering.rtl import exponents, partial, post_entry, requantize
from daqkf.lowering.rtl.exponents import Exponents
from daqkf.lowering.rtl.partial import Partial
from daqkf.lowering.rtl.post_entry import Entry, lanes_of
from daqkf.lowering.rtl.requantize import Factors, Wide
from daqkf.lowering.rtl.residual import (
    MULTIPLYING,
    READING,
    read_kept,
    subtract_residuals,
)
from daqkf.lowering.rtl.top_k import build_top_k


def build_post(config: ArrayConfig) -> Circuit:
    """The unit, with its parameter memory and its activation table."""
    c = Circuit("daqkf_post", "makes results of the elements' sums.")
    c.clock("clk")
    rst = c.input("rst", 1)
    c.reset(rst)
    wide_program = c.input("wide", 1) if config.wide_results else None
    start = c.input("start", 1)
    entry = Entry.poll(c, config, rst, start, wide_program)
    parameter = entry.parameters(c, config)
    sums = entry.sums(c, config)
    valid, finishing, part = entry.late(c, config)

    offsets = _Offsets.find(c, config, parameter, part)
    waiting = _offset_stages(config)
    if waiting:
        c.section("Everything else waits for the offsets.")
    valid = delayed(c, valid, "summed", waiting, reset=0)
    finishing = delayed(c, finishing, "summed_final", waiting)
    sums = delayed(c, sums, "summed_sums", waiting)
    parameter = {
        name: delayed(c, field, f"summed_{name}", waiting) for name, field in parameter.items()
    }
    lanes = [lane.sext(config.sum_width) for lane in lanes_of(c, config, sums)]
    shifts = None
    if config.row_exponents:
        shifts = Exponents(c, config, valid, entry.streaming)
        lanes = shifts.shift(lanes, parameter.pop("correction"))
        valid, finishing, parameter, offsets = _behind_shift(
            c, config, valid, finishing, parameter, offsets
        )
        waiting += exponents.stages(config)
    wide = Wide.delayed(c, wide_program, entry.high, post_entry.stages(config) + waiting)
    c.section("Sums with their offsets, negated.")
    negated = [
        c.delay(offset - lane, f"negated{v}")
        for v, (offset, lane) in enumerate(zip(offsets.lanes, lanes, strict=True))
    ]
    if offsets.partial is not None:
        keeps = c.input("keeps", 1)
        offsets.partial.write(c, negated, c.delay(valid & keeps, "keeping", reset=0))
        c.output("kept", c.delay(valid & finishing & keeps, "kept_last", reset=0))
        valid = valid & ~keeps
    factors = Factors.of_lanes(c, config, parameter)
    levels = [
        requantize.requantize(c, sums, own, wide, v)
        for v, (sums, own) in enumerate(zip(negated, factors, strict=True))
    ]
    values = _apply_function(c, config, levels, parameter)
    group = _group(c, config, values, parameter, wide, valid, finishing)
    if shifts is not None:
        shifts.join(values, group["valid"])
    if config.top_k:
        group = _largest(c, config, group, rst, start)
    _write_results(c, config, group)
    c.finish()
    return c


def _behind_shift(
    c: Circuit,
    config: ArrayConfig,
    valid: Signal,
    finishing: Signal,
    parameter: dict[str, Signal],
    offsets: "_Offsets",
) -> "tuple[Signal, Signal, dict[str, Signal], _Offsets]":
    """What goes along with sums, once these have been shifted."""
    c.section("Everything else waits for the shifts.")
    late = exponents.stages(config)
    shared = all(lane is offsets.lanes[0] for lane in offsets.lanes)
    lanes = [
        delayed(c, lane, f"shifted_offset{v}_", late)
        for v, lane in enumerate(offsets.lanes[:1] if shared else offsets.lanes)
    ]
    return (
        delayed(c, valid, "row_shifted", late, reset=0),
        delayed(c, finishing, "row_shifted_final", late),
        {name: delayed(c, field, f"shifted_{name}", late) for name, field in parameter.items()},
        replace(offsets, lanes=lanes * config.post_lanes if shared else lanes),
    )


def _offset_stages(config: ArrayConfig) -> int:
    """Cycles from the parameters to the offsets of the sums."""
    stages = partial.STAGES if config.accumulates else 0
    return max(stages, READING) + MULTIPLYING if config.residual_depth else stages


def rows_stages(config: ArrayConfig) -> int:
    """Cycles from `rows_valid` to the `rows_sums` that it is for."""
    return post_entry.stages(config) + _offset_stages(config)


def result_stages(config: ArrayConfig) -> int:
    """Cycles from `rows_sums` to the write of the results that they become."""
    return exponents.stages(config) + requantize.STAGES + 3


@dataclass(frozen=True)
class _Offsets:
    """What the lanes' sums are subtracted from, so that they are negated."""

    lanes: Sequence[Signal]
    partial: Partial | None

    @classmethod
    def find(
        cls, c: Circuit, config: ArrayConfig, parameter: dict[str, Signal], part: Signal
    ) -> "_Offsets":
        """The negated bias, with partial sums and residuals where the array has them.

        They come `_offset_stages` after the parameters, of which those that only they need are
        taken out.
        """
        bias = parameter.pop("negated_bias")
        lanes, late, kept_sums = [bias] * config.post_lanes, 0, None
        if config.accumulates:
            waiting = _offset_stages(config)
            kept_sums = Partial.read(c, config, parameter["address"], part, waiting)
            lanes = kept_sums.offsets(c, c.delay(bias, "offset_bias"))
            late = partial.STAGES - READING
        if config.residual_depth:
            c.section("Residuals: activations that were kept, times the channel's multiplier.")
            kept = read_kept(c, config, parameter["address"], part)
            if not late:
                lanes = [delayed(c, bias, "offset_bias", READING)] * config.post_lanes
            lanes = subtract_residuals(c, lanes, kept, parameter.pop("residual"), late)
        return cls(lanes, kept_sums)


def _apply_function(
    c: Circuit, config: ArrayConfig, levels: Sequence[Signal], parameter: dict[str, Signal]
) -> list[Signal]:
    """The activation table of each lane, that of the bank and of the kernel, two cycles later."""
    c.section("The activation function: a table for each lane.")
    chosen = [
        *([c.input("bank", 1)] if config.double_buffered else []),
        *([c.input("kernel", index_bits(config.kernels))] if config.chains else []),
    ]
    depth, width = config.banks * table_rows(config), table_row(config).width
    low = (table_values(config) - 1).bit_length()
    write = inputs(c, "table", {"address": index_bits(depth), "data": width, "write": 1})
    values: list[Signal] = []
    for v, level in enumerate(levels):
        memory = c.memory(f"table{v}", depth, width, style=config.table_memory)
        memory.write(*write.values())
        row = memory.read(concat(*chosen, level[low:]), c.const(1, 1), f"table_row{v}")
        if low:
            bytes_of = [row[n : n + ACTIVATION_BITS] for n in range(0, width, ACTIVATION_BITS)]
            row = choose(c.delay(level[:low], f"table_byte{v}"), bytes_of)
        values.append(row)
    if "plain" in parameter:
        plain = delayed(c, parameter["plain"], "plain", requantize.STAGES + 1)
        values = [
            mux(plain, c.delay(level, f"plain_level{v}"), value)
            for v, (level, value) in enumerate(zip(levels, values, strict=True))
        ]
    return [c.delay(value, f"value{v}") for v, value in enumerate(values)]


def _group(
    c: Circuit,
    config: ArrayConfig,
    values: Sequence[Signal],
    parameter: dict[str, Signal],
    wide: Wide | None,
    valid: Signal,
    finishing: Signal,
) -> Bundle:
    """The group of lanes that leaves if it is `valid`: its `values`, the `address` of the row that
    they are part of, and whether it is the `final` one there.

    Wide results have two rows, of which the second one has the high bytes.
    """
    c.section("Where values belong, of which a row is made.")
    latency = requantize.STAGES + 2
    valid = delayed(c, valid, "valid", latency, reset=0)
    finishing = delayed(c, finishing, "final", latency)
    address = delayed(c, parameter["address"], "address", latency)
    if wide:
        high = delayed(c, wide.high, "level_high", 3)
        number = [address[: address.width - 1]] if address.width > 1 else []
        twice = concat(*number, high)
        address = named(mux(wide.wide, twice, address), "row_address")
    value = concat(*reversed(values))
    if config.normalizes:
        exponent = delayed(c, parameter["exponent"], "exponent", latency)
        c.output("values_exponent", exponent)
        c.output("values", value)
        c.output("values_valid", valid)
        c.output("result_exponent", c.delay(exponent, "result_row_exponent"))
    return {"valid": valid, "final": finishing, "address": address, "values": value}


def _largest(c: Circuit, config: ArrayConfig, group: Bundle, rst: Signal, start: Signal) -> Bundle:
    """The group that leaves, which of a program of the `top_k` results is one of these."""
    c.section("The largest results of each lane, if a program gives no others.")
    chosen, address = c.input("top_k", 1), group["address"]
    unit = c.instance(
        "top_k",
        build_top_k(config),
        clk=c.clk,
        rst=rst,
        start=start,
        outputs=c.input("outputs", index_bits(config.result_depth + 1)),
        valid=group["valid"] & chosen,
        high=address[0],
        number=address[1:],
        values=group["values"],
    )
    return {name: mux(chosen, unit[f"found_{name}"], signal) for name, signal in group.items()}


def _write_results(c: Circuit, config: ArrayConfig, group: Bundle) -> None:
    """The row of T values, which fills from the top; after the last group, lane 0 is lowest."""
    c.section("The row of results: groups of lanes fill it from the top.")
    taken, valid = ACTIVATION_BITS * config.post_lanes, group["valid"]
    result = c.register("result", config.row_bits)
    kept = [result[taken:]] if taken < config.row_bits else []
    result.drive(concat(group["values"], *kept), enable=valid)
    c.output("result_write", c.delay(valid & group["final"], "result_valid", reset=0))
    c.output("result_address", c.delay(group["address"], "result_row"))
    c.output("result_data", result)
