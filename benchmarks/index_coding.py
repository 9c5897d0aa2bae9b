# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Bits per non-zero weight of MiniLM's streams, by the coding of their indices.

Of the first matrix of each kind (`--all`: all six), pruned by magnitude: the running-sum stream
with each coding of `passes.maths.index_coding`, at the field width that makes it smallest, all
of its bits counted (signs, shifts, steps); a bitmap and compressed sparse rows, which need a
multiplier; and the entropy bound. Then for the coding that `encode` makes, `order`: the bits of
a delta, the words, which are cycles, that escapes add, and the RAMB36 of the stream memories of
4 PEs, of the matrix that needs most; once at the smallest size, once with at most `--slowdown`
more words.
"""

import argparse

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from daqkf.api import level_set
from daqkf.models.minilm import MiniLM
from daqkf.passes.maths import joining
from daqkf.passes.maths.balance import share_out
from daqkf.passes.maths.index_coding import FORMS, Coding, measure, smallest
from daqkf.passes.maths.levels import fit
from daqkf.passes.maths.pruning import magnitude_prune

LEVELS = ("ternary", "uniform-7", "uniform-15", "codebook-15", "int8")
SPARSITIES = (0.0, 0.1, 0.3, 0.5, 0.7)
PES, POST_CYCLES, MAX_SHIFT = 4, 8, 3
KINDS = ("attention.query", "attention.output", "ffn.up", "ffn.down")

RAMB36 = {512: 72, 1024: 36, 2048: 18, 4096: 9, 8192: 4, 16384: 2, 32768: 1}
"""Depths of a RAMB36 and their widths, the deepest for deeper memories (AMD UG573)."""


def ramb36(words: int, width: int) -> int:
    """Blocks of a memory whose depth is rounded up to a power of two."""
    depth = 1 << (words - 1).bit_length()
    return min(-(-depth // rows) * -(-width // bits) for rows, bits in RAMB36.items())


def blocks(coding: Coding) -> int:
    """RAMB36 of the stream memories of 4 PEs."""
    shares = share_out(coding.words, PES, POST_CYCLES)
    words = max(int(coding.words[share].sum()) for share in shares)
    return PES * ramb36(words, coding.word)


def order(matrices: list[NDArray[np.int8]], slowdown: float) -> list[str]:
    """The cells of the coding that `encode` makes, with at most so many more words."""
    groups = [(joining.group(levels), levels.shape) for levels in matrices]
    plain, ours = (
        [smallest(*entry, form, MAX_SHIFT, slowdown=slowdown) for entry in groups]
        for form in ("absolute", "order")
    )
    nonzeros = sum(np.count_nonzero(levels) for levels in matrices)
    words = [sum(int(c.words.sum()) for c in codings) for codings in (plain, ours)]
    return [
        "-".join(str(bits) for bits in sorted({coding.bits for coding in ours})),
        f"{sum(c.total for c in ours) / nonzeros:.2f}",
        f"{words[1] / words[0] - 1:+.1%}",
        f"{max(map(blocks, plain))} > {max(map(blocks, ours))}",
    ]


def sizes(matrices: list[NDArray[np.int8]]) -> list[str]:
    """Bits per non-zero weight of everything that is measured."""
    found = [measure(levels, MAX_SHIFT) for levels in matrices]
    nonzeros = sum(m.nonzeros for m in found)
    totals = [sum(m.codings[form].total for m in found) for form in FORMS]
    totals += [sum(getattr(m, name) for m in found) for name in ("bitmap", "csr", "bound")]
    return [f"{total / nonzeros:.2f}" for total in totals]


def table(title: str, headings: tuple[str, ...]) -> Table:
    """An empty table."""
    made = Table(title=title)
    for heading in ("layer", "zeros", *headings):
        made.add_column(heading, justify="left" if heading == "layer" else "right")
    return made


def main() -> None:
    """Print the bits per non-zero weight of MiniLM's streams."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--slowdown", type=float, default=0.02, help="default 0.02")
    parser.add_argument("--all", action="store_true", help="all six matrices of a kind")
    options = parser.parse_args()
    model, console = MiniLM.load(), Console(width=120)
    cells = ("delta", "bits", "words", "RAMB36")
    for levels in LEVELS:
        compared = table(f"{levels}: bits per non-zero weight", (*FORMS, "bitmap", "CSR", "bound"))
        most = f"at most {options.slowdown:.0%} more words"
        coded = table(f"{levels}: `order`, the smallest, and with {most}", cells * 2)
        for kind in KINDS:
            names = [name for name in model.linear_names if name.endswith(f".{kind}")]
            for sparsity in SPARSITIES:
                chosen = names if options.all else names[:1]
                pruned = (magnitude_prune(model.linear(name)[0], sparsity) for name in chosen)
                matrices = [fit(weights, level_set(levels)).levels for weights in pruned]
                label = kind, f"{sparsity:.0%}"
                compared.add_row(*label, *sizes(matrices))
                limits = (np.inf, options.slowdown)
                coded.add_row(*label, *(c for limit in limits for c in order(matrices, limit)))
        console.print(compared)
        console.print(coded)


if __name__ == "__main__":
    main()
