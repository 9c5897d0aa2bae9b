# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What fusion saves on MiniLM's encoder: bytes over the array's ports, and cycles of its RTL.

`plain` sends every layer's activations to the array and back, `fused` merges Q, K and V and
chains the two layers of the feed-forward block. Both are compiled from the same pruned model for
the same machine, and run on the same sentences in Verilator; what host and array do together is
held against the fast model, bit for bit. With --products so are attention's scores and contexts,
whose programs are made of activations (their bytes are not counted).

Cycles are those of the whole run: of `one by one` a program is loaded when the one before is
done, of `overlapped` while it runs (two banks). With -o also a picture.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from daqkf.api import level_set
from daqkf.console import table_console
from daqkf.dialects.interpreting import call, entry
from daqkf.files import write_atomically
from daqkf.frontends import load_network
from daqkf.models.export_onnx import export_minilm
from daqkf.models.minilm import MiniLM, load_calibration, load_sentences, pool
from daqkf.network.accelerators import SimulatedArray
from daqkf.network.compile import compile_network
from daqkf.network.compiled import CompiledNetwork
from daqkf.network.pruning import prune_network
from daqkf.runtime.simulator import Cycles, Job, cache_folder

BLOCKS = ("attention", "ffn")
VARIANTS = ("plain", "fused")
CALIBRATION = 200
"""Sentences."""


@dataclass
class Recorder:
    """An array that keeps what it was asked."""

    array: SimulatedArray
    jobs: list[Job] = field(default_factory=list[Job])

    def play(self, jobs: Sequence[Job]) -> list[NDArray[np.int8]]:
        """Play, and keep what it was."""
        self.jobs += jobs
        return self.array.play(jobs)


@dataclass(frozen=True)
class Measured:
    """A variant's bytes and cycles."""

    token_bytes: dict[str, int]
    """A token's, in and out, by layer and block."""
    program_bytes: int
    cycles: dict[str, int]
    """One by one, by layer and block."""
    loading: int
    """Cycles of those that only load programs."""
    overlapped: int
    tokens: int
    cosines: NDArray[np.float32]
    """[B] of the embeddings to those of the float model that was compiled."""


def block_of(name: str) -> str:
    """`layer.0.ffn` of `layer.0.ffn.up`."""
    return ".".join(name.split(".")[:3])


PRODUCTS = "attention's products"


def measure(
    network: CompiledNetwork, inputs: dict[str, NDArray[Any]], hidden: NDArray[np.float32]
) -> Measured:
    """Bytes and cycles of a network on its inputs, and how near it is to the states [B, L, D]."""
    recorder = Recorder(network.simulated)
    (found,) = network.run(inputs, accelerator=recorder, check=True).values()
    embeddings = (pool(states, inputs["attention_mask"]) for states in (found, hidden))
    cosines = np.sum(next(embeddings) * next(embeddings), axis=1)
    token_bytes: dict[str, int] = {}
    cycles: dict[str, int] = {}
    loading = 0
    for stage in network.stages:
        images = [image for group in stage.images for image in group]
        block, spent = block_of(stage.name), total_cycles(network, images)
        token_bytes[block] = token_bytes.get(block, 0) + stage.features + stage.outputs
        cycles[block] = cycles.get(block, 0) + spent.total
        loading += spent.loading_program
    others = set(network.simulated.cycles) - {
        image for stage in network.stages for group in stage.images for image in group
    }
    if others:
        token_bytes[PRODUCTS] = 0
        cycles[PRODUCTS] = total_cycles(network, [*others]).total
    traces = network.simulated.simulator.trace(recorder.jobs, overlap=True)
    return Measured(
        token_bytes,
        sum(row["program_bytes"] for row in network.traffic()),
        cycles,
        loading,
        sum(trace.cycles.total for trace in traces),
        len(recorder.jobs[0].x),
        cosines,
    )


