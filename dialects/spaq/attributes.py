# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Attributes of `spaq`: what is known of a weight tensor's zeros and of its levels."""

from dataclasses import dataclass
from enum import StrEnum

from xdsl.dialects.builtin import NoneAttr
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Attribute, ParametrizedAttribute, SpacedOpaqueSyntaxAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer

from daqkf.dialects.keyed import KeyedData
from daqkf.hw_targets.functions import Function
from daqkf.hw_targets.numerics import LEVEL_MAX
from daqkf.hw_targets.semirings import Semiring
from daqkf.hw_targets.zeros import check_pattern


class LevelKind(StrEnum):
    """How the magnitudes of a level set are spread.

    `uniform`: 1..maximum. `codebook`: free magnitudes up to maximum. `ternary`: 0 and ±1.
    `binary`: ±1, and 0 only for what is exactly 0 before.
    """

    UNIFORM = "uniform"
    CODEBOOK = "codebook"
    TERNARY = "ternary"
    BINARY = "binary"


LEVEL_KINDS = tuple(LevelKind)


@dataclass(frozen=True)
class Sparsity:
    """Where the non-zeros of a [K, N] tensor are.

    Raises:
        ValueError: a negative count, or no pattern.
    """

    nonzeros: int
    """Non-zeros of the whole tensor."""
    column_nonzeros: int
    """The most non-zeros any output channel has."""
    pattern: str
    """The structure that the zeros follow, as `zeros.PATTERNS` spells it."""

    def __post_init__(self):
        if self.nonzeros < 0 or self.column_nonzeros < 0:
            raise ValueError("counts of non-zeros cannot be negative")
        check_pattern(self.pattern)


@dataclass(frozen=True)
class LevelSet:
    """The values that weights of an output channel may take: 0 and ± a few magnitudes.

    Raises:
        ValueError: an unknown kind, counts outside 1..127, or counts that are not the kind's.
    """

    kind: str
    """A `LevelKind`, or its spelling, which becomes one."""
    magnitudes: int
    """Distinct magnitudes besides zero that a channel may use."""
    maximum: int
    """The largest magnitude."""

    def __post_init__(self):
        if self.kind not in LEVEL_KINDS:
            raise ValueError(
                f"unknown kind of level set '{self.kind}' (known: {', '.join(LEVEL_KINDS)})"
            )
        object.__setattr__(self, "kind", LevelKind(self.kind))
        if not 1 <= self.magnitudes <= self.maximum <= LEVEL_MAX:
            raise ValueError(
                f"a level set needs 1 <= magnitudes <= maximum <= {LEVEL_MAX}, "
                f"not {self.magnitudes} magnitudes up to {self.maximum}"
            )
        if self.kind == "uniform" and self.magnitudes != self.maximum:
            raise ValueError("the magnitudes of a uniform level set are 1..maximum")
        if self.kind in ("ternary", "binary") and self.maximum != 1:
            raise ValueError(f"a {self.kind} level set has one magnitude, 1")

    @classmethod
    def of(cls, kind: str, magnitudes: int | None = None, maximum: int | None = None) -> "LevelSet":
        """A level set with the usual counts where none are given.

        As many magnitudes as there are (one, for ternary and binary). The maximum of a codebook
        is 2·magnitudes + 1: the free levels have then gained most of their accuracy, while the
        steps between them are still few.

        Raises:
            ValueError: there is no such level set.
        """
        if magnitudes is None:
            magnitudes = 1 if kind in ("ternary", "binary") else LEVEL_MAX
        if maximum is None:
            maximum = magnitudes
            if kind == "codebook":
                maximum = min(2 * magnitudes + 1, LEVEL_MAX)
        return cls(kind, magnitudes, maximum)

    @property
    def bits(self) -> int:
        """Bits that would name one level: ceil(log2(2·magnitudes + 1)).

        Binary counts as two: pruned weights are zeros among its levels.
        """
        return (2 * self.magnitudes).bit_length()


@irdl_attr_definition
class SparsityAttr(KeyedData[Sparsity]):
    """`#spaq.sparsity<nonzeros = 9, column_nonzeros = 3, pattern = "unstructured">`."""

    name = "spaq.sparsity"
    record = Sparsity


@irdl_attr_definition
class LevelsAttr(KeyedData[LevelSet]):
    """`#spaq.levels<kind = "codebook", magnitudes = 15, maximum = 127>`."""

    name = "spaq.levels"
    record = LevelSet


@irdl_attr_definition
class EncodingAttr(ParametrizedAttribute):
    """Tensor encoding of a weight matrix: its sparsity and, once quantised, its level set."""

    name = "spaq.encoding"

    sparsity: SparsityAttr
    levels: LevelsAttr | NoneAttr

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        """`<sparsity>` or `<sparsity, levels>`."""
        with parser.in_angle_brackets():
            sparsity = parser.parse_attribute()
            levels = NoneAttr()
            if parser.parse_optional_punctuation(",") is not None:
                levels = parser.parse_attribute()
        return [sparsity, levels]

    def print_parameters(self, printer: Printer) -> None:
        """As `parse_parameters` reads them."""
        with printer.in_angle_brackets():
            printer.print_attribute(self.sparsity)
            if isinstance(self.levels, LevelsAttr):
                printer.print_string(", ")
                printer.print_attribute(self.levels)


@irdl_attr_definition
class FunctionAttr(EnumAttribute[Function], SpacedOpaqueSyntaxAttribute):  # pyright: ignore[reportInvalidTypeArguments]
    """`#spaq<function "relu">`, or in an operation `"relu"`."""

    name = "spaq.function"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Function:
        """The name, in quotes."""
        start = parser.pos
        name = parser.parse_str_literal()
        if name not in tuple(Function):
            known = ", ".join(Function)
            parser.raise_error(f"unknown function '{name}' (known: {known})", start, parser.pos)
        return Function(name)

    def print_parameter(self, printer: Printer) -> None:
        """As `parse_parameter` reads it."""
        printer.print_string_literal(self.data)


@irdl_attr_definition
class SemiringAttr(EnumAttribute[Semiring], SpacedOpaqueSyntaxAttribute):  # pyright: ignore[reportInvalidTypeArguments]
    """`#spaq<semiring max_plus>`, or in a product `semiring max_plus`."""

    name = "spaq.semiring"
