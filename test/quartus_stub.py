# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""As much of Quartus and Platform Designer as projects need to be found wrong: neither runs here.

Tcl is run by Python's own interpreter. A component (`_hw.tcl`) needs every signal that its
interfaces have to have, a system needs instances, interfaces and parameters that there are,
connections of equal kinds, and no clock, reset or bus that is left open. `quartus_sh -t build.tcl`
then runs the steps of a project, each of which wants what the one before has made. What Intel's IPs
have is in `IPS`.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcl_stub import TclStub


class QuartusError(Exception):
    """What Quartus would not take."""


AXI_LITE = {
    *(
        f"{channel}{part}"
        for channel in ("aw", "ar")
        for part in ("addr", "prot", "valid", "ready")
    ),
    *("wdata", "wstrb", "wvalid", "wready", "bresp", "bvalid", "bready"),
    *("rdata", "rresp", "rvalid", "rready"),
}
AXI = AXI_LITE | {
    *(f"{channel}{part}" for channel in ("aw", "ar") for part in ("id", "len", "size", "burst")),
    *("wlast", "bid", "rid", "rlast"),
}
ROLES: Mapping[str, tuple[set[str], set[str]]] = {
    "clock": ({"clk"}, set()),
    "reset": ({"reset_n"}, set()),
    "interrupt": ({"irq"}, set()),
    "axi4lite": (AXI_LITE, set()),
    "axi4": (AXI, {f"{channel}{part}" for channel in ("aw", "ar") for part in ("lock", "cache")}),
    "axi4stream": ({"tdata", "tvalid", "tready"}, {"tlast"}),
}
"""The signals that an interface has to have, and those that it may have."""

PROPERTIES: Mapping[str, set[str]] = {
    "clock": {"clockRate"},
    "reset": {"associatedClock", "synchronousEdges"},
    "interrupt": {"associatedClock", "associatedReset", "associatedAddressablePoint"},
    "axi4lite": {"associatedClock", "associatedReset"},
    "axi4": {
        *("associatedClock", "associatedReset", "readIssuingCapability"),
        *("writeIssuingCapability", "combinedIssuingCapability"),
    },
    "axi4stream": {"associatedClock", "associatedReset"},
}

CONNECTS = {"axi4lite": "axi", "axi4": "axi", "axi3": "axi"}
"""Kinds that the interconnect joins."""


@dataclass
class Interface:
    kind: str
    start: bool
    """Whether it begins: a source, a manager, or who is interrupted."""
    optional: bool = False
    roles: dict[str, tuple[str, bool, int]] = field(default_factory=dict)
    """Port, whether it goes in, bits."""


@dataclass
class Component:
    interfaces: dict[str, Interface]
    parameters: set[str] = field(default_factory=set)
    module: str = ""
    files: list[str] = field(default_factory=list)


def _ends(
    kind: str, *names: str, start: bool = False, optional: bool = False
) -> dict[str, Interface]:
    return {name: Interface(kind, start, optional) for name in names}


HPS_MEMORY = {
    *(
        "HPS_PROTOCOL",
        "MEM_VENDOR",
        "MEM_FORMAT",
        "MEM_VOLTAGE",
        "MEM_CLK_FREQ",
        "MEM_CLK_FREQ_MAX",
    ),
    *("MEM_DQ_WIDTH", "MEM_DQ_PER_DQS", "MEM_ROW_ADDR_WIDTH", "MEM_COL_ADDR_WIDTH"),
    *("MEM_BANKADDR_WIDTH", "MEM_TCL", "MEM_WTCL", "MEM_DRV_STR", "MEM_RTT_NOM", "MEM_TINIT_US"),
    *("MEM_TMRD_CK", "MEM_TRAS_NS", "MEM_TRCD_NS", "MEM_TRP_NS", "MEM_TREFI_US", "MEM_TRFC_NS"),
    *("MEM_TWR_NS", "MEM_TWTR", "MEM_TFAW_NS", "MEM_TRRD_NS", "MEM_TRTP_NS"),
}

