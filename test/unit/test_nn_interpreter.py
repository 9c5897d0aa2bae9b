# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What `nn` computes beyond ONNX's operators, and how it refuses what does not fit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from nn_networks import CONTEXT
from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    BytesAttr,
    DenseIntOrFPElementsAttr,
    ModuleOp,
    TensorType,
    f32,
    i1,
    i64,
)
from xdsl.dialects.func import FuncOp
from xdsl.utils.exceptions import InterpretationError, VerifyException

from daqkf.dialects.dense import from_array
from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn import ConstantOp, ProductOp
from daqkf.dialects.nn.elementwise import apply_elementwise
from daqkf.dialects.nn.interpreter import NnFunctions, integer_product
from daqkf.support.ir import module_text, parse_module

KERNEL = """
func.func @half(%x: tensor<?x2xf32>) -> tensor<?x3xf32> {
  %w = spaq.constant dense<[[1.0, 2.0, 3.0], [-1.0, 0.5, 0.0]]> : tensor<2x3xf32>
  %y = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x3xf32>) -> tensor<?x3xf32>
  func.return %y : tensor<?x3xf32>
}
"""
WEIGHTS = np.array([[1, 2, 3], [-1, 0.5, 0]], np.float32)


def run(text: str, *inputs: NDArray[Any], host: NnFunctions | None = None) -> NDArray[Any]:
    module = parse_module(CONTEXT, text, "test")
    return call(module, entry(module), inputs, host=host)[0]


def linear(kind: str) -> str:
    return f"""{KERNEL}
    func.func @main(%x: tensor<{kind}>) -> tensor<*xf32> {{
      %y = nn.linear @half %x {{node = "/layer/MatMul"}} : (tensor<{kind}>) -> tensor<*xf32>
      func.return %y : tensor<*xf32>
    }}"""


@pytest.mark.parametrize("rows", [(), (4,), (0,), (2, 3), (2, 1, 3)])
def test_linear_takes_rows_of_any_rank(rows: tuple[int, ...]):
    x = np.random.default_rng(1).standard_normal((*rows, 2)).astype(np.float32)
    y = run(linear("x".join([*"?" * len(rows), "2xf32"])), x)
    assert y.shape == (*rows, 3)
    assert np.allclose(y, x @ WEIGHTS)


def test_linear_hands_rows_to_what_stands_in():
    seen: list[tuple[str, tuple[int, ...]]] = []

    def kernel(function: FuncOp, rows: NDArray[Any], lengths: Sequence[int]) -> NDArray[Any]:
        assert not lengths
        seen.append((function.sym_name.data, rows.shape))
        return rows[:, ::-1]

    x = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    assert np.array_equal(run(linear("?x?x2xf32"), x, host=NnFunctions(kernel)), x[..., ::-1])
    assert seen == [("half", (6, 2))]


def product(left: str, right: str, result: str = "*xf32") -> str:
    return f"""
    func.func @main(%a: tensor<{left}>, %b: tensor<{right}>) -> tensor<{result}> {{
      %y = nn.product %a, %b {{node = "scores", lhs_step = 0.5 : f64, rhs_step = 0.25 : f64,
        result_step = 2.0 : f64, multiplier = 3 : i64, shift = 4 : i64}}
        : (tensor<{left}>, tensor<{right}>) -> tensor<{result}>
      func.return %y : tensor<{result}>
    }}"""


def test_product_rounds_and_saturates():
    # 1.25 is 2.5 steps and rounds to 2, 1e3 saturates to 127, and -1e3 to -128.
    a = np.array([[1.25, 1e3], [-1e3, 0]], np.float32)
    # Weights have no -128.
    b = np.array([[1, 0, -1e3], [0.25, 0.5, 0]], np.float32)
    sums = np.array([[2 * 4 + 127, 254, -254], [-512, 0, 128 * 127]])
    expected = np.clip((3 * sums + 8) >> 4, -128, 127) * 2.0
    y = run(product("?x2xf32", "2x3xf32"), a, b)
    assert y.dtype == np.float32
    assert np.array_equal(y, expected)


def test_product_broadcasts_and_hands_matrices_to_what_stands_in():
    rng = np.random.default_rng(2)
    a = rng.uniform(-60, 60, (3, 1, 4, 5)).astype(np.float32)
    b = rng.uniform(-30, 30, (2, 5, 6)).astype(np.float32)
    shapes: list[tuple[Any, ...]] = []

    def on_the_array(op: ProductOp, lhs: NDArray[Any], rhs: NDArray[Any]) -> NDArray[Any]:
        shapes.append((lhs.shape, rhs.shape, lhs.dtype, rhs.dtype))
        return integer_product(op, lhs, rhs)

    text = product("?x1x4x5xf32", "?x5x6xf32")
    y = run(text, a, b, host=NnFunctions(product=on_the_array))
    assert y.shape == (3, 2, 4, 6)
    assert shapes == [((4, 5), (5, 6), np.int8, np.int8)] * 6
    assert np.array_equal(y, run(text, a, b))
    single = run(product("4x5xf32", "5x6xf32"), a[2, 0], b[1])
    assert np.array_equal(y[2, 1], single)


