# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-product`: products of activations → int8, as the array computes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.interpreter import Interpreter, PythonValues
from xdsl.ir import Operation
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter
from xdsl.utils.exceptions import InterpretationError, PassFailedException

from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn import ConstantOp, MatmulOp, ProductOp
from daqkf.dialects.nn.base import node_name
from daqkf.hw_targets.numerics import ACTIVATION_MAX
from daqkf.passes.quantize.quantization import requantization
from daqkf.passes.quantize.samples import load_inputs

Inputs = Mapping[str, NDArray[Any]]


def in_order(function: FuncOp, inputs: Inputs) -> list[NDArray[Any]]:
    """A network's inputs by name, in the order of its arguments.

    Raises:
        ValueError: one is missing, or there is one too many.
    """
    names = input_names(function)
    if missing := [name for name in names if name not in inputs]:
        raise ValueError(f"the network needs the input '{missing[0]}' (all: {', '.join(names)})")
    if surplus := [name for name in inputs if name not in names]:
        raise ValueError(f"the network has no input '{surplus[0]}' (known: {', '.join(names)})")
    return [np.asarray(inputs[name]) for name in names]


def each(samples: Inputs | Sequence[Inputs]) -> list[Inputs]:
    """One batch of inputs or several of them, as several."""
    return [samples] if isinstance(samples, Mapping) else list(samples)


def input_names(function: FuncOp) -> list[str]:
    """What the arguments of a network are called."""
    return _names(function, "inputs", len(function.body.block.args))


def output_names(function: FuncOp) -> list[str]:
    """What the results of a network are called."""
    return _names(function, "outputs", len(function.function_type.outputs))


def _names(function: FuncOp, attribute: str, count: int) -> list[str]:
    found = function.attributes.get(attribute)
    if isinstance(found, ArrayAttr):
        return [entry.data for entry in found if isinstance(entry, StringAttr)]
    return [f"{attribute[:-1]}{number}" for number in range(count)]


@dataclass
class _Ranges(Interpreter.Listener):
    """The largest magnitudes that products of activations read and give."""

    found: dict[Operation, list[float]] = field(default_factory=dict[Operation, list[float]])
    _reads: PythonValues = ()

    def will_interpret_op(self, op: Operation, args: PythonValues) -> None:
        self._reads = args

    def did_interpret_op(self, op: Operation, results: PythonValues) -> None:
        if isinstance(op, MatmulOp) and _is_of_activations(op, self._reads):
            seen = [float(np.abs(value).max(initial=0)) for value in (*self._reads, *results)]
            before = self.found.get(op, [0.0] * 3)
            self.found[op] = [max(pair) for pair in zip(seen, before, strict=True)]


def _is_of_activations(op: MatmulOp, operands: PythonValues) -> bool:
    return not isinstance(op.rhs.owner, ConstantOp) and all(
        value.dtype == np.float32 and value.ndim > 1 for value in operands
    )


def quantize_products(module: ModuleOp, samples: Inputs | Sequence[Inputs]) -> int:
    """Turn the `nn.matmul`s of a network's activations into `nn.product`s; returns how many.

    Their scales are those of the largest magnitudes on the samples: the network's inputs by name,
    or batches of them.

    Raises:
        ValueError: inputs that do not fit.
    """
    if all(
        isinstance(op.rhs.owner, ConstantOp) for op in module.walk() if isinstance(op, MatmulOp)
    ):
        return 0
    ranges = _Ranges()
    function = entry(module)
    try:
        for batch in each(samples):
            call(module, function, in_order(function, batch), (ranges,))
    except InterpretationError as error:
        raise ValueError(f"samples: {error}") from None
    for op, found in ranges.found.items():
        assert isinstance(op, MatmulOp)
        scales = [(value or 1.0) / ACTIVATION_MAX for value in found]
        # A step of the result that is finer than one of the sums says nothing.
        scales[2] = max(scales[2], scales[0] * scales[1])
        if not np.isfinite(scales).all():
            raise ValueError(f"samples: {node_name(op)} reads or gives what is not finite")
        multiplier, shift = requantization(np.array([scales[0] * scales[1] / scales[2]]))
        factors = int(multiplier[0]), int(shift[0])
        product = ProductOp(op.lhs, op.rhs, scales, factors, op.result.type)
        product.attributes |= op.attributes
        product.result.name_hint = op.result.name_hint
        Rewriter.replace_op(op, product)
    return len(ranges.found)


@dataclass(frozen=True)
class NnProductPass(ModulePass):
    """Compute products of activations, like attention's scores and contexts, in int8.

    - `samples`: a `.npz` file with the network's inputs by name, on which it runs to find the
      scales.
    """

    name = "nn-product"

    samples: str

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        try:
            quantize_products(op, load_inputs(self.samples))
        except (OSError, ValueError) as error:
            raise PassFailedException(f"{self.name}: {error}") from None
