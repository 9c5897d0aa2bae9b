# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Ctrl-C at any moment: one line, exit code 130, no traceback.

A process interrupts itself when it is about to import a certain module, so that the moment is the
same in every run. What it runs is what `pyproject.toml` makes the console scripts of.
"""

import os
import signal
import subprocess
import sys
import time
import tomllib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from daqkf.studies.digits.network import CLASSES, SIDE, Classifier, export

SCRIPTS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))[
    "project"
]["scripts"]

RNG = np.random.default_rng(0)

SELF = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {where!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.modules.pop({where!r}, None)
from {module} import {function} as main
sys.argv = {arguments!r}
sys.exit(main())
"""


def script(where: str, *arguments: object) -> list[str]:
    """The command of a process that interrupts itself at this import; "" for one that does not."""
    tool = str(arguments[0])
    module, _, function = SCRIPTS[tool].partition(":")
    text = SELF.format(
        where=where, module=module, function=function, arguments=list(map(str, arguments))
    )
    return [sys.executable, "-c", text]


def is_one_line(tool: str, returncode: int | None, errors: str) -> bool:
    """Whether nothing stands there but what the command said of its work before."""
    noise = any(text in errors for text in ("Traceback", "Exception ignored", "KeyboardInterrupt"))
    line = f"{tool}: interrupted\n"
    return returncode == 130 and errors.endswith(line) and errors.count(line) == 1 and not noise


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    np.save(tmp_path / "w.npy", RNG.standard_normal((8, 4)))
    return tmp_path


def check(layer: Path, where: str, *arguments: object) -> None:
    run = subprocess.run(script(where, *arguments), cwd=layer, capture_output=True, text=True)
    assert is_one_line(str(arguments[0]), run.returncode, run.stderr), (where, run)
    assert not (layer / "out").exists()


@pytest.mark.parametrize("where", ["daqkf.cli.interrupts", "argparse", "numpy"])
def test_an_interrupt_of_an_import_is_one_line(layer: Path, where: str):
    check(layer, where, "daqkf", "compile", "w.npy", "--target", "tiny", "-o", "out")


@pytest.mark.parametrize("tool", ["daqkf-opt", "daqkf-translate"])
def test_the_other_tools_end_in_one_line_too(layer: Path, tool: str):
    check(layer, "xdsl", tool, "--help")


@pytest.mark.slow
def test_an_interrupt_of_any_import_is_one_line(layer: Path):
    arguments = "daqkf", "compile", "w.npy", "--target", "tiny", "-o"
    listing = script("", *arguments, "whole")
    listing[-1] = listing[-1].replace(
        "sys.exit(main())",
        "before = set(sys.modules); main(); "
        # What has no specification, like multiprocessing's name for the script, is not imported.
        "print(*(m for m in set(sys.modules) - before if sys.modules[m].__spec__))",
    )
    run = subprocess.run(listing, cwd=layer, capture_output=True, text=True, check=True)
    modules = sorted(run.stdout.split())
    assert len(modules) > 300
    for where in modules[:: len(modules) // 16]:
        check(layer, where, *arguments, "out")


def wait_until_asleep(process: "subprocess.Popen[str]") -> None:
    """Wait until a process waits for something, after it has done some work."""
    stat = Path(f"/proc/{process.pid}/stat")
    for _ in range(2000):
        fields = stat.read_text().rsplit(") ", 1)[1].split()
        if fields[0] == "S" and int(fields[11]) > 5:
            return
        time.sleep(0.01)
    raise AssertionError("the process is still busy")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux' /proc")
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("daqkf", "report", "fifo.npy", "-o", "out"), marks=pytest.mark.slow),
        ("daqkf-opt", "fifo.npy"),
    ],
    ids=["daqkf", "daqkf-opt"],
)
def test_an_interrupt_while_a_file_is_read_is_one_line(layer: Path, arguments: tuple[str, ...]):
    os.mkfifo(layer / "fifo.npy")
    command = script("", *arguments)
    with subprocess.Popen(command, cwd=layer, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        wait_until_asleep(process)
        process.send_signal(signal.SIGINT)
        assert is_one_line(arguments[0], process.wait(30), process.stderr.read())


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 0.6, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0])
def test_an_interrupt_of_processes_is_one_line(tmp_path: Path, seconds: float):
    """Workers, which a terminal interrupts, too, say nothing, whether they start or work."""
    sizes = (SIDE * SIDE, 512, 512, 512, CLASSES)
    layers = [
        (RNG.standard_normal(shape).astype(np.float32), np.zeros(shape[1], np.float32))
        for shape in pairwise(sizes)
    ]
    (tmp_path / "net.onnx").write_bytes(export(Classifier(layers)).SerializeToString())
    command = script("", "daqkf", "compile", "net.onnx", "--no-fuse", "--jobs", "2", "-o", "out")
    # A session of its own, whose processes all get the interrupt, as from a terminal.
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGINT)
        errors = process.stderr.read()
        process.wait(30)
    assert is_one_line("daqkf", process.returncode, errors), (process.returncode, errors)
    assert not (tmp_path / "out").exists()