@pytest.mark.parametrize("shape", [(0, 4, 5), (2, 0, 5)])
def test_product_of_nothing(shape: tuple[int, ...]):
    y = run(product("?x?x5xf32", "5x6xf32"), np.zeros(shape, np.float32), np.ones((5, 6), "f4"))
    assert y.shape == (*shape[:2], 6)
    assert y.dtype == np.float32


def unary(op: str, kind: str = "?x?xf32", result: str = "*xf32") -> str:
    return f"""
    func.func @main(%x: tensor<{kind}>) -> tensor<{result}> {{
      %v = nn.constant dense<[0, 1]> : tensor<2xi64>
      %t = nn.constant dense<[2, 3]> : tensor<2xi64>
      %w = nn.constant dense<1.0> : tensor<7xf32>
      %e = nn.constant dense<> : tensor<0xi64>
      %z = nn.constant dense<1> : tensor<7xi8>
      %i = nn.expand %z, %e : (tensor<7xi8>, tensor<0xi64>) -> tensor<*xi8>
      %u = nn.expand %x, %e : (tensor<{kind}>, tensor<0xi64>) -> tensor<*xf32>
      %y = {op}
      func.return %y : tensor<{result}>
    }}"""


U = "(tensor<*xf32>)"
X = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    "op",
    [
        "nn.elementwise add %u, %w {N} : (tensor<*xf32>, tensor<7xf32>) -> tensor<*xf32>",
        "nn.matmul %u, %w {N} : (tensor<*xf32>, tensor<7xf32>) -> tensor<*xf32>",
        "nn.linear @half %u {N} : (tensor<*xf32>) -> tensor<*xf32>",
        "nn.product %u, %u {N, lhs_step = 1.0 : f64, rhs_step = 1.0 : f64,"
        " result_step = 1.0 : f64, multiplier = 1 : i64, shift = 1 : i64}"
        " : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>",
        "nn.layer_norm %u, %w, %w {N, epsilon = 0.0 : f64}"
        " : (tensor<*xf32>, tensor<7xf32>, tensor<7xf32>) -> tensor<*xf32>",
        f"nn.softmax %u {{N, axis = 2 : i64}} : {U} -> tensor<*xf32>",
        f"nn.reduce mean %u {{N, axes = array<i64: 2>}} : {U} -> tensor<*xf32>",
        "nn.reshape %u, %v {N} : (tensor<*xf32>, tensor<2xi64>) -> tensor<*xf32>",
        "nn.expand %w, %t {N} : (tensor<7xf32>, tensor<2xi64>) -> tensor<*xf32>",
        f"nn.transpose %u {{N, axes = array<i64: 0, 2, 1>}} : {U} -> tensor<*xf32>",
        f"nn.unsqueeze %u {{N, axes = array<i64: 5>}} : {U} -> tensor<*xf32>",
        f"nn.squeeze %u {{N, axes = array<i64: 1>}} : {U} -> tensor<*xf32>",
        "nn.gather %u, %v {N, axis = 2 : i64} : (tensor<*xf32>, tensor<2xi64>) -> tensor<*xf32>",
        "nn.concat %u, %w {N, axis = 0 : i64} : (tensor<*xf32>, tensor<7xf32>) -> tensor<*xf32>",
        "nn.slice %u, %v, %v {N, axes = array<i64: 0, 4>, steps = array<i64: 1, 1>}"
        " : (tensor<*xf32>, tensor<2xi64>, tensor<2xi64>) -> tensor<*xf32>",
        "nn.slice %u, %v, %v {N, axes = array<i64: 0>, steps = array<i64: 1>}"
        " : (tensor<*xf32>, tensor<2xi64>, tensor<2xi64>) -> tensor<*xf32>",
        "nn.dequantize %i, %w, %z {N, axis = 3 : i64}"
        " : (tensor<*xi8>, tensor<7xf32>, tensor<7xi8>) -> tensor<*xf32>",
    ],
    ids=lambda op: op.split()[0],
)
def test_errors_name_the_node(op: str):
    text = KERNEL + unary(op.replace("N", 'node = "/block/Node_3"', 1))
    with pytest.raises(InterpretationError, match=r"^'/block/Node_3': "):
        run(text, X)


def test_errors_of_what_has_no_node_name_the_operation():
    with pytest.raises(InterpretationError, match=r"^nn\.squeeze: "):
        run(unary(f"nn.squeeze %u {{axes = array<i64: 1>}} : {U} -> tensor<*xf32>"), X)


