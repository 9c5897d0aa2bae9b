# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What options are that nobody states; importing them costs nothing."""

from pathlib import Path

SPLIT = 0.02
"""Extra int8 columns for features of large range, as a share of the features, by default."""

BUDGET = 0.5
"""By default, results may have an RMS error of half a step; rounding alone makes 0.29."""

TABLE = Path(__file__).parent / "quantize" / "level_table.json"
"""The table that comes with DAQKF."""

EXPONENTS = ("auto", "on", "off")
"""Whether rows share exponents where they can; the first one by default."""

DEFAULT_FABRIC = "xcup"
"""The fabric whose prices count unless somebody names another."""

HOST_CYCLES = 4.0
"""The array's cycles in which the host gates, or adds and normalises, one value."""

ATTENTION_LEVELS = 31
"""The largest level of attention's keys and values."""
