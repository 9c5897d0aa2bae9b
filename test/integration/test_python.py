# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The Python face, as people type it and as notebooks show it."""

import inspect
import io
import json
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, get_overloads

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

import daqkf
from daqkf import api
from daqkf.cli.main import main
from daqkf.compiler.options import LayerOptions, NetworkOptions
from daqkf.studies import demo

RNG = np.random.default_rng(12)
WEIGHTS = RNG.standard_normal((24, 12)).astype(np.float32)
X = RNG.standard_normal((64, 24)).astype(np.float32)
OPTIONS: dict[str, Any] = {"levels": "uniform-7", "sparsity": 0.5, "target": "tiny"}


def layer(weights: Any = WEIGHTS, calibration: Any = X, **options: Any) -> daqkf.Design:
    return daqkf.compile(weights, calibration=calibration, **(OPTIONS | options))


@pytest.fixture(scope="module")
def design() -> daqkf.Design:
    return layer()


def model() -> onnx.ModelProto:
    """x·W, relu, and x·W' behind it."""
    nodes = [
        helper.make_node("MatMul", ["x", "up"], ["sums"]),
        helper.make_node("Relu", ["sums"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "down"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 24])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 24])],
        [numpy_helper.from_array(WEIGHTS, "up"), numpy_helper.from_array(WEIGHTS.T.copy(), "down")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    onnx.save(model(), path := tmp_path_factory.mktemp("network") / "mlp.onnx")
    return path


@pytest.fixture(scope="module")
def network(file: Path) -> daqkf.CompiledNetwork:
    return daqkf.compile(file, calibration={"x": X}, target="tiny")


PLANNED = ("device", "memory", "tokens")
"""Options of a plan, which says for which target a network is compiled."""


def test_every_option_is_in_the_signature_and_the_documentation():
    signature = inspect.signature(daqkf.compile)
    document = inspect.getdoc(daqkf.compile) or ""
    kinds = {"CompiledNetwork": NetworkOptions, "Design": LayerOptions}
    for overload in get_overloads(api.compile):
        stated = inspect.signature(overload)
        options = kinds[str(stated.return_annotation).rpartition(".")[2].strip("'>")]
        known = {entry.name: entry.default for entry in fields(options)}
        named = {
            name: entry.default
            for name, entry in stated.parameters.items()
            if entry.kind is entry.KEYWORD_ONLY
        }
        assert named.pop("progress", ...) is ...
        assert named == known | dict.fromkeys(("calibration", *PLANNED))
        assert set(known) <= set(signature.parameters)
        assert all(f"    {name}: " in document for name in (*known, *PLANNED))
        assert MISSING not in known.values()


def test_names_are_complete():
    assert set(daqkf.__all__) <= set(dir(daqkf))
    assert not {"Any", "TYPE_CHECKING"} & set(dir(daqkf))


class Array:
    """What NumPy can make an array of, as other packages have it."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return WEIGHTS


@pytest.mark.parametrize(
    "weights", [WEIGHTS.tolist(), WEIGHTS.astype(np.float64), Array()], ids=["lists", "f64", "own"]
)
def test_whatever_is_a_matrix_is_taken(design: daqkf.Design, weights: Any):
    found = layer(weights, X.tolist())
    assert found == design and hash(found) == hash(design)


def test_a_file_of_weights_is_a_layer(design: daqkf.Design, tmp_path: Path):
    np.save(tmp_path / "w.npy", WEIGHTS)
    assert layer(tmp_path / "w.npy") == layer(str(tmp_path / "w.npy")) == design


def test_models_in_memory_are_networks(network: daqkf.CompiledNetwork):
    held = model()
    before = held.SerializeToString()
    for calibration in ({"x": X}, [{"x": X}], X, X.tolist()):
        assert daqkf.compile(held, calibration=calibration, target="tiny") == network
    assert held.SerializeToString() == before
    with pytest.raises(daqkf.DaqkfError, match=r"onnx\.ModelProto: not readable as ONNX"):
        daqkf.compile(onnx.ModelProto(), calibration=X)


def test_a_module_of_pytorch_is_exported(
    network: daqkf.CompiledNetwork, monkeypatch: pytest.MonkeyPatch
):
    """With a stand-in for PyTorch, which is no dependency: what it is asked for."""

    class Module:
        """A `torch.nn.Module`."""

    Module.__module__, Module.__qualname__ = "torch.nn.modules.module", "Module"
    calls: list[dict[str, Any]] = []

    def export(module: Any, tensors: Any, path: str, **options: Any) -> None:
        calls.append({"shapes": [tensor.shape for tensor in tensors], **options})
        onnx.save(model(), path)

    torch = ModuleType("torch")
    torch.as_tensor = np.asarray  # pyright: ignore[reportAttributeAccessIssue]
    torch.onnx = SimpleNamespace(export=export)  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert daqkf.compile(type("Net", (Module,), {})(), calibration=X, target="tiny") == network
    names = {"input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}}
    assert calls == [{"shapes": [(64, 24)], **names}]
    with pytest.raises(daqkf.DaqkfError, match="a PyTorch module needs calibration"):
        daqkf.compile(Module())


def test_equality_is_that_of_contents(
    design: daqkf.Design, network: daqkf.CompiledNetwork, tmp_path: Path
):
    assert layer(WEIGHTS + 1) != design
    assert design != network
    network.save(tmp_path)
    assert daqkf.CompiledNetwork.load(tmp_path) == network
    assert len({network, daqkf.CompiledNetwork.load(tmp_path), design}) == 2


@pytest.mark.slow
def test_what_is_shown_is_a_line(design: daqkf.Design, network: daqkf.CompiledNetwork):
    cycles = design.measure(X[:4]).cycles.running
    assert repr(design) == (
        f"Design(24 → 12, uniform-7, 50.0% zeros, {design.cycles} cycles a tile, "
        "tiny: 2 PEs × 2 lanes)"
    )
    assert design.cycles < cycles / 2 < 2 * design.cycles  # with what it takes to begin and end
    zeros = network.sparsity()
    assert repr(network) == (
        f"CompiledNetwork(1 kernel, {network.cycles:,} cycles a tile, "
        f"{zeros:.1%} zeros, {network.magnitudes()[1]:.2f} bits a weight, tiny: 2 PEs × 2 lanes)"
    )
    (kernel,) = repr(network.kernels).splitlines()
    assert kernel == "up_down: (tensor<?x24xf32>) -> tensor<?x24xf32>"
    stage, *_ = network.stages
    assert len(repr(stage)) < 100
    result = design.measure(X[:4])
    assert repr(result) == f"Simulation(4 × 12 float32, 2 tiles, {cycles} cycles)"
    assert result == design.measure(X[:4]) != design.measure(X[1:5])


def test_notebooks_show_pictures(design: daqkf.Design, network: daqkf.CompiledNetwork):
    for shown, word in ((design, "24 → 12"), (network, "kernels"), (network.report(), "up")):
        html: str = shown._repr_html_()
        assert word in html
        assert '<img style="max-width: 900px; width: 100%" src="data:image/png;base64,iVBOR' in html


def test_reports_are_tables_and_files(network: daqkf.CompiledNetwork, tmp_path: Path):
    report = network.report()
    assert "24×12" in str(report) and "12×24" in str(report)
    assert [facts["shape"] for facts in report.facts()] == [[24, 12], [12, 24]]
    report.save(tmp_path)
    assert {"report.json", "report.png", "report.svg"} <= {path.name for path in tmp_path.iterdir()}


def test_debugging_tells_where_accuracy_gets_lost(
    network: daqkf.CompiledNetwork, file: Path, tmp_path: Path
):
    (row,) = network.debug({"x": X}, file)
    (y,) = network.run({"x": X}).values()
    real = np.maximum(X @ WEIGHTS, 0) @ WEIGHTS.T
    assert row.error == pytest.approx(np.abs(y - real).max(), rel=1e-4)
    noise = ((y - real) ** 2).sum() / (real**2).sum()
    assert row.sqnr == pytest.approx(-10 * np.log10(noise), abs=0.01) and row.sqnr > 30
    assert row.saturated == 0
    (far,) = network.debug({"x": 2 * X}, file)
    assert far.saturated > 0.01 and far.sqnr < row.sqnr
    alone = daqkf.compile(file, calibration={"x": X}, target="tiny", fuse=False)
    assert len(alone.debug({"x": X}, file)) == 2
    lines = repr(alone.debug({"x": X}, file)).splitlines()
    assert lines[0].split()[:2] == ["kernel", "SQNR"] and len(lines) == 3
    other = model()
    other.graph.initializer[0].name = other.graph.node[0].input[1] = "other"
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(daqkf.DaqkfError, match="the network has other kernels than were compiled"):
        network.debug({"x": X}, tmp_path / "other.onnx")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": WEIGHTS.T}, r"the weights seem to be \[N, K\], so give their transpose"),
        ({"weights": 3}, "weights must be a matrix, or a network's file or model, not 3"),
        ({"weights": None}, "weights must be a matrix, or a network's file or model, not None"),
        ({"calibration": {"x": X}}, "calibration of a layer is an array"),
        ({"calibration": [[1.0], [2.0, 3.0]]}, "calibration must be an array"),
        ({"calibration": "x.npy"}, "calibration must be real numbers"),
        ({"sparsity": "0.5"}, "sparsity must be a number or several of these, not '0.5'"),
        ({"levels": 3.5}, "levels must be a level set or a text or a whole number or several"),
        ({"activation": 1}, "activation must be a text, not 1"),
        ({"split": None}, "split must be a number, not None"),
        ({"cycles": 2.5}, "cycles must be a whole number, not 2.5"),
    ],
)
def test_wrong_types_are_named(arguments: dict[str, Any], message: str):
    with pytest.raises(daqkf.DaqkfError, match=message) as caught:
        layer(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("calibration", ["x.npz", 3, [X, {"x": X}], {}])
def test_wrong_calibration_of_a_network_is_named(file: Path, calibration: Any):
    expected = r"calibration of a network is arrays by name \(x\)|needs the input 'x'"
    with pytest.raises(daqkf.DaqkfError, match=expected):
        daqkf.compile(file, calibration=calibration, target="tiny")


@pytest.mark.slow
def test_the_demo_leaves_designs(tmp_path: Path):
    """Those of other level sets share the array of the first one."""
    weights = WEIGHTS * (np.abs(WEIGHTS) > 0.5)
    bias = np.zeros(weights.shape[1], np.float32)
    subject = demo._Subject(weights, bias, X, X[:8])
    console, first = Console(file=io.StringIO()), None
    for levels in ("int8", "uniform-15"):
        made = demo._compiled(subject, levels, first, tmp_path, console)
        first = first or made
        loaded = daqkf.Design.load(tmp_path / levels)
        assert loaded == made
        assert loaded.program == made.program
        np.testing.assert_array_equal(loaded.reference(X), made.reference(X))
        assert (tmp_path / levels / "rtl" / "daqkf_array.sv").is_file()
        assert sorted((tmp_path / levels / "ir").iterdir())[0].name == "00-import.mlir"
    assert first is not None and made.verilog_files is first.verilog_files


def test_debug_on_the_command_line(
    network: daqkf.CompiledNetwork,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setenv("COLUMNS", "60")
    network.save(tmp_path / "net")
    np.savez(tmp_path / "x.npz", x=X)
    np.savez(tmp_path / "far.npz", x=30 * X)
    folder, facts = str(tmp_path / "net"), tmp_path / "facts.json"
    said = "debug", folder, str(file), str(tmp_path / "x.npz"), "--json", str(facts)
    assert main(said) == 0
    out = capsys.readouterr().out
    (row,) = json.loads(facts.read_text())
    assert f"{row['sqnr']:.1f}" in out and f"{row['saturated']:.2%}" in out
    assert out.splitlines()[-1] == "every kernel keeps 20 dB or more"
    assert max(map(len, out.splitlines())) <= 60
    assert main(["debug", folder, str(file), str(tmp_path / "far.npz")]) == 0
    out = capsys.readouterr().out
    assert "saturates: was the network calibrated on such data?" in out
    assert "accuracy gets lost at up" in out and "--fallback" in out
    assert main(["debug", folder, "none.onnx", str(tmp_path / "x.npz")]) == 1
    assert capsys.readouterr().err == "daqkf: none.onnx: No such file or directory\n"
