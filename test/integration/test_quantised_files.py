# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Quantised ONNX files: the compiled network against onnxruntime's run of the same file."""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

import daqkf
from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.design import run_passes
from daqkf.compiler.formats import load_network
from daqkf.compiler.pipelines import OUTLINE
from daqkf.dialects.interpreting import call, entry
from daqkf.passes.nn_scale import are_rows_scaled

Array = NDArray[Any]
RNG = np.random.default_rng(18)
SEEN = RNG.standard_normal((512, 64)).astype(np.float32)
UNSEEN = RNG.standard_normal((200, 64)).astype(np.float32)


@pytest.fixture(autouse=True)
def seed() -> None:
    """The weights of a test do not depend on the tests before it."""
    RNG.bit_generator.state = np.random.default_rng(19).bit_generator.state


def real(*shape: int) -> NDArray[np.float32]:
    return RNG.standard_normal(shape).astype(np.float32)


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Any],
    features: int = 64,
    outputs: int = 32,
    opset: int = 21,
    domains: Sequence[str] = (),
) -> Path:
    """A model of rows x [B, features] that gives y [B, outputs]."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", features])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", outputs])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(name, 1) for name in domains)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def layers(path: Path, function: str | None, operator: str = "Gemm") -> Path:
    """Three layers of random weights, with a function between them."""
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, Array] = {}
    value, extents = "x", (64, 96, 96, 32)
    for number, (rows, columns) in enumerate(pairwise(extents)):
        constants[f"w{number}"] = real(rows, columns) / np.float32(np.sqrt(rows))
        constants[f"b{number}"] = real(columns)
        names = [value, f"w{number}"], f"b{number}"
        value = f"h{number}"
        if operator == "Gemm":
            nodes.append(helper.make_node("Gemm", [*names[0], names[1]], [value], value))
        else:
            nodes.append(helper.make_node("MatMul", names[0], [f"m{number}"], f"m{number}"))
            nodes.append(helper.make_node("Add", [f"m{number}", names[1]], [value], value))
        if function and number < 2:
            nodes.append(helper.make_node(function, [value], [f"f{number}"], f"f{number}"))
            value = f"f{number}"
    nodes[-1].output[0] = "y"
    return save(path, nodes, constants)


class Reader(CalibrationDataReader):
    def __init__(self):
        self.left = [{"x": SEEN}]

    def get_next(self) -> Any:
        return self.left.pop() if self.left else None


def statically(path: Path, kinds: tuple[str, str], **options: Any) -> Path:
    """The file as onnxruntime quantises it, for activations and weights of two types."""
    quantised = path.with_suffix(".q.onnx")
    activations, weights = (getattr(QuantType, f"Q{kind}") for kind in kinds)
    symmetric = {"ActivationSymmetric": options.pop("symmetric", False)}
    quantize_static(
        path,
        quantised,
        Reader(),
        activation_type=activations,
        weight_type=weights,
        extra_options=symmetric,
        **options,
    )
    return quantised


def runtime(path: Path, x: Array = UNSEEN) -> Array:
    options = SessionOptions()
    options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return np.asarray(InferenceSession(path, options).run(None, {"x": x})[0])


def sqnr(found: Array, expected: Array) -> float:
    """dB."""
    error = float(((found.astype(np.float64) - expected) ** 2).sum())
    return np.inf if error == 0 else float(10 * np.log10((expected**2).sum() / error))


def float_network(path: Path, x: Array = UNSEEN) -> Array:
    """What the float network gives once its kernels are cut out."""
    module = load_network(path)
    run_passes(module, OUTLINE)
    return call(module, entry(module), [x])[0]


def compiled(path: Path, **options: Any) -> CompiledNetwork:
    return daqkf.compile(path, calibration={"x": SEEN}, **options)


def quality(path: Path, **options: Any) -> float:
    """The SQNR of a compiled network to onnxruntime's run of its file, dB."""
    return sqnr(compiled(path, **options).run({"x": UNSEEN})["y"], runtime(path))


