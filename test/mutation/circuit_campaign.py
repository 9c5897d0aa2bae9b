# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Mutants of the RTL, and the tests that simulate the modules which they are in.

Whatever circuit a test makes into SystemVerilog is given all faults of its modules. So the tests
themselves decide, with the programs, pauses and expectations that they have.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import pytest
from circuit_mutants import (
    SELECTOR,
    Fault,
    faults,
    key_of,
    sample,
    selector_text,
    with_faults,
)
from forks import ROOT, attempt
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.hw import HWModuleOp

from daqkf.lowering.hdl import verilog

TESTS = tuple(
    f"test/integration/test_{name}.py"
    for name in (
        *("units", "array", "chain", "row_unit", "operands", "banks", "dispatch", "tiling"),
        *("semirings", "strassen", "whole_layer", "attention", "system"),
    )
)
"""Where the tests are that simulate circuits."""
LEFT_OUT = " and ".join(
    f"not {name}"
    for name in ("lint", "clean", "yosys", "minilm", "block_ram", "simulators_are", "a_folder")
)
"""An expression of pytest's `-k`: tests that only read the text of a circuit, or of how simulators
are built."""
OPTIONS = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=no", "-k", LEFT_OUT]
LONG = 120.0
"""Seconds of tests that are tried at most."""


class _Recorded(Exception):
    """A circuit was noted, and is not built."""


class Circuits:
    """Takes the place of `emit_verilog`: notes the circuits of each test, and builds faults in."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.selected = folder / "selected"
        self.test = ""
        self.units: dict[str, set[str]] = {}
        """The keys of the modules that each test makes."""
        self.faults: dict[str, list[Fault]] = {}
        """All faults of each module, by its key."""
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        self.numbered: Mapping[int, Fault] | None = None
        self._emit = verilog.emit_verilog
        (folder / "emitted").mkdir(exist_ok=True)

    def emit(self, module: ModuleOp) -> dict[str, str]:
        """The SystemVerilog of a circuit with the chosen faults; or, before they are, none."""
        modules = [op for op in module.ops if isinstance(op, HWModuleOp)]
        if self.numbered is None:
            for op in modules:
                key = key_of(op)
                self.units.setdefault(self.test, set()).add(key)
                if key not in self.faults:
                    self.faults[key] = list(faults(op))
            raise _Recorded
        circuit = with_faults(module, self.numbered)
        digest = hashlib.sha256(str(circuit).encode()).hexdigest()[:32]
        kept = self.folder / "emitted" / digest
        if not kept.is_file():
            kept.write_text(json.dumps(self._emit(circuit)), encoding="utf-8")
        files: dict[str, str] = json.loads(kept.read_text(encoding="utf-8"))
        if f"{SELECTOR}.sv" in files:
            files[f"{SELECTOR}.sv"] = selector_text(self.selected)
        return files

    def select(self, number: int) -> None:
        """Choose the fault that simulations have from now on; 0 for none."""
        self.selected.write_text(f"{number}\n", encoding="utf-8")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note which test runs."""
        self.test = nodeid

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the time of a test, and whether it failed."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration
        if report.failed:
            self.failed.add(report.nodeid)


class CircuitCampaign:
    """So many faults of the circuits that the tests simulate."""

    def __init__(self, seed: int, count: int, folder: Path):
        self.circuits = Circuits(folder)
        verilog.emit_verilog = self.circuits.emit
        os.chdir(ROOT)
        print("reading the circuits that the tests simulate", flush=True)
        pytest.main([*OPTIONS, *TESTS], plugins=[self.circuits])
        known = [fault for group in self.circuits.faults.values() for fault in group]
        self.faults = sample(seed, count, known)
        self.circuits.numbered = dict(enumerate(self.faults, 1))

    @cached_property
    def _ready(self) -> bool:
        """Whether simulators have been built; the tests have their circuits at hand then."""
        chosen = {fault.key for fault in self.faults}
        tests = [test for test, keys in self.circuits.units.items() if keys & chosen]
        self.circuits.select(0)
        for what in ("building simulators", "running the tests without a fault"):
            print(f"{what}: {len(tests)} tests", flush=True)
            self.circuits.seconds, self.circuits.failed = {}, set()
            pytest.main([*OPTIONS[:-2], *tests], plugins=[self.circuits])
        for test in sorted(self.circuits.failed):
            print(f"left out, as it fails without a fault: {test}", flush=True)
        return True

    def names(self) -> list[str]:
        """See `Campaign.names`."""
        return [f"{fault.name} ({fault.key}, {fault.place})" for fault in self.faults]

    def attempt(self, number: int) -> tuple[bool, str, float]:
        """See `Campaign.attempt`."""
        assert self._ready
        circuits, fault = self.circuits, self.faults[number]
        tests = [
            test
            for test, keys in circuits.units.items()
            if fault.key in keys and test not in circuits.failed
        ]
        tests.sort(key=lambda test: circuits.seconds[test])
        taken, chosen = 0.0, []
        for test in tests:
            taken += circuits.seconds[test]
            if chosen and taken > LONG:
                break
            chosen.append(test)
        if not chosen:
            return False, "no test", 0.0
        circuits.select(number + 1)
        found = attempt(lambda: None, chosen, 30 + 5 * taken)
        return found.killed, found.by, found.seconds
