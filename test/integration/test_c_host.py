# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The driver in C runs a recorded queue on the simulated system, whatever goes wrong before."""

import re
import subprocess
from pathlib import Path

import pytest
from driver_bench import BASE, SIZE, live, network, recorded

from daqkf.drivers.c_library import c_library
from daqkf.hw_targets.image_format import fingerprint
from daqkf.runtime import tools

HOST = Path(__file__).parents[1] / "c_driver"
FLAGS = ["-std=c99", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
SANITIZERS = ["-fsanitize=undefined", "-fno-sanitize-recover=all"]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("host")
    for name, text in c_library().items():
        (folder / name).write_text(text)
    command = [*tools.c_compiler(), *FLAGS, *SANITIZERS, f"-I{folder}", str(HOST / "host.c")]
    command += ["daqkf.c", "-o", "host"]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    queue, done = recorded()
    (folder / "content.bin").write_bytes(queue.content)
    (folder / "expected.bin").write_bytes(done)
    return folder


def said(host: Path, scenario: str) -> list[str]:
    """What the host prints, after which memory holds what is expected."""
    queue, _ = recorded()
    mark = fingerprint(network().config)
    numbers = [f"{number:x}" for number in (mark, BASE, SIZE)]
    files = ["content.bin", "expected.bin"]
    more = [f"{queue.descriptors:x}", f"{len(queue.jobs):x}", scenario]
    with live(pace=0) as system:
        done = subprocess.run(
            [host / "host", *numbers, *files, *more],
            cwd=host,
            stdin=system.fileno(),
            stdout=system.fileno(),
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == "done"
    assert lines[-3] == "done"
    assert lines[-1] == "right"
    return [*lines[1:-3], lines[-2]]


INTERRUPTED = "interrupts 1 tiles 18 cycles 1 flushed 1 invalidated 1"
SCENARIOS = {
    # What goes wrong, what the calls before the last one say, and what the last one does.
    "nothing": ([], INTERRUPTED),
    "lost-interrupt": ([], INTERRUPTED.replace("interrupts 1", "interrupts 0")),
    "polling": (["done"], INTERRUPTED.replace("interrupts 1", "interrupts 0")),
    "fingerprint": (["the circuit is not the one that the programs are for.*", "done"], ".*"),
    "program": [[r".*refused a program \(job 0; the program is for another array\)"], ".*"],
    "cable": (2 * ["the bus to the device failed.*"], ".*"),
    "time-out": (["no job ended in time"], ".*"),
    "naps": (["no job ended in time"], ".*"),
    "interference": (["somebody else has reset the device or uses it"], ".*"),
    "memory-size": (["the memory of the device is too small.*"], ".*"),
    "memory-error": ([r".*memory answered a read with an error \(job 0; .* no error\)"], ".*"),
    "memory-dead": ([r".*memory did not answer \(job 0; .*\)"], ".*"),
    "ring": ([], r"interrupts 1\d .*"),
    "one-by-one": ([], r"interrupts 1\d .*"),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_queue_gives_what_is_expected(host: Path, scenario: str):
    calls, last = SCENARIOS[scenario]
    *before, found = said(host, scenario)
    assert len(before) == len(calls), before
    for line, pattern in zip([*before, found], [*calls, last], strict=True):
        assert re.fullmatch(pattern, line), line


def test_a_host_that_is_told_wrong_results_says_so(host: Path):
    """The negative control: what is compared is what the device has written."""
    wrong = bytearray(recorded()[1])
    wrong[recorded()[0].jobs[-1].results - BASE] ^= 1
    (host / "expected.bin").write_bytes(wrong)
    try:
        with pytest.raises(AssertionError, match="wrong"):
            said(host, "nothing")
    finally:
        (host / "expected.bin").write_bytes(recorded()[1])
