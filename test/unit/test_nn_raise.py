# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-raise`: what is spelled out is found and runs as before; what only looks like it is not."""

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nn_networks import Builder, found, results, transformed
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from daqkf.dialects.nn import ElementwiseOp, LayerNormOp, SoftmaxOp

SHAPE = (3, 5, 6)
X = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32) * 2
RAISED = {"gelu", "gelu_tanh", "silu"}


def raised(module: ModuleOp) -> list[str]:
    """What of the functions that `nn-raise` knows a module has."""
    names = [
        op.kind.data if isinstance(op, ElementwiseOp) else op.name
        for op in found(module, ElementwiseOp, LayerNormOp, SoftmaxOp)
    ]
    return [name for name in names if name in RAISED or name.startswith("nn.")]


def check(build: Callable[[Builder, SSAValue], SSAValue], *expected: str) -> None:
    """Build, raise, and compare what was found, and the results."""
    builder = Builder(SHAPE)
    module = builder.module(build(builder, builder.inputs[0]))
    after = transformed(module, "nn-raise")
    assert raised(after) == list(expected)
    if expected:
        assert len(found(after, ElementwiseOp)) < len(found(module, ElementwiseOp))
    (before,), (result,) = results(module, X), results(after, X)
    assert np.allclose(result, before, rtol=2e-5, atol=2e-6)
    assert str(transformed(after, "nn-raise")) == str(after)


@st.composite
def products(draw: st.DrawFn, names: tuple[str, ...]) -> Callable[..., SSAValue]:
    """A product of named values and numbers in any order and nesting, with divisions by numbers."""
    order = draw(st.permutations(names))
    nesting = draw(st.lists(st.integers(0, 8), min_size=len(names), max_size=len(names)))
    divide = draw(st.booleans())

    def build(builder: Builder, **values: SSAValue | float) -> SSAValue:
        parts = [values[name] for name in order]
        for choice in nesting[:-1]:
            place = choice % (len(parts) - 1)
            left, right = parts[place : place + 2]
            if divide and isinstance(right, float):
                joined = builder.apply("div", left, 1 / right)
            else:
                joined = builder.apply("mul", left, right)
            parts[place : place + 2] = [joined]
        assert isinstance(parts[0], SSAValue)
        return parts[0]

    return build


def summed(builder: Builder, turned: bool, *terms: SSAValue | float) -> SSAValue:
    return builder.apply("add", *(terms[::-1] if turned else terms))


@given(products(("x", "half", "sum")), products(("x", "root")), st.booleans(), st.booleans())
@settings(max_examples=25)
def test_gelu_by_erf(
    outer: Callable[..., SSAValue],
    inner: Callable[..., SSAValue],
    turned: bool,
    of_a_product: bool,
):
    def build(builder: Builder, x: SSAValue) -> SSAValue:
        if of_a_product:
            x = builder.apply("mul", x, 2.0)
        erf = builder.apply("erf", inner(builder, x=x, root=math.sqrt(0.5)))
        return outer(builder, x=x, half=0.5, sum=summed(builder, turned, erf, 1.0))

    check(build, "gelu")


@given(
    products(("x", "half", "sum")),
    products(("root", "rest")),
    products(("factor", "power")),
    st.sampled_from(["pow", "mul", "squares"]),
    st.booleans(),
)
@settings(max_examples=25)
def test_gelu_by_tanh(
    outer: Callable[..., SSAValue],
    scaled: Callable[..., SSAValue],
    cubic: Callable[..., SSAValue],
    form: str,
    turned: bool,
):
    def build(builder: Builder, x: SSAValue) -> SSAValue:
        square = builder.apply("mul", x, x)
        cube = builder.apply("pow", x, 3.0) if form == "pow" else builder.apply("mul", square, x)
        if form == "squares":
            term = cubic(builder, factor=0.044715, power=square)
            rest = builder.apply("mul", x, summed(builder, turned, term, 1.0))
        else:
            term = cubic(builder, factor=0.044715, power=cube)
            rest = summed(builder, turned, x, term)
        tanh = builder.apply("tanh", scaled(builder, root=math.sqrt(2 / math.pi), rest=rest))
        return outer(builder, x=x, half=0.5, sum=summed(builder, turned, tanh, 1.0))

    check(build, "gelu_tanh")


@pytest.mark.parametrize("turned", [False, True])
def test_silu(turned: bool):
    def build(builder: Builder, x: SSAValue) -> SSAValue:
        factors = x, builder.apply("sigmoid", x)
        return builder.apply("mul", *(factors[::-1] if turned else factors))

    check(build, "silu")


