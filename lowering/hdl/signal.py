# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Signals of a module, and the operators that build its logic.

A `Signal` is an unsigned bit vector. Operands have equal widths, and an `int` takes the width of
its partner.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from xdsl.dialects import comb
from xdsl.dialects.builtin import IntegerAttr, IntegerType, StringAttr
from xdsl.ir import Operation, SSAValue

from daqkf.dialects.circt_ext import VerbatimExprOp


class CircuitError(ValueError):
    """A circuit that cannot be built: widths that differ, a register that nothing drives …"""


class Builder(Protocol):
    """The module under construction, as far as signals need to know it: `circuit.Circuit`."""

    name: str

    def own(self, value: SSAValue) -> None:
        """Check that a value is of this module."""
        ...

    def emit(self, op: Operation) -> "Signal":
        """Add an operation with one result."""
        ...

    def declare(self, op: Operation, name: str) -> SSAValue:
        """Add an operation whose result is a place, named in the text."""
        ...

    def const(self, value: int, width: int) -> "Signal":
        """A constant."""
        ...

    def assign(self, register: "Register", source: "Signal", enable: "Signal | None") -> None:
        """Drive a register."""
        ...

    def connect(self, wire: "Wire", source: "Signal") -> None:
        """Drive a wire."""
        ...


@dataclass(frozen=True, eq=False)
class Signal:
    """A value of one module, `width` bits."""

    circuit: "Builder"
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
        name = self.name if isinstance(self, Wire | Register) else self.value.name_hint
        return f"'{name}'" if name else "a signal"

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
    """The signal, with a name for the text, if nothing else has given it one.

    Only a signal that is used several times, or before it is declared, becomes a wire of the
    text. Verilator accepts that bits of an `unused` one are not read.
    """
    hint(signal.value, name)
    return signal


def hint(value: SSAValue, name: str) -> bool:
    """Name a value for the text if it is of an operation that the exporter may make a wire for.

    Whether that is so and it had no name before. Unlike a name of MLIR's text, from which xDSL
    strips numbers at the end, the attribute leaves the name as it is.
    """
    owner = value.owner
    if not isinstance(owner, Operation) or not owner.name.startswith(("comb.", "sv.verbatim")):
        return False
    if "sv.namehint" in owner.attributes:
        return False
    owner.attributes["sv.namehint"] = StringAttr(name)
    return True


def concat(*signals: Signal) -> Signal:
    """The signals side by side, the first in the most significant bits."""
    if len(signals) == 1:
        return signals[0]
    width = sum(signal.width for signal in signals)
    values = [signal.value for signal in signals]
    return signals[0].circuit.emit(comb.ConcatOp(values, IntegerType(width)))


@dataclass(frozen=True, eq=False)
class Wire(Signal):
    """A signal that may be read before it is driven."""

    name: str

    def drive(self, source: Signal) -> None:
        """Say what the wire carries, once."""
        self.circuit.connect(self, self.partner(source))


@dataclass(frozen=True, eq=False)
class Register(Signal):
    """A register on the circuit's clock."""

    reset_value: Signal | int | None
    clear: Signal | None
    name: str
    keep: bool = False
    """Synthesis is told to keep it, though another register may be the same."""

    def drive(self, source: "Signal | int", enable: Signal | None = None) -> None:
        """Say what the register takes at each clock edge, or at those with `enable`, once."""
        self.circuit.assign(self, self.partner(source), enable)
