# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`make coverage`: which lines of the RTL the tests run, and which of its bits they toggle.

    python test/coverage/rtl.py                         # the tests that simulate
    python test/coverage/rtl.py --missing daqkf_loader  # of the last run, what was not reached

Simulators are built with Verilator's counters of lines and toggles. A unit is a module of one name;
two texts of it, from arrays of two shapes, are counted as two, so that nothing is covered by the
name alone. `exceptions.toml` names what no affordable program reaches, with the reason. The table
goes to `build/coverage/rtl.json`, too.
"""

import argparse
import hashlib
import json
import os
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "coverage"
POINTS = BUILD / "rtl-points.json"
EVERY = 8
"""Tests after which what was counted so far is written."""
FLAGS = ("--coverage-line", "--coverage-toggle")
TESTS = tuple(
    f"test/integration/test_{name}.py"
    for name in (
        *("units", "array", "chain", "row_unit", "operands", "banks", "dispatch", "tiling"),
        *("memory_streams", "queue", "semirings", "strassen", "whole_layer"),
    )
)
"""Where the tests are that simulate arrays and their units; those of `make check` are run."""
SLOW = ("test/integration/test_system.py",)
"""Of these, the slow ones: they simulate what is around the array."""
LEFT_OUT = "not lint and not clean and not yosys and not netlist and not block_ram and not minilm"
KINDS = ("line", "toggle")
BAR = 95.0

_WRITER = """
#include <chrono>
#include <cstdlib>
#include <string>
#include <unistd.h>
#include "verilated_cov.h"
static void writeCoverage() {{
  const char *folder = std::getenv("DAQKF_COVERAGE");
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  const std::string name = "/{build}-" + std::to_string(getpid()) + "-" + std::to_string(now);
  if (folder)
    Verilated::threadContextp()->coveragep()->write((folder + name + ".dat").c_str());
}}
"""
_POINT = re.compile(r"^C '(.*)' (\d+)$")

type Point = tuple[str, str, str, str]
"""The hash of a module's text, its name, the kind of the point, and the place in the text."""


def covering(text: str, build: str) -> str:
    """A C++ harness that writes what was covered when it ends.

    Raises:
        ValueError: the harness has none of the ends that are known.
    """
    ends = {
        "std::exit(code);": "writeCoverage(); std::exit(code);",
        "bench.top->final();": "bench.top->final(); writeCoverage();",
    }
    if all(text.count(end) == 1 for end in ends):
        for end, new in ends.items():
            text = text.replace(end, new)
    elif "  }\n}\n" in text and text.count("int main(") == 1:
        text = text.rstrip().removesuffix("}") + "  writeCoverage();\n}\n"
    else:
        raise ValueError("the harness ends in an unknown way")
    return _WRITER.format(build=build) + text


class Coverage:
    """A plugin of pytest that counts the points of coverage, by test and in all."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.texts: dict[str, dict[str, str]] = {}
        """For each build the hashes of its modules' texts, by the names of their files."""
        self.counts: Counter[Point] = Counter()
        self.failed: list[str] = []
        self.tests = 0

    def install(self) -> None:
        """Have all simulators built with counters."""
        from daqkf.runtime import simulator

        original = simulator.verilate

        def verilate(sources: Mapping[str, str], top: str, flags: Sequence[str] = ()) -> Path:
            build = self.note(sources)
            covered = {
                name: covering(text, build) if name.endswith(".cpp") else text
                for name, text in sources.items()
            }
            return original(covered, top, (*(flags or simulator._FLAGS), *FLAGS))

        simulator.verilate = verilate
        try:
            from cocotb_tools import runner
        except ImportError:
            return
        build_system: Any = runner.Verilator.build

        def build(self_: Any, *arguments: Any, **options: Any) -> Any:
            options["build_args"] = [*options.get("build_args", ()), *FLAGS]
            paths = [Path(path) for path in options["sources"]]
            # The counts go to the folder of the test, where its log is, too.
            (Path(options["log_file"]).parent / "sources").write_text(
                self.note({path.name: path.read_text(encoding="utf-8") for path in paths})
            )
            return build_system(self_, *arguments, **options)

        runner.Verilator.build = build

    def note(self, sources: Mapping[str, str]) -> str:
        """Remember the texts of a build; returns its name."""
        texts = {
            name: hashlib.sha256(_without_comments(text).encode()).hexdigest()[:16]
            for name, text in sources.items()
            if name.endswith(".sv")
        }
        build = hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()[:16]
        self.texts[build] = texts
        return build

    def collect(self, folder: Path) -> None:
        """Add the counts of runs that have ended, and remove their files."""
        for path in self.folder.glob("*.dat"):
            self.add(path, self.texts[path.name.partition("-")[0]])
        for path in folder.rglob("coverage.dat"):
            self.add(path, self.texts[(path.parent / "sources").read_text()])

    def add(self, path: Path, texts: Mapping[str, str]) -> None:
        """Add the counts of a file that Verilator wrote, and remove it."""
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if found := _POINT.match(line):
                items = found[1].split("\x01")[1:]
                fields = dict(item.split("\x02", 1) for item in items if "\x02" in item)
                name = Path(fields["f"]).name
                kind, _, unit = fields["page"].partition("/")
                if kind.removeprefix("v_") not in KINDS or name not in texts:
                    continue
                place = f"{fields['l']}:{fields.get('n', '')}:{fields.get('o', '')}"
                unit = name.removesuffix(".sv")
                self.counts[texts[name], unit, kind.removeprefix("v_"), place] += int(found[2])
        path.unlink()

    def save(self, path: Path) -> None:
        """Write all counts."""
        facts = [[*point, count] for point, count in sorted(self.counts.items())]
        path.write_text(json.dumps(facts), encoding="utf-8")

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Collect what a test's simulators wrote."""
        tmp = getattr(item, "funcargs", {}).get("tmp_path")
        self.collect(tmp or self.folder)
        self.tests += 1
        if self.tests % EVERY == 0:
            self.save(POINTS)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the tests that fail."""
        if report.failed:
            self.failed.append(report.nodeid)


def _without_comments(text: str) -> str:
    """A module's text without the comments in front of it, which name the array."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("//"))


