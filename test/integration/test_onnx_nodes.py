# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""200 of ONNX's own tests of its operators; `make onnx-tests` runs all of them.

They are one test, because making ONNX's cases takes longer than running them, and every process
that knew their names would have to.
"""

from pathlib import Path

import numpy as np
import onnx_node_tests
import pytest
from onnx import TensorProto, helper
from onnx.backend.test.case.test_case import TestCase


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_operators_give_what_onnx_defines(tmp_path: Path):
    chosen = onnx_node_tests.sample(200)
    assert len({case.model.graph.node[0].op_type for case in chosen}) > 150
    outcomes = {case.name: onnx_node_tests.outcome(case, tmp_path) for case in chosen}
    assert {
        name: found for name, found in outcomes.items() if found.kind != onnx_node_tests.RIGHT
    } == {}


def made(operator: str, expected: list[float], domain: str = "") -> TestCase:
    kind = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"], domain=domain)],
        "g",
        [kind],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.example", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    x, y = np.array([-1, 1], np.float32), np.array(expected, np.float32)
    return TestCase("made", "made", None, None, model, [([x], [y])], "node", 1e-3, 1e-7)


def test_what_is_wrong_or_refused_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cases = [made("Abs", [1, 1]), made("Abs", [1, 1.1]), made("Foo", [1, 1], "com.example")]
    found = [onnx_node_tests.outcome(case, tmp_path) for case in cases]
    assert [outcome.kind for outcome in found] == ["right", "wrong", "refused"]
    assert found[2].reason.startswith("Foo 'Foo_0': com.example.Foo cannot be run (")
    known = {id(case): outcome for case, outcome in zip(cases, found, strict=True)}
    monkeypatch.setattr(onnx_node_tests, "outcome", lambda case, folder: known[id(case)])
    for chosen, code in ((cases[:1] * 33 + cases[2:], 0), (cases[:1] * 32 + cases[2:], 1)):
        monkeypatch.setattr(onnx_node_tests, "cases", lambda chosen=chosen: chosen)
        assert onnx_node_tests.main() == code
    monkeypatch.setattr(onnx_node_tests, "cases", lambda: cases[:1] * 33 + cases[1:2])
    assert onnx_node_tests.main() == 1
