# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_registers`: a map of registers behind an AXI4-Lite slave.

Each of the channels AW, W and AR has a register that holds one transfer, so that a write's
address and data come in any order; B and R have one for the response. `xPROT` is not looked at
and has no ports.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum

from daqkf.lowering.hdl.circuit import Circuit, Signal, concat, mux, named
from daqkf.lowering.rtl.registers import (
    ADDRESS_BITS,
    REGISTER_BITS,
    REGISTER_BYTES,
    Access,
    Field,
    Register,
)

BYTE_BITS = REGISTER_BITS // REGISTER_BYTES
INPUTS = {
    "awaddr": ADDRESS_BITS,
    "awvalid": 1,
    "wdata": REGISTER_BITS,
    "wstrb": REGISTER_BYTES,
    "wvalid": 1,
    "bready": 1,
    "araddr": ADDRESS_BITS,
    "arvalid": 1,
    "rready": 1,
}
"""The slave's inputs and their bits."""
OUTPUTS = ("awready", "wready", "bresp", "bvalid", "arready", "rdata", "rresp", "rvalid")


class Response(IntEnum):
    """`BRESP` and `RRESP`."""

    OKAY = 0
    SLVERR = 2


def port_of(register: Register, field: Field) -> str:
    """The name of a field's port, and of its constant."""
    return f"{register.name}_{field.name}"


def build_register_file(registers: Sequence[Register], constants: Mapping[str, int]) -> Circuit:
    """The slave of these registers.

    A field that the hardware says is an input of its name; one that it sets is an input, too,
    and an output; others that a bus writes are outputs, those that trigger for one cycle.
    """
    c = Circuit("daqkf_registers", "registers behind an AXI4-Lite slave.")
    c.clock("clk")
    c.reset(c.input("rst", 1))
    bus = {name: c.input(name, width) for name, width in INPUTS.items()}

    c.section("The channels, each with a register for a transfer.")
    b_valid, r_valid = c.register("b_valid", 1, reset=0), c.register("r_valid", 1, reset=0)
    write, read = c.wire("write", 1), c.wire("read", 1)
    aw_full, (aw_address,) = _hold(c, bus, "aw", write, {"awaddr": "aw_address_low_unused"})
    w_full, (data, strobes) = _hold(c, bus, "w", write, {"wdata": "data", "wstrb": "strobes"})
    ar_full, (ar_address,) = _hold(c, bus, "ar", read, {"araddr": "ar_address_low_unused"})
    write.drive(aw_full & w_full & ~b_valid)
    read.drive(ar_full & ~r_valid)
    b_valid.drive(write | (b_valid & ~bus["bready"]))
    r_valid.drive(read | (r_valid & ~bus["rready"]))

    c.section("The registers and their fields.")
    mask = concat(*(strobes[n].replicate(BYTE_BITS) for n in reversed(range(REGISTER_BYTES))))
    written, read_word = c.const(0, 1), c.const(0, REGISTER_BITS)
    readable = c.const(0, 1)
    # A byte's address is its word's.
    low = (REGISTER_BYTES - 1).bit_length()
    aw_index, ar_index = aw_address[low:], ar_address[low:]
    for entry in registers:
        index = entry.address // REGISTER_BYTES
        reads = ar_index.eq(index)
        readable = readable | reads
        enable = c.const(0, 1)
        if entry.writable:
            writes = aw_index.eq(index)
            written = written | writes
            enable = named(write & writes, f"writes_{entry.name}")
        fields = {
            field: _FIELDS[field.access](
                c, port_of(entry, field), field, constants, (enable, _cut(data), _cut(mask))
            )
            for field in entry.fields
        }
        word = _word(c, fields)
        read_word = read_word | (word & reads.replicate(REGISTER_BITS))

    c.section("The responses.")
    c.output("bresp", c.delay(_response(written), "b_response", enable=write))
    c.output("bvalid", b_valid)
    c.output("rdata", c.delay(read_word, "r_data", enable=read))
    c.output("rresp", c.delay(_response(readable), "r_response", enable=read))
    c.output("rvalid", r_valid)
    c.finish()
    return c


