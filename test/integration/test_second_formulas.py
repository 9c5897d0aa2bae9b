# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Real networks, each integer operation of which is held against formulas that share no code."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fuzz import formulas
from xdsl.interpreter import Interpreter, PythonValues
from xdsl.ir import Operation

import daqkf
from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn import ProductOp
from daqkf.studies.minilm.export_onnx import export_minilm
from daqkf.studies.minilm.model import MiniLM, load_sentences

ROWS = 2
"""Of the tokens of an operation: the formulas take their time."""
WHOLE = ("spaq.attend",)
"""Operations that need all rows."""


class Second(Interpreter.Listener):
    """Computes operations again by the formulas."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._expected: dict[Operation, Any] = {}

    def will_interpret_op(self, op: Operation, args: PythonValues) -> None:
        if isinstance(op, ProductOp):
            lhs, rhs = (x[(0,) * (x.ndim - 2)] for x in args)
            self._expected[op] = np.array(formulas.real_product(op, lhs[:ROWS], rhs), np.float32)
        elif op.name in formulas.RULES and op.name != "spaq.constant" and _integers(op):
            # Weights are whole, tokens are a few.
            constants = {n for n, v in enumerate(op.operands) if v.owner in self._constants(op)}
            rows = None if op.name in WHOLE else ROWS
            inputs = [
                x.tolist() if n in constants else x[:rows].tolist() for n, x in enumerate(args)
            ]
            self._expected[op] = np.array(formulas.apply(op, inputs))

    def did_interpret_op(self, op: Operation, results: PythonValues) -> None:
        expected = self._expected.pop(op, None)
        if expected is None:
            return
        found = results[0]
        if isinstance(op, ProductOp):
            found = found[(0,) * (found.ndim - 2)]
        np.testing.assert_array_equal(found[: len(expected)], expected.astype(found.dtype))
        self.counts[op.name] += 1

    @staticmethod
    def _constants(op: Operation) -> set[Any]:
        return {v.owner for v in op.operands if getattr(v.owner, "name", "") == "spaq.constant"}


def _integers(op: Operation) -> bool:
    """Whether an operation has integers on one side."""
    kinds = [str(value.type) for value in (*op.operands, *op.results)]
    return any("f32" not in kind for kind in kinds)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "needed"),
    [
        ("wide", ("nn.product", "spaq.matmul", "spaq.requantize", "spaq.activation")),
        ("wide-norm", ("spaq.attend", "spaq.normalize", "spaq.residual", "spaq.matmul")),
    ],
)
def test_a_layer_of_minilm(target: str, needed: tuple[str, ...], tmp_path: Path):
    minilm = MiniLM.load()
    ids, mask = minilm.tokenize(load_sentences()[:1])
    path = tmp_path / "model.onnx"
    onnx.save(export_minilm(minilm, layers=1), path)
    inputs = {"input_ids": ids, "attention_mask": mask}
    network = daqkf.compile(
        path, target=target, products=True, max_tokens=16, sparsity=0.8, calibration=inputs
    )
    second = Second()
    function = entry(network.network)
    arguments = [inputs[name] for name in network.inputs]
    call(network.network, function, arguments, listeners=(second,))
    assert all(second.counts[name] for name in needed), second.counts
