# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The rows of activations of a tile, from the stream to the activation memories.

A row has as many features as come `features_together`, of all lanes each.
"""

from dataclasses import dataclass

from daqkf.hw_targets.fan_out import result_groups, tree_stages
from daqkf.hw_targets.status import Phase
from daqkf.lowering.hdl.bundle import Bundle
from daqkf.lowering.hdl.circuit import Signal, Wire, concat, mux, named
from daqkf.lowering.hdl.select import ceil_shift
from daqkf.lowering.rtl.fan_out import fan_out
from daqkf.lowering.rtl.frame import Frame
from daqkf.lowering.rtl.programs import Programs
from daqkf.lowering.rtl.sequence import SequenceState, follow


@dataclass(frozen=True)
class Arrival:
    """Rows that arrive: those of K features for each tile, after the number of tokens if a sequence
    begins."""

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
    width = config.row_address_width
    loaded = c.register("loaded", width, reset=0, clear=frame.rst | frame.start)
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
    final_beat = beat & following.eq(ceil_shift(programs.program["features"], config.place_width))
    complete.drive(final_beat | (complete & loading))
    return Arrival(row, ready, beat, loaded, complete, sequence)


def write_activations(frame: Frame, arrival: Arrival, chain: Bundle) -> Bundle:
    """The write port of all activation memories: rows that arrive, or that the chain returns.

    The row of zeros, which null items read, is written as the elements start. There is a register
    on the way, as the memories may be far; nothing reads them until later.
    """
    c, config, start = frame.c, frame.config, frame.start
    c.section("The write port of the activation memories.")
    told: dict[str, Signal] = {"null_row": start}
    groups = result_groups(config)
    target = chain.get("target", arrival.loaded)
    if chain:
        told["moved_row"] = chain["write"]
    copies = [told]
    if tree_stages(config):
        # The chain says it a cycle before the row, and no word reads the row of zeros so early that
        # it could not come a cycle later.
        copies, target = fan_out(c, told, 1, len(groups)), c.delay(target, "target_late")
    rows = [_row(frame, arrival, part, own) for part, own in zip(groups, copies, strict=True)]
    told = copies[0]
    address, writing = arrival.loaded, arrival.beat | told["null_row"]
    if chain:
        address = mux(told["moved_row"], target, address)
        writing = writing | told["moved_row"]
    last = c.const((1 << address.width) - 1, address.width)
    address = mux(told["null_row"], last, address)
    row = concat(*reversed(rows)) if len(rows) > 1 else rows[0]
    return {
        "address": c.delay(address, "activation_address"),
        "data": c.delay(row, "activation_data"),
        "write": c.delay(writing, "activation_write", reset=0),
    }


def _row(frame: Frame, arrival: Arrival, bits: range, told: Bundle) -> Signal:
    """A group of lanes' part of the row that is written."""
    config = frame.config
    own = slice(bits.start, min(bits.stop, config.row_bits))
    row = arrival.row if config.features_together > 1 else arrival.row[own]
    if "moved_row" in told:
        row = mux(told["moved_row"], frame.result_row[own], row)
    return mux(told["null_row"], frame.c.const(0, row.width), row)
