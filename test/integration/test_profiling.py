# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Building a level table: masks, models' files, measuring, fitting and the held-out share."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from daqkf.dialects.spaq import LevelSet
from daqkf.passes.quantize.level_table import LevelTable, load_table
from daqkf.passes.quantize.sparsity import analyze
from daqkf.studies.minilm import packaged
from daqkf.studies.minilm.model import MiniLM, ModelFileError, ModelNotFoundError
from daqkf.studies.profiling.build import (
    Decisions,
    Measurement,
    Outcome,
    build,
    fit_grid,
    leave_one_model_out,
    measure_all,
)
from daqkf.studies.profiling.matrices import (
    FAMILIES,
    MASKS,
    UNSEEN_FAMILIES,
    Source,
    keep_blocks,
    keep_n_of_m,
    pruned,
    synthetic,
)
from daqkf.support.errors import DaqkfError

ROOT = Path(__file__).parents[2]
FEW = (LevelSet.of("uniform", 1), LevelSet.of("uniform", 7), LevelSet.of("codebook", 4))


def few(seed: int, families: Iterable[str] = ("gaussian", "laplace")) -> list[Source]:
    chosen = {family: FAMILIES[family] for family in families}
    return list(synthetic(chosen, (32, 64, 128), masks=4, seed=seed))


@pytest.fixture(scope="module")
def measurements() -> list[Measurement]:
    return measure_all(few(1), levels=FEW)


def test_masks_leave_the_pattern_they_are_named_for():
    weights = np.random.default_rng(0).standard_normal((64, 32))
    for name, mask in MASKS.items():
        kept = np.asarray(mask(weights))
        assert ((kept == 0) | (kept == weights[: len(kept)])).all(), name
        summary = analyze(kept)
        sparsity = 1 - summary.nonzeros / kept.size
        if ":" in name:
            assert summary.pattern == name
        elif name.split("-")[0] in ("row", "column", "dense"):
            assert summary.pattern == name.split("-")[0]
        if name.startswith(("magnitude", "block", "row", "column")):
            assert sparsity == pytest.approx(int(name.split("-")[1]) / 100, abs=0.01)


def test_blocks_and_groups_keep_the_largest():
    weights = np.array([[1.0, 1, 0, 0], [1, 1, 0, 5], [4, -3, 2, 1]])
    assert keep_blocks(weights, 2, 2, 0.5).tolist() == [[0, 0, 0, 0], [0, 0, 0, 5], [4, -3, 2, 1]]
    column = np.array([[1.0], [-4], [3], [2], [9]])
    assert keep_n_of_m(column, 2, 4).tolist() == [[0], [-4], [3], [0]]


def test_samples_keep_the_share_of_empty_channels():
    weights = np.ones((16, 100))
    weights[:, ::2] = 0
    sample = pruned(Source("half", "made", weights, ("dense",)), "dense")
    assert sample is not None
    assert sample.any(axis=0).mean() == pytest.approx(0.5)
    assert pruned(Source("none", "made", np.zeros((16, 16)), ("dense",)), "dense") is None


@pytest.mark.slow
def test_a_table_is_the_same_whatever_builds_it(measurements: list[Measurement]):
    text = build(measurements, FEW).dumps()
    again = measure_all(few(1), jobs=2, levels=FEW)
    assert build(again, FEW).dumps() == text
    assert LevelTable.loads(text, "table").dumps() == text
    assert build(measurements, FEW).profile == {"gaussian": 12, "laplace": 12}


def test_a_small_table_predicts_what_it_has_not_seen(measurements: list[Measurement]):
    table = build(measurements, FEW)
    outcome = Outcome.of(table, measure_all(few(2), levels=FEW))
    assert outcome.share_within() >= 0.8
    assert outcome.share_within() > outcome.share_within(0.1)
    blind = float((np.abs(outcome.blind) <= 1).mean())
    assert blind < outcome.share_within(), "the shape of the weights helps"
    left_out = leave_one_model_out(measurements, ["gaussian", "absent"], FEW)
    assert set(left_out) == {"gaussian"}


@pytest.mark.slow
def test_the_shipped_table_predicts_what_it_has_not_seen():
    """A quick part of `daqkf spaq-profile --check`: other families and seeds."""
    table = load_table()
    chosen = {name: UNSEEN_FAMILIES[name] for name in ("student-8", "gamma")}
    sources = synthetic(chosen, (64, 256), masks=2, seed=3)
    measured = measure_all(sources, levels=table.levels)
    assert Outcome.of(table, measured).share_within() >= 0.95
    made = Decisions.of(table, measured, (10, 20, 30))
    assert len(made.shortfall) == 3 * len(measured)
    assert (made.shortfall <= 1).all()
    assert made.excess.mean() < 1.05


def test_the_shipped_table_knows_a_real_matrix():
    weights = MiniLM.load().linear("layer.3.attention.output")[0]
    table = load_table()
    source = Source("output", "minilm", weights, ("magnitude-50", "4:8"))
    assert Outcome.of(table, measure_all([source], levels=table.levels)).share_within() >= 0.95


