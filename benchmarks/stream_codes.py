# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Find what codes of streams take in external memory, of the weights of real networks.

    python benchmarks/stream_codes.py [--model minilm] [--sparsity 0.5 0.7] [--magnitudes 7 15]
                                      [--layers 0 3] [--matrices 1]

Each matrix of some layers is pruned by magnitude, and gets uniform levels, each output its own.
Its streams are those of an array of the target `wide-coded`, for as many features as need 11 bits
of address. The bits are all that memory holds: rows, padding, headers and ends. `times` are those
of the entropy of the levels, if each weight of a matrix is drawn by itself. `words` are those of
the longest streams, which are cycles if memory keeps up, by those of whole addresses.
"""

import argparse
from collections.abc import Iterator
from itertools import islice, product

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from daqkf.compiler.options import level_set
from daqkf.lowering.frontends.gguf.file import GgufFile
from daqkf.passes.encode.index_coding import entropy
from daqkf.passes.quantize.levels import fit
from daqkf.passes.quantize.pruning import magnitude_prune
from daqkf.studies.bench.streams import machines, stream_size
from daqkf.studies.minilm.model import MiniLM
from daqkf.studies.smollm2.packaged import find_smollm2

LAYERS = {"minilm": (0, 3), "smollm2": (0, 15)}
"""Of each model, those that are taken if none are named."""


def matrices(model: str, layers: tuple[int, ...]) -> Iterator[NDArray[np.float32]]:
    """The weights [K, N] of some layers of a model, numbered from 0."""
    if model == "minilm":
        network = MiniLM.load()
        for name in network.linear_names:
            if int(name.split(".")[1]) in layers:
                yield network.linear(name)[0]
        return
    file = GgufFile(find_smollm2())
    for name, tensor in file.tensors.items():
        if len(tensor.shape) == 2 and any(name.startswith(f"blk.{layer}.") for layer in layers):
            yield file.read(name).T


def figures(
    weights: list[NDArray[np.float32]], magnitudes: int, sparsity: float
) -> tuple[float, dict[str, tuple[float, float, float]]]:
    """Bits of the entropy a non-zero, and of each form bits, times the entropy, and words.

    Args:
        weights: [K, N] of each matrix.
        magnitudes: of the levels, from 1 on.
        sparsity: the share of zeros.
    """
    kernels = [
        fit(magnitude_prune(each, sparsity), level_set(f"uniform-{magnitudes}")).levels
        for each in weights
    ]
    nonzeros = sum(np.count_nonzero(levels) for levels in kernels)
    least = sum(entropy(levels) for levels in kernels)
    rows: dict[str, tuple[float, float, float]] = {}
    words = None
    for name, machine in machines().items():
        found = [stream_size(levels, machine) for levels in kernels]
        bits, total = sum(each.bits for each in found), sum(each.words for each in found)
        words = words or total
        rows[name] = bits / nonzeros, bits / least, total / words
    return least / nonzeros, rows


def main() -> None:
    """Print a table of each model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", nargs="+", choices=LAYERS, default=list(LAYERS), help="of these")
    parser.add_argument(
        "--sparsity", nargs="+", type=float, default=[0.5, 0.7], help="shares of zeros"
    )
    parser.add_argument(
        "--magnitudes", nargs="+", type=int, default=[7, 15], help="magnitudes of the levels"
    )
    parser.add_argument("--layers", nargs="+", type=int, help="of a model (default: two)")
    parser.add_argument("--matrices", type=int, help="of a model at most (default: all of these)")
    options = parser.parse_args()
    for model in options.model:
        chosen = matrices(model, tuple(options.layers or LAYERS[model]))
        weights = list(islice(chosen, options.matrices))
        table = Table(title=f"{model}, {len(weights)} matrices: bits a non-zero")
        for heading in ("magnitudes", "zeros", "entropy", "form", "bits", "times", "words"):
            table.add_column(heading, justify="left" if heading == "form" else "right")
        for magnitudes, sparsity in product(options.magnitudes, options.sparsity):
            least, rows = figures(weights, magnitudes, sparsity)
            for name, (bits, times, words) in rows.items():
                case = f"{magnitudes}", f"{sparsity:.0%}", f"{least:.2f}"
                table.add_row(*case, name, f"{bits:.2f}", f"{times:.3f}", f"{words:.3f}")
        Console(width=100).print(table)


if __name__ == "__main__":
    main()
