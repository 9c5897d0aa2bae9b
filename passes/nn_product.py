# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-product`: products of activations → int8, as the array computes them."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.interpreter import Interpreter, PythonValues
from xdsl.ir import Attribute, Operation
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.utils.exceptions import InterpretationError, PassFailedException

from daqkf.dialects.interpreting import call, entry, require_shape
from daqkf.dialects.nn import MatmulOp, ProductOp
from daqkf.dialects.nn.base import ROWS, node_name
from daqkf.dialects.nn.operators import OnnxType, element_type_of
from daqkf.dialects.nn.ops import constant_of
from daqkf.hw_targets.numerics import ACTIVATION_MAX
from daqkf.passes.quantize.quantization import requantization
from daqkf.passes.quantize.samples import load_inputs

Inputs = Mapping[str, NDArray[Any]]

_ROWS = 64
"""Those that a network of a batch of one runs at once, so that few are in memory."""


def in_order(function: FuncOp, inputs: Inputs) -> list[NDArray[Any]]:
    """A network's inputs by name, in the order of its arguments.

    Types that `nn` computes nothing in have values as `run_operator` has them: strings are arrays
    of objects, and sequences are lists.

    Raises:
        ValueError: one is missing, there is one too many, or one has other elements than real
            numbers and is not of such a type. Infinities may be meant, as in a mask that is
            added; NaN is not.
        InterpretationError: one has other extents than the network takes.
    """
    names = input_names(function)
    if missing := [name for name in names if name not in inputs]:
        raise ValueError(f"the network needs the input '{missing[0]}' (all: {', '.join(names)})")
    if surplus := [name for name in inputs if name not in names]:
        raise ValueError(f"the network has no input '{surplus[0]}' (known: {', '.join(names)})")
    kinds = [argument.type for argument in function.body.block.args]
    return [_checked(name, inputs[name], kind) for name, kind in zip(names, kinds, strict=True)]


def _checked(name: str, value: Any, kind: Attribute) -> Any:
    """An input as the network reads it: what is no tensor as it is, and tensors as arrays."""
    if isinstance(kind, OnnxType):
        return value
    array = np.asarray(value)
    foreign = isinstance(element_type_of(kind), OnnxType)
    if array.dtype.kind not in "biuf" and not foreign:
        raise ValueError(f"the input '{name}' has elements of {array.dtype}, not real numbers")
    try:
        require_shape(array, kind)
    except InterpretationError as error:
        raise InterpretationError(f"the input '{name}': {error}") from None
    if array.dtype.kind == "f" and np.isnan(array).any():
        place = ", ".join(str(index) for index in np.argwhere(np.isnan(array))[0])
        raise ValueError(f"the input '{name}' is NaN at [{place}]")
    return array


def in_parts(function: FuncOp, inputs: Inputs) -> list[Inputs]:
    """A network's inputs as they are, or cut into parts where the file fixes a batch of one.

    That is where the extents of inputs begin with a 1 that the file fixes, and arrays have more
    rows there, all of them as many. A part has one row; or several, where extents were freed
    because rows do not meet one another. Other inputs go along with each part.
    """
    freed = freed_inputs(function)
    rows = set[int]()
    several: list[str] = []
    for name, argument in zip(input_names(function), function.body.block.args, strict=True):
        if name not in inputs or not isinstance(kind := argument.type, TensorType):
            continue
        shape, found = kind.get_shape(), np.shape(inputs[name])
        if (name in freed or shape[:1] == (1,)) and len(found) == len(shape) and found[0] > 1:
            rows.add(found[0])
            several.append(name)
    if len(rows) != 1:
        return [inputs]
    count, step = rows.pop(), _ROWS if freed else 1
    return [
        {
            name: _rows(
                np.asarray(array), name in several, name in freed, low, min(low + step, count)
            )
            for name, array in inputs.items()
        }
        for low in range(0, count, step)
    ]


def _rows(array: NDArray[Any], cut: bool, freed: bool, low: int, high: int) -> NDArray[Any]:
    """A part's rows of an input; one row stands for all of them where the extent is free."""
    if cut:
        return array[low:high]
    if freed and array.shape[:1] == (1,):
        return np.broadcast_to(array, (high - low, *array.shape[1:]))
    return array


