# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The parts of `daqkf bench paper`: energies with intervals, trends, goals, noise, the document."""

import csv
import json
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daqkf.cli.main import main
from daqkf.hw_targets.config import smallest_array
from daqkf.hw_targets.fabric import Counts
from daqkf.passes.quantize.pruning import PruningProblem
from daqkf.studies.bench.array import Measurement, contenders
from daqkf.studies.bench.device import DENSE, ULTRA, Bench, Filling, machines, multiplied
from daqkf.studies.minilm.model import Architecture
from daqkf.studies.minilm.network import IDS, MASK, noisy
from daqkf.studies.paper import command
from daqkf.studies.paper.ablation import Ablated
from daqkf.studies.paper.convergence import Convergence
from daqkf.studies.paper.document import document
from daqkf.studies.paper.energy import DRAWS, Events, Interval, constants, draws
from daqkf.studies.paper.experiment import BASELINE, OURS, Filled, Prepared, Row
from daqkf.studies.paper.published import published
from daqkf.studies.paper.results import Results
from daqkf.studies.paper.trend import trend
from daqkf.support.errors import DaqkfError
from daqkf.synthesis import Resources, Toggles


def test_every_event_has_an_energy_with_its_source():
    assert constants().keys() == {field.name for field in fields(Events)}
    for name, one in constants().items():
        assert 0 < one.low < one.high
        assert len(one.source) > 20
        drawn = draws()[name]
        assert drawn.shape == (DRAWS,)
        middle = np.sqrt(one.low * one.high) / one.high
        assert np.median(drawn) / drawn.max() == pytest.approx(middle, rel=0.1)


def test_arrays_that_are_compared_share_each_draw():
    one = Events(pin=3e6, block_ram=2e3, memory=1e4, leakage=1e-3)
    twice = Events(pin=6e6, block_ram=4e3, memory=2e4, leakage=2e-3)
    ratio = Interval.of(twice.energy() / one.energy())
    assert ratio == Interval(pytest.approx(2), pytest.approx(2), pytest.approx(2))  # pyright: ignore
    alone = Interval.of(one.energy())
    assert alone.low < alone.value < alone.high
    shares = one.facts()["shares"]
    assert shares["dsp"] == 0
    assert sum(shares.values()) == pytest.approx(1, abs=0.1)


def test_a_trend_is_the_line_of_least_squares():
    shares = [0.0, 0.1, 0.3, 0.5, 0.7]
    exact = trend(shares, [2 + 3 * share for share in shares])
    assert (exact.intercept, exact.slope) == (pytest.approx(2), pytest.approx(3))
    assert exact.residuals == pytest.approx([0] * 5, abs=1e-12)
    rough = [1.44, 1.56, 1.87, 2.16, 2.47]
    found = trend(shares, rough)
    slope, intercept = np.polyfit(shares, rough, 1)
    assert (found.intercept, found.slope) == (pytest.approx(intercept), pytest.approx(slope))
    left = np.array(rough) - np.polyval([slope, intercept], shares)
    assert found.residuals == pytest.approx(left.tolist())
    spread = np.sqrt((left**2).sum() / 3 / ((np.array(shares) - np.mean(shares)) ** 2).sum())
    assert found.slope_error == pytest.approx(3.182446 * spread, rel=1e-4)  # t of 3 degrees
    assert found.p < 1e-3
    with pytest.raises(ValueError, match="three figures"):
        trend(shares[:2], rough[:2])


def test_the_goals_are_twice_the_paper_s_and_its_headline():
    for row in published().rows:
        assert row.speedup == pytest.approx(row.baseline_ms / row.ms, abs=0.006)
    assert published().goal(0.3) == pytest.approx(3.74)
    assert published().goal(0.5) == published().goal(0.7) == 6.5
    assert published().goal(0.4) is None


