# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What `daqkf bench peers` measures, on a tiny matrix, and what it says of what is not there."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daqkf.cli.main import main
from daqkf.hw_targets import Counts, load_target
from daqkf.runtime.simulator import Simulator
from daqkf.studies.minilm.model import MiniLM, ModelNotFoundError
from daqkf.studies.peers import command, constants, drivers, products
from daqkf.studies.peers.drivers import Driven, measure_drivers
from daqkf.studies.peers.power import core_power
from daqkf.studies.peers.products import DA4ML, Row, crossing, measure_array, square
from daqkf.studies.peers.tables import Listing, fill
from daqkf.support.errors import DaqkfError
from daqkf.synthesis import Resources

RNG = np.random.default_rng(5)
TINY = load_target("tiny").machine
COUNTS = Counts(100, 100, 0, 0, 90, 0, 0)


def row(circuit: str, size: int, luts: int) -> Row:
    counts = replace(COUNTS, luts=luts)
    return Row(circuit, "xcup", size, 0.5, size * size // 2, counts, 4, 1.0, 1, 0.1)


@pytest.fixture(scope="module")
def matrix() -> products.Matrix:
    return square(RNG.standard_normal((6, 6)), RNG.standard_normal((40, 6)), 0.5)


def test_circuits_of_da4ml_compute_the_integers():
    pytest.importorskip("da4ml", reason="the extra peers is not installed")
    levels = RNG.integers(-15, 16, (5, 4))
    levels[2] = 0  # an activation that nothing reads
    circuit = constants.constant_circuit(levels)
    x = RNG.integers(-128, 128, (20, 5)).astype(np.int8)
    expected = x.astype(np.int64) @ levels
    latency = constants.simulated(circuit, x, expected)
    assert latency == sum(name.startswith("peer_stage") for name in circuit.files) + 1
    assert constants.simulated(circuit, x, expected + 1) is None


def test_our_array_is_held_against_the_integers(
    matrix: products.Matrix, monkeypatch: pytest.MonkeyPatch
):
    def counted(files: Any, top: str, fabric: str) -> Resources:
        assert f"{top}.sv" in files
        return Resources(fabric, top, COUNTS, {}, {}, None)

    monkeypatch.setattr(products, "synthesize", counted)
    (found,) = measure_array("tiny", TINY, [matrix], ["xcup"], lambda _: None)
    assert (found.size, found.together, found.luts) == (6, 2, 100)
    assert found.nonzeros == np.count_nonzero(matrix.levels) == 18
    assert found.period < found.latency
    assert found.work == pytest.approx(1000 * 2 / found.period * 36 / 100)

    trace = Simulator.trace
    monkeypatch.setattr(
        Simulator,
        "trace",
        lambda *arguments: [replace(one, y=one.y ^ 1) for one in trace(*arguments)],
    )
    with pytest.raises(DaqkfError, match="tiny computes something else"):
        measure_array("tiny", TINY, [matrix], ["xcup"], lambda _: None)


def test_arrays_cross_circuits_at_the_first_size_at_which_they_are_smaller():
    rows = [row(DA4ML, 8, 300), row(DA4ML, 16, 1200), row("ours", 8, 700), row("ours", 16, 700)]
    assert crossing(rows, "ours", "xcup", 0.5) == 16
    assert crossing(rows[:3], "ours", "xcup", 0.5) is None


def test_drivers_print_the_same_module():
    found = measure_drivers(4, lambda _: None, repeats=1)
    assert found.daqkf > 0 and found.xdsl > 0
    assert drivers.module_of(4).count("arith.addi") == 2


def test_a_driver_that_fails_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(drivers, "module_of", lambda _: "func.func @f( {")
    with pytest.raises(DaqkfError, match="daqkf-opt failed: "):
        measure_drivers(4, lambda _: None, repeats=1)


def test_the_power_of_a_core_is_that_of_its_generation():
    text = "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: {}\n\n"
    power = core_power(text.format(17))
    assert power is not None
    assert (power.name, power.low, power.high) == ("EPYC 9004", 3.75, 20)
    assert power.per_joule(60) == (3, 16)
    assert core_power(text.format(9999)) is None
    assert core_power("") is None


def test_tables_go_between_the_marks_of_a_page():
    listing = Listing("", ("a", "b"), (("1", "2"),), 1)
    page = "before\n<!-- x -->\nold\n<!-- end of x -->\nafter\n"
    filled = fill(page, {"x": listing})
    assert "old" not in filled and "| a | b |\n| --- | --- |\n| 1 | 2 |\n" in filled
    assert fill(filled, {"x": listing}) == filled
    with pytest.raises(DaqkfError, match="marks '<!-- y -->'"):
        fill(page, {"y": listing})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "nothing"], "unknown part 'nothing' (known: products, "),
        (["--size", "1"], "--size must be 2 to 256, not 1"),
        (["--sparsity", "1"], "--sparsity must be"),
        (["--page", "no-such.md"], "no-such.md"),
        (["--fabric", "none"], "none"),
        (["--device", "xck26"], "--device is for daqkf bench device or language"),
    ],
)
def test_bad_options_are_one_line(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["bench", "peers", *options]) != 0
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


def test_its_options_are_for_it_alone(capsys: pytest.CaptureFixture[str]):
    assert main(["bench", "array", "--size", "8"]) != 0
    assert "--size is for daqkf bench peers" in capsys.readouterr().err


def test_missing_peers_are_named(monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DaqkfError, match="nothing was measured"):
        command.run_peers_bench(None, None, only=["smollm2", "minilm"])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"skipped: {name} is missing: pip install 'daqkf[peers]'"
        for name in ("xllamacpp", "onnxruntime")
    ]


def test_missing_models_are_named(monkeypatch: pytest.MonkeyPatch, capsys: Any):
    def missing() -> MiniLM:
        raise ModelNotFoundError("no MiniLM")

    monkeypatch.setattr(MiniLM, "load", missing)
    with pytest.raises(DaqkfError, match="nothing was measured"):
        command.run_peers_bench(None, None, only=["products"])
    assert "skipped: no MiniLM\n" in capsys.readouterr().out


def test_what_was_measured_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DAQKF_CACHE", str(tmp_path / "cache"))
    measured: list[int] = []

    def measure(operations: int, *_: Any) -> Driven:
        measured.append(operations)
        if len(measured) == 2:
            raise KeyboardInterrupt
        return Driven(operations, 2.0, 1.0)

    monkeypatch.setattr(drivers, "measure_drivers", measure)
    file, page = tmp_path / "peers.json", tmp_path / "page.md"
    names = "products on xcup", "drivers", "speeds"
    page.write_text("".join(f"<!-- {name} -->\n<!-- end of {name} -->\n" for name in names))
    with pytest.raises(KeyboardInterrupt):
        command.run_peers_bench(file, page, page.read_text(), only=["drivers"])
    assert command.run_peers_bench(file, page, page.read_text(), only=["drivers"], resume=True) == 0
    assert measured == [0, 1000, 1000, 10000]
    assert [own["ratio"] for own in json.loads(file.read_text())["drivers"]] == [2, 2, 2]
    assert "| 10,000 | 2.00 | 1.00 | 2.00 |" in page.read_text()
