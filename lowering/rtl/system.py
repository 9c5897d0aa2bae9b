# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_system`: the array with AXI ports, registers, an interrupt and counters.

    s_axi          → registers ←→ counters
    s_axis_prog, s_axis_x → array → m_axis_y
                            array ← m_axi0, m_axi1, … where streams come from external memory

What happens is seen at the array's ports alone (docs/hardware-interface.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.decision import VARIANT_BITS
from daqkf.hw_targets.fields import IMAGE_WORD_BITS
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.hw_targets.status import LoadError, Phase
from daqkf.lowering.hdl.bundle import Bundle, inputs, outputs, part, ports
from daqkf.lowering.hdl.circuit import Circuit, Signal, named
from daqkf.lowering.hdl.counters import build_counters
from daqkf.lowering.hdl.fsm import Decoded, Enumeration
from daqkf.lowering.hdl.select import count_ones
from daqkf.lowering.rtl.array import build_array
from daqkf.lowering.rtl.frame import origin
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
from daqkf.lowering.rtl.stream_reader import read_port

TOP = "daqkf_system"

BURST_INCREMENTS = 0b01
"""The `arburst` of AXI4 for addresses that go up."""


def build_system(config: ArrayConfig) -> Circuit:
    """The system around the array of this config."""
    c = Circuit(TOP, "an array behind AXI4-Lite registers and AXI4-Stream.", origin(config))
    c.clock("aclk")
    reset = ~c.input("aresetn", 1)
    c.reset(reset)
    bus = inputs(c, "s_axi", INPUTS)
    soft_reset = c.wire("soft_reset", 1)
    array_reset = named(reset | soft_reset, "array_reset")
    streams = _Streams.place(c, config, reset, array_reset)
    array, phase = streams.array, streams.array["status_phase"]

    steps = _steps(c, config, streams, phase, array_reset)
    kept = [counter for counter in COUNTERS if counter.name in steps]
    widths = {counter.name: (counter.width, steps[counter.name].width) for counter in kept}
    c.section("The counters.")
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
    c.section("The registers.")
    status = {"phase": phase, "error": array["status_error"], "variant": _variant(c, config, array)}
    events = _events(c, config, streams, phase, soft_reset)
    registers = c.instance(
        "registers",
        build_register_file(registers_of(config), constants(config)),
        clk=c.clk,
        rst=reset,
        **bus,
        **ports("status", status),
        **{f"interrupt_status_{name}_set": signal for name, signal in events.items()},
        **_count_words(kept, counts),
    )
    soft_reset.drive(registers["control_soft_reset_value"])
    snapshot.drive(registers["control_snapshot_value"])
    clear.drive(registers["control_clear_value"])

    outputs(c, "s_axi", {name: registers[name] for name in OUTPUTS})
    streams.show(c)
    _show_memory(c, config, streams.array)
    c.section("The interrupt.")
    c.output("irq", c.delay(_interrupt(registers), "interrupt", reset=0))
    c.finish()
    return c


@dataclass(frozen=True)
class _Streams:
    """The array, and the handshakes of its streams as the outside sees them."""

    array: Bundle
    prog_ready: Signal
    x_data: Signal
    x_valid: Signal
    x_last: Signal
    x_ready: Signal
    y_valid: Signal
    y_ready: Signal
    beat: Signal
    """A row of activations is taken."""
    stored: Signal
    """The last row of a tile's results is."""

    @classmethod
    def place(
        cls, c: Circuit, config: ArrayConfig, reset: Signal, array_reset: Signal
    ) -> "_Streams":
        """The array behind its streams: nothing is taken in a reset, where it would be lost, and
        nothing offered. Only a `reset` of the whole system forgets what external memory owes."""
        c.section("The array and its streams, which are quiet in a reset.")
        prog = inputs(c, "s_axis_prog", {"tdata": IMAGE_WORD_BITS, "tvalid": 1})
        if config.double_buffered:
            prog = {**prog, "tlast": c.input("s_axis_prog_tlast", 1)}
        x = inputs(c, "s_axis_x", {"tdata": config.row_bits, "tvalid": 1, "tlast": 1})
        y_ready = c.input("m_axis_y_tready", 1)
        memory: dict[str, Signal] = {}
        if config.memory_bits:
            memory["memory_rst"] = reset
            for port in range(config.memory_ports):
                read = inputs(c, f"m_axi{port}", read_port(config))
                memory |= ports(f"mem{port}", read)
        array = c.instance(
            "array",
            build_array(config),
            clk=c.clk,
            rst=array_reset,
            **memory,
            **ports("prog", prog),
            x_tdata=x["tdata"],
            x_tvalid=x["tvalid"],
            y_tready=y_ready,
        )
        prog_ready = named(array["prog_tready"] & ~array_reset, "prog_tready")
        x_ready = named(array["x_tready"] & ~array_reset, "x_tready")
        y_valid = named(array["y_tvalid"] & ~array_reset, "y_tvalid")
        return cls(
            array=array,
            prog_ready=prog_ready,
            x_data=x["tdata"],
            x_valid=x["tvalid"],
            x_last=x["tlast"],
            x_ready=x_ready,
            y_valid=y_valid,
            y_ready=y_ready,
            beat=named(x["tvalid"] & x_ready, "x_beat"),
            stored=named(y_valid & y_ready & array["y_tlast"], "tile_done"),
        )

    def show(self, c: Circuit) -> None:
        """The streams' outputs."""
        c.output("s_axis_prog_tready", self.prog_ready)
        c.output("s_axis_x_tready", self.x_ready)
        c.output("m_axis_y_tdata", self.array["y_tdata"])
        c.output("m_axis_y_tvalid", self.y_valid)
        c.output("m_axis_y_tlast", self.array["y_tlast"])