def test_noise_replaces_tokens_between_the_ends():
    ids = np.arange(1, 401).reshape(8, 50)
    mask = (np.arange(50) < np.array([[50], [40], [30], [20], [10], [3], [2], [2]])).astype(int)
    sizes = Architecture(1000, 64, 1, 8, 2, 32, 1e-12)

    class Model:
        architecture = sizes

    given = [{IDS: ids, MASK: mask}]
    (found,) = noisy(Model(), given, 0.5)  # pyright: ignore
    assert found[MASK] is mask
    changed = found[IDS] != ids
    last = mask.sum(axis=1) - 1
    assert not changed[:, 0].any()
    assert not changed[np.arange(8), last].any()
    assert not changed[mask == 0].any()
    assert 0.4 < changed.sum() / (last - 1).sum() < 0.6
    np.testing.assert_array_equal(noisy(Model(), given, 0)[0][IDS], ids)  # pyright: ignore
    np.testing.assert_array_equal(noisy(Model(), given, 0.5)[0][IDS], found[IDS])  # pyright: ignore


def test_pruning_can_be_watched():
    rng = np.random.default_rng(4)
    x, weights = rng.standard_normal((64, 12)), rng.standard_normal((12, 5))
    seen: list[np.ndarray] = []
    problem = PruningProblem.of(x.T @ x)
    found = problem.solve(weights, 0.5, watch=seen.append)
    assert len(seen) == 40
    np.testing.assert_allclose(seen[-1], found)
    assert all(np.count_nonzero(each) <= 30 for each in seen)


