# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Convolutions are products: against onnxruntime, ONNX's own tests, and on the simulated array."""

import copy
import importlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import daqkf
from daqkf.compiler.formats import load_network
from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn import Im2ColOp, MatmulOp
from daqkf.support.errors import DaqkfError

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(7)
EXTENTS = (7, 6, 5)
CHANNELS, OUTPUTS = 4, 8


def real(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def model_of(nodes: Sequence[Any], x: Array, constants: dict[str, Array], rank: int) -> Any:
    """A model of one input `x`, whose batch is open, and one output `y`."""
    extents = ["batch", *x.shape[1:]]
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", kind, extents)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch"] + [None] * (rank - 1))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def expected(model: Any, x: Array) -> Array:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"x": x})[0])


def of_file(path: Path, model: Any, *inputs: Array) -> Array:
    onnx.save(model, path)
    module = load_network(path)
    return call(module, entry(module), inputs)[0]


def signal_to_noise(found: Array, wanted: Array) -> float:
    """In decibels."""
    return float(10 * np.log10((wanted**2).sum() / ((found - wanted) ** 2).sum()))


PADS = ("none", "even", "uneven", "SAME_UPPER", "SAME_LOWER", "VALID", "output_shape")


def grid(operator: str, rank: int) -> Iterator[tuple[dict[str, Any], tuple[int, ...]]]:
    """Attributes, and the shape of the weights, of convolutions of all kinds."""
    strides, dilations, groups, kernels = (1, 2, 3), (1, 2), (1, 2, CHANNELS), (1, 3)
    for number, (stride, dilation, group, kernel, pads) in enumerate(
        itertools.product(strides, dilations, groups, kernels, PADS)
    ):
        if number % (3, 5, 9)[rank - 1] or (pads == "output_shape" and operator == "Conv"):
            continue
        if "SAME" in pads and operator == "Conv" and dilation > 1:
            continue  # which onnxruntime refuses
        reach = (kernel - 1) * dilation + 1
        if pads == "output_shape" and reach == 1:
            continue  # which ONNX's shape inference refuses
        attributes: dict[str, Any] = {
            "strides": [stride] * rank,
            "dilations": [dilation] * rank,
            "group": group,
        }
        if pads == "even":
            attributes["pads"] = [1] * 2 * rank
        elif pads == "uneven":
            attributes["pads"] = [*range(rank), *[2] * rank]
        elif pads == "output_shape":
            attributes["output_shape"] = [
                (extent - 1) * stride + reach - 1 for extent in EXTENTS[:rank]
            ]
        elif pads != "none":
            attributes["auto_pad"] = pads
        if operator == "ConvTranspose" and pads not in ("uneven", "output_shape"):
            attributes["output_padding"] = [stride - 1] * rank
        ends = (OUTPUTS, CHANNELS // group) if operator == "Conv" else (CHANNELS, OUTPUTS // group)
        yield attributes, (*ends, *[kernel] * rank)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_convolutions_are_as_onnxruntime_has_them(tmp_path: Path, operator: str, rank: int):
    count = 0
    for attributes, shape in grid(operator, rank):
        x, constants = real(2, CHANNELS, *EXTENTS[:rank]), {"w": real(*shape)}
        if count % 2:
            constants["b"] = real(OUTPUTS)
        node = helper.make_node(operator, ["x", *constants], ["y"], "node", **attributes)
        model = model_of([node], x, constants, rank + 2)
        found, wanted = of_file(tmp_path / "m.onnx", model, x), expected(model, x)
        assert found.shape == wanted.shape, attributes
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4, err_msg=str(attributes))
        count += 1
    assert count > 10


def onnx_tests() -> list[Any]:
    """ONNX's own tests of convolutions, whose modules add them to a list when they are imported."""
    node = importlib.import_module("onnx.backend.test.case.node")
    for name in ("batch_normalization", "conv", "convtranspose", "qlinearconv"):
        importlib.import_module(f"{node.__name__}.{name}")
    names = ("test_basic_conv", "test_conv", "test_batchnorm", "test_qlinearconv")
    cases = [case for case in node._NodeTestCases if case.name.startswith(names)]
    return [case for case in cases if "expanded" not in case.name and "integer" not in case.name]


def test_the_convolutions_of_onnxs_own_tests(tmp_path: Path):
    """All but those in training, once what they read besides the image is constant."""
    right, refused = 0, list[str]()
    for case in onnx_tests():
        # Other tests have the same cases.
        model, ((inputs, outputs),) = copy.deepcopy(case.model), case.data_sets
        for info, array in zip(list(model.graph.input)[1:], inputs[1:], strict=True):
            model.graph.input.remove(info)
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), info.name))
        try:
            found = of_file(tmp_path / "m.onnx", model, inputs[0])
        except DaqkfError:
            refused.append(case.name)
            continue
        np.testing.assert_allclose(found, outputs[0], rtol=1e-3, atol=1e-5, err_msg=case.name)
        right += 1
    assert right >= 20, refused
    assert all("training" in name for name in refused)


