# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Mutants of the RTL, and the tests that simulate the modules which they are in.

Whatever circuit a test makes into SystemVerilog is given all faults of its modules. So the tests
themselves decide, with the programs, pauses and expectations that they have.
"""

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

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
from daqkf.runtime import simulator

TESTS = tuple(
    f"test/integration/test_{name}.py"
    for name in (
        *("units", "array", "chain", "row_unit", "operands", "banks", "dispatch", "tiling"),
        *("semirings", "strassen", "whole_layer"),
    )
)
"""Where the tests are that simulate circuits; of these, the ones of `make check`."""
SLOW = ("test/integration/test_system.py",)
"""The same, of which the slow ones simulate a unit that the others do not."""
ALONE = tuple(
    f"test/integration/test_{name}.py"
    for name in ("elements", "post", "registers_and_counters", "row_kernels")
)
"""Where tests are that simulate modules of those circuits alone."""
LEFT_OUT = " and ".join(
    f"not {name}"
    for name in (
        *("lint", "clean", "yosys", "minilm", "block_ram", "simulators_are", "a_folder", "saved"),
    )
)
"""An expression of pytest's `-k`: tests that only read the text of a circuit, or of how simulators
are built."""
OPTIONS = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=no", "-k", LEFT_OUT]
FURTHER, LONG = 4.0, 600.0
"""One more test of a module is tried for so many seconds of patience; together they may take so
long."""


ROUNDS = 2
"""So many tests are chosen for each unit, of different circuits where there are such."""


_KEY = "// circuit "
"""With which the text of a module begins, as long as it is only noted."""


class _Recorded(Exception):
    """A test would simulate now; its circuits were noted."""


class Circuits:
    """Takes the place of `emit_verilog`: notes the circuits of each test, and builds faults in."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.selected = folder / "selected"
        self.test = ""
        self.units: dict[str, dict[str, str]] = {}
        """The modules that each test simulates: their names, by their keys."""
        self.modules: dict[str, HWModuleOp] = {}
        """Each module, by its key."""
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        self.numbered: Mapping[int, Fault] | None = None
        self._emit, self._verilate = verilog.emit_verilog, simulator.verilate
        (folder / "emitted").mkdir(exist_ok=True)

    def emit(self, module: ModuleOp) -> dict[str, str]:
        """The SystemVerilog of a circuit with the chosen faults; or, before they are, none."""
        if self.numbered is None:
            keys: dict[str, str] = {}
            for op in module.ops:
                assert isinstance(op, HWModuleOp)
                key = key_of(op)
                self.modules[key] = op
                keys[f"{op.sym_name.data}.sv"] = f"{_KEY}{key}"
            if self.test.startswith(SLOW):
                self._note(keys)
            return keys
        circuit = with_faults(module, self.numbered)
        digest = hashlib.sha256(str(circuit).encode()).hexdigest()[:32]
        kept = self.folder / "emitted" / digest
        if not kept.is_file():
            kept.write_text(json.dumps(self._emit(circuit)), encoding="utf-8")
        files: dict[str, str] = json.loads(kept.read_text(encoding="utf-8"))
        if f"{SELECTOR}.sv" in files:
            files[f"{SELECTOR}.sv"] = selector_text(self.selected)
        return files

    def build(self, sources: Mapping[str, str], *arguments: Any, **options: Any) -> Path:
        """Takes the place of `verilate`: notes what a test simulates, or builds it."""
        if self.numbered is None:
            self._note(sources)
        return self._verilate(sources, *arguments, **options)

    def _note(self, sources: Mapping[str, str]) -> None:
        own = self.units.setdefault(self.test, {})
        for name, text in sources.items():
            if text.startswith(_KEY):
                own[text.removeprefix(_KEY)] = name.removesuffix(".sv")
        raise _Recorded

    def read(self, tests: Sequence[str]) -> None:
        """Run tests as far as their circuits, and note these."""
        pytest.main([*OPTIONS, *tests], plugins=[self])

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


