# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A small algebra of signals that builds `hw`, `comb`, `seq` and `sv` operations in memory.

A `Circuit` is one module. Its `Signal`s are unsigned bit vectors with the usual operators;
operands have equal widths, and an `int` takes the width of its partner. Registers and wires
may be read before they are driven: a module's body is a graph.

    c = Circuit("counter")
    c.clock("clk")
    c.reset(c.input("rst", 1))
    count = c.register("count", 8, reset=0)
    count.drive(count + 1, enable=c.input("enable", 1))
    c.output("value", count)
    c.finish()
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from xdsl.dialects import comb, hw, seq
from xdsl.dialects.builtin import (
    ArrayAttr,
    IntegerAttr,
    IntegerType,
    ModuleOp,
    StringAttr,
    SymbolRefAttr,
)
from xdsl.ir import Block, Operation, Region, SSAValue

from daqkf.dialects.circt_ext import (
    AlwaysFFOp,
    ArrayIndexInOutOp,
    CompRegClockEnabledOp,
    FromClockOp,
    IfOp,
    PAssignOp,
    ReadInOutOp,
    RegOp,
    SVAttributeAttr,
    UnpackedArrayType,
    VerbatimExprOp,
)


class CircuitError(ValueError):
    """A circuit that cannot be built: widths that differ, a register that nothing drives …"""


@dataclass(frozen=True, eq=False)
class Signal:
    """A value of one module, `width` bits."""

    circuit: "Circuit"
    value: SSAValue

    @property
    def width(self) -> int:
        """Bits of the signal."""
        kind = self.value.type
        assert isinstance(kind, IntegerType)
        return kind.width.data

    def partner(self, other: "Signal | int") -> "Signal":
        """The other operand, of the same width; an int becomes a constant."""
        if isinstance(other, int):
            return self.circuit.const(other, self.width)
        self.circuit.own(other.value)
        if other.width != self.width:
            raise CircuitError(
                f"{self.circuit.name}: {self.label} of {self.width} bits meets "
                f"{other.label} of {other.width}"
            )
        return other

    @property
    def label(self) -> str:
        """The signal's name, for messages."""
        return f"'{self.value.name_hint}'" if self.value.name_hint else "a signal"

    def _combine(
        self, other: "Signal | int", make: Callable[[SSAValue, SSAValue], Operation]
    ) -> "Signal":
        return self.circuit.emit(make(self.value, self.partner(other).value))

    def __add__(self, other: "Signal | int") -> "Signal":
        return self._combine(other, lambda a, b: comb.AddOp([a, b]))

    def __sub__(self, other: "Signal | int") -> "Signal":
        return self._combine(other, comb.SubOp)

    def __mul__(self, other: "Signal | int") -> "Signal":
        return self._combine(other, lambda a, b: comb.MulOp([a, b]))

    def __and__(self, other: "Signal | int") -> "Signal":
        return self._combine(other, lambda a, b: comb.AndOp([a, b]))

    def __or__(self, other: "Signal | int") -> "Signal":
        return self._combine(other, lambda a, b: comb.OrOp([a, b]))

    def __xor__(self, other: "Signal | int") -> "Signal":
        return self._combine(other, lambda a, b: comb.XorOp([a, b]))

    def __invert__(self) -> "Signal":
        return self ^ ((1 << self.width) - 1)

    def __getitem__(self, bits: int | slice) -> "Signal":
        """One bit, or the bits of a half-open range, counted from the least significant."""
        if isinstance(bits, int):
            bits = slice(bits, bits + 1)
        low = bits.start or 0
        high = self.width if bits.stop is None else bits.stop
        if bits.step is not None or not 0 <= low < high <= self.width:
            raise CircuitError(
                f"{self.circuit.name}: {self.label} of {self.width} bits has no bits "
                f"{bits.start}:{bits.stop}"
            )
        if high - low == self.width:
            return self
        kind = IntegerType(high - low)
        return self.circuit.emit(comb.ExtractOp(self.value, IntegerAttr(low, 32), kind))

    def _compare(self, other: "Signal | int", predicate: str) -> "Signal":
        return self._combine(other, lambda a, b: comb.ICmpOp(a, b, predicate))

    def eq(self, other: "Signal | int") -> "Signal":
        """One bit: equal."""
        return self._compare(other, "eq")

    def ne(self, other: "Signal | int") -> "Signal":
        """One bit: not equal."""
        return self._compare(other, "ne")

    def ult(self, other: "Signal | int") -> "Signal":
        """One bit: below, unsigned."""
        return self._compare(other, "ult")

    def ule(self, other: "Signal | int") -> "Signal":
        """One bit: at most, unsigned."""
        return self._compare(other, "ule")

    def any(self) -> "Signal":
        """One bit: some bit is set."""
        return self.ne(0)

    def all(self) -> "Signal":
        """One bit: every bit is set."""
        return self.eq((1 << self.width) - 1)

    def replicate(self, count: int) -> "Signal":
        """The signal `count` times over."""
        if count == 1:
            return self
        return self.circuit.emit(comb.ReplicateOp(self.value, IntegerType(self.width * count)))

    def zext(self, width: int) -> "Signal":
        """Zero-extended to `width` bits."""
        extra = self._extra(width)
        return concat(self.circuit.const(0, extra), self) if extra else self

    def sext(self, width: int) -> "Signal":
        """Sign-extended to `width` bits."""
        extra = self._extra(width)
        return concat(self[self.width - 1].replicate(extra), self) if extra else self

    def _extra(self, width: int) -> int:
        if width < self.width:
            raise CircuitError(
                f"{self.circuit.name}: {self.label} of {self.width} bits cannot be extended "
                f"to {width}"
            )
        return width - self.width


