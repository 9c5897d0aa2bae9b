# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Bit vectors in linear form, and BTOR2, against integers.

Every expression is built twice: from numbers, and from unknowns that the solver then has to
find equal to these numbers' result.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daqkf.formal.bits import Bits, constant, ite, unknown
from daqkf.formal.btor2 import TransitionSystem
from daqkf.formal.claims import Claim, decide
from daqkf.support.errors import DaqkfError

A, B, C = (unknown(name, width) for name, width in (("a", 8), ("b", 8), ("c", 1)))

EXPRESSIONS = {
    "sum of sums": lambda a, b, c: (a.sext(9) + b.sext(9)).sext(20) + a.sext(20) * 3,
    "overflow": lambda a, b, c: (a + b).sext(12) - a.sext(12),
    "complement": lambda a, b, c: (~a).sext(16) + b.sext(16),
    "conditional complement": lambda a, b, c: (a ^ c.sext(8)).sext(10) + b.zext(10),
    "choice": lambda a, b, c: ite(c, a + 3, b).sext(11) << 2,
    "product": lambda a, b, c: (a.sext(16) * b.sext(16)).sext(20) + 5,
    "signs": lambda a, b, c: (a - b)[7:].concat(a - b) + a.sext(9),
    "wide signs": lambda a, b, c: (a.sext(9) * 2)[8:].concat(a.sext(9) * 2),
    "joined": lambda a, b, c: a.concat(b)[3:13].sext(14),
    "zeros below": lambda a, b, c: (a + b).concat(constant(0, 3)),
    "logic": lambda a, b, c: (a & ~b) | (a ^ b ^ 85),
    "comparisons": lambda a, b, c: a.ult(b).concat(a.ult(b, signed_too=True)).concat(a.eq(b)),
    "shifts": lambda a, b, c: (a << (b & 7)) + (a >> (b & 3)),
}


def holds(goal: Bits, given_: Bits) -> str:
    return decide(Claim("test", [goal], given_, lambda read: []), 20).verdict


@pytest.mark.parametrize("name", EXPRESSIONS)
@settings(max_examples=15, deadline=None)
@given(a=st.integers(0, 255), b=st.integers(0, 255), c=st.integers(0, 1))
def test_numbers_and_unknowns_agree(name: str, a: int, b: int, c: int):
    make = EXPRESSIONS[name]
    number = make(constant(a, 8), constant(b, 8), constant(c, 1))
    assert number.known
    here = A.eq(a) & B.eq(b) & C.eq(c)
    assert holds(make(A, B, C).eq(number), here) == "proved"
    assert holds(make(A, B, C).eq(number + 1), here) == "refuted"


def test_sums_have_one_form():
    one = (A.sext(9) + B.sext(9)).sext(12) + A.sext(12)
    other = A.sext(12).scaled(2) + B.sext(12)
    assert one == other
    assert (A + B).sext(12) != A.sext(12) + B.sext(12)  # these differ when eight bits overflow


def test_a_claim_that_takes_too_long_says_so():
    p, q = unknown("p", 40), unknown("q", 40)
    composite = (p.zext(80) * q.zext(80)).eq(1000000000039 * 1000000000061)
    claim = Claim("factors", [~composite | p.eq(1)], constant(1, 1), lambda read: [])
    answer = decide(claim, 0.2)
    assert answer.verdict == "timeout"
    assert answer.counterexample == ["no answer within 0.2 s"]


def test_btor2_steps_a_counter():
    text = """1 sort bitvec 4
2 sort bitvec 1
3 input 2 enable
4 state 1 count ; a comment
5 const 1 0011
6 add 1 4 5
7 ite 1 3 6 4
8 next 1 4 7
9 output 4 value
"""
    system = TransitionSystem(text)
    state, outputs = system.step({"count": constant(15, 4)}, {"enable": constant(1, 1)})
    assert state["count"].value == 2 and outputs["value"].value == 15
    state, _ = system.step(state, {"enable": constant(0, 1)})
    assert state["count"].value == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 sort array 2 3", "memory"),
        ("1 sort bitvec 1\n2 input 1 a\n3 srem 1 2 2", "'srem' is not supported"),
    ],
)
def test_btor2_that_no_circuit_of_ours_has_is_refused(text: str, message: str):
    with pytest.raises(DaqkfError, match=message):
        TransitionSystem(text)
