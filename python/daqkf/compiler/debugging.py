# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Where a compiled network differs from the float one: each kernel's results beside its own."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.interpreter import Interpreter, PythonValues
from xdsl.ir import Operation

from daqkf.compiler.options import NetworkOptions
from daqkf.compiler.outlining import fuse, outlined
from daqkf.dialects.dense import to_array
from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn import LinearOp, MatmulOp
from daqkf.dialects.nn.base import HOST
from daqkf.dialects.spaq import MatmulOp as SpaqMatmulOp
from daqkf.dialects.spaq.ops import defining_constant
from daqkf.hw_targets import load_target
from daqkf.passes.nn_kernels import kernel_name, kernel_of
from daqkf.passes.nn_outline import layer_name
from daqkf.passes.nn_product import Inputs, in_order, in_parts
from daqkf.passes.nn_scale import Scales, scalable

if TYPE_CHECKING:
    from rich.table import Table

SATURATION = 0.01
"""The share of a kernel's activations beyond their range that is worth a warning."""

LOW, DROP = 20.0, 3.0
"""An SQNR in dB below which accuracy is low, and what a kernel loses that stands out."""

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

    def table(self) -> "Table":
        """A row for each kernel."""
        from rich.table import Table
        from rich.text import Text

        shown = Table(caption="least and greatest: of the float results")
        for number, heading in enumerate(_HEADINGS):
            shown.add_column(Text(heading), justify="right" if number else "left")
        for row in self._rows:
            shown.add_row(*map(Text, row.cells()))
        return shown

    def hints(self) -> list[str]:
        """What the figures say about where accuracy gets lost, and what helps."""
        found = [
            f"{row.saturated:.1%} of what {row.name} reads saturates: was the network calibrated "
            "on such data?"
            for row in self._rows
            if row.saturated >= SATURATION
        ]
        best = math.inf
        for row in self._rows:
            if row.sqnr < LOW and row.sqnr < best - DROP:
                found.append(f"accuracy gets lost at {row.name}, which has {row.sqnr:.1f} dB")
            best = min(best, row.sqnr)
        if best >= LOW:
            return found or [f"every kernel keeps {LOW:g} dB or more"]
        return [
            *found,
            "calibrate on more data, compile with more levels, scale rows (--scale-rows) if they "
            "are of very different sizes, or leave kernels to the host (--fallback DB)",
        ]

    def facts(self) -> list[dict[str, Any]]:
        """The figures, JSON-able; an SQNR of results without any error is null."""
        return [
            {**asdict(row), "sqnr": row.sqnr if math.isfinite(row.sqnr) else None}
            for row in self._rows
        ]

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
            name = kernel_name(kernel_of(op))
            self.found.append((name, np.asarray(results[0], np.float64)))


def kernel_errors(
    compiled: ModuleOp,
    options: NetworkOptions,
    source: str | Path | ModuleOp,
    inputs: Inputs,
    saturated: Mapping[str, float],
) -> KernelErrors:
    """Compare the kernels of a compiled network with those of the float one on the same inputs.

    Args:
        compiled: the network, with kernels of exact integers.
        options: what it was compiled with.
        source: the network that it was compiled from.
        inputs: by name.
        saturated: the share of each kernel's activations that saturate, by its name.

    Raises:
        ValueError: the networks have different kernels, or results of different shapes.
    """
    ours = _results_of(compiled, inputs)
    theirs = _results_of(_reference(compiled, options, source), inputs)
    names = [name for name, _ in ours]
    if names != [name for name, _ in theirs]:
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


def weight_pairs(
    compiled: ModuleOp, options: NetworkOptions, source: str | Path | ModuleOp
) -> list[tuple[str, NDArray[np.float64], NDArray[np.float64]]]:
    """The float weights [K, N] of each matrix of a network, and what its levels are worth.

    Columns that a kernel has twice, as their range is split, are in both once. Matrices of
    attention that are put together in another order are left out.

    Raises:
        ValueError: the networks have different kernels.
    """
    ours, theirs = (
        _weights_of(found) for found in (compiled, _reference(compiled, options, source))
    )
    if list(ours) != list(theirs):
        raise ValueError(f"the network has other kernels than were compiled: {', '.join(ours)}")
    pairs: list[tuple[str, NDArray[np.float64], NDArray[np.float64]]] = []
    for name, matrices in ours.items():
        reals = theirs[name]
        if len(reals) != len(matrices):
            continue
        for number, (found, real) in enumerate(zip(matrices, reals, strict=True), 1):
            features, outputs = real.shape
            if found.shape[0] >= features and found.shape[1] >= outputs:
                own = name if len(matrices) == 1 else f"{name} {number}/{len(matrices)}"
                pairs.append((own, real, found[:features, :outputs]))
    return pairs


def _weights_of(network: ModuleOp) -> dict[str, list[NDArray[np.float64]]]:
    """What the weights of each kernel are worth, in the order in which kernels are called."""
    found: dict[str, list[NDArray[np.float64]]] = {}
    for call_ in entry(network).walk():
        if not isinstance(call_, LinearOp):
            continue
        function = kernel_of(call_)
        matrices = found[kernel_name(function)] = []
        for op in function.walk():
            constant = defining_constant(op.weights) if isinstance(op, SpaqMatmulOp) else None
            if constant is not None:
                scales = 1.0 if constant.scales is None else to_array(constant.scales)
                matrices.append(constant.array().astype(np.float64) * scales)
    return found


def _results_of(network: ModuleOp, inputs: Inputs) -> list[tuple[str, NDArray[np.float64]]]:
    """The name and the results of each kernel of a network, in the order in which they run."""
    function = entry(network)
    runs: list[list[tuple[str, NDArray[np.float64]]]] = []
    for part in in_parts(function, inputs):
        listener = _Results()
        call(network, function, in_order(function, part), (listener,))
        runs.append(listener.found)
    return [
        (calls[0][0], np.concatenate([result for _, result in calls]))
        for calls in zip(*runs, strict=True)
    ]


def _reference(
    compiled: ModuleOp, options: NetworkOptions, source: str | Path | ModuleOp
) -> ModuleOp:
    """The float network with the kernels that a compilation has made of it.

    What the compilation found out on its calibration data is read from its result: which kernels
    stay on the host, and by what their rows are scaled.
    """
    products = [op for op in entry(compiled).walk() if isinstance(op, MatmulOp | LinearOp)]
    host = [layer_name(op) for op in products if isinstance(op, MatmulOp) and HOST in op.attributes]

    def scaling(network: ModuleOp, _: bool) -> dict[MatmulOp, Scales]:
        known: defaultdict[str, list[Scales | None]] = defaultdict(list)
        for op in products:
            if isinstance(op, LinearOp):
                known[kernel_name(kernel_of(op))].append(Scales.read(op.input))
            else:
                known[layer_name(op)].append(Scales.read(op.lhs))
        found = {
            op: known[layer_name(op)].pop(0)
            for op in network.walk()
            if isinstance(op, MatmulOp) and scalable(op) is not None and known[layer_name(op)]
        }
        return {op: scales for op, scales in found.items() if scales is not None}

    network, _ = outlined(source, options, scaling=scaling, host=host)
    if options.fuse:
        fuse(network, options, load_target(options.target).machine)
    return network
