# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What a family of processing elements consists of: six parts, named in one descriptor.

The word of its stream and its golden model are objects of this room. Its coding, its datapath and
its specification belong to the rooms above; the descriptor names them, as `module:attribute`, and
they are loaded when somebody asks for them. Its prices are data.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.index_coding import IndexForm
from daqkf.hw_targets.semirings import Semiring
from daqkf.hw_targets.shape import ElementShape

Ints = NDArray[np.int64]

Words = Mapping[str, Ints]
"""The fields [rows] of stream words, unpacked and unsigned."""

type GoldenModel = Callable[[Words, Ints, ElementShape], Iterator[Ints]]
"""`golden(words, memory, shape)` yields the sums [T] of the outputs that a stream completes, in
order. `memory` is the activation memory [depth, T], features along the first axis."""

PRICES = Path(__file__).parents[1] / "prices"
"""The folder with the prices of families, one file each."""


class StreamWord(ABC):
    """The word of a family's streams."""

    indices: ClassVar[IndexForm | None] = None
    """What words have in place of addresses, where the array has `index_bits`."""

    signed: ClassVar[Collection[str]] = ()
    """The fields that are in two's complement, apart from the weights of items."""

    @abstractmethod
    def fields(self, shape: ElementShape) -> dict[str, int]:
        """The fields of a word with whole addresses and their bits, the lowest first.

        Unless the array's counters supply them (`supplied`), every word also has `last`, which
        ends an output, and `end`, which ends the stream.
        """

    def require(self, shape: ElementShape) -> None:  # noqa: B027 - most words fit any shape
        """Check that elements of this shape can have such words.

        Raises:
            ValueError: they cannot.
        """

    def stored(self, shape: ElementShape) -> dict[str, int]:
        """The fields of a word as it is in the stream, and their bits."""
        fields = self.fields(shape)
        if shape.index_bits and self.indices:
            return self.indices.fields(fields, shape)
        return fields

    def encoded(self, words: Words, shape: ElementShape) -> Words:
        """Words with whole addresses, -1 for null items, as they are in the stream.

        Raises:
            ValueError: words whose rows `index_bits` cannot express.
        """
        if shape.index_bits and self.indices:
            return self.indices.coded(words, shape)
        null = {
            name: np.where(words[name] < 0, shape.null_address, words[name])
            for name in self.addresses(shape)
        }
        return dict(words) | null

    def played(self, words: Words, shape: ElementShape) -> Words:
        """Words as they are in the stream, with whole addresses."""
        if shape.index_bits and self.indices:
            return self.indices.addressed(words, shape)
        return words

    def supplied(self, words: int, features: int, outputs: int) -> Words:
        """The fields of a PE's `words` that are not in the stream but made by the array."""
        return {}

    def addresses(self, shape: ElementShape) -> tuple[str, ...]:
        """The fields that hold rows of the activation memory; null items have the last row."""
        return tuple(name for name in self.fields(shape) if name.startswith("index"))

    def completed(self, words: Words) -> int:
        """How many outputs a stream completes."""
        return int(words["last"].sum())


@dataclass(frozen=True)
class Family:
    """One kind of processing element: its six parts, and what an array has to know of it."""

    name: str
    """As in `Machine.families`."""
    word: StreamWord
    """What a word of its streams says."""
    golden: GoldenModel
    """What its elements compute, bit for bit."""
    coding: str = ""
    """How weights become its words: a `Coding` of `passes/encode`."""
    datapath: str = ""
    """Its circuit: a `DatapathBuilder` of `lowering/rtl/families`."""
    price: Path = Path()
    """What its elements take of a fabric: a TOML file with a table for each fabric."""
    spec: str = ""
    """What is proved of its circuit: a `Spec` of `daqkf.formal.specs`."""
    modular: bool = False
    """Whether sums are right only modulo 2^accumulator_width, until the bias is added."""
    lockstep: bool = False
    """Whether all elements do the same step at the same time, so that they share their control.
    An array of them has elements of no other family."""
    fans_out: bool = False
    """Whether elements of many lanes reach them through a tree of registers (`fan_out`)."""
    semirings: tuple[Semiring, ...] = (Semiring.PLUS_TIMES,)
    """The semirings over which its elements multiply."""

    def __post_init__(self):
        """Parts that are not given are at the place that the family's name says."""
        places = {
            "coding": f"daqkf.passes.encode.{self.name}:CODING",
            "datapath": f"daqkf.lowering.rtl.families.{self.name}:DATAPATH",
            "price": PRICES / f"{self.name}.toml",
            "spec": f"daqkf.formal.specs.{self.name}:SPEC",
        }
        for part, place in places.items():
            if getattr(self, part) in ("", Path()):
                object.__setattr__(self, part, place)


def load[T](part: str, kind: type[T]) -> T:
    """The object that `module:attribute` names.

    Raises:
        TypeError: it is not of this kind.
    """
    module, _, attribute = part.partition(":")
    found = getattr(import_module(module), attribute)
    if not isinstance(found, kind):
        raise TypeError(f"{part} is no {kind.__name__}")
    return found
