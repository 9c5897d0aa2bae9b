# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Networks compiled here, by several processes, and on a cluster: the same bytes everywhere."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import psutil
import pytest

from daqkf.cli.main import main
from daqkf.compiler.network import compile_network
from daqkf.studies.digits.network import CLASSES, SIDE, Classifier, export
from daqkf.support.errors import DaqkfError

WIDTHS = SIDE * SIDE, 48, 40, CLASSES

RNG = np.random.default_rng(0)
CALIBRATION = {"image": RNG.standard_normal((2 * WIDTHS[0], WIDTHS[0])).astype(np.float32)}

OPTIONS: dict[str, dict[str, Any]] = {
    "one level set": {"levels": "uniform-15", "second_order": True, "family": "auto"},
    "accuracy": {"accuracy": 0.9},
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of three layers of random weights, whose kernels the tests do not chain."""
    layers = [
        (
            (RNG.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32),
            RNG.standard_normal(shape[1]).astype(np.float32),
        )
        for shape in pairwise(WIDTHS)
    ]
    path = tmp_path_factory.mktemp("jobs") / "network.onnx"
    path.write_bytes(export(Classifier(layers)).SerializeToString())
    return path


@pytest.fixture
def cluster() -> Iterator[distributed.LocalCluster]:
    """Two workers, in processes of their own."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as found:
        yield found


def compiled(file: Path, told: list[str] | None = None, **named: Any) -> dict[str, Any]:
    """Everything that a compiled network is made of."""
    named = {"fuse": False, "calibration": CALIBRATION} | named
    progress = (lambda name: None) if told is None else told.append
    network = compile_network(file, progress=progress, **named)
    return {
        "images": {stage.name: stage.images for stage in network.stages},
        "rtl": network.verilog_files,
        "network": str(network.network),
        "arrays": str(network.arrays),
    }


@pytest.mark.slow
def test_processes_and_a_cluster_give_the_bytes_of_one_process(
    file: Path, cluster: distributed.LocalCluster
):
    told: list[list[str]] = [[], [], []]
    options = OPTIONS["one level set"]
    expected = compiled(file, told[0], **options)
    assert len(expected["images"]) == len(WIDTHS) - 1
    assert compiled(file, told[1], jobs=2, **options) == expected
    address = cluster.scheduler_address
    assert compiled(file, told[2], scheduler=address, **options) == expected
    assert told[0] == told[1] == told[2]
    first, count = next(iter(expected["images"])), len(expected["images"])
    assert f"quantise 1/{count} kernels ({first})" in told[0]


@pytest.mark.slow
def test_levels_for_an_accuracy_are_the_same(file: Path):
    options = OPTIONS["accuracy"]
    assert compiled(file, jobs=2, **options) == compiled(file, **options)


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(file: Path, cluster: distributed.LocalCluster):
    expected = compiled(file, **OPTIONS["one level set"])
    killed: list[int] = []

    with distributed.Client(cluster, set_as_default=False) as client:
        before = set(client.run(os.getpid).values())

        def kill(name: str) -> None:
            # The workers have just been given all kernels, and import what they need for them.
            if name.startswith("quantise") and not killed:
                killed.append(min(before))
                os.kill(killed[0], signal.SIGKILL)

        network = compile_network(
            file,
            calibration=CALIBRATION,
            fuse=False,
            scheduler=cluster.scheduler_address,
            progress=kill,
            **OPTIONS["one level set"],
        )
        assert killed
        assert not set(killed) & set(client.run(os.getpid).values())
    assert str(network.arrays) == expected["arrays"]


def test_an_error_of_a_worker_names_the_kernel_and_leaves_no_output(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    messages: list[list[str]] = []
    for jobs in ("1", "2"):
        arguments = ["compile", str(file), "--no-fuse", "--target", "tiny", "--jobs", jobs]
        assert main([*arguments, "-o", str(tmp_path / "out")]) == 1
        lines = capsys.readouterr().err.splitlines()
        # On a slow machine the log also says what is done after three seconds.
        messages.append([line for line in lines if not re.match(r"\d+ s: ", line)])
    assert messages[0] == messages[1]
    warning, error = messages[0]
    assert warning.startswith("warning: no calibration") and error.startswith("daqkf: layer.0")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--jobs", "0"], "jobs must be at least 1, not 0"),
        (["--jobs", "1", "--scheduler", "tcp://a:1"], "--jobs or --scheduler, not both"),
        (["--scheduler", "tcp://127.0.0.1:1"], "no scheduler at tcp://127.0.0.1:1"),
        (["--scheduler", "nonsense"], "no scheduler at nonsense"),
    ],
)
def test_the_command_line_says_what_is_wrong(
    arguments: list[str],
    message: str,
    file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("daqkf.compiler.executor._CONNECT_SECONDS", 1)
    assert main(["compile", str(file), *arguments, "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_named(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DaqkfError, match=r"daqkf\[cluster\]"):
        compile_network(file, scheduler="tcp://127.0.0.1:1")


def test_jobs_or_a_scheduler():
    with pytest.raises(DaqkfError, match="not both"):
        compile_network("none.onnx", jobs=2, scheduler="tcp://127.0.0.1:1")


def test_a_layer_has_no_jobs(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    np.save(tmp_path / "layer.npy", np.eye(4, dtype=np.float32))
    weights, output = str(tmp_path / "layer.npy"), str(tmp_path / "out")
    assert main(["compile", weights, "--jobs", "2", "-o", output]) == 1
    assert "--jobs and --scheduler are for networks" in capsys.readouterr().err


def test_an_interrupt_leaves_neither_output_nor_processes(file: Path, tmp_path: Path):
    command = [sys.executable, "-m", "daqkf.cli.main", "compile", str(file), "--no-fuse"]
    run = subprocess.Popen(
        [*command, "--jobs", "2", "-o", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline, children = time.monotonic() + 60, list[psutil.Process]()
    # Two workers, and the process in which Python counts what they share.
    while len(children) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
        children = psutil.Process(run.pid).children()
    # Like from a terminal, which interrupts all of them.
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert errors.endswith("daqkf: interrupted\n")
    assert psutil.wait_procs(children, timeout=20)[1] == []
    assert list(tmp_path.iterdir()) == []