@pytest.mark.parametrize(
    "function", ["Gelu", *(pytest.param(f, marks=pytest.mark.slow) for f in (None, "Relu", "Tanh"))]
)
@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
@pytest.mark.parametrize("kind", ["Int8", "UInt8"])
def test_kernels_keep_the_levels_of_a_file(
    tmp_path: Path, kind: str, symmetric: bool, function: str | None
):
    path = layers(tmp_path / "m.onnx", function)
    path = statically(path, (kind, "Int8"), per_channel=True, symmetric=symmetric)
    assert sqnr(float_network(path), runtime(path)) > 60
    # Some levels differ by one, and every layer hands that on.
    assert quality(path) > 48
    if symmetric:
        network = compiled(path)
        assert len(network.kernels) == 1 and network.host() == {"quantize": 1, "dequantize": 1}


@pytest.mark.parametrize("per_channel", [False, True], ids=["tensor", "channel"])
@pytest.mark.parametrize(
    ("weights", "operator", "least"),
    [
        pytest.param("Int8", "Gemm", 48, marks=pytest.mark.slow),
        ("Int8", "MatMul", 48),
        # Weights of up to 255 steps are fitted anew.
        ("UInt8", "Gemm", 37),
        pytest.param("UInt8", "MatMul", 37, marks=pytest.mark.slow),
        # Sums have few steps for each of the result, so the bias is coarse. The quantiser has no
        # Gemm of 4 bits.
        ("Int4", "MatMul", 38),
    ],
)
def test_files_of_quantize_static(
    tmp_path: Path, weights: str, operator: str, least: float, per_channel: bool
):
    path = layers(tmp_path / "m.onnx", "Relu", operator)
    path = statically(path, ("UInt8", weights), per_channel=per_channel)
    assert sqnr(float_network(path), runtime(path)) > 60
    assert quality(path) > least


@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
@pytest.mark.parametrize("kind", ["Int8", "UInt8"])
def test_a_kernel_has_the_levels_that_onnxruntime_finds(tmp_path: Path, kind: str, symmetric: bool):
    """All but a few in ten thousand, where the bias is rounded to a whole sum: one step."""
    constants = {"w": real(64, 32) / 8, "b": real(32)}
    path = save(tmp_path / "m.onnx", [helper.make_node("Gemm", ["x", "w", "b"], ["y"])], constants)
    path = statically(path, (kind, "Int8"), per_channel=True, symmetric=symmetric)
    y, expected = compiled(path).run({"x": UNSEEN})["y"], runtime(path)
    step = np.diff(np.unique(expected)).min()
    differences = np.rint((y - expected) / step)
    assert np.abs(differences).max() <= 1 and np.count_nonzero(differences) < 1e-3 * y.size
    assert sqnr(y, expected) > 60


def test_levels_at_the_end_of_their_range_are_no_saturation(tmp_path: Path):
    """Half of the activations are 0, the low end of uint8."""
    seen = np.maximum(SEEN, 0)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]
    constants = {"w": real(64, 32), "s": np.float32(seen.max() / 255), "z": np.uint8(0)}
    network = compiled(save(tmp_path / "m.onnx", nodes, constants))
    assert max(network.saturation({"x": seen}).values()) == 0


def test_new_levels_are_found_if_asked_for(tmp_path: Path):
    path = layers(tmp_path / "m.onnx", "Relu")
    path = statically(path, ("UInt8", "Int8"), per_channel=True)
    network = compiled(path, requantize=True)
    assert not {"quantize", "dequantize"} & set(network.host())
    assert 33 < sqnr(network.run({"x": UNSEEN})["y"], runtime(path)) < 45


@pytest.mark.slow
def test_the_rtl_has_the_levels_of_a_file(tmp_path: Path):
    path = statically(layers(tmp_path / "m.onnx", "Relu"), ("UInt8", "Int8"), per_channel=True)
    network = compiled(path, target="wide")
    y = network.run({"x": UNSEEN[:8]}, accelerator="rtl", check=True)["y"]
    assert sqnr(y, runtime(path, UNSEEN[:8])) > 48


