# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What can be varied, which designs are not dominated, and which are given up before any work."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daqkf.exploring import Exploration, Point, explore, search
from daqkf.exploring.front import costs, dominates, front
from daqkf.exploring.predicting import least
from daqkf.exploring.sources import LayerSource, Quantisation, Quantised
from daqkf.exploring.space import Space
from daqkf.exploring.storage import Ledger
from daqkf.exploring.trials import COMPLETE, PRUNED, Judge, Trial
from daqkf.hw_targets.device import LABELS, load_device
from daqkf.support.errors import DaqkfError

RNG = np.random.default_rng(5)
WEIGHTS = RNG.standard_normal((40, 24)) / 6
X = RNG.standard_normal((48, 40))
SPACE = {
    "pes": (1, 2, 4),
    "lanes": (1, 4, 8),
    "turns": (1, 2),
    "items": (2, 8),
    "levels": ("int8", "uniform-7"),
    "sparsity": (0.0, 0.6),
}


def explored(trials: int = 16, **named: Any) -> Exploration:
    return explore(WEIGHTS, X, trials=trials, **SPACE | named)


@pytest.fixture(scope="module")
def found() -> Exploration:
    return explored()


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=12))
def test_nothing_of_a_front_is_dominated_and_all_else_is(every: list[tuple[int, ...]]):
    best = [every[place] for place in front(every)]
    assert len(set(best)) == len(best)
    assert not any(dominates(one, other) for one in best for other in best)
    assert all(own in best or any(dominates(one, own) for one in best) for own in every)


def test_the_front_of_trials_is_not_dominated(found: Exploration):
    own = {one.number: costs(one.values, found.objectives) for one in found.complete}
    best = {one.number for one in found.front}
    assert 1 < len(best) < len(own)
    for number, values in own.items():
        beaten = any(dominates(other, values) for other in own.values())
        assert not (beaten and number in best)
        assert beaten or number in best or values in [own[one] for one in best]
    assert [one.values["loss"] for one in found.front] == sorted(
        one.values["loss"] for one in found.front
    )


def test_weights_become_integers_once_for_each_choice(found: Exploration):
    """Designs that differ in the array alone have the same integers."""
    qualities = {(one.point.levels, one.point.sparsity) for one in found.complete}
    assert found.quantisations == len(qualities) == 4
    losses = {(one.point.levels, one.point.sparsity, one.values["loss"]) for one in found.complete}
    assert len(losses) == 4


def test_the_same_seed_tries_the_same(found: Exploration):
    assert explored().trials == found.trials
    other = explored(seed=1)
    assert [one.point for one in other.trials] != [one.point for one in found.trials]


def test_bounds_are_below_what_designs_take(found: Exploration):
    for trial in found.complete:
        device = load_device(trial.point.device)
        bound = least(trial.point.machine, WEIGHTS.shape, device, found.clock).values(found.clock)
        assert all(bound[name] <= trial.values[name] for name in (*LABELS, "cycles", "share"))


def test_what_does_not_fit_costs_no_quantisation(monkeypatch: pytest.MonkeyPatch):
    def quantised(step: Quantisation) -> Quantised:
        raise AssertionError("this design does not fit")

    monkeypatch.setattr(search, "quantised", quantised)
    big = {"pes": 64, "lanes": 64, "turns": 1, "items": 8}
    with pytest.raises(
        DaqkfError, match=r"of 4 that were tried: at least .* of the 24,288 of ecp5-25k"
    ):
        explored(devices="ecp5-25k", **big)


def test_what_is_dominated_whatever_its_streams_costs_no_quantisation(found: Exploration):
    aims = ("loss", "cycles", "luts")
    judge = Judge(LayerSource("w", WEIGHTS, None, None, X, None), aims, found.clock, 0.8)
    (trial, *_) = found.complete
    exact = replace(trial.point, levels="int8", sparsity=0.0)
    judge.learn(Trial(0, exact, COMPLETE, {"loss": 1e-4, "sqnr": 30.0, "cycles": 1, "luts": 1}))
    coarser = replace(exact, levels="uniform-7", pes=2)
    # Coarser levels are taken to lose more; of another kind nothing is known.
    assert judge.objection(replace(coarser, levels="uniform-127")) == ""
    judge.learn(Trial(1, coarser, COMPLETE, {"loss": 0.01, "sqnr": 20.0, "cycles": 1, "luts": 1}))
    assert judge.objection(replace(coarser, pes=4)).startswith("dominated")
    assert judge.objection(replace(exact, levels="uniform-3")).startswith("dominated")
    assert judge.objection(replace(exact, levels="codebook-7")) == ""


def test_no_array_is_so():
    found = explored(families=("running_sum", "multiply"), lanes=(1, 2), trials=12)
    reasons = {one.reason for one in found.trials if one.point.family == "multiply"}
    assert any("packed products need an even number of lanes" in reason for reason in reasons)
    assert all(one.state == PRUNED for one in found.trials if one.reason)


