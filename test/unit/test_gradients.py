# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Gradients of operations, held against finite differences."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp, TensorType, f32, i64
from xdsl.interpreter import Interpreter
from xdsl.ir import Block, Operation, SSAValue

from daqkf.dialects import nn, spaq
from daqkf.dialects.nn.interpreter import NnFunctions
from daqkf.dialects.nn.windows import Windows
from daqkf.dialects.spaq.interpreter import SpaqFunctions
from daqkf.hw_targets.functions import FUNCTIONS, apply_function
from daqkf.passes.quantize.gradients import PRODUCTS, SLOPES, gradients_of

RNG = np.random.default_rng(11)
STEP = 1e-2

Array = NDArray[Any]


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "RNG", np.random.default_rng(11))


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> Array:
    return RNG.uniform(0.5, 2.0, shape).astype(np.float32)


def tensor(*shape: int) -> TensorType:
    return TensorType(f32, list(shape))


def operands(*arrays: Array) -> Sequence[SSAValue]:
    """Arguments of a block, of these shapes."""
    return Block(arg_types=[tensor(*array.shape) for array in arrays]).args


def check(op: Operation, *arrays: Array, lengths: Sequence[int] = ()) -> None:
    """Each operand's gradient, along a random direction, against a central difference."""
    interpreter = Interpreter(ModuleOp([]))
    interpreter.register_implementations(NnFunctions())
    interpreter.register_implementations(SpaqFunctions(lengths))

    def run(*values: Array) -> Array:
        return np.asarray(interpreter.run_op(op, values)[0], np.float64)

    y = np.asarray(interpreter.run_op(op, arrays)[0])
    seed = RNG.standard_normal(y.shape).astype(np.float32)
    gradients = gradients_of(op, arrays, y, seed, lengths)
    assert any(gradient is not None for gradient in gradients)
    for number, gradient in enumerate(gradients):
        if gradient is None:
            continue
        assert gradient.shape == arrays[number].shape
        direction = floats(*gradient.shape)
        moved = [
            [
                array + sign * np.float32(STEP) * direction if place == number else array
                for place, array in enumerate(arrays)
            ]
            for sign in (1, -1)
        ]
        numeric = ((run(*moved[0]) - run(*moved[1])) * seed).sum() / (2 * STEP)
        size = float(np.linalg.norm(gradient) * np.linalg.norm(direction))
        assert float((gradient * direction).sum()) == pytest.approx(numeric, abs=0.02 * size)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_slopes(name: str):
    x = np.linspace(-4.003, 4.003, 60)
    numeric = (apply_function(name, x + 1e-5) - apply_function(name, x - 1e-5)) / 2e-5
    assert SLOPES[name](x) == pytest.approx(numeric, abs=1e-3)


@pytest.mark.parametrize(
    "kind", ["erf", "exp", "log", "neg", "reciprocal", "sqrt", "abs", "gelu", "tanh"]
)
def test_functions_of_one_value(kind: str):
    x = positive(4, 5)
    check(nn.ElementwiseOp(kind, operands(x), tensor(4, 5)), x)


@pytest.mark.parametrize("kind", ["add", "sub", "mul", "div", "max", "min", "pow"])
@pytest.mark.parametrize("shapes", [((4, 5), (4, 5)), ((4, 5), (5,)), ((4, 1), (3, 1, 5))])
def test_functions_of_two_values_that_broadcast(kind: str, shapes: tuple[tuple[int, ...], ...]):
    a, b = positive(*shapes[0]), positive(*shapes[1]) * 1.3
    if kind in ("max", "min"):
        # No two values are so near that a step of the difference goes past the kink.
        a, b = np.rint(a), np.rint(b) + np.float32(0.5)
    result = np.broadcast_shapes(*shapes)
    check(nn.ElementwiseOp(kind, operands(a, b), tensor(*result)), a, b.astype(np.float32))


def test_products_of_activations():
    for left, right in (((2, 3, 4), (2, 4, 5)), ((2, 3, 4), (4, 5)), ((3, 4), (4,))):
        a, b = floats(*left), floats(*right)
        y = np.matmul(a, b)
        check(nn.MatmulOp(*operands(a, b), tensor(*y.shape)), a, b)


def test_normalisation_and_softmax():
    x, gamma, beta = floats(3, 8), positive(8), floats(8)
    check(nn.LayerNormOp(*operands(x, gamma, beta), 1e-5), x, gamma, beta)
    check(spaq.LayerNormOp(*operands(x, gamma, beta), 1e-5), x, gamma, beta)
    check(nn.SoftmaxOp(*operands(x), -1), x)
    check(nn.SoftmaxOp(*operands(x), 0), x)


