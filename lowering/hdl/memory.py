# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Memories of a module, as processes that synthesis takes for block RAM."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from xdsl.dialects.builtin import IntegerType
from xdsl.ir import Block, Operation, Region, SSAValue

from daqkf.dialects.circt_ext import (
    AlwaysFFOp,
    ArrayIndexInOutOp,
    IfOp,
    PAssignOp,
    ReadInOutOp,
    RegOp,
)
from daqkf.lowering.hdl.signal import Builder, CircuitError, Signal


@dataclass(eq=False)
class Memory:
    """A memory with one synchronous write port and any number of registered read ports."""

    circuit: Builder
    name: str
    depth: int
    width: int
    place: SSAValue
    _write: tuple[Signal, Signal, Signal] | None = None
    _reads: list[tuple[Signal, Signal, SSAValue, str]] = field(default_factory=list)

    @property
    def address_width(self) -> int:
        """Bits of an address; a memory of one row still takes one."""
        return max(1, (self.depth - 1).bit_length())

    def _check(self, what: str, signal: Signal, width: int) -> None:
        self.circuit.own(signal.value)
        if signal.width != width:
            raise CircuitError(
                f"{self.circuit.name}: memory '{self.name}' has {what} of {width} bits, not "
                f"{signal.width}"
            )

    def write(self, address: Signal, data: Signal, enable: Signal) -> None:
        """The write port: `data` goes to `address` at clock edges with `enable`."""
        if self._write is not None:
            raise CircuitError(f"{self.circuit.name}: memory '{self.name}' is written twice")
        self._check("addresses", address, self.address_width)
        self._check("rows", data, self.width)
        self._check("a write enable", enable, 1)
        self._write = address, data, enable

    def read(self, address: Signal, enable: Signal, name: str) -> Signal:
        """A read port: the row of `address` one cycle later; it stays while not enabled."""
        self._check("addresses", address, self.address_width)
        self._check("a read enable", enable, 1)
        register = self.circuit.declare(RegOp(IntegerType(self.width)), name)
        self._reads.append((address, enable, register, name))
        return self.circuit.emit(ReadInOutOp(register))

    @property
    def read_names(self) -> list[str]:
        """The names of the read ports' registers."""
        return [name for _, _, _, name in self._reads]

    @property
    def fed(self) -> Iterator[tuple[SSAValue, str]]:
        """What drives the ports, with a name made from the memory's and the port's."""
        if self._write is not None:
            for signal, what in zip(self._write, ("address", "data", "enable"), strict=True):
                yield signal.value, f"{self.name}_write_{what}"
        for address, enable, _, name in self._reads:
            yield address.value, f"{name}_address"
            yield enable.value, f"{name}_enable"

    def build(self, clock: SSAValue) -> Operation:
        """The one process that writes and reads."""
        if self._write is None or not self._reads:
            raise CircuitError(f"{self.circuit.name}: memory '{self.name}' lacks a port")
        address, data, enable = self._write
        body = Block()
        index = ArrayIndexInOutOp(self.place, address.value)
        assign = PAssignOp(index.result, data.value)
        body.add_op(IfOp(enable.value, Region(Block([index, assign]))))
        for address, enable, register, _ in self._reads:
            index = ArrayIndexInOutOp(self.place, address.value)
            row = ReadInOutOp(index.result)
            assign = PAssignOp(register, row.result)
            body.add_op(IfOp(enable.value, Region(Block([index, row, assign]))))
        return AlwaysFFOp(clock, Region(body))
