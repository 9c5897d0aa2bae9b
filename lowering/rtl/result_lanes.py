# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_result_lanes`: a group of lanes' part of the result memory, in arrays of many lanes.

Its inputs are leaves of the tree of registers to all groups (hw_targets/fan_out.py). A FIFO takes
the rows that leave, so that the memory never has to wait for the result stream.
"""

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.lowering.hdl.bundle import inputs
from daqkf.lowering.hdl.circuit import Circuit, Signal, named
from daqkf.lowering.hdl.select import index_bits

READING = 2
"""Cycles from an address to its row: the memory, and the register behind it."""

ROOM = 8
"""Rows that may be on their way to the stream at once. A row a cycle takes five, as a tree of one
level, the memory, the register behind it, the FIFO and the stream have one each."""

_DEPTH = 2 * ROOM
"""Rows of the FIFO: as many as LUT RAM has, and twice `ROOM`, so that it is never full."""


def build_result_lanes(config: ArrayConfig, width: int, leads: bool) -> Circuit:
    """The memory, of rows of `width` bits, and its part of the result stream.

    `row` is what has been read, `READING` cycles after `read`, until the next one is there. If
    `leaves` says so in the same cycle, it goes to the stream.

    All groups do the same. The one that `leads` says so for all: the stream's `y_valid`, and its
    `y_last` of what is the `last` row; `moves` pulses when a row leaves the FIFO for the stream.
    """
    name = f"daqkf_result_lanes{width}" + "_first" * leads
    c = Circuit(name, "a group of lanes' part of the result memory.")
    c.clock("clk")
    c.reset(c.input("rst", 1))
    bits = index_bits(2 * config.result_depth)
    c.section("The memory.")
    memory = c.memory("results", 2 * config.result_depth, width, style=config.result_memory)
    port = inputs(c, "write", {"address": bits, "data": width})
    memory.write(port["address"], port["data"], c.input("write", 1))
    row = memory.read(c.input("read_address", bits), c.input("read", 1), "row_read")
    row = c.delay(row, "row")
    c.output("row", row)

    c.section("The rows that leave.")
    leaves, ready = c.input("leaves", 1), c.input("ready", 1)
    front, back = (c.register(name, index_bits(_DEPTH), reset=0) for name in ("front", "back"))
    back.drive(back + 1, enable=leaves)
    valid = c.register("y_valid", 1, reset=0)
    advance = named(~valid | ready, "y_advance")
    more = front.ne(back)
    takes = named(more & advance, "takes_row")
    front.drive(front + 1, enable=takes)
    valid.drive(more, enable=advance)
    # What is beside the lanes is for the row unit alone.
    lanes = width // ACTIVATION_BITS * ACTIVATION_BITS
    stored: list[tuple[str, str, Signal]] = [("y_row", "y_data", row[:lanes])]
    if leads:
        stored.append(("y_last_row", "y_last", c.input("last", 1)))
        c.output("y_valid", valid)
        c.output("moves", takes)
    for name, port, value in stored:
        fifo = c.memory(f"{name}s", _DEPTH, value.width, style="distributed")
        fifo.write(back, value, leaves)
        c.output(port, fifo.read(front, advance, name))
    c.finish()
    return c
