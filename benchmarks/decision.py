# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Compare a decision from the level table with fitting every candidate level set.

Both look for the level set that reaches an SQNR in the fewest cycles, for the matrices of MiniLM's
first layer at 50 % sparsity. The table has the times and their ratio, and what the decision really
reaches and costs beside the best level set.
"""

import time
from collections.abc import Callable

import numpy as np
from rich.table import Table

from daqkf.dialects.spaq import LevelSet
from daqkf.hw_targets import load_target
from daqkf.passes.encode import running_sum
from daqkf.passes.quantize.level_table import Features, load_table
from daqkf.passes.quantize.levels import fit
from daqkf.passes.quantize.pruning import magnitude_prune
from daqkf.studies.minilm.model import MiniLM
from daqkf.support.tables import table_console

TARGET = 25.0
SHIFT = load_target("generic").machine.max_shift


def timed[T](work: Callable[[], T], repeats: int) -> tuple[T, float]:
    """The result, and the shortest of several processor times in seconds."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        times.append(time.process_time() - start)
    return result, min(times)


def fit_all(weights: np.ndarray, candidates: tuple[LevelSet, ...]) -> dict[LevelSet, np.ndarray]:
    """The SQNR in dB and the mean cycles of every candidate."""
    results = {}
    for levels in candidates:
        found = fit(weights, levels)
        sqnr = 10 * np.log10((weights**2).sum() / found.error(weights).sum())
        results[levels] = np.array([sqnr, running_sum.cost(found.levels, SHIFT).mean()])
    return results


def main() -> None:
    """Print the table."""
    model, table = MiniLM.load(), load_table()
    output = Table(title=f"choosing among {len(table.levels)} level sets for {TARGET:g} dB")
    headings = ("matrix", "fits", "features", "look-up", "ratio", "chosen", "dB", "cycles", "best")
    for heading in headings:
        output.add_column(heading, justify="right")
    for name in model.linear_names[:6]:
        weights = magnitude_prune(model.linear(name)[0].astype(np.float64), 0.5)
        fits, fitting = timed(lambda weights=weights: fit_all(weights, table.levels), 1)
        features, describing = timed(lambda weights=weights: Features.of(weights), 5)
        chosen, looking = timed(lambda f=features: table.decide(f, TARGET, SHIFT), 20)
        sqnr, cycles = fits[chosen.levels]
        best = min(cost for reached, cost in fits.values() if reached >= TARGET)
        output.add_row(
            name,
            f"{fitting:.2f} s",
            f"{describing * 1e3:.1f} ms",
            f"{looking * 1e3:.2f} ms",
            f"{fitting / (describing + looking):.0f}x",
            f"{chosen.levels.kind}-{chosen.levels.magnitudes}",
            f"{sqnr:.1f} ({chosen.sqnr:.1f})",
            f"{cycles:.0f} ({chosen.cycles:.0f})",
            f"{best:.0f}",
        )
    console = table_console()
    console.print(output)
    console.print("ratio: fits / (features + look-up); in parentheses what the table predicts")


if __name__ == "__main__":
    main()