def test_every_design_is_tried_at_most_once():
    one = {"pes": 2, "lanes": 4, "turns": 1, "items": 8, "sparsity": 0.5}
    found = explored(trials=50, **one)
    assert found.designs == 2 == len(found.trials)
    assert len({trial.point for trial in found.trials}) == 2
    assert len(explored(trials=50, **one | {"levels": "int8"}).trials) == 1


@pytest.mark.parametrize(
    "name", ["trials.journal", pytest.param("trials.db", marks=pytest.mark.slow)]
)
def test_trials_of_a_file_are_gone_on_with(name: str, tmp_path: Path, found: Exploration):
    path = tmp_path / "folder" / name
    first = explored(10, storage=path)
    assert [one.facts() for one in first.trials] == [one.facts() for one in found.trials[:10]]
    both = explored(16, storage=path)
    # As if it had not been interrupted.
    assert [one.facts() for one in both.trials] == [one.facts() for one in found.trials]
    again = explored(16, storage=path)
    assert again.quantisations == 0 and again.trials == both.trials
    with pytest.raises(DaqkfError, match="the trials of another source, or of other choices"):
        explored(16, storage=path, objectives=("cycles",))
    assert len(explored(2, storage=path, resume=False).trials) == 2


def test_a_file_of_something_else_is_refused(tmp_path: Path):
    for name in ("x.journal", "x.db"):
        path = tmp_path / name
        path.write_text("no trials\n" * 100)
        with pytest.raises(DaqkfError, match="no storage of Optuna's trials"):
            explored(storage=path)


def test_an_interrupt_keeps_what_is_done_and_begins_the_trial_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: Exploration
):
    path, tried = tmp_path / "trials.journal", Judge.tried

    def interrupted(self: Judge, number: int, point: Point) -> Trial:
        if number == 6:
            raise KeyboardInterrupt
        return tried(self, number, point)

    with monkeypatch.context() as patch:
        patch.setattr(Judge, "tried", interrupted)
        part = explored(storage=path)
    assert part.interrupted and [one.number for one in part.trials] == list(range(6))
    whole = explored(storage=path)
    assert not whole.interrupted
    assert [one.facts() for one in whole.trials] == [one.facts() for one in found.trials]


def test_an_error_keeps_the_trials_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, tried = tmp_path / "folder" / "trials.journal", Judge.tried

    def lost(self: Judge, number: int, point: Point) -> Trial:
        if number == stop:
            raise DaqkfError("the cluster lost its workers")
        return tried(self, number, point)

    monkeypatch.setattr(Judge, "tried", lost)
    for stop in (0, 3):
        with pytest.raises(DaqkfError, match="the cluster lost its workers"):
            explored(5, storage=path)
        assert path.exists() == path.parent.exists() == (stop > 0)
    stop = -1
    assert len(explored(5, storage=path).trials) == 5


def test_a_timeout_begins_no_other_design(monkeypatch: pytest.MonkeyPatch):
    times = iter(range(1000))
    monkeypatch.setattr(search.time, "monotonic", lambda: next(times))
    assert len(explored(timeout=2.5).trials) == 2


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"trials": 0}, "trials must be 1 or more"),
        ({"timeout": 0}, "a timeout is a number of seconds above 0"),
        ({"objectives": ("speed",)}, "unknown objective 'speed'"),
        ({"objectives": ("loss", "loss")}, "each of them once"),
        ({"clock": 0}, "a clock must be above 0"),
        ({"use": 1.5}, "use must be a share above 0"),
        ({"devices": "virtex"}, "unknown device 'virtex'"),
        ({"targets": "nowhere"}, "unknown target 'nowhere'"),
        ({"families": "ternary"}, "nothing says what arrays take of 'ternary'"),
        ({"families": "other"}, "unknown family 'other'"),
        ({"levels": "many"}, "unknown level set 'many'"),
        ({"sparsity": 1}, "sparsity must be 0 <= sparsity < 1"),
        ({"pes": 0}, "pes must be 1 or more, not 0"),
        ({"pes": ()}, "pes has no choice"),
        ({"stream_codes": "zip"}, "unknown stream code 'zip'"),
        ({"banks": 2}, "'banks' cannot be varied"),
        ({"samples": X.T}, r"samples of a layer is \[T, 40\], not \[40, 48\]"),
        ({"bias": np.zeros(3)}, "bias"),
        ({"jobs": -1}, "-1 jobs"),
    ],
)
def test_what_cannot_be_explored_is_said(named: dict[str, Any], message: str, tmp_path: Path):
    with pytest.raises(DaqkfError, match=message):
        explored(**{"storage": tmp_path / "x.journal"} | named)
    if "jobs" not in named:
        assert not list(tmp_path.iterdir())


def test_integers_are_levels_already():
    with pytest.raises(DaqkfError, match="integer weights have their levels already"):
        explore(np.eye(4, dtype=np.int8))


@pytest.mark.parametrize("objectives", [("loss",), ("loss", "tokens", "share")])
def test_designs_are_drawn_while_all_are_given_up(objectives: tuple[str, ...]):
    ledger = Ledger(Space.of(SPACE), objectives, 0, "")
    for count in range(20):
        asked = ledger.ask()
        assert asked is not None
        ledger.tell(Trial(*asked, PRUNED, reason="too large"))
        assert len(ledger.trials) == count + 1
