# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of MLIR's `linalg` dialect that torch-mlir and IREE print and xDSL does not read.

`LINALG` is xDSL's dialect with these in it and takes the place of the stock one.

See https://mlir.llvm.org/docs/Dialects/Linalg/.
"""

from abc import ABC
from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr
from xdsl.dialects.linalg import Linalg, ops
from xdsl.dialects.linalg.abstract_ops import ConvOperation, NamedOperation
from xdsl.dialects.linalg.attrs import IteratorTypeAttr
from xdsl.ir import Attribute, Dialect, Region, SSAValue
from xdsl.ir.affine import AffineMap
from xdsl.irdl import irdl_op_definition


class _Product(NamedOperation, ABC):
    """A product, whose last loop is reduced, and whose elements may be widened first."""

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


_STOCK = [op for op in Linalg.operations if op is not ops.MatmulOp]

LINALG = Dialect("linalg", [*_STOCK, MatmulOp, BatchMatmulOp], [*Linalg.attributes])
