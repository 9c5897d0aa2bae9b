# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Small models in ONNX that between them have most operators."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def _model(
    nodes: list[Any],
    constants: dict[str, np.ndarray[Any, Any]],
    shape: list[int | str],
    outputs: int = 2,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info("y", FLOAT, ["T"] + [None] * (outputs - 1))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def dense_layers() -> onnx.ModelProto:
    """Two layers, a residual, and a softmax."""
    rng = np.random.default_rng(0)
    node = helper.make_node
    constants = {
        "w": rng.standard_normal((4, 5)).astype(np.float32),
        "b": rng.standard_normal(5).astype(np.float32),
        "v": rng.standard_normal((4, 5)).astype(np.float32),
        "c": rng.standard_normal(4).astype(np.float32),
    }
    nodes = [
        node("MatMul", ["x", "w"], ["p"]),
        node("Add", ["p", "b"], ["s"]),
        node("Relu", ["s"], ["r"]),
        node("Gemm", ["r", "v", "c"], ["g"], transB=1, alpha=0.5),
        node("Add", ["g", "x"], ["a"]),
        node("Softmax", ["a"], ["y"], axis=-1),
    ]
    return _model(nodes, constants, ["T", 4])


def _shapes() -> onnx.ModelProto:
    rng = np.random.default_rng(1)
    node = helper.make_node
    constants = {
        "two": np.array([0, -1, 2, 3], np.int64),
        "starts": np.array([0], np.int64),
        "ends": np.array([2], np.int64),
        "axes": np.array([1], np.int64),
        "places": np.array([2, 0], np.int64),
        "w": rng.standard_normal((3, 4)).astype(np.float32),
        "parts": np.array([2, 2], np.int64),
    }
    nodes = [
        node("MatMul", ["x", "w"], ["m"]),
        node("Reshape", ["x", "two"], ["h"]),
        node("Transpose", ["h"], ["t"], perm=[0, 2, 1, 3]),
        node("Slice", ["t", "starts", "ends", "axes"], ["s"]),
        node("Gather", ["s", "places"], ["g"], axis=3),
        node("Unsqueeze", ["g", "starts"], ["u"]),
        node("Squeeze", ["u", "starts"], ["q"]),
        node("ReduceMean", ["q"], ["r"], axes=[1, 2], keepdims=0),
        node("Split", ["m", "parts"], ["left", "right"], axis=2),
        node("ReduceMean", ["left"], ["l"], axes=[1], keepdims=0),
        node("Concat", ["r", "l"], ["y"], axis=1),
    ]
    return _model(nodes, constants, ["T", 4, 3])


def _normalised() -> onnx.ModelProto:
    rng = np.random.default_rng(2)
    node = helper.make_node
    constants = {
        "two": np.array(2, np.float32),
        "half": np.array(0.5, np.float32),
        "one": np.array(1, np.float32),
        "root": np.array(2**0.5, np.float32),
        "epsilon": np.array(1e-5, np.float32),
        "gamma": rng.standard_normal(4).astype(np.float32),
        "w": rng.standard_normal((4, 4)).astype(np.float32),
    }
    nodes = [
        node("ReduceMean", ["x"], ["mean"], axes=[-1]),
        node("Sub", ["x", "mean"], ["d"]),
        node("Pow", ["d", "two"], ["d2"]),
        node("ReduceMean", ["d2"], ["v"], axes=[-1]),
        node("Add", ["v", "epsilon"], ["ve"]),
        node("Sqrt", ["ve"], ["sd"]),
        node("Div", ["d", "sd"], ["n"]),
        node("Mul", ["n", "gamma"], ["ng"]),
        node("MatMul", ["ng", "w"], ["p"]),
        node("Div", ["p", "root"], ["pr"]),
        node("Erf", ["pr"], ["e"]),
        node("Add", ["e", "one"], ["e1"]),
        node("Mul", ["p", "e1"], ["pe"]),
        node("Mul", ["pe", "half"], ["y"]),
    ]
    return _model(nodes, constants, ["T", 4])


def _quantised() -> onnx.ModelProto:
    rng = np.random.default_rng(3)
    node = helper.make_node
    constants = {
        "scale": np.array(0.1, np.float32),
        "zero": np.array(3, np.int8),
        "w": rng.integers(-128, 128, (4, 3)).astype(np.int8),
        "ws": np.array([0.1, 0.2, 0.3], np.float32),
        "wz": np.zeros(3, np.int8),
        "u": rng.integers(0, 255, (3, 3)).astype(np.uint8),
        "uz": np.array(128, np.uint8),
    }
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        node("DequantizeLinear", ["w", "ws", "wz"], ["f"], axis=1),
        node("MatMul", ["d", "f"], ["p"]),
        node("DynamicQuantizeLinear", ["p"], ["pq", "ps", "pz"]),
        node("MatMulInteger", ["pq", "u", "pz", "uz"], ["i"]),
        node("Cast", ["i"], ["c"], to=FLOAT),
        node("Mul", ["c", "ps"], ["y"]),
    ]
    return _model(nodes, constants, ["T", 4])


def _folded() -> onnx.ModelProto:
    """Constants that are computed, and control flow."""
    node = helper.make_node
    branch = helper.make_graph(
        [node("Constant", [], ["k"], value=helper.make_tensor("k", FLOAT, [1], [1.0]))],
        "branch",
        [],
        [helper.make_tensor_value_info("k", FLOAT, [1])],
    )
    constants = {"shape": np.array([4, 2], np.int64), "yes": np.array(True)}
    fill = helper.make_tensor("value", FLOAT, [1], [0.25])
    nodes = [
        node("ConstantOfShape", ["shape"], ["w"], value=fill),
        node("If", ["yes"], ["one"], then_branch=branch, else_branch=branch),
        node("MatMul", ["x", "w"], ["p"]),
        node("Add", ["p", "one"], ["y"]),
    ]
    return _model(nodes, constants, ["T", 4])


def models() -> Iterator[onnx.ModelProto]:
    """Each of them."""
    yield from (dense_layers(), _shapes(), _normalised(), _quantised(), _folded())
