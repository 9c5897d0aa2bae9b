# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A real number for all features, or one for each: ranges and scales."""

from typing import cast

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, Float64Type, FloatAttr, f64
from xdsl.ir import Operation
from xdsl.irdl import AnyOf, AttrConstraint, BaseAttr, IRDLOperation
from xdsl.irdl.declarative_assembly_format import (
    AttributeVariable,
    CustomDirective,
    ParsingState,
    PrintingState,
    irdl_custom_directive,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.dense import from_array, to_array

RealsAttr = FloatAttr[Float64Type] | DenseIntOrFPElementsAttr

REALS: AttrConstraint[RealsAttr] = AnyOf(
    (BaseAttr(FloatAttr), BaseAttr(DenseIntOrFPElementsAttr))  # pyright: ignore
)
"""One f64 for all features, or a dense f64 constant with one for each; see `require_reals`."""


def as_reals(values: float | NDArray[np.float64]) -> RealsAttr:
    """The attribute of a number or of an array [K]."""
    return from_array(values, f64) if isinstance(values, np.ndarray) else FloatAttr(values, f64)


def reals(attribute: RealsAttr) -> float | NDArray[np.float64]:
    """The number or the array [K] of an attribute."""
    return attribute.value.data if isinstance(attribute, FloatAttr) else to_array(attribute)


def require_reals(op: Operation, name: str, attribute: RealsAttr, count: int) -> None:
    """Check that each of the `count` features has a finite value above 0.

    Raises:
        VerifyException: naming the feature.
    """
    dense = isinstance(attribute, DenseIntOrFPElementsAttr)
    kind = attribute.get_element_type() if dense else attribute.type
    fits = not dense or (attribute.get_shape() == (count,) and attribute.shape_is_complete)
    if kind != f64 or not fits:
        raise VerifyException(
            f"{name} is one f64, or one for each of the {count} features of {op.name}"
        )
    values = np.atleast_1d(reals(attribute))
    bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if len(bad):
        place = f" of feature {bad[0]}" if dense else ""
        raise VerifyException(f"{name}{place} must be finite and above 0")


@irdl_custom_directive
class Reals(CustomDirective):
    """One f64 for all features, written as a bare number, or `dense<…>` with one for each."""

    value: AttributeVariable

    def parse(self, parser: Parser, state: ParsingState) -> None:
        """Read what `print` has written."""
        start = parser.pos
        number = parser.parse_optional_float()
        attribute = parser.parse_attribute() if number is None else FloatAttr(number, f64)
        if not isinstance(attribute, FloatAttr | DenseIntOrFPElementsAttr):
            parser.raise_error("expected a number or a dense constant", start, parser.pos)
        self.value.set(state, cast(RealsAttr, attribute))

    def print(self, printer: Printer, state: PrintingState, op: IRDLOperation) -> None:
        """Write the value; numbers come back exactly."""
        state.print_whitespace(printer)
        attribute = self.value.get(op)
        assert attribute is not None
        if not isinstance(attribute, FloatAttr):
            printer.print_attribute(attribute)
            return
        number = float(attribute.value.data)
        short = f"{number:.6e}"
        printer.print_string(short if float(short) == number else repr(number))
