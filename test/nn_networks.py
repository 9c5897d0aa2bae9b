# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Build networks in `nn` from arrays, operation by operation, for tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import FunctionType, ModuleOp, TensorType, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.passes import PassPipeline

from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.dialects.dense import from_array
from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn import ConstantOp, ElementwiseOp, MatmulOp, ReduceOp
from daqkf.dialects.nn.base import shape_of
from daqkf.dialects.rpea.interpreter import RpeaFunctions
from daqkf.passes import PASSES
from daqkf.support.ir import make_context

Floats = NDArray[np.float32]
CONTEXT = make_context()


def tensor(shape: Sequence[int]) -> TensorType:
    return TensorType(f32, list(shape))


class Builder:
    """Builds a function `main` whose arguments are f32 tensors of these shapes."""

    def __init__(self, *shapes: Sequence[int]):
        self._block = Block(arg_types=[tensor(shape) for shape in shapes])
        self.inputs: Sequence[SSAValue] = self._block.args

    @staticmethod
    def tensor(shape: Sequence[int]) -> TensorType:
        return tensor(shape)

    def add(self, op: Operation) -> SSAValue:
        self._block.add_op(op)
        return op.results[0]

    def constant(self, value: Any) -> SSAValue:
        return self.add(ConstantOp(from_array(np.asarray(value, np.float32), f32)))

    def apply(self, kind: str, *inputs: SSAValue | float) -> SSAValue:
        """Add an elementwise function of values and numbers, which broadcast."""
        values = [
            self.constant(value) if isinstance(value, int | float) else value for value in inputs
        ]
        shape = np.broadcast_shapes(*(shape_of(value) or () for value in values))
        return self.add(ElementwiseOp(kind, values, tensor(shape)))

    def reduce(self, kind: str, value: SSAValue, axis: int = -1) -> SSAValue:
        shape = list(shape_of(value) or ())
        shape[axis] = 1
        return self.add(ReduceOp(kind, value, [axis], True, tensor(shape)))

    def matmul(self, lhs: SSAValue, rhs: SSAValue) -> SSAValue:
        left, right = shape_of(lhs), shape_of(rhs)
        assert left is not None
        assert right is not None
        batch = np.broadcast_shapes(left[:-2], right[:-2])
        return self.add(MatmulOp(lhs, rhs, tensor([*batch, *left[-2:-1], right[-1]])))

    def layer(
        self, value: SSAValue, weights: Floats, bias: Floats | None, function: str | None
    ) -> SSAValue:
        """Add a layer `function(value · weights + bias)`."""
        result = self.matmul(value, self.constant(weights))
        if bias is not None:
            result = self.apply("add", result, self.constant(bias))
        return result if function is None else self.apply(function, result)

    def module(self, *results: SSAValue) -> ModuleOp:
        """The finished module, verified."""
        self._block.add_op(ReturnOp(*results))
        kind = FunctionType.from_lists(
            list(self._block.arg_types), [result.type for result in results]
        )
        module = ModuleOp([FuncOp("main", kind, Region(self._block))])
        module.verify()
        return module


def transformed(module: ModuleOp, spec: str) -> ModuleOp:
    """A copy of the module after a pipeline of passes, verified."""
    module = module.clone()
    PassPipeline.parse_spec(PASSES, spec).apply(CONTEXT, module)
    module.verify()
    return module


def results(module: ModuleOp, *inputs: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    return call(module, entry(module), inputs)


def found(module: ModuleOp, *kinds: type[Operation]) -> list[Operation]:
    """The module's operations of these kinds, in order."""
    return [op for op in module.walk() if isinstance(op, kinds)]


def programs_and_integers(
    network: CompiledNetwork, x: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The results of a network's only kernel on x [T, K]: by its programs, and as integers."""
    ((name, lowered),) = network.kernels.items()
    (y,) = call(network.arrays, lowered, (x,), array=RpeaFunctions())
    exact = next(
        op for op in network.network.ops if isinstance(op, FuncOp) and op.sym_name.data == name
    )
    return y, call(network.network, exact, (x,))[0]
