# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Fit codebooks to all weights of MiniLM's encoder, and compare error and time with k-means.

Each output channel gets a number of magnitudes, shared by both signs, beside zero. The k-means of
scikit-learn and SciPy find as many clusters in the magnitudes of the channel's non-zeros; a weight
may then also become zero, as in ours. They run on a few channels of each matrix, evenly spread, and
their times are scaled up (`--all` runs them on every channel, which takes minutes). Ours runs on
all channels. Errors are compared on the same channels, as real numbers, and after rounding to
integers up to twice the magnitudes and one. All run in one thread, which is fastest for problems as
small as a channel.

The second table shows how `cycles_weight` trades error for cycles.
"""

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.cluster.vq import kmeans, kmeans2
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from daqkf.dialects.spaq import LevelSet
from daqkf.passes.encode import running_sum
from daqkf.passes.quantize.levels import Fit, fit
from daqkf.passes.quantize.pruning import magnitude_prune
from daqkf.studies.minilm.model import MiniLM

SPARSITIES = (0.0, 0.5)
PRICES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)
MAX_SHIFT = 3

_MORE = 16
"""The sample is repeated this many times for the exact method, which fits dozens of channels at
once."""

type Cluster = Callable[[NDArray[np.float64], int], NDArray[np.float64]]
"""A function from magnitudes [n] and a number of clusters to the centres of the clusters."""

REFERENCES: dict[str, Cluster] = {
    "scikit-learn KMeans": lambda x, k: (
        KMeans(k, random_state=0).fit(x[:, np.newaxis]).cluster_centers_[:, 0]
    ),
    "scipy kmeans2 (++)": lambda x, k: kmeans2(x, k, minit="++", rng=0)[0],
    "scipy kmeans": lambda x, k: kmeans(x, k, rng=0)[0],
}


def nearest(magnitudes: NDArray, values: NDArray) -> NDArray:
    """The nearest of the ascending values for each magnitude."""
    return values[np.searchsorted((values[1:] + values[:-1]) / 2, magnitudes)]


def errors(magnitudes: NDArray, centres: NDArray, maximum: int) -> tuple[float, float]:
    """The squared errors of a channel with zero and these centres, and with integers near them."""
    centres = np.append(0, np.sort(centres))
    real = ((magnitudes - nearest(magnitudes, centres)) ** 2).sum()
    codes = np.unique(np.rint(centres / centres[-1] * maximum))
    scale = centres[-1] / maximum
    for _ in range(10):  # Codes are chosen for the scale, then the scale for the codes.
        levels = nearest(magnitudes, codes * scale) / scale
        scale = (levels @ magnitudes) / (levels @ levels)
    return real, ((magnitudes - nearest(magnitudes, codes * scale)) ** 2).sum()


def timed(run: Callable[[], Fit]) -> tuple[float, Fit]:
    """The processor time in seconds, which does not depend on other programs, and the result."""
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def compare(matrices: list[NDArray], magnitudes: int, channels: int | None) -> dict[str, list]:
    """By method: seconds for everything, and real and rounded errors on the compared channels."""
    level_set = LevelSet.of("codebook", magnitudes)
    names = ["daqkf, lloyd-max", "daqkf, optimal", *REFERENCES]
    totals = {name: [0.0, 0.0, 0.0] for name in names}

    def add(name: str, seconds: float, real: float, rounded: float) -> None:
        totals[name] = [a + b for a, b in zip(totals[name], (seconds, real, rounded), strict=True)]

    for matrix in matrices:
        count = matrix.shape[1]
        picked, many = np.arange(count), 1
        if channels is not None:
            picked, many = np.linspace(0, count - 1, channels).astype(int), _MORE
        sample = np.asarray(matrix[:, picked], np.float64)
        share = len(picked) / count

        seconds, ours = timed(lambda matrix=matrix: fit(matrix, level_set))
        rounded = ((sample - ours.levels[:, picked] * ours.scales[picked]) ** 2).sum()
        add(names[0], seconds, ours.history[-1][picked].sum(), rounded)
        # With more channels, each takes less time; the error is the same.
        tiled = np.tile(sample, many)
        seconds, best = timed(lambda tiled=tiled: fit(tiled, level_set, method="optimal"))
        real, rounded = best.history[-1].sum() / many, best.error(tiled).sum() / many
        add(names[1], seconds / share / many, real, rounded)
        for name, cluster in REFERENCES.items():
            for channel in np.abs(sample).T:
                nonzero = channel[channel > 0]
                start = time.process_time()
                centres = cluster(nonzero, magnitudes)
                seconds = time.process_time() - start
                add(name, seconds / share, *errors(channel, centres, level_set.maximum))
    return totals


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--magnitudes", type=int, default=7, help="of a channel (default: 7)")
    parser.add_argument(
        "--channels", type=int, default=4, help="of each matrix for the references (default: 4)"
    )
    parser.add_argument("--all", action="store_true", help="every channel for the references")
    arguments = parser.parse_args()
    model, console = MiniLM.load(), Console()
    matrices = [model.linear(name)[0] for name in model.linear_names]
    channels = None if arguments.all else arguments.channels
    # SciPy warns about empty clusters.
    warnings.simplefilter("ignore")

    for sparsity in SPARSITIES:
        pruned = [magnitude_prune(matrix, sparsity) for matrix in matrices]
        with threadpool_limits(1):
            totals = compare(pruned, arguments.magnitudes, channels)
        weights = sum(matrix.size for matrix in matrices) / 1e6
        table = Table(
            title=f"{len(matrices)} matrices, {weights:.1f} M weights, {sparsity:.0%} zeros, "
            f"{arguments.magnitudes} magnitudes"
        )
        for heading in ("", "seconds", "time", "real error", "rounded error"):
            table.add_column(heading, justify="right" if heading else "left")
        base = next(iter(totals.values()))
        for name, row in totals.items():
            ratios = (value / reference for value, reference in zip(row, base, strict=True))
            time_ratio, real, rounded = ratios
            table.add_row(
                name, f"{row[0]:.1f}", f"{time_ratio:.1f}x", f"{real:.3f}x", f"{rounded:.3f}x"
            )
        console.print(table)

    matrix = magnitude_prune(model.linear("layer.0.ffn.up")[0], 0.5)
    table = Table(title="layer.0.ffn.up, 50 % zeros: words / words without cycles_weight, error")
    table.add_column("cycles_weight")
    sets = [LevelSet("codebook", 15, 31), LevelSet("codebook", 15, 127)]
    for level_set in sets:
        name = f"{level_set.kind}-{level_set.magnitudes}-{level_set.maximum}"
        table.add_column(f"{name}: words", justify="right")
        table.add_column("error", justify="right")
    base: dict[LevelSet, tuple[int, float]] = {}
    for price in PRICES:
        row = []
        for level_set in sets:
            found = fit(matrix, level_set, cycles_weight=price, max_shift=MAX_SHIFT)
            words = running_sum.cost(found.levels, MAX_SHIFT).sum()
            error = found.error(matrix).sum()
            first = base.setdefault(level_set, (words, error))
            row += [f"{words / first[0]:.3f}x", f"{error / first[1]:.3f}x"]
        table.add_row(f"{price:g}", *row)
    console.print(table)


if __name__ == "__main__":
    main()
