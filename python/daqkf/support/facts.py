# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Facts in JSON files of saved folders, which may have been damaged or written by anybody."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daqkf.dialects.memory import require_memory
from daqkf.support.errors import DaqkfError

_NAMES = {
    str: "a text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def read_json(path: Path) -> Any:
    """What a JSON file has.

    Raises:
        DaqkfError: it is not text or not JSON, or takes too much memory.
        OSError: it cannot be read.
    """
    require_memory(path.stat().st_size, str(path))
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise DaqkfError(f"{path}: not a text file") from None
    except RecursionError:
        raise DaqkfError(f"{path}: nested too deeply") from None
    except ValueError as error:
        raise DaqkfError(f"{path}: not JSON: {error}") from None


@dataclass(frozen=True)
class Facts:
    """A JSON object, and where it is from."""

    path: Path
    place: str
    """The fields that lead to it, each followed by a point."""
    values: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Facts":
        """The object that a file has.

        Raises:
            DaqkfError: it is not text, not JSON, or something else than an object.
            OSError: it cannot be read.
        """
        values = read_json(path)
        if not isinstance(values, dict):
            raise DaqkfError(f"{path}: must be an object, not {_NAMES[type(values)]}")
        return cls(path, "", values)

    def get[T](self, name: str, kind: type[T]) -> T:
        """A field that must be there, and be of this type of JSON's.

        Raises:
            DaqkfError: it is not.
        """
        if name not in self.values:
            raise DaqkfError(f"{self.path}: lacks '{self.place}{name}'")
        value = self.values[name]
        if type(value) is not kind:
            expected = f"must be {_NAMES[kind]}, not {_NAMES[type(value)]}"
            raise DaqkfError(f"{self.path}: '{self.place}{name}' {expected}")
        return value

    def part(self, name: str) -> "Facts":
        """A field that is an object itself.

        Raises:
            DaqkfError: it is not.
        """
        return Facts(self.path, f"{self.place}{name}.", self.get(name, dict))

    def items[T](self, name: str, kind: type[T]) -> list[T]:
        """A field that is a list of such.

        Raises:
            DaqkfError: it is not.
        """
        entries = self.get(name, list)
        numbered = {str(number): entry for number, entry in enumerate(entries)}
        inner = Facts(self.path, f"{self.place}{name}.", numbered)
        return [inner.get(number, kind) for number in numbered]
