# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Time what is compared, on machines that do other things, too."""

import time
from collections.abc import Callable, Sequence


def least_seconds(runs: Sequence[Callable[[], object]], repeat: int) -> list[float]:
    """The least CPU time of each, taken in turn so that a busy machine slows all of them."""
    best = [float("inf")] * len(runs)
    for _ in range(repeat + 1):
        for place, run in enumerate(runs):
            start = time.process_time()
            run()
            best[place] = min(best[place], time.process_time() - start)
    return best
