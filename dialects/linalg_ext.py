# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of MLIR's `linalg` dialect that torch-mlir and IREE print and xDSL does not ship.

`LINALG` is xDSL's dialect with these added and takes the place of the stock one.

See https://mlir.llvm.org/docs/Dialects/Linalg/.
"""

from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr
from xdsl.dialects.linalg import Linalg
from xdsl.dialects.linalg.abstract_ops import NamedOperation
from xdsl.dialects.linalg.attrs import IteratorTypeAttr
from xdsl.dialects.linalg.ops import MatmulOp
from xdsl.ir import Attribute, Dialect, Region, SSAValue
from xdsl.ir.affine import AffineMap
from xdsl.irdl import irdl_op_definition


@irdl_op_definition
class BatchMatmulOp(NamedOperation):
    """A product of matrices for each entry of the first dimension: [B, M, K], [B, K, N]."""

    name = "linalg.batch_matmul"

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
        """The body, which is that of a product of matrices."""
        return MatmulOp.get_hidden_region(inputs, outputs)

    def get_default_indexing_maps(self) -> Sequence[AffineMap]:
        """Batch, row and column are parallel; the last loop is reduced."""
        return (
            AffineMap.from_callable(lambda b, m, n, k: (b, m, k)),
            AffineMap.from_callable(lambda b, m, n, k: (b, k, n)),
            AffineMap.from_callable(lambda b, m, n, k: (b, m, n)),
        )

    def get_iterator_types(self) -> ArrayAttr[IteratorTypeAttr]:
        """As the maps have it."""
        return ArrayAttr([*[IteratorTypeAttr.parallel()] * 3, IteratorTypeAttr.reduction()])


LINALG = Dialect("linalg", [*Linalg.operations, BatchMatmulOp], [*Linalg.attributes])