def covering_tests(units: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A few tests that simulate every unit, several circuits of it where there are such."""
    seen: dict[str, set[str]] = {}
    for modules in units.values():
        for key, unit in modules.items():
            seen.setdefault(unit, set()).add(key)
    chosen: list[str] = []
    have: dict[str, set[str]] = {unit: set() for unit in seen}

    def gain(test: str) -> int:
        return sum(
            key not in have[unit] and len(have[unit]) < ROUNDS for key, unit in units[test].items()
        )

    while best := max(units, key=gain):
        if not gain(best):
            return chosen
        chosen.append(best)
        for key, unit in units[best].items():
            have[unit].add(key)
    return chosen


def _digest() -> str:
    """A hash of the sources of circuits and of the tests that simulate them."""
    rooms = ("hw_targets", "lowering", "passes/encode")
    sources = sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))
    sources += [
        *sorted((ROOT / "test").glob("*.py")),
        *(ROOT / name for name in (*TESTS, *SLOW, *ALONE)),
    ]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


class CircuitCampaign:
    """So many faults of the circuits that the tests simulate."""

    def __init__(self, seed: int, count: int, folder: Path, patience: float):
        self.patience = patience
        self.circuits = circuits = Circuits(folder)
        sys.path.append(str(ROOT / "test"))
        import networks

        # The module that selects a fault is not clean.
        networks.lint = lambda *_: None
        verilog.emit_verilog = circuits.emit
        simulator.verilate = circuits.build
        os.chdir(ROOT)
        path = folder / f"faults-{seed}-{count}.json"
        digest = _digest()
        kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if kept.get("sources") != digest:
            print("reading the circuits that the tests simulate", flush=True)
            # In a fork: what the tests keep of these circuits has no text.
            child = os.fork()
            if child == 0:
                try:
                    facts = self._read(seed, count) | {"sources": digest}
                    path.write_text(json.dumps(facts), encoding="utf-8")
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            kept = json.loads(path.read_text(encoding="utf-8"))
        self.units: dict[str, dict[str, str]] = kept["units"]
        self.first: list[str] = kept["first"]
        self.faults = [Fault(**fault) for fault in kept["faults"]]
        circuits.numbered = dict(enumerate(self.faults, 1))

    def _read(self, seed: int, count: int) -> dict[str, Any]:
        """The modules that each test simulates, a few tests for all units, and the faults."""
        circuits = self.circuits
        circuits.read(["-m", "not slow", *TESTS])
        circuits.read(SLOW)
        first = covering_tests(circuits.units)
        circuits.read(ALONE)
        keys = {key for test in first for key in circuits.units[test]}
        known = [fault for key in sorted(keys) for fault in faults(circuits.modules[key])]
        chosen = [asdict(fault) for fault in sample(seed, count, known)]
        return {"units": circuits.units, "first": first, "faults": chosen}

    @cached_property
    def _ready(self) -> bool:
        """Whether simulators have been built; the tests have their circuits at hand then."""
        circuits = self.circuits
        circuits.select(0)
        print(f"building simulators: {len(self.first)} tests", flush=True)
        pytest.main([*OPTIONS[:-2], *self.first], plugins=[circuits])
        for test in sorted(circuits.failed):
            print(f"left out, as it fails without a fault: {test}", flush=True)
        return True

    def names(self) -> list[str]:
        """See `Campaign.names`."""
        return [f"{fault.name} ({fault.key}, {fault.place})" for fault in self.faults]

    def attempt(self, number: int) -> tuple[bool, str, float]:
        """See `Campaign.attempt`: the few tests first, those of the module alone, and others."""
        assert self._ready
        circuits, fault = self.circuits, self.faults[number]
        tests = [test for test, keys in self.units.items() if fault.key in keys]
        near = [test for test in self.first if test in tests and test not in circuits.failed]
        near.sort(key=lambda test: circuits.seconds[test])
        alone = [test for test in tests if test.startswith(ALONE)]
        others = [test for test in tests if test not in (*self.first, *alone)]
        total = 0.0
        for part, limit in (
            (near, 30 + 10 * sum(circuits.seconds[test] for test in near)),
            (alone, LONG),
            (others[: int(self.patience / FURTHER)], LONG),
        ):
            if part:
                circuits.select(number + 1)
                found = attempt(lambda: None, part, limit)
                total += found.seconds
                if found.killed:
                    return True, found.by, total
        return False, "", total