def normalised(
    builder: Builder, x: SSAValue, square: str = "pow", by: str = "div", axis: int = -1
) -> SSAValue:
    """`(x - mean) / √(variance + ε)`."""
    centred = builder.apply("sub", x, builder.reduce("mean", x, axis))
    if square == "pow":
        squares = builder.apply("pow", centred, 2.0)
    elif square == "mul":
        squares = builder.apply("mul", centred, centred)
    else:
        again = builder.apply("sub", x, builder.reduce("mean", x, axis))
        squares = builder.apply("mul", centred, again)
    variance = builder.reduce("mean", squares, axis)
    deviation = builder.apply("sqrt", builder.apply("add", variance, 1e-5))
    if by == "div":
        return builder.apply("div", centred, deviation)
    return builder.apply("mul", centred, builder.apply("reciprocal", deviation))


GAMMA, BETA = np.linspace(0.5, 2, 6, dtype=np.float32), np.linspace(-1, 1, 6, dtype=np.float32)


@pytest.mark.parametrize(
    ("square", "by", "turned"),
    list(product(("pow", "mul", "twice"), ("div", "reciprocal"), (False, True))),
)
def test_layer_norm(square: str, by: str, turned: bool):
    def build(builder: Builder, x: SSAValue) -> SSAValue:
        y, gamma = normalised(builder, x, square, by), builder.constant(GAMMA)
        scaled = builder.apply("mul", *((gamma, y) if turned else (y, gamma)))
        return summed(builder, turned, scaled, builder.constant(BETA))

    check(build, "nn.layer_norm")


@pytest.mark.parametrize("shift", ["max", "constant", None])
def test_softmax(shift: str | None):
    def build(builder: Builder, x: SSAValue) -> SSAValue:
        if shift is not None:
            least = builder.reduce("max", x, 2) if shift == "max" else 1.5
            x = builder.apply("sub", x, least)
        e = builder.apply("exp", x)
        return builder.apply("div", e, builder.reduce("sum", e))

    check(build, "nn.softmax")


def test_softmax_of_large_numbers_no_longer_overflows():
    builder = Builder(SHAPE)
    e = builder.apply("exp", builder.inputs[0])
    module = builder.module(builder.apply("div", e, builder.reduce("sum", e)))
    x = np.full(SHAPE, 200, np.float32)
    assert np.isnan(results(module, x)[0]).all()
    assert np.allclose(results(transformed(module, "nn-raise"), x)[0], 1 / 6)


def like_gelu(
    builder: Builder,
    x: SSAValue,
    *,
    half: float = 0.5,
    one: float = 1.0,
    root: float = math.sqrt(2),
    other: SSAValue | None = None,
) -> SSAValue:
    erf = builder.apply("erf", builder.apply("div", x if other is None else other, root))
    total = builder.apply("add", erf, one)
    return builder.apply("mul", builder.apply("mul", x, total), half)


def like_tanh(
    builder: Builder, x: SSAValue, inside: Callable[[Builder, SSAValue], SSAValue]
) -> SSAValue:
    argument = builder.apply("mul", inside(builder, x), math.sqrt(2 / math.pi))
    total = builder.apply("add", builder.apply("tanh", argument), 1.0)
    return builder.apply("mul", builder.apply("mul", x, total), 0.5)


def polynomial(
    builder: Builder, x: SSAValue, *, factor: float = 0.044715, power: float = 3.0, scale: float = 1
) -> SSAValue:
    term = builder.apply("mul", builder.apply("pow", x, power), factor)
    return builder.apply("add", builder.apply("mul", x, scale) if scale != 1 else x, term)


def squared_outside(builder: Builder, x: SSAValue) -> SSAValue:
    inner = builder.apply("mul", builder.apply("pow", x, 2.0), 0.044715)
    square = builder.apply("mul", x, x)
    return builder.apply("mul", square, builder.apply("add", inner, 1.0))


def like_layer_norm(
    builder: Builder,
    x: SSAValue,
    *,
    gamma: np.ndarray = GAMMA,
    beta: np.ndarray = BETA,
    axis: int = -1,
    factor: float = 1.0,
) -> SSAValue:
    y = builder.apply("mul", normalised(builder, x, axis=axis), builder.constant(gamma))
    y = y if factor == 1 else builder.apply("mul", y, factor)
    return builder.apply("add", y, builder.constant(beta))


def negative_epsilon(builder: Builder, x: SSAValue) -> SSAValue:
    centred = builder.apply("sub", x, builder.reduce("mean", x))
    variance = builder.reduce("mean", builder.apply("mul", centred, centred))
    deviation = builder.apply("sqrt", builder.apply("add", variance, -1e-5))
    y = builder.apply("mul", builder.apply("div", centred, deviation), builder.constant(GAMMA))
    return builder.apply("add", y, builder.constant(BETA))


