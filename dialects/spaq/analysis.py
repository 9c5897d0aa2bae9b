# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The attribute with what analysis finds of one weight matrix, channel by channel."""

import math
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, FloatAttr, IntAttr, f64, i32
from xdsl.ir import Attribute, ParametrizedAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.dense import from_array, to_array
from daqkf.hw_targets.zeros import tile_counts

KEY = "spaq.analysis"
"""Under this name a `spaq.constant` carries its analysis, if it was asked for."""


@irdl_attr_definition
class AnalysisAttr(ParametrizedAttribute):
    """`#spaq.analysis<tile = 16, dynamic_range = 12.5 : f64, entropy = 3.25 : f64,
    channel_nonzeros = dense<…> : tensor<Nxi32>, tile_nonzeros = dense<…> : tensor<RxCxi32>>`.

    `dynamic_range` in dB and `entropy` in bits per weight are those of the whole matrix; a tile
    has `tile` features and channels, or fewer at the edges.
    """

    name = "spaq.analysis"

    tile: IntAttr
    dynamic_range: FloatAttr
    entropy: FloatAttr
    channel_nonzeros: DenseIntOrFPElementsAttr
    tile_nonzeros: DenseIntOrFPElementsAttr

    @classmethod
    def of(
        cls,
        tile: int,
        dynamic_range: float,
        entropy: float,
        channel_nonzeros: NDArray[np.int64],
        tile_nonzeros: NDArray[np.int64],
    ) -> "AnalysisAttr":
        """The attribute over plain numbers, [N] and [⌈K/tile⌉, ⌈N/tile⌉]."""
        return cls(
            IntAttr(tile),
            FloatAttr(dynamic_range, f64),
            FloatAttr(entropy, f64),
            from_array(channel_nonzeros, i32),
            from_array(tile_nonzeros, i32),
        )

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        """`<tile = …, …>`, in the order of the parameters."""
        values: list[Attribute] = []
        with parser.in_angle_brackets():
            for position, (name, kind) in enumerate(_KINDS.items()):
                if position:
                    parser.parse_punctuation(",")
                parser.parse_characters(name)
                parser.parse_punctuation("=")
                if kind is IntAttr:
                    values.append(IntAttr(parser.parse_integer(allow_boolean=False)))
                    continue
                start = parser.pos
                value = parser.parse_attribute()
                if not isinstance(value, kind):
                    parser.raise_error(f"{name} is of another kind", start, parser.pos)
                values.append(value)
        return values

    def print_parameters(self, printer: Printer) -> None:
        """As `parse_parameters` reads them."""
        with printer.in_angle_brackets():
            for position, name in enumerate(_KINDS):
                value = getattr(self, name)
                printer.print_string(f"{', ' if position else ''}{name} = ")
                if isinstance(value, IntAttr):
                    printer.print_int(cast(IntAttr[int], value).data)
                else:
                    printer.print_attribute(value)

    def verify(self) -> None:
        """Refuse numbers that no matrix has."""
        if self.tile.data < 1:
            raise VerifyException(f"a tile has an extent above 0, not {self.tile.data}")
        for name in ("dynamic_range", "entropy"):
            value = getattr(self, name).value.data
            if not (math.isfinite(value) and value >= 0):
                raise VerifyException(f"{name} must be finite and not below 0")
        for name in ("channel_nonzeros", "tile_nonzeros"):
            counts: DenseIntOrFPElementsAttr = getattr(self, name)
            if counts.get_element_type() != i32 or not counts.shape_is_complete:
                raise VerifyException(f"{name} must be counts of i32")

    def verify_against(self, array: NDArray[Any]) -> None:
        """Hold the counts against the weights [K, N] themselves.

        Raises:
            VerifyException: a count is another one.
        """
        mask = array != 0
        for name, expected in (
            ("channel_nonzeros", np.count_nonzero(mask, axis=0)),
            ("tile_nonzeros", tile_counts(mask, self.tile.data, self.tile.data)),
        ):
            stated = getattr(self, name)
            if stated.get_shape() != expected.shape:
                raise VerifyException(
                    f"{name} has the shape {list(stated.get_shape())}, not {list(expected.shape)}"
                )
            wrong = np.argwhere(to_array(stated) != expected)
            if len(wrong):
                place = tuple(int(index) for index in wrong[0])
                raise VerifyException(
                    f"{name}{list(place)} is {to_array(stated)[place]}, but there are "
                    f"{expected[place]} non-zeros"
                )


_KINDS: dict[str, type[Attribute]] = {
    "tile": IntAttr,
    "dynamic_range": FloatAttr,
    "entropy": FloatAttr,
    "channel_nonzeros": DenseIntOrFPElementsAttr,
    "tile_nonzeros": DenseIntOrFPElementsAttr,
}
