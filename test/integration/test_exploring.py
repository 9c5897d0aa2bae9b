# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Explorations of a layer and of a network, on a cluster, by the command; and what can be built."""

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from executor_functions import DyingLayer
from nn_networks import Builder
from xdsl.dialects.builtin import ModuleOp

import daqkf
from daqkf.cli.main import main
from daqkf.compiler import pruning
from daqkf.compiler.options import NetworkOptions
from daqkf.exploring import Exploration, search
from daqkf.exploring.predicting import least, predicted
from daqkf.hw_targets.device import LABELS, load_device
from daqkf.support.kept import Kept

RNG = np.random.default_rng(6)
WEIGHTS = RNG.standard_normal((40, 24)) / 6
X = RNG.standard_normal((32, 40)).astype(np.float32)
SPACE = {"pes": (1, 2, 4), "lanes": (2, 8), "turns": (1, 2), "items": (2, 8)}
NETWORK_SPACE = SPACE | {"levels": ("uniform-7", "int8"), "sparsity": (0.0, 0.5)}
CHOICES = ["--pes", "1", "2", "4", "--lanes", "2", "8", "--items", "2", "8"]


def two_layers() -> ModuleOp:
    rng = np.random.default_rng(7)
    b = Builder((8, 40))
    (x,) = b.inputs
    for features, outputs in ((40, 32), (32, 24)):
        weights = (rng.standard_normal((features, outputs)) / 6).astype(np.float32)
        x = b.layer(x, weights, None, "relu")
    return b.module(x)


def bounds_hold(found: Exploration, shape: tuple[int, int]) -> None:
    """What is known of designs before any work is not more than what they take."""
    for trial in found.complete:
        device = load_device(trial.point.device)
        bound = least(trial.point.machine, shape, device, found.clock).values(found.clock)
        assert all(bound[name] <= trial.values[name] for name in (*LABELS, "cycles", "share"))


def compiled_as(found: Exploration, trial: Any, source: Any, calibration: Any) -> None:
    """The design of a trial is what a compilation with its options is, and as fast."""
    point = trial.point
    compiled = daqkf.compile(
        source, calibration=calibration, target=point.target_name, **point.elements, **point.weights
    )
    own = predicted(compiled, load_device(point.device), found.clock).values(found.clock)
    assert {name: trial.values[name] for name in own} == own
    assert compiled.cycles == trial.values["compiled_cycles"]
    assert compiled.config.pes == point.pes and compiled.config.lanes == point.lanes


@pytest.mark.parametrize(
    "varied",
    [
        {},
        {"targets": "wide-coded", "families": "ordered_sum", "lanes": (1, 2)},
        {"families": ("ordered_sum", "multiply", "dense"), "index_bits": (0, 3)},
        {"targets": "wide-memory", "devices": ("xc7z020", "xck26")},
    ],
    ids=["wide", "coded", "families", "memory"],
)
def test_the_front_of_a_layer_is_what_a_compilation_makes(varied: dict[str, Any]):
    space = SPACE | {"levels": ("uniform-7", "codebook-7"), "sparsity": 0.5} | varied
    found = daqkf.explore(WEIGHTS, X, trials=16, objectives=("loss", "cycles", "luts"), **space)
    assert found.front
    for trial in found.front[:3]:
        compiled_as(found, trial, WEIGHTS, X)
    bounds_hold(found, WEIGHTS.shape)


@pytest.mark.parametrize("target", ["wide-banks", "wide-norm"])
def test_the_front_of_a_network_is_what_a_compilation_makes(target: str):
    network = two_layers()
    name = daqkf.compile(network, target="tiny", levels="uniform-7").inputs[0]
    inputs = {name: X[:8]}
    found = daqkf.explore(network, inputs, trials=8, targets=target, **NETWORK_SPACE)
    assert len(found.trials) == 8 and found.quantisations <= 8
    for trial in found.front[:2]:
        compiled_as(found, trial, network, inputs)
    bounds_hold(found, (1, 1))
    # Zeros lose something against the network that has none.
    losses = {one.point.sparsity: one.values["loss"] for one in found.complete}
    assert losses[0.5] > 2 * losses[0.0]


def test_levels_share_what_is_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shares: list[float | None] = []
    prune = pruning._prune  # pyright: ignore[reportPrivateUsage]

    def counted(network: ModuleOp, samples: Any, options: NetworkOptions, *others: Any) -> None:
        shares.append(options.sparsity)
        prune(network, samples, options, *others)

    monkeypatch.setattr(pruning, "_prune", counted)
    network = two_layers()
    name = daqkf.compile(network, target="tiny", levels="uniform-7").inputs[0]
    inputs = [{name: RNG.standard_normal((8, 40)).astype(np.float32)} for _ in range(16)]
    space: dict[str, Any] = NETWORK_SPACE | {"sparsity": (0.5, 0.7)}
    found = daqkf.explore(network, inputs, trials=8, steps=Kept(tmp_path), **space)
    assert found.quantisations == 4 and sorted(map(str, shares)) == ["0.5", "0.7"]
    assert daqkf.explore(network, inputs, trials=8, **space).trials == found.trials
    assert len(shares) == 2 + 4