def together(function: FuncOp, parts: Sequence[Sequence[Any]]) -> list[Any]:
    """The results of a network for parts of its inputs, as those for all of them."""
    if len(parts) == 1:
        return list(parts[0])
    freed = bool(freed_inputs(function))
    return [
        np.concatenate(rows)
        if freed or all(row.ndim and len(row) == 1 for row in rows)
        else np.stack(rows)
        for rows in zip(*parts, strict=True)
    ]


def freed_inputs(function: FuncOp) -> list[str]:
    """The inputs that take any number of rows, where the file fixes a batch of one."""
    return _names(function, ROWS, 0)


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
        return [
            name.data for name in cast(ArrayAttr[Attribute], found) if isinstance(name, StringAttr)
        ]
    return [f"{attribute[:-1]}{number}" for number in range(count)]


@dataclass
class _Range:
    """The largest magnitudes that a product reads and gives."""

    lhs: float = 0.0
    rhs: float = 0.0
    result: float = 0.0

    def grow(self, lhs: NDArray[Any], rhs: NDArray[Any], result: NDArray[Any]) -> None:
        """Take in what one run reads and gives."""
        # What is not a number stays so, for the check that follows.
        self.lhs = float(np.maximum(self.lhs, _magnitude(lhs)))
        self.rhs = float(np.maximum(self.rhs, _magnitude(rhs)))
        self.result = float(np.maximum(self.result, _magnitude(result)))

    def steps(self) -> tuple[float, float, float]:
        """What int8 steps are worth that reach so far: of both sides, and of the result."""
        lhs, rhs, result = ((most or 1.0) / ACTIVATION_MAX for most in astuple(self))
        # A step of the result that is finer than one of the sums says nothing.
        return lhs, rhs, max(result, lhs * rhs)


def _magnitude(values: NDArray[Any]) -> float:
    return float(np.abs(values).max(initial=0))


@dataclass
class _Ranges(Interpreter.Listener):
    """What products of activations read and give, as the network runs."""

    found: dict[MatmulOp, _Range] = field(default_factory=dict[MatmulOp, _Range])
    _reads: PythonValues = ()

    def will_interpret_op(self, op: Operation, args: PythonValues) -> None:
        """Keep the operands, which the results come without."""
        self._reads = args

    def did_interpret_op(self, op: Operation, results: PythonValues) -> None:
        """Let the range of a product of activations grow."""
        if not isinstance(op, MatmulOp):
            return
        reads = dict(zip(op.operands, self._reads, strict=True))
        lhs, rhs, (result,) = reads[op.lhs], reads[op.rhs], results
        if _is_of_activations(op, lhs, rhs):
            self.found.setdefault(op, _Range()).grow(lhs, rhs, result)


def _is_of_activations(op: MatmulOp, *operands: NDArray[Any]) -> bool:
    return constant_of(op.rhs) is None and all(
        value.dtype == np.float32 and value.ndim > 1 for value in operands
    )


@dataclass(frozen=True)
class _QuantizeProduct(RewritePattern):
    """A product of activations → `nn.product`, with scales by its range."""

    ranges: Mapping[MatmulOp, _Range]

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MatmulOp, rewriter: PatternRewriter) -> None:
        """Put the integer product in place of one whose range is known."""
        found = self.ranges.get(op)
        if found is None:
            return
        lhs, rhs, result = steps = found.steps()
        multiplier, shift = requantization(np.array([lhs * rhs / result]))
        factors = int(multiplier[0]), int(shift[0])
        product = ProductOp(op.lhs, op.rhs, steps, factors, op.result.type)
        product.attributes |= op.attributes
        product.location = op.location
        rewriter.replace(op, product)


def quantize_products(module: ModuleOp, samples: Inputs | Sequence[Inputs]) -> int:
    """Turn the `nn.matmul`s of a network's activations into `nn.product`s; returns how many.

    Their scales are those of the largest magnitudes on the samples: the network's inputs by name,
    or batches of them.

    Raises:
        ValueError: inputs that do not fit.
    """
    if not any(isinstance(op, MatmulOp) and constant_of(op.rhs) is None for op in module.walk()):
        return 0
    ranges = _Ranges()
    function = entry(module)
    try:
        for batch in each(samples):
            call(module, function, in_order(function, batch), (ranges,))
    except InterpretationError as error:
        raise ValueError(f"samples: {error}") from None
    for op, found in ranges.found.items():
        if not np.isfinite(found.steps()).all():
            raise ValueError(f"samples: {node_name(op)} reads or gives what is not finite")
    pattern = _QuantizeProduct(ranges.found)
    PatternRewriteWalker(pattern, apply_recursively=False).rewrite_module(module)
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
