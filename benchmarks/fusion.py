# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Measure what fusion saves for MiniLM's encoder: bytes over the ports, and cycles of the RTL.

`plain` sends every layer's activations to the array and back. `fused` merges Q, K and V, and chains
the two layers of the feed-forward block. `normalised` also adds residuals and normalises on the
array, so that one chain reaches from the attention's output projection to the end of the layer.
`attended` computes scores, softmax and context there, too, on a target with operand memories: a
layer is one program, and its activations go in twice and come out once. Tokens of padding are not
sent to it. All variants are compiled from the same pruned model for the same machine, and run on
the same sentences in Verilator. The joint results of host and array are compared with the fast
model, bit for bit.

Cycles are those of a whole run. In `one by one`, a program is loaded when the one before is done;
in `overlapped`, it is loaded while the other one runs (two banks). The time of the host is not
counted. With -o, the figures are also drawn.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.formats import load_network
from daqkf.compiler.network import compile_network
from daqkf.compiler.options import level_set
from daqkf.dialects.interpreting import call, entry
from daqkf.passes.files import write_atomically
from daqkf.runtime.accelerators import SimulatedArray
from daqkf.runtime.simulator import Job
from daqkf.studies.minilm.export_onnx import export_minilm
from daqkf.studies.minilm.model import MiniLM, load_calibration, load_sentences, pool
from daqkf.studies.minilm.network import pruned_model
from daqkf.support.tables import table_console

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {"fuse": False},
    "fused": {"host_cycles": 0.0},
    "normalised": {},
    "attended": {"products": True},
}
"""The compiler's options for each variant."""
CALIBRATION = 200
"""The number of calibration sentences."""


@dataclass
class Recorder:
    """An array that records its jobs, each with the name of its kernel or attention."""

    array: SimulatedArray
    jobs: list[Job] = field(default_factory=list[Job])
    names: list[str] = field(default_factory=list[str])
    """The name of each job's kernel or attention."""
    name: str = ""
    """The name for the jobs that come next."""

    def run(self, jobs: Sequence[Job]) -> list[NDArray[np.int8]]:
        """Run jobs and record them."""
        self.jobs += jobs
        self.names += [self.name] * len(jobs)
        return self.array.run(jobs)

    def begins(self, name: str) -> None:
        """Set the name for the jobs that come next."""
        self.name = name


@dataclass(frozen=True)
class Measured:
    """A variant's bytes and cycles."""

    token_bytes: dict[str, int]
    """Bytes of a token, in and out, by layer and block, with the programs of its keys and
    values."""
    made_bytes: int
    """The part of these bytes that are programs of keys and values."""
    program_bytes: int
    cycles: dict[str, int]
    """Cycles if jobs run one by one, by layer and block."""
    loading: int
    """Cycles of the jobs that only load programs."""
    overlapped: int
    tokens: int
    cosines: NDArray[np.float32]
    """The cosine of each embedding to the one of the float model that was compiled, [B]."""


def block_of(name: str) -> str:
    """The name of a layer's block: `layer.0.ffn` for `layer.0.ffn.up`."""
    return ".".join(name.split(".")[:3])


def layer_of(block: str) -> str:
    """The name of a block's layer: `layer.0` for `layer.0.ffn`."""
    return ".".join(block.split(".")[:2])


