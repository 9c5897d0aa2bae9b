# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Waveforms of simulations: their formats, the names of phases, and a view for GTKWave."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from daqkf.hw_targets.status import Phase
from daqkf.support.errors import DaqkfError

FORMATS = ("vcd", "fst")

TILES = 4
"""The number of tiles that a waveform shows by default, after the loading of the program."""

_PHASES = "daqkf_phase_names"
_HIGHEST = 8 * max(len(phase.name) for phase in Phase) - 1
_PHASE_TEXT = f"phase_names.text[{_HIGHEST}:0]"


@dataclass(frozen=True)
class Waveform:
    """A file that shows what an array does until a number of tiles have left it.

    A cycle takes 10 ns: inputs change at its beginning, and the clock rises in its middle.

    Raises:
        DaqkfError: the suffix is no format of waveforms, or the number of tiles is below 1.
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
        """The format that the suffix names, one of `FORMATS`."""
        return self.path.suffix.removeprefix(".").lower()

    @property
    def view(self) -> Path:
        """The file beside the waveform with which GTKWave opens it."""
        return self.path.with_suffix(".gtkw")


def phase_names() -> dict[str, str]:
    """The SystemVerilog, by file name, of a module that shows `status_phase` by name.

    It is bound to the array. Its `phase` is an enumeration, whose names are in FST files; `text`
    has the same names in ASCII.
    """
    from daqkf.lowering.rtl.array import TOP

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
    """A save file of GTKWave for the phase, the streams, and the first element's first lane.

    `files` are the Verilog files of the array.
    """
    from vcd.gtkw import GTKWSave

    from daqkf.lowering.rtl.array import TOP

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
    """The module of each instance in a module's text, by the name of the instance."""
    found = re.findall(r"^  (\w+) (\w+) \($", text, re.MULTILINE)
    return {name: module for module, name in found}


def _signals(text: str) -> Iterator[tuple[str, bool]]:
    """The ports and registers of a module, vectors with their range; True for a register.

    This relies on how the exporter writes modules: each port has a line, and a port without a
    direction has the direction and the type of the port before.
    """
    ports = text[: text.index(");")]
    declared, bits = r"^ +(input|output|)\b *(\[\d+:0\])? *(\w+),?$", ""
    for direction, own, name in re.findall(declared, ports, re.MULTILINE):
        bits = own if direction else bits
        yield name + bits, False
    for own, name in re.findall(r"^  reg *(\[\d+:0\])? +(\w+);$", text, re.MULTILINE):
        yield name + own, True
