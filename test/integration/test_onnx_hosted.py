# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Networks with operators of ONNX that the host runs as they are, around kernels."""

import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data
from xdsl.utils.exceptions import InterpretationError

import daqkf
from daqkf.cli.main import main
from daqkf.compiler.formats import load_network
from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn import LinearOp, OperatorOp
from daqkf.dialects.nn.running import HostedOperator
from daqkf.support.errors import DaqkfError
from daqkf.support.ir import make_context, module_text, parse_module

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(29)
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
MICROSOFT, ML = "com.microsoft", "ai.onnx.ml"


def real(*shape: int, scale: float = 1.0) -> Array:
    return (scale * RNG.standard_normal(shape)).astype(np.float32)


def info(name: str, shape: Sequence[int | str], kind: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def node(operator: str, inputs: Sequence[str], outputs: Sequence[str], **options: Any) -> Any:
    return helper.make_node(operator, inputs, outputs, f"to {outputs[-1]}", **options)


def save(
    path: Path,
    nodes: Sequence[Any],
    inputs: Any,
    outputs: Any,
    constants: Mapping[str, Any],
    **own: Any,
) -> Path:
    initializers = [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", own.pop("opset", 20))]
    opsets += [helper.make_opsetid(MICROSOFT, 1), helper.make_opsetid(ML, 4)]
    opsets += own.pop("opsets", [])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10, **own), path)
    return path


def sqnr(found: Array, expected: Array) -> float:
    """How far the noise of the found values is below the expected ones, in dB."""
    noise = np.square(found - expected, dtype=np.float64).sum()
    return float(10 * np.log10(np.square(expected, dtype=np.float64).sum() / max(noise, 1e-30)))


def runtime(
    path: Path, feeds: Mapping[str, Any], outputs: Sequence[str] | None = None
) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options).run(outputs, feeds)


def interpreted(path: Path, feeds: Mapping[str, Any]) -> Sequence[Any]:
    """The float network's outputs; it comes back from its text."""
    module = load_network(path)
    module = parse_module(make_context(), module_text(module), "printed")
    return call(module, entry(module), list(feeds.values()))


def operators(path: Path) -> list[str]:
    """The operators that the host runs, in order."""
    return [op.operator.data for op in load_network(path).walk() if isinstance(op, OperatorOp)]


