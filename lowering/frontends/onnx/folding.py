# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Nodes of constants → constants, so that weights which a file computes of others are weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.interpreter import Interpreter
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.utils.exceptions import InterpretationError

from daqkf.dialects.memory import require_memory
from daqkf.dialects.nn import ConstantOp
from daqkf.dialects.nn.interpreter import NnFunctions
from daqkf.dialects.nn.ops import constant_of
from daqkf.dialects.nn.running import sized

Array = np.ndarray[Any, Any]

_SMALL = 1 << 24
"""Bytes of a result that is always made a constant."""

_GROWTH = 8
"""What larger ones have at most of the bytes that they are made of: int8 weights as doubles."""


def is_weight(size: int, read: int) -> bool:
    """Whether so many bytes, made of so many bytes of constants, are a constant of the network.

    What is larger is made when the network runs, as a file of some bytes may fill the memory.
    """
    return size <= max(_SMALL, _GROWTH * read)


def require_room(kinds: Sequence[Attribute | None]) -> None:
    """Check that results of these types may be computed.

    Raises:
        ValueError: they take more memory than may be used.
    """
    require_memory(
        sum(sized(kind) or 0 for kind in kinds if kind is not None), "its constant result"
    )


def constant_results(
    block: Block, last: Operation | None, results: Sequence[SSAValue | Array | None], read: int
) -> list[SSAValue | Array | None]:
    """Results of a node that reads constants alone, as constants.

    They stay operations where they are large beside what the node reads, or cannot be computed:
    that is for the run to say.

    Args:
        block: the operations so far.
        last: the last one before those of the node.
        results: the node's; None of one that is not made.
        read: bytes of what the node reads.
    """
    new, op = list[Operation](), block.first_op if last is None else last.next_op
    while op is not None:
        new.append(op)
        op = op.next_op
    values = [value for value in results if isinstance(value, SSAValue)]
    sizes = [sized(value.type) for op in new for value in op.results]
    if not values or any(size is None or not is_weight(size, read) for size in sizes):
        return list(results)
    found = _run(new)
    if found is None or any(value not in found for value in values):
        return list(results)
    arrays = [found[value] if isinstance(value, SSAValue) else value for value in results]
    for op in reversed(new):
        # Constants may have names by which others find them.
        if not isinstance(op, ConstantOp):
            op.detach()
            op.erase()
    return list(arrays)


def _run(ops: Sequence[Operation]) -> dict[SSAValue, Array] | None:
    """What operations give, if all that they read is constant."""
    interpreter = Interpreter(ModuleOp([]))
    interpreter.register_implementations(NnFunctions())
    found: dict[SSAValue, Array] = {}
    for op in ops:
        operands = [found.get(value, constant_of(value)) for value in op.operands]
        arrays = [array for array in operands if array is not None]
        if len(arrays) < len(operands):
            return None
        try:
            results = interpreter.run_op(op, tuple(arrays))
        except InterpretationError:
            return None
        found.update(zip(op.results, (np.asarray(result) for result in results), strict=True))
    return found
