# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Enumerations and state machines, whose values have names in the SystemVerilog.

An `IntEnum` defines the values once; the text has a `localparam` for each member that it uses.

    class State(IntEnum):
        IDLE = 0
        BUSY = 1

    state = StateMachine(c, "state", State, reset=State.IDLE)
    state.drive([(state.at(State.IDLE) & go, State.BUSY), (done, State.IDLE)])

becomes `state <= done ? IDLE : state_is_idle & go ? BUSY : state`.
"""

from collections.abc import Iterable
from enum import IntEnum

from daqkf.lowering.hdl.circuit import Circuit, Signal, mux, named


class Enumeration[E: IntEnum]:
    """The members of an enumeration as constants of a circuit.

    Args:
        c: the circuit.
        kind: the enumeration; its values are not negative.
        width: bits of each constant; as many as the largest value takes unless given.
        prefix: what the constants' names have in front of the members', where these alone
            would not be clear or not be unique in the module.
    """

    def __init__(self, c: Circuit, kind: type[E], width: int | None = None, prefix: str = ""):
        self._c = c
        self.kind = kind
        self.width = width or max(1, max(kind).bit_length())
        self._prefix = prefix

    def __getitem__(self, member: E) -> Signal:
        """The member's constant."""
        name = f"{self._prefix}{member.name}"
        what, *_ = (self.kind.__doc__ or "").splitlines() or [""]
        comment = f"{self.kind.__name__}: {what}"
        return self._c.localparam(name, member.value, self.width, comment)


class Decoded[E: IntEnum]:
    """A signal whose values are members of an enumeration, declared in the current section."""

    def __init__(self, c: Circuit, signal: Signal, name: str, values: Enumeration[E]):
        self._c = c
        self._place = c.place
        self.signal = signal
        self.name = name
        self.values = values
        self._at: dict[E, Signal] = {}

    def at(self, member: E) -> Signal:
        """One bit: the signal has this value."""
        if member not in self._at:
            with self._c.resume(self._place):
                equal = self.signal.eq(self.values[member])
            self._at[member] = named(equal, f"{self.name}_is_{member.name.lower()}")
        return self._at[member]


class StateMachine[E: IntEnum](Decoded[E]):
    """A register of one of the enumeration's members, and where it goes from there.

    Args:
        c: the circuit.
        name: the register's name.
        kind: the enumeration of the states.
        reset: the state after a reset.
        prefix: of the constants' names; see `Enumeration`.
    """

    def __init__(self, c: Circuit, name: str, kind: type[E], reset: E, prefix: str = ""):
        values = Enumeration(c, kind, prefix=prefix)
        self._register = c.register(name, values.width, reset=values[reset])
        super().__init__(c, self._register, name, values)

    def drive(self, transitions: Iterable[tuple[Signal, E]], enable: Signal | None = None) -> None:
        """Say where the machine goes: to the state of the last condition that holds.

        It stays where it is if none does, or without `enable`.
        """
        following: Signal = self._register
        for condition, to in transitions:
            following = mux(condition, self.values[to], following)
        self._register.drive(following, enable=enable)