def compare(path: Path, feeds: Mapping[str, Any], tolerance: float = 1e-5) -> None:
    for mine, theirs in zip(interpreted(path, feeds), runtime(path, feeds), strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


def controlled(path: Path) -> Path:
    """Kernels around If, Loop, Scan and LSTM, whose bodies read values of the graph around them."""
    then = helper.make_graph(
        [node("MatMul", ["h", "W2"], ["t"])], "then", [], [info("t", ["B", 8])]
    )
    other = helper.make_graph([node("Neg", ["h"], ["e"])], "else", [], [info("e", ["B", 8])])
    loop = helper.make_graph(
        [node("Add", ["s", "h"], ["s2"]), node("Identity", ["go"], ["on"])],
        "loop",
        [info("i", [], INT64), info("go", [], TensorProto.BOOL), info("s", ["B", 8])],
        [info("on", [], TensorProto.BOOL), info("s2", ["B", 8])],
    )
    scan = helper.make_graph(
        [node("Mul", ["sum", "half"], ["d"]), node("Add", ["d", "row"], ["next"]),
         node("Identity", ["next"], ["o"])],
        "scan",
        [info("sum", [8]), info("row", [8])],
        [info("next", [8]), info("o", [8])],
    )  # fmt: skip
    nodes = [
        node("MatMul", ["x", "W"], ["m"]),
        node("Relu", ["m"], ["h"]),
        node("ReduceMean", ["h"], ["mean"], keepdims=0),
        node("Greater", ["mean", "least"], ["c"]),
        node("If", ["c"], ["chosen"], then_branch=then, else_branch=other),
        node("Loop", ["trips", "", "chosen"], ["added"], body=loop),
        node("Scan", ["zeros", "added"], ["last", "summed"], body=scan, num_scan_inputs=1),
        node("Unsqueeze", ["summed", "one"], ["seq"]),
        node("LSTM", ["seq", "LW", "LR", "LB"], ["ly"], hidden_size=6),
        node("Squeeze", ["ly", "both"], ["lq"]),
        node("MatMul", ["lq", "W3"], ["y"]),
    ]
    constants = {
        "W": real(8, 8),
        "W2": real(8, 8),
        "W3": real(6, 4),
        "zeros": np.zeros(8, np.float32),
        "least": np.float32(0.1),
        "half": np.float32(0.5),
        "trips": np.array(3),
        "LW": real(1, 24, 8, scale=0.05),
        "LR": real(1, 24, 6, scale=0.3),
        "LB": real(1, 48),
        "one": np.array([1]),
        "both": np.array([1, 2]),
    }
    return save(path, nodes, [info("x", ["B", 8])], [info("y", ["B", 4])], constants)


CONTROL = ["If", "Loop", "Scan", "LSTM"]


def test_subgraphs_read_values_of_the_graph_around_them(tmp_path: Path):
    path = controlled(tmp_path / "m.onnx")
    compare(path, {"x": real(7, 8)})
    compare(path, {"x": -(real(7, 8) ** 2)})  # the other branch, perhaps
    assert operators(path) == CONTROL


def test_kernels_around_operators_are_compiled_and_run(tmp_path: Path):
    path = controlled(tmp_path / "m.onnx")
    samples = [{"x": real(20, 8)} for _ in range(4)]
    network = daqkf.compile(str(path), calibration=samples, target="tiny")
    assert network.operators() == dict.fromkeys(CONTROL, 1)
    assert network.summary()["host"]["LSTM"] == 1
    assert len(network.kernels) == 2
    x = {"x": real(9, 8)}
    y = network.run(x)["y"]
    assert sqnr(y, runtime(path, x)[0]) > 25
    network.save(tmp_path / "saved")
    again = daqkf.CompiledNetwork.load(tmp_path / "saved")
    np.testing.assert_array_equal(again.run(x)["y"], y)
    assert again.operators() == network.operators()


@pytest.mark.slow
def test_the_simulated_array_gives_what_the_fast_model_gives(tmp_path: Path):
    path = controlled(tmp_path / "m.onnx")
    network = daqkf.compile(str(path), calibration=[{"x": real(20, 8)}], target="tiny")
    network.run({"x": real(9, 8)}, accelerator="rtl", check=True)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"sparsity": 0.5}, id="zeros"),
        pytest.param({"accuracy": 0.9}, id="levels", marks=pytest.mark.slow),
    ],
)
def test_gradients_stop_at_operators(tmp_path: Path, options: dict[str, Any]):
    path = controlled(tmp_path / "m.onnx")
    samples = [{"x": real(20, 8)} for _ in range(4)]
    network = daqkf.compile(str(path), calibration=samples, target="tiny", **options)
    assert network.sparsity() >= options.get("sparsity", 0) - 0.02
    x = {"x": real(9, 8)}
    assert network.run(x)["y"].shape == (9, 4)