def test_grids_reproduce_what_they_can_express():
    axes = np.array([0.0, 1, 2]), np.array([0.0, 1, 3])
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 2, 400), rng.uniform(0, 3, 400)
    plane = np.stack([x + 2 * y, 3 - y], axis=1)
    np.testing.assert_allclose(
        fit_grid(axes, (x, y), plane, np.ones(400))((x, y)), plane, atol=1e-4
    )


def test_nothing_to_build_from_is_an_error():
    with pytest.raises(ValueError, match="nothing to build a table from"):
        build([], FEW)
    with pytest.raises(ValueError, match="jobs must be at least 1, not 0"):
        measure_all(few(1), jobs=0)


def write_onnx(path: Path, weights: dict[str, NDArray[np.float32]]) -> None:
    import onnx
    from onnx import helper, numpy_helper

    helpers: Any = helper
    tensors = {name: numpy_helper.from_array(array, name) for name, array in weights.items()}
    nodes = [
        helpers.make_node("MatMul", ["x", "matmul"], ["a"]),
        helpers.make_node("Gemm", ["a", "gemm"], ["b"], transB=1),
        helpers.make_node("Constant", [], ["conv"], value=tensors.pop("conv")),
        helpers.make_node("Conv", ["b", "conv"], ["c"]),
        helpers.make_node("Conv", ["c", "depthwise"], ["d"], group=4),
        helpers.make_node("MatMul", ["d", "c"], ["y"]),
    ]
    graph = helpers.make_graph(nodes, "net", [], [], list(tensors.values()))
    onnx.save(helpers.make_model(graph), str(path))


def test_matrices_of_an_onnx_file(tmp_path: Path):
    path = tmp_path / "net.onnx"
    rng = np.random.default_rng(0)
    shapes = {"matmul": (3, 5), "gemm": (4, 5), "conv": (6, 4, 3, 3), "depthwise": (4, 1, 3, 3)}
    weights = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    write_onnx(path, dict(weights))
    found = dict(packaged.read_onnx(path))
    assert list(found) == ["matmul", "gemm", "conv"]
    np.testing.assert_array_equal(found["matmul"], weights["matmul"])
    np.testing.assert_array_equal(found["gemm"], weights["gemm"].T)
    np.testing.assert_array_equal(found["conv"], weights["conv"].reshape(6, 36).T)
    path.write_bytes(b"no net")
    with pytest.raises(ModelFileError, match=r"net.onnx: not readable as ONNX"):
        list(packaged.read_onnx(path))


def test_matrices_of_a_safetensors_file(tmp_path: Path):
    from safetensors.numpy import save_file

    path = tmp_path / "net.safetensors"
    kernel = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    save_file({"kernel": kernel, "bias": np.ones(4, np.float32)}, path)
    ((name, matrix),) = packaged.read_safetensors(path)
    assert name == "kernel"
    np.testing.assert_array_equal(matrix, kernel.reshape(4, 6).T)
    path.write_bytes(b"no net")
    with pytest.raises(ModelFileError, match=r"net.safetensors: not readable as safetensors"):
        list(packaged.read_safetensors(path))


@pytest.mark.parametrize(
    "reader",
    [
        packaged.ocr_recogniser,
        packaged.ocr_detector,
        packaged.voice_detector,
        packaged.file_classifier,
    ],
)
def test_a_missing_model_says_how_to_get_it(
    reader: Callable[[], packaged.Matrices], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ModelNotFoundError, match=r"is not installed; run: pip install 'daqkf\[onnx\]' "
    ):
        list(reader())


def test_missing_onnx_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(DaqkfError, match=r"onnx is missing: pip install 'daqkf\[onnx\]'"):
        list(packaged.read_onnx(tmp_path / "net.onnx"))


@pytest.mark.slow
def test_interruption_ends_every_process():
    script = (
        "import sys\n"
        "from daqkf.cli.guard import guarded\n"
        "from daqkf.studies.profiling.build import measure_all\n"
        "from daqkf.studies.profiling.matrices import FAMILIES, synthetic\n"
        "def seen(source):\n"
        "    print(source, flush=True)\n"
        "def main():\n"
        "    measure_all(synthetic(FAMILIES, (16, 512), 6, 1), 2, seen)\n"
        "    return 0\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(guarded('daqkf', main))\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        # Closed only when no process of the pool is left to hold it.
        assert process.stderr.read().splitlines()[-1:] == ["daqkf: interrupted"]
    assert process.returncode == 130


def test_the_command_line_names_what_is_wrong(tmp_path: Path):
    daqkf = Path(sys.executable).parent / "daqkf"
    table = tmp_path / "table.json"
    table.write_text("{}")
    for arguments, message in (
        (["--check", "-o", table], f"daqkf: {table}: the level table is no level table; rebuild"),
        (["-o", tmp_path / "new.json"], "DAQKF_MINILM names /nowhere, which is not a folder"),
    ):
        run = subprocess.run(
            [daqkf, "spaq-profile", *map(str, arguments)],
            capture_output=True,
            text=True,
            env=os.environ | {"DAQKF_MINILM": "/nowhere"},
        )
        assert run.returncode == 1
        assert message in run.stderr
        assert "Traceback" not in run.stderr
    assert not (tmp_path / "new.json").exists()
