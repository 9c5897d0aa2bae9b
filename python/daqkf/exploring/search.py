# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The search: ask for designs, give up those that are known to be no good, and try the others."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from daqkf.compiler.executor import Executor, open_executor
from daqkf.exploring.front import DEFAULT, checked
from daqkf.exploring.results import Exploration
from daqkf.exploring.sources import (
    Quantisation,
    Quantised,
    Source,
    data_of,
    quantised,
    source_of,
)
from daqkf.exploring.space import Point, Space
from daqkf.exploring.storage import Ledger
from daqkf.exploring.trials import COMPLETE, PRUNED, Judge, Trial
from daqkf.passes.progress import Progress, Step, silent
from daqkf.passes.steps import NOTHING_KEPT, Steps
from daqkf.support.errors import DaqkfError
from daqkf.support.kept import digest

OBJECTIVES_DEFAULT = DEFAULT
"""The aims, where nobody names any."""

TRIALS, CLOCK, USE = 64, 250e6, 0.8
"""Trials, a clock in Hz, and a share of each resource, where nobody names any."""

_NETWORKS = "wide-banks:memory_bits=256,stream_depth=512"
"""The target of networks where none is given: their programs take turns, and streams stay in
external memory, as those of few networks have room in a device."""


def explore(
    source: Any,
    calibration: Any = None,
    *,
    samples: Any = None,
    bias: Any = None,
    activation: str | None = None,
    trials: int = TRIALS,
    timeout: float | None = None,
    objectives: Sequence[str] = DEFAULT,
    clock: float = CLOCK,
    use: float = USE,
    seed: int = 0,
    storage: str | PathLike[str] | None = None,
    resume: bool = True,
    jobs: int = 1,
    scheduler: str | None = None,
    steps: Steps = NOTHING_KEPT,
    progress: Progress = silent,
    **varied: Any,
) -> Exploration:
    """Explore the designs that a layer or a network can have.

    Ctrl-C ends it, and what was found is given back.

    Args:
        source: a layer's weights [K, N] or a network, as `daqkf.compile` takes them.
        calibration: activations [T, K] of a layer or inputs by name of a network, or their file.
        samples: of the same kind, which losses are measured on in place of the calibration.
        bias: [N] of a layer, or its file.
        activation: of a layer; see `daqkf.compile`.
        trials: designs to try, those that are given up and those of the storage among them.
        timeout: seconds after which no other design is begun.
        objectives: names of `OBJECTIVES`.
        clock: of arrays, in Hz.
        use: the share of each resource of a device that a design may take, above 0 and up to 1.
        seed: of what is tried. With the same one, trials on one machine are the same.
        storage: a file that trials are kept in: a journal of Optuna, or with the suffix .db one of
            SQLite.
        resume: whether trials that it has are gone on with; otherwise they are thrown away.
        jobs: processes that quantise side by side; 0 for as many as there are cores.
        scheduler: the address of a Dask scheduler, whose workers quantise.
        steps: where integers are kept, and found.
        progress: told of each design.
        varied: the choices of parameters; see `Space`.

    Raises:
        DaqkfError: a source that cannot be read, unknown choices, numbers that are out of range, a
            storage of another exploration, or no design that is possible.
    """
    aims = checked(objectives)
    _require(trials, timeout, clock, use)
    Space.of(varied)  # refuses what cannot be before any work
    names = {"calibration": calibration, "bias": bias, "activation": activation}
    given = {name: _named(value, name) for name, value in names.items() if value is not None}
    found = source_of(
        source,
        data_of(calibration, "activations"),
        data_of(samples, "activations"),
        data_of(bias, "a bias"),
        activation,
    )
    space = Space.of(({"targets": _NETWORKS} if found.is_network else {}) | varied)
    own = digest(_told(found))
    tells = digest([own, space, list(aims), clock, use, seed]).hex()
    path = Path(storage) if storage is not None else None
    with open_executor(jobs, scheduler) as executor, _file(path, resume) as begun:
        ledger = Ledger(space, aims, seed, tells, path)
        judge = Judge(found, aims, clock, use)
        # Workers of a cluster have no folder in common.
        kept = _Integers(steps, own, steps if scheduler is None else NOTHING_KEPT)
        run = _Run(ledger, judge, executor, kept, trials, timeout, progress)
        begun.append(ledger)
        interrupted = run.ended_by_interrupt()
        result = Exploration(
            *(found.name, given, aims, clock, use, seed, space.size),
            trials=sorted(ledger.trials, key=lambda trial: trial.number),
            quantisations=run.quantisations,
            interrupted=interrupted,
        )
        _require_some(result)
    return result


