# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Remarks: that a pass had nothing to do, as the module is of another level.

`daqkf-opt` makes them of every pass it runs, in one line each on standard error; a pipeline in
Python is silent.
"""

import logging
from collections.abc import Callable

from xdsl.dialects.builtin import AnyFloat, ModuleOp, TensorType
from xdsl.ir import Operation
from xdsl.utils.hints import isa

REMARKS = logging.getLogger("daqkf.remarks")
"""Where remarks go. Nobody sees them unless a handler is added, as `daqkf-opt` does."""


def remark(pass_name: str, text: str) -> None:
    """Tell the user of a command line something that is no error."""
    REMARKS.info("%s: %s", pass_name, text)


def _is_float_spaq(op: Operation) -> bool:
    types = [value.type for value in (*op.operands, *op.results)]
    return op.dialect_name() == "spaq" and any(
        isa(kind, TensorType) and isinstance(kind.element_type, AnyFloat) for kind in types
    )


_Need = tuple[str, Callable[[Operation], bool]]
_FLOAT_SPAQ: _Need = ("float operations of spaq", _is_float_spaq)
_NEEDS: dict[str, _Need] = dict.fromkeys(
    ("spaq-prune", "spaq-calibrate", "spaq-select-levels", "spaq-quantize", "dfke-dispatch"),
    _FLOAT_SPAQ,
)
_NEEDS["dfke-fuse"] = ("integer operations of spaq", lambda op: op.name == "spaq.requantize")
"""What a pass works on, where it is not any operation of the dialect it is named after."""


def remark_if_idle(pass_name: str, module: ModuleOp) -> None:
    """Remark that a pass has nothing to do, if nothing in the module is of the level it works on.

    That is the dialect in its name: `a` of `a-something` and of `lower-a-to-b`.
    """
    dialect = pass_name.removeprefix("lower-").split("-")[0]
    what, needed = _NEEDS.get(
        pass_name, (f"operations of {dialect}", lambda op: op.dialect_name() == dialect)
    )
    if not any(needed(op) for op in module.walk()):
        remark(pass_name, f"nothing to do, as the module has no {what}")
