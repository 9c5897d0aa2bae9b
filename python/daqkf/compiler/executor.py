# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Where the independent kernels of a network are compiled: here, on all cores, or on a cluster.

The kernels of a network know nothing of one another, so a function of one kernel can run anywhere.
Every executor gives the results in the order of the items, and the same ones: which error
is raised, too, does not depend on who finished first.
"""

import multiprocessing
import os
import signal
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, override

from daqkf.dialects.errors import from_extra
from daqkf.passes.progress import Progress, silent
from daqkf.passes.steps import Steps
from daqkf.support.errors import EXPECTED, DaqkfError, describe
from daqkf.support.kept import digest

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""What libraries of linear algebra read when they are loaded."""

_VERSION = version("daqkf")
"""Workers must have the same."""

_RETRIES = 3
"""How often a cluster gives an item to another worker after one has died with it."""

_CONNECT_SECONDS = 10


@dataclass(frozen=True)
class _Failed:
    """An error that the user can put right, as a message: not every exception can be pickled."""

    message: str


def _attempt[T, R](function: Callable[[T], R], item: T, wanted: str = _VERSION) -> R | _Failed:
    """The function's result, or what it was that the user can put right."""
    if wanted != _VERSION:
        return _Failed(f"a worker has version {_VERSION} of daqkf, not {wanted}")
    try:
        with _ONE_THREAD_OF_BLAS:
            return function(item)
    except EXPECTED as error:
        return _Failed(describe(error))