def test_saturation_that_is_a_relu(tmp_path: Path):
    """The levels of x and y, which the file does not round, are found as for any file."""
    w, b, v = real(64, 48), real(48), real(48, 32)
    scale = np.float32(np.maximum(SEEN @ w + b, 0).max() / 255)
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("QuantizeLinear", ["h", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("MatMul", ["d", "v"], ["y"]),
    ]
    constants = {"w": w, "b": b, "v": v, "s": scale, "z": np.uint8(0)}
    path = save(tmp_path / "m.onnx", nodes, constants)
    assert sqnr(float_network(path), runtime(path)) > 60
    nodes[1:3] = [helper.make_node("Relu", ["h"], ["d"])]
    plain = quality(save(tmp_path / "plain.onnx", nodes, {"w": w, "b": b, "v": v}))
    assert quality(path) > plain - 1
    assert quality(path, requantize=True) > plain - 1


def test_weights_that_are_clipped(tmp_path: Path):
    w = real(64, 32)
    w[0] *= 20
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "s", "z"], ["q"], axis=1),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], axis=1),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    constants = {"w": w, "s": np.full(32, 0.05, np.float32), "z": np.zeros(32, np.int8)}
    path = save(tmp_path / "m.onnx", nodes, constants)
    assert sqnr(float_network(path), runtime(path)) > 120
    assert quality(path) > 35