IPS: Mapping[str, Component] = {
    "clock_source": Component(
        {
            **_ends("clock", "clk_in"),
            **_ends("clock", "clk", start=True),
            **_ends("reset", "clk_in_reset"),
            **_ends("reset", "clk_reset", start=True),
        },
        {"clockFrequency", "clockFrequencyKnown", "resetSynchronousEdges"},
    ),
    "altera_pll": Component(
        {
            **_ends("clock", "refclk"),
            **_ends("clock", "outclk0", start=True),
            **_ends("reset", "reset"),
        },
        {
            *("gui_reference_clock_frequency", "gui_number_of_clocks", "gui_use_locked"),
            "gui_output_clock_frequency0",
        },
    ),
    "altera_hps": Component(
        {
            **_ends("clock", "h2f_lw_axi_clock", "f2h_axi_clock"),
            **_ends("reset", "h2f_reset", start=True),
            **_ends("axi3", "h2f_lw_axi_master", start=True),
            **_ends("axi3", "f2h_axi_slave"),
            **_ends("interrupt", "f2h_irq0", "f2h_irq1", start=True, optional=True),
            **_ends("conduit", "memory"),
        },
        {
            *HPS_MEMORY,
            *("LWH2F_Enable", "S2F_Width", "F2S_Width", "F2SDRAM_Type", "F2SDRAM_Width"),
            *("F2SINTERRUPT_Enable", "MPU_EVENTS_Enable"),
        },
    ),
}
"""Those that are used, with what is enabled in them."""

_DDR3 = {
    **{f"mem_{name}": ("output", 1) for name in ("ck", "ck_n", "cke", "cs_n", "ras_n", "cas_n")},
    **{f"mem_{name}": ("output", 1) for name in ("we_n", "reset_n", "odt")},
    "mem_a": ("output", 15),
    "mem_ba": ("output", 3),
    "mem_dm": ("output", 4),
    "mem_dq": ("inout", 32),
    "mem_dqs": ("inout", 4),
    "mem_dqs_n": ("inout", 4),
    "oct_rzqin": ("input", 1),
}
EXPORTED = {"reference.clk_in": {"clk": ("input", 1)}, "hps.memory": _DDR3}
"""The ports of what a system exports."""


class _Interpreter(TclStub):
    """A tool of Quartus."""

    def __init__(self) -> None:
        super().__init__(QuartusError)
        self.tcl.eval("package provide qsys 16.0")


def _known(what: str, name: str, there: bool) -> None:
    if not there:
        raise QuartusError(f"no {what} '{name}'")


class ComponentScript(_Interpreter):
    """Runs a `_hw.tcl`."""

    def __init__(self, script: Path):
        super().__init__()
        self.script, self.name, self.component = script, "", Component({})
        self.source(script)
        for name, entry in self.component.interfaces.items():
            missing = ROLES[entry.kind][0] - entry.roles.keys()
            if missing:
                raise QuartusError(f"{name} has no {', '.join(sorted(missing))}")

    def do_set_module_property(self, name: str, value: str) -> None:
        known = {
            *("NAME", "VERSION", "DISPLAY_NAME", "DESCRIPTION", "GROUP", "AUTHOR", "EDITABLE"),
            "INSTANTIATE_IN_SYSTEM_MODULE",
        }
        _known("module property", name, name in known)
        if name == "NAME":
            self.name = value

    def do_add_fileset(self, name: str, kind: str, *_: str) -> None:
        assert name == kind == "QUARTUS_SYNTH"

    def do_set_fileset_property(self, name: str, key: str, value: str) -> None:
        assert (name, key) == ("QUARTUS_SYNTH", "TOP_LEVEL")
        self.component.module = value

    def do_add_fileset_file(self, name: str, kind: str, path: str, file: str, *more: str) -> None:
        assert (kind, path) == ("SYSTEM_VERILOG", "PATH") and more in ((), ("TOP_LEVEL_FILE",))
        _known("file", file, name == file and (self.script.parent / file).is_file())
        self.component.files.append(file)

    def do_add_interface(self, name: str, kind: str, way: str) -> None:
        _known("kind of interface", kind, kind in ROLES)
        assert way in ("start", "end")
        # Who sends an interrupt is the end of it.
        self.component.interfaces[name] = Interface(kind, way == "start")

    def do_set_interface_property(self, name: str, key: str, value: str) -> None:
        kind = self.component.interfaces[name].kind
        _known("interface property", key, key in PROPERTIES[kind])
        if key.startswith("associated"):
            _known("interface", value, value in self.component.interfaces)

    def do_add_interface_port(self, name: str, port: str, role: str, way: str, width: str) -> None:
        entry = self.component.interfaces[name]
        needed, allowed = ROLES[entry.kind]
        _known("role", role, role in needed | allowed)
        assert way in ("Input", "Output")
        entry.roles[role] = port, way == "Input", int(width)


