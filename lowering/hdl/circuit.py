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

import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain

from xdsl.dialects import hw, seq
from xdsl.dialects.builtin import (
    ArrayAttr,
    IntegerType,
    ModuleOp,
    StringAttr,
    SymbolRefAttr,
)
from xdsl.ir import Block, Operation, Region, SSAValue

from daqkf.dialects.circt_ext import (
    CompRegClockEnabledOp,
    FromClockOp,
    LocalParamOp,
    RegOp,
    SVAttributeAttr,
    UnpackedArrayType,
    VerbatimOp,
)
from daqkf.lowering.hdl.memory import Memory
from daqkf.lowering.hdl.naming import derived_name
from daqkf.lowering.hdl.signal import (
    CircuitError,
    Register,
    Signal,
    Wire,
    concat,
    hint,
    mux,
    named,
    signed_product,
)

__all__ = [
    "Circuit",
    "CircuitError",
    "Memory",
    "Register",
    "Signal",
    "Wire",
    "circuit_module",
    "concat",
    "mux",
    "named",
    "signed_product",
]

_COMMENT_WIDTH = 88


class Circuit:
    """One module under construction, and afterwards the `hw.module` it became.

    Args:
        name: the module's name.
        purpose: what the module is, for the comment in front of it.
        origin: what the whole circuit was made from, for the comments of all its modules. The
            one of the top module counts.
    """

    def __init__(self, name: str, purpose: str = "", origin: str = ""):
        self.name = name
        self.purpose = purpose
        self.origin = origin
        self.module: hw.HWModuleOp | None = None
        self.instances: list[Circuit] = []
        self._block = Block()
        self._inputs: list[hw.ModulePort] = []
        self._input_names: set[str] = set()
        self._outputs: dict[str, Signal] = {}
        self._constants: dict[tuple[int, int], Signal] = {}
        self._localparams: dict[str, tuple[LocalParamOp, int, str]] = {}
        self._registers: dict[Register, tuple[Signal, Signal | None] | None] = {}
        self._wires: dict[Wire, Signal | None] = {}
        self._memories: list[Memory] = []
        self._sections: list[Operation] = []
        self._section_of: dict[Register | Memory, int] = {}
        self.place = 0
        """The number of the section to which signals are added."""
        self._feeds: list[tuple[SSAValue, str]] = []
        self._clock: SSAValue | None = None
        self._reset: Signal | None = None

    def section(self, comment: str) -> None:
        """Begin a block of the text, under a comment: what is declared from here on."""
        lines = textwrap.wrap(comment, _COMMENT_WIDTH - 3)
        marker = VerbatimOp("\n" + "\n".join(f"// {line}" for line in lines))
        self._block.add_op(marker)
        self._sections.append(marker)
        self.place = len(self._sections)

    @contextmanager
    def resume(self, section: int) -> Iterator[None]:
        """Go on with a section that others have followed, of the number that `place` was in it."""
        place, self.place = self.place, section
        yield
        self.place = place

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
        self._insert(op)

    def _insert(self, op: Operation) -> None:
        """Add an operation at the end of the section."""
        last = self._block.last_op
        if self.place < len(self._sections):
            self._block.insert_op_before(op, self._sections[self.place])
        elif isinstance(last, hw.OutputOp):
            self._block.insert_op_before(op, last)
        else:
            self._block.add_op(op)

    def emit(self, op: Operation) -> Signal:
        """Add an operation with one result."""
        self._add(op)
        return Signal(self, op.results[0])

    def declare(self, op: Operation, name: str) -> SSAValue:
        """Add an operation whose result is a place, named in the text."""
        self._insert(op)
        op.results[0].name_hint = name
        return op.results[0]

    def _port(self, name: str, direction: hw.Direction, kind: IntegerType | seq.ClockType):
        if name in self._input_names or name in self._outputs:
            raise CircuitError(f"{self.name}: two ports called '{name}'")
        if direction is hw.Direction.INPUT:
            self._input_names.add(name)
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

    def localparam(self, name: str, value: int, width: int, comment: str = "") -> Signal:
        """A constant that the text has a name for, at its beginning under a comment."""
        if not 0 <= value < 1 << width:
            raise CircuitError(f"{self.name}: {name} = {value} does not fit {width} bits")
        if name not in self._localparams:
            op = LocalParamOp(name, value, width)
            self._localparams[name] = op, value, comment
            self._add(op)
        op, known, _ = self._localparams[name]
        if (known, op.result.type) != (value, IntegerType(width)):
            raise CircuitError(f"{self.name}: two different constants called '{name}'")
        return Signal(self, op.result)

    def _gather_localparams(self) -> None:
        """Move the named constants to the beginning, those of a comment together."""
        by_comment: dict[str, list[tuple[int, LocalParamOp]]] = {}
        for op, value, comment in self._localparams.values():
            by_comment.setdefault(comment, []).append((value, op))
        for comment, group in reversed(by_comment.items()):
            ops = [op for _, op in sorted(group, key=lambda entry: entry[0])]
            for op in ops:
                op.detach()
            gathered = [VerbatimOp(f"\n// {comment}"), *ops] if comment else ops
            self._block.insert_ops_before(gathered, self._first)

    @property
    def _first(self) -> Operation:
        first = self._block.first_op
        assert first is not None
        return first

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
        wire = Wire(self, op.results[0], name)
        self._wires[wire] = None
        return wire

    def register(
        self,
        name: str,
        width: int,
        reset: "Signal | int | None" = None,
        clear: Signal | None = None,
        keep: bool = False,
    ) -> Register:
        """A register, to be driven later; `reset` is its value after a reset or `clear`.

        Synthesis does not join one to `keep` with another that is the same.
        """
        if reset is not None and self._reset is None and clear is None:
            raise CircuitError(f"{self.name}: register '{name}' has a reset, the circuit none")
        op = hw.ConstantOp(0, IntegerType(width))
        self._block.add_op(op)
        register = Register(self, op.results[0], reset, clear, name, keep)
        self._registers[register] = None
        self._section_of[register] = self.place
        return register

    def delay(
        self,
        signal: Signal,
        name: str,
        enable: Signal | None = None,
        reset: int | None = None,
        keep: bool = False,
    ) -> Register:
        """The signal one cycle later."""
        register = self.register(name, signal.width, reset, keep=keep)
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
        self._section_of[memory] = self.place
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
        self._feeds += [(value, f"{name}_{port}") for port, value in values.items()]
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
        names = self._names()
        if self._memories:
            clock = self.emit(FromClockOp(self.clk))
            for memory in self._memories:
                with self.resume(self._section_of[memory]):
                    self._insert(memory.build(clock.value))
        outputs = list(self._outputs.values())
        self._block.add_op(hw.OutputOp([signal.value for signal in outputs]))
        registers: dict[Register, SSAValue] = {}
        for register, driver in self._registers.items():
            if driver is None:
                raise CircuitError(f"{self.name}: nothing drives register {register.label}")
            with self.resume(self._section_of[register]):
                registers[register] = self._register(register, *driver)
        drivers = {wire: self._source(wire) for wire in self._wires}
        self._name_feeds(names, drivers)
        for wire, source in drivers.items():
            self._replace(wire, source.value)
        for register, value in registers.items():
            self._replace(register, value)
        self._gather_localparams()
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

    def _names(self) -> set[str]:
        """The names that are taken, of ports, registers, memories and signals with a name.

        Raises:
            CircuitError: two of them have the same name, of which the exporter would change one.
        """
        ports = self._input_names | set(self._outputs)
        names = [self._name_of(register) for register in self._registers]
        for memory in self._memories:
            names += [memory.name, *memory.read_names]
        names += self._localparams
        hints = (op.attributes.get("sv.namehint") for op in self._block.ops)
        names += [hint.data for hint in hints if isinstance(hint, StringAttr)]
        taken = set(ports)
        for name in names:
            if name in taken:
                raise CircuitError(f"{self.name}: two signals called '{name}'")
            taken.add(name)
        return taken

    def _name_of(self, register: Register) -> str:
        """A register's name in the text, where a port may have the same one."""
        port = register.name in self._input_names or register.name in self._outputs
        return f"{register.name}_reg" if port else register.name

    def _name_feeds(self, taken: set[str], drivers: Mapping[Wire, Signal]) -> None:
        """Name signals that have no name: for what they drive, wires first, or for what they are.

        Only those that are used several times, or before they are declared, become wires of the
        text.
        """
        for value, name in chain(
            ((source.value, wire.name) for wire, source in drivers.items()), self._driven()
        ):
            if name not in taken and hint(value, name):
                taken.add(name)
        known = {register.value: self._name_of(register) for register in self._registers}
        known |= {wire.value: wire.name for wire in self._wires}
        # What has the same derived name is the same expression, of which one is left.
        for op in self._block.ops:
            name = derived_name(op, known)
            if name and name not in taken:
                hint(op.results[0], name)

    def _driven(self) -> Iterator[tuple[SSAValue, str]]:
        """What drives something that has a name, with a name made from it."""
        for register, driver in self._registers.items():
            if driver is not None:
                source, enable = driver
                yield source.value, f"{register.name}_next"
                if enable is not None:
                    yield enable.value, f"{register.name}_enable"
            if register.clear is not None:
                yield register.clear.value, f"{register.name}_clear"
        for memory in self._memories:
            yield from memory.fed
        for name, signal in self._outputs.items():
            yield signal.value, f"{name}_out"
        yield from self._feeds

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
            reset = clear.value, register.partner(register.reset_value).value
        if enable is None:
            op = seq.CompRegOp(source.value, self.clk, reset)
        else:
            op = CompRegClockEnabledOp(source.value, self.clk, enable.value, reset)
        op.attributes["name"] = StringAttr(self._name_of(register))
        if register.keep:
            attribute = SVAttributeAttr(StringAttr("keep"), StringAttr("1"))
            op.attributes["sv.attributes"] = ArrayAttr([attribute])
        return self.emit(op).value

    def _replace(self, placeholder: Signal, value: SSAValue) -> None:
        """Put a value in the place of a wire's or a register's stand-in."""
        owner = placeholder.value.owner
        assert isinstance(owner, Operation)
        placeholder.value.replace_all_uses_with(value)
        self._block.erase_op(owner)
        if isinstance(placeholder, Register):
            value.name_hint = placeholder.name

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
    modules = [circuit.finished() for circuit in found.values()]
    for circuit, module in zip(found.values(), modules, strict=True):
        lines = [f"{circuit.name}: {circuit.purpose}"] if circuit.purpose else []
        lines += [top.origin] if top.origin else []
        comment = "\n".join(
            chain.from_iterable(textwrap.wrap(line, _COMMENT_WIDTH - 3) for line in lines)
        )
        if comment:
            module.attributes["comment"] = StringAttr(comment)
    return ModuleOp(modules)
