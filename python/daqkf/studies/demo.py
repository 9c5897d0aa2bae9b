# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf demo` takes a layer of a real transformer all the way to verified SystemVerilog."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from xdsl.dialects.builtin import ModuleOp

import daqkf
from daqkf.compiler.design import Design, StageCallback
from daqkf.hw_targets import load_target
from daqkf.hw_targets.functions import apply_function
from daqkf.passes.array_files import array_file
from daqkf.passes.files import write_atomically
from daqkf.passes.quantize.calibration import Columns, absmax_ranges
from daqkf.passes.quantize.input_statistics import InputStatistics
from daqkf.passes.quantize.pruning import second_order_prune
from daqkf.studies.minilm.model import MiniLM, load_sentences
from daqkf.support.errors import DaqkfError
from daqkf.support.ir import module_text
from daqkf.support.tables import print_table

LAYER = "layer.0.ffn.up"
ACTIVATION = "gelu"
LEVELS = ("int8", "uniform-15", "codebook-15")
"""Levels of 8 bits, and two level sets of 5 bits.

The first set is the widest. It sizes the array, for which the others are further programs.
"""

Layer = Callable[[NDArray[Any]], NDArray[Any]]
"""The pruned layer in floats: activations [T, K] → results [T, N]."""


@dataclass(frozen=True)
class _Subject:
    """What the demo compiles and runs."""

    weights: NDArray[Any]
    """The pruned weights, [K, N]."""
    bias: NDArray[np.float32]
    """The bias [N], corrected for the pruned weights."""
    calibration: NDArray[Any]
    """The activations that calibrate, [tokens, K]."""
    x: NDArray[Any]
    """The activations that are run, [T, K]."""

    @classmethod
    def pruned(cls, model: MiniLM, corpus: Sequence[str], run: int, sparsity: float) -> "_Subject":
        """Prune the layer for the corpus without its last `run` sentences, which are run."""
        weights, bias = model.linear(LAYER)
        calibration = model.activations(LAYER, corpus[:-run])
        statistics = InputStatistics.of(calibration)
        # The compiler gets pruned weights, so that the reference has the same zeros.
        pruned = second_order_prune(weights, statistics.hessian(), sparsity)
        bias = (bias + statistics.bias_shift(weights, pruned)).astype(np.float32)
        return cls(pruned, bias, calibration, model.activations(LAYER, corpus[-run:]))

    def layer(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """The float layer; see `Layer`."""
        return apply_function(ACTIVATION, inputs @ self.weights + self.bias)


def _stage_writer(folder: Path, console: Console) -> StageCallback:
    """A callback that writes the IR after each stage into a numbered file."""
    count = 0

    def write(name: str, module: ModuleOp) -> None:
        nonlocal count
        console.print(f"  [dim]{name}")
        write_atomically(folder / "ir" / f"{count:02}-{name}.mlir", module_text(module).encode())
        count += 1

    return write


def signal_to_noise(reference: NDArray[Any], result: NDArray[Any]) -> float:
    """The signal-to-noise ratio 10·log10(Σ reference² / Σ (result - reference)²) in dB."""
    noise = ((result.astype(np.float64) - reference) ** 2).sum()
    return float(10 * np.log10((reference.astype(np.float64) ** 2).sum() / noise))


def run_demo(folder: Path, sentences: int, sparsity: float, target: str = "wide") -> int:
    """Compile, simulate and compare; returns 0 if all results are equal bit for bit, else 1.

    The last `sentences` sentences are run, and the others calibrate. `folder` gets `summary.json`,
    the activations that are run as `x.npy`, and for each level set a folder that `Design.load`
    reads, which also has the IR after each stage.

    Raises:
        DaqkfError: `sentences` is below 1, or leaves no sentence for calibration; or there is no
            such target.
        ModelNotFoundError: the MiniLM package is not installed.
    """
    load_target(target)
    console = Console()
    corpus = load_sentences()
    if not 0 < sentences < len(corpus):
        raise DaqkfError(f"the demo has {len(corpus)} sentences: --sentences 1..{len(corpus) - 1}")
    subject = _Subject.pruned(MiniLM.load(), corpus, sentences, sparsity)
    features, channels = subject.weights.shape
    console.print(
        f"MiniLM {LAYER}: {features} → {channels} with {ACTIVATION}, pruned to {sparsity:.0%}, "
        f"{len(subject.x)} tokens of {sentences} sentences"
    )
    results: list[dict[str, Any]] = []
    first: Design | None = None
    for name in LEVELS:
        console.print(f"[bold]{name}[/]")
        start = time.perf_counter()
        design = _compiled(subject, name, first or target, folder, console)
        first = first or design
        compiled = time.perf_counter()
        console.print("  [dim]simulate")
        results.append(_measure(design, subject))
        results[-1] |= {
            "name": name,
            "seconds_compiling": round(compiled - start, 2),
            "seconds_simulating": round(time.perf_counter() - compiled, 2),
        }

    summary = {
        "model": "all-MiniLM-L6-v2",
        "layer": LAYER,
        "features": features,
        "outputs": channels,
        "sparsity": sparsity,
        "tokens": len(subject.x),
        "designs": results,
    }
    write_atomically(folder / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())
    write_atomically(folder / "x.npy", array_file(subject.x))
    print_table(_table(results), console)
    console.print(
        f"{folder}: {', '.join(LEVELS)}, summary.json. To simulate a design again:\n"
        f"  daqkf simulate {folder / LEVELS[-1]} {folder / 'x.npy'} -o y.npy",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return 0 if all(result["bit_exact"] for result in results) else 1


def _compiled(
    subject: _Subject, levels: str, array: Design | str, folder: Path, console: Console
) -> Design:
    """Compile the layer with one level set, and save it with the IR after each stage.

    The array is that of another design, or one of its own for a target.
    """
    write_stage = _stage_writer(folder / levels, console)
    design = daqkf.compile(
        subject.weights,
        bias=subject.bias,
        activation=ACTIVATION,
        levels=levels,
        calibration=subject.calibration,
        target=array,
        on_stage=write_stage,
    )
    if isinstance(array, Design):
        design.adopt_array(array)
    else:
        write_stage("lower-rpea-to-hw", design.circuit)
        console.print("  [dim]export-verilog")
    design.save(folder / levels)
    return design


def _single_scale(samples: NDArray[Any]) -> Columns:
    return Columns.plain(float(absmax_ranges(samples, per_feature=False)[0]))


def _between(columns: tuple[Columns, Columns], layer: Layer, x: NDArray[Any]) -> NDArray[Any]:
    """The results of the float layer if its inputs and results pass through int8 columns."""
    read, leave = columns
    return leave.dequantize(leave.quantize(layer(read.dequantize(read.quantize(x)))))


def _measure(design: Design, subject: _Subject) -> dict[str, Any]:
    x, pruned, layer = subject.x, subject.weights, subject.layer
    reference = layer(x)
    single = _single_scale(subject.calibration), _single_scale(layer(subject.calibration))
    simulation = design.measure(x)
    config = design.config
    per_tile = simulation.cycles.running / simulation.tiles
    nonzeros = int(np.count_nonzero(design.weight_levels))
    # The dense array multiplies one weight a cycle in each element, whether it is zero or not.
    dense = pruned.size / config.pes
    total = sum(asdict(simulation.cycles).values()) - simulation.cycles.loading_program
    columns = (
        Columns(design.input_scale, design.input_split),
        Columns(design.output_scale, design.output_split),
    )
    return design.summary() | {
        "bit_exact": bool(np.array_equal(simulation.y, design.reference(x))),
        "nonzeros": nonzeros,
        "cycles": asdict(simulation.cycles),
        "tiles": simulation.tiles,
        "cycles_per_tile": per_tile,
        "total_cycles_per_tile": total / simulation.tiles,
        "dense_cycles_per_tile": dense,
        "speedup": dense / per_tile,
        "utilisation": nonzeros / (config.items * config.pes * per_tile),
        "weight_sqnr_db": signal_to_noise(pruned, design.weight_levels * design.weight_scales),
        "activation_sqnr_db": signal_to_noise(reference, _between(columns, layer, x)),
        "single_scale_sqnr_db": signal_to_noise(reference, _between(single, layer, x)),
        "output_sqnr_db": signal_to_noise(reference, simulation.y),
    }


def _extra(result: dict[str, Any]) -> str:
    return f"{len(result['input_split'])} and {len(result['output_split'])}"


_ROWS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("bits of a level", lambda r: str(r["levels"]["bits"])),
    ("magnitudes a channel", lambda r: str(r["levels"]["magnitudes"])),
    ("non-zeros", lambda r: f"{r['nonzeros']:,}"),
    ("extra columns of inputs and results", _extra),
    ("cycles a tile", lambda r: f"{r['cycles_per_tile']:,.0f}"),
    ("  dense array, one weight a cycle", lambda r: f"{r['dense_cycles_per_tile']:,.0f}"),
    ("  dense / ours", lambda r: f"{r['speedup']:.2f}x"),
    ("  with loading and storing", lambda r: f"{r['total_cycles_per_tile']:,.0f}"),
    ("utilisation of the lanes", lambda r: f"{r['utilisation']:.1%}"),
    ("SQNR of the output", lambda r: f"{r['output_sqnr_db']:.1f} dB"),
    ("  of the weights alone", lambda r: f"{r['weight_sqnr_db']:.1f} dB"),
    ("  with float weights, int8 in and out", lambda r: f"{r['activation_sqnr_db']:.1f} dB"),
    ("  the same with one scale per tensor", lambda r: f"{r['single_scale_sqnr_db']:.1f} dB"),
    ("equal to the golden model", lambda r: "yes" if r["bit_exact"] else "[red]NO[/]"),
)


def _table(results: list[dict[str, Any]]) -> Table:
    lanes = results[0]["array"]["lanes"]
    table = Table(title=f"a tile is {lanes} tokens; errors are against the pruned float layer")
    table.add_column("")
    for result in results:
        table.add_column(result["name"], justify="right")
    for heading, show in _ROWS:
        table.add_row(heading, *(show(result) for result in results))
    return table