def test_a_gather_beyond_the_rows_is_an_error():
    text = unary(
        'nn.gather %x, %v {node = "words", axis = 0 : i64}'
        " : (tensor<1x3xf32>, tensor<2xi64>) -> tensor<*xf32>",
        "1x3xf32",
    )
    with pytest.raises(InterpretationError, match=r"^'words': index 1 is out of bounds"):
        run(text, X[:1])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("kind", "expected"), [("log", -np.inf), ("reciprocal", np.inf), ("sqrt", 0.0)]
)
def test_infinities_come_without_warnings(kind: str, expected: float):
    text = unary(f"nn.elementwise {kind} %x : (tensor<?x?xf32>) -> tensor<*xf32>")
    assert np.all(run(text, np.zeros((2, 3), np.float32)) == expected)


def test_quantisation_along_an_axis_rounds_halves_to_even_and_saturates():
    text = """
    func.func @main(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
      %s = nn.constant dense<[1.0, 2.0, 0.5]> : tensor<3xf32>
      %z = nn.constant dense<[0, 10, 128]> : tensor<3xui8>
      %q = nn.quantize %x, %s, %z {axis = 1 : i64}
        : (tensor<?x3xf32>, tensor<3xf32>, tensor<3xui8>) -> tensor<?x3xui8>
      %y = nn.dequantize %q, %s, %z {axis = -1 : i64}
        : (tensor<?x3xui8>, tensor<3xf32>, tensor<3xui8>) -> tensor<?x3xf32>
      func.return %y : tensor<?x3xf32>
    }"""
    x = np.array([[2.5, 3.0, -1e3], [-7.0, -1.0, 1e3]], np.float32)
    assert np.array_equal(run(text, x), [[2, 4, -64], [0, 0, 63.5]])


IDENTITY = "func.func @main(%x: tensor<?x3xf32>) -> tensor<?x3xf32> { return %x : tensor<?x3xf32> }"


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_calls_take_any_extent_for_a_question_mark(rows: int):
    assert run(IDENTITY, np.ones((rows, 3), np.float32)).shape == (rows, 3)


@pytest.mark.parametrize("shape", [(), (3,), (2, 4), (1, 2, 3), (3, 2)])
def test_calls_check_rank_and_known_extents(shape: tuple[int, ...]):
    with pytest.raises(InterpretationError, match=r"of shape \(.*\) is not a tensor<\?x3xf32>"):
        run(IDENTITY, np.ones(shape, np.float32))


@pytest.mark.parametrize("count", [0, 2])
def test_calls_check_the_count_of_arguments(count: int):
    with pytest.raises(InterpretationError, match="the function takes 1 arguments"):
        run(IDENTITY, *[np.ones((1, 3), np.float32)] * count)


def test_a_network_begins_with_main_or_its_only_function():
    module = parse_module(CONTEXT, linear("?x2xf32"), "test")
    assert entry(module).sym_name.data == "main"
    module = parse_module(CONTEXT, KERNEL, "test")
    assert entry(module).sym_name.data == "half"
    module = parse_module(CONTEXT, KERNEL + KERNEL.replace("half", "third"), "test")
    with pytest.raises(InterpretationError, match=r"expected one func\.func in the module, not 2"):
        entry(module)


def test_integers_divide_towards_zero_exactly():
    a = np.array([7, -7, 7, -7, 2**62 + 1, -(2**62) - 1], np.int64)
    b = np.array([2, 2, -2, -2, 1, 1], np.int64)
    quotient = apply_elementwise("div", (a, b))
    assert quotient.dtype == np.int64
    assert quotient.tolist() == [3, -3, -3, 3, 2**62 + 1, -(2**62) - 1]
    assert apply_elementwise(
        "div", (np.array([250], np.uint8), np.array([3], np.uint8))
    ).tolist() == [83]
    assert apply_elementwise("div", (np.array([7.0]), np.array([2.0]))).tolist() == [3.5]


@pytest.mark.parametrize(
    "constant",
    [
        from_array(np.array([-np.inf, np.inf, np.nan, -0.0, 1.5], np.float32), f32),
        from_array(np.array(-np.inf, np.float32), f32),
        from_array(np.array([np.finfo(np.float32).min, 1e-45], np.float32), f32),
        from_array(np.array([[True], [False]]), i1),
        from_array(np.array([-(2**63), 2**63 - 1]), i64),
        from_array(np.zeros((0, 3), np.int64), i64),
    ],
    ids=str,
)
def test_constants_are_read_as_they_were_printed(constant: DenseIntOrFPElementsAttr):
    text = module_text(ModuleOp([ConstantOp(constant)]))
    op = parse_module(CONTEXT, text, "printed").body.block.first_op
    assert isinstance(op, ConstantOp)
    assert op.array().shape == constant.get_shape()
    expected = np.frombuffer(constant.data.data, op.array().dtype)
    if constant.get_element_type() == i1:
        # True is any number but 0.
        assert np.array_equal(op.array().ravel() != 0, expected != 0)
    else:
        assert op.array().tobytes() == expected.tobytes()


def test_a_constant_has_all_its_bytes():
    short = DenseIntOrFPElementsAttr(TensorType(i64, [3]), BytesAttr(bytes(16)))
    with pytest.raises(VerifyException, match="the bytes do not fill the tensor"):
        ConstantOp(short).verify()