def pooled(path: Path, batch: int | str = "B") -> Path:
    nodes = [
        node("MaxPool", ["x"], ["q", "places"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["q"], ["f"]),
        node("Gemm", ["f", "W", "b"], ["y"], transB=1),
    ]
    constants = {"W": real(3, 8), "b": real(3)}
    outputs = [info("y", [batch, 3]), info("places", [batch, 2, 2, 2], INT64)]
    return save(path, nodes, [info("x", [batch, 2, 4, 4])], outputs, constants)


def test_pooling_and_empty_batches(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = pooled(tmp_path / "m.onnx")
    compare(path, {"x": real(5, 2, 4, 4)})
    np.savez(tmp_path / "x.npz", x=real(60, 2, 4, 4))
    options = ["--calibration", str(tmp_path / "x.npz"), "--target", "tiny"]
    assert main(["compile", str(path), *options, "-o", str(tmp_path / "saved")]) == 0
    assert "of that by onnxruntime, as the file has it: 1 MaxPool" in capsys.readouterr().out
    network = daqkf.CompiledNetwork.load(tmp_path / "saved")
    empty = network.run({"x": real(0, 2, 4, 4)})
    assert {name: value.shape for name, value in empty.items()} == {
        "y": (0, 3),
        "places": (0, 2, 2, 2),
    }


def test_extents_of_minus_one_are_open(tmp_path: Path):
    path = pooled(tmp_path / "m.onnx", batch=-1)
    compare(path, {"x": real(5, 2, 4, 4)})


def strings(path: Path) -> Path:
    """Words to embeddings, through a kernel, to words and other types that are not nn's."""
    nodes = [
        node("LabelEncoder", ["words"], ["ids"], domain=ML, keys_strings=["a", "ß", "c"],
             values_int64s=[0, 1, 2]),
        node("Gather", ["E", "ids"], ["e"]),
        node("MatMul", ["e", "W"], ["y"]),
        node("ArgMax", ["y"], ["k"], axis=1, keepdims=0),
        node("LabelEncoder", ["k"], ["names"], domain=ML, keys_int64s=[0, 1, 2],
             values_strings=["x", "π", "z"]),
        node("Cast", ["y"], ["half"], to=TensorProto.FLOAT16),
        node("Cast", ["y"], ["brain"], to=TensorProto.BFLOAT16),
        node("SequenceConstruct", ["y", "e"], ["both"]),
    ]  # fmt: skip
    outputs = [
        info("y", ["B", 3]),
        info("names", ["B"], TensorProto.STRING),
        info("half", ["B", 3], TensorProto.FLOAT16),
        info("brain", ["B", 3], TensorProto.BFLOAT16),
        helper.make_tensor_sequence_value_info("both", FLOAT, None),
    ]
    constants = {"E": real(3, 8), "W": real(8, 3)}
    return save(path, nodes, [info("words", ["B"], TensorProto.STRING)], outputs, constants)


def test_strings_sequences_and_float16(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = strings(tmp_path / "m.onnx")
    words = np.array(["a", "c", "ß"])
    network = daqkf.compile(str(path), calibration={"words": np.tile(words, 30)}, target="tiny")
    network.save(tmp_path / "saved")
    found = daqkf.CompiledNetwork.load(tmp_path / "saved").run({"words": words})
    expected = runtime(path, {"words": words.astype(object)}, ["y", "names"])
    assert sqnr(found["y"], expected[0]) > 30
    assert found["names"].tolist() == expected[1].tolist()
    assert found["half"].dtype == np.float16
    np.testing.assert_array_equal(found["half"], found["y"].astype(np.float16))
    assert found["brain"].dtype.name == "bfloat16"
    assert [value.shape for value in found["both"]] == [(3, 3), (3, 8)]
    with pytest.raises(DaqkfError, match="nothing can be drawn for the input 'words' of string"):
        daqkf.compile(str(path), target="tiny")
    np.savez(tmp_path / "x.npz", words=words)
    saved, inputs, outputs = (str(tmp_path / name) for name in ("saved", "x.npz", "y.npz"))
    assert main(["run", saved, inputs, "-o", outputs]) == 1
    assert "'both', which is no tensor" in capsys.readouterr().err


def test_maps_come_out_as_dictionaries(tmp_path: Path):
    nodes = [
        node("MatMul", ["x", "W"], ["h"]),
        node("LinearClassifier", ["h"], ["label", "scores"], domain=ML, post_transform="SOFTMAX",
             coefficients=real(6).tolist(), intercepts=[0.0, 0.1], classlabels_ints=[3, 5]),
        node("ZipMap", ["scores"], ["named"], domain=ML, classlabels_int64s=[3, 5]),
    ]  # fmt: skip
    named = helper.make_sequence_type_proto(
        helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, []))
    )
    outputs = [info("label", ["B"], INT64), helper.make_value_info("named", named)]
    path = save(tmp_path / "m.onnx", nodes, [info("x", ["B", 8])], outputs, {"W": real(8, 3)})
    network = daqkf.compile(str(path), calibration={"x": real(60, 8)}, target="tiny")
    x = {"x": real(4, 8)}
    labels, scores = network.run(x)["label"], network.run(x)["named"]
    assert labels.shape == (4,)
    assert [max(row, key=row.get) for row in scores] == labels.tolist()
    (mine, own), (theirs, expected) = interpreted(path, x), runtime(path, x)
    np.testing.assert_array_equal(mine, theirs)
    for row, other in zip(own, expected, strict=True):
        assert row == pytest.approx(other, rel=1e-5)


def test_a_sequence_is_an_input(tmp_path: Path):
    nodes = [
        node("ConcatFromSequence", ["q"], ["c"], axis=0),
        node("MatMul", ["c", "W"], ["y"]),
    ]
    inputs = [helper.make_tensor_sequence_value_info("q", FLOAT, ["B", 8])]
    path = save(tmp_path / "m.onnx", nodes, inputs, [info("y", ["C", 3])], {"W": real(8, 3)})
    samples = {"q": [real(8, 8) for _ in range(9)]}
    for options in ({}, {"sparsity": 0.3}):
        network = daqkf.compile(str(path), calibration=samples, target="tiny", **options)
    x = {"q": [real(2, 8), real(3, 8)]}
    assert network.run(x)["y"].shape == (5, 3)
    compare(path, x)


def test_a_float16_network(tmp_path: Path):
    half = TensorProto.FLOAT16
    nodes = [node("MatMul", ["x", "W"], ["m"]), node("Relu", ["m"], ["y"])]
    constants = {"W": real(4, 3).astype(np.float16)}
    path = save(
        tmp_path / "m.onnx",
        nodes,
        [info("x", ["B", 4], half)],
        [info("y", ["B", 3], half)],
        constants,
    )
    compare(path, {"x": real(5, 4).astype(np.float16)}, 1e-3)
    assert operators(path) == ["Constant", "MatMul", "Relu"]
    (host,) = [op.attributes["host"] for op in load_network(path).walk() if "host" in op.attributes]
    assert "no array storage for elements of type" in str(host)


def microsoft(path: Path) -> Path:
    nodes = [
        node("FusedMatMul", ["x", "A"], ["h"], domain=MICROSOFT, alpha=0.5, transB=1),
        node("BiasGelu", ["h", "b"], ["g"], domain=MICROSOFT),
        node("SkipLayerNormalization", ["g", "g", "ga", "be"], ["n"], domain=MICROSOFT),
        node("MatMul", ["n", "W"], ["m"]),
        node("Relu", ["m"], ["y"]),
    ]
    constants = {"A": real(8, 8), "b": real(8), "ga": real(8), "be": real(8), "W": real(8, 4)}
    return save(path, nodes, [info("x", ["B", 8])], [info("y", ["B", 4])], constants)


def test_operators_of_onnxruntime_have_types_by_which_kernels_are_found(tmp_path: Path):
    path = microsoft(tmp_path / "m.onnx")
    compare(path, {"x": real(5, 8)})
    assert operators(path) == [
        f"{MICROSOFT}.{name}" for name in ("FusedMatMul", "BiasGelu", "SkipLayerNormalization")
    ]
    network = daqkf.compile(str(path), calibration={"x": real(100, 8)}, target="tiny")
    (kernel,) = [op for op in network.network.walk() if isinstance(op, LinearOp)]
    assert str(kernel.input.type) == "tensor<?x8xf32>"


@contextmanager
def without_onnxruntime() -> Generator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "onnxruntime", None)
        HostedOperator.of.cache_clear()
        yield
    HostedOperator.of.cache_clear()