@pytest.mark.parametrize(
    "kind", ["float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "int4", "uint4", "uint8"]
)
def test_constants_of_few_bits_are_decoded(tmp_path: Path, kind: str):
    import ml_dtypes

    dtype = np.dtype(getattr(ml_dtypes, kind, kind))
    levels = (np.clip(3 * real(64, 32) + 4, 0, 7) if "int" in kind else real(64, 32)).astype(dtype)
    zero = np.array(3 if "int" in kind else 0).astype(dtype)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    constants = {"q": levels, "s": np.float32(0.25), "z": zero}
    path = save(tmp_path / "m.onnx", nodes, constants, opset=23)
    expected = UNSEEN @ (0.25 * (levels.astype(np.float32) - zero.astype(np.float32)))
    assert sqnr(float_network(path), expected) > 120
    # The activations have no levels in the file: the array alone rounds them.
    assert sqnr(compiled(path).run({"x": UNSEEN})["y"], expected) > 37


def test_a_computed_zero_point_counts(tmp_path: Path):
    """It is what a product of the rows' bits says, here 3."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "three"], ["three.again"]),
        helper.make_node("Cast", ["three.again"], ["z"], to=TensorProto.INT8),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    levels = RNG.integers(-9, 10, (64, 32)).astype(np.int8)
    constants = {"q": levels, "s": np.float32(0.25), "zero": np.float32(0), "three": np.float32(3)}
    path = save(tmp_path / "m.onnx", nodes, constants)
    module = load_network(path)
    (y,) = call(module, entry(module), [UNSEEN])
    assert sqnr(y, runtime(path)) > 120


def test_products_of_quantised_operands(tmp_path: Path):
    # Two products with uint8 fit int16, in which onnxruntime adds them on some processors.
    w = RNG.integers(-63, 64, (64, 32)).astype(np.int8)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "a", "az"], ["q"]),
        helper.make_node("QLinearMatMul", ["q", "a", "az", "w", "b", "bz", "c", "cz"], ["p"]),
        helper.make_node("DequantizeLinear", ["p", "c", "cz"], ["y"]),
    ]
    constants = {
        "w": w,
        "a": np.float32(0.0312),
        "az": np.uint8(120),
        "b": np.float32(0.01),
        "bz": np.int8(2),
        "c": np.float32(0.1973),
        "cz": np.uint8(130),
    }
    path = save(tmp_path / "m.onnx", nodes, constants)
    assert sqnr(float_network(path), runtime(path)) > 60
    assert quality(path) > 48


@pytest.mark.parametrize("zeros", [False, True], ids=["middle", "given"])
@pytest.mark.parametrize("bits", [4, 8])
def test_weights_in_blocks(tmp_path: Path, bits: int, zeros: bool):
    size, rows, columns = 16, 64, 32
    packed = RNG.integers(0, 256, (columns, rows // size, size * bits // 8)).astype(np.uint8)
    scales = (RNG.random((columns, rows // size)) / 9 + 0.01).astype(np.float32)
    constants = {"w": packed, "s": scales, "v": real(columns, 32)}
    names = ["x", "w", "s"]
    if zeros:
        constants["z"] = RNG.integers(0, 256, (columns, rows // size * bits // 8)).astype(np.uint8)
        names.append("z")
    nodes = [
        helper.make_node(
            *("MatMulNBits", names, ["h"]),
            domain="com.microsoft",
            K=rows,
            N=columns,
            bits=bits,
            block_size=size,
        ),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["y"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, constants, domains=["com.microsoft"])
    assert sqnr(float_network(path), runtime(path)) > 100
    assert quality(path) > 35


def weights_only(path: Path, function: str | None) -> Path:
    """Three layers whose weights alone have levels, one step for each channel."""
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, Array] = {}
    value = "x"
    for number, (rows, columns) in enumerate(pairwise((64, 96, 96, 32))):
        weights = real(rows, columns) / np.float32(np.sqrt(rows))
        steps = np.abs(weights).max(axis=0) / np.float32(127)
        constants[f"q{number}"] = np.rint(weights / steps).astype(np.int8)
        constants[f"s{number}"], constants[f"z{number}"] = steps, np.zeros(columns, np.int8)
        constants[f"b{number}"] = real(columns)
        levels = [f"q{number}", f"s{number}", f"z{number}"]
        nodes.append(helper.make_node("DequantizeLinear", levels, [f"w{number}"], axis=1))
        names = [value, f"w{number}", f"b{number}"]
        value = f"h{number}"
        nodes.append(helper.make_node("Gemm", names, [value], f"layer {number}"))
        if function and number < 2:
            nodes.append(helper.make_node(function, [value], [f"f{number}"]))
            value = f"f{number}"
    nodes[-1].output[0] = "y"
    return save(path, nodes, constants)


@pytest.mark.parametrize("function", [None, "Relu", "Gelu"])
def test_rows_are_scaled_where_a_file_has_levels_of_weights_alone(
    tmp_path: Path, function: str | None
):
    path = weights_only(tmp_path / "m.onnx", function)
    network = compiled(path)
    assert are_rows_scaled(network.network)
    assert sqnr(network.run({"x": UNSEEN})["y"], runtime(path)) > 36
    # The levels are the file's.
    stored = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}
    for number, found in enumerate(network.levels):
        exact = numpy_helper.to_array(stored[f"q{number}"])
        np.testing.assert_array_equal(found[: len(exact)], exact)
    if function:
        return
    # A hundred samples say less of the ranges, but not much less.
    few = daqkf.compile(path, calibration={"x": SEEN[:100]})
    assert sqnr(few.run({"x": UNSEEN})["y"], runtime(path)) > 34
    assert not are_rows_scaled(compiled(path, scale_rows=False).network)
    assert not are_rows_scaled(compiled(path, requantize=True).network)


def test_kernels_whose_rows_are_scaled_are_compared_with_the_file(tmp_path: Path):
    path = weights_only(tmp_path / "m.onnx", "Relu")
    rows = compiled(path).debug({"x": UNSEEN}, path)
    assert [row.name for row in rows] == ["layer 0", "layer 1", "layer 2"]
    assert min(row.sqnr for row in rows) > 35


def quantised(x: Array, scale: Array | float, bits: int, signed: bool, narrow: bool) -> Array:
    """QONNX's Quant with a zero point of 0, as its specification has it."""
    low, high = (-(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1)
    if not signed:
        low, high = 0, 2**bits - 1 - narrow
    return np.clip(np.round(x / scale), low, high) * scale


@pytest.mark.parametrize("narrow", [False, True], ids=["whole", "narrow"])
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_qonnx(tmp_path: Path, bits: int, narrow: bool):
    """Weights with a scale for each channel, a ReLU that is unsigned levels, and signs."""
    step = np.float32(2.0 ** (3 - bits))
    scales = (RNG.random((1, 96)).astype(np.float32) + 0.5) * step / 8
    constants = {
        "w": real(64, 96) / 8,
        "v": real(96, 32),
        "zero": np.float32(0),
        "bits": np.float32(bits),
        "w.scale": scales,
        "x.scale": step,
        "h.scale": step / 2,
        "v.scale": np.float32(0.125),
    }

    def quant(value: str, scale: str, result: str, signed: bool) -> onnx.NodeProto:
        return helper.make_node(
            *("Quant", [value, scale, "zero", "bits"], [result]),
            domain="qonnx.custom_op.general",
            signed=int(signed),
            narrow=int(narrow),
            rounding_mode="ROUND",
        )

    nodes = [
        quant("x", "x.scale", "x.q", signed=True),
        quant("w", "w.scale", "w.q", signed=True),
        helper.make_node("MatMul", ["x.q", "w.q"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        quant("r", "h.scale", "r.q", signed=False),
        helper.make_node(
            "BipolarQuant", ["v", "v.scale"], ["v.q"], domain="finn.custom_op.general"
        ),
        helper.make_node("MatMul", ["r.q", "v.q"], ["y"]),
    ]
    domains = ["qonnx.custom_op.general", "finn.custom_op.general"]
    path = save(tmp_path / "m.onnx", nodes, constants, domains=domains)
    x = quantised(UNSEEN, step, bits, True, narrow)
    h = x @ quantised(constants["w"], scales, bits, True, narrow)
    h = quantised(np.maximum(h, 0), step / 2, bits, False, narrow)
    y = h @ np.where(constants["v"] >= 0, 0.125, -0.125)
    assert sqnr(float_network(path), y) > 60
    # The results have no levels in the file.
    assert sqnr(compiled(path).run({"x": UNSEEN})["y"], y) > 35


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"rounding_mode": "CEIL"}, "rounding by CEIL"),
        ({"signed": 0, "bits": 1}, "levels of 1 bits"),
    ],
)
def test_what_qonnx_has_besides_is_named(tmp_path: Path, attributes: dict[str, Any], message: str):
    bits = attributes.pop("bits", 8)
    names = [["x", "s", "z", "b"], ["y"], "the node"]
    node = helper.make_node("Quant", *names, domain="qonnx", **attributes)
    constants = {"s": np.float32(1), "z": np.float32(0), "b": np.float32(bits)}
    path = save(tmp_path / "m.onnx", [node], constants, outputs=64, domains=["qonnx"])
    with pytest.raises(daqkf.DaqkfError, match=f"Quant 'the node': {message}"):
        load_network(path)