def other_variance(builder: Builder, x: SSAValue) -> SSAValue:
    other = builder.apply("abs", x)
    centred = builder.apply("sub", x, builder.reduce("mean", x))
    strange = builder.apply("sub", other, builder.reduce("mean", other))
    variance = builder.reduce("mean", builder.apply("mul", strange, strange))
    deviation = builder.apply("sqrt", builder.apply("add", variance, 1e-5))
    y = builder.apply("mul", builder.apply("div", centred, deviation), builder.constant(GAMMA))
    return builder.apply("add", y, builder.constant(BETA))


def other_mean(builder: Builder, x: SSAValue) -> SSAValue:
    centred = builder.apply("sub", x, builder.reduce("max", x))
    variance = builder.reduce("mean", builder.apply("mul", centred, centred))
    deviation = builder.apply("sqrt", builder.apply("add", variance, 1e-5))
    y = builder.apply("mul", builder.apply("div", centred, deviation), builder.constant(GAMMA))
    return builder.apply("add", y, builder.constant(BETA))


def like_softmax(
    builder: Builder, x: SSAValue, *, axis: int = -1, kind: str = "sum", other: bool = False
) -> SSAValue:
    e = builder.apply("exp", x)
    total = builder.apply("exp", builder.apply("abs", x)) if other else e
    return builder.apply("div", e, builder.reduce(kind, total, axis))


LOOK_ALIKES: dict[str, Callable[[Builder, SSAValue], SSAValue]] = {
    "gelu, not half": lambda b, x: like_gelu(b, x, half=0.51),
    "gelu, minus half": lambda b, x: like_gelu(b, x, half=-0.5),
    "gelu, not one": lambda b, x: like_gelu(b, x, one=-1.0),
    "gelu, another root": lambda b, x: like_gelu(b, x, root=math.sqrt(3)),
    "gelu, a divisor of nothing": lambda b, x: like_gelu(b, x, root=0.5**0.5),
    "gelu of another": lambda b, x: like_gelu(b, x, other=b.apply("abs", x)),
    "tanh, another factor": lambda b, x: like_tanh(
        b, x, lambda b, x: polynomial(b, x, factor=0.04)
    ),
    "tanh, another power": lambda b, x: like_tanh(b, x, lambda b, x: polynomial(b, x, power=2.0)),
    "tanh, more x": lambda b, x: like_tanh(b, x, lambda b, x: polynomial(b, x, scale=2)),
    "tanh, x² outside": lambda b, x: like_tanh(b, x, squared_outside),
    "tanh of another": lambda b, x: like_tanh(b, x, lambda b, x: polynomial(b, b.apply("abs", x))),
    "silu of another": lambda b, x: b.apply("mul", x, b.apply("sigmoid", b.apply("abs", x))),
    "silu, divided": lambda b, x: b.apply("div", x, b.apply("sigmoid", x)),
    "layer norm, scalar gamma": lambda b, x: like_layer_norm(b, x, gamma=np.array(2.0)),
    "layer norm, many gammas": lambda b, x: like_layer_norm(b, x, gamma=np.ones(SHAPE[1:])),
    "layer norm, scalar beta": lambda b, x: like_layer_norm(b, x, beta=np.array(2.0)),
    "layer norm, another axis": lambda b, x: like_layer_norm(b, x, axis=1),
    "layer norm, a factor more": lambda b, x: like_layer_norm(b, x, factor=2.0),
    "layer norm, minus epsilon": negative_epsilon,
    "layer norm, another's variance": other_variance,
    "layer norm, no mean": other_mean,
    "softmax, another axis": lambda b, x: like_softmax(b, x, axis=1),
    "softmax by the mean": lambda b, x: like_softmax(b, x, kind="mean"),
    "softmax by another": lambda b, x: like_softmax(b, x, other=True),
}


@pytest.mark.parametrize("build", LOOK_ALIKES.values(), ids=list(LOOK_ALIKES))
def test_look_alikes_stay(build: Callable[[Builder, SSAValue], SSAValue]):
    builder = Builder(SHAPE)
    module = builder.module(build(builder, builder.inputs[0]))
    after = transformed(module, "nn-raise")
    assert raised(after) == []
    assert str(after) == str(module)


def test_what_is_around_a_function_stays():
    check(lambda b, x: b.apply("div", like_gelu(b, x), b.apply("add", x, 99.0)), "gelu")
    check(lambda b, x: b.apply("mul", b.apply("mul", like_gelu(b, x), x), 3.0), "gelu")


def test_deep_products_take_no_time():
    builder = Builder(SHAPE)
    value = builder.inputs[0]
    for kind in ("mul", "add") * 20:
        value = builder.apply(kind, value, value)
    for _ in range(1200):
        value = builder.apply("mul", value, 1.0)
    module = builder.module(value)
    assert str(transformed(module, "nn-raise")) == str(module)
