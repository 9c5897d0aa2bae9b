# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Bit vectors as linear sums, which leave less for the solver to search.

A vector is a sum of multiples of atoms and an offset, modulo 2^width. An atom is a term of the
solver together with the bounds of its value. Control bits that are known become constants while a
circuit is unrolled. If the bounds show that a sum does not overflow, then the same sum in wider
bits has the same form. A tree of adders of growing widths thus becomes one sum, in whatever order
the adders stand.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from math import gcd
from typing import Any

from daqkf.dialects.errors import from_extra

type Value = Any
"""A term of Bitwuzla, whose package has no types, or an unsigned int."""


@cache
def solver_library() -> Any:
    """Bitwuzla's Python package (Niemetz and Preiner, CAV 2023), imported when it is first needed.

    Raises:
        DaqkfError: the package is not installed.
    """
    with from_extra("formal"):
        return importlib.import_module("bitwuzla")


@cache
def manager() -> Any:
    """The solver's term manager, which owns all terms and makes equal terms one object."""
    return solver_library().TermManager()


def term(kind: str, operands: Sequence[Value], indices: Sequence[int] = ()) -> Value:
    """Make a term of a kind that SMT-LIB names, such as `BV_ADD`."""
    return manager().mk_term(solver_library().Kind[kind], list(operands), list(indices))


def _extract(value: Value, high: int, low: int) -> Value:
    """Extract bits high … low of a term; nested extracts become one of the whole term."""
    if value.kind() == solver_library().Kind.BV_EXTRACT:
        _, below = value.indices()
        return _extract(value.children()[0], high + below, low + below)
    if not low and high + 1 == value.sort().bv_size():
        return value
    return term("BV_EXTRACT", [value], [high, low])


type Bounds = tuple[int, int]
"""The least and the largest value, as signed numbers."""


