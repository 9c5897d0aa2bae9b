# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Plans against the interpreter, and the places that their errors name."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.utils.exceptions import InterpretationError

from daqkf.dialects.interpreting import call
from daqkf.dialects.plans import Plan
from daqkf.support.ir import make_context, parse_module

ROWS, ROW = "tensor<?x4xf32>", "tensor<?x1xf32>"
NETWORK = f"""
func.func @main(%x: {ROWS}, %y: {ROWS}) -> ({ROWS}, {ROW}) {{
  %half = nn.constant dense<5.0e-01> : tensor<f32>
  %sum = nn.elementwise add %x, %y {{node = "sum"}} : ({ROWS}, {ROWS}) -> {ROWS}
  %scaled = nn.elementwise mul %sum, %half : ({ROWS}, tensor<f32>) -> {ROWS}
  %most = nn.reduce max %scaled {{axes = array<i64: -1>, keep}} : ({ROWS}) -> {ROW}
  %steps = nn.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %parts = nn.elementwise div %scaled, %steps {{node = "parts"}} : ({ROWS}, tensor<4xf32>) -> {ROWS}
  return %parts, %most : {ROWS}, {ROW}
}}
"""


@pytest.fixture(scope="module")
def network() -> ModuleOp:
    return parse_module(make_context(), NETWORK, "network")


def main_of(network: ModuleOp) -> FuncOp:
    function = network.body.block.first_op
    assert isinstance(function, FuncOp)
    return function


def rows(count: int) -> Any:
    return np.random.default_rng(count).normal(size=(count, 4)).astype(np.float32)


def test_a_plan_computes_what_the_interpreter_does(network: ModuleOp):
    function = main_of(network)
    plan = Plan(network, function)
    for count in (1, 5, 0):
        given = rows(count), rows(count)[::-1]
        for found, wanted in zip(plan(*given), call(network, function, given), strict=True):
            assert found.dtype == wanted.dtype
            np.testing.assert_array_equal(found, wanted)


def test_a_run_may_keep_some_rows(network: ModuleOp):
    function = main_of(network)
    given, kept = (rows(5), rows(5)), np.array([1, 4])
    scaled = next(op.results[0] for op in function.body.block.ops if "mul" in str(op))
    plan = Plan(network, function, cut=scaled)
    for found, whole in zip(plan(*given, rows=kept), plan(*given), strict=True):
        np.testing.assert_array_equal(found, whole[kept])


@pytest.mark.parametrize("cut", [False, True])
def test_an_error_names_the_operation(network: ModuleOp, cut: bool):
    function = main_of(network)
    value = next(op.results[0] for op in function.body.block.ops if "mul" in str(op))
    plan = Plan(network, function, cut=value if cut else None)
    with pytest.raises(InterpretationError, match=r"^'sum': operands could not be broadcast"):
        plan(rows(3), rows(2))
    if cut:
        with pytest.raises(InterpretationError, match=r"^'parts': operands could not be broadcast"):
            plan(rows(8), rows(8), rows=np.s_[:, :3])


CALLED = f"""
func.func private @kernel(%x: {ROWS}) -> {ROWS} {{
  %weights = spaq.constant dense<0.5> : tensor<4x4xf32>
  %sums = spaq.matmul %x, %weights : ({ROWS}, tensor<4x4xf32>) -> {ROWS}
  %more = spaq.matmul %sums, %weights : ({ROWS}, tensor<4x4xf32>) -> {ROWS}
  return %more : {ROWS}
}}
func.func @main(%x: {ROWS}) -> {ROWS} {{
  %y = nn.linear @kernel %x : ({ROWS}) -> {ROWS}
  return %y : {ROWS}
}}
"""


@pytest.fixture
def often_switching() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("often_switching")
def test_threads_do_not_see_one_anothers_values():
    module = parse_module(make_context(), CALLED, "called")
    *_, function = (op for op in module.ops if isinstance(op, FuncOp))
    plan = Plan(module, function)

    def wrong(count: int) -> int:
        given = rows(count)
        (wanted,) = call(module, function, (given,))
        return sum(not np.array_equal(plan(given)[0], wanted) for _ in range(300))

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(wrong, (3, 4, 4))) == [0, 0, 0]