class _OneThread:
    """A context of linear algebra on one thread: of more, sums may have other last bits.

    The limit is the whole process's, where a worker of a cluster may have several threads: it
    goes when the last one of them leaves.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                from threadpoolctl import threadpool_limits

                self._limit = threadpool_limits(1, user_api="blas")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._limit is not None:
                self._limit.restore_original_limits()


_ONE_THREAD_OF_BLAS = _OneThread()


class Executor(ABC):
    """Runs a function of one kernel for all kernels."""

    @property
    def width(self) -> int:
        """How many items it has at work at a time."""
        return 1

    def map[T, R](
        self,
        function: Callable[[T], R],
        items: Sequence[T],
        names: Sequence[str] = (),
        progress: Progress = silent,
    ) -> list[R]:
        """The function's results, in the order of the items.

        Args:
            function: of a module's top level, and its items and results must be picklable.
            items: one for each kernel.
            names: of the items, for `progress` and for errors.
            progress: told the name of each item before the executor waits for it.

        Raises:
            DaqkfError: the first item, by order, for which the function raised what the user can
                put right, with its message; or a worker was lost.
        """
        names = names or [""] * len(items)
        results: list[R] = []
        attempts = self.attempts(function, items)
        for name in names:
            progress(name)
            found = next(attempts)
            if isinstance(found, _Failed):
                attempts.close()
                place = f"{name}: " if name and not found.message.startswith(name) else ""
                raise DaqkfError(place + found.message)
            results.append(found)
        return results

    @abstractmethod
    def attempts[T, R](
        self, function: Callable[[T], R], items: Sequence[T]
    ) -> Generator[R | _Failed]:
        """What `_attempt` gives for each item, in their order; closed early after a failure."""


class _Here(Executor):
    """One kernel after another, in this process."""

    @override
    def attempts[T, R](
        self, function: Callable[[T], R], items: Sequence[T]
    ) -> Generator[R | _Failed]:
        return (_attempt(function, item) for item in items)


HERE: Executor = _Here()
"""Computes in this process."""


class Keeping(Executor):
    """Gives what it finds of an earlier run, and has another executor make the rest."""

    def __init__(self, executor: Executor, steps: Steps):
        self._executor = executor
        self._steps = steps

    @property
    @override
    def width(self) -> int:
        return self._executor.width

    @override
    def attempts[T, R](
        self, function: Callable[[T], R], items: Sequence[T]
    ) -> Generator[R | _Failed]:
        name = f"{function.__module__}.{function.__qualname__}"
        # Before any work, which may change the items.
        keys = [digest([name, item]) for item in items]
        kept = [self._steps.find(key) for key in keys]
        missing = [item for item, found in zip(items, kept, strict=True) if found is None]
        made = self._executor.attempts(function, missing)
        try:
            for key, found in zip(keys, kept, strict=True):
                if found is None:
                    found = next(made)
                    if not isinstance(found, _Failed):
                        self._steps.keep(key, found)
                yield found
        finally:
            made.close()


class _Processes(Executor):
    """Processes of this machine, each of which computes on one thread."""

    def __init__(self, pool: ProcessPoolExecutor, jobs: int):
        self._pool = pool
        self._jobs = jobs

    @property
    @override
    def width(self) -> int:
        return self._jobs

    @override
    def attempts[T, R](
        self, function: Callable[[T], R], items: Sequence[T]
    ) -> Generator[R | _Failed]:
        with _environment_of_workers():
            futures = [self._pool.submit(_attempt, function, item) for item in items]
        try:
            for future in futures:
                yield self._result(future)
        finally:
            for future in futures:
                future.cancel()

    def _result[R](self, future: Future[R]) -> R:
        try:
            return future.result()
        except BrokenProcessPool:
            raise DaqkfError(
                "a worker process was killed, perhaps for want of memory; use fewer jobs"
            ) from None


class _Cluster(Executor):
    """Workers of a Dask scheduler, which gives what a lost worker had to another one."""

    def __init__(self, client: Any):
        self._client = client

    @property
    @override
    def width(self) -> int:
        return max(sum(self._client.nthreads().values()), 1)

    @override
    def attempts[T, R](
        self, function: Callable[[T], R], items: Sequence[T]
    ) -> Generator[R | _Failed]:
        with from_extra("cluster"):
            from distributed import KilledWorker

        # Not pure: functions that were changed since must not find earlier results.
        futures = [
            self._client.submit(_attempt, function, item, _VERSION, pure=False, retries=_RETRIES)
            for item in items
        ]
        try:
            for future in futures:
                try:
                    yield future.result()
                except KilledWorker as error:
                    raise DaqkfError(f"the cluster lost its workers: {describe(error)}") from None
        finally:
            self._client.cancel(futures)


@contextmanager
def open_executor(jobs: int = 1, scheduler: str | None = None) -> Iterator[Executor]:
    """An executor on so many processes, or on the cluster of a Dask scheduler's address.

    Processes are started anew, by the module that is run as a script, too: a script that asks for
    several jobs needs the usual `if __name__ == "__main__":`. On Ctrl-C they end, without a word.

    Args:
        jobs: processes; 1 computes here, 0 stands for as many as this process has cores.
        scheduler: `tcp://host:port`; then `jobs` does not count.

    Raises:
        DaqkfError: jobs below 0, no scheduler at that address, or the extra `cluster` is missing.
    """
    if jobs < 0:
        raise DaqkfError(f"{jobs} jobs; there can be 0, for all cores, or more")
    if scheduler is not None:
        with _connected(scheduler) as client:
            yield _Cluster(client)
        return
    jobs = jobs or os.process_cpu_count() or 1
    if jobs == 1:
        yield HERE
        return
    before = set(multiprocessing.active_children())
    # Fork would copy the locks of BLAS's threads in whatever state they are.
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield _Processes(pool, jobs)
    except BaseException:
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        # Waiting costs nothing now. Without it, Python's exit wakes the pool's thread through a
        # pipe that this thread may be closing.
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


@contextmanager
def _environment_of_workers() -> Iterator[None]:
    """What processes that are started meanwhile inherit: one thread, and no Ctrl-C of their own."""
    saved = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    masked = None
    if sys.platform != "win32":
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with _no_interrupt():
            yield
    finally:
        if masked is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        for name, value in saved.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Put off Ctrl-C: a process that gets half of what it is to begin with has a traceback.

    The mask of one thread is not enough, because the signal may come to any other.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    missed: list[int] = []
    usual = signal.signal(signal.SIGINT, lambda number, frame: missed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if missed:
        raise KeyboardInterrupt


@contextmanager
def _connected(scheduler: str) -> Iterator[Any]:
    with from_extra("cluster"):
        from distributed import Client
    try:
        client = Client(scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise DaqkfError(f"no scheduler at {scheduler}: {describe(error)}") from None
    with client:
        yield client
