# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of MLIR's `linalg` dialect that torch-mlir and IREE print and xDSL does not read.

`LINALG` is xDSL's dialect with these in it and takes the place of the stock one.

See https://mlir.llvm.org/docs/Dialects/Linalg/.
"""

from abc import ABC
from collections.abc import Sequence
from typing import Self

from xdsl.dialects.builtin import AffineMapAttr, ArrayAttr, StringAttr
from xdsl.dialects.linalg import Linalg, ops
from xdsl.dialects.linalg.abstract_ops import ConvOperation, NamedOperation
from xdsl.dialects.linalg.attrs import IteratorType, IteratorTypeAttr
from xdsl.ir import Attribute, Dialect, Region, SSAValue
from xdsl.ir.affine import AffineMap
from xdsl.irdl import irdl_op_definition, opt_prop_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.hints import isa


class GenericOp(ops.GenericOp):
    """A body for each point of a space of loops; xDSL's, but for several results."""

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        """As MLIR prints it, results in parentheses if there are several."""
        start = parser.pos
        attributes = parser.parse_optional_attr_dict()
        maps, iterators = (attributes.pop(key, None) for key in ("indexing_maps", "iterator_types"))
        if not isa(maps, ArrayAttr[AffineMapAttr]) or not isa(iterators, ArrayAttr[Attribute]):
            parser.raise_error("linalg.generic has indexing_maps and iterator_types", start)
        inputs, outputs = (_operands(parser, keyword) for keyword in ("ins", "outs"))
        if parser.parse_optional_keyword("attrs"):
            parser.parse_punctuation("=")
            attributes |= parser.parse_optional_attr_dict()
        body = parser.parse_region()
        results: Sequence[Attribute] = ()
        if parser.parse_optional_punctuation("->"):
            results = parser.parse_optional_comma_separated_list(
                parser.Delimiter.PAREN, parser.parse_type
            ) or [parser.parse_type()]
        op = cls(inputs, outputs, body, maps, _iterator_types(parser, start, iterators), results)
        op.attributes |= attributes
        return op


def _operands(parser: Parser, keyword: str) -> Sequence[SSAValue]:
    """`keyword(%a, %b : type, type)`."""
    start = parser.pos
    if not parser.parse_optional_keyword(keyword):
        return ()
    separate = parser.parse_comma_separated_list
    with parser.in_parens():
        names = separate(parser.Delimiter.NONE, parser.parse_unresolved_operand)
        parser.parse_punctuation(":")
        types = separate(parser.Delimiter.NONE, parser.parse_type)
    return parser.resolve_operands(names, types, start)


def _iterator_types(parser: Parser, start: int, names: ArrayAttr) -> list[IteratorTypeAttr]:
    found: list[IteratorTypeAttr] = []
    for name in names:
        if isinstance(name, StringAttr) and name.data in list(IteratorType):
            found.append(IteratorTypeAttr(IteratorType(name.data)))
        elif isinstance(name, IteratorTypeAttr):
            found.append(name)
        else:
            parser.raise_error(f"unknown iterator type {name}", start)
    return found


class _Product(NamedOperation, ABC):
    """A product, whose last loop is reduced, and whose elements may be widened first.

    Maps of its own let it read an operand that is stored across.
    """

    indexing_maps = opt_prop_def(ArrayAttr[AffineMapAttr])

    def __init__(
        self,
        inputs: Sequence[SSAValue],
        outputs: Sequence[SSAValue] = (),
        res: Sequence[Attribute] | None = None,
        attributes: dict[str, Attribute] | None = None,
    ):
        super().__init__(
            ins=inputs,
            outs=outputs,
            result_types=[[value.type for value in outputs] if res is None else res],
            attributes=attributes,
            hidden_region=self.get_hidden_region(inputs, outputs),
        )

    @classmethod
    def get_hidden_region(cls, inputs: Sequence[SSAValue], outputs: Sequence[SSAValue]) -> Region:
        """The body: that of a convolution, which unlike that of xDSL's products widens."""
        return ConvOperation.get_hidden_region(inputs, outputs)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        """As MLIR prints it, `indexing_maps = […]` in front if they are not the usual ones."""
        maps, start = None, parser.pos
        if parser.parse_optional_keyword("indexing_maps"):
            parser.parse_punctuation("=")
            maps = parser.parse_attribute()
            if not isa(maps, ArrayAttr[AffineMapAttr]):
                parser.raise_error("indexing_maps are a list of affine maps", start)
        op = super().parse(parser)
        op.indexing_maps = maps
        return op

    def print(self, printer: Printer) -> None:
        """As `parse` reads it."""
        if self.indexing_maps is not None:
            printer.print_string(" indexing_maps = ")
            printer.print_attribute(self.indexing_maps)
        super().print(printer)

    def get_indexing_maps(self) -> ArrayAttr[AffineMapAttr]:
        """Its own maps, or else the usual ones."""
        return super().get_indexing_maps() if self.indexing_maps is None else self.indexing_maps

    def get_iterator_types(self) -> ArrayAttr[IteratorTypeAttr]:
        """As the maps have it."""
        parallel = [IteratorTypeAttr.parallel()] * (self.get_num_loops() - 1)
        return ArrayAttr([*parallel, IteratorTypeAttr.reduction()])


@irdl_op_definition
class MatmulOp(_Product):
    """A product of matrices: [M, K], [K, N]."""

    name = "linalg.matmul"

    def get_default_indexing_maps(self) -> Sequence[AffineMap]:
        """Row, column, and what is reduced."""
        return (
            AffineMap.from_callable(lambda m, n, k: (m, k)),
            AffineMap.from_callable(lambda m, n, k: (k, n)),
            AffineMap.from_callable(lambda m, n, k: (m, n)),
        )


@irdl_op_definition
class BatchMatmulOp(_Product):
    """A product of matrices for each entry of the first dimension: [B, M, K], [B, K, N]."""

    name = "linalg.batch_matmul"

    def get_default_indexing_maps(self) -> Sequence[AffineMap]:
        """Batch, row, column, and what is reduced."""
        return (
            AffineMap.from_callable(lambda b, m, n, k: (b, m, k)),
            AffineMap.from_callable(lambda b, m, n, k: (b, k, n)),
            AffineMap.from_callable(lambda b, m, n, k: (b, m, n)),
        )


@irdl_op_definition
class MatvecOp(_Product):
    """A product of a matrix and a vector: [M, K], [K]."""

    name = "linalg.matvec"

    def get_default_indexing_maps(self) -> Sequence[AffineMap]:
        """Row, and what is reduced."""
        return (
            AffineMap.from_callable(lambda m, k: (m, k)),
            AffineMap.from_callable(lambda m, k: (k,)),
            AffineMap.from_callable(lambda m, k: (m,)),
        )


@irdl_op_definition
class VecmatOp(_Product):
    """A product of a vector and a matrix: [K], [K, N]."""

    name = "linalg.vecmat"

    def get_default_indexing_maps(self) -> Sequence[AffineMap]:
        """Column, and what is reduced."""
        return (
            AffineMap.from_callable(lambda n, k: (k,)),
            AffineMap.from_callable(lambda n, k: (k, n)),
            AffineMap.from_callable(lambda n, k: (n,)),
        )


_ADDED = {op.name: op for op in (GenericOp, MatmulOp, BatchMatmulOp, MatvecOp, VecmatOp)}

LINALG = Dialect(
    "linalg",
    [*(op for op in Linalg.operations if op.name not in _ADDED), *_ADDED.values()],
    [*Linalg.attributes],
)