@contextmanager
def _file(path: Path | None, resume: bool) -> Iterator[list[Ledger]]:
    """Stands around what writes trials into a file: an error that comes before any of them is
    complete leaves no new file. Gives a list for the trials, once they are open."""
    if path is not None and not resume:
        path.unlink(missing_ok=True)
    is_new = path is not None and not path.exists()
    has_folder = path is not None and path.parent.exists()
    begun: list[Ledger] = []
    try:
        yield begun
    except DaqkfError:
        complete = [one for ledger in begun for one in ledger.trials if one.state == COMPLETE]
        if path is not None and is_new and not complete:
            path.unlink(missing_ok=True)
            if not has_folder:
                with suppress(OSError):
                    path.parent.rmdir()
        raise


def _require_some(found: Exploration) -> None:
    """Refuse an exploration of which every design was given up."""
    if found.trials and not found.complete and not found.interrupted:
        reason, _ = Counter(trial.reason for trial in found.trials).most_common(1)[0]
        raise DaqkfError(f"no design is possible, of {len(found.trials)} that were tried: {reason}")


def _require(trials: int, timeout: float | None, clock: float, use: float) -> None:
    if trials < 1:
        raise DaqkfError(f"trials must be 1 or more, not {trials}")
    if timeout is not None and not timeout > 0:
        raise DaqkfError(f"a timeout is a number of seconds above 0, not {timeout:g}")
    if not 0 < clock < float("inf"):
        raise DaqkfError(f"a clock must be above 0, not {clock / 1e6:g} MHz")
    if not 0 < use <= 1:
        raise DaqkfError(f"use must be a share above 0 and up to 1, not {use:g}")


def _named(value: Any, name: str) -> str:
    """A file or a name, or what stands for a value that has none."""
    return str(value) if isinstance(value, str | PathLike) else name.upper()


def _told(source: Source) -> Any:
    """What tells a source from others."""
    own = dict(vars(source)) | {"name": type(source).__name__}
    if "measure" in own:  # which has no digest
        own["measure"] = type(own["measure"]).__qualname__
    return own


@dataclass(frozen=True)
class _Integers:
    """Integers that an earlier run has made of a source."""

    steps: Steps
    source: bytes
    """Its digest."""
    shared: Steps
    """Where a quantisation keeps steps that others share, such as pruning to a share of zeros."""

    def find(self, quality: Point) -> Quantised | None:
        """Those for the options of a design, if they are kept."""
        return self.steps.find([self.source, quality.facts()])

    def keep(self, quality: Point, found: Quantised) -> None:
        """Keep those for the options of a design."""
        self.steps.keep([self.source, quality.facts()], found)


@dataclass
class _Run:
    """An exploration under way."""

    ledger: Ledger
    judge: Judge
    executor: Executor
    kept: _Integers
    trials: int
    timeout: float | None
    progress: Progress
    quantisations: int = 0

    def ended_by_interrupt(self) -> bool:
        """Try designs until there are enough, or none are left, or the time is over; and whether
        Ctrl-C was quicker."""
        begun = time.monotonic()
        finished = self.ledger.trials
        for trial in finished:
            self.judge.learn(trial)
        count = len(finished)
        waiting = self.ledger.unfinished()
        try:
            while count < self.trials:
                if self.timeout is not None and time.monotonic() - begun > self.timeout:
                    break
                most = min(self.executor.width, self.trials - count)
                batch = [*waiting[:most]]
                waiting = waiting[most:]
                while len(batch) < most and (asked := self.ledger.ask()) is not None:
                    batch.append(asked)
                if not batch:
                    break
                self._try(batch, count)
                count += len(batch)
        except KeyboardInterrupt:
            return True
        return False

    def _try(self, batch: Sequence[tuple[int, Point]], count: int) -> None:
        """Try some designs, and keep what was found in their order."""
        objections = {number: self.judge.objection(point) for number, point in batch}
        self._quantise([point for number, point in batch if not objections[number]], count)
        for place, (number, point) in enumerate(batch):
            name = f"{point.label}, {point.levels}"
            self.progress(Step("try", count + place + 1, self.trials, "designs", name))
            if objections[number]:
                trial = Trial(number, point, PRUNED, reason=objections[number])
            else:
                trial = self.judge.tried(number, point)
            self.ledger.tell(trial)
            self.judge.learn(trial)

    def _quantise(self, points: Sequence[Point], count: int) -> None:
        """Make the integers of designs that there are none of."""
        judge = self.judge
        qualities = dict.fromkeys(map(judge.quality, points))
        wanted: list[Point] = []
        for quality in qualities:
            if quality in judge.integers:
                continue
            if (found := self.kept.find(quality)) is None:
                wanted.append(quality)
            else:
                judge.integers[quality] = found
        if not wanted:
            return
        names = [f"{point.levels}, {point.sparsity:.0%} zeros" for point in wanted]
        steps = [Quantisation(judge.source, point, self.kept.shared) for point in wanted]

        def told(name: str) -> None:
            self.progress(Step("try", count + 1, self.trials, "designs", f"quantise {name}"))

        found = self.executor.map(quantised, steps, names, told)
        self.quantisations += len(wanted)
        for quality, made in zip(wanted, found, strict=True):
            judge.integers[quality] = made
            if isinstance(made, Quantised):
                self.kept.keep(quality, made)