def _measurement(name: str, cycles: int, luts: int, pins: float) -> Measurement:
    counts = Counts(luts, luts, 0, 0, 900, 0, 40)
    modules = {"daqkf_booth_lane": 0.4 * pins, "daqkf_post": 0.6 * pins}
    quiet = Toggles("xcup", 1, cycles / 10, pins / 3, pins / 1.25, {}, 90, 9, 9000)
    noisy_ = replace(quiet, toggles=pins / 2, weighted=pins, modules=modules)
    resources = Resources("xcup", "daqkf_array", counts, {}, {}, None)
    return Measurement(
        *(name, "xcup", 0.5, 0.99, cycles, 0, cycles // 10, cycles / 10, cycles / 10),
        *(resources, None, quiet, noisy_),
    )


@pytest.fixture(scope="module")
def results() -> Results:
    config = replace(
        smallest_array(machines()[ULTRA], 64),
        families=("multiply",),
        multiplier="packed",
        shared_words=False,
    )
    work = multiplied([np.ones((64, 64), np.int8)], config)
    plan = Bench.of("xck26", 250e6, 0.8, tokens=2048).plan(work)
    rows: list[Row] = []
    for share, gain in ((0.0, 3), (0.3, 4), (0.5, 8)):
        base = Filling(DENSE, plan.device, share, 1.0, (plan,))
        ours = Filling(ULTRA, plan.device, share, 0.99, (plan, plan))
        noise = {0.0: 0.98, 0.1: 0.97}
        rows.append(
            Row(
                *(share, 250e6, Prepared(0.991, noise, noise)),
                _measurement(BASELINE, 80000, 3000, 4e6),
                _measurement(OURS, 80000 // gain, 3000, 4e6 / gain),
                Filled(base, ours, 64 * 64, 128, 64),
            )
        )
    ablations = [Ablated("fusion", "bytes", 7007, 2702, "merged | chained")]
    histories = {"pruning": (0.4, 0.2), "Lloyd-Max": (0.1, 0.09), "rounding": (0.02, 0.01)}
    return Results(rows, ablations, Convergence(histories), {})


def test_a_row_compares_arrays_at_equal_logic_and_devices(results: Results):
    row = results.rows[-1]
    assert row.speedup == pytest.approx(8)
    assert row.device_speedup == pytest.approx(2)
    assert row.dsp_speedup == pytest.approx(1)
    assert row.glitching == (pytest.approx(1.25), pytest.approx(1.25))
    base, ours = row.events[BASELINE], row.events[OURS]
    assert base.pin == pytest.approx(8 * ours.pin)
    # Ten times the layer, by its cycles, for eight tokens of a tile.
    lanes = next(each for each in contenders() if each.name == BASELINE).machine.lanes
    assert base.pin == pytest.approx(4e6 * 10 / lanes)
    assert base.memory == 2 * ours.memory == 8 * 128
    assert row.events[DENSE].pin == pytest.approx(0.6 * base.pin)
    assert row.events[DENSE].dsp == 64 * 64 / 2
    assert row.events[DENSE].leakage == pytest.approx(2 * row.events[ULTRA].leakage)
    assert row.energy_gain.value > row.unfused_energy_gain.value > 1
    joules = row.samples_per_joule(OURS)
    assert joules.low < joules.value < joules.high


def test_the_document_has_every_table_and_names_what_was_missed(results: Results):
    text = document(results)
    assert "${" not in text
    assert "\n\nMissed: " in text
    assert "| 50% | 2.16x | 6.50x | 8.00x |" in text
    assert "merged / chained" in text  # no cell is cut in two
    assert "The package of SmolLM2 was not installed." in text
    assert "energy, device filled" in text
    poor = replace(results, rows=results.rows[:1])
    assert "Lines take three shares" in document(poor)
    slow = replace(results.rows[-1], ours=_measurement(OURS, 40000, 3000, 4e6))
    worse = document(replace(results, rows=[slow]))
    assert "Missed: 2.00 of 6.50 times the speed at equal logic at 50% zeros" in worse


def test_json_and_csv_have_the_same_figures(results: Results):
    facts = json.loads(json.dumps(results.facts()))
    rows = list(csv.DictReader(StringIO(results.table())))
    assert len(rows) == len(facts["rows"]) == 3
    for line, row in zip(rows, facts["rows"], strict=True):
        assert float(line["speedup_equal_logic"]) == pytest.approx(
            row["equal_logic"]["speedup"], rel=1e-5
        )
    assert facts["trends"]["speed-up, equal logic"]["slope"] > 0


def test_the_command_writes_all_files_and_goes_on(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rows = {row.sparsity: row for row in results.rows}
    done: list[str] = []
    broken = True

    def measured(what: str, argument: Any) -> Any:
        done.append(what)
        if what == "prepare":
            return rows[argument].prepared
        if what == "fill":
            return rows[argument[0]].device
        name, share = argument
        return rows[share].baseline if name == BASELINE else rows[share].ours

    def ablate(_: str) -> Sequence[Ablated]:
        if broken:
            raise DaqkfError("no ablation")
        return results.ablations

    for what in ("prepare", "equal logic", "fill"):
        monkeypatch.setitem(command._WORK, what, partial(measured, what))  # pyright: ignore
    monkeypatch.setitem(command._WORK, "ablate", ablate)  # pyright: ignore
    monkeypatch.setitem(command._WORK, "converge", lambda _: results.convergence)  # pyright: ignore
    monkeypatch.setattr(command, "_has_smollm2", lambda: False)
    monkeypatch.setenv("DAQKF_CACHE", str(tmp_path / "cache"))

    def run() -> int:
        return command.run_paper_bench(
            tmp_path / "paper",
            sparsities=[0.5, 0.0, 0.3],
            clock=250e6,
            use=0.8,
            jobs=1,
            resume=True,
        )

    with pytest.raises(DaqkfError, match="no ablation"):
        run()
    assert not (tmp_path / "paper").exists()
    assert len(done) == 3 + 3 + 6
    broken = False
    assert run() == 0
    assert len(done) == 3 + 3 + 6  # nothing twice
    written = sorted(path.name for path in (tmp_path / "paper").iterdir())
    assert written == ["paper.csv", "paper.json", "paper.md", "paper.png"]
    facts = json.loads((tmp_path / "paper" / "paper.json").read_text())
    assert [row["sparsity"] for row in facts["rows"]] == [0.0, 0.3, 0.5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sparsity", "1.5"], "--sparsity must be 0 or above and below 1, not 1.5"),
        (["--use", "0"], "--use must be a share above 0 and up to 1, not 0"),
        (["--json", "x.json"], "--json is for daqkf bench array or device or language or peers"),
    ],
)
def test_bad_options_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = [str(tmp_path / each) if each.endswith(".json") else each for each in arguments]
    assert main(["bench", "paper", "-o", str(tmp_path / "paper"), *arguments]) != 0
    assert message in capsys.readouterr().err
    assert not (tmp_path / "paper").exists()
