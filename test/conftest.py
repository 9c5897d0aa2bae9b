# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Settings that all pytest suites share."""

import os
from pathlib import Path

from hypothesis import settings

# Tests run side by side: threads of their own would only wait for each other. Read by NumPy,
# which nothing above imports.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Simulators that were built once are found again; machines are too noisy for deadlines.
os.environ.setdefault("DAQKF_CACHE", str(Path(__file__).parent.parent / "build" / "cache"))
settings.register_profile("daqkf", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("daqkf")
