# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Claims that the solver is asked to prove, and its answers."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from daqkf.formal.bits import Bits, constant, manager, solver_library, term

type Reader = Callable[[Bits], int]
"""A function that gives the unsigned value of bits in a counterexample."""


@dataclass(frozen=True)
class Claim:
    """A statement to prove: `given` implies every goal, for all values of the unknowns."""

    theorem: str
    goals: Sequence[Bits]
    """One bit for each goal."""
    given: Bits
    """One bit: the assumption."""
    explain: Callable[[Reader], list[str]]
    """A function that describes a counterexample in lines of text."""


@dataclass(frozen=True)
class Answer:
    """The result for a claim."""

    theorem: str
    verdict: str
    """`proved`, `refuted` or `timeout`."""
    seconds: float
    counterexample: Sequence[str] = ()


def decide(claim: Claim, seconds: float) -> Answer:
    """Prove or refute a claim; each goal may take `seconds`."""
    start = time.monotonic()
    for goal in claim.goals:
        against = claim.given & ~goal
        if against.known and not against.value:
            continue
        verdict, lines = _search(claim, against, seconds)
        if verdict != "proved":
            return Answer(claim.theorem, verdict, time.monotonic() - start, lines)
    return Answer(claim.theorem, "proved", time.monotonic() - start)


def _search(claim: Claim, against: Bits, seconds: float) -> tuple[str, list[str]]:
    library = solver_library()
    options = library.Options()
    options.set(library.Option.PRODUCE_MODELS, True)
    options.set(library.Option.TIME_LIMIT_PER, int(seconds * 1000))
    solver = library.Bitwuzla(manager(), options)
    solver.assert_formula(term("EQUAL", [against.term, constant(1, 1).term]))
    result = solver.check_sat()
    if result == library.Result.UNSAT:
        return "proved", []
    if result != library.Result.SAT:
        return "timeout", [f"no answer within {seconds:g} s"]

    def read(bits: Bits) -> int:
        return bits.value if bits.known else int(solver.get_value(bits.term).value(2), 2)

    return "refuted", claim.explain(read)


def merged(theorem: str, claims: Iterable[Claim], seconds: float) -> Answer:
    """Decide claims in turn until one is not proved, and make one answer for the theorem."""
    start = time.monotonic()
    for claim in claims:
        answer = decide(claim, seconds)
        if answer.verdict != "proved":
            return replace(answer, theorem=theorem, seconds=time.monotonic() - start)
    return Answer(theorem, "proved", time.monotonic() - start)
