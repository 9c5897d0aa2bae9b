# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Trials as a study of Optuna has them: which design is next, and what was found of it.

One process asks and tells, wherever the work is done: nobody else writes to the storage. A trial
that was begun and not told of, since something was killed, is the first one of the next run.
"""

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from daqkf.dialects.errors import from_extra
from daqkf.exploring.front import OBJECTIVES
from daqkf.exploring.space import Point, Space
from daqkf.exploring.trials import COMPLETE, PRUNED, Trial
from daqkf.support.errors import DaqkfError, describe

with from_extra("explore"):
    import optuna
    from optuna.distributions import BaseDistribution, IntDistribution
    from optuna.storages import BaseStorage, JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import FrozenTrial, TrialState

_NAME = "daqkf"
_TELLS, _FACTS, _REPEATS = "exploration", "trial", "repeats"
"""Attributes: of the study, what is explored; of a trial, what was found, or that it was one
before."""

_SQLITE = (".db", ".sqlite", ".sqlite3")
"""Suffixes of files that SQLite keeps; others are Optuna's journals."""

_STARTUP = 12
"""Designs that are drawn before the sampler learns from them."""

_DRAWS = 1000


def _drawn(trials: Sequence[FrozenTrial]) -> int:
    """How many trials are drawn before the sampler learns, with those that there are.

    It learns from the best tenth, and fails on a tenth that has trials without values in it.
    """
    complete = sum(one.state == TrialState.COMPLETE for one in trials)
    return _STARTUP if 10 * complete >= len(trials) else len(trials) + 1


@contextmanager
def _silent() -> Iterator[None]:
    """Keep Optuna's log and its warnings of what is experimental to itself."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)


class Ledger:
    """The trials of an exploration, in memory or in a file."""

    def __init__(
        self,
        space: Space,
        objectives: tuple[str, ...],
        seed: int,
        tells: str,
        path: Path | None = None,
    ):
        """Open the trials of a file, or begin some.

        Args:
            space: what is varied.
            objectives: the aims.
            seed: of what is tried.
            tells: what tells this exploration from others.
            path: the file; None for memory.

        Raises:
            DaqkfError: no storage of Optuna, or one of another exploration.
        """
        self._space, self._seed = space, seed
        directions = ["maximize" if OBJECTIVES[name].largest else "minimize" for name in objectives]
        self._objectives = objectives
        self._distributions: dict[str, BaseDistribution] = {
            name: IntDistribution(0, len(values) - 1)
            for name, values in space.choices.items()
            if len(values) > 1
        }
        with _silent():
            try:
                self._study = optuna.create_study(
                    storage=_storage(path),
                    study_name=_NAME,
                    directions=directions,
                    load_if_exists=True,
                    sampler=optuna.samplers.RandomSampler(seed=seed),
                )
                found = self._study.user_attrs.get(_TELLS)
            except Exception as error:  # those of storages have no common base
                if path is None:
                    raise
                raise DaqkfError(
                    f"{path}: no storage of Optuna's trials: {describe(error)}"
                ) from None
            if found not in (None, tells):
                raise DaqkfError(
                    f"{path}: the trials of another source, or of other choices or objectives"
                )
            self._study.set_user_attr(_TELLS, tells)

    @property
    def trials(self) -> list[Trial]:
        """Those that are finished, in their order."""
        return [
            _trial(found, self._point(found))
            for found in self._study.get_trials(deepcopy=False)
            if found.state in (TrialState.COMPLETE, TrialState.PRUNED)
        ]

    def _point(self, trial: FrozenTrial) -> Point:
        return self._space.point(trial.params)

    def unfinished(self) -> list[tuple[int, Point]]:
        """Trials that were begun, and nobody has told of."""
        return [
            (one.number, self._point(one))
            for one in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if one.params.keys() == self._distributions.keys()
        ]

    def ask(self) -> tuple[int, Point] | None:
        """The number of a new trial, and its design; None if all of them were tried."""
        with _silent():
            for enqueued in (False, True):
                every = self._study.get_trials(deepcopy=False)
                seen = {_key(one.params) for one in every if one.state != TrialState.WAITING}
                if len(seen) >= self._space.size:
                    return None
                seed = np.random.SeedSequence([self._seed, len(every)])
                if enqueued:
                    self._study.enqueue_trial(self._untried(seen, seed))
                # What comes next depends on the trials alone, however often a run was interrupted.
                self._study.sampler = optuna.samplers.TPESampler(
                    seed=int(seed.generate_state(1)[0]), n_startup_trials=_drawn(every)
                )
                trial = self._study.ask(self._distributions)
                if _key(trial.params) not in seen:
                    return trial.number, self._space.point(trial.params)
                trial.set_user_attr(_REPEATS, True)
                self._study.tell(trial, state=TrialState.FAIL)
        raise AssertionError("a design that was drawn among the others is a new one")

    def _untried(
        self, seen: set[tuple[tuple[str, int], ...]], seed: np.random.SeedSequence
    ) -> dict[str, int]:
        """A design that was not tried, at random."""
        rng = np.random.default_rng(seed)
        sizes = {name: len(self._space.choices[name]) for name in self._distributions}
        for _ in range(_DRAWS):
            drawn = {name: int(rng.integers(size)) for name, size in sizes.items()}
            if _key(drawn) not in seen:
                return drawn
        every = np.ndindex(*sizes.values())
        places = (dict(zip(sizes, map(int, each), strict=True)) for each in every)
        return next(each for each in places if _key(each) not in seen)

    def tell(self, trial: Trial) -> None:
        """Keep what was found of a trial."""
        with _silent():
            frozen = self._study.get_trials(deepcopy=False)[trial.number]
            own = optuna.Trial(self._study, frozen._trial_id)
            own.set_user_attr(_FACTS, json.dumps([trial.state, dict(trial.values), trial.reason]))
            if trial.state == COMPLETE:
                values = [trial.values[name] for name in self._objectives]
                self._study.tell(trial.number, values)
            else:
                self._study.tell(trial.number, state=TrialState.PRUNED)


def _key(params: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(params.items()))


def _trial(found: FrozenTrial, point: Point) -> Trial:
    state, values, reason = json.loads(found.user_attrs[_FACTS])
    assert state in (COMPLETE, PRUNED)
    return Trial(found.number, point, state, values, reason)


def _storage(path: Path | None) -> BaseStorage | str | None:
    if path is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in _SQLITE:
        return f"sqlite:///{path}"
    return JournalStorage(JournalFileBackend(str(path)))
