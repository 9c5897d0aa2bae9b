# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""ONNX's own tests of its operators, as networks that people run.

    python test/onnx_node_tests.py     # all of them: `make onnx-tests`

Each test is a model of a few nodes, with inputs and the outputs that ONNX defines. The model is
written to a file, read into `nn`, and run: as it is, and once more with the passes that
`daqkf.compile` runs before it calibrates. So what is compared are the networks in floating point;
the array's integers are not within tolerances like these.
"""

import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from daqkf.compiler.design import run_passes
from daqkf.compiler.formats import load_network
from daqkf.compiler.pipelines import OUTLINE
from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn.operators import RANDOM, nodes_of
from daqkf.support.errors import EXPECTED, describe

RIGHT, WRONG, REFUSED = "right", "wrong", "refused"

LEAST = 0.97
"""The share of tests that must be right."""

_ULPS = {"bfloat16": 2**-6}
"""Tolerances of types that are coarser than what the tests allow, as ONNX's own runner has them."""


@dataclass(frozen=True)
class Outcome:
    """What came of a test, and why."""

    kind: str
    reason: str = ""


@cache
def cases() -> list[Any]:
    """All tests, by name."""
    from onnx.backend.test.loader import load_model_tests

    return sorted(load_model_tests(kind="node"), key=lambda case: case.name)


def sample(count: int) -> list[Any]:
    """So many of them: the first of each operator, the second of each, and so on."""
    groups: defaultdict[str, list[Any]] = defaultdict(list)
    for case in cases():
        groups[case.model.graph.node[0].op_type].append(case)
    rounds = zip_longest(*(groups[name] for name in sorted(groups)))
    return [case for cases in rounds for case in cases if case is not None][:count]


def outcome(case: Any, folder: Path) -> Outcome:
    """Whether the outputs of a test are those of the network that its model becomes."""
    path = folder / f"{case.name}.onnx"
    path.write_bytes(case.model.SerializeToString())
    try:
        for number, found in enumerate(_outputs(path, case)):
            _, expected = case.data_sets[number % len(case.data_sets)]
            check(case, [_value(value) for value in expected], found)
    except AssertionError as error:
        return Outcome(WRONG, " ".join(str(error).split())[:200])
    except EXPECTED as error:
        return Outcome(REFUSED, describe(error).removeprefix(f"{path}: "))
    finally:
        path.unlink()
    return Outcome(RIGHT)


def _outputs(path: Path, case: Any) -> Iterator[Sequence[Any]]:
    """The outputs of all data sets, of the network as it is read and as it is compiled."""
    network = load_network(path)
    for passes in ((), OUTLINE):
        if passes:
            run_passes(network, passes)
        for inputs, _ in case.data_sets:
            yield call(network, entry(network), [_value(value) for value in inputs])


def _value(given: Any) -> Any:
    """A value of a test as a network takes it: an array, a list of them, or None."""
    from onnx import OptionalProto, SequenceProto, TensorProto, numpy_helper

    match given:
        case None:
            return None
        case TensorProto():
            return numpy_helper.to_array(given)
        case SequenceProto():
            return numpy_helper.to_list(given)
        case OptionalProto():
            return numpy_helper.to_optional(given)
        case list() | tuple():
            return [_value(value) for value in given]
        case _:
            return np.asarray(given)


def check(case: Any, expected: Any, found: Any) -> None:
    """Compare values with those of a test, within its tolerances.

    Of operators that draw random numbers, shapes and types are compared.
    """
    if isinstance(expected, list):
        assert isinstance(found, list | tuple), "a list is expected"
        assert len(found) == len(expected), f"{len(found)} values, not {len(expected)}"
        for mine, theirs in zip(found, expected, strict=True):
            check(case, theirs, mine)
        return
    if expected is None or found is None:
        assert found is expected, "one of two values is absent"
        return
    assert isinstance(found, np.ndarray), f"a {type(found).__name__}, not an array"
    assert found.shape == expected.shape, f"shape {found.shape}, not {expected.shape}"
    if expected.dtype.kind in "OUS":
        assert found.tolist() == expected.astype(object).tolist(), "other strings"
        return
    if expected.dtype.name in ("int4", "uint4"):
        expected = expected.astype(found.dtype)  # which has them in bytes, where `nn` computes them
    assert found.dtype == expected.dtype, f"{found.dtype}, not {expected.dtype}"
    if any(node.op_type in RANDOM for node in nodes_of(case.model.graph)):
        return
    tolerance = max(case.rtol, _ULPS.get(found.dtype.name, 0))
    if expected.dtype.isbuiltin != 1:
        found, expected = found.astype(np.float32), expected.astype(np.float32)
    np.testing.assert_allclose(found, expected, tolerance, case.atol)


def main() -> int:
    """Run all tests; returns the exit code, 0 if enough of them are right and none is wrong."""
    start, counts = time.monotonic(), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(cases(), start=1):
            found = outcome(case, Path(folder))
            counts[found.kind] += 1
            if found.kind != RIGHT:
                print(f"{found.kind}: {case.name}: {found.reason}", flush=True)
            if not number % 200 or number == len(cases()):
                print(f"{number} of {len(cases())}, {time.monotonic() - start:.0f} s", flush=True)
    print(", ".join(f"{counts[kind]} {kind}" for kind in (RIGHT, WRONG, REFUSED)))
    return int(counts[WRONG] > 0 or counts[RIGHT] < LEAST * len(cases()))


if __name__ == "__main__":
    sys.exit(main())