@pytest.mark.parametrize("past", [0, 3])
def test_decoders(past: int):
    x, gamma = floats(3, 8), positive(8)
    check(nn.RmsNormOp(*operands(x, gamma), 1e-5), x, gamma)
    queries, keys, values = floats(4, 6, 4), floats(4, 2, 4), floats(4, 2, 3)
    before = floats(past, 2, 4), floats(past, 2, 3)
    arrays = (queries, keys, values, *before)
    q, k, v, *cached = operands(*arrays)
    check(nn.CachedAttentionOp(q, k, v, (cached[0], cached[1]), 0.5), *arrays)


@pytest.mark.parametrize("pairs", ["halves", "neighbours"])
def test_rotation(pairs: str):
    x, positions = floats(4, 2, 8), np.array([0, 1, 5, 7])
    block = Block(arg_types=[tensor(4, 2, 8), TensorType(i64, [4])])
    op = nn.RotaryOp(pairs, *block.args, base=100.0, features=6)
    seed = floats(4, 2, 8)

    def run(x: Array) -> Array:
        interpreter = Interpreter(ModuleOp([]))
        interpreter.register_implementations(NnFunctions())
        return interpreter.run_op(op, (x, positions))[0]

    gradient, none = gradients_of(op, (x, positions), run(x), seed)
    assert gradient is not None and none is None
    # A rotation is linear, and its transpose turns back.
    direction = floats(4, 2, 8)
    assert (run(direction) * seed).sum() == pytest.approx((gradient * direction).sum(), abs=1e-4)


@pytest.mark.parametrize("kind", ["mean", "sum", "max", "min", "prod"])
def test_reductions(kind: str):
    x = positive(3, 4, 5)
    for keep in (False, True):
        shape = (3, 1, 5) if keep else (3, 5)
        check(nn.ReduceOp(kind, *operands(x), [1], keep, tensor(*shape)), x)


def test_shapes_and_places():
    x = floats(3, 4, 5)
    check(nn.TransposeOp(*operands(x), [2, 0, 1], tensor(5, 3, 4)), x)
    check(nn.UnsqueezeOp(*operands(x), [1], tensor(3, 1, 4, 5)), x)
    y = floats(3, 2, 5)
    check(nn.ConcatOp(operands(x, y), 1, tensor(3, 6, 5)), x, y)


def test_windows():
    windows = Windows((3, 2), (2, 1), (1, 2), (1, 0), (0, 2))
    image, columns = floats(2, 3, 6, 5), floats(2, 3, 5, 18)
    kind = tensor(*columns.shape)
    check(nn.Im2ColOp(operands(image)[0], windows, kind), image)
    check(nn.Col2ImOp(operands(columns)[0], windows, tensor(2, 3, 4, 4)), columns)
    larger = replace(windows, before=(-1, 1), after=(-2, 0))
    check(nn.Col2ImOp(operands(columns)[0], larger, tensor(2, 3, 10, 6)), columns)


def test_layers_of_kernels():
    x, weights, bias = floats(7, 4), floats(4, 6), floats(6)
    check(spaq.MatmulOp(*operands(x, weights), tensor(7, 6)), x, weights)
    check(spaq.AddOp(*operands(floats(7, 6), bias)), floats(7, 6), bias)
    check(spaq.ResidualOp(*operands(x, x)), x, floats(7, 4))
    for function in ("gelu", "silu"):
        check(spaq.ActivationOp(function, *operands(x)), x)
        check(spaq.GateOp(function, *operands(x)), x)
    check(spaq.ColumnsOp(*operands(x), 1, 2), x)
    check(spaq.GatherOp(*operands(x), np.array([0, 1, 2, 3, 3, 1], np.int32)), x)


def test_attention_of_several_sequences():
    q, k, v = floats(9, 8), floats(9, 8), floats(9, 8)
    op = spaq.AttentionOp(*operands(q, k, v), heads=2, tokens=16, scale=0.5)
    check(op, q, k, v, lengths=(4, 5))


def test_every_operation_of_float_networks_has_a_gradient():
    # Of integers, kernels, and operators of ONNX.
    without = {"AttentionOp", "CausalAttentionOp", "LinearOp", "OperatorOp"}
    kinds = [kind for kind in nn.NN.operations if kind.__name__ not in without]
    assert [kind.name for kind in kinds if kind not in PRODUCTS] == []
