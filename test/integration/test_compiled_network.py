# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Networks from ONNX files: compiled for one array, and run by host and array together."""

import json
import re
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import daqkf
from daqkf.cli.main import main
from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.network import compile_network
from daqkf.dialects.interpreting import call, entry
from daqkf.runtime.accelerators import SimulatedArray
from daqkf.runtime.simulator import Job
from daqkf.support.errors import AccuracyWarning, CalibrationWarning, DaqkfError

WIDTH, INNER, HEADS = 10, 20, 2


def encoder() -> onnx.ModelProto:
    """A layer of a Transformer, small: attention, residuals, normalisation, feed-forward."""
    rng = np.random.default_rng(3)
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def constant(name: str, array: NDArray[Any]) -> str:
        constants.append(numpy_helper.from_array(array, name))
        return name

    def node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def linear(name: str, x: str, features: int, channels: int) -> str:
        weights = rng.standard_normal((features, channels)) / np.sqrt(features)
        product = node(
            "MatMul", [x, constant(f"{name}.weight", weights.astype(np.float32))], f"{name}.product"
        )
        bias = rng.standard_normal(channels).astype(np.float32)
        return node("Add", [product, constant(f"{name}.bias", bias)], name)

    heads = constant("heads", np.array([0, 0, HEADS, WIDTH // HEADS]))
    orders = {"query": [0, 2, 1, 3], "key": [0, 2, 3, 1], "value": [0, 2, 1, 3]}
    split = {
        name: node(
            "Transpose",
            [node("Reshape", [linear(name, "x", WIDTH, WIDTH), heads], f"{name}.heads")],
            f"{name}.split",
            perm=order,
        )
        for name, order in orders.items()
    }
    shares = node(
        "Softmax", [node("MatMul", [split["query"], split["key"]], "scores")], "shares", axis=-1
    )
    context = node("MatMul", [shares, split["value"]], "context")
    context = node("Transpose", [context], "joined", perm=[0, 2, 1, 3])
    context = node("Reshape", [context, constant("joined.shape", np.array([0, 0, -1]))], "mixed")
    total = node("Add", ["x", linear("output", context, WIDTH, WIDTH)], "residual")
    ones = constant("gamma", np.ones(WIDTH, np.float32))
    zeros = constant("beta", np.zeros(WIDTH, np.float32))
    total = node("LayerNormalization", [total, ones, zeros], "norm")
    inner = node("Gelu", [linear("ffn.up", total, WIDTH, INNER)], "gelu")
    node("Add", [total, linear("ffn.down", inner, INNER, WIDTH)], "y")
    shape = ["batch", "length", WIDTH]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def inputs(batch: int = 3, length: int = 5) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(batch)
    return {"x": rng.standard_normal((batch, length, WIDTH)).astype(np.float32)}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "encoder.onnx"
    onnx.save(encoder(), path)
    return path


@cache
def compiled(path: Path, fuse: bool = True) -> CompiledNetwork:
    return daqkf.compile(
        str(path),
        calibration=inputs(40),
        target="tiny",
        fuse=fuse,
        products=True,
        max_tokens=8,
        split=0.0,
    )


def expected(path: Path, x: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    import onnxruntime

    (y,) = onnxruntime.InferenceSession(str(path)).run(None, x)
    assert isinstance(y, np.ndarray)
    return y


def noise(y: NDArray[Any], reference: NDArray[Any]) -> float:
    return float(((y - reference) ** 2).sum() / (reference**2).sum())


@pytest.mark.parametrize("fuse", [True, False])
def test_the_fast_model_is_close_to_onnxruntime(model: Path, fuse: bool):
    y = compiled(model, fuse).run(inputs())["y"]
    assert noise(y, expected(model, inputs())) < 1e-3


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_a_quantised_file_has_the_same_kernels(model: Path, kind: str, tmp_path: Path):
    """As onnxruntime quantises it, with MatMulInteger or with QuantizeLinear around everything."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        left: ClassVar = [inputs(40)]

        def get_next(self) -> Any:
            return self.left.pop() if self.left else None

    path = tmp_path / "quantised.onnx"
    if kind == "dynamic":
        quantization.quantize_dynamic(model, path, per_channel=True)
    else:
        kinds = {"activation_type": quantization.QuantType.QInt8, "per_channel": True}
        quantization.quantize_static(model, path, Reader(), **kinds)
    given = {"calibration": inputs(40), "target": "tiny", "split": 0.0}
    if kind == "dynamic":
        # Kernels whose rows are scaled, as they are by default here, are merged but not chained.
        assert len(daqkf.compile(path, **given).kernels) == 4
        given["scale_rows"] = False
    network = daqkf.compile(path, **given, requantize=kind == "static")
    assert len(network.kernels) == (3 if kind == "dynamic" else 4)
    assert "quantize" not in network.host() and "matmul" in network.host()
    assert noise(network.run(inputs())["y"], expected(model, inputs())) < 2e-3
    if kind == "static":
        network = daqkf.compile(path, **given)
        assert noise(network.run(inputs())["y"], expected(path, inputs())) < 3e-4


def test_inputs_are_drawn_where_none_are_given(model: Path):
    from daqkf.compiler.calibration import drawn_inputs
    from daqkf.compiler.formats import load_network

    drawn = drawn_inputs(entry(load_network(model)))
    assert drawn["x"].shape == (2, 16, WIDTH)
    network = daqkf.compile(str(model), target="tiny", split=0.0)
    assert noise(network.run(inputs())["y"], expected(model, inputs())) < 1e-2


def test_without_kernels_there_is_no_array(tmp_path: Path):
    names = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", names[:1], names[1:])
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "relu.onnx")
    with pytest.raises(daqkf.DaqkfError, match="no product of constant weights"):
        daqkf.compile(tmp_path / "relu.onnx")


def test_kernels_are_merged_and_chained(model: Path):
    fused, plain = compiled(model), compiled(model, fuse=False)
    assert list(fused.kernels) == ["query_key_value", "output", "ffn.up_down"]
    assert list(plain.kernels) == ["query", "key", "value", "output", "ffn.up", "ffn.down"]
    moved = [(stage.features, stage.outputs, stage.kernels) for stage in fused.stages]
    assert moved == [(WIDTH, 3 * WIDTH, 1), (WIDTH, WIDTH, 1), (WIDTH, WIDTH, 2)]
    assert fused.summary()["bytes_per_token"] == 8 * WIDTH
    host = fused.host()
    assert (host["layer_norm"], host["softmax"], host["add"], host["slice"]) == (1, 1, 2, 3)
    assert "gelu" not in host and "gelu" not in plain.host()
    assert plain.summary()["bytes_per_token"] == 10 * WIDTH + 2 * INNER
    assert fused.saved() == 2 * WIDTH + 2 * INNER
    assert plain.saved() == 0


def test_fusion_side_by_side_changes_nothing(model: Path):
    """Merged kernels have the same levels and scales as apart."""
    from daqkf.compiler.design import run_passes
    from daqkf.compiler.formats import load_network
    from daqkf.passes.nn_merge import NnMergePass

    apart, merged = load_network(model), load_network(model)
    run_passes(apart, ["nn-raise", "nn-outline"])
    run_passes(merged, ["nn-raise", "nn-outline", NnMergePass("tiny")])
    (a,), (b,) = (call(m, entry(m), list(inputs().values())) for m in (apart, merged))
    np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("stalls", [0.0, 0.4])
def test_the_rtl_is_the_fast_model_bit_for_bit(model: Path, stalls: float):
    network = compiled(model)
    array = SimulatedArray(network.simulated.simulator, stalls=stalls, seed=2)
    seen: list[str] = []
    y = network.run(inputs(), accelerator=array, check=True, progress=seen.append)["y"]
    np.testing.assert_array_equal(y, network.run(inputs())["y"])
    products = 3 * HEADS
    assert seen.count("scores") == seen.count("context") == products
    assert len(array.cycles) > products
    chained = array.cycles[network.stages[-1].images[0][0]]
    assert chained.chaining > 0 and chained.total > 0


def test_a_part_runs_on_the_array(model: Path):
    network = compiled(model)

    class Board:
        calls = 0

        def run(self, jobs: Sequence[Job]) -> list[NDArray[np.int8]]:
            Board.calls += 1
            assert all(job.x.dtype == np.int8 for job in jobs)
            return network.simulated.run(jobs)

    network.run(inputs(), accelerator=Board(), only="ffn", check=True)
    assert Board.calls == 1


def test_a_difference_is_found(model: Path):
    class Broken:
        def run(self, jobs: Sequence[Job]) -> list[NDArray[np.int8]]:
            return [np.zeros((len(job.x), job.outputs), np.int8) for job in jobs]

    with pytest.raises(daqkf.DaqkfError, match=r"query_key_value: .* differ from the fast model"):
        compiled(model).run(inputs(), accelerator=Broken(), check=True)


def test_an_interrupted_run_goes_on(model: Path, tmp_path: Path):
    network = compiled(model)

    class Tired:
        left = 4

        def run(self, jobs: Sequence[Job]) -> list[NDArray[np.int8]]:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            return network.simulated.run(jobs)

    with pytest.raises(KeyboardInterrupt):
        network.run(inputs(), accelerator=Tired(), resume=tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 4
    tired = Tired()
    tired.left = 100
    y = network.run(inputs(), accelerator=tired, resume=tmp_path)["y"]
    assert tired.left == 100 - (len(list(tmp_path.glob("*.npz"))) - 4)
    np.testing.assert_array_equal(y, network.run(inputs())["y"])


def test_a_folder_is_the_network(model: Path, tmp_path: Path):
    network = compiled(model)
    network.save(tmp_path / "net")
    loaded = CompiledNetwork.load(tmp_path / "net")
    np.testing.assert_array_equal(loaded.run(inputs())["y"], network.run(inputs())["y"])
    assert loaded.summary() == network.summary()
    assert [stage.images for stage in loaded.stages] == [stage.images for stage in network.stages]
    images = sorted((tmp_path / "net" / "programs").iterdir())
    assert [path.read_bytes() for path in images] == [
        stage.images[0][0] for stage in network.stages
    ]


def test_command_lines(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    np.savez(tmp_path / "calibration.npz", **inputs(40))  # pyright: ignore[reportArgumentType]
    np.savez(tmp_path / "x.npz", **inputs())  # pyright: ignore[reportArgumentType]
    folder, out = str(tmp_path / "net"), str(tmp_path / "y.npz")
    compiling = ["compile", str(model), "--target", "tiny", "-o", folder, "--products"]
    compiling += ["--calibration", str(tmp_path / "calibration.npz"), "--split", "0"]
    assert main([*compiling, "--max-tokens", "8"]) == 0
    printed = capsys.readouterr().out
    assert "ffn.up_down" in printed and "on the host: " in printed
    assert f"{8 * WIDTH} bytes a token" in printed
    running = ["run", folder, str(tmp_path / "x.npz"), "-o", out]
    assert main([*running, "--accelerator", "rtl", "--check"]) == 0
    assert "cycles of the array" in capsys.readouterr().out
    with np.load(out) as results:
        np.testing.assert_array_equal(results["y"], compiled(model).run(inputs())["y"])
    assert json.loads((tmp_path / "net" / "network.json").read_text())["products"] == 2


def test_columns_for_what_exceeds_int8_are_no_saturation(tmp_path: Path):
    rng = np.random.default_rng(4)
    np.save(tmp_path / "w.npy", rng.standard_normal((20, 6)).astype(np.float32))
    x = rng.standard_normal((300, 20)).astype(np.float32)
    x[:, 3] *= 40
    network = compile_network(tmp_path / "w.npy", calibration={"x": x}, target="tiny", split=0.2)
    (share,) = network.saturation({"x": x}).values()
    assert share < 1e-3


def test_data_of_another_kind_are_noticed(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    network, loud = compiled(model), {"x": 4 * inputs()["x"]}
    assert max(network.saturation(inputs(40)).values()) < 0.01
    shares = network.saturation(loud)
    # A normal variable is beyond a quarter of its largest of thousands once in three times.
    assert max(shares.values()) > 0.2
    for name, batch in (("calibration", inputs(40)), ("loud", loud)):
        np.savez(tmp_path / f"{name}.npz", **batch)  # pyright: ignore[reportArgumentType]
    network.save(tmp_path / "net")
    running = ["run", str(tmp_path / "net"), "-o", str(tmp_path / "y.npz"), "--check"]
    assert main([*running, str(tmp_path / "calibration.npz")]) == 0
    assert "saturates" not in capsys.readouterr().err
    assert main([*running, str(tmp_path / "loud.npz")]) == 0
    (worst,) = [name for name, share in shares.items() if share == max(shares.values())]
    warned = f"warning: {shares[worst]:.1%} of what kernel {worst!r} reads saturates: was it"
    assert warned in capsys.readouterr().err
    with pytest.raises(DaqkfError, match="needs the input 'x'"):
        network.saturation({})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "'x' is NaN at [0, 0, 0]"),
        (1j, "of complex128, not real"),
        ("a", "not real numbers"),
    ],
)
def test_inputs_that_are_no_numbers_are_refused(model: Path, value: Any, message: str):
    with pytest.raises(DaqkfError, match=re.escape(message)):
        compiled(model).run({"x": np.full((1, 2, WIDTH), value)})


def test_calibration_that_is_drawn_is_a_warning(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.warns(CalibrationWarning, match="no calibration data"):
        daqkf.compile(str(model), target="tiny")
    with pytest.warns(CalibrationWarning, match="no calibration data"):
        daqkf.compile(np.ones((4, 2), np.float32), target="tiny")
    assert main(["compile", str(model), "--target", "tiny", "-o", str(tmp_path / "net")]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    (line,) = lines
    assert line.endswith("give some with calibration= or --calibration")


def test_outputs_that_are_noise_are_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    # One feature is a thousand times the others, and its weights are zero.
    weights = np.ones((4, 2), np.float32)
    weights[0] = 0
    samples = np.random.default_rng(5).standard_normal((8, 4)).astype(np.float32)
    samples[:, 0] *= 1000
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "layer",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 2])],
            [numpy_helper.from_array(weights, "w")],
        )
    )
    path, data = tmp_path / "layer.onnx", tmp_path / "x.npz"
    onnx.save(model, path)
    np.savez(data, x=samples)
    with pytest.warns(AccuracyWarning, match="too coarse: SQNR"):
        daqkf.compile(model, target="tiny", calibration={"x": samples})
    arguments = ["--target", "tiny", "--calibration", str(data), "-o", str(tmp_path / "net")]
    assert main(["compile", str(path), *arguments]) == 0
    assert "warning: the integers are too coarse: SQNR" in capsys.readouterr().err
    with warnings.catch_warnings():
        warnings.simplefilter("error", AccuracyWarning)
        daqkf.compile(model, target="tiny", calibration={"x": samples / [1000, 1, 1, 1]})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bias", "b.npy"], "--bias is for single layers"),
        (["--levels", "int8,ternary"], "one level set"),
        (["--calibration", "broken.npz"], "broken.npz"),
        (["--calibration", "wrong.npz"], "the network needs the input 'x'"),
        (["--calibration", "shape.npz"], "the input 'x': an array of shape"),
        (["--calibration", "nan.npz"], "the input 'x' is NaN at [0, 0, 0]"),
        (["--target", "nowhere"], "unknown target 'nowhere'"),
    ],
)
def test_bad_options_are_named(
    model: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    Path("broken.npz").write_bytes(b"PK\x03\x04")
    np.savez("wrong.npz", z=np.ones(3))
    np.savez("shape.npz", x=np.ones((2, 3, WIDTH + 1), np.float32))
    np.savez("nan.npz", x=np.full((2, 3, WIDTH), np.nan, np.float32))
    assert main(["compile", str(model), "-o", "net", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not Path("net").exists()


def test_what_does_not_fit_is_named(tmp_path: Path):
    model = encoder()
    path = tmp_path / "odd.onnx"
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    onnx.save(model, path)
    message = r"odd\.onnx: MatMul 'query\.product': com\.example\.MatMul cannot be run"
    with pytest.raises(daqkf.DaqkfError, match=message):
        daqkf.compile(path)
    with pytest.raises(daqkf.DaqkfError, match="bias is for single layers"):
        daqkf.compile(path, bias=np.zeros(3))
    with pytest.raises(daqkf.DaqkfError, match="not a network's file"):
        daqkf.compile(tmp_path / "model.h5")


def test_unknown_inputs_and_accelerators_are_named(model: Path):
    network = compiled(model)
    with pytest.raises(daqkf.DaqkfError, match="needs the input 'x'"):
        network.run({})
    with pytest.raises(daqkf.DaqkfError, match="no input 'z'"):
        network.run({**inputs(), "z": np.ones(3)})
    with pytest.raises(daqkf.DaqkfError, match="unknown accelerator 'gpu'"):
        network.run(inputs(), accelerator="gpu")
    with pytest.raises(daqkf.DaqkfError, match="an array of shape"):
        network.run({"x": np.ones((3, WIDTH), np.float32)})
    with pytest.raises(daqkf.DaqkfError, match=r"scores: .*needs|target holds"):
        network.run(inputs(1, 60), accelerator=network.simulated, only="scores")
