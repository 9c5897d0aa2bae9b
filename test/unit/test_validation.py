# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Translation validation: what passes promise, and how what breaks a promise is reduced."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from nn_networks import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, f32
from xdsl.passes import ModulePass

from daqkf.compiler.validation import (
    Promise,
    Validator,
    decibels,
    differ,
    functions_of,
    inputs_of,
    promise_of,
)
from daqkf.dialects.dense import from_array
from daqkf.dialects.nn import ConstantOp, ElementwiseOp
from daqkf.passes.nn_outline import NnOutlinePass
from daqkf.passes.spaq_prune import SpaqPrunePass
from daqkf.support.ir import make_context, parse_module

LAYER = """
func.func @layer(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %c = spaq.calibrated %x absmax 0.5 : tensor<?x2xf32> -> tensor<?x2xf32>
  %w = spaq.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>
  %0 = spaq.matmul %c, %w : (tensor<?x2xf32>, tensor<2x1xf32>) -> tensor<?x1xf32>
  func.return %0 : tensor<?x1xf32>
}
"""


@dataclass(frozen=True)
class Doubled(ModulePass):
    """A faulty pass: what tanh reads becomes twice as much."""

    name = "doubled"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for found in list(op.walk()):
            if isinstance(found, ElementwiseOp) and found.kind.data == "tanh":
                (value,) = found.inputs
                twice = ElementwiseOp("add", [value, value], value.type)
                assert found.parent is not None
                found.parent.insert_op_before(twice, found)
                found.operands[0] = twice.results[0]


@dataclass(frozen=True)
class Rounded(ModulePass):
    """One that is to change levels, and changes weights by so much."""

    name = "spaq-quantize"
    kind: str = "uniform"
    by: float = 0.0

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for found in op.walk():
            if found.name == "spaq.constant":
                values: Any = found.array()  # pyright: ignore
                found.properties["value"] = from_array(values * np.float32(1 + self.by), f32)


def network() -> ModuleOp:
    """Two layers beside one another, with a tanh behind the sum."""
    rng = np.random.default_rng(0)
    builder = Builder((2, 4))
    one, other = (
        builder.layer(builder.inputs[0], rng.standard_normal((4, 3)).astype(np.float32), None, f)
        for f in ("relu", None)
    )
    total = builder.apply("add", one, other)
    return builder.module(builder.apply("mul", builder.apply("tanh", total), 3.0))


def found_by(step: ModulePass, module: ModuleOp) -> Any:
    before = module.clone()
    step.apply(make_context(), module)
    return Validator().after(step, before, module)


def test_a_faulty_pass_is_named_with_what_shows_it():
    found = found_by(Doubled(), network())
    assert str(found).startswith("doubled changes a result of @main: result 0[")
    kinds = [op.name for op in functions_of(found.module)[0].body.block.ops]
    assert kinds == ["nn.constant", "nn.matmul", "nn.elementwise", "func.return"]
    (x,) = found.inputs
    assert np.count_nonzero(x) <= 2
    again = parse_module(make_context(), found.report(), "report")
    assert found_by(Doubled(), again) is not None


def test_a_right_pass_is_not():
    assert found_by(NnOutlinePass(), network()) is None


@pytest.mark.parametrize(("by", "differs"), [(0.001, False), (0.9, True)])
def test_levels_are_held_against_an_sqnr(by: float, differs: bool):
    found = found_by(Rounded(by=by), parse_module(make_context(), LAYER, "layer"))
    assert (found is not None) == differs
    assert not differs or "dB" in str(found)


def test_pruned_weights_are_what_they_were_or_zero():
    module = parse_module(make_context(), LAYER, "layer")
    step = SpaqPrunePass(0.5)
    assert promise_of(step, module)[0] is Promise.ZEROS
    before = module.clone()
    step.apply(make_context(), module)
    assert Validator().after(step, before, module) is None
    for op in module.walk():
        if op.name == "spaq.constant":
            op.properties["value"] = from_array(np.array([[1.0], [3.0]], np.float32), f32)
    found = Validator().after(step, before, module)
    assert found is not None
    assert "neither what they were nor zero" in str(found)


def test_what_cannot_run_is_remarked():
    text = "func.func @f(%x: tensor<*xf32>) -> tensor<*xf32> { func.return %x : tensor<*xf32> }"
    module, remarks = parse_module(make_context(), text, "f"), list[tuple[str, str]]()
    step = NnOutlinePass()
    validator = Validator(remark=lambda *remark: remarks.append(remark))
    assert validator.after(step, module.clone(), module) is None
    ((name, text),) = remarks
    assert (name, text[:39]) == ("nn-outline", "not validated: @f cannot run: an argume")


def test_inputs_are_within_the_ranges_that_are_stated():
    (function,) = functions_of(parse_module(make_context(), LAYER, "layer"))
    for seed in range(20):
        (x,) = inputs_of(function, seed)
        assert x.shape == (5, 2)
        assert np.abs(x).max() <= 0.5


@pytest.mark.parametrize(
    ("before", "after", "promise", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0005], Promise.SAME, None),
        ([1.0, 2.0], [1.0, 2.0005], Promise.EXACT, "result 0[1]: 2.0 became 2.0005"),
        ([1.0, 2.0], [1.0, 2.1], Promise.SAME, "result 0[1]: 2.0 became 2.1"),
        ([1.0, np.nan], [1.0, np.nan], Promise.EXACT, None),
        ([1.0, 2.0], [1.0, np.inf], Promise.SAME, "result 0[1]: 2.0 became inf"),
        ([1, 2], [1, 3], Promise.LEVELS, "result 0[1]: 2 became 3"),
        ([1.0, 2.0], [[1.0, 2.0]], Promise.SAME, "result 0: 2 of float32 became 1x2 of float32"),
    ],
)
def test_results_differ(before: Any, after: Any, promise: Promise, expected: str | None):
    def array(values: Any) -> Any:
        found = np.array(values)
        return found.astype(np.float32) if found.dtype.kind == "f" else found

    assert differ([array(before)], [array(after)], promise, 12.0) == expected


def test_decibels():
    ones = np.ones(100, np.float32)
    assert decibels(ones, ones) == np.inf
    assert abs(decibels(ones, ones * np.float32(1.1)) - 20) < 0.01
    assert decibels(0 * ones, ones) == -np.inf


def test_constants_are_no_functions():
    assert not functions_of(ModuleOp([ConstantOp(from_array(np.ones(1, np.float32), f32))]))
