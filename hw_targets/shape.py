# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What shapes one processing element: the part of a machine that its stream words depend on."""

from typing import Protocol


class ElementShape(Protocol):
    """What a family has to know of an array to define a word and what it does.

    `Machine` and `ArrayConfig` have all of it. Families see no more than this, so that a machine
    can ask its families whether they can have its shape, without a circle of imports.
    """

    @property
    def lanes(self) -> int:
        """Tokens T to which an item is broadcast."""
        ...

    @property
    def items(self) -> int:
        """Items of a running-sum, ternary or semiring word."""
        ...

    @property
    def activation_depth(self) -> int:
        """Rows of an activation memory; the last one is kept zero."""
        ...

    @property
    def address_width(self) -> int:
        """Bits of an activation address."""
        ...

    @property
    def null_address(self) -> int:
        """The address of the row that always holds zeros."""
        ...

    @property
    def index_bits(self) -> int:
        """Bits that a word has for an item's row; 0: a whole address."""
        ...

    @property
    def shift_width(self) -> int:
        """Bits of a word's gap shift; 0 if every step is one level."""
        ...

    @property
    def shared_words(self) -> bool:
        """Whether running-sum outputs share a word with the next one."""
        ...

    @property
    def weight_bits(self) -> tuple[int, ...]:
        """Bits of a weight of elements that multiply, or both widths that it can have."""
        ...

    @property
    def multiplier(self) -> str:
        """How lanes multiply."""
        ...

    @property
    def operand_depth(self) -> int:
        """Words of a PE's operand memory; 0: there is none."""
        ...
