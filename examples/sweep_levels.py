# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How many levels does a layer need? Error and cycles of several level sets on one array."""

import numpy as np

import daqkf

rng = np.random.default_rng(0)
weights = rng.standard_normal((60, 24)) / np.sqrt(60)
x = rng.standard_normal((8, 60))

first = None
print(f"{'levels':14}{'cycles':>8}{'error':>10}")
for levels in ("int8", "uniform-15", "codebook-15", "codebook-7", "uniform-3", "uniform-1"):
    design = daqkf.compile(
        weights,
        activation="relu",
        sparsity=0.6,
        levels=levels,
        calibration=x,
        target=first or "tiny",
    )
    first = first or design
    measured = design.measure(x)
    pruned = weights * (design.weight_levels != 0)
    error = np.sqrt(np.mean((measured.y - np.maximum(x @ pruned, 0)) ** 2))
    print(f"{levels:14}{measured.cycles.running // measured.tiles:8}{error:10.4f}")
