# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Executors: the same results, in the same order, with the same error, wherever they come from."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from executor_functions import broken, dies_at_first, process, product, refused

from daqkf.compiler.executor import Executor, open_executor
from daqkf.support.errors import DaqkfError


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a scheduler with two workers, in processes of their own."""
    import distributed

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as found:
        yield found.scheduler_address


@pytest.fixture(scope="module", params=["here", "processes", "cluster"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    address = request.getfixturevalue("cluster") if request.param == "cluster" else None
    with open_executor(2 if request.param == "processes" else 1, address) as found:
        yield found


def test_results_are_in_order_and_the_same_everywhere(executor: Executor):
    names, told = [f"kernel {seed}" for seed in range(7)], list[str]()
    found = executor.map(product, range(7), names, told.append)
    assert [y.tobytes() for y in found] == [product(seed).tobytes() for seed in range(7)]
    assert told == names


def test_the_first_error_by_order_is_one_message(executor: Executor):
    names = [f"kernel {number}" for number in range(8)]
    with pytest.raises(DaqkfError) as found:
        executor.map(refused, range(8), names)
    assert str(found.value) == "kernel 3: 3 is too much"
    assert executor.map(refused, [0, 1, 2]) == [0, 1, 2]


def test_a_bug_stays_one(executor: Executor):
    with pytest.raises(KeyError):
        executor.map(broken, [1])


def test_nothing_to_do(executor: Executor):
    assert executor.map(product, []) == []


def test_processes_have_one_thread_each_and_leave_the_environment(tmp_path: Path):
    before = dict(os.environ)
    with open_executor(2) as executor:
        found = executor.map(process, [str(tmp_path)] * 6)
    assert os.getpid() not in {pid for pid, _ in found}
    assert len({pid for pid, _ in found}) == 2
    assert all(set(threads.values()) == {"1"} for _, threads in found)
    assert dict(os.environ) == before


def test_a_killed_process_is_an_error(tmp_path: Path):
    items = [f"{number} {tmp_path / 'mark'}" for number in range(6)]
    with (
        pytest.raises(DaqkfError, match="a worker process was killed"),
        open_executor(2) as executor,
    ):
        executor.map(dies_at_first, items)


def test_a_killed_worker_of_a_cluster_loses_nothing(cluster: str, tmp_path: Path):
    items = [f"{number} {tmp_path / 'mark'}" for number in range(6)]
    with open_executor(scheduler=cluster) as executor:
        assert executor.map(dies_at_first, items) == [str(number) for number in range(6)]
    assert (tmp_path / "mark").exists()


def test_an_error_leaves_no_thread():
    before = threading.active_count()
    with pytest.raises(KeyError), open_executor(2) as executor:
        executor.map(broken, range(4))
    # Python's exit would wake it through a pipe that it may be closing.
    assert threading.active_count() == before


def test_what_cannot_be_opened_is_said():
    with pytest.raises(DaqkfError, match="-1 jobs"), open_executor(-1):
        pass
    with (
        pytest.raises(DaqkfError, match="no scheduler at tcp"),
        open_executor(scheduler="tcp://127.0.0.1:1"),
    ):
        pass


_SCRIPT = """
import os, sys, time
from daqkf.compiler.executor import open_executor

def slow(number):
    # One write: the two processes' lines must not mix.
    os.write(1, b"begun\\n")
    time.sleep(60)

if __name__ == "__main__":
    try:
        with open_executor(2) as executor:
            executor.map(slow, range(4))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.exit(130)
"""


def test_an_interrupt_ends_all_processes_without_a_word(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    # A session of its own, whose processes all get the interrupt, as from a terminal.
    run = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "begun\n"
    start = time.monotonic()
    os.killpg(run.pid, signal.SIGINT)
    output, errors = run.communicate(timeout=50)
    assert time.monotonic() - start < 50
    assert run.returncode == 130
    assert output.endswith("interrupted\n")
    assert errors == ""
