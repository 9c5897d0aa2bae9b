# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Targets: the organisation and the limits of an array, one TOML file each."""

import tomllib
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

from daqkf.hw_targets.machine import UNITS, Machine

_FOLDER = Path(__file__).parent / "targets"


class UnknownTargetError(ValueError):
    """No such target, or a target file that cannot be read as one."""


@dataclass(frozen=True)
class Target:
    """A named machine to compile for."""

    name: str
    description: str
    machine: Machine


def target_names() -> list[str]:
    """The targets that come with DAQKF."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_target(name: str) -> Target:
    """The target of this name, or of the TOML file at this path.

    Raises:
        UnknownTargetError: there is none, or its file lacks or has surplus entries.
    """
    path = Path(name) if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    if not path.is_file() or (path.parent == _FOLDER and path.stem not in target_names()):
        known = ", ".join(target_names())
        raise UnknownTargetError(f"unknown target '{name}' (known: {known}, or a .toml file)")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UnknownTargetError(f"{path}: {error}") from None
    description = data.pop("description", "")
    machine = data.pop("machine", None)
    if data or not isinstance(machine, dict) or not isinstance(description, str):
        raise UnknownTargetError(f"{path}: a target has a description and a table [machine]")
    defaults = {field.name: field.default for field in fields(Machine)}
    for entry in sorted(defaults.keys() | machine.keys()):
        if entry not in defaults:
            raise UnknownTargetError(f"{path}: [machine] does not know '{entry}'")
        if entry not in machine and defaults[entry] is MISSING:
            raise UnknownTargetError(f"{path}: [machine] lacks '{entry}'")
    for entry, value in machine.items():
        if entry == "families":
            if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
                raise UnknownTargetError(f"{path}: [machine] '{entry}' must be a list of names")
            machine[entry] = tuple(value)
        elif entry == "weight_bits":
            if not isinstance(value, list) or not all(type(bits) is int for bits in value):
                raise UnknownTargetError(f"{path}: [machine] '{entry}' must be a list of integers")
            machine[entry] = tuple(value)
        elif entry == "multiplier":
            if not isinstance(value, str):
                raise UnknownTargetError(f"{path}: [machine] '{entry}' must be a name")
        elif entry in UNITS:
            if not isinstance(value, bool):
                raise UnknownTargetError(f"{path}: [machine] '{entry}' must be true or false")
        elif type(value) is not int:
            raise UnknownTargetError(f"{path}: [machine] '{entry}' must be an integer")
    try:
        return Target(path.stem, description, Machine(**machine))
    except ValueError as error:
        raise UnknownTargetError(f"{path}: {error}") from None
