# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Published power of the processor that this runs on."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("processors.toml")
_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class CorePower:
    """Default thermal design power of a core, by the parts of a generation of processors."""

    name: str
    low: float
    """Watts."""
    high: float
    parts: str
    source: str

    def per_joule(self, rate: float) -> tuple[float, float]:
        """Least and high of what one core does for each joule, by what it does in a second."""
        return rate / self.high, rate / self.low

    def facts(self) -> dict[str, Any]:
        """All figures as values for JSON."""
        return asdict(self)


def core_power(cpuinfo: str | None = None) -> CorePower | None:
    """That of the processor in a text like /proc/cpuinfo; None if the data file has none."""
    if cpuinfo is None:
        try:
            cpuinfo = _CPUINFO.read_text(encoding="utf-8")
        except OSError:
            return None
    entries = (line.partition(":") for line in cpuinfo.splitlines())
    # Each thread has an entry; all are alike.
    own = {name.strip(): value.strip() for name, _, value in entries}
    for entry in tomllib.loads(_FILE.read_text(encoding="utf-8"))["generation"]:
        same = (own.get("vendor_id"), own.get("cpu family")) == (
            entry["vendor"],
            str(entry["family"]),
        )
        if same and own.get("model", "") in map(str, entry["models"]):
            return _of(entry)
    return None


def _of(entry: Mapping[str, Any]) -> CorePower:
    low, high = (entry[name]["watts"] / entry[name]["cores"] for name in ("low", "high"))
    parts = ", ".join(
        f"{part['part']}: {part['watts']} W, {part['cores']} cores"
        for part in (entry["low"], entry["high"])
    )
    return CorePower(entry["name"], low, high, parts, entry["source"])
