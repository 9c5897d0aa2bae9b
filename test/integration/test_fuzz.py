# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The fuzzers: what they have found stays mended, and they run. `make fuzz` runs them for long."""

from pathlib import Path

import pytest
from fuzz import circuits, finds, parsers, pipelines, planting
from fuzz.formats import FORMATS


@pytest.mark.parametrize("path", finds.kept(), ids=lambda path: path.name)
def test_a_find_stays_mended(path: Path, tmp_path: Path):
    assert finds.problem_of(path, tmp_path) is None


def test_readers_take_or_refuse_damaged_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names = [name for name in FORMATS if name not in ("design", "network", "image", "facts")]
    cases = parsers.Cases(0, names, tmp_path)
    tally = parsers.run(cases, lambda tally: tally.cases >= 600, lambda tally: None, chunk=600)
    assert tally.cases == 600
    assert 30 < tally.loaded < 570
    assert not tally.finds


def test_passes_keep_their_promises(tmp_path: Path):
    tally = pipelines.Tally()
    found = [pipelines.run_case(kind, 7, tally, tmp_path) for kind in pipelines.KINDS]
    assert found == [None] * 3
    assert tally.passes > 10


def test_programs_are_those_of_the_formulas():
    """By the golden model alone: other tests have the circuits of these kinds."""
    array = circuits.ARRAYS["ternary"]
    config = circuits.config_for(array, 4)
    made = [circuits.case_of(array, config, seed) for seed in range(4)]
    cases = [case for case in made if case is not None]
    assert cases
    assert [circuits.problem_of(case, None) for case in cases] == [None] * len(cases)


CASES = 40
"""Modules in which the bug of a pass is found; test runs found each of them within nine."""


@pytest.mark.slow
@pytest.mark.parametrize("name", planting.PASSES)
def test_a_bug_in_a_pass_is_found(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kind, tally = planting.plant_in_pass(name, monkeypatch), pipelines.Tally()
    cases = (pipelines.run_case(kind, seed, tally, tmp_path) for seed in range(CASES))
    find = next(found for found in cases if found is not None)
    assert find.pass_name.split("{")[0] == name
    (path,) = finds.keep_modules([find], tmp_path)
    assert finds.problem_of(path, tmp_path) is not None
    monkeypatch.undo()
    assert finds.problem_of(path, tmp_path) is None


@pytest.mark.slow
@pytest.mark.parametrize("unit", planting.UNITS)
def test_a_bug_in_a_unit_is_found(unit: str):
    name, simulator = planting.simulator_with(unit)
    tally = circuits.Tally()
    circuits.run_batch(name, range(8), tally, simulator)
    assert tally.finds


@pytest.mark.slow
@pytest.mark.parametrize("name", circuits.ARRAYS)
def test_random_programs_and_damaged_images_on_circuits(name: str):
    tally = circuits.fuzz(3, lambda tally: tally.programs >= 16, lambda tally: None, [name], 16)
    assert tally.programs >= 16
    assert tally.images + tally.accepted
    assert not tally.finds
