# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Targets: the organisation and the limits of an array, one TOML file each."""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

from daqkf.hw_targets.machine import Machine

_FOLDER = Path(__file__).parent / "targets"

_COLON = ":"
"""What stands between a target's name and the entries that differ."""


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

    Behind a colon there may be entries that differ from those of the target or file, with commas
    between them: `wide-memory:pes=8,lanes=64,activation_memory=ultra`.

    Raises:
        UnknownTargetError: there is none, or its file lacks or has surplus entries, or it has no
            such entries to change.
    """
    base, colon, entries = name.partition(_COLON)
    if colon and not Path(name).is_file():
        found = _load(base)
        try:
            return replace(found, machine=replace(found.machine, **_entries(entries)))
        except (ValueError, TypeError) as error:
            raise UnknownTargetError(f"target '{name}': {error}") from None
    return _load(name)


def derived_name(base: str, machine: Machine) -> str:
    """The name by which `load_target` finds a machine, as one that differs from a base's.

    Raises:
        UnknownTargetError: there is no such base.
        ValueError: they differ in lists, which such names cannot have.
    """
    root = base if Path(base).is_file() else base.partition(_COLON)[0]
    old = load_target(root).machine
    parts: list[str] = []
    for entry in fields(Machine):
        value = getattr(machine, entry.name)
        if value != getattr(old, entry.name):
            if isinstance(value, tuple):
                raise ValueError(f"a target's name cannot have the list '{entry.name}'")
            text = str(value).lower() if isinstance(value, bool) else str(value)
            parts.append(f"{entry.name}={text}")
    return f"{root}{_COLON}{','.join(parts)}" if parts else root


def _entries(text: str) -> dict[str, Any]:
    """The entries of a machine behind a target's name.

    Raises:
        ValueError: they are unknown, or of another type.
    """
    known = {field.name: field for field in fields(Machine)}
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name not in known:
            raise ValueError(f"[machine] does not know '{name}'")
        typed: object = {"true": True, "false": False}.get(value, value)
        if value.isascii() and value.isdecimal():
            typed = int(value)
        found[name] = _value(name, typed, known[name].default)
    return found


def _load(name: str) -> Target:
    path = Path(name) if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    if not path.is_file() or (path.parent == _FOLDER and path.stem not in target_names()):
        known = ", ".join(target_names())
        raise UnknownTargetError(f"unknown target '{name}' (known: {known}, or a .toml file)")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise UnknownTargetError(f"{path}: {error}") from None
    description = data.pop("description", "")
    machine = data.pop("machine", None)
    if data or not isinstance(machine, dict) or not isinstance(description, str):
        raise UnknownTargetError(f"{path}: a target has a description and a table [machine]")
    try:
        return Target(path.stem, description, _machine(cast("dict[str, object]", machine)))
    except ValueError as error:
        raise UnknownTargetError(f"{path}: {error}") from None


def _machine(entries: Mapping[str, object]) -> Machine:
    """The machine of a table of a target's file.

    Raises:
        ValueError: entries that lack, are unknown or of another type, or no machine can have.
    """
    known = {field.name: field for field in fields(Machine)}
    for entry in sorted(known.keys() | entries.keys()):
        if entry not in known:
            raise ValueError(f"[machine] does not know '{entry}'")
        if entry not in entries and known[entry].default is MISSING:
            raise ValueError(f"[machine] lacks '{entry}'")
    arguments: dict[str, Any] = {
        entry: _value(entry, value, known[entry].default) for entry, value in entries.items()
    }
    return Machine(**arguments)


def _value(entry: str, value: object, default: object) -> object:
    """The value of an entry, which has the type of its default, and is an integer without one.

    Raises:
        ValueError: it is of another type.
    """
    if isinstance(default, tuple):
        of, what = (str, "names") if isinstance(default[0], str) else (int, "integers")
        members = cast("list[object]", value) if isinstance(value, list) else None
        if members is None or not all(type(member) is of for member in members):
            raise ValueError(f"[machine] '{entry}' must be a list of {what}")
        return tuple(members)
    kinds: Mapping[type, str] = {bool: "true or false", str: "a name"}
    kind = type(default) if type(default) in kinds else int
    if type(value) is not kind:
        raise ValueError(f"[machine] '{entry}' must be {kinds.get(kind, 'an integer')}")
    return value
