# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What `daqkf bench device` fills devices with, on a small network."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp

from daqkf.cli.main import main
from daqkf.compiler.layer import compile_layer
from daqkf.hw_targets.device import Needs
from daqkf.hw_targets.engine import engine_needs
from daqkf.hw_targets.memory import load_memory
from daqkf.planning.workload import Product
from daqkf.studies.bench import device_command
from daqkf.studies.bench.array import LAYER
from daqkf.studies.bench.device import (
    ARRAYS,
    BOTH,
    DENSE,
    OURS,
    SKIPPING,
    ULTRA,
    Bench,
    Filling,
    Works,
    fill,
)
from daqkf.studies.bench.one_token import measure_one_token
from daqkf.studies.bench.workload import Workload
from daqkf.support.ir import module_text
from daqkf.support.tables import table_text

SHAPES = {LAYER: (96, 64), "layer.0.ffn.up": (64, 96)}


@pytest.fixture(scope="module")
def network() -> Workload:
    """Two layers in the place of MiniLM's."""
    rng, functions = np.random.default_rng(3), list[FuncOp]()
    for name, shape in SHAPES.items():
        design = compile_layer(
            rng.standard_normal(shape),
            sparsity=0.7,
            calibration=rng.standard_normal((64, shape[0])),
            levels="uniform-7",
            target="wide",
        )
        (function,) = (op for op in design.golden.clone().ops if isinstance(op, FuncOp))
        function.detach()
        function.sym_name = StringAttr(name)
        functions.append(function)
    return Workload(0.7, 0.99, 0.991, {}, module_text(ModuleOp(functions)))


@pytest.fixture(scope="module")
def works(network: Workload) -> Works:
    return Works.of(network)


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench.of("xck26", 250e6, 0.8, tokens=2048)


@pytest.fixture(scope="module")
def rows(bench: Bench, works: Works) -> list[Filling]:
    return fill(bench, works, list(ARRAYS))


def test_all_arrays_run_the_same_layers(works: Works):
    products = {work.products for work in works.by_array.values()}
    assert len(products) == 1
    dense, skipping = (works.by_array[name] for name in (DENSE, SKIPPING))
    assert dense.words == dense.products
    # A word for each non-zero, of which there are 30 %.
    assert skipping.words == pytest.approx(0.3 * dense.words, rel=0.1)
    assert works.by_array[OURS].words < skipping.words / 3
    for work in (dense, skipping):
        (part,) = work.programs[0].parts
        assert isinstance(part, Product)
        assert part.shared(8)[1] == -(-part.outputs // 8)


@pytest.mark.slow
def test_what_fills_a_device_keeps_within_it(rows: list[Filling], bench: Bench):
    found = {row.array: row for row in rows}
    assert list(found) == list(ARRAYS)
    for row in rows:
        assert max(bench.device.shares(row.needs).values()) <= 0.8 + 1e-9
        assert row.traffic <= bench.memory.bandwidth * 1.001
        assert sum(row.causes().values()) == pytest.approx(1)
        assert row.rate > 0
    assert not found[OURS].needs.ultra_rams
    assert found[ULTRA].rate >= found[OURS].rate
    assert found[BOTH].rate > found[ULTRA].rate
    dense = found[DENSE]
    # Two products in each block, of which no cycle makes more.
    assert 0.4 * 2 * dense.needs.dsps < dense.rate < 2 * dense.needs.dsps
    assert dense.needs.dsps > 0.6 * bench.device.dsps


def test_what_is_left_is_what_may_still_be_taken(bench: Bench):
    needs = Needs(luts=8000, flip_flops=0, block_rams_18k=80)
    left = bench.less(needs, bench.memory.bandwidth / 4)
    assert left.device.luts == bench.device.luts - 10000
    assert left.device.block_rams_18k == bench.device.block_rams_18k - 100
    assert left.memory.bandwidth == pytest.approx(0.75 * bench.memory.bandwidth)


def test_dsp_blocks_are_two_lanes(works: Works):
    config = works.by_array[DENSE].config
    for number in (1, 3):
        own = replace(config, pes=4 * number, lanes=64, post_lanes=16)
        assert engine_needs(own, "xcup").dsps == 4 * number * 32


@pytest.mark.slow
def test_the_table_fits_80_columns(rows: list[Filling]):
    text = table_text(device_command.table(rows, 250e6), 80, keys=3)
    assert max(map(len, text.splitlines())) <= 80
    assert "ours-ultra" in text


@pytest.fixture
def in_place_of_minilm(monkeypatch: pytest.MonkeyPatch, network: Workload) -> None:
    def load_workload(sparsity: float, *_: object) -> Workload:
        return replace(network, sparsity=sparsity)

    monkeypatch.setattr(device_command, "load_workload", load_workload)


@pytest.mark.slow
@pytest.mark.usefixtures("in_place_of_minilm")
def test_the_command_prints_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    output, plot = tmp_path / "device.json", tmp_path / "device.svg"
    arguments = ["bench", "device", "--sparsity", "0.5", "0.7", "--device", "xc7z020"]
    arrays = ["--array", "dense-dsp", "ours"]
    assert main([*arguments, *arrays, "--json", str(output), "--plot", str(plot)]) == 0
    facts = json.loads(output.read_text())
    assert [(row["array"], row["sparsity"]) for row in facts["rows"]] == [
        ("dense-dsp", 0.5),
        ("ours", 0.5),
        ("dense-dsp", 0.7),
        ("ours", 0.7),
    ]
    dense, ours = facts["rows"][:2]
    assert dense["to_dense"] == 1
    assert ours["to_dense"] == pytest.approx(
        ours["products_per_cycle"] / dense["products_per_cycle"]
    )
    assert plot.read_text().startswith("<?xml")
    assert "xc7z020" in capsys.readouterr().out
    # What is done already asks for no network.
    monkeypatch.delattr(device_command, "load_workload")
    assert main([*arguments, *arrays, "--json", str(output), "--jobs", "1", "--resume"]) == 0
    assert json.loads(output.read_text()) == facts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["device", "--device", "vu9"], "unknown device 'vu9' (known: "),
        (["device", "--sparsity", "1"], "--sparsity must be 0 or above and below 1, not 1"),
        (["device", "--array", "booth"], "unknown array 'booth' (known: dense-dsp, "),
        (["device", "--plot", "x.gif"], "x.gif: a picture is svg or png"),
        (["device", "--use", "0"], "--use must be a share above 0 and up to 1, not 0"),
        (["device", "--toggles"], "--toggles is for daqkf bench array"),
        (["device", "--jobs", "-1"], "-1 jobs; there can be 0, for all cores, or more"),
        (["array", "--resume"], "--resume is for daqkf bench device"),
        (["array", "--one-token"], "--one-token is for daqkf bench device"),
    ],
)
def test_the_command_refuses(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["bench", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_one_token_after_another_is_simulated(network: Workload):
    found = measure_one_token(network, LAYER, load_memory("ddr4-2400"), 250e6)
    assert found.layer == LAYER
    assert 0 < found.share < 1
    assert found.bytes_per_token > 0