def test_onnx_evaluates_where_onnxruntime_is_absent(tmp_path: Path):
    path, x = controlled(tmp_path / "m.onnx"), {"x": real(7, 8)}
    expected = runtime(path, x)
    with without_onnxruntime():
        found = interpreted(path, x)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-4, atol=1e-5)


def test_what_onnxruntime_alone_knows_is_refused_where_it_is_absent(tmp_path: Path):
    path = microsoft(tmp_path / "m.onnx")
    with without_onnxruntime(), pytest.raises(DaqkfError) as caught:
        load_network(path)
    assert str(caught.value) == (
        f"{path}: FusedMatMul 'to h': com.microsoft.FusedMatMul cannot be run (onnxruntime is "
        "missing: pip install 'daqkf[run]')"
    )


def test_functions_of_a_model_are_inlined(tmp_path: Path):
    function = helper.make_function(
        "own",
        "Layer",
        ["a", "w"],
        ["c"],
        [node("MatMul", ["a", "w"], ["b"]), node("Celu", ["b"], ["c"])],
        [helper.make_opsetid("", 20)],
    )
    path = save(
        tmp_path / "m.onnx",
        [node("Layer", ["x", "W"], ["y"], domain="own")],
        [info("x", ["B", 8])],
        [info("y", ["B", 4])],
        {"W": real(8, 4)},
        functions=[function],
        opsets=[helper.make_opsetid("own", 1)],
    )
    compare(path, {"x": real(5, 8)})
    network = daqkf.compile(str(path), calibration={"x": real(50, 8)}, target="tiny")
    assert network.operators() == {"Celu": 1}


