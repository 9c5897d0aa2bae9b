# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_system`: the array with AXI ports, registers, an interrupt and counters.

    s_axi          → registers ←→ counters
    s_axis_prog, s_axis_x → array → m_axis_y
                            array ← m_axi0, m_axi1, … where streams come from external memory

A queue takes programs and activations over m_axi_data, and writes results there, in place of the
three streams.

What happens is seen at the array's ports alone (docs/hardware-interface.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.decision import VARIANT_BITS
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.hw_targets.status import LoadError, Phase
from daqkf.lowering.hdl.bundle import Bundle, inputs, outputs, part, ports
from daqkf.lowering.hdl.circuit import Circuit, Signal, Wire, concat, named
from daqkf.lowering.hdl.counters import build_counters
from daqkf.lowering.hdl.fsm import Decoded, Enumeration
from daqkf.lowering.hdl.select import count_ones
from daqkf.lowering.rtl.array import build_array
from daqkf.lowering.rtl.frame import origin
from daqkf.lowering.rtl.queue import ARRAY, build_queue, memory_port
from daqkf.lowering.rtl.register_file import INPUTS, OUTPUTS, build_register_file, port_of
from daqkf.lowering.rtl.registers import (
    COUNTERS,
    REGISTER_BITS,
    Access,
    Counter,
    constants,
    fields_of,
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
    control = _queue_control(c, config)
    streams = _Streams.place(c, config, reset, array_reset, control)
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
        **ports("queue_status", part(streams.queue, "status")),
    )
    for name, wire in control.items():
        wire.drive(registers[f"queue_{name}_value"])
    soft_reset.drive(registers["control_soft_reset_value"])
    snapshot.drive(registers["control_snapshot_value"])
    clear.drive(registers["control_clear_value"])

    outputs(c, "s_axi", {name: registers[name] for name in OUTPUTS})
    streams.show(c, config)
    _show_memory(c, config, streams.array)
    c.section("The interrupt.")
    c.output("irq", c.delay(_interrupt(config, registers), "interrupt", reset=0))
    c.finish()
    return c


def _queue_control(c: Circuit, config: ArrayConfig) -> dict[str, Wire]:
    """What registers tell a queue, by register and field."""
    if not config.queue:
        return {}
    return {
        port: c.wire(port, field.width)
        for entry in registers_of(config)
        for field in entry.fields
        if entry.queue and field.access is not Access.READ_ONLY
        for port in [port_of(entry, field).removeprefix("queue_")]
    }


@dataclass(frozen=True)
class _Streams:
    """The array, and the handshakes of its streams as the outside sees them."""

    array: Bundle
    prog_ready: Signal
    x_data: Signal
    x_valid: Signal
    x_last: Signal | None
    """What the outside says of a tile's end; a queue says nothing."""
    x_ready: Signal
    y_valid: Signal
    y_ready: Signal
    beat: Signal
    """A row of activations is taken."""
    stored: Signal
    """The last row of a tile's results is."""
    queue: Bundle
    """The outputs of a queue that is the outside."""

    @classmethod
    def place(
        cls,
        c: Circuit,
        config: ArrayConfig,
        reset: Signal,
        array_reset: Signal,
        control: Mapping[str, Signal],
    ) -> "_Streams":
        """The array behind its streams: nothing is taken in a reset, where it would be lost, and
        nothing offered. Only a `reset` of the whole system forgets what external memory owes."""
        c.section("The array and its streams, which are quiet in a reset.")
        given = _from_queue(c, config) if config.queue else _from_outside(c, config)
        prog, x, y_ready = part(given, "prog"), part(given, "x"), given["y_tready"]
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
        taken = {"prog_tready": prog_ready, "x_tready": x_ready, "y_tvalid": y_valid}
        queue: Bundle = {}
        if config.queue:
            queue = _place_queue(c, config, (reset, array_reset), control, {**array, **taken})
            for name, wire in given.items():
                assert isinstance(wire, Wire)
                wire.drive(queue[f"array_{name}"])
        return cls(
            array=array,
            prog_ready=prog_ready,
            x_data=x["tdata"],
            x_valid=x["tvalid"],
            x_last=x.get("tlast"),
            x_ready=x_ready,
            y_valid=y_valid,
            y_ready=y_ready,
            beat=named(x["tvalid"] & x_ready, "x_beat"),
            stored=named(y_valid & y_ready & array["y_tlast"], "tile_done"),
            queue=queue,
        )

    def show(self, c: Circuit, config: ArrayConfig) -> None:
        """The streams' outputs, or the queue's."""
        if config.queue:
            # What memory answers is taken at once, which an interconnect wants to be told.
            ready = {name: c.const(1, 1) for name in ("rready", "bready")}
            bursts = _bursts(c, config, "ar", "aw")
            outputs(c, "m_axi_data", {**part(self.queue, "axi"), **bursts, **ready})
            return
        c.output("s_axis_prog_tready", self.prog_ready)
        c.output("s_axis_x_tready", self.x_ready)
        c.output("m_axis_y_tdata", self.array["y_tdata"])
        c.output("m_axis_y_tvalid", self.y_valid)
        c.output("m_axis_y_tlast", self.array["y_tlast"])


