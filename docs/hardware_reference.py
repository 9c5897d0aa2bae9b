# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The reference of hardware: targets, families, devices, memories, fabrics.

`docs/reference.py` writes these pages. They are made of what `hw_targets` loads, and of the
docstrings of its fields, so a file that is added there has its row here.
"""

import ast
import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

from daqkf.hw_targets import load_target, machine, target_names
from daqkf.hw_targets.device import LABELS, Device, device_names, load_device
from daqkf.hw_targets.fabric import fabric_names, load_fabric
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.families.descriptor import Family
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.memory import load_memory, memory_names


def field_texts(kind: type) -> dict[str, str]:
    """The docstring below each field of a dataclass, in one line."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(kind)).body)  # type: ignore
    found: dict[str, str] = {}
    for entry, after in pairwise(body):
        if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name):
            match after:
                case ast.Expr(ast.Constant(str(text))):
                    found[entry.target.id] = " ".join(text.split())
                case _:
                    pass
    return found


def _table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [tuple(columns), *(tuple(map(str, row)) for row in rows)]
    lines.insert(1, ("---",) * len(lines[0]))
    return "".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines
    )


def _value(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case tuple():
            return ", ".join(map(str, value))
        case _:
            return str(value)


_CHOICE = re.compile("one of `([A-Z_]+)`")


def _choices(match: re.Match[str]) -> str:
    """The values of a constant of `machine`, which a docstring names."""
    *some, last = (f"`{value}`" for value in getattr(machine, match[1]))
    return f"{', '.join(some)} or {last}"


def _targets() -> str:
    texts = field_texts(Machine)
    fields = dataclasses.fields(Machine)
    rows = [(f"[`{name}`](#{name})", load_target(name).description) for name in target_names()]
    text = [
        "# Targets\n\nA target says what an array is: `--target NAME`, `target=` in Python. A "
        "name can be followed by options that differ, as in `wide:pes=8,lanes=16`, and a path of "
        f"a TOML file with the same entries is a target, too.\n\n{_table(('target', 'is'), rows)}"
    ]
    options = [
        (
            f"`{field.name}`",
            "required" if field.default is dataclasses.MISSING else f"`{_value(field.default)}`",
            _CHOICE.sub(_choices, texts.get(field.name, "")),
        )
        for field in fields
    ]
    text.append(
        "\n## Options\n\n"
        "Depths are limits here; the memories of an array are as deep as its program needs.\n\n"
        f"{_table(('option', 'default', 'what it is'), options)}"
    )
    for name in target_names():
        target = load_target(name)
        values = (
            (f"`{field.name}`", f"`{_value(getattr(target.machine, field.name))}`")
            for field in fields
            if getattr(target.machine, field.name) != field.default
        )
        text.append(
            f"\n## {name}\n\n{target.description}.\n\n{_table(('option', 'value'), values)}"
        )
    return "".join(text)


def _families() -> str:
    rows = [
        (
            f"`{name}`",
            (inspect.getdoc(sys.modules[type(family.word).__module__]) or "").splitlines()[0],
            ", ".join(f"`{semiring.value}`" for semiring in family.semirings),
            "yes" if family.lockstep else "no",
        )
        for name, family in FAMILIES.items()
    ]
    said = field_texts(Family)["lockstep"]
    return (
        "# Families of elements\n\nThe option `families` of a target, or `--family`, says which "
        "kind an array's elements are.\n\n"
        f"{_table(('family', 'is', 'semirings', 'in step'), rows)}\n**In step**: {said}\n"
    )


def _devices() -> str:
    texts = field_texts(Device)
    names = [field.name for field in dataclasses.fields(Device)]
    columns = [name for name in names if name not in ("name", "description", "memories")]
    devices = [load_device(name) for name in device_names()]
    rows = [
        (
            f"`{device.name}`",
            device.description,
            *(_number(getattr(device, c)) for c in columns),
            ", ".join(f"`{memory}`" for memory in device.memories),
        )
        for device in devices
    ]
    headings = ("device", "is", *(LABELS.get(c, c) for c in columns), "memories")
    notes = "".join(
        f"- **{LABELS.get(c, c)}**: {texts[c]}\n" for c in (*columns, "memories") if c in texts
    )
    return (
        "# Devices\n\nThese are what `--device` takes. Each file in `hw_targets/devices/` names "
        f"the source of its numbers.\n\n{_table(headings, rows)}\n{notes}"
    )


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"`{value}`"


def _memories() -> str:
    rows = [
        (
            f"`{memory.name}`",
            memory.description,
            f"{memory.bandwidth / 1e9:g}",
            f"{memory.latency * 1e9:g}",
            f"{memory.refresh * 1e9:g} ns each {memory.refresh_interval * 1e9:g} ns",
        )
        for memory in map(load_memory, memory_names())
    ]
    headings = ("memory", "is", "GB/s of a channel", "latency, ns", "refresh")
    return (
        "# External memories\n\nThese are what `--memory` of `daqkf plan` and `daqkf bench` and "
        "`--external-memory` take; `NAMExN` are N channels. Each file in `hw_targets/memories/` "
        f"names the source of its numbers.\n\n{_table(headings, rows)}"
    )


def _fabrics() -> str:
    rows = [
        (
            f"`{fabric.name}`",
            fabric.description,
            f"`{fabric.flat}`",
            f"{fabric.dsp_cells:g}" if fabric.dsp_cells else "",
        )
        for fabric in map(load_fabric, fabric_names())
    ]
    headings = ("fabric", "is", "yosys", "cells that a DSP block stands for")
    return (
        "# Fabrics\n\nThese are what `--fabric` takes: the primitives of a kind of FPGA, and how "
        f"yosys maps to them.\n\n{_table(headings, rows)}"
    )


PAGES: Mapping[str, tuple[str, Callable[[], str]]] = {
    "targets": ("what an array is: every target, and every option", _targets),
    "families": ("kinds of elements", _families),
    "devices": ("FPGAs and what they have", _devices),
    "memories": ("external memories", _memories),
    "fabrics": ("primitives of FPGAs, as yosys maps to them", _fabrics),
}
"""What each page is, and what makes it."""


def pages() -> dict[str, str]:
    """The text of every page, without a header, by its path in the reference."""
    return {f"hardware/{name}.md": make() for name, (_, make) in PAGES.items()}


def rows() -> list[str]:
    """The rows of the reference's table of contents."""
    return [f"| [{name}](hardware/{name}.md) | {said} |\n" for name, (said, _) in PAGES.items()]
