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
from daqkf.support.ir import make_context, parse_module

ROWS = 2
"""Of the tokens of an operation: the formulas take their time."""
WHOLE = ("spaq.attend",)
"""Operations that need all rows."""


class Second(Interpreter.Listener):
    """Computes operations again by the formulas."""

    def __init__(self, rows: int = ROWS) -> None:
        self.counts: Counter[str] = Counter()
        self._rows = rows
        self._expected: dict[Operation, list[Any]] = {}

    def will_interpret_op(self, op: Operation, args: PythonValues) -> None:
        if isinstance(op, ProductOp):
            lhs, rhs = (x[(0,) * (x.ndim - 2)] for x in args)
            product = np.array(formulas.real_product(op, lhs[: self._rows], rhs), np.float32)
            self._expected[op] = [product]
        elif op.name in formulas.RULES and op.name != "spaq.constant" and _integers(op):
            # Weights are whole, tokens are a few.
            constants = {n for n, v in enumerate(op.operands) if v.owner in self._constants(op)}
            rows = None if op.name in WHOLE else self._rows
            inputs = [
                x.tolist() if n in constants else x[:rows].tolist() for n, x in enumerate(args)
            ]
            self._expected[op] = [np.array(rows) for rows in formulas.apply(op, inputs)]

    def did_interpret_op(self, op: Operation, results: PythonValues) -> None:
        expected = self._expected.pop(op, None)
        if expected is None:
            return
        for found, rows in zip(results, expected, strict=True):
            if isinstance(op, ProductOp):
                found = found[(0,) * (found.ndim - 2)]
            np.testing.assert_array_equal(found[: len(rows)], rows.astype(found.dtype))
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


EXPONENTS = """
func.func @layer(%x: tensor<?x5xi20>) -> tensor<?x5xi27> {{
  %q, %e = spaq.requantize_rows %x multiplier dense<[1, 3, 9000, 77, 5]> : tensor<5xi32>
    shift dense<[1, 5, 20, 9, 4]> : tensor<5xi32> reach {reach}
    : tensor<?x5xi20> -> tensor<?x5xi8>, tensor<?x1xi8>
  %y = spaq.scale_rows %x, %e reach {reach}
    : (tensor<?x5xi20>, tensor<?x1xi8>) -> tensor<?x5xi27>
  func.return %y : tensor<?x5xi27>
}}
"""


@pytest.mark.parametrize("reach", [1, 3, 7])
def test_exponents_of_rows(reach: int):
    module = parse_module(make_context(), EXPONENTS.format(reach=reach), "exponents")
    # Rows of every size, and such as are just within the range of an exponent or just outside it.
    rng = np.random.default_rng(reach)
    sizes = 2.0 ** rng.uniform(0, 19, (200, 1))
    edges = [sign * (2**k + more) for k in range(18) for more in (-1, 0, 1) for sign in (1, -1)]
    rows = [rng.uniform(-1, 1, (200, 5)) * sizes, np.outer(edges, [1, 0, 0, 0, 0])]
    x = np.vstack(rows).astype(np.int32)
    second = Second(rows=len(x))
    call(module, entry(module), (x,), listeners=(second,))
    assert second.counts == {"spaq.requantize_rows": 1, "spaq.scale_rows": 1}
