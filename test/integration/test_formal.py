# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Proofs of the families' circuits, and bugs that they have to find."""

import sys

import pytest

from daqkf.cli.main import main
from daqkf.dialects.rpea.families import FAMILIES
from daqkf.errors import DaqkfError
from daqkf.formal import bits, prover
from daqkf.formal.mutations import BUGS, mutants
from daqkf.formal.prover import Circuit, Hunt, chosen, hunt, prove
from daqkf.formal.specs import SPECS, UNPROVED

PRODUCTS = ((2, 2),)


def test_every_family_has_a_specification():
    assert set(SPECS) | set(UNPROVED) == set(FAMILIES)
    assert not set(SPECS) & set(UNPROVED)


@pytest.mark.parametrize("family", SPECS)
def test_a_family_is_proved(family: str):
    answers = list(prove(Circuit(family, SPECS[family].circuits[0]), PRODUCTS))
    assert {answer.theorem: answer.verdict for answer in answers} == {
        "dot product, K = 2, |w| ≤ 2": "proved",
        **dict.fromkeys(("stall", "start", "step", "bubble", "finish"), "proved"),
    }


@pytest.mark.parametrize("family", SPECS)
def test_planted_bugs_are_found(family: str):
    hunts = list(hunt(family, limit=1, products=PRODUCTS))
    assert len(hunts) >= 3
    for item in hunts:
        assert item.found and item.answer.counterexample, item.bug
    assert any("weights" in line for item in hunts for line in item.answer.counterexample)


def test_mutants_differ_from_the_circuit_and_from_each_other():
    from daqkf.formal.datapath import build_datapath

    circuit = build_datapath(prover.array("running_sum", {}), "running_sum")
    texts = [str(mutant.circuit) for mutant in mutants(circuit)]
    assert len({str(circuit), *texts}) == len(texts) + 1
    kinds = {mutant.bug.split(":")[0] for mutant in mutants(circuit, 1)}
    assert kinds <= set(BUGS) and len(kinds) >= 5


def test_a_bug_that_is_not_found_fails_the_command(monkeypatch: pytest.MonkeyPatch, capsys):
    from daqkf.formal import command

    proved = prover.Answer("stall", "proved", 0.0)
    monkeypatch.setattr(command, "prove", lambda *args: [proved])
    monkeypatch.setattr(command, "hunt", lambda *args: [Hunt("a bug", proved)])
    assert main(["prove", "--family", "running_sum"]) == 1
    assert "NOT FOUND" in capsys.readouterr().out


def test_an_unknown_family_is_named():
    with pytest.raises(DaqkfError, match="unknown family 'abacus' \\(known: running_sum"):
        chosen(["abacus"])


def test_a_missing_solver_is_named(monkeypatch: pytest.MonkeyPatch, capsys):
    bits.solver_library.cache_clear()
    monkeypatch.setitem(sys.modules, "bitwuzla", None)
    assert main(["prove"]) == 1
    assert capsys.readouterr().err == "daqkf: Bitwuzla is missing: pip install bitwuzla\n"
    bits.solver_library.cache_clear()
