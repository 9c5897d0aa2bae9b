# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Names in models are data: of any length and characters, and never paths or symbols."""

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from linalg_text import function
from onnx import TensorProto, helper, numpy_helper
from xdsl.dialects.builtin import StringAttr, f32
from xdsl.dialects.func import FuncOp

import daqkf
from daqkf.cli.main import main
from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.options import NetworkOptions
from daqkf.compiler.outlining import outlined
from daqkf.dialects.dense import from_array
from daqkf.dialects.nn import ConstantOp, MatmulOp
from daqkf.dialects.nn.base import NODE
from daqkf.lowering.conversions.dfke_to_rpea import ARRAY_NAME
from daqkf.passes.array_files import archive, parse_archive
from daqkf.passes.files import file_stem
from daqkf.passes.nn_kernels import joined, kernel_name, symbol_of
from daqkf.passes.nn_outline import layer_name
from daqkf.support.ir import make_context, parse_module

RNG = np.random.default_rng(8)
W = RNG.standard_normal((6, 4)).astype(np.float32)
X = RNG.standard_normal((8, 6)).astype(np.float32)

NAMES = {
    "traversal": "x/../../../../../victim",
    "absolute": "/victim",
    "long": "n" * 300,
    "NUL": "a\0b",
    "Greek": "π",
    "Japanese": "日本",
    "array": ARRAY_NAME,
    "module": "module",
    "main": "main",
    "program": "array_program",
    "dots": "..",
    "spaces": " a\tb\nc ",
    "quotes": "q\"u'o\\te",
    "markup": "[/bold]",
    "escape": "\x1b[2J",
    "number": "1",
    "keyword": "file",
    "option": "allow_pickle",
}


