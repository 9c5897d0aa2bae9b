# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_system`: the array with AXI ports, registers, an interrupt and counters.

    s_axi          → registers ←→ counters
    s_axis_prog, s_axis_x → array → m_axis_y

What happens is seen at the array's ports alone (docs/hardware-interface.md).
"""

from collections.abc import Mapping
from functools import reduce

from daqkf.dialects.rpea import ArrayConfig
from daqkf.hw_targets.decision import VARIANT_BITS
from daqkf.hw_targets.fields import IMAGE_WORD_BITS
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.hw_targets.status import Phase
from daqkf.lowering.hdl.circuit import Circuit, Signal, named
from daqkf.lowering.hdl.counters import build_counters
from daqkf.lowering.hdl.select import count_ones
from daqkf.lowering.rtl.array import build_array
from daqkf.lowering.rtl.register_file import INPUTS, OUTPUTS, build_register_file, port_of
from daqkf.lowering.rtl.registers import (
    COUNTERS,
    REGISTER_BITS,
    Counter,
    constants,
    register,
    registers_of,
    variants_of,
)

TOP = "daqkf_system"


def build_system(config: ArrayConfig) -> Circuit:
    """The system around the array of this config."""
    c = Circuit(TOP)
    c.clock("aclk")
    reset = ~c.input("aresetn", 1)
    c.reset(reset)
    bus = {name: c.input(f"s_axi_{name}", width) for name, width in INPUTS.items()}
    prog_tdata = c.input("s_axis_prog_tdata", IMAGE_WORD_BITS)
    prog_tvalid = c.input("s_axis_prog_tvalid", 1)
    prog_tlast = {"prog_tlast": c.input("s_axis_prog_tlast", 1)} if config.double_buffered else {}
    x_tdata, x_tvalid = c.input("s_axis_x_tdata", config.row_bits), c.input("s_axis_x_tvalid", 1)
    x_tlast = c.input("s_axis_x_tlast", 1)
    y_tready = c.input("m_axis_y_tready", 1)

    soft_reset = c.wire("soft_reset", 1)
    array_reset = named(reset | soft_reset, "array_reset")
    array = c.instance(
        "array",
        build_array(config),
        clk=c.clk,
        rst=array_reset,
        prog_tdata=prog_tdata,
        prog_tvalid=prog_tvalid,
        **prog_tlast,
        x_tdata=x_tdata,
        x_tvalid=x_tvalid,
        y_tready=y_tready,
    )
    # Nothing is taken in a reset, where it would be lost, and nothing offered.
    prog_tready = named(array["prog_tready"] & ~array_reset, "prog_tready")
    x_tready = named(array["x_tready"] & ~array_reset, "x_tready")
    y_tvalid = named(array["y_tvalid"] & ~array_reset, "y_tvalid")

    phase = array["status_phase"]
    stored = named(y_tvalid & y_tready & array["y_tlast"], "tile_done")
    beat = named(x_tvalid & x_tready, "x_beat")
    # While a tile is loaded, the array is ready for all but what follows its last beat.
    complete = phase.eq(Phase.LOADING_ACTIVATIONS) & ~array["x_tready"]
    arrived = c.delay(beat, "x_arrived", reset=0) & ~soft_reset
    said_last = c.delay(x_tlast, "x_said_last")
    if config.double_buffered:
        program_loaded, program_refused = array["status_loaded"], array["status_refused"]
    else:
        before = c.delay(phase, "phase_before", reset=Phase.EMPTY)
        program_loaded = before.eq(Phase.LOADING_PROGRAM) & phase.eq(Phase.READY)
        program_refused = before.ne(Phase.ERROR) & phase.eq(Phase.ERROR)
    events = {
        "tile_done": stored,
        "program_loaded": program_loaded,
        "program_refused": program_refused,
        "x_tlast_wrong": arrived & (said_last ^ complete),
    }

    variant = array["status_variant"] if config.dispatches else c.const(0, VARIANT_BITS)
    steps: dict[str, Signal] = {
        "cycles": c.const(1, 1),
        "busy": phase.eq(Phase.RUNNING) | phase.eq(Phase.CHAINING),
        "y_stalled": y_tvalid & ~y_tready,
        "x_stalled": x_tvalid & ~x_tready & ~array_reset,
        "x_starved": x_tready & ~x_tvalid,
        "tiles": stored,
    }
    steps |= {
        f"variant_tiles_{number}": stored & variant.eq(number)
        for number in range(variants_of(config))
    }
    # A sum of many lanes takes two cycles; so does everything else, to be of one moment.
    steps = {name: c.delay(step, f"{name}_seen", reset=0) for name, step in steps.items()}
    lanes = [x_tdata[t * ACTIVATION_BITS : (t + 1) * ACTIVATION_BITS] for t in range(config.lanes)]
    flags = [c.delay(beat & lane.eq(0), f"zero{t}", reset=0) for t, lane in enumerate(lanes)]
    steps["zeros"] = count_ones(flags)
    steps = {name: c.delay(step, f"{name}_counted", reset=0) for name, step in steps.items()}

    kept = [counter for counter in COUNTERS if counter.name in steps]
    widths = {counter.name: (counter.width, steps[counter.name].width) for counter in kept}
    snapshot, clear = c.wire("snapshot", 1), c.wire("clear", 1)
    counts = c.instance(
        "counters",
        build_counters(widths),
        clk=c.clk,
        rst=reset,
        snapshot=snapshot,
        clear=clear,
        **{f"{name}_step": step for name, step in steps.items()},
    )
    status = {"phase": phase, "error": array["status_error"], "variant": variant}
    registers = c.instance(
        "registers",
        build_register_file(registers_of(config), constants(config)),
        clk=c.clk,
        rst=reset,
        **bus,
        **{f"status_{name}": signal for name, signal in status.items()},
        **{f"interrupt_status_{name}_set": signal for name, signal in events.items()},
        **_count_words(kept, counts),
    )
    soft_reset.drive(registers["control_soft_reset_value"])
    snapshot.drive(registers["control_snapshot_value"])
    clear.drive(registers["control_clear_value"])

    for name in OUTPUTS:
        c.output(f"s_axi_{name}", registers[name])
    c.output("s_axis_prog_tready", prog_tready)
    c.output("s_axis_x_tready", x_tready)
    c.output("m_axis_y_tdata", array["y_tdata"])
    c.output("m_axis_y_tvalid", y_tvalid)
    c.output("m_axis_y_tlast", array["y_tlast"])
    c.output("irq", c.delay(_interrupt(registers), "interrupt", reset=0))
    c.finish()
    return c


def _interrupt(registers: Mapping[str, Signal]) -> Signal:
    """Whether an event is enabled and has not been cleared."""
    enable, status = register("interrupt_enable"), register("interrupt_status")
    enabled = [registers[f"{port_of(enable, field)}_value"] for field in enable.fields]
    happened = [registers[f"{port_of(status, field)}_value"] for field in status.fields]
    return reduce(Signal.__or__, (a & b for a, b in zip(enabled, happened, strict=True)))


def _count_words(kept: list[Counter], counts: Mapping[str, Signal]) -> dict[str, Signal]:
    """The counters' registers, by port."""
    words: dict[str, Signal] = {}
    for counter in kept:
        for index, entry in enumerate(counter.registers(0)):
            low = REGISTER_BITS * index
            (field,) = entry.fields
            words[port_of(entry, field)] = counts[counter.name][low : low + REGISTER_BITS]
    return words