def excepted(point: Point, entries: Sequence[Mapping[str, str]]) -> str | None:
    """The reason why a point need not be covered, if there is one."""
    _, unit, kind, place = point
    signal = place.split(":", 2)[2]
    for entry in entries:
        if (
            re.fullmatch(entry["unit"], unit)
            and entry["kind"] == kind
            and re.fullmatch(entry["signal"], signal)
        ):
            return entry["reason"]
    return None


def table(counts: Mapping[Point, int]) -> dict[str, dict[str, dict[str, int]]]:
    """For each unit and kind the points, and how many are covered, or excepted and not covered."""
    entries = tomllib.loads((HERE / "exceptions.toml").read_text(encoding="utf-8")).get("rtl", [])
    found: dict[str, dict[str, dict[str, int]]] = {}
    for point, count in counts.items():
        _, unit, kind, _ = point
        row = found.setdefault(unit, {}).setdefault(
            kind, {"points": 0, "covered": 0, "excepted": 0}
        )
        row["points"] += 1
        row["covered"] += bool(count)
        row["excepted"] += not count and excepted(point, entries) is not None
    return found


def share(row: Mapping[str, int]) -> float:
    """The share in percent of those points that have to be covered."""
    return 100 * row["covered"] / max(row["points"] - row["excepted"], 1)


def report(rows: Mapping[str, Mapping[str, Mapping[str, int]]]) -> dict[str, float]:
    """Print the table; returns the shares over all units."""
    totals = {kind: Counter[str]() for kind in KINDS}
    print(f"{'unit':34}" + "".join(f"{kind:>28}" for kind in KINDS))
    for unit in sorted(rows):
        print(f"{unit:34}", end="")
        for kind in KINDS:
            row = rows[unit].get(kind, {"points": 0, "covered": 0, "excepted": 0})
            totals[kind].update(row)
            print(f"{_cell(row):>28}", end="")
        print()
    print(f"{'all':34}" + "".join(f"{_cell(totals[kind]):>28}" for kind in KINDS))
    return {kind: share(totals[kind]) for kind in KINDS}


def _cell(row: Mapping[str, int]) -> str:
    if not row["points"]:
        return "-"
    return f"{share(row):.1f} % of {row['points']} (-{row['excepted']})"


def main() -> int:
    """Run the tests with counters, and print what they cover."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", action="store_true", help="print the table of the last run")
    parser.add_argument("--missing", default="", help="list the points of this unit not covered")
    parser.add_argument("tests", nargs="*", help="tests in place of those of the suites")
    options = parser.parse_args()
    if not options.missing and not options.report:
        runs = BUILD / "runs"
        runs.mkdir(parents=True, exist_ok=True)
        for path in runs.glob("*.dat"):
            path.unlink()
        os.environ["DAQKF_COVERAGE"] = str(runs)
        os.chdir(ROOT)
        coverage = Coverage(runs)
        coverage.install()
        arguments = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", LEFT_OUT]
        for tests in [options.tests] if options.tests else [["-m", "not slow", *TESTS], SLOW]:
            pytest.main([*arguments, *tests], plugins=[coverage])
        if coverage.failed:
            print("failed:", *coverage.failed, sep="\n  ")
            return 1
        coverage.save(POINTS)
    found = json.loads(POINTS.read_text(encoding="utf-8"))
    counts: dict[Point, int] = {(a, b, c, d): count for a, b, c, d, count in found}
    if options.missing:
        entries = tomllib.loads((HERE / "exceptions.toml").read_text(encoding="utf-8")).get(
            "rtl", []
        )
        for point, count in counts.items():
            if point[1] == options.missing and not count and excepted(point, entries) is None:
                print(*point)
        return 0
    shares = report(table(counts))
    (BUILD / "rtl.json").write_text(json.dumps(table(counts), indent=1), encoding="utf-8")
    print(", ".join(f"{shares[kind]:.1f} % of {kind} coverage" for kind in KINDS))
    return int(min(shares.values()) < BAR)


if __name__ == "__main__":
    sys.exit(main())
