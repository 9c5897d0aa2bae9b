# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Translation validation: run the IR before and after a pass on random inputs, and compare.

Each pass promises something of the results (`Promise`). Where it breaks its promise, the module is
reduced to what still shows it. See Pnueli et al., "Translation Validation" (TACAS, 1998); the
module is reduced greedily, as delta debugging does it (Zeller and Hildebrandt, "Simplifying and
Isolating Failure-Inducing Input", IEEE TSE, 2002).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DYNAMIC_INDEX, FunctionType, IntegerType, ModuleOp, TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.interpreter import Interpreter, impl, register_impls
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.transforms.dead_code_elimination import dce
from xdsl.utils.exceptions import InterpretationError

from daqkf.dialects.dense import from_array, to_array
from daqkf.dialects.interpreting import call
from daqkf.dialects.nn import GatherOp, LinearOp, ProductOp
from daqkf.dialects.nn import QuantizeOp as NnQuantizeOp
from daqkf.dialects.nn.attention import IntegerAttention
from daqkf.dialects.nn.interpreter import element_dtype
from daqkf.dialects.spaq import CalibratedOp, ConstantOp, QuantizeOp, SequenceOperation
from daqkf.dialects.spaq.interpreter import SpaqFunctions
from daqkf.passes.nn_product import input_names
from daqkf.passes.quantize.samples import load_inputs, load_samples
from daqkf.support.ir import make_context, module_text

Array = NDArray[Any]
_ROUNDS = (NnQuantizeOp, ProductOp, IntegerAttention, QuantizeOp)
Inputs = tuple[Array, ...]

ROUNDS = 2
"""Inputs on which each function runs."""
_LEADING, _OTHER, _TOKENS = 2, 3, 5
"""What extents that the types leave open are: a leading one, others, and tokens of [T, K]."""
_SAMPLES = 64
"""Rows of the samples of a pass that its levels are looked at with."""
_ROUNDING = 1e-3
"""Of float32 results that are computed in another order, relative to the largest."""
_SECONDS = 20.0
"""That reducing a module may take."""


class Promise(Enum):
    """What a pass promises of the results."""

    EXACT = "the same numbers"
    SAME = "the same integers, and reals but for rounding"
    LEVELS = "reals by other levels, with an SQNR of at least as many dB"
    ZEROS = "weights that are what they were, or zero"
    NOTHING = "results that cannot be compared"


_PROMISES: Mapping[str, Promise] = {
    **dict.fromkeys(
        (
            *("spaq-calibrate", "spaq-analyze", "spaq-select-levels", "rpea-validate"),
            *("dfke-fuse", "dfke-specialize-bitwidth", "dfke-schedule", "dfke-chain"),
            "lower-dfke-to-rpea",
        ),
        Promise.EXACT,
    ),
    **dict.fromkeys(
        ("nn-dequantize", "nn-attention", "nn-product", "spaq-quantize", "dfke-dispatch"),
        Promise.LEVELS,
    ),
    "spaq-prune": Promise.ZEROS,
    "lower-rpea-to-hw": Promise.NOTHING,
}
"""Of passes that promise something else than the same results."""

_FULL, _FEW = 12.0, -6.0
"""The least SQNR in dB: of int8 levels, and of few, of which three layers may leave little."""


_FLIPPED = 25.0
"""The same of networks that round themselves: what is rounded otherwise may be a step apart."""


def promise_of(step: ModulePass, module: ModuleOp) -> tuple[Promise, float]:
    """What a pass promises of a module, and the least SQNR in dB where that is other levels."""
    promise = _PROMISES.get(step.name, Promise.SAME)
    if promise is Promise.SAME and any(isinstance(op, _ROUNDS) for op in module.walk()):
        return Promise.LEVELS, _FLIPPED
    if promise is Promise.ZEROS and getattr(step, "samples", None) is not None:
        # The other weights make up for those that go.
        promise = Promise.NOTHING
    few = (
        step.name == "dfke-dispatch"
        or getattr(step, "kind", "uniform") != "uniform"
        or getattr(step, "magnitudes", None)
    )
    few = few or getattr(step, "accuracy", None) or getattr(step, "words", None)
    return promise, _FEW if few else _FULL


@dataclass(frozen=True)
class Difference:
    """A result that a pass has changed, and what shows it."""

    pass_name: str
    function: str
    text: str
    """The place in the results, and the values."""
    module: ModuleOp
    """Before the pass; reduced."""
    inputs: Inputs

    def __str__(self) -> str:
        return f"{self.pass_name} changes a result of @{self.function}: {self.text}"

    def report(self) -> str:
        """The reduced module, with the inputs as comments: a file that shows the difference."""
        lines = [f"// {self}"]
        for number, value in enumerate(self.inputs):
            shape = "x".join(map(str, value.shape))
            lines.append(f"// input {number} ({shape} {value.dtype}): {value.reshape(-1).tolist()}")
        return "\n".join([*lines, module_text(self.module)])


@register_impls
class _Saturating(SpaqFunctions):
    """`spaq.calibrated` states what values are clamped to as soon as they are int8."""

    @impl(CalibratedOp)
    def saturate(self, interpreter: Interpreter, op: CalibratedOp, args: tuple[Any, ...]) -> Any:
        """The values within the range that is stated."""
        return (np.clip(args[0], -op.ranges(), op.ranges()).astype(args[0].dtype),)


def functions_of(module: ModuleOp) -> list[FuncOp]:
    """The functions of a module that have a body."""
    return [op for op in module.ops if isinstance(op, FuncOp) and op.body.blocks]


def inputs_of(function: FuncOp, seed: int, *, spread: bool = True) -> Inputs:
    """Random arguments of a function: within the ranges that are stated of them, if any are.

    Others are of a normal distribution, whose deviation is 1 or, where they may `spread`, up to 3.

    Raises:
        ValueError: an argument is no tensor of a rank.
    """
    rng = np.random.default_rng(seed)
    tokens = [op.tokens.value.data for op in function.walk() if isinstance(op, SequenceOperation)]
    rows = min([_TOKENS, *tokens])
    scale = float(rng.choice([0.5, 1.0, 3.0])) if spread else 1.0
    return tuple(_argument(rng, argument, rows, scale) for argument in function.body.block.args)


def _argument(rng: np.random.Generator, value: SSAValue, rows: int, scale: float) -> Array:
    if not isinstance(value.type, TensorType):
        raise ValueError(f"an argument is a {value.type}")
    extents = value.type.get_shape()
    leading = rows if len(extents) == 2 and extents[1] != DYNAMIC_INDEX else _LEADING
    shape = tuple(
        extent if extent != DYNAMIC_INDEX else (_OTHER if axis else leading)
        for axis, extent in enumerate(extents)
    )
    kind = value.type.element_type
    users = [use.operation for use in value.uses]
    if not isinstance(kind, IntegerType):
        x = scale * rng.standard_normal(shape)
        for op in users:
            if isinstance(op, CalibratedOp):
                x = rng.uniform(-1, 1, shape) * op.ranges()
        return x.astype(element_dtype(kind))
    gathers = [op for op in users if isinstance(op, GatherOp) and op.operands[1] is value]
    if gathers:
        bounds = [op.operands[0].type.get_shape()[op.axis.value.data] for op in gathers]  # pyright: ignore
        return rng.integers(0, max(min(bounds), 1), shape).astype(element_dtype(kind))
    if any(op.dialect_name() in ("spaq", "dfke", "rpea") for op in users):
        x = rng.integers(-128, 128, shape)
        return np.where(rng.random(shape) < 0.1, rng.choice([-128, 0, 127]), x).astype(np.int8)
    return np.ones(shape, element_dtype(kind))


def results_of(
    module: ModuleOp, name: str, inputs: Inputs, *, saturates: bool = False
) -> tuple[Array, ...]:
    """The results of a function.

    Raises:
        InterpretationError: the module has no such function, or something in it cannot run.
    """
    function = next((op for op in functions_of(module) if op.sym_name.data == name), None)
    if function is None:
        raise InterpretationError(f"there is no function @{name} any more")
    try:
        spaq = _Saturating() if saturates else None
        with np.errstate(all="ignore"):
            return tuple(map(np.asarray, call(module, function, inputs, spaq=spaq)))
    except (InterpretationError, ValueError):
        raise
    # An interpreter that stumbles is as good a find as a wrong number.
    except Exception as error:
        raise InterpretationError(f"{type(error).__name__}: {_line(error)}") from None


def differ(
    before: Sequence[Array], after: Sequence[Array], promise: Promise, least: float
) -> str | None:
    """Where results differ by more than is promised, if they do."""
    if len(before) != len(after):
        return f"{len(before)} results became {len(after)}"
    for number, (expected, found) in enumerate(zip(before, after, strict=True)):
        if expected.shape != found.shape or expected.dtype.kind != found.dtype.kind:
            return f"result {number}: {_kind(expected)} became {_kind(found)}"
        if promise is Promise.LEVELS and expected.dtype.kind == "f":
            sqnr = decibels(expected, found)
            wrong = np.full(expected.shape, sqnr < least)
            note = f" (SQNR {sqnr:.1f} dB, less than {least:g})"
        else:
            wrong, note = _wrong(expected, found, promise), ""
        if wrong.any():
            place = tuple(int(index) for index in np.argwhere(wrong)[0])
            values = f"{expected[place]!s} became {found[place]!s}"
            return f"result {number}{list(place)}: {values}{note}"
    return None


def _wrong(expected: Array, found: Array, promise: Promise) -> NDArray[np.bool_]:
    same = (expected == found) | ((expected != expected) & (found != found))
    if expected.dtype.kind != "f" or promise is Promise.EXACT:
        return ~same
    finite = np.isfinite(expected)
    largest = float(np.abs(expected[finite], dtype=np.float64).max(initial=0.0))
    with np.errstate(all="ignore"):
        apart = np.abs(expected.astype(np.float64) - found) > _ROUNDING * largest
    # What overflows in one order may not in another.
    return ~same & finite & (apart | ~np.isfinite(found))


def decibels(expected: Array, found: Array) -> float:
    """The SQNR of reals, infinite where nothing differs."""
    wide = expected.astype(np.float64)
    error = float(np.sum((wide - found) ** 2))
    power = float(np.sum(wide**2))
    if not error or not np.isfinite(power):
        return np.inf
    return 10 * np.log10(power / error) if power else -np.inf


def _kind(array: Array) -> str:
    return f"{'x'.join(map(str, array.shape)) or 'one'} of {array.dtype}"


def compare(
    before: ModuleOp, after: ModuleOp, step: ModulePass, seed: int, rounds: int = ROUNDS
) -> Iterator[tuple[str, str | None, Inputs]]:
    """Of each function that can run, where its results differ, and on which inputs.

    Raises:
        InterpretationError: no function of the module can run; the message says why.
    """
    promise, least = promise_of(step, before)
    if promise is Promise.NOTHING:
        raise InterpretationError(f"{step.name} gives {promise.value}")
    if promise is Promise.ZEROS:
        problem = _other_weights(before, after)
        yield "weights", problem, ()
        return
    called = {op.callee.root_reference.data for op in before.walk() if isinstance(op, LinearOp)}
    reason, ran = "the module has no function", False
    for function in functions_of(before):
        name = function.sym_name.data
        if name in called:
            continue  # a pass may change it together with what calls it
        text, inputs = None, ()
        for number in range(rounds):
            try:
                inputs = _inputs(step, promise, function, seed + number)
                expected = results_of(before, name, inputs, saturates=promise is Promise.LEVELS)
            except (InterpretationError, ValueError) as error:
                reason = f"@{name} cannot run: {_line(error)}"
                break
            ran = True
            try:
                text = differ(expected, results_of(after, name, inputs), promise, least)
            except InterpretationError as error:
                text = f"it cannot run any more: {_line(error)}"
            if text is not None:
                break
        else:
            yield name, None, inputs
        if text is not None:
            yield name, text, inputs
    if not ran:
        raise InterpretationError(reason)


def _inputs(step: ModulePass, promise: Promise, function: FuncOp, seed: int) -> Inputs:
    """The samples that levels were made for, where the pass has some of the function, or random
    inputs."""
    path = getattr(step, "samples", None)
    arguments = function.body.block.args
    if promise is Promise.LEVELS and path is not None:
        if path.endswith(".npz"):
            named = load_inputs(path)
            samples = [named[name] for name in input_names(function) if name in named]
        else:
            samples = [load_samples(path)[:_SAMPLES]]
        samples = [
            array.astype(np.float32) if array.dtype.kind == "f" else array for array in samples
        ]
        if len(samples) == len(arguments) and all(map(_fits, arguments, samples)):
            return tuple(samples)
    return inputs_of(function, seed, spread=promise is not Promise.LEVELS)


def _fits(argument: SSAValue, array: Array) -> bool:
    if not isinstance(argument.type, TensorType):
        return False
    extents = argument.type.get_shape()
    return len(extents) == array.ndim and all(
        extent in (DYNAMIC_INDEX, own) for extent, own in zip(extents, array.shape, strict=True)
    )


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _other_weights(before: ModuleOp, after: ModuleOp) -> str | None:
    """A weight that has become something else than zero."""
    pairs = [
        [op for op in module.walk() if isinstance(op, ConstantOp)] for module in (before, after)
    ]
    if len(pairs[0]) != len(pairs[1]):
        return f"{len(pairs[0])} constants became {len(pairs[1])}"
    for number, (old, new) in enumerate(zip(*pairs, strict=True)):
        a, b = old.array(), new.array()
        if a.shape != b.shape or not np.all((a == b) | (b == 0)):
            return f"constant {number} has weights that are neither what they were nor zero"
    return None


@dataclass
class Validator:
    """Follows a pipeline: what is kept before a pass is compared with what the pass makes of it."""

    seed: int = 0
    """Of the inputs."""
    remark: Callable[[str, str], None] = lambda name, text: None
    """Told which pass could not be looked at, and why."""
    compared: int = 0
    """Results of functions that were compared."""
    _kept: ModuleOp | None = field(default=None, init=False)

    def between(
        self, previous: ModulePass | None, module: ModuleOp, following: ModulePass | None
    ) -> Difference | None:
        """What the pass that has just run has changed; to be called between passes."""
        found = None
        if previous is not None and self._kept is not None:
            found = self.after(previous, self._kept, module)
        self._kept = None if following is None else module.clone()
        return found

    def after(self, step: ModulePass, before: ModuleOp, module: ModuleOp) -> Difference | None:
        """What a pass has changed, reduced."""
        try:
            for name, text, inputs in compare(before, module, step, self.seed):
                if text is not None:
                    return Reduction(step, name, self.seed).of(before, text, inputs)
                self.compared += 1
        except InterpretationError as error:
            self.remark(step.name, f"not validated: {_line(error)}")
        return None


@dataclass
class Reduction:
    """Makes a module smaller that shows what a pass does to a function, as long as it does."""

    step: ModulePass
    function: str
    seed: int
    seconds: float = _SECONDS

    def of(self, module: ModuleOp, text: str, inputs: Inputs) -> Difference:
        """The difference with a reduced module and inputs."""
        deadline = time.monotonic() + self.seconds
        smaller = True
        while smaller and time.monotonic() < deadline:
            smaller = False
            for candidate in self._candidates(module):
                if time.monotonic() > deadline:
                    break
                if (found := self._shows(candidate)) is not None:
                    module, (text, inputs), smaller = candidate, found, True
                    break
        if inputs:
            text, inputs = self._fewer_numbers(module, text, inputs, deadline)
        return Difference(self.step.name, self.function, text, module, inputs)

    def _shows(self, module: ModuleOp) -> tuple[str, Inputs] | None:
        """How a module shows a difference in the function, if it does."""
        after = module.clone()
        try:
            module.verify()
            self.step.apply(make_context(), after)
            after.verify()
            for name, text, inputs in compare(module, after, self.step, self.seed):
                if name == self.function and text is not None:
                    return text, inputs
        # A pass may stumble in any way over what is left of a module.
        except Exception:
            return None
        return None

    def _candidates(self, module: ModuleOp) -> Iterator[ModuleOp]:
        """Smaller modules, the smallest first."""
        used = {self.function}
        for op in module.walk():
            if isinstance(op, LinearOp):
                used.add(op.callee.root_reference.data)
        others = [op.sym_name.data for op in functions_of(module)]
        for name in others:
            if name not in used:
                yield self._without(module, name)
        source = self._own(module)
        if source is None:
            return
        count = len(list(source.body.block.ops))
        for place in range(count - 1):
            yield from self._returning(module, place)
        for place in reversed(range(count - 1)):
            yield from self._bypassed(module, place)
        for place in range(count - 1):
            yield from self._simpler_constant(module, place)

    def _own(self, module: ModuleOp) -> FuncOp | None:
        found = [op for op in functions_of(module) if op.sym_name.data == self.function]
        return found[0] if found else None

    @staticmethod
    def _without(module: ModuleOp, name: str) -> ModuleOp:
        copy = module.clone()
        for op in functions_of(copy):
            if op.sym_name.data == name:
                copy.body.block.erase_op(op)
        return copy

    def _body(self, module: ModuleOp) -> tuple[ModuleOp, Block, list[Operation]]:
        copy = module.clone()
        function = self._own(copy)
        assert function is not None
        return copy, function.body.block, list(function.body.block.ops)

    def _returning(self, module: ModuleOp, place: int) -> Iterator[ModuleOp]:
        """The function up to an operation, whose first result it gives."""
        copy, block, ops = self._body(module)
        last = ops[-1]
        if not ops[place].results or not isinstance(last, ReturnOp):
            return
        value = ops[place].results[0]
        if list(last.operands) == [value]:
            return
        block.erase_op(last)
        block.add_op(ReturnOp(value))
        yield self._clean(copy)

    def _bypassed(self, module: ModuleOp, place: int) -> Iterator[ModuleOp]:
        """An operand of the same type in the place of an operation."""
        _, _, ops = self._body(module)
        for number in range(len(ops[place].operands)):
            copy, block, own = self._body(module)
            op = own[place]
            operand = op.operands[number]
            if len(op.results) == 1 and operand.type == op.results[0].type:
                op.results[0].replace_all_uses_with(operand)
                block.erase_op(op)
                yield self._clean(copy)

    def _simpler_constant(self, module: ModuleOp, place: int) -> Iterator[ModuleOp]:
        """A constant whose numbers are 0 or 1, or fewer of which are not 0."""
        _, _, ops = self._body(module)
        value: Any = ops[place].properties.get("value")
        if not ops[place].name.endswith(".constant") or value is None:
            return
        array = to_array(value)
        if array.size > 1 << 12 or not array.any():
            return
        for simple in (np.zeros_like(array), np.sign(array)):
            if not np.array_equal(simple, array):
                copy, _, own = self._body(module)
                with suppress(TypeError, ValueError):
                    kind: Any = value.get_element_type()
                    own[place].properties["value"] = from_array(simple, kind)
                    if own[place].properties["value"].type == value.type:  # pyright: ignore
                        yield copy

    def _clean(self, module: ModuleOp) -> ModuleOp:
        dce(module)
        function = self._own(module)
        assert function is not None
        last = function.body.block.last_op
        assert last is not None
        kinds = [arg.type for arg in function.body.block.args]
        function.function_type = FunctionType.from_lists(kinds, list(last.operand_types))
        function.attributes.pop("outputs", None)
        called = {op.callee.root_reference.data for op in module.walk() if isinstance(op, LinearOp)}
        for op in functions_of(module):
            if op is not function and op.sym_name.data not in called:
                module.body.block.erase_op(op)
        return module

    def _fewer_numbers(
        self, module: ModuleOp, text: str, inputs: Inputs, deadline: float
    ) -> tuple[str, Inputs]:
        """Inputs with as few numbers that are not 0 as still show the difference."""
        after = module.clone()
        self.step.apply(make_context(), after)
        promise, least = promise_of(self.step, module)
        if promise is Promise.LEVELS:
            return text, inputs  # of a few numbers the SQNR says nothing

        def shown(candidate: Inputs) -> str | None:
            try:
                expected = results_of(module, self.function, candidate)
                found = results_of(after, self.function, candidate)
            except InterpretationError:
                return None
            return differ(expected, found, promise, least)

        for number, array in enumerate(inputs):
            size = max(array.size // 2, 1)
            while size and time.monotonic() < deadline:
                for first in range(0, array.size, size):
                    part = inputs[number].copy()
                    flat = part.reshape(-1)
                    if not flat[first : first + size].any():
                        continue
                    flat[first : first + size] = 0
                    candidate = (*inputs[:number], part, *inputs[number + 1 :])
                    if (new := shown(candidate)) is not None:
                        inputs, text = candidate, new
                size //= 2
        return text, inputs