@dataclass(frozen=True, eq=False)
class Atom:
    """A term of the solver, with the bounds of its value."""

    width: int
    term: Value
    bounds: Bounds
    upper_of: "tuple[Bits, int] | None" = None
    """Set if the atom is a number without some of its lowest bits: that number, which is not
    negative, and how many bits were cut off."""
    parts: "tuple[Bits, Bits] | None" = None
    """Set if the atom is a concatenation: its upper bits and its lower bits."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Atom) and self.term == other.term

    def __hash__(self) -> int:
        return hash(self.term)

    def at(self, width: int) -> Value:
        """The term in `width` bits: sign-extended, or cut to the lowest bits."""
        if width == self.width:
            return self.term
        if width < self.width:
            return _extract(self.term, width - 1, 0)
        return term("BV_SIGN_EXTEND", [self.term], [width - self.width])


@dataclass(frozen=True)
class Bits:
    """A bit vector. Both operands of an operator have the same width; an int is a constant."""

    width: int
    sum: Mapping[Atom, int]
    """The factor of each atom, in (-2^(width-1), 2^(width-1)]; no factor is 0."""
    offset: int
    """The constant of the sum, in [-2^(width-1), 2^(width-1))."""

    def __hash__(self) -> int:
        return hash((self.width, self.offset, frozenset(self.sum.items())))

    @property
    def known(self) -> bool:
        """Whether the bits are a constant."""
        return not self.sum

    @property
    def value(self) -> int:
        """The constant as an unsigned number; the bits must be known."""
        assert self.known
        return self.offset & _ones(self.width)

    @cached_property
    def bounds(self) -> Bounds:
        """The bounds of the sum over the integers, which the bits equal if it fits them."""
        low = high = self.offset
        for atom, factor in self.sum.items():
            ends = [factor * bound for bound in atom.bounds]
            low, high = low + min(ends), high + max(ends)
        return low, high

    @cached_property
    def term(self) -> Value:
        """The bits as one term of the solver."""
        atoms = sorted(self.sum.items(), key=lambda item: item[0].term.id())
        if len(atoms) == 1 and self.offset == -1 and atoms[0][1] == _centred(-1, self.width):
            return term("BV_NOT", [atoms[0][0].at(self.width)])
        parts = [
            atom.at(self.width)
            if factor == 1
            else term("BV_MUL", [_literal(factor, self.width), atom.at(self.width)])
            for atom, factor in atoms
        ]
        if self.offset or not parts:
            parts.append(_literal(self.offset, self.width))
        result = parts[0]
        for part in parts[1:]:
            result = term("BV_ADD", [result, part])
        return result

    def number(self, value: int) -> bool:
        """Whether the bits are this constant; -1 stands for all ones."""
        return self.known and self.value == value & _ones(self.width)

    def _with(self, other: "Bits | int") -> "Bits":
        if isinstance(other, int):
            return constant(other, self.width)
        assert other.width == self.width
        return other

    def __add__(self, other: "Bits | int") -> "Bits":
        other = self._with(other)
        if not other.sum and not other.offset:
            return self
        total = dict(self.sum)
        for atom, factor in other.sum.items():
            total[atom] = total.get(atom, 0) + factor
        return _linear(self.width, total, self.offset + other.offset)

    def scaled(self, factor: int) -> "Bits":
        """The bits times an integer."""
        return _linear(
            self.width, {a: f * factor for a, f in self.sum.items()}, self.offset * factor
        )

    def __neg__(self) -> "Bits":
        return self.scaled(-1)

    def __sub__(self, other: "Bits | int") -> "Bits":
        return self + -self._with(other)

    def __mul__(self, other: "Bits | int") -> "Bits":
        other = self._with(other)
        if self.known or other.known:
            return self.scaled(other.offset) if other.known else other.scaled(self.offset)
        ends = [a * b for a in self.bounds for b in other.bounds]
        bounds, width = (min(ends), max(ends)), self.width
        if _within(bounds, width):  # so that the same product in wider bits is equal
            width = max(_signed_bits(end) for end in ends)
        pair = sorted((self[:width], other[:width]), key=lambda factor: factor.term.id())
        return _atom(width, "BV_MUL", pair, bounds).sext(self.width)

    def __invert__(self) -> "Bits":
        return -self - 1

    def __and__(self, other: "Bits | int") -> "Bits":
        other = self._with(other)
        if self.known and other.known:
            return constant(self.value & other.value, self.width)
        if other.known:
            self, other = other, self
        if self.number(0) or self == other:
            return self
        if self.number(-1):
            return other
        return _atom(self.width, "BV_AND", (self, other))

    def __or__(self, other: "Bits | int") -> "Bits":
        return ~(~self & ~self._with(other))

    def __xor__(self, other: "Bits | int") -> "Bits":
        other = self._with(other)
        if self.known and other.known:
            return constant(self.value ^ other.value, self.width)
        for a, b in ((self, other), (other, self)):
            if b == b[:1].sext(b.width):  # all bits of b are equal
                return ite(b[:1], ~a, a)
        return _atom(self.width, "BV_XOR", (self, other))

    def __lshift__(self, amount: "Bits | int") -> "Bits":
        amount = self._with(amount)
        if amount.known:
            return self.scaled(1 << amount.value)
        return _atom(self.width, "BV_SHL", (self, amount))

    def __rshift__(self, amount: "Bits | int") -> "Bits":
        amount = self._with(amount)
        if self.known and amount.known:
            return constant(self.value >> amount.value, self.width)
        return _atom(self.width, "BV_SHR", (self, amount))

    def __getitem__(self, bits: slice) -> "Bits":
        """The bits of a half-open range; bit 0 is the least significant."""
        low, high = bits.start or 0, self.width if bits.stop is None else bits.stop
        if low == 0:
            if high == self.width:
                return self
            cut: dict[Atom, int] = {}
            for atom, factor in self.sum.items():
                if atom.width > high and not _within(atom.bounds, high):
                    atom = Atom(high, atom.at(high), _whole(high))
                cut[atom] = cut.get(atom, 0) + factor
            return _linear(high, cut, self.offset)
        if self.known:
            return constant(self.value >> low, high - low)
        if _within(self.bounds, low + 1):  # Only copies of the sign are left.
            return self._sign().sext(high - low)
        multiple, rest = self[:high]._split(low)
        if _within(rest.bounds, low + 1):
            return multiple + rest._sign().sext(high - low)
        if self._period() is not None:
            return self._quotient(low)[: high - low]
        middle = _extract(self.term, high - 1, low)
        return _single(Atom(high - low, middle, _whole(high - low)))

    def _split(self, low: int) -> tuple["Bits", "Bits"]:
        """Split the sum into (multiple, rest) with multiple · 2^low + rest = sum.

        The width of `multiple` is smaller by `low`.
        """
        rest = {atom: _centred(factor, low) for atom, factor in self.sum.items()}
        offset = _centred(self.offset, low)
        multiple = {atom: (f - rest[atom]) >> low for atom, f in self.sum.items()}
        return (
            _linear(self.width - low, multiple, (self.offset - offset) >> low),
            _linear(self.width, rest, offset),
        )

    def _period(self) -> int | None:
        """The multiple of 2^width that turns the integer sum into the bits' unsigned value.

        It is None if one multiple does not do so for every value of the sum.
        """
        low, high = self.bounds
        period = -(low >> self.width) << self.width
        return period if high + period <= _ones(self.width) else None

    def _quotient(self, low: int) -> "Bits":
        """The unsigned value shifted right by `low`; `concat` can put the low bits back."""
        whole = self.zext(self.width + 1)
        bounds = whole.bounds[0] >> low, whole.bounds[1] >> low
        upper = _extract(whole.term, self.width, low)
        return Bits(self.width - low, {Atom(whole.width - low, upper, bounds, (whole, low)): 1}, 0)

    def _sign(self) -> "Bits":
        """The sign bit, taken from the narrowest form, so that equal numbers have equal signs."""
        core = self
        if _within(self.bounds, self.width):
            if self.bounds[0] >= 0 or self.bounds[1] < 0:
                return constant(int(self.bounds[1] < 0), 1)
            core = self[: max(_signed_bits(bound) for bound in self.bounds)]
        if core.known:
            return constant(core.offset >> core.width, 1)
        if _within(core.bounds, core.width):
            low = max((f & -f).bit_length() - 1 for f in core.sum.values())
            if 0 < low < core.width:
                multiple, rest = core._split(low)
                if multiple.sum and _within(rest.bounds, low + 1):
                    return (multiple + rest._sign().sext(multiple.width))._sign()
            common = gcd(core.offset, *core.sum.values())
            if common > 1:
                reduced = {atom: factor // common for atom, factor in core.sum.items()}
                return Bits(core.width, reduced, core.offset // common)._sign()
        if core.width == 1:
            return core
        top = _extract(core.term, core.width - 1, core.width - 1)
        return _single(Atom(1, top, _whole(1)))

    def concat(self, low: "Bits") -> "Bits":
        """Concatenate: these are the upper bits, and `low` are the lower bits."""
        width = self.width + low.width
        if self.known and low.known:
            return constant(self.value << low.width | low.value, width)
        if self.number(0):
            return low.zext(width)
        if self == low._sign().sext(self.width):
            return low.sext(width)
        if low.known or (low._period() is not None and self._period() is not None):
            return (_linear(width, self.sum, self.offset) << low.width) + low.zext(width)
        if len(low.sum) == 1 and (parts := next(iter(low.sum)).parts):
            return self.concat(parts[0]).concat(parts[1])
        if self.width == 1:
            for whole in low._wider():
                sign = whole._sign()
                if self in (sign, ~sign):
                    return whole if self == sign else whole + (1 << low.width)
        for atom, factor in self.sum.items():
            whole, cut = atom.upper_of or (self, 0)
            if factor == 1 and cut == low.width and whole[:cut] == low:
                rest = self - Bits(self.width, {atom: 1}, 0)
                return (rest.sext(width) << cut) + whole.zext(width)
        # A known odd constant below means a factor that is packed with a sum; others stay one atom.
        if low.offset % 2 and low._period() is not None and _within(self.bounds, self.width):
            return (self.sext(width) << low.width) + low.zext(width)
        joined = term("BV_CONCAT", [self.term, low.term])
        return _single(Atom(width, joined, _whole(width), parts=(self, low)))

    def _wider(self) -> Iterator["Bits"]:
        """Find numbers that are one bit wider and have these bits as their lower bits."""
        width = self.width + 1
        if _within(self.bounds, width):
            yield Bits(width, self.sum, self.offset)
        if len(self.sum) != 1:
            return
        ((atom, factor),) = self.sum.items()
        if atom.term.kind() == solver_library().Kind.BV_EXTRACT:
            high, low = atom.term.indices()
            whole = atom.term.children()[0]
            # The bit above the atom must also be the bit above the whole number.
            if high + 1 < whole.sort().bv_size() and factor == 1 << (self.width - atom.width):
                wider = _single(
                    Atom(atom.width + 1, _extract(whole, high + 1, low), _whole(atom.width + 1))
                )
                yield (wider.sext(width) << (self.width - atom.width)) + self.offset

    def sext(self, width: int) -> "Bits":
        """Sign-extend the bits to `width`, or cut them."""
        if width <= self.width:
            return self[:width]
        if _within(self.bounds, self.width):
            return Bits(width, self.sum, self.offset)
        return Bits(width, {Atom(self.width, self.term, _whole(self.width)): 1}, 0)

    def zext(self, width: int) -> "Bits":
        """Zero-extend the bits to `width`, or cut them."""
        if width <= self.width:
            return self[:width]
        if self.known:
            return constant(self.value, width)
        period = self._period()
        if period is not None:
            return _linear(width, self.sum, self.offset + period)
        wide = term("BV_ZERO_EXTEND", [self.term], [width - self.width])
        return _single(Atom(width, wide, (0, _ones(self.width))))

    def eq(self, other: "Bits | int") -> "Bits":
        """One bit, which is 1 if both are equal."""
        other = self._with(other)
        difference = self - other
        if difference.known:
            return constant(int(difference.offset == 0), 1)
        pair = sorted((self.term, other.term), key=lambda side: side.id())
        return _single(Atom(1, term("BV_COMP", pair), _whole(1)))

    def ult(self, other: "Bits | int", signed_too: bool = False) -> "Bits":
        """One bit, which is 1 if this is less than `other`; unsigned by default."""
        other = self._with(other)
        if self.known and other.known:
            below = self.offset < other.offset if signed_too else self.value < other.value
            return constant(int(below), 1)
        test = term("BV_SLT" if signed_too else "BV_ULT", [self.term, other.term])
        choice = term("ITE", [test, _literal(1, 1), _literal(0, 1)])
        return _single(Atom(1, choice, _whole(1)))

    def fits(self, width: int) -> "Bits":
        """One bit, which is 1 if `width` bits hold the signed number."""
        return self.eq(self[:width].sext(self.width))


@cache
def constant(number: int, width: int) -> Bits:
    """The bits of an integer modulo 2^width."""
    return _linear(width, {}, number)


def unknown(name: str, width: int) -> Bits:
    """Bits of unknown value; two calls with one name make two different unknowns."""
    symbol = manager().mk_const(manager().mk_bv_sort(width), name)
    return _single(Atom(width, symbol, _whole(width)))


def ite(condition: Bits, true: Bits, false: Bits) -> Bits:
    """The bits of `condition ? true : false`."""
    if condition.known:
        return true if condition.value else false
    if true == false:
        return true
    if true.width == 1 and true.known:
        return condition | false if true.value else ~condition & false
    if true.width == 1 and false.known:
        return ~condition | true if false.value else condition & true
    # The choice is made in the narrowest width, so that the same one in wider bits is equal.
    width = true.width
    bounds = min(true.bounds[0], false.bounds[0]), max(true.bounds[1], false.bounds[1])
    if _within(bounds, width):
        width = max(_signed_bits(bound) for bound in bounds)
    else:
        bounds = _whole(width)
    test = term("EQUAL", [condition.term, _literal(1, 1)])
    choice = term("ITE", [test, true[:width].term, false[:width].term])
    return _single(Atom(width, choice, bounds)).sext(true.width)


def all_of(conditions: Sequence[Bits]) -> Bits:
    """One bit, which is 1 if all conditions hold."""
    result = constant(1, 1)
    for condition in conditions:
        result &= condition
    return result


def _linear(width: int, factors: Mapping[Atom, int], offset: int) -> Bits:
    total = {atom: _centred(factor, width) for atom, factor in factors.items()}
    total = {atom: factor for atom, factor in total.items() if factor}
    return Bits(width, total, -_centred(-offset, width))


def _single(atom: Atom) -> Bits:
    return Bits(atom.width, {atom: 1}, 0)


def _atom(width: int, kind: str, operands: Sequence[Bits], bounds: Bounds | None = None) -> Bits:
    if bounds is None or not _within(bounds, width):
        bounds = _whole(width)
    value = term(kind, [operand.term for operand in operands])
    return _single(Atom(width, value, bounds))


def _literal(number: int, width: int) -> Value:
    return manager().mk_bv_value(manager().mk_bv_sort(width), number & _ones(width))


def _centred(number: int, width: int) -> int:
    """The integer modulo 2^width that lies in (-2^(width-1), 2^(width-1)]."""
    half = 1 << (width - 1)
    return half - (half - number) % (1 << width)


def _signed_bits(number: int) -> int:
    return (number if number >= 0 else ~number).bit_length() + 1


def _whole(width: int) -> Bounds:
    return -(1 << (width - 1)), (1 << (width - 1)) - 1


def _within(bounds: Bounds, width: int) -> bool:
    low, high = _whole(width)
    return low <= bounds[0] and bounds[1] <= high


def _ones(width: int) -> int:
    return (1 << width) - 1