def _show_memory(c: Circuit, config: ArrayConfig, array: Bundle) -> None:
    """The outputs of the memory ports: AXI4 managers that only read, in bursts of whole beats."""
    if not config.memory_bits:
        return
    c.section("The memory ports.")
    for port in range(config.memory_ports):
        constant = {
            "arsize": c.const((config.memory_bits // 8).bit_length() - 1, 3),
            "arburst": c.const(BURST_INCREMENTS, 2),
        }
        outputs(c, f"m_axi{port}", {**part(array, f"mem{port}"), **constant})


def _variant(c: Circuit, config: ArrayConfig, array: Bundle) -> Signal:
    return array["status_variant"] if config.dispatches else c.const(0, VARIANT_BITS)


def _events(
    c: Circuit, config: ArrayConfig, streams: _Streams, phase: Signal, soft_reset: Signal
) -> dict[str, Signal]:
    """What may cause an interrupt."""
    c.section("Events: what may cause an interrupt.")
    array, phases = streams.array, Enumeration(c, Phase)
    # While a tile is loaded, the array is ready for all but what follows its last beat.
    loading = phase.eq(phases[Phase.LOADING_ACTIVATIONS])
    complete = loading & ~array["x_tready"]
    arrived = c.delay(streams.beat, "x_arrived", reset=0) & ~soft_reset
    said_last = c.delay(streams.x_last, "x_said_last")
    before = Decoded(c, c.delay(phase, "phase_before", reset=Phase.EMPTY), "before", phases)
    now = Decoded(c, phase, "phase", phases)
    failed, of_memory = ~before.at(Phase.ERROR) & now.at(Phase.ERROR), c.const(0, 1)
    if config.memory_bits:
        of_memory = named(~array["status_error"].ult(LoadError.MEMORY), "error_of_memory")
    if config.double_buffered:
        program_loaded, program_refused = array["status_loaded"], array["status_refused"]
    else:
        program_loaded = before.at(Phase.LOADING_PROGRAM) & now.at(Phase.READY)
        program_refused = failed & ~of_memory
    return {
        "tile_done": streams.stored,
        "program_loaded": program_loaded,
        "program_refused": program_refused,
        "x_tlast_wrong": arrived & (said_last ^ complete),
        "memory_failed": failed & of_memory,
    }


def _steps(
    c: Circuit, config: ArrayConfig, streams: _Streams, phase: Signal, array_reset: Signal
) -> dict[str, Signal]:
    """What each counter adds in a cycle.

    A sum of many lanes takes two cycles; so does everything else, to be of one moment.
    """
    c.section("What the counters count.")
    phases, variant = Enumeration(c, Phase), _variant(c, config, streams.array)
    running, chaining = (phase.eq(phases[kind]) for kind in (Phase.RUNNING, Phase.CHAINING))
    steps: dict[str, Signal] = {
        "cycles": c.const(1, 1),
        "busy": running | chaining,
        "y_stalled": streams.y_valid & ~streams.y_ready,
        "x_stalled": streams.x_valid & ~streams.x_ready & ~array_reset,
        "x_starved": streams.x_ready & ~streams.x_valid,
        "tiles": streams.stored,
    }
    steps |= {
        f"variant_tiles_{number}": streams.stored & variant.eq(number)
        for number in range(variants_of(config))
    }
    steps = {name: c.delay(step, f"{name}_seen", reset=0) for name, step in steps.items()}
    data = streams.x_data
    lanes = [data[t * ACTIVATION_BITS : (t + 1) * ACTIVATION_BITS] for t in range(config.lanes)]
    flags = [
        c.delay(streams.beat & lane.eq(0), f"zero{t}", reset=0) for t, lane in enumerate(lanes)
    ]
    steps["zeros"] = count_ones(flags)
    return {name: c.delay(step, f"{name}_counted", reset=0) for name, step in steps.items()}


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
