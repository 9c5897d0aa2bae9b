# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Proofs of the families' circuits, and bugs that they have to find."""

import sys
from collections.abc import Container, Iterable

import numpy as np
import pytest
from _pytest.mark import ParameterSet

from daqkf.cli.main import main
from daqkf.formal import bits, prover
from daqkf.formal.claims import Answer, Claim, decide
from daqkf.formal.datapath import TOP, build_datapath, transition_systems
from daqkf.formal.mutations import BUGS, mutants
from daqkf.formal.prover import (
    Circuit,
    Hunt,
    chosen,
    every_circuit,
    hunt,
    hunt_locator,
    indexed_circuits,
    planted_circuits,
    prove,
)
from daqkf.formal.spec import spec_of
from daqkf.formal.theorems import Bench
from daqkf.hw_targets import multiplication
from daqkf.hw_targets.families import FAMILIES
from daqkf.support.errors import DaqkfError

PRODUCTS = ((2, 2),)


def _slow(circuits: Iterable[Circuit], but: Container[str]) -> list[ParameterSet]:
    """Circuits by their labels; all but these are for `make slow`."""
    return [
        pytest.param(
            circuit,
            id=circuit.label,
            marks=[] if circuit.label in but else [pytest.mark.slow],
        )
        for circuit in circuits
    ]


QUICK = ("running_sum", "ternary")


@pytest.mark.parametrize("circuit", _slow(every_circuit(FAMILIES), but=QUICK))
def test_a_circuit_is_proved(circuit: Circuit):
    verdicts = {answer.theorem: answer.verdict for answer in prove(circuit, seconds=60)}
    assert set(verdicts.values()) == {"proved"}
    assert verdicts.keys() >= {"stall", "start", "step", "bubble", "finish"}
    assert sum(theorem.startswith("dot product") for theorem in verdicts) >= 2
    assert ("locate" in verdicts) == ("index_bits" in circuit.options)


@pytest.mark.parametrize("circuit", _slow(planted_circuits(FAMILIES), but=("running_sum",)))
def test_planted_bugs_are_found(circuit: Circuit):
    hunts = list(hunt(circuit, limit=1, products=PRODUCTS))
    assert len(hunts) >= 3
    for item in hunts:
        assert item.found and item.answer.counterexample, item.bug
    assert any("weights" in line for item in hunts for line in item.answer.counterexample)


INDEXED = indexed_circuits(FAMILIES)
SHORT = [circuit.label for circuit in INDEXED if circuit.family != "ordered_sum"]


@pytest.mark.parametrize("circuit", _slow(INDEXED, but=SHORT))
def test_bugs_in_addresses_are_found(circuit: Circuit):
    hunts = list(hunt_locator(circuit, limit=None))
    assert len(hunts) >= 9
    for item in hunts:
        assert item.found and item.answer.counterexample, item.bug
    assert any("expected" in line for item in hunts for line in item.answer.counterexample)


@pytest.mark.slow
def test_a_booth_lane_yields_all_products():
    """One query for all 2^16, against the numbers of the surplus by weight."""
    config = prover.array("dense", {})
    system = transition_systems(build_datapath(config, "dense"), [TOP])[TOP]
    bench = Bench("dense", config, spec_of("dense"), system)
    word = bench.known({"last": 1}) | {
        "weight0": bits.unknown("w", multiplication.DENSE_BITS),
        "row0": bits.unknown("x", config.row_bits),
    }
    started = bench.bubbles(bench.cycle(bench.empty, start=1), bench.depth)
    (found,) = bench.held(bench.after(started, word))
    weights = np.arange(-128, 128)
    surplus = bits.constant(0, found.width)
    for weight, number in zip(
        weights.tolist(), multiplication.surplus(weights, 8, "booth").tolist(), strict=True
    ):
        known = bits.constant(number, found.width)
        surplus = bits.ite(word["weight0"].eq(weight), known, surplus)
    product = word["weight0"].sext(found.width) * word["row0"].sext(found.width)

    def answer(expected: bits.Bits) -> str:
        claim = Claim("products", [found.eq(expected)], bits.constant(1, 1), lambda read: [])
        return decide(claim, seconds=60).verdict

    assert answer(product + surplus) == "proved"
    corner = word["weight0"].eq(-128) & word["row0"].eq(-128)
    assert answer(product + surplus + corner.zext(found.width)) == "refuted"


@pytest.mark.parametrize(
    "signed",
    [-128, 0, 77, *(pytest.param(n, marks=pytest.mark.slow) for n in (-127, -2, -1, 1, 127))],
)
def test_linear_forms_keep_what_slices_and_concatenations_mean(signed: int):
    """Products taken apart and put together again, against Python's integers."""
    x = bits.unknown("x", 8)
    product = x.sext(20) * signed + 5 * signed
    pair = (~x[7:]).concat(x[:7])  # x + 128, unsigned
    whole = pair.zext(20) + 3
    forms = {
        "upper": (product[6:], lambda n: (n * signed + 5 * signed) >> 6),
        "middle": (product[3:9], lambda n: (n * signed + 5 * signed) >> 3),
        "sign": (product[19:], lambda n: (n * signed + 5 * signed) >> 19),
        "joined": (
            (product[4:] + x.sext(16)).concat(product[:4]),
            lambda n: n * (signed + 16) + 5 * signed,
        ),
        "unsigned": ((whole[2:] + x.sext(18)).concat(whole[:2]), lambda n: n + 131 + 4 * n),
        "doubled": ((~x[7:]).concat(x[:7]).concat(bits.constant(1, 1)), lambda n: 2 * n + 257),
        "signed above": (x.concat(x.zext(12)), lambda n: (n << 12) + (n & 0xFF)),
        "middle of a multiple": (
            (x.concat(pair.zext(12)).sext(24) * 4099)[12:],
            lambda n: ((n << 12) + n + 128) * 4099 >> 12,
        ),
        "packed": (x[7:].concat(x[:7].concat(pair.zext(12))), lambda n: (n << 12) + n + 128),
    }
    for name, (form, number) in forms.items():
        table = bits.constant(0, form.width)
        for n in range(-128, 128):
            table = bits.ite(x.eq(n), bits.constant(number(n), form.width), table)
        claim = Claim(name, [form.eq(table)], bits.constant(1, 1), lambda read: [str(read(x))])
        assert decide(claim, seconds=20).verdict == "proved", name


@pytest.mark.slow
def test_mutants_differ_from_the_circuit_and_from_each_other():
    circuit = build_datapath(prover.array("running_sum", {}), "running_sum")
    texts = [str(mutant.circuit) for mutant in mutants(circuit)]
    assert len({str(circuit), *texts}) == len(texts) + 1
    kinds = {mutant.bug.split(":")[0] for mutant in mutants(circuit, 1)}
    assert kinds <= set(BUGS) and len(kinds) >= 5


def test_a_bug_that_is_not_found_fails_the_command(monkeypatch: pytest.MonkeyPatch, capsys):
    from daqkf.formal import command

    proved = Answer("stall", "proved", 0.0)
    monkeypatch.setattr(command, "prove", lambda *args, **options: [proved])
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
    assert capsys.readouterr().err == "daqkf: bitwuzla is missing: pip install 'daqkf[formal]'\n"
    bits.solver_library.cache_clear()