def entry_states(path: Path, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    """The float model's last states."""
    module = load_network(path)
    (states,) = call(module, entry(module), list(inputs.values()))
    return states


def total_cycles(network: CompiledNetwork, images: Sequence[bytes | None]) -> Cycles:
    """What all runs of some programs took."""
    first, *others = (network.simulated.cycles[image] for image in images)
    for other in others:
        first = first + other
    return first


def compare(found: dict[str, Measured]) -> Table:
    """A row for each block, and for all."""
    table = Table()
    table.add_column("block")
    for what in ("bytes a token", "cycles"):
        for variant in VARIANTS:
            table.add_column(f"{what}, {variant}", justify="right")
        table.add_column("ratio", justify="right")
    plain, fused = (found[variant] for variant in VARIANTS)

    def row(name: str, *pairs: tuple[int, int]) -> None:
        cells: list[str] = []
        for before, after in pairs:
            ratio = f"{before / after:.2f}" if after else ""
            cells += [f"{before:,}", f"{after:,}", ratio]
        table.add_row(name, *cells)

    for block in plain.token_bytes:
        row(
            block,
            (plain.token_bytes[block], fused.token_bytes[block]),
            (plain.cycles[block], fused.cycles[block]),
        )
    table.add_section()
    total = sum(plain.token_bytes.values()), sum(fused.token_bytes.values())
    row("all, one by one", total, (sum(plain.cycles.values()), sum(fused.cycles.values())))
    row("all, overlapped", total, (plain.overlapped, fused.overlapped))
    return table


def picture(found: dict[str, Measured]) -> Figure:
    """Bytes a token of each block, and cycles of the whole, one by one and overlapped."""
    from daqkf.figures import paired_bars

    plain, fused = (found[variant] for variant in VARIANTS)
    kinds = {
        kind: [
            sum(count for name, count in entry.token_bytes.items() if name.endswith(kind))
            for entry in (plain, fused)
        ]
        for kind in BLOCKS
    }
    cycles = {
        "one by one": [sum(plain.cycles.values()), sum(fused.cycles.values())],
        "overlapped": [plain.overlapped, fused.overlapped],
    }
    return paired_bars(
        [
            ("Bytes a token, all layers", kinds),
            (f"Cycles for {plain.tokens} tokens, programs included", cycles),
        ],
        VARIANTS,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sparsity", type=float, default=0.7, help="default: 0.7")
    parser.add_argument("--levels", default="uniform-15", help="default: uniform-15")
    parser.add_argument("--sentences", type=int, default=32, help="default: 32")
    parser.add_argument("--layers", type=int, default=6, help="of the encoder (default: 6)")
    parser.add_argument(
        "--products", action="store_true", help="attention's products on the array, too"
    )
    parser.add_argument("--target", default="wide-banks", help="default: wide-banks")
    parser.add_argument("-o", "--output", type=Path, help="folder for fusion.png and fusion.svg")
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    found: dict[str, Measured] = {}
    with console.status("prune") as status, TemporaryDirectory() as folder:
        model = prune_network(
            MiniLM.load(), load_calibration(), options.sparsity, cache=cache_folder()
        )
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
        for variant in VARIANTS:
            network = compile_network(
                path,
                calibration=calibration,
                levels=level_set(options.levels),
                target=options.target,
                fuse=variant == "fused",
                second_order=False,
                products=options.products,
                progress=lambda name, variant=variant: status.update(f"{variant}: {name}"),
            )
            status.update(f"{variant}: simulate")
            found[variant] = measure(network, inputs, hidden)
    output = table_console()
    output.print(compare(found))
    for variant, result in found.items():
        total = sum(result.cycles.values())
        output.print(
            f"{variant}: {result.program_bytes:,} bytes of programs; {result.loading:,} of "
            f"{total:,} cycles only load them; overlapped {total / result.overlapped:.2f} times "
            f"faster, {result.tokens} tokens; cosine to float {result.cosines.mean():.4f}, least "
            f"{result.cosines.min():.4f}"
        )
    if options.output:
        from daqkf.figures import rendered

        for kind in ("png", "svg"):
            target = options.output / f"fusion.{kind}"
            write_atomically(target, rendered(picture(found), kind))


if __name__ == "__main__":
    main()
