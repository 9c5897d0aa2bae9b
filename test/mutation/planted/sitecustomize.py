# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Plant a mutant of a source into every Python that has this folder in its PYTHONPATH."""

import os
import sys
from pathlib import Path

if "DAQKF_MUTANT" in os.environ:
    sys.path.append(str(Path(__file__).parents[1]))
    from source_mutants import mutants, plant

    _file, _place = os.environ["DAQKF_MUTANT"].rsplit(":", 1)
    plant(mutants(_file)[int(_place)])