def measure(
    network: CompiledNetwork, inputs: dict[str, NDArray[Any]], hidden: NDArray[np.float32]
) -> Measured:
    """Measure a network on its inputs, and compare its results with the float states [B, L, D]."""
    recorder = Recorder(network.simulated)
    outputs = network.run(inputs, accelerator=recorder, check=True, progress=recorder.begins)
    (found,) = outputs.values()
    embeddings = (pool(states, inputs["attention_mask"]) for states in (found, hidden))
    cosines = np.sum(next(embeddings) * next(embeddings), axis=1)
    compiled = {image for stage in network.stages for group in stage.images for image in group}
    tokens = inputs["input_ids"].size
    moved, made, cycles = Counter[str](), Counter[str](), Counter[str]()
    seen: set[bytes] = set()
    loading = 0
    for name, job in zip(recorder.names, recorder.jobs, strict=True):
        block = block_of(name)
        # Each sequence goes to the array twice.
        moved[block] += job.x.size * (1 + bool(job.sequences)) + len(job.x) * job.outputs
        if job.image is None or job.image in seen:
            continue
        seen.add(job.image)
        spent = network.simulated.cycles[job.image]
        cycles[block] += spent.total
        loading += spent.loading_program
        if job.image not in compiled:
            made[block] += len(job.image)
    traces = network.simulated.simulator.trace(recorder.jobs, overlap=True)
    return Measured(
        {block: (count + made[block]) // tokens for block, count in moved.items()},
        made.total() // tokens,
        sum(row["program_bytes"] for row in network.traffic()),
        cycles,
        loading,
        sum(trace.cycles.total for trace in traces),
        tokens,
        cosines,
    )


def entry_states(path: Path, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    """The last states of the float model."""
    module = load_network(path)
    (states,) = call(module, entry(module), list(inputs.values()))
    return states


def per_layer(counts: dict[str, int]) -> dict[str, int]:
    """Counts by block, summed to counts by layer."""
    found: dict[str, int] = {}
    for block, count in counts.items():
        found[layer_of(block)] = found.get(layer_of(block), 0) + count
    return found


def compare(found: dict[str, Measured]) -> Table:
    """A table with a row for each block, for each layer, and for all layers."""
    table = Table()
    table.add_column("")
    for what in ("bytes a token", "cycles"):
        for variant in VARIANTS:
            table.add_column(f"{what}, {variant}", justify="right")
        table.add_column("ratio", justify="right")

    def row(name: str, *counts: Sequence[int | None]) -> None:
        cells: list[str] = []
        for values in counts:
            known = [value for value in values if value]
            ratio = f"{known[0] / known[-1]:.2f}" if len(known) > 1 else ""
            cells += ["" if value is None else f"{value:,}" for value in values] + [ratio]
        table.add_row(name, *cells)

    def both(name: str, count: Callable[[dict[str, int]], int | None]) -> None:
        row(
            name,
            [count(result.token_bytes) for result in found.values()],
            [count(result.cycles) for result in found.values()],
        )

    def of_layer(layer: str, counts: dict[str, int]) -> int | None:
        return per_layer(counts).get(layer)

    def of_block(block: str, counts: dict[str, int]) -> int | None:
        # The bytes of a chain over several blocks belong to the layer, and to none of its blocks.
        return counts.get(block) if set(counts) >= blocks else None

    blocks = set(found["plain"].token_bytes)
    for block in found["plain"].token_bytes:
        both(block, partial(of_block, block))
    table.add_section()
    for layer in per_layer(found["plain"].token_bytes):
        both(layer, partial(of_layer, layer))
    table.add_section()
    results = found.values()
    total = [sum(result.token_bytes.values()) for result in results]
    row("all, one by one", total, [sum(result.cycles.values()) for result in results])
    row("all, overlapped", total, [result.overlapped for result in results])
    return table


def picture(found: dict[str, Measured]) -> Figure:
    """Draw the bytes per token of each layer, and all cycles, one by one and overlapped."""
    from daqkf.reports.figures import paired_bars

    results = found.values()
    layers = [per_layer(result.token_bytes) for result in results]
    cycles = {
        "one by one": [sum(result.cycles.values()) for result in results],
        "overlapped": [result.overlapped for result in results],
    }
    tokens = found["plain"].tokens
    return paired_bars(
        [
            (
                "Bytes a token",
                {"first layer": [counts["layer.0"] for counts in layers]}
                | {"all": [sum(counts.values()) for counts in layers]},
            ),
            (f"Cycles for {tokens} tokens, programs included", cycles),
        ],
        list(VARIANTS),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all variants, print the table, and draw the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sparsity", type=float, default=0.7, help="default: 0.7")
    parser.add_argument("--levels", default="uniform-15", help="default: uniform-15")
    parser.add_argument("--sentences", type=int, default=32, help="default: 32")
    parser.add_argument("--layers", type=int, default=6, help="of the encoder (default: 6)")
    parser.add_argument("--target", default="wide-norm", help="default: wide-norm")
    parser.add_argument("-o", "--output", type=Path, help="folder for fusion.png and fusion.svg")
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    found: dict[str, Measured] = {}
    with console.status("prune") as status, TemporaryDirectory() as folder:
        model = pruned_model(MiniLM.load(), load_calibration(), options.sparsity, status.update)
        path = Path(folder) / "encoder.onnx"
        path.write_bytes(export_minilm(model, layers=options.layers).SerializeToString())
        calibration, inputs = (
            dict(zip(("input_ids", "attention_mask"), model.tokenize(sentences), strict=True))
            for sentences in (
                load_calibration()[:CALIBRATION],
                load_sentences()[: options.sentences],
            )
        )
        hidden = entry_states(path, inputs)
        for variant, chosen in VARIANTS.items():
            network = compile_network(
                path,
                calibration=calibration,
                levels=level_set(options.levels),
                target=options.target,
                second_order=False,
                max_tokens=inputs["input_ids"].shape[1],
                **chosen,
                progress=lambda name, variant=variant: status.update(f"{variant}: {name}"),
            )
            status.update(f"{variant}: simulate")
            found[variant] = measure(network, inputs, hidden)
    output = table_console()
    output.print(compare(found))
    for variant, result in found.items():
        total = sum(result.cycles.values())
        made = f", {result.made_bytes:,} a token of those for a sequence" * bool(result.made_bytes)
        output.print(
            f"{variant}: {result.program_bytes:,} bytes of programs{made}; {result.loading:,} of "
            f"{total:,} cycles only load them; overlapped {total / result.overlapped:.2f} times "
            f"faster, {result.tokens} tokens; cosine to float {result.cosines.mean():.4f}, least "
            f"{result.cosines.min():.4f}"
        )
    if options.output:
        from daqkf.reports.figures import rendered

        for kind in ("png", "svg"):
            target = options.output / f"fusion.{kind}"
            write_atomically(target, rendered(picture(found), kind))


if __name__ == "__main__":
    main()
