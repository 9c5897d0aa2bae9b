# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What all pytest suites share."""

import os
from pathlib import Path

from hypothesis import settings

# Simulators that were built once are found again; machines are too noisy for deadlines.
os.environ.setdefault("DAQKF_CACHE", str(Path(__file__).parent.parent / "build" / "cache"))
settings.register_profile("daqkf", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("daqkf")
