# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Run IR of any level above the circuit, over NumPy arrays."""

from typing import Any

from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.interpreter import Interpreter
from xdsl.interpreters.func import FuncFunctions
from xdsl.utils.exceptions import InterpretationError

from daqkf.dialects.dfke.interpreter import DfkeFunctions
from daqkf.dialects.rpea.interpreter import RpeaFunctions
from daqkf.dialects.spaq.interpreter import SpaqFunctions


def only_function(module: ModuleOp) -> FuncOp:
    """The module's one function.

    Raises:
        InterpretationError: it has none, or several.
    """
    functions = [op for op in module.ops if isinstance(op, FuncOp)]
    if len(functions) != 1:
        raise InterpretationError(f"expected one func.func in the module, not {len(functions)}")
    return functions[0]


def run(
    module: ModuleOp, *arguments: NDArray[Any], listeners: tuple[Interpreter.Listener, ...] = ()
) -> NDArray[Any]:
    """Call the module's one function and give back its one result.

    Arguments are [T, K] float32 or int8, as the function's types say.

    Raises:
        InterpretationError: an argument's shape does not fit, or a sum leaves its type.
    """
    function = only_function(module)
    types = function.function_type.inputs.data
    if len(types) != len(arguments):
        raise InterpretationError(f"the function takes {len(types)} arguments")
    for kind, array in zip(types, arguments, strict=True):
        if not isinstance(kind, TensorType) or array.shape[1:] != kind.get_shape()[1:]:
            raise InterpretationError(f"an array of shape {array.shape} is not a {kind}")
    interpreter = Interpreter(module, listeners=listeners)
    for functions in (SpaqFunctions, DfkeFunctions, RpeaFunctions, FuncFunctions):
        interpreter.register_implementations(functions())
    return interpreter.call_op(function, arguments)[0]
