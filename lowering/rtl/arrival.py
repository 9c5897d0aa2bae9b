# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The rows of activations of a tile, from the stream to the activation memories."""

from dataclasses import dataclass

from daqkf.hw_targets.status import Phase
from daqkf.lowering.hdl.bundle import Bundle
from daqkf.lowering.hdl.circuit import Signal, Wire, mux, named
from daqkf.lowering.rtl.frame import Frame
from daqkf.lowering.rtl.programs import Programs
from daqkf.lowering.rtl.sequence import SequenceState, follow


@dataclass(frozen=True)
class Arrival:
    """Rows that arrive: K for each tile, after the number of tokens if a sequence begins."""

    row: Signal
    """The stream's data."""
    ready: Signal
    """A row can come."""
    beat: Signal
    """A row of activations comes."""
    loaded: Signal
    """The number of rows that have come, which is the address of the next one."""
    complete: Signal
    """All rows of the tile are there."""
    sequence: SequenceState | None
    """Where a program of sequences stands, in arrays with operand memories."""


def receive_activations(frame: Frame, programs: Programs, row: Signal, valid: Signal) -> Arrival:
    """Count the rows of a tile.

    Args:
        frame: the array.
        programs: of which one is to run with the tile.
        row: the activation stream's data.
        valid: whether it has a row.
    """
    c, config, at = frame.c, frame.config, frame.phase.at
    c.section("Activations: a tile's rows, counted as they arrive.")
    loaded = c.register("loaded", config.address_width, reset=0, clear=frame.rst | frame.start)
    complete = c.register("complete", 1, reset=0)
    loading = at(Phase.LOADING_ACTIVATIONS)
    ready = (at(Phase.READY) & programs.stays) | (loading & ~complete)
    beat = valid & ready
    sequence: SequenceState | None = None
    if isinstance(frame.within, Wire):
        due = c.wire("header_due", 1)
        header, beat = beat & due, beat & ~due
        sequence = follow(c, config, programs.program["attends"], header, row, frame.done)
        due.drive(sequence.due)
        frame.within.drive(sequence.within)
    beat = named(beat, "x_beat")
    frame.first_beat.drive(beat & at(Phase.READY))
    following = loaded + 1
    loaded.drive(following, enable=beat)
    final_beat = beat & following.eq(programs.program["features"])
    complete.drive(final_beat | (complete & loading))
    return Arrival(row, ready, beat, loaded, complete, sequence)


def write_activations(frame: Frame, arrival: Arrival, chain: Bundle) -> Bundle:
    """The write port of all activation memories: rows that arrive, or that the chain returns.

    The row of zeros, which null items read, is written as the elements start. There is a register
    on the way, as the memories may be far; nothing reads them until later.
    """
    c, config, start = frame.c, frame.config, frame.start
    c.section("The write port of the activation memories.")
    address, row, writing = arrival.loaded, arrival.row, arrival.beat | start
    if chain:
        address = mux(chain["write"], chain["target"], address)
        row = mux(chain["write"], frame.result_row, row)
        writing = writing | chain["write"]
    address = mux(start, c.const(config.null_address, config.address_width), address)
    row = mux(start, c.const(0, config.row_bits), row)
    return {
        "address": c.delay(address, "activation_address"),
        "data": c.delay(row, "activation_data"),
        "write": c.delay(writing, "activation_write", reset=0),
    }
