# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Waveforms of simulations: their formats, the phase by its name, and a view for GTKWave."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from daqkf.hw_targets.status import Phase
from daqkf.lowering.rtl.array import TOP
from daqkf.support.errors import DaqkfError

FORMATS = ("vcd", "fst")

TILES = 4
"""That a waveform shows unless told otherwise; the program is loaded before the first."""

_PHASES = "daqkf_phase_names"
_HIGHEST = 8 * max(len(phase.name) for phase in Phase) - 1
_PHASE_TEXT = f"phase_names.text[{_HIGHEST}:0]"


@dataclass(frozen=True)
class Waveform:
    """A file that shows what an array does until so many tiles have left it.

    A cycle takes 10 ns: inputs change at its beginning, the clock rises in its middle.

    Raises:
        DaqkfError: a suffix that is no format, or no tile.
    """

    path: Path
    tiles: int = TILES

    def __post_init__(self):
        if self.format not in FORMATS:
            raise DaqkfError(f"{self.path}: waveforms are files in .vcd or .fst")
        if self.tiles < 1:
            raise DaqkfError(f"a waveform of {self.tiles} tiles; it needs at least 1")

    @property
    def format(self) -> str:
        """One of `FORMATS`, as the suffix says."""
        return self.path.suffix.removeprefix(".").lower()

    @property
    def view(self) -> Path:
        """The file beside it that GTKWave opens it with."""
        return self.path.with_suffix(".gtkw")


def phase_names() -> dict[str, str]:
    """A module by file name that shows `status_phase` by name, bound to the array.

    `phase` is an enumeration, which FST files name the values of; `text` has them in ASCII.
    """
    values = ", ".join(f"{phase.name} = 3'd{phase}" for phase in Phase)
    cases = "".join(f'      3\'d{phase}: text = "{phase.name}";\n' for phase in Phase)
    text = (
        f"module {_PHASES}(input logic [2:0] status_phase);\n"
        f"  typedef enum logic [2:0] {{{values}}} phase_t;\n"
        "  phase_t phase;\n"
        "  assign phase = phase_t'(status_phase);\n"
        f"  logic [{_HIGHEST}:0] text;\n"
        "  always_comb\n"
        "    case (status_phase)\n"
        f"{cases}"
        "    endcase\n"
        "endmodule\n"
        f"bind {TOP} {_PHASES} phase_names(.status_phase(status_phase));\n"
    )
    return {f"{_PHASES}.sv": text}


def gtkwave_view(waveform: Waveform, files: Mapping[str, str]) -> str:
    """A save file of GTKWave: phase, streams, and the first lane of the first element.

    `files` are the Verilog files of the array.
    """
    from vcd.gtkw import GTKWSave

    top = files[f"{TOP}.sv"]
    element = _instances(top)["element0"]
    lane, kind = next(iter(_instances(files[f"{element}.sv"]).items()))
    scope = f"TOP.{TOP}"
    ports = [name for name, register in _signals(top) if not register]
    streams = {"Program": "prog_", "Activations": "x_", "Results": "y_"}
    groups = {
        title: (scope, [name for name in ports if name.startswith(prefix)])
        for title, prefix in streams.items()
    }
    others = [name for name in ports if not name.startswith(tuple(streams.values()))]
    groups = {"Array": (scope, others), **groups}
    for title, path, module in (
        ("Element 0", f"{scope}.element0", element),
        (f"Element 0, {lane}", f"{scope}.element0.{lane}", kind),
    ):
        groups[title] = path, [name for name, _ in _signals(files[f"{module}.sv"])]

    text = StringIO()
    save = GTKWSave(text)
    save.dumpfile(str(waveform.path))
    save.trace(f"{scope}.{_PHASE_TEXT}", alias="phase", datafmt="ascii")
    for title, (path, names) in groups.items():
        with save.group(title):
            for name in names:
                save.trace(f"{path}.{name}")
    return text.getvalue()


def _instances(text: str) -> dict[str, str]:
    """The modules that a module has, by the names of their instances."""
    found = re.findall(r"^  (\w+) (\w+) \($", text, re.MULTILINE)
    return {name: module for module, name in found}


def _signals(text: str) -> Iterator[tuple[str, bool]]:
    """The ports and registers of a module, vectors with their range, and whether it is the latter.

    Relies on what the exporter writes: a line for each, where a port without a direction has
    that and the type of the port before.
    """
    ports = text[: text.index(");")]
    declared, bits = r"^ +(input|output|)\b *(\[\d+:0\])? *(\w+),?$", ""
    for direction, own, name in re.findall(declared, ports, re.MULTILINE):
        bits = own if direction else bits
        yield name + bits, False
    for own, name in re.findall(r"^  reg *(\[\d+:0\])? +(\w+);$", text, re.MULTILINE):
        yield name + own, True
