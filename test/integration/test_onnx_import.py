# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""ONNX files of other versions, with attributes, quantised or damaged, against onnxruntime."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from daqkf.cli.main import main
from daqkf.dialects.interpreting import call, entry
from daqkf.lowering.frontends.onnx.graph import OnnxImportError
from daqkf.lowering.frontends.onnx.module import import_onnx
from daqkf.studies.minilm.export_onnx import export_minilm
from daqkf.studies.minilm.model import MiniLM, load_sentences
from daqkf.support.errors import EXPECTED, describe
from daqkf.support.ir import make_context, module_text, parse_module

type Arrays = Mapping[str, NDArray[Any]]

RNG = np.random.default_rng(5)
OPSET = 20


def floats(*shape: int) -> NDArray[np.float32]:
    return RNG.normal(size=shape).astype(np.float32)


def whole(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def node(kind: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> Any:
    return helper.make_node(kind, inputs, outputs or ["y"], f"the {kind}", **attributes)


def save(
    path: Path, nodes: Sequence[Any], feeds: Arrays, constants: Arrays, results: Arrays, opset: int
) -> None:
    def info(name: str, array: NDArray[Any]) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        return helper.make_tensor_value_info(name, kind, array.shape)

    graph = helper.make_graph(
        nodes,
        "graph",
        [info(name, array) for name, array in feeds.items()],
        [info(name, array) for name, array in results.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


def runtime(path: Path, feeds: Arrays) -> Sequence[NDArray[Any]]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [np.asarray(result) for result in session.run(None, dict(feeds))]


def interpreted(path: Path, feeds: Arrays) -> Sequence[NDArray[Any]]:
    """By way of the module's text."""
    module = parse_module(make_context(), module_text(import_onnx(path)), "module")
    return call(module, entry(module), list(feeds.values()))


X = floats(3, 4)
SAME: dict[str, tuple[list[Any], Arrays, Arrays, dict[str, NDArray[Any]], int]] = {
    "names beyond ASCII": (
        [node("Add", ["ä/0", "b"], 'é"x'), node("Mul", ['é"x', "b"])],
        {"ä/0": X},
        {"b": floats(4)},
        {"y": X},
        OPSET,
    ),
    "names that end in numbers": (
        [node("Add", ["a", "a.b_1_2"], "a_1"), node("Mul", ["a_1", "a_1_2"])],
        {"a": X},
        {"a.b_1_2": floats(4), "a_1_2": floats(4)},
        {"y": X},
        OPSET,
    ),
    "a constant's type is ONNX's, not NumPy's": (
        [node("Pow", ["k", "two"], "squares"), node("MatMul", ["x", "squares"])],
        {"x": X},
        {"k": floats(4, 5), "two": np.array(2, np.int64)},
        {"y": floats(3, 5)},
        OPSET,
    ),
    "integers divide exactly": (
        [node("Div", ["x", "d"])],
        {"x": whole(2**60 + 1, -7, 7)},
        {"d": whole(3, 2, -2)},
        {"y": whole(0, 0, 0)},
        OPSET,
    ),
    "no axes, which is all of them": (
        [node("ReduceMean", ["x", "axes"])],
        {"x": X},
        {"axes": whole()},
        {"y": floats(1, 1)},
        OPSET,
    ),
    "no axes, which is none of them": (
        [node("ReduceMean", ["x"], noop_with_empty_axes=1)],
        {"x": X},
        {},
        {"y": X},
        OPSET,
    ),
    "a reshape to a scalar": (
        [node("Reshape", ["x", "s"])],
        {"x": floats(1)},
        {"s": whole()},
        {"y": floats()},
        OPSET,
    ),
    "softmax of the last axis before opset 13": (
        [node("Softmax", ["x"])],
        {"x": X},
        {},
        {"y": X},
        11,
    ),
    "Gemm of computed operands": (
        [node("Gemm", ["x", "b", "c"], alpha=0.5, beta=3.0, transB=1)],
        {"x": X, "b": floats(5, 4), "c": floats(5)},
        {},
        {"y": floats(3, 5)},
        OPSET,
    ),
    "Clip by attributes": ([node("Clip", ["x"], min=-0.5, max=0.5)], {"x": X}, {}, {"y": X}, 9),
    "Clip with one bound": (
        [node("Clip", ["x", "", "b"])],
        {"x": X},
        {"b": np.array(0.1, np.float32)},
        {"y": X},
        OPSET,
    ),
    "Split in equal parts": (
        [node("Split", ["x"], "y", "z", axis=0, num_outputs=2)],
        {"x": X},
        {},
        {"y": floats(2, 4), "z": floats(1, 4)},
        OPSET,
    ),
    "Split in given parts": (
        [node("Split", ["x", "s"], "y", "z", axis=-1)],
        {"x": X},
        {"s": whole(3, 1)},
        {"y": floats(3, 3), "z": floats(3, 1)},
        OPSET,
    ),
    "LayerNormalization whose mean nothing reads": (
        [node("LayerNormalization", ["x", "g"], "y", "mean")],
        {"x": X},
        {"g": floats(4)},
        {"y": X},
        OPSET,
    ),
    **{
        f"DynamicQuantizeLinear, {name}": (
            [node("DynamicQuantizeLinear", ["x"], "q", "s", "z")],
            {"x": x},
            {},
            {"q": x.astype(np.uint8), "s": floats(), "z": np.zeros((), np.uint8)},
            OPSET,
        )
        for name, x in {"both signs": X, "one sign": np.abs(X), "nothing": 0 * X}.items()
    },
    "quantisation beyond the range": (
        [node("QuantizeLinear", ["x", "s", "z"])],
        {"x": np.array([1e9, -1e9, 0.015, 0.045, 3e38], np.float32)},
        {"s": np.array(0.03, np.float32), "z": np.array(3, np.uint8)},
        {"y": np.zeros(5, np.uint8)},
        OPSET,
    ),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", SAME)
def test_results_are_those_of_onnxruntime(name: str, tmp_path: Path):
    nodes, feeds, constants, results, opset = SAME[name]
    path = tmp_path / "model.onnx"
    save(path, nodes, feeds, constants, results, opset)
    pairs = zip(interpreted(path, feeds), runtime(path, feeds), strict=True)
    for found, expected in pairs:
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)


def test_a_result_that_nn_does_not_compute_comes_from_the_operator(tmp_path: Path):
    # The file has another rank for the mean, of which onnxruntime warns.
    path = tmp_path / "model.onnx"
    norm = node("LayerNormalization", ["x", "g"], "y", "mean")
    save(path, [norm], {"x": X}, {"g": floats(4)}, {"y": X, "mean": floats(2, 3, 1)}, OPSET)
    pairs = zip(interpreted(path, {"x": X}), runtime(path, {"x": X}), strict=True)
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def refusal(path: Path) -> str | None:
    """What the command line would say."""
    try:
        import_onnx(path)
    except EXPECTED as error:
        return describe(error)
    return None


def test_damaged_files_are_one_line_with_the_file(tmp_path: Path):
    path = tmp_path / "model.onnx"
    nodes = [node("MatMul", ["x", "k"], "a"), node("Add", ["a", "b"], "c"), node("Gelu", ["c"])]
    save(path, nodes, {"x": X}, {"k": floats(4, 4), "b": floats(4)}, {"y": X}, OPSET)
    whole_file = path.read_bytes()
    rng = np.random.default_rng(2)
    damaged = [whole_file[:length] for length in range(0, len(whole_file), 7)]
    for _ in range(300):
        changed = bytearray(whole_file)
        changed[rng.integers(len(changed))] = rng.integers(256)
        damaged.append(bytes(changed))
    refusals = 0
    for data in damaged:
        path.write_bytes(data)
        message = refusal(path)
        refusals += message is not None
        assert message is None or message.startswith(f"{path}: ")
    assert refusals > len(damaged) // 2


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    return MiniLM.load()


@pytest.fixture(scope="module")
def tokens(minilm: MiniLM) -> Arrays:
    ids, mask = minilm.tokenize(load_sentences()[:2])
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.slow
def test_quantised_minilm_is_what_onnxruntime_computes(
    minilm: MiniLM, tokens: Arrays, tmp_path: Path
):
    from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = [dict(tokens)]

        def get_next(self) -> Any:
            return self.left.pop() if self.left else None

    path = tmp_path / "model.onnx"
    onnx.save(export_minilm(minilm, layers=1), path)
    dynamic, static = tmp_path / "dynamic.onnx", tmp_path / "static.onnx"
    quantize_dynamic(path, dynamic)
    linear = ["MatMul", "Add"]
    quantize_static(path, static, Reader(), op_types_to_quantize=linear, per_channel=True)
    for quantised, operator in ((dynamic, "MatMulInteger"), (static, "QuantizeLinear")):
        assert operator in {found.op_type for found in onnx.load(quantised).graph.node}
        (found,), (expected,) = interpreted(quantised, tokens), runtime(quantised, tokens)
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
def test_minilm_from_embedded_tokens(minilm: MiniLM, tokens: Arrays, tmp_path: Path):
    path = tmp_path / "model.onnx"
    arguments = ["export-onnx", "minilm", "--embedded", "--decomposed", "-o", str(path)]
    assert main(arguments) == 0
    ids, mask = tokens.values()
    first = "layer.0.attention.query"
    expected = minilm.forward(ids, mask, capture=[first])
    states = expected.captured[first].reshape(*ids.shape, -1)
    feeds = {"hidden_states": states, "attention_mask": mask}
    real = mask.astype(bool)
    for (found,) in (interpreted(path, feeds), runtime(path, feeds)):
        np.testing.assert_allclose(found[real], expected.hidden[real], atol=1e-4)
    assert main([*arguments, "--layers", "7"]) == 1


def test_a_sparse_initializer_is_its_dense_matrix(tmp_path: Path):
    """With flat indices, and with one for each dimension; and a constant cut into kernels."""
    dense = np.where(RNG.random((4, 6)) < 0.5, floats(4, 6), 0).astype(np.float32)
    flat = np.flatnonzero(dense)
    for indices in (flat, np.argwhere(dense)):
        sparse = helper.make_sparse_tensor(
            numpy_helper.from_array(dense.reshape(-1)[flat], "w"),
            numpy_helper.from_array(indices.astype(np.int64), "w.indices"),
            [4, 6],
        )
        path = tmp_path / "model.onnx"
        nodes = [
            node("Split", ["w"], "u", "v", axis=1, num_outputs=2),
            node("MatMul", ["x", "u"], "y"),
            node("MatMul", ["x", "v"], "z"),
        ]
        save(path, nodes, {"x": floats(3, 4)}, {}, {"y": floats(3, 3), "z": floats(3, 3)}, OPSET)
        model = onnx.load(path)
        model.graph.sparse_initializer.append(sparse)
        onnx.save(model, path)
        x = floats(3, 4)
        y, z = interpreted(path, {"x": x})
        np.testing.assert_allclose(np.concatenate([y, z], axis=1), x @ dense, rtol=1e-5, atol=1e-6)
        assert "nn.slice" not in str(import_onnx(path))


@pytest.mark.parametrize(
    ("dims", "place", "message"),
    [
        ([1 << 40, 1 << 20], 0, "sparse initialiser 'w' takes"),
        ([4, 6], 99, "not readable as ONNX"),
    ],
)
def test_a_sparse_initializer_that_cannot_be_is_refused(
    tmp_path: Path, dims: list[int], place: int, message: str
):
    path = tmp_path / "model.onnx"
    value = numpy_helper.from_array(np.ones(1, np.float32), "w")
    at = numpy_helper.from_array(np.array([place]), "w.indices")
    save(
        path,
        [node("MatMul", ["x", "u"], "y")],
        {"x": floats(3, 4)},
        {"u": floats(4, 6)},
        {"y": floats(3, 6)},
        OPSET,
    )
    model = onnx.load(path)
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(value, at, dims))
    onnx.save(model, path)
    with pytest.raises(OnnxImportError, match=message):
        import_onnx(path)


def test_without_axes_all_extents_of_one_are_squeezed(tmp_path: Path):
    nodes = [
        node("Shape", ["x"], "s", start=0, end=1),
        node("Squeeze", ["s"], "b"),
        node("Unsqueeze", ["b", "zero"], "b1"),
        node("Concat", ["b1", "rest"], "t", axis=0),
        node("Reshape", ["x", "t"], "y"),
    ]
    constants = {"zero": whole(0), "rest": whole(-1)}
    path = tmp_path / "model.onnx"
    save(path, nodes, {"x": floats(3, 2, 4)}, constants, {"y": floats(3, 8)}, OPSET)
    feeds = {"x": floats(3, 2, 4)}
    np.testing.assert_array_equal(interpreted(path, feeds)[0], runtime(path, feeds)[0])
