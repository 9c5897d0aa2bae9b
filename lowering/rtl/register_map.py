# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The map of registers (`registers.py`) for those who write drivers: C, Python, Markdown."""

from collections.abc import Callable, Iterable

from daqkf.hw_targets.descriptors import (
    DESCRIPTOR,
    DESCRIPTOR_BYTES,
    RESERVED,
    JobFlags,
    QueueError,
)
from daqkf.hw_targets.fields import IMAGE_WORD_BITS
from daqkf.hw_targets.image_format import IMAGE_MAGIC, IMAGE_VERSION, Header
from daqkf.hw_targets.status import LoadError, Phase
from daqkf.hw_targets.words import ADDRESS_BITS as MEMORY_ADDRESS_BITS
from daqkf.lowering.rtl.registers import (
    ADDRESS_BITS,
    MAP_VERSION,
    REGISTER_BITS,
    REGISTERS,
    Field,
    Register,
)

_LICENCE = (
    "Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.",
    "SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception",
)
_GENERATED = "Made by daqkf-translate from lowering/rtl/registers.py; not to be edited."
_ENUMS = {"STATUS_PHASE": Phase, "STATUS_ERROR": LoadError, "QUEUE_STATUS_ERROR": QueueError}
"""What fields can say."""
_DESCRIPTOR = (
    "a job of a queue: where its fields are, in bytes (addresses have 64 bits, others 32), and "
    "their bits"
)
_EXPECTED = "the constants of the systems that this map is for"
_IMAGE = "the header of a program image: where its words are, in bytes"


def c_header() -> str:
    """Offsets, masks, shifts and reset values as C macros."""
    lines = [
        *(f"// {line}".rstrip() for line in (*_LICENCE, "", _GENERATED)),
        "",
        "#ifndef DAQKF_REGISTERS_H",
        "#define DAQKF_REGISTERS_H",
        "",
        f"#define DAQKF_MAP_BYTES {1 << ADDRESS_BITS:#x}u",
    ]
    for entry in REGISTERS:
        lines += ["", f"// {_said(entry)}"]
        lines += [f"#define DAQKF_{name} {value}u" for name, value in _names(entry)]
    for field, enum in _ENUMS.items():
        lines += ["", f"// {field}"]
        lines += [f"#define DAQKF_{name} {value}u" for name, value in _members(field, enum)]
    for title, names in _formats():
        lines += ["", f"// {title}"]
        lines += [f"#define DAQKF_{name} {value}u" for name, value in names]
    return "\n".join([*lines, "", "#endif", ""])


def python_constants() -> str:
    """The same as a Python module that needs nothing else, for a board's own Python."""
    lines = [
        *(f"# {line}" for line in _LICENCE),
        "",
        f'"""Registers of daqkf_system. {_GENERATED}"""',
        "",
        f"MAP_BYTES = {1 << ADDRESS_BITS:#x}",
    ]
    for entry in REGISTERS:
        lines += ["", f"# {_said(entry)}"]
        lines += [f"{name} = {value}" for name, value in _names(entry)]
    for field, enum in _ENUMS.items():
        lines += ["", f"# {field}"]
        lines += [f"{name} = {value}" for name, value in _members(field, enum)]
    for title, names in _formats():
        lines += ["", f"# {title}"]
        lines += [f"{name} = {value}" for name, value in names]
    return "\n".join([*lines, ""])


def markdown_table() -> str:
    """A row for each register, and for each field that is not all of it."""
    lines = [
        "| address | register | bits | field | access | reset | what it says |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for entry in REGISTERS:
        whole = [field for field in entry.fields if field.width == REGISTER_BITS]
        parts = [field for field in entry.fields if field not in whole]
        own = next((_cells(field, entry) for field in whole), "| | | | ")
        lines.append(f"| {entry.address:#05x} | `{entry.name}` {own}| {_said(entry)} |")
        for field in parts:
            only = "; only with a queue" if field.queue else ""
            lines.append(f"| | {_cells(field, entry)}| {field.description}{only} |")
    return "\n".join([*lines, ""])


def _cells(field: Field, entry: Register) -> str:
    """The columns of a field: bits, name, access, value after a reset."""
    high = field.low + field.width - 1
    bits = f"{high} … {field.low}" if field.width > 1 else f"{field.low}"
    reset = f"{field.reset:#x}" if entry.writable else ""
    return f"| {bits} | `{field.name}` | {field.access.value} | {reset} "


def _said(entry: Register) -> str:
    only = "" if entry.variant is None else "; only in arrays that can tell it apart"
    only = "; only with a queue" if entry.queue else only
    return f"{entry.description}{only}"


def _names(entry: Register) -> Iterable[tuple[str, str]]:
    """The constants of a register: its offset, its reset value, where its fields are."""
    name = entry.name.upper()
    yield f"{name}_OFFSET", f"{entry.address:#x}"
    if entry.writable:
        yield f"{name}_AFTER_RESET", f"{entry.reset:#x}"
    for field in entry.fields:
        yield f"{name}_{field.name.upper()}_SHIFT", f"{field.low}"
        yield f"{name}_{field.name.upper()}_MASK", f"{field.mask:#x}"


def _members(
    field: str, enum: type[Phase] | type[LoadError] | type[QueueError]
) -> Iterable[tuple[str, int]]:
    for member in enum:
        yield f"{field}_{member.name}", member.value


def _formats() -> Iterable[tuple[str, Iterable[tuple[str, int | str]]]]:
    """What a driver has to know besides the registers, under a line that says what it is."""
    yield _EXPECTED, _expected()
    yield _DESCRIPTOR, _descriptor()
    yield _IMAGE, _image()


def _expected() -> Iterable[tuple[str, int | str]]:
    yield "ID_MAGIC_EXPECTED", f"{IMAGE_MAGIC:#x}"
    yield "VERSION_MAP_EXPECTED", MAP_VERSION
    yield "VERSION_IMAGE_EXPECTED", IMAGE_VERSION


def _image() -> Iterable[tuple[str, int]]:
    for word in Header:
        yield f"IMAGE_{word.name}_OFFSET", word.value * IMAGE_WORD_BITS // 8


def _descriptor() -> Iterable[tuple[str, int]]:
    yield "MEMORY_ADDRESS_BITS", MEMORY_ADDRESS_BITS
    yield "DESCRIPTOR_BYTES", DESCRIPTOR_BYTES
    for field, low in DESCRIPTOR.offsets.items():
        if field not in RESERVED:
            yield f"DESCRIPTOR_{field.upper()}_OFFSET", low // 8
            yield f"DESCRIPTOR_{field.upper()}_BITS", DESCRIPTOR.widths[field]
    for flag in JobFlags:
        yield f"DESCRIPTOR_FLAGS_{flag.name}", flag.value


EXPORTS: dict[str, Callable[[], str]] = {
    "c-header": c_header,
    "python-constants": python_constants,
    "register-table": markdown_table,
}
"""Targets of `daqkf-translate` that need no IR."""