@pytest.fixture(scope="module")
def cluster() -> Any:
    import distributed

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as found:
        yield found.scheduler_address


def test_a_killed_worker_of_a_cluster_loses_nothing(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    mark = tmp_path / "mark"
    layer = DyingLayer("w", WEIGHTS, None, None, X, None, str(mark))
    monkeypatch.setattr(search, "source_of", lambda *_: layer)
    space = SPACE | {"levels": ("uniform-7", "int8", "uniform-15")}
    path = tmp_path / "trials.journal"
    found = daqkf.explore(None, trials=8, scheduler=cluster, storage=path, **space)
    assert mark.exists() and [one.number for one in found.trials] == list(range(8))
    # As without a worker's death.
    again = daqkf.explore(None, trials=8, scheduler=cluster, **space)
    assert again.trials == found.trials
    assert daqkf.explore(None, trials=8, storage=path, **space).trials == found.trials


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("DAQKF_CACHE", str(tmp_path / "cache"))
    np.save("w.npy", WEIGHTS)
    np.save("x.npy", X)
    np.save("b.npy", np.ones(24, np.float32))
    return tmp_path


def test_the_command_writes_what_it_finds_and_what_it_prints_can_be_built(
    files: Path, capsys: pytest.CaptureFixture[str]
):
    options = ["w.npy", "--calibration", "x.npy", "--bias", "b.npy", "--activation", "gelu"]
    options += [*CHOICES, "--levels", "uniform-7", "int8", "--sparsity", "0", "0.5", "-o", "out"]
    assert main(["explore", *options, "--trials", "10", "--family", "multiply", "running_sum"]) == 0
    printed = capsys.readouterr().out.splitlines()
    commands = [line for line in printed if line.startswith("daqkf compile")]
    assert all(len(line) <= 80 for line in printed if line not in commands)
    facts = json.loads((files / "out/explore.json").read_text())
    assert [one["command"] for one in facts["front"]] == commands
    assert len(facts["trials"]) == 10
    with (files / "out/explore.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["front"]) for row in rows) == len(commands)
    assert commands[0] in (files / "out/explore.md").read_text()
    assert (files / "out/explore.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (files / "out/explore.svg").read_bytes()
    trial, words = facts["front"][0], shlex.split(commands[0])
    assert main(words[1:]) == 0
    design = daqkf.load(words[-1])
    values = predicted(design, load_device("xck26"), 250e6).values(250e6)
    assert values == {name: trial["values"][name] for name in values}
    # More trials of the same exploration, whose integers are kept.
    assert (
        main(
            [
                "explore",
                *options,
                "--trials",
                "12",
                "--family",
                "multiply",
                "running_sum",
                "--resume",
            ]
        )
        == 0
    )
    more = json.loads((files / "out/explore.json").read_text())
    assert more["trials"][:10] == facts["trials"] and len(more["trials"]) == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nothing.npy"], "nothing.npy: No such file or directory"),
        (["w.npy", "--device", "virtex"], "unknown device 'virtex'"),
        (["w.npy", "--calibration", "w.npy", "--pes", "0"], "pes must be 1 or more, not 0"),
        (["w.npy", "--calibration", "b.npy"], "calibration of a layer is [T, 40], not [24]"),
        (["w.npy", "--objectives", "speed"], "unknown objective 'speed'"),
        (["w.npy", "--calibration", "x.npy", "--pes", "64", "--lanes", "64", "--device",
          "ecp5-25k"], "no design is possible"),
        (["w.npy", "-o", "x.npy/y"], "x.npy: Not a directory"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_writes_nothing(
    options: list[str], message: str, files: Path, capsys: pytest.CaptureFixture[str]
):
    before = sorted(path for path in files.rglob("*") if "cache" not in path.parts)
    given = options if "-o" in options else [*options, "-o", "out"]
    assert main(["explore", "--trials", "3", *given]) == 1
    error = capsys.readouterr().err
    assert message in error and error.startswith("daqkf: ") and error.count("\n") == 1
    assert sorted(path for path in files.rglob("*") if "cache" not in path.parts) == before


@pytest.mark.slow
def test_an_interrupt_prints_what_is_done(files: Path):
    arguments = ["explore", "w.npy", "--calibration", "x.npy", "--trials", "2000", "-o", "out"]
    run = subprocess.Popen(
        [sys.executable, "-c", f"import sys; from daqkf.cli.entry import daqkf; "
         f"sys.argv[1:] = {arguments}; sys.exit(daqkf())"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    journal, deadline = files / "out/explore.journal", time.monotonic() + 60
    while time.monotonic() < deadline and not (
        journal.exists() and journal.read_bytes().count(b"complete") > 3
    ):
        time.sleep(0.1)
    os.kill(run.pid, signal.SIGINT)
    output, errors = run.communicate(timeout=60)
    assert run.returncode == 130 and "Traceback" not in errors
    assert "daqkf compile w.npy" in output and "interrupted" in errors
    assert json.loads((files / "out/explore.json").read_text())["interrupted"]
