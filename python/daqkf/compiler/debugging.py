# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Where a compiled network differs from the float one: each kernel's results beside its own."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.interpreter import Interpreter, PythonValues
from xdsl.ir import Operation
from xdsl.traits import SymbolTable

from daqkf.compiler.design import run_passes
from daqkf.compiler.options import NetworkOptions
from daqkf.compiler.outlining import outlined
from daqkf.compiler.pipelines import fusion
from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn import LinearOp
from daqkf.hw_targets import load_target
from daqkf.passes.defaults import HOST_CYCLES
from daqkf.passes.nn_kernels import kernel_name
from daqkf.passes.nn_product import Inputs, in_order
from daqkf.passes.nn_scale import are_rows_scaled

_HEADINGS = ("kernel", "SQNR [dB]", "saturated", "least", "greatest", "greatest error")


@dataclass(frozen=True)
class KernelError:
    """How far a kernel's results are from those of the float network."""

    name: str
    sqnr: float
    """In dB: the energy of the float results over that of the difference."""
    saturated: float
    """The share of the kernel's activations that are beyond the range of their int8."""
    range: tuple[float, float]
    """The least and the greatest float result."""
    error: float
    """The greatest difference."""

    def cells(self) -> tuple[str, ...]:
        """The entries of its row, under `_HEADINGS`."""
        low, high = self.range
        return (
            self.name,
            f"{self.sqnr:.1f}",
            f"{self.saturated:.2%}",
            f"{low:.4g}",
            f"{high:.4g}",
            f"{self.error:.3g}",
        )


class KernelErrors(Sequence[KernelError]):
    """A row for each kernel, in the order in which they run; printed as a table."""

    def __init__(self, rows: Sequence[KernelError]):
        self._rows = tuple(rows)

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        rows = [_HEADINGS, *(row.cells() for row in self._rows)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if number else cell.ljust(width)
                for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        )

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(heading)}</th>" for heading in _HEADINGS)
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row.cells())}</tr>"
            for row in self._rows
        )
        return f"<table><tr>{head}</tr>{body}</table>"


@dataclass
class _Results(Interpreter.Listener):
    """The name and the results of each kernel, in the order in which they run."""

    found: list[tuple[str, NDArray[np.float64]]] = field(
        default_factory=list[tuple[str, NDArray[np.float64]]]
    )

    def did_interpret_op(self, op: Operation, results: PythonValues) -> None:
        """Keep what a kernel gave."""
        if isinstance(op, LinearOp):
            function = SymbolTable.lookup_symbol(op, op.callee)
            assert isinstance(function, FuncOp)
            self.found.append((kernel_name(function), np.asarray(results[0], np.float64)))


def kernel_errors(
    compiled: ModuleOp,
    target: str,
    source: str | Path | ModuleOp,
    inputs: Inputs,
    saturated: Mapping[str, float],
) -> KernelErrors:
    """Compare the kernels of a compiled network with those of the float one on the same inputs.

    Args:
        compiled: the network, with kernels of exact integers.
        target: what it is compiled for.
        source: the network that it was compiled from.
        inputs: by name.
        saturated: the share of each kernel's activations that saturate, by its name.

    Raises:
        ValueError: the networks have different kernels, or results of different shapes.
    """
    ours = _results_of(compiled, inputs)
    names = [name for name, _ in ours]
    for reference in _references(source, target, inputs if are_rows_scaled(compiled) else None):
        theirs = _results_of(reference, inputs)
        if names == [name for name, _ in theirs]:
            break
    else:
        raise ValueError(f"the network has other kernels than were compiled: {', '.join(names)}")
    rows: list[KernelError] = []
    for (name, found), (_, real) in zip(ours, theirs, strict=True):
        if found.shape != real.shape:
            raise ValueError(f"{name} gives {list(found.shape)}, not {list(real.shape)}")
        difference = found - real
        noise, energy = float((difference**2).sum()), float((real**2).sum())
        sqnr = 10 * math.log10(energy / noise) if noise and energy else math.inf
        limits = float(real.min()), float(real.max())
        rows.append(
            KernelError(
                name, sqnr, saturated.get(name, 0.0), limits, float(np.abs(difference).max())
            )
        )
    return KernelErrors(rows)


def _results_of(network: ModuleOp, inputs: Inputs) -> list[tuple[str, NDArray[np.float64]]]:
    """The name and the results of each kernel of a network, in the order in which they run."""
    function, listener = entry(network), _Results()
    call(network, function, in_order(function, inputs), (listener,))
    return listener.found


def _references(
    source: str | Path | ModuleOp, target: str, scaling: Inputs | None
) -> Iterator[ModuleOp]:
    """The float network, with its kernels fused in each way that a compilation may fuse them.

    Args:
        source: the network.
        target: what it was compiled for.
        scaling: inputs to scale rows by, if that was done.
    """
    options = NetworkOptions(scale_rows=scaling is not None)
    machine = load_target(target).machine
    for fuse, products in ((True, False), (False, False), (True, True)):
        network, _ = outlined(source, options, samples=lambda _: [scaling or {}])
        if fuse:
            run_passes(network, fusion(target, machine, HOST_CYCLES, products, None))
        yield network