class System(_Interpreter):
    """Runs a script of `qsys-script`."""

    def __init__(self, script: Path, components: Mapping[str, Component]):
        super().__init__()
        self.known = {**IPS, **components}
        self.instances: dict[str, Component] = {}
        self.connections: set[tuple[str, str]] = set()
        self.exports: dict[str, str] = {}
        self.pending: dict[str, str] = {}
        self.bases: dict[tuple[str, str], int] = {}
        self.saved = ""
        self.source(script)

    def _interface(self, name: str) -> Interface:
        instance, _, interface = name.partition(".")
        _known("instance", instance, instance in self.instances)
        _known("interface", name, interface in self.instances[instance].interfaces)
        return self.instances[instance].interfaces[interface]

    def do_create_system(self, name: str) -> None:
        self.name = name

    def do_set_project_property(self, name: str, _: str) -> None:
        _known("project property", name, name in ("DEVICE_FAMILY", "DEVICE"))

    def do_add_instance(self, name: str, kind: str) -> None:
        _known("component", kind, kind in self.known)
        self.instances[name] = self.known[kind]

    def do_set_instance_parameter_value(self, instance: str, name: str, _: str) -> None:
        _known("parameter", name, name in self.instances[instance].parameters)

    def do_add_interface(self, name: str, kind: str, way: str) -> None:
        assert way in ("sink", "end")
        self.pending[name] = kind

    def do_set_interface_property(self, name: str, key: str, value: str) -> None:
        assert key == "EXPORT_OF"
        if self._interface(value).kind != self.pending[name]:
            raise QuartusError(f"{value} is no {self.pending[name]}")
        self.exports[name] = value

    def do_add_connection(self, start: str, end: str) -> None:
        first, second = self._interface(start), self._interface(end)
        kinds = [CONNECTS.get(entry.kind, entry.kind) for entry in (first, second)]
        if kinds[0] != kinds[1] or not first.start or second.start:
            raise QuartusError(f"{start} cannot be connected to {end}")
        if kinds[0] in ("clock", "reset") and any(end == other for _, other in self.connections):
            raise QuartusError(f"{end} has two sources")
        self.connections.add((start, end))

    def do_set_connection_parameter_value(self, connection: str, name: str, value: str) -> None:
        start, _, end = connection.partition("/")
        _known("connection", connection, (start, end) in self.connections)
        kind = self._interface(start).kind
        _known("parameter", name, name == ("irqNumber" if kind == "interrupt" else "baseAddress"))
        self.bases[start, end] = int(value, 0)

    def do_save_system(self, name: str) -> None:
        used = {name for pair in self.connections for name in pair} | {*self.exports.values()}
        for instance, component in self.instances.items():
            for name_, entry in component.interfaces.items():
                full = f"{instance}.{name_}"
                needed = not (entry.optional or (entry.start and entry.kind in ("clock", "reset")))
                if needed and full not in used:
                    raise QuartusError(f"{full} is not connected")
        for start, end in self.connections:
            kind = self._interface(start).kind
            if kind not in ("clock", "reset") and (start, end) not in self.bases:
                raise QuartusError(f"{start}/{end} has no address or number")
        self.saved = name

    @property
    def ports(self) -> dict[str, tuple[str, int]]:
        """The ports of the module that is made of the system."""
        return {
            f"{name}_{port}": kind
            for name, source in self.exports.items()
            for port, kind in EXPORTED[source].items()
        }