def _from_outside(c: Circuit, config: ArrayConfig) -> Bundle:
    """What streams bring."""
    prog = inputs(c, "s_axis_prog", {"tdata": config.program_bits, "tvalid": 1})
    if config.double_buffered:
        prog = {**prog, "tlast": c.input("s_axis_prog_tlast", 1)}
    x = inputs(c, "s_axis_x", {"tdata": config.beat_bits, "tvalid": 1, "tlast": 1})
    return {**ports("prog", prog), **ports("x", x), "y_tready": c.input("m_axis_y_tready", 1)}


def _from_queue(c: Circuit, config: ArrayConfig) -> Bundle:
    """What a queue brings, of the same names."""
    widths = {
        "prog_tdata": config.program_bits,
        "prog_tvalid": 1,
        "prog_tlast": 1,
        "x_tdata": config.row_bits,
        "x_tvalid": 1,
        "y_tready": 1,
    }
    return {name: c.wire(f"queue_{name}", width) for name, width in widths.items()}


def _place_queue(
    c: Circuit,
    config: ArrayConfig,
    resets: tuple[Signal, Signal],
    control: Mapping[str, Signal],
    array: Bundle,
) -> Bundle:
    """The queue in front of the array."""
    c.section("The queue in front of the array, and its port to external memory.")
    phases, phase = Enumeration(c, Phase), array["status_phase"]
    now = Decoded(c, phase, "phase_of_queue", phases)
    reset, array_reset = resets
    told = {
        "computes": now.at(Phase.RUNNING) | now.at(Phase.CHAINING),
        "failed": now.at(Phase.ERROR),
        "loaded": array["status_loaded"],
        "refused": array["status_refused"],
        **{name: array[name] for name in ARRAY if name in array},
    }
    return c.instance(
        "queue",
        build_queue(config),
        clk=c.clk,
        memory_rst=reset,
        rst=array_reset,
        control_base=concat(control["base_high_address"], control["base_low_address"]),
        control_size=control["size_count"],
        control_tail=control["doorbell_tail"],
        control_ring=control["doorbell_ring"],
        array_y_tdata=array["y_tdata"],
        **ports("array", told),
        **ports("axi", inputs(c, "m_axi_data", memory_port(config))),
    )


def _bursts(c: Circuit, config: ArrayConfig, *channels: str) -> dict[str, Signal]:
    """What all bursts of a port have in common: whole beats, and addresses that go up."""
    size = (config.memory_bits // 8).bit_length() - 1
    constant = {"size": c.const(size, 3), "burst": c.const(BURST_INCREMENTS, 2)}
    return {f"{channel}{name}": signal for channel in channels for name, signal in constant.items()}


def _show_memory(c: Circuit, config: ArrayConfig, array: Bundle) -> None:
    """The outputs of the memory ports: AXI4 managers that only read, in bursts of whole beats."""
    if not config.memory_bits:
        return
    c.section("The memory ports.")
    for port in range(config.memory_ports):
        read = {**part(array, f"mem{port}"), **_bursts(c, config, "ar")}
        outputs(c, f"m_axi{port}", read)


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
    x_tlast_wrong = c.const(0, 1)
    if streams.x_last is not None:
        arrived = c.delay(streams.beat, "x_arrived", reset=0) & ~soft_reset
        said_last = c.delay(streams.x_last, "x_said_last")
        x_tlast_wrong = arrived & (said_last ^ complete)
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
        "x_tlast_wrong": x_tlast_wrong,
        "memory_failed": failed & of_memory,
        **(
            {"queue_done": streams.queue["done"], "queue_failed": streams.queue["stopped"]}
            if streams.queue
            else {}
        ),
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
    places = range(0, config.beat_bits, ACTIVATION_BITS)
    lanes = [data[low : low + ACTIVATION_BITS] for low in places]
    flags = [
        c.delay(streams.beat & lane.eq(0), f"zero{t}", reset=0) for t, lane in enumerate(lanes)
    ]
    steps["zeros"] = count_ones(flags)
    return {name: c.delay(step, f"{name}_counted", reset=0) for name, step in steps.items()}


def _interrupt(config: ArrayConfig, registers: Mapping[str, Signal]) -> Signal:
    """Whether an event is enabled and has not been cleared."""
    enabled, happened = (
        [registers[f"{port_of(entry, field)}_value"] for field in fields_of(entry, config)]
        for entry in map(register, ("interrupt_enable", "interrupt_status"))
    )
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
