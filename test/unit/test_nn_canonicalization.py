# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Canonical forms of `nn` compute what was there before, bit for bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nn_networks import CONTEXT
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.transforms.canonicalize import CanonicalizePass

from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn.elementwise import ARITY, COMPARISONS, LOGICAL, Function, Reduction
from daqkf.hw_targets.functions import FUNCTIONS
from daqkf.support.ir import parse_module

EXAMPLES = Path(__file__).parents[1] / "dialects" / "nn" / "canonicalize.mlir"


def canonical(module: ModuleOp) -> ModuleOp:
    copy = module.clone()
    CanonicalizePass().apply(CONTEXT, copy)
    copy.verify()
    return copy


def results(module: ModuleOp, *inputs: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    return call(module, entry(module), inputs)


def assert_same(module: ModuleOp, *inputs: NDArray[Any]) -> ModuleOp:
    after = canonical(module)
    for one, other in zip(results(module, *inputs), results(after, *inputs), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    return after


@pytest.mark.parametrize(("kind", "low", "high"), [("i8", -128, 127), ("ui8", 0, 255)])
@pytest.mark.parametrize("scale", [2.0**-99, 1e-12, 0.1, 1 / 3, 7.3, 2.0**99])
def test_requantising_what_was_scaled_up_loses_nothing(
    kind: str, low: int, high: int, scale: float
):
    numbers = np.arange(low, high + 1).astype("i1" if low else "u1")
    for zero in (low, 0, 3, high):
        text = f"""
        func.func @main(%q: tensor<?x{kind}>) -> tensor<?x{kind}> {{
          %s = nn.constant dense<{np.float32(scale):e}> : tensor<f32>
          %z = nn.constant dense<{zero}> : tensor<{kind}>
          %x = nn.dequantize %q, %s, %z {{axis = 0 : i64}}
            : (tensor<?x{kind}>, tensor<f32>, tensor<{kind}>) -> tensor<?xf32>
          %y = nn.quantize %x, %s, %z {{axis = 0 : i64}}
            : (tensor<?xf32>, tensor<f32>, tensor<{kind}>) -> tensor<?x{kind}>
          func.return %y : tensor<?x{kind}>
        }}"""
        after = assert_same(parse_module(CONTEXT, text, "test"), numbers)
        assert "quantize" not in str(after)


def test_requantising_16_bits_loses_nothing():
    numbers = np.arange(-(2**15), 2**15).astype("i2")
    for scale in np.random.default_rng(1).uniform(0.001, 1000, 40).astype(np.float32):
        text = f"""
        func.func @main(%q: tensor<?xi16>) -> tensor<?xi16> {{
          %s = nn.constant dense<{float(scale)!r}> : tensor<f32>
          %z = nn.constant dense<-32768> : tensor<i16>
          %x = nn.dequantize %q, %s, %z {{axis = 0 : i64}}
            : (tensor<?xi16>, tensor<f32>, tensor<i16>) -> tensor<?xf32>
          %y = nn.quantize %x, %s, %z {{axis = 0 : i64}}
            : (tensor<?xf32>, tensor<f32>, tensor<i16>) -> tensor<?xi16>
          func.return %y : tensor<?xi16>
        }}"""
        assert_same(parse_module(CONTEXT, text, "test"), numbers)


@pytest.mark.parametrize("kind", list(Function))
def test_functions_of_constants_are_what_a_run_gives(kind: Function):
    bits = kind in LOGICAL
    given = "i1" if bits else "f32"
    result = "i1" if bits or kind in COMPARISONS else "f32"
    values = "[true, false, true]" if bits else "[0.25, -1.5, 3.0]"
    first = "%m" if kind is Function.WHERE else "%a"
    kinds = ["i1" if kind is Function.WHERE else given, given, given][: ARITY[kind]]
    operands = [first, "%b", "%a"][: ARITY[kind]]
    types = ", ".join(f"tensor<3x{name}>" for name in kinds)
    text = f"""
    func.func @main(%x: tensor<?xf32>) -> tensor<3x{result}> {{
      %a = nn.constant dense<{values}> : tensor<3x{given}>
      %b = nn.constant dense<{values}> : tensor<3x{given}>
      %m = nn.constant dense<[true, false, true]> : tensor<3xi1>
      %y = nn.elementwise {kind} {", ".join(operands)} : ({types}) -> tensor<3x{result}>
      func.return %y : tensor<3x{result}>
    }}"""
    after = assert_same(parse_module(CONTEXT, text, "test"), np.zeros(1, np.float32))
    assert "nn.elementwise" not in str(after)


@pytest.mark.parametrize("kind", list(Reduction))
@pytest.mark.parametrize("element", ["f32", "i64"])
def test_reductions_of_constants_are_what_a_run_gives(kind: Reduction, element: str):
    values = "[[1, 2], [4, 5]]" if element == "i64" else "[[1.0, 2.5], [4.25, -5.0]]"
    text = f"""
    func.func @main(%x: tensor<?xf32>) -> tensor<2x{element}> {{
      %a = nn.constant dense<{values}> : tensor<2x2x{element}>
      %y = nn.reduce {kind} %a {{axes = array<i64: 1>}}
        : (tensor<2x2x{element}>) -> tensor<2x{element}>
      func.return %y : tensor<2x{element}>
    }}"""
    after = assert_same(parse_module(CONTEXT, text, "test"), np.zeros(1, np.float32))
    assert "nn.reduce" not in str(after)


def test_the_examples_compute_what_they_did():
    rng = np.random.default_rng(2)
    ran = 0
    for text in EXAMPLES.read_text().split("// -----\n"):
        module = parse_module(CONTEXT, text, "test")
        if entry(module).sym_name.data in ("no_identities", "sizes"):
            continue  # not all of it runs
        inputs: list[NDArray[Any]] = []
        for kind in entry(module).function_type.inputs.data:
            shape = [5 if extent < 0 else extent for extent in kind.get_shape()]  # pyright: ignore
            name = str(kind.element_type)  # pyright: ignore
            if name == "f32":
                inputs.append(rng.standard_normal(shape).astype(np.float32))
            else:
                inputs.append(rng.integers(-128, 128, shape).astype(f"i{int(name[1:]) // 8}"))
        assert_same(module, *inputs)
        ran += 1
    assert ran == 6


def test_every_function_is_computed_and_activations_are_among_them():
    assert set(ARITY) == set(Function)
    assert set(FUNCTIONS) < set(Function)