def save_model(
    path: Path, nodes: list[Any], x: list[str], y: list[str], constants: dict[str, Any]
) -> Path:
    """Inputs [n, 6], outputs [n, 4]."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 6]) for name in x],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in y],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    onnx.save(made, path)
    return path


def products(path: Path, weights: list[str], x: list[str], y: list[str]) -> Path:
    """Each output is the product of its input and its weights: W, 2·W, 3·W and so on."""
    nodes = [helper.make_node("MatMul", [a, w], [c]) for a, w, c in zip(x, weights, y, strict=True)]
    return save_model(path, nodes, x, y, {w: (n + 1) * W for n, w in enumerate(weights)})


def gated(path: Path, one: str, other: str) -> Path:
    """sigmoid(x·W)·(x·V) of weights with these names, where V is -W."""
    nodes = [
        helper.make_node("MatMul", ["in", one], ["first"]),
        helper.make_node("MatMul", ["in", other], ["second"]),
        helper.make_node("Sigmoid", ["first"], ["gate"]),
        helper.make_node("Mul", ["gate", "second"], ["out"]),
    ]
    return save_model(path, nodes, ["in"], ["out"], {one: W, other: -W})


def numbered(kind: str) -> list[str]:
    return [f"{kind}.{number}" for number in range(len(NAMES))]


def check_products(y: dict[str, Any], outputs: list[str]) -> None:
    """Each result is that of its own weights: int8 against float, but no noise."""
    assert list(y) == outputs
    for number, name in enumerate(outputs):
        expected = X @ ((number + 1) * W)
        assert 10 * np.log10((expected**2).sum() / ((expected - y[name]) ** 2).sum()) > 30, name


def check_folder(folder: Path) -> None:
    """Every file of a folder has a plain name."""
    for path in (path for path in folder.rglob("*") if path.is_file()):
        assert re.fullmatch(r"(rtl/|programs/\d+-)?[\w.-]{1,60}", str(path.relative_to(folder)))


@pytest.mark.parametrize(
    "named", ["weights", *(pytest.param(name, marks=pytest.mark.slow) for name in ("x", "y"))]
)
def test_any_name_comes_back(tmp_path: Path, named: str):
    names = {kind: numbered(kind) for kind in ("weights", "x", "y")} | {named: list(NAMES.values())}
    rows = dict.fromkeys(names["x"], X)
    path = products(tmp_path / "m.onnx", **names)
    network = daqkf.compile(path, calibration=rows, target="tiny")
    folder = tmp_path / "a" / "b" / "net"
    network.save(folder)
    check_folder(folder)
    assert {path.name for path in tmp_path.iterdir()} == {"m.onnx", "a"}
    images = list((tmp_path / "a").rglob("*.bin"))
    assert {image.parent for image in images} == {folder / "programs"}
    assert len(images) == len(NAMES)
    facts = json.loads((folder / "network.json").read_text())
    assert [row["source"] for row in facts["programs"]] == names["weights"]
    loaded = CompiledNetwork.load(folder)
    assert loaded.summary() == network.summary()
    assert (loaded.inputs, loaded.outputs) == (names["x"], names["y"])
    y = network.run(rows)
    check_products(y, names["y"])
    for name, array in loaded.run(rows).items():
        np.testing.assert_array_equal(array, y[name])


@pytest.mark.slow
def test_kernels_whose_symbols_would_be_the_same(tmp_path: Path):
    pairs = ("π", "日本"), ("a b", "a/b"), ("w", "w_program"), ("array", "array.kernel")
    for one, other in pairs:
        path = gated(tmp_path / "m.onnx", one, other)
        network = daqkf.compile(path, calibration={"in": X}, target="tiny", fuse=False)
        assert {row["source"] for row in network.traffic()} == {one, other}
        assert len({row["name"] for row in network.traffic()}) == 2
        network.save(tmp_path / "net")
        (y,) = CompiledNetwork.load(tmp_path / "net").run({"in": X}).values()
        expected = -(X @ W) / (1 + np.exp(-(X @ W)))
        assert 10 * np.log10((expected**2).sum() / ((expected - y) ** 2).sum()) > 25


def test_the_command_line_takes_any_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    names = [name for kind, name in NAMES.items() if kind != "NUL"]
    x, y = [f"{name}?" for name in names], [f"{name}!" for name in names]
    path = products(tmp_path / "m.onnx", names, x, y)
    (tmp_path / "x.npz").write_bytes(archive(dict.fromkeys(x, X)))
    out, folder = tmp_path / "y.npz", str(tmp_path / "net")
    calibrated = ["--calibration", str(tmp_path / "x.npz"), "--target", "tiny"]
    assert main(["compile", str(path), *calibrated, "-o", folder]) == 0
    assert main(["run", folder, str(tmp_path / "x.npz"), "-o", str(out)]) == 0
    check_products(parse_archive(out.read_bytes()), y)
    assert "Traceback" not in "".join(capsys.readouterr())


def test_names_that_no_archive_can_have_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = products(tmp_path / "m.onnx", ["w"], ["in"], ["a\0b"])
    np.savez(tmp_path / "x.npz", **{"in": X})  # pyright: ignore[reportArgumentType]
    folder, out = tmp_path / "net", tmp_path / "y.npz"
    daqkf.compile(path, calibration={"in": X}, target="tiny").save(folder)
    assert main(["run", str(folder), str(tmp_path / "x.npz"), "-o", str(out)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == r"daqkf: no .npz file can have an array of the name 'a\x00b'"
    assert not out.exists()


@pytest.mark.parametrize(
    ("node", "weights", "name"),
    [
        ("fc1", "W1", "fc1"),
        ("/encoder/fc1/Gemm", "fc1.weight", "encoder/fc1"),
        ("/fc1/MatMul_1", "onnx::MatMul_7", "fc1"),
        ("", "fc1.weight", "fc1"),
        ("Gemm_3", "fc1.weight", "fc1"),
        ("node_linear", "fc1.weight", "fc1"),
        ("MatMul_0_quant", "fc1.weight_DequantizeLinear_Output", "fc1"),
        ("MatMul_7", "onnx::MatMul_12", "MatMul_7"),
        ("layer.0.up.product", "layer.0.up.weight", "layer.0.up"),
        ("model/conv2d_1/Conv2D", "", "model/conv2d_1"),
    ],
)
def test_kernels_are_called_like_nodes(node: str, weights: str, name: str):
    matrix = ConstantOp(from_array(W, f32))
    product = MatmulOp(matrix.result, matrix.result, matrix.result.type)
    product.attributes[NODE], matrix.attributes[NODE] = StringAttr(node), StringAttr(weights)
    assert layer_name(product) == name


def test_kernels_that_are_merged_are_called_by_what_they_share():
    names = "up", "a.b.q", "a.b.k", "a/b/q", "a/b/k"
    up, q, k, first, second = (FuncOp(name, ([], [])) for name in names)
    assert joined([q, k]) == "a.b.q_k"
    assert joined([first, second]) == "a/b/q_k"
    assert joined([up, q]) == "up_a.b.q"


def test_kernels_of_linalg_are_called_like_locations_or_results(tmp_path: Path):
    text = function(
        "%x: tensor<2x2xf32>",
        "tensor<2x2xf32>",
        "%w = arith.constant dense<1.0> : tensor<2x2xf32>\n%z = arith.constant dense<0.0> : "
        "tensor<2x2xf32>\n"
        + "\n".join(
            f"{y} = linalg.matmul ins({x}, %w : tensor<2x2xf32>, tensor<2x2xf32>) "
            f"outs(%z : tensor<2x2xf32>) -> tensor<2x2xf32>{where}"
            for x, y, where in (("%x", "%0", ' loc("fc1")'), ("%0", "%fc2", ""), ("%fc2", "%1", ""))
        )
        + "\nreturn %1 : tensor<2x2xf32>",
    )
    (tmp_path / "m.mlir").write_text(text)
    network, _ = outlined(tmp_path / "m.mlir", NetworkOptions())
    kernels = [kernel_name(op) for op in network.ops if isinstance(op, FuncOp)]
    assert kernels == ["fc1", "fc2", "matmul.6", "main"]


def test_symbols_and_stems():
    kept = ("up", "layer.0.attention.q_k", "ffn.up_down", "0.weight", "W")
    assert [symbol_of(name) for name in kept] == list(kept)
    changed = {
        "": "kernel",
        "x/../y": "x_.._y",
        "array": "array.kernel",
        "a_program_1": "a.program_1",
        "aπ b": "a_b",
    }
    assert {name: symbol_of(name) for name in changed} == changed
    long = {symbol_of("n" * 300 + end) for end in ("a", "b")}
    assert len(long) == 2
    assert {len(symbol) for symbol in long} == {128}
    stems = {"a/../b": "a.b", "..": "unnamed", "": "unnamed", "π": "unnamed", "x" * 300: "x" * 40}
    assert {name: file_stem(name) for name in stems} == stems


def test_archives_are_numpys_own():
    arrays: dict[str, Any] = {name: X[: len(name)] for name in ("file", "x/../y", "π", "")}
    with np.load(io.BytesIO(archive(arrays))) as found:
        assert set(found.files) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)


def test_a_function_that_is_called_like_the_array_is_lowered(tmp_path: Path):
    from daqkf.compiler.design import run_passes
    from daqkf.dialects.rpea import ArrayOp

    design = daqkf.compile(W, target="tiny", levels="uniform-7")
    module = parse_module(make_context(), str(design.golden).replace("@layer", "@array"), "m")
    run_passes(
        module, ["dfke-fuse", "dfke-specialize-bitwidth", "dfke-schedule", "lower-dfke-to-rpea"]
    )
    (array,) = (op for op in module.ops if isinstance(op, ArrayOp))
    assert array.sym_name.data == "array.1"
