# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""From a SoC to a bitstream: yosys, nextpnr-ecp5 and ecppack."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daqkf.passes.progress import Progress, silent
from daqkf.synthesis.placement import CriticalPath
from daqkf.synthesis.running import SynthesisError, run_ecppack, run_nextpnr, run_yosys


@dataclass(frozen=True)
class Routed:
    """A SoC that is placed and routed."""

    clock_mhz: float
    """What the clock of the SoC may be at most."""
    used: dict[str, tuple[int, int]]
    """What is taken, and what the part has of it, by the name of the cell."""
    path: CriticalPath