def test_squeeze_without_axes_of_what_is_known_at_run_time(tmp_path: Path):
    nodes = [node("NonZero", ["x"], ["n"]), node("Squeeze", ["n"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, [info("x", ["B"])], [info("y", ["N"], INT64)], {})
    compare(path, {"x": real(4)})
    assert operators(path) == ["NonZero", "Squeeze"]


def test_operators_of_constants_are_computed_when_they_are_read(tmp_path: Path):
    nodes = [
        node("Pad", ["W", "pads"], ["P"]),
        node("CumSum", ["P", "axis"], ["S"]),
        node("MatMul", ["x", "S"], ["y"]),
        node("RandomNormal", [], ["r"], shape=[3]),
    ]
    constants = {"W": real(7, 3), "pads": np.array([1, 0, 0, 0]), "axis": np.array(0)}
    outputs = [info("y", ["B", 3]), info("r", [3])]
    path = save(tmp_path / "m.onnx", nodes, [info("x", ["B", 8])], outputs, constants)
    assert operators(path) == ["RandomNormal"]
    x = {"x": real(5, 8)}
    (mine, one), (theirs, _) = interpreted(path, x), runtime(path, x)
    np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)
    assert not np.array_equal(one, interpreted(path, x)[1])


def test_loops_of_constants_are_not_run_when_a_file_is_read(tmp_path: Path):
    body = helper.make_graph(
        [node("Identity", ["go"], ["on"]), node("Neg", ["s"], ["t"])],
        "endless",
        [info("i", [], INT64), info("go", [], TensorProto.BOOL), info("s", [2])],
        [info("on", [], TensorProto.BOOL), info("t", [2])],
    )
    nodes = [node("Loop", ["", "true", "c"], ["l"], body=body), node("Add", ["x", "l"], ["y"])]
    constants = {"true": np.array(True), "c": real(2)}
    path = save(tmp_path / "m.onnx", nodes, [info("x", [2])], [info("y", [2])], constants)
    assert operators(path) == ["Loop"]


def test_constants_that_would_be_large_are_not_made(tmp_path: Path):
    nodes = [
        node("ConstantOfShape", ["s"], ["c"]),
        node("ReduceMax", ["c"], ["r"], keepdims=0),
        node("Add", ["x", "r"], ["y"]),
    ]
    constants = {"s": np.array([2**20, 2**20])}
    path = save(tmp_path / "m.onnx", nodes, [info("x", [2])], [info("y", [2])], constants)
    with pytest.raises(DaqkfError, match=r"ConstantOfShape 'to c': .* takes 4.0 TiB of memory"):
        load_network(path)


def test_results_that_would_be_large_are_not_computed(tmp_path: Path):
    nodes = [
        node("Tile", ["x", "n"], ["t"]),
        node("ReduceMax", ["t"], ["y"], keepdims=0),
    ]
    constants = {"n": np.array([2**40])}
    path = save(tmp_path / "m.onnx", nodes, [info("x", [2])], [info("y", [])], constants)
    module = load_network(path)
    with pytest.raises(InterpretationError, match=r"'to t': what Tile makes takes 8.0 TiB"):
        call(module, entry(module), [real(2)])


def test_data_in_other_files_are_read_from_the_folder_alone(tmp_path: Path):
    (tmp_path / "secret").write_bytes(real(8).tobytes())
    (tmp_path / "models").mkdir()
    tensor = numpy_helper.from_array(real(8), "c")
    set_external_data(tensor, "../secret")
    tensor.ClearField("raw_data")
    for inside in (tensor, None):
        value = inside or numpy_helper.from_array(real(8), "c")
        nodes = [node("Constant", [], ["c"], value=value), node("Celu", ["x"], ["h"])]
        nodes.append(node("Add", ["h", "c"], ["y"]))
        graph = helper.make_graph(nodes, "g", [info("x", [8])], [info("y", [8])])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        path = tmp_path / "models" / "m.onnx"
        path.write_bytes(model.SerializeToString())
        if inside is None:
            load_network(path)
            continue
        with pytest.raises(DaqkfError) as caught:
            load_network(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["input", "output", "node", "inner"])
def test_names_that_are_no_text_are_refused_in_one_line(tmp_path: Path, name: str):
    then, other = (
        helper.make_graph([helper.make_node("Celu", ["input"], [out])], out, [], [info(out, [2])])
        for out in ("inner", "other")
    )
    choice = helper.make_node("If", ["c"], ["output"], "node", then_branch=then, else_branch=other)
    inputs = [info("input", [2]), info("c", [], TensorProto.BOOL)]
    path = save(tmp_path / "m.onnx", [choice], inputs, [info("output", [2])], {})
    path.write_bytes(path.read_bytes().replace(name.encode(), b"\xff" + name.encode()[1:]))
    with pytest.raises(DaqkfError) as caught:
        load_network(path)
    broken = f"'\\xff{name[1:]}'"
    assert str(caught.value) == f"{path}: not readable as ONNX (the name {broken} is not UTF-8)"


def test_what_does_not_fit_is_named_when_it_is_read(tmp_path: Path):
    inputs = [info("x", [2, 3]), info("w", [4, 5])]
    for operator, reason in (
        ("MatMul", "3 columns meet 4 rows"),
        ("Conv", "its weights are computed at run time; "),
    ):
        nodes = [node(operator, ["x", "w"], ["y"])]
        path = save(tmp_path / "m.onnx", nodes, inputs, [info("y", ["N", "M"])], {})
        with pytest.raises(DaqkfError) as caught:
            load_network(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: {operator} 'to y': {reason}")
        assert "ShapeInferenceError" in message


def test_an_error_at_run_time_names_the_node(tmp_path: Path):
    nodes = [node("Conv", ["x", "K"], ["y"])]
    inputs = [info("x", ["B", "C", "L"]), info("K", [3, 2, 3])]
    path = save(tmp_path / "m.onnx", nodes, inputs, [info("y", ["B", 3, "M"])], {})
    module = load_network(path)
    with pytest.raises(InterpretationError, match="'to y': Conv cannot be run"):
        call(module, entry(module), [real(1, 5, 9), real(3, 2, 3)])