def network(seed: int = 3) -> Any:
    """Convolutions with normalisations and functions: strides, groups, points, transposed, 2-D."""
    rng = np.random.default_rng(seed)
    nodes: list[Any] = []
    constants: dict[str, Array] = {}

    def add(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def constant(name: str, array: Any) -> str:
        constants[name] = np.asarray(array, np.float32)
        return name

    def layer(name: str, x: str, shape: Sequence[int], kind: str = "Conv", **options: Any) -> str:
        channels = shape[1] if kind == "ConvTranspose" else shape[0]
        fan_in = np.prod(shape[1:])
        weights = constant(f"{name}.weight", rng.standard_normal(shape) / np.sqrt(fan_in))
        y = add(kind, [x, weights], f"{name}.sums", **options)
        statistics = [
            constant(f"{name}.scale", rng.random(channels) + 0.5),
            constant(f"{name}.shift", rng.standard_normal(channels) / 2),
            constant(f"{name}.mean", rng.standard_normal(channels) / 4),
            constant(f"{name}.variance", rng.random(channels) + 0.5),
        ]
        y = add("BatchNormalization", [y, *statistics], f"{name}.norm")
        return add("Relu", [y], name)

    x = layer("stem", "x", (6, 2, 3, 3), pads=[1] * 4, strides=[2, 2])
    y = layer("depthwise", x, (6, 1, 3, 3), pads=[1] * 4, group=6)
    y = layer("point", y, (6, 6, 1, 1))
    y = add("Add", [x, y], "residual")
    y = layer("up", y, (6, 4, 2, 2), "ConvTranspose", strides=[2, 2])
    y = add("ReduceMean", [y], "pooled", axes=[2, 3], keepdims=0)
    add("MatMul", [y, constant("classes.weight", rng.standard_normal((4, 5)))], "y")
    return model_of(nodes, np.zeros((1, 2, 6, 6), np.float32), constants, 2)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> daqkf.CompiledNetwork:
    path = tmp_path_factory.mktemp("conv") / "network.onnx"
    onnx.save(network(), path)
    samples = np.random.default_rng(1).standard_normal((24, 2, 6, 6)).astype(np.float32)
    return daqkf.compile(str(path), calibration={"x": samples}, target="tiny")


def test_a_network_of_convolutions(compiled: daqkf.CompiledNetwork):
    """Each has one kernel, with its normalisation and its function but for the transposed one."""
    names = "stem.sums", "depthwise.sums", "point.sums", "up.sums", "y"
    assert tuple(compiled.kernels) == names
    left = compiled.host()
    assert left["im2col"] == 2
    assert left["col2im"] == 1
    assert left["relu"] == left["mul"] == 1
    x = real(6, 2, 6, 6)
    wanted = expected(network(), x)
    assert signal_to_noise(compiled.run({"x": x})["y"], wanted) > 30


@pytest.mark.slow
def test_convolutions_on_the_simulated_array(compiled: daqkf.CompiledNetwork):
    x = real(1, 2, 6, 6)
    exact = compiled.run({"x": x})["y"]
    np.testing.assert_array_equal(compiled.run({"x": x}, accelerator="rtl", check=True)["y"], exact)


def test_convolutions_are_pruned_and_allotted_levels_as_any_kernel(tmp_path: Path):
    path = tmp_path / "network.onnx"
    onnx.save(network(), path)
    samples = {"x": real(24, 2, 6, 6)}
    pruned = daqkf.compile(str(path), calibration=samples, sparsity=0.6)
    assert pruned.sparsity() == pytest.approx(0.6, abs=0.02)
    chosen = daqkf.compile(str(path), calibration=samples, accuracy="20dB")
    wanted = expected(network(), samples["x"])
    assert signal_to_noise(chosen.run(samples)["y"], wanted) > 18
    assert chosen.cycles < daqkf.compile(str(path), calibration=samples).cycles


def test_weights_of_a_group_are_a_block_of_one_matrix(tmp_path: Path):
    x, weights = real(1, 4, 5), real(6, 2, 3)
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=2)
    onnx.save(model_of([node], x, {"w": weights}, 3), tmp_path / "m.onnx")
    module = load_network(tmp_path / "m.onnx")
    (product,) = (op for op in module.walk() if isinstance(op, MatmulOp))
    (gathered,) = (op for op in module.walk() if isinstance(op, Im2ColOp))
    assert product.lhs is gathered.result
    from daqkf.dialects.nn.ops import constant_of

    matrix = constant_of(product.rhs)
    assert matrix is not None
    whole = matrix.reshape(2, 6, 2, 3)
    np.testing.assert_array_equal(whole[0, :, 0].T.reshape(3, 2, 3), weights[:3])
    np.testing.assert_array_equal(whole[1, :, 1].T.reshape(3, 2, 3), weights[3:])
    assert not whole[0, :, 1].any()
    assert not whole[1, :, 0].any()
