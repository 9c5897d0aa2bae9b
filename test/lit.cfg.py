# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The configuration of lit; each dialect and each pass has a `.mlir` file, and `opinions` has the
tests that need tools which may not be installed.

No test needs a C++ compiler.
"""

import os
import shutil
import sys
from pathlib import Path

import lit.formats

sys.path.insert(0, str(Path(__file__).parent))
import preloaded

config.name = "DAQKF"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir"]
config.excludes = ["fuzz"]  # files that a fuzzer reads, without commands
config.test_source_root = str(Path(__file__).parent)
config.test_exec_root = str(Path(__file__).parent.parent / "build" / "lit")

# The tools are those of the Python that runs lit, most of them loaded once for all tests.
folders = [preloaded.start(), str(Path(sys.executable).parent), os.environ["PATH"]]
config.environment["PATH"] = os.pathsep.join(folders)

# Tools of others that some tests ask for with REQUIRES.
config.available_features.update(filter(shutil.which, ("iverilog", "mlir-opt")))

# A file is printed, parsed and printed again; both texts must be equal.
config.substitutions.append(
    ("%roundtrip", "daqkf-opt %s > %t.1 && daqkf-opt %t.1 > %t.2 && diff %t.1 %t.2 && cat %t.2")
)
# Each chunk of a file must be refused with the message that FileCheck expects.
config.substitutions.append(("%invalid", "daqkf-opt %s --split-input-file --verify-diagnostics"))
