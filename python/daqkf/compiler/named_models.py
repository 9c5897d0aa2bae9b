# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Models that are known by name, of this package and of others.

A package states them as entry points of the group `daqkf.models`: functions without arguments that
give a `NamedModel`.
"""

from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler.file_suffixes import MODELS
from daqkf.passes.quantize.accuracy import Measure
from daqkf.support.errors import DaqkfError


@dataclass(frozen=True)
class NamedModel:
    """What a name stands for."""

    source: Path | ModuleOp
    """A network's file, or its module of `nn`."""
    calibration: Any
    """For it, if none is given: inputs by name, or batches of them, or a text."""
    measure: Measure | None = None
    """What counts of its outputs, if nothing else is said."""


def named_model(name: str) -> NamedModel:
    """The model of a name.

    Raises:
        DaqkfError: there is none of this name, or its files are not here.
    """
    found = entry_points(group=MODELS)
    if name not in found.names:
        raise DaqkfError(
            f"no model is called '{name}' (there are: {', '.join(sorted(found.names))})"
        )
    model: NamedModel = found[name].load()()
    return model
