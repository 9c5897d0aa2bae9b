# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The options of passes: what they are, what their docstrings say of them, and their values.

A pass describes its options in its docstring, as a list of ``- `option`: what it is.``
"""

import dataclasses
import inspect
import re
from dataclasses import dataclass
from types import NoneType
from typing import Any, get_args, get_type_hints

from xdsl.passes import ModulePass
from xdsl.utils.arg_spec import ArgSpec
from xdsl.utils.hints import isa, type_repr


@dataclass(frozen=True)
class PassOption:
    """An option of a pass, as it is spelled in a pipeline."""

    name: str
    kind: str
    """The type of its values."""
    default: str | None
    """Its value if none is given, or None if one has to be."""
    description: str
    """Sentences of the docstring, in one line; empty if it has none."""


_ITEM = re.compile(r"- (?P<names>`[\w-]+`(?:, `[\w-]+`)*): (?P<text>.*)")


def descriptions(docstring: str) -> dict[str, str]:
    """What a docstring's list of options says of each, in one line.

    Lines that are indented go on with the option before.
    """
    found: dict[str, str] = {}
    names: list[str] = []
    for line in inspect.cleandoc(docstring).splitlines():
        if item := _ITEM.fullmatch(line):
            names = re.findall(r"`([\w-]+)`", item["names"])
            found |= dict.fromkeys(names, item["text"])
        elif names and line.startswith("  "):
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
        else:
            names = []
    return found


def summary(kind: type[ModulePass]) -> str:
    """The first paragraph of a pass's docstring, in one line."""
    first, *_ = inspect.cleandoc(kind.__doc__ or "").split("\n\n")
    return " ".join(first.split())


def pass_options(kind: type[ModulePass]) -> list[PassOption]:
    """The options of a pass, in order."""
    texts, types = descriptions(kind.__doc__ or ""), get_type_hints(kind)
    options: list[PassOption] = []
    for field in dataclasses.fields(kind):
        name = field.name.replace("_", "-")
        options.append(
            PassOption(name, type_repr(types[field.name]), _default(field), texts.get(name, ""))
        )
    return options


def _default(field: "dataclasses.Field[Any]") -> str | None:
    if field.default is dataclasses.MISSING:
        return None
    return str(field.default).lower()


def instance(kind: type[ModulePass], spec: ArgSpec) -> ModulePass:
    """The pass with the options of a pipeline.

    Raises:
        ValueError: naming the pass and the option that is unknown, missing or of another type.
    """
    options = {option.name: option for option in pass_options(kind)}
    given = {name.replace("_", "-"): values for name, values in spec.parameters.items()}
    for name in given:
        if name not in options:
            known = f"it has {', '.join(options)}" if options else "it has none"
            raise ValueError(f"{kind.name}: unknown option '{name}' ({known})")
    types = get_type_hints(kind)
    for name, option in options.items():
        if name not in given and option.default is None:
            raise ValueError(f"{kind.name}: the option '{name}' is required")
        if name in given and not _fits(given[name], types[name.replace("-", "_")]):
            stated = ",".join(map(str, given[name])) or "no value"
            raise ValueError(f"{kind.name}: the option '{name}' is {option.kind}, not {stated}")
    try:
        return kind.from_pass_spec(spec)
    except ValueError as error:
        raise ValueError(f"{kind.name}: {error}") from None


def _fits(values: tuple[Any, ...], kind: Any) -> bool:
    """Whether xDSL takes these values for an option of this type."""
    if not values:
        return NoneType in get_args(kind)
    return (len(values) == 1 and isa(values[0], kind)) or isa(values, kind)