class Quartus(_Interpreter):
    """Runs a project: `quartus_sh -t build.tcl`, and what that calls."""

    def __init__(self, script: Path, slack: float = 0.1):
        super().__init__()
        self.folder, self.slack = script.parent, slack
        self.system: System | None = None
        self.top: dict[str, tuple[str, int]] = {}
        here = Path.cwd()
        try:
            self.source(script)
        finally:
            self.tcl.call("cd", str(here))

    def do_qexec(self, command: str) -> None:
        program, *words = shlex.split(command)
        self.done.append(program)
        step = getattr(self, f"_run_{program.replace('-', '_')}", None)
        _known("program", program, step is not None)
        assert step is not None
        step(words)

    def _wants(self, program: str) -> None:
        if program not in self.done:
            raise QuartusError(f"{program} has not run")

    def _components(self, words: list[str]) -> dict[str, Component]:
        (path,) = [word for word in words if word.startswith("--search-path=")]
        places = path.removeprefix("--search-path=").split(",")
        assert places[-1] == "$", "the usual places"
        scripts = [
            ComponentScript(file)
            for place in places[:-1]
            for file in sorted((self.folder / place).glob("*_hw.tcl"))
        ]
        return {script.name: script.component for script in scripts}

    def _run_qsys_script(self, words: list[str]) -> None:
        (script,) = [word.removeprefix("--script=") for word in words if "--script" in word]
        self.system = System(self.folder / script, self._components(words))
        (self.folder / self.system.saved).write_text("")

    def _run_qsys_generate(self, words: list[str]) -> None:
        assert self.system is not None and words[0] == self.system.saved
        _known("file", words[0], (self.folder / words[0]).is_file())
        assert "--synthesis=VERILOG" in words and "--output-directory=soc" in words
        assert "daqkf_system" in self._components(words)
        made = self.folder / "soc" / "synthesis"
        (made / "submodules").mkdir(parents=True)
        (made / "soc.qip").write_text("")
        (made / "submodules" / "hps_sdram_p0_pin_assignments.tcl").write_text("")

    def _run_quartus_map(self, words: list[str]) -> None:
        (project,) = words
        _known("project", project, (self.folder / f"{project}.qpf").is_file())
        assert f'PROJECT_REVISION = "{project}"' in (self.folder / f"{project}.qpf").read_text()
        settings = Settings(self.folder / f"{project}.qsf")
        self.top = settings.top
        Constraints(self.folder / settings.values["SDC_FILE"][0], self.top)

    def _run_quartus_sta(self, words: list[str]) -> None:
        if words[0] == "-t":
            self._wants("quartus_map")
            assert "quartus_fit" not in self.done
            _known("file", words[1], (self.folder / words[1]).is_file())
            return
        self._wants("quartus_asm")
        assert words == ["daqkf"]
        folder = self.folder / "output_files"
        entry = "Type  : Slow 1100mV 85C Model Setup 'clock'\nSlack : {}\nTNS   : 0.000\n"
        text = entry.format(0.5) + entry.format(self.slack)
        (folder / "daqkf.sta.summary").write_text(text)

    def _run_quartus_fit(self, words: list[str]) -> None:
        self._wants("quartus_map")
        assert words == ["daqkf"]

    def _run_quartus_asm(self, words: list[str]) -> None:
        self._wants("quartus_fit")
        assert words == ["daqkf"]
        (self.folder / "output_files").mkdir()
        (self.folder / "output_files" / "daqkf.sof").write_text("")

    def _run_quartus_cpf(self, words: list[str]) -> None:
        *_, source, result = words
        _known("file", source, (self.folder / source).is_file())
        (self.folder / result).write_text("")


class Settings(_Interpreter):
    """Runs a `.qsf`."""

    def __init__(self, script: Path):
        super().__init__()
        self.folder, self.values, self.pins = script.parent, dict[str, list[str]](), set[str]()
        self.source(script)
        (name,) = self.values["TOP_LEVEL_ENTITY"]
        (file,) = self.values["SYSTEMVERILOG_FILE"]
        text = (self.folder / file).read_text()
        _known("module", name, f"module {name} (" in text)
        self.top = {
            port: (way, int(high or 0) + 1)
            for way, high, port in re.findall(
                r"^  (input|output|inout)\s+wire\s+(?:\[(\d+):0\])?\s*(\w+),?$", text, re.MULTILINE
            )
        }
        for pin in self.pins:
            _known("port", pin, pin in self.top)

    def do_set_global_assignment(self, flag: str, name: str, value: str) -> None:
        assert flag == "-name"
        known = {
            *("FAMILY", "DEVICE", "TOP_LEVEL_ENTITY", "PROJECT_OUTPUT_DIRECTORY"),
            *("SYSTEMVERILOG_FILE", "QIP_FILE", "SDC_FILE", "OPTIMIZATION_MODE"),
        }
        _known("assignment", name, name in known)
        if name.endswith("_FILE"):
            _known("file", value, (self.folder / value).is_file())
        self.values.setdefault(name, []).append(value)

    def do_set_location_assignment(self, pin: str, flag: str, port: str) -> None:
        assert flag == "-to" and re.fullmatch(r"PIN_[A-Z]{1,2}\d{1,2}", pin)
        self.pins.add(port)

    def do_set_instance_assignment(self, flag: str, name: str, _: str, to: str, port: str) -> None:
        assert (flag, name, to) == ("-name", "IO_STANDARD", "-to")
        self.pins.add(port)


class Constraints(_Interpreter):
    """Runs a `.sdc`."""

    def __init__(self, script: Path, ports: Mapping[str, Any]):
        super().__init__()
        self.ports, self.clocks = ports, dict[str, float]()
        self.source(script)

    def do_get_ports(self, name: str) -> str:
        _known("port", name, name in self.ports)
        return name

    def do_create_clock(self, *arguments: str) -> None:
        flag, _, other, period, port = arguments
        assert (flag, other) == ("-name", "-period")
        self.clocks[port] = float(period)

    def do_derive_pll_clocks(self) -> None:
        assert self.clocks

    def do_derive_clock_uncertainty(self) -> None:
        assert self.clocks