def test_pruning_and_accuracy_of_a_quantised_file(tmp_path: Path):
    path = statically(layers(tmp_path / "m.onnx", "Relu"), ("UInt8", "Int8"), per_channel=True)
    network = compiled(path, sparsity=0.3)
    assert network.summary()["sparsity"] > 0.29
    assert sqnr(network.run({"x": UNSEEN})["y"], runtime(path)) > 15
    assert quality(path, accuracy="25dB") > 22


@pytest.mark.parametrize(
    ("name", "kind"), [("F8_E4M3", "float8_e4m3fn"), ("F8_E5M2", "float8_e5m2")]
)
def test_safetensors_of_eight_bits(tmp_path: Path, name: str, kind: str):
    import ml_dtypes

    weights = real(64, 32).astype(getattr(ml_dtypes, kind))
    data = weights.tobytes()
    facts = {"dtype": name, "shape": [64, 32], "data_offsets": [0, len(data)]}
    header = json.dumps({"w": facts}).encode()
    file = len(header).to_bytes(8, "little") + header + data
    (tmp_path / "m.safetensors").write_bytes(file)
    description = 'safetensors = "m.safetensors"\nlayers = [{ weights = "w" }]\n'
    (tmp_path / "m.toml").write_text(description)
    module = load_network(tmp_path / "m.toml")
    (y,) = call(module, entry(module), [UNSEEN])
    assert sqnr(y, UNSEEN @ weights.astype(np.float32)) > 120
