# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_array`: the elements, the post unit, the loader and the sequencer around them.

There are two result memories in turns, so that a tile's results leave while the next one is
loaded and runs. Between the kernels of a chain, what leaves the result memory goes to the
activation memories instead, or to the row unit. With two banks, a program is
loaded while another one runs, and takes its place between two tiles.

With memory ports, the streams of the elements stay in external memory, and are read from there
tile after tile; programs are then short.

Ports (docs/hardware-interface.md): a program stream, an activation stream of K beats for
each tile of T tokens, a result stream of N beats, and status words. An array whose config
has more than one bucket also has the SPAQ unit, which picks among a program's variants.
"""

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.status import Phase
from daqkf.lowering.hdl.bundle import Bundle
from daqkf.lowering.hdl.circuit import Circuit, Signal, mux
from daqkf.lowering.hdl.select import choose
from daqkf.lowering.rtl.arrival import Arrival, receive_activations, write_activations
from daqkf.lowering.rtl.frame import Frame, origin
from daqkf.lowering.rtl.placing import (
    Kernel,
    Rows,
    place_chain,
    place_elements,
    place_fill,
    place_memory,
    place_post,
    place_rows,
    place_spaq,
)
from daqkf.lowering.rtl.programs import Programs, receive_programs
from daqkf.lowering.rtl.results import Halves, Units, count_results, store_results
from daqkf.lowering.rtl.spaq_unit import DECISION_CYCLES

TOP = "daqkf_array"


def build_array(config: ArrayConfig) -> Circuit:
    """The whole array of this config."""
    c = Circuit(TOP, "an array that runs programs of sparse matrix products.", origin(config))
    c.clock("clk")
    rst = c.input("rst", 1)
    c.reset(rst)
    prog_data, prog_valid = c.input("prog_tdata", config.program_bits), c.input("prog_tvalid", 1)
    x_data, x_valid = c.input("x_tdata", config.beat_bits), c.input("x_tvalid", 1)
    y_ready = c.input("y_tready", 1)
    memory_rst = c.input("memory_rst", 1) if config.memory_bits else None

    frame = Frame.open(c, config, rst)
    halves = Halves.declare(c)
    programs = receive_programs(frame, prog_data, prog_valid, halves.storing)
    arrival = receive_activations(frame, programs, x_data, x_valid)
    spaq = place_spaq(frame, programs, arrival)
    chain, wants = place_chain(frame, programs, arrival, halves.storing)
    _start(frame, arrival, halves, chain)
    kernel = Kernel(programs, arrival, {**programs.program, **spaq, **chain}, chain)

    activation = write_activations(frame, arrival, chain)
    fill = place_fill(frame, kernel)
    memory = place_memory(frame, kernel, memory_rst)
    elements = place_elements(frame, kernel, activation, fill, memory)
    rows = place_rows(frame, kernel)
    for name, wire in wants.items():
        wire.drive(rows.outputs[name])
    post = place_post(frame, kernel, activation, rows, elements)
    elements.drive(post)
    rows.drive(post)

    produced = _finish_kernels(frame, kernel, post, rows)
    leaving = store_results(
        frame, halves, programs, produced, y_ready, Units(post, chain, rows.outputs)
    )
    if leaving.exponent is not None:
        rows.feeds["row_exponent"].drive(leaving.exponent)
    halves.drive(produced, leaving.left)
    failure = memory.error(c) if memory.readers else None
    _drive_phase(frame, failure, arrival, kernel, rows)

    c.output("prog_tready", programs.ready)
    c.output("x_tready", arrival.ready)
    c.output("y_tdata", leaving.data)
    c.output("y_tvalid", leaving.valid)
    c.output("y_tlast", leaving.last)
    _show_status(frame, programs, halves, failure)
    if spaq:
        _show_variant(frame, halves, produced, spaq["variant"])
    c.finish()
    return c


def _start(frame: Frame, arrival: Arrival, halves: Halves, chain: Bundle) -> None:
    """Start the elements: with a tile that is complete and has room for its results, or with
    the next kernel of a chain. A tile of several variants waits for the decision."""
    c, config = frame.c, frame.config
    starting = frame.phase.at(Phase.LOADING_ACTIVATIONS) & arrival.complete & ~halves.occupied
    if config.dispatches:
        decided = starting
        for cycle in range(DECISION_CYCLES):
            decided = c.delay(decided, f"decided{cycle}", reset=0)
        starting = starting & decided
    frame.start.drive(starting | chain["next"] if chain else starting)


def _finish_kernels(frame: Frame, kernel: Kernel, post: Bundle, rows: Rows) -> Signal:
    """Drive `ran` and `done`; the signal that pulses when a tile's results have been written.

    Those of a tile that keeps partial sums are none.
    """
    config, chain, arrival = frame.config, kernel.chain, kernel.arrival
    stored = post["result_write"] | post["kept"] if config.accumulates else post["result_write"]
    if config.softmax:
        # Exponentials are on the way to shares.
        stored = stored & ~rows.outputs["raising"]
    outputs = kernel.programs.result_rows(config, kernel.fields["outputs"], chain)
    count_results(frame, chain, outputs, stored)
    produced: Signal = frame.ran & chain["last"] if chain else frame.ran
    frame.done.drive(produced | chain["paused"] if arrival.sequence else produced)
    return produced & ~kernel.programs.program["keeps"] if config.accumulates else produced


def _drive_phase(
    frame: Frame, failure: Signal | None, arrival: Arrival, kernel: Kernel, rows: Rows
) -> None:
    at, chain, programs = frame.phase.at, kernel.chain, kernel.programs
    runs = frame.start | chain["row_start"] if rows.outputs else frame.start
    frame.phase.drive(
        [
            *programs.transitions,
            (at(Phase.READY) & arrival.beat, Phase.LOADING_ACTIVATIONS),
            (runs, Phase.RUNNING),
            (frame.ran, Phase.CHAINING if chain else Phase.READY),
            *([(frame.done, Phase.READY)] if chain else []),
            *programs.failures,
            *([(failure.any(), Phase.ERROR)] if failure is not None else []),
        ]
    )


def _show_status(frame: Frame, programs: Programs, halves: Halves, failure: Signal | None) -> None:
    """The ports of the phase, in which results that leave count, and of the last error."""
    c, phase, at, loader = frame.c, frame.phase, frame.phase.at, programs.loader
    status = mux(at(Phase.READY) & halves.storing, phase.values[Phase.STORING], phase.signal)
    if frame.config.double_buffered:
        unhidden = loader["busy"] & (at(Phase.EMPTY) | (at(Phase.READY) & ~halves.storing))
        status = mux(unhidden, phase.values[Phase.LOADING_PROGRAM], status)
        for event in ("loaded", "refused"):
            c.output(f"status_{event}", loader[event])
    c.output("status_phase", status)
    error = loader["error"]
    c.output("status_error", error if failure is None else mux(failure.any(), failure, error))


def _show_variant(frame: Frame, halves: Halves, produced: Signal, variant: Signal) -> None:
    """The port of the variant of the tile whose results leave; 0 until there is one."""
    c = frame.c
    variants = [
        c.delay(variant, f"variant{half}", enable=produced & halves.writing.eq(half), reset=0)
        for half in range(2)
    ]
    c.output("status_variant", choose(halves.leaving, variants))