def _hold(
    c: Circuit,
    bus: Mapping[str, Signal],
    channel: str,
    taken: Signal,
    payload: Mapping[str, str],
) -> tuple[Signal, Sequence[Signal]]:
    """A channel's register: whether it is full, and what it holds until it is taken.

    `payload` gives the names of what is held, by port.
    """
    full = c.register(f"{channel}_full", 1, reset=0)
    # Not ready in a reset: what came then would be lost.
    ready = c.register(f"{channel}_ready", 1, reset=0)
    accepted = bus[f"{channel}valid"] & ready
    held = [c.delay(bus[port], name, enable=accepted) for port, name in payload.items()]
    filling = accepted | (full & ~taken)
    full.drive(filling)
    ready.drive(~filling)
    c.output(f"{channel}ready", ready)
    return full, held


def _response(good: Signal) -> Signal:
    circuit = good.circuit
    return mux(good, circuit.const(Response.OKAY, 2), Response.SLVERR)


def _cut(word: Signal) -> Callable[[Field], Signal]:
    """The bits of a field."""
    return lambda field: word[field.low : field.low + field.width]


_Write = tuple[Signal, Callable[[Field], Signal], Callable[[Field], Signal]]
"""Whether the register is written, and a field's bits of the data and of the strobes."""


def _constant(
    c: Circuit, port: str, field: Field, constants: Mapping[str, int], _: _Write
) -> Signal:
    return c.const(constants[port], field.width)


def _read_only(c: Circuit, port: str, field: Field, _: Mapping[str, int], __: _Write) -> Signal:
    return c.input(port, field.width)


def _scratch(c: Circuit, port: str, field: Field, _: Mapping[str, int], write: _Write) -> Signal:
    enable, data, mask = write
    value = c.register(port, field.width, reset=field.reset)
    value.drive((value & ~mask(field)) | (data(field) & mask(field)), enable=enable)
    return value


def _read_write(
    c: Circuit, port: str, field: Field, constants: Mapping[str, int], write: _Write
) -> Signal:
    value = _scratch(c, port, field, constants, write)
    c.output(f"{port}_value", value)
    return value


def _clear(c: Circuit, port: str, field: Field, _: Mapping[str, int], write: _Write) -> Signal:
    enable, data, mask = write
    value = c.register(port, field.width, reset=field.reset)
    ones = data(field) & mask(field) & enable.replicate(field.width)
    # An event in the cycle of its clearing is a new one.
    value.drive(c.input(f"{port}_set", field.width) | (value & ~ones))
    c.output(f"{port}_value", value)
    return value


def _strobe(c: Circuit, port: str, field: Field, _: Mapping[str, int], write: _Write) -> Signal:
    enable, data, mask = write
    ones = data(field) & mask(field) & enable.replicate(field.width)
    c.output(f"{port}_value", c.delay(ones, port, reset=0))
    return c.const(0, field.width)


_FIELDS = {
    Access.CONSTANT: _constant,
    Access.READ_ONLY: _read_only,
    Access.READ_WRITE: _read_write,
    Access.SCRATCH: _scratch,
    Access.CLEAR: _clear,
    Access.STROBE: _strobe,
}


def _word(c: Circuit, fields: Mapping[Field, Signal]) -> Signal:
    """A register's word: its fields in their places, 0 elsewhere."""
    parts: list[Signal] = []
    position = 0
    for field, value in sorted(fields.items(), key=lambda item: item[0].low):
        if field.low > position:
            parts.append(c.const(0, field.low - position))
        parts.append(value)
        position = field.low + field.width
    if position < REGISTER_BITS:
        parts.append(c.const(0, REGISTER_BITS - position))
    return concat(*reversed(parts))