def mux(condition: Signal, true: "Signal | int", false: "Signal | int") -> Signal:
    """`condition ? true : false`; one of the two may be an int."""
    if isinstance(true, Signal):
        false = true.partner(false)
    elif isinstance(false, Signal):
        true = false.partner(true)
    else:
        raise CircuitError(f"{condition.circuit.name}: a mux of two numbers has no width")
    if condition.width != 1:
        raise CircuitError(f"{condition.circuit.name}: a mux needs a condition of one bit")
    return condition.circuit.emit(comb.MuxOp(condition.value, true.value, false.value))


def signed_product(a: Signal, b: Signal, width: int) -> Signal:
    """The product of two signed numbers in `width` bits, which have to hold it.

    `comb.mul` would do, but is written without `$signed`: synthesis then takes the sign
    extension for more bits to multiply.
    """
    values = [signal.sext(width).value for signal in (a, b)]
    text = "($signed({{0}}) * $signed({{1}}))"
    return a.circuit.emit(VerbatimExprOp(text, values, IntegerType(width)))


def named(signal: Signal, name: str) -> Signal:
    """The signal, with a name for the text. Verilator takes bits of an `unused` one as said."""
    owner = signal.value.owner
    assert isinstance(owner, Operation)
    owner.attributes["sv.namehint"] = StringAttr(name)
    return signal


def concat(*signals: Signal) -> Signal:
    """The signals side by side, the first in the most significant bits."""
    if len(signals) == 1:
        return signals[0]
    width = sum(signal.width for signal in signals)
    values = [signal.value for signal in signals]
    return signals[0].circuit.emit(comb.ConcatOp(values, IntegerType(width)))


class Wire(Signal):
    """A signal that may be read before it is driven."""

    def drive(self, source: Signal) -> None:
        """Say what the wire carries, once."""
        self.circuit.connect(self, self.partner(source))


@dataclass(frozen=True, eq=False)
class Register(Signal):
    """A register on the circuit's clock."""

    reset_value: int | None = None
    clear: Signal | None = None

    def drive(self, source: "Signal | int", enable: Signal | None = None) -> None:
        """Say what the register takes at each clock edge, or at those with `enable`, once."""
        self.circuit.assign(self, self.partner(source), enable)


