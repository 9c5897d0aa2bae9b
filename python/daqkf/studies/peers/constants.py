# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Circuits of da4ml: products with a constant matrix as trees of adders, a result each cycle.

C. Sun et al., "da4ml: Distributed Arithmetic for Real-time Neural Networks on FPGAs", 2025. The
weights are wired into the circuit, and what outputs have in common is added once.
"""

import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.errors import from_extra
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.runtime.simulator import verilate
from daqkf.support.errors import DaqkfError

TOP = "peer"
_WRAPPER = f"{TOP}_wrapper"
"""Around the top module; the fields of its ports all have the same width."""
ADDERS = 2
"""That follow one another between two registers."""
_HARNESS = Path(__file__).with_name("constant_harness.cpp")
_SIMULATED = ("--cc", "-O3", "--noassert", "-Wno-fatal", "--output-split", "0")
_DEEPEST = 64
"""Cycles behind the last row, in which results are looked for."""


@dataclass(frozen=True)
class ConstantCircuit:
    """A pipeline that multiplies int8 rows by a constant matrix."""

    files: Mapping[str, str]
    """Verilog by file name; the top module is `TOP`."""
    wrapper: str
    """Verilog of `_WRAPPER`."""
    steps: NDArray[np.float64]
    """What the least significant bit of each output is worth, [N]."""
    signed: bool
    """Whether an output can be negative."""
    seconds: float
    """CPU time in which it was made."""


def constant_circuit(levels: NDArray[np.integer[Any]]) -> ConstantCircuit:
    """The circuit of da4ml for a matrix [K, N] of integers.

    Raises:
        DaqkfError: da4ml is not installed, or failed.
    """
    with from_extra("peers"):
        from da4ml.codegen import RTLModel  # pyright: ignore
        from da4ml.trace import FixedVariableArrayInput, HWConfig, comb_trace  # pyright: ignore

    features = len(levels)
    start = time.process_time()
    # What an adder costs are its bits.
    inputs: Any = FixedVariableArrayInput((features,), hwconf=HWConfig(1, -1, -1))
    ones = np.ones(features, np.int64)
    x = inputs.quantize(ones, (ACTIVATION_BITS - 1) * ones, 0 * ones)
    with tempfile.TemporaryDirectory(prefix="daqkf-") as folder:
        try:
            logic: Any = comb_trace(inputs, x @ levels.astype(np.float64))
            RTLModel(logic, TOP, folder, latency_cutoff=ADDERS, print_latency=False).write()
        except (AssertionError, RuntimeError, ValueError) as error:
            raise DaqkfError(f"da4ml failed: {error}") from None
        seconds = time.process_time() - start
        texts = {path.name: path.read_text() for path in sorted(Path(folder, "src").rglob("*.v"))}
    wrapper = texts.pop(f"{_WRAPPER}.v")
    outputs = [(entry.min, entry.step) for entry in logic.out_qint]
    return ConstantCircuit(
        _used(texts),
        wrapper,
        np.array([step for _, step in outputs]),
        any(least < 0 for least, _ in outputs),
        seconds,
    )


def _used(texts: Mapping[str, str]) -> dict[str, str]:
    """The files of modules that are used; one of the others reads a table that is not there."""
    own = [text for name, text in texts.items() if name.startswith(TOP)]
    return {
        name: text
        for name, text in texts.items()
        if name.startswith(TOP) or any(re.search(rf"\b{name[:-2]}\b", user) for user in own)
    }


def simulated(
    circuit: ConstantCircuit, x: NDArray[np.int8], expected: NDArray[np.int64]
) -> int | None:
    """The cycles from a row of [T, K] to its results, which are `expected` [T, N].

    A row enters each cycle. None if other results leave.

    Raises:
        SimulationError, ToolNotFoundError: Verilator failed or is missing.
    """
    sources = {
        **circuit.files,
        f"{_WRAPPER}.v": circuit.wrapper,
        _HARNESS.name: _HARNESS.read_text(encoding="utf-8"),
    }
    binary = verilate(sources, _WRAPPER)
    cycles = len(x) + _DEEPEST
    with tempfile.TemporaryDirectory(prefix="daqkf-") as folder:
        x.tofile(Path(folder, "x"))
        command = [binary, "x", "y", str(x.shape[1]), str(cycles)]
        run = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
        rows = np.fromfile(Path(folder, "y"), np.uint8).reshape(cycles, int(run.stdout))
    found = _fields(circuit, rows)
    for delay in range(_DEEPEST):
        if np.array_equal(found[delay : delay + len(x)], expected):
            return delay + 1
    return None


def _fields(circuit: ConstantCircuit, rows: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The outputs [cycles, N] in rows of bytes."""
    port = re.search(r"output\s+\[(\d+):0\]\s+model_out", circuit.wrapper)
    assert port is not None
    outputs = len(circuit.steps)
    width = (int(port[1]) + 1) // outputs
    bits = np.unpackbits(rows, axis=1, bitorder="little")[:, : outputs * width]
    values = bits.reshape(len(rows), outputs, width).astype(np.int64) @ (1 << np.arange(width))
    if circuit.signed:
        values -= (values >> (width - 1)) << width
    return values * int(circuit.steps.min())