@dataclass(eq=False)
class Memory:
    """A memory with one synchronous write port and any number of registered read ports."""

    circuit: "Circuit"
    name: str
    depth: int
    width: int
    place: SSAValue
    _write: tuple[Signal, Signal, Signal] | None = None
    _reads: list[tuple[Signal, Signal, SSAValue]] = field(default_factory=list)

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
        self._reads.append((address, enable, register))
        return self.circuit.emit(ReadInOutOp(register))

    def build(self, clock: SSAValue) -> Operation:
        """The one process that writes and reads."""
        if self._write is None or not self._reads:
            raise CircuitError(f"{self.circuit.name}: memory '{self.name}' lacks a port")
        address, data, enable = self._write
        body = Block()
        index = ArrayIndexInOutOp(self.place, address.value)
        assign = PAssignOp(index.result, data.value)
        body.add_op(IfOp(enable.value, Region(Block([index, assign]))))
        for address, enable, register in self._reads:
            index = ArrayIndexInOutOp(self.place, address.value)
            row = ReadInOutOp(index.result)
            assign = PAssignOp(register, row.result)
            body.add_op(IfOp(enable.value, Region(Block([index, row, assign]))))
        return AlwaysFFOp(clock, Region(body))


class Circuit:
    """One module under construction, and afterwards the `hw.module` it became."""

    def __init__(self, name: str):
        self.name = name
        self.module: hw.HWModuleOp | None = None
        self.instances: list[Circuit] = []
        self._block = Block()
        self._inputs: list[hw.ModulePort] = []
        self._outputs: dict[str, Signal] = {}
        self._constants: dict[tuple[int, int], Signal] = {}
        self._registers: dict[Register, tuple[Signal, Signal | None] | None] = {}
        self._wires: dict[Wire, Signal | None] = {}
        self._memories: list[Memory] = []
        self._clock: SSAValue | None = None
        self._reset: Signal | None = None

    def own(self, value: SSAValue) -> None:
        """Check that a value is of this circuit.

        Raises:
            CircuitError: it is another circuit's.
        """
        block = value.owner if isinstance(value.owner, Block) else value.owner.parent
        if block is not self._block:
            name = f"'{value.name_hint}'" if value.name_hint else "a signal"
            raise CircuitError(f"{self.name}: {name} belongs to another circuit")

    def _add(self, op: Operation) -> None:
        for operand in op.operands:
            self.own(operand)
        last = self._block.last_op
        if isinstance(last, hw.OutputOp):
            self._block.insert_op_before(op, last)
        else:
            self._block.add_op(op)

    def emit(self, op: Operation) -> Signal:
        """Add an operation with one result."""
        self._add(op)
        return Signal(self, op.results[0])

    def declare(self, op: Operation, name: str) -> SSAValue:
        """Add an operation whose result is a place, named in the text."""
        self._block.add_op(op)
        op.results[0].name_hint = name
        return op.results[0]

    def _port(self, name: str, direction: hw.Direction, kind: IntegerType | seq.ClockType):
        names = {port.port_name.data for port in self._inputs} | set(self._outputs)
        if name in names:
            raise CircuitError(f"{self.name}: two ports called '{name}'")
        return hw.ModulePort(StringAttr(name), kind, hw.DirectionAttr(direction))

    def clock(self, name: str) -> SSAValue:
        """The clock of all registers and memories, a port."""
        self._inputs.append(self._port(name, hw.Direction.INPUT, seq.clock))
        self._clock = self._block.insert_arg(seq.clock, len(self._block.args))
        self._clock.name_hint = name
        return self._clock

    @property
    def clk(self) -> SSAValue:
        """The clock.

        Raises:
            CircuitError: the circuit has none.
        """
        if self._clock is None:
            raise CircuitError(f"{self.name}: has no clock")
        return self._clock

    def reset(self, signal: Signal) -> None:
        """The synchronous, active-high reset of registers that have a reset value."""
        self._reset = signal

    def input(self, name: str, width: int) -> Signal:
        """An input port."""
        kind = IntegerType(width)
        self._inputs.append(self._port(name, hw.Direction.INPUT, kind))
        argument = self._block.insert_arg(kind, len(self._block.args))
        argument.name_hint = name
        return Signal(self, argument)

    def output(self, name: str, signal: Signal) -> None:
        """An output port and what it carries."""
        self.own(signal.value)
        self._port(name, hw.Direction.OUTPUT, IntegerType(signal.width))
        self._outputs[name] = signal

    def const(self, value: int, width: int) -> Signal:
        """A constant; a negative one is taken modulo 2^width."""
        if not -(1 << (width - 1)) <= value < 1 << width:
            raise CircuitError(f"{self.name}: {value} does not fit {width} bits")
        key = value % (1 << width), width
        if key not in self._constants:
            signed = key[0] - (1 << width if width > 1 and key[0] >> (width - 1) else 0)
            op = hw.ConstantOp(signed, IntegerType(width))
            self._constants[key] = self.emit(op)
        return self._constants[key]

    def wire(self, name: str, width: int) -> Wire:
        """A signal to be driven later."""
        # Stands in until finish() puts the driver in its place.
        op = hw.ConstantOp(0, IntegerType(width))
        self._block.add_op(op)
        wire = Wire(self, op.results[0])
        wire.value.name_hint = name
        self._wires[wire] = None
        return wire

    def register(
        self, name: str, width: int, reset: int | None = None, clear: Signal | None = None
    ) -> Register:
        """A register, to be driven later; `reset` is its value after a reset or `clear`."""
        if reset is not None and self._reset is None and clear is None:
            raise CircuitError(f"{self.name}: register '{name}' has a reset, the circuit none")
        op = hw.ConstantOp(0, IntegerType(width))
        self._block.add_op(op)
        register = Register(self, op.results[0], reset, clear)
        register.value.name_hint = name
        self._registers[register] = None
        return register

    def delay(
        self, signal: Signal, name: str, enable: Signal | None = None, reset: int | None = None
    ) -> Register:
        """The signal one cycle later."""
        register = self.register(name, signal.width, reset)
        register.drive(signal, enable)
        return register

    def assign(self, register: Register, source: Signal, enable: Signal | None) -> None:
        """Drive a register; see `Register.drive`."""
        if self._registers.get(register) is not None:
            raise CircuitError(f"{self.name}: register {register.label} is driven twice")
        if enable is not None and enable.width != 1:
            raise CircuitError(f"{self.name}: an enable has one bit, not {enable.width}")
        self._registers[register] = source, enable

    def connect(self, wire: Wire, source: Signal) -> None:
        """Drive a wire; see `Wire.drive`."""
        if self._wires.get(wire) is not None:
            raise CircuitError(f"{self.name}: wire {wire.label} is driven twice")
        self._wires[wire] = source

    def memory(self, name: str, depth: int, width: int, style: str = "block") -> Memory:
        """A memory; `style` is the value of its `ram_style` attribute.

        Nothing may read a row as it is written: `no_rw_check` spares logic for the old row.
        """
        expressions = {"ram_style": f'"{style}"', "no_rw_check": "1"}.items()
        attributes = [SVAttributeAttr(*map(StringAttr, item)) for item in expressions]
        kind = UnpackedArrayType(depth, IntegerType(width))
        place = self.declare(RegOp(kind, {"sv.attributes": ArrayAttr(attributes)}), name)
        memory = Memory(self, name, depth, width, place)
        self._memories.append(memory)
        return memory

    def instance(
        self, name: str, circuit: "Circuit", **inputs: "Signal | SSAValue"
    ) -> Mapping[str, Signal]:
        """An instance of a finished circuit: inputs by port, the outputs' signals by port."""
        ports = circuit.finished().module_type.ports.data
        expected = {
            port.port_name.data: port.type for port in ports if port.dir.data.is_input_like()
        }
        if set(expected) != set(inputs):
            wrong = ", ".join(sorted(set(expected) ^ set(inputs)))
            raise CircuitError(f"{self.name}: instance '{name}' of {circuit.name}: ports {wrong}")
        values = {
            port: signal.value if isinstance(signal, Signal) else signal
            for port, signal in inputs.items()
        }
        for port, kind in expected.items():
            if values[port].type != kind:
                raise CircuitError(
                    f"{self.name}: instance '{name}' of {circuit.name}: {port} is {kind}, not "
                    f"{values[port].type}"
                )
        outputs = [
            (port.port_name.data, port.type) for port in ports if not port.dir.data.is_input_like()
        ]
        op = hw.InstanceOp(
            name,
            SymbolRefAttr(circuit.name),
            [(port, values[port]) for port in expected],
            outputs,
        )
        self._add(op)
        self.instances.append(circuit)
        for (port, _), result in zip(outputs, op.results, strict=True):
            result.name_hint = f"{name}_{port}"
        return {
            port: Signal(self, result)
            for (port, _), result in zip(outputs, op.results, strict=True)
        }

    def finish(self) -> hw.HWModuleOp:
        """Close the module: put registers, drivers and memories in their places.

        Raises:
            CircuitError: a register or a wire that nothing drives, a memory without ports, or
                the module is already closed.
        """
        if self.module is not None:
            raise CircuitError(f"{self.name}: finished twice")
        if self._memories:
            clock = self.emit(FromClockOp(self.clk))
            for memory in self._memories:
                self._block.add_op(memory.build(clock.value))
        outputs = list(self._outputs.values())
        self._block.add_op(hw.OutputOp([signal.value for signal in outputs]))
        registers: dict[Register, SSAValue] = {}
        for register, driver in self._registers.items():
            if driver is None:
                raise CircuitError(f"{self.name}: nothing drives register {register.label}")
            registers[register] = self._register(register, *driver)
        for wire in self._wires:
            self._replace(wire, self._source(wire).value)
        for register, value in registers.items():
            self._replace(register, value)
        ports = [
            *self._inputs,
            *(
                hw.ModulePort(
                    StringAttr(name),
                    IntegerType(signal.width),
                    hw.DirectionAttr(hw.Direction.OUTPUT),
                )
                for name, signal in zip(self._outputs, outputs, strict=True)
            ),
        ]
        self.module = hw.HWModuleOp(
            StringAttr(self.name), hw.ModuleType(ArrayAttr(ports)), Region(self._block)
        )
        return self.module

    def _source(self, wire: "Wire") -> Signal:
        """What drives a wire, followed through other wires."""
        source: Signal | None = wire
        for _ in self._wires:
            if not isinstance(source, Wire):
                break
            source = self._wires[source]
        if source is None or isinstance(source, Wire):
            raise CircuitError(f"{self.name}: nothing drives wire {wire.label}")
        return source

    def _register(self, register: Register, source: Signal, enable: Signal | None) -> SSAValue:
        reset = None
        clear = register.clear or self._reset
        if register.reset_value is not None and clear is not None:
            value = self.const(register.reset_value, register.width)
            reset = clear.value, value.value
        if enable is None:
            op = seq.CompRegOp(source.value, self.clk, reset)
        else:
            op = CompRegClockEnabledOp(source.value, self.clk, enable.value, reset)
        return self.emit(op).value

    def _replace(self, placeholder: Signal, value: SSAValue) -> None:
        """Put a value in the place of a wire's or a register's stand-in."""
        hint = placeholder.value.name_hint
        owner = placeholder.value.owner
        assert isinstance(owner, Operation)
        placeholder.value.replace_all_uses_with(value)
        self._block.erase_op(owner)
        if isinstance(placeholder, Register):
            value.name_hint = hint

    def finished(self) -> hw.HWModuleOp:
        """The module.

        Raises:
            CircuitError: `finish` has not run.
        """
        if self.module is None:
            raise CircuitError(f"{self.name}: used before it is finished")
        return self.module


def circuit_module(top: Circuit) -> ModuleOp:
    """The IR of a circuit and of all it instantiates, each module once, the leaves first.

    Raises:
        CircuitError: two different circuits of one name.
    """
    found: dict[str, Circuit] = {}

    def visit(circuit: Circuit) -> None:
        if found.get(circuit.name, circuit) is not circuit:
            raise CircuitError(f"two different circuits are called '{circuit.name}'")
        if circuit.name in found:
            return
        for instance in circuit.instances:
            visit(instance)
        found[circuit.name] = circuit

    visit(top)
    return ModuleOp([circuit.finished() for circuit in found.values()])
