# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`make coverage`, second part: which branches of the Python code the suites take.

    python test/coverage/python.py                   # all suites, about as long as they take
    python test/coverage/python.py unit lit          # some of them
    python test/coverage/python.py --keep unit       # added to what was measured before

What runs in forks and processes of the tests counts, too. Tests that allow a process no file but
its output, or interrupt it, may fail because of the counters' files; what they ran is counted.
`exceptions.toml` names files that the suites need not run, with the reason. The table goes to
`build/coverage/python.json`.
"""

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "coverage"
BAR = 90.0
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2")
SUITES = {
    "lit": (str(Path(sys.executable).parent / "lit"), "--succinct", "test"),
    "unit": (*PYTEST, "test/unit"),
    "integration": (*PYTEST, "-m", "not slow", "test/integration"),
    "slow": (*PYTEST, "-m", "slow", "test/integration"),
}
COVERAGE = (sys.executable, "-m", "coverage")


def measure(suite: str) -> None:
    """Run a suite, and all that it starts, with counters of branches."""
    command = SUITES.get(suite, (*PYTEST[:5], "-m", "not slow", *suite.split()))
    subprocess.run([*COVERAGE, "run", *command], cwd=ROOT, check=False)


def excepted(file: str, entries: list[Mapping[str, str]]) -> str | None:
    """The reason why a file need not be covered, if there is one."""
    return next((e["reason"] for e in entries if re.fullmatch(e["file"], file)), None)


def report(facts: Mapping[str, Any]) -> float:
    """Print branches and lines by file, the least covered first; returns the share of branches."""
    entries = tomllib.loads((HERE / "exceptions.toml").read_text(encoding="utf-8")).get(
        "python", []
    )
    total: Counter[str] = Counter()
    rows = []
    for file, found in facts["files"].items():
        numbers = found["summary"]
        if excepted(file, entries) is None:
            total.update({k: v for k, v in numbers.items() if isinstance(v, int)})
            missing = numbers["num_branches"] - numbers["covered_branches"]
            rows.append((missing, file, numbers))
    print(f"{'file':56}{'branches':>14}{'lines':>14}")
    for missing, file, numbers in sorted(rows, reverse=True):
        if missing or numbers["missing_lines"]:
            branches = f"{numbers['covered_branches']}/{numbers['num_branches']}"
            lines = f"{numbers['covered_lines']}/{numbers['num_statements']}"
            print(f"{file:56}{branches:>14}{lines:>14}")
    share = 100 * total["covered_branches"] / max(total["num_branches"], 1)
    lines = 100 * total["covered_lines"] / max(total["num_statements"], 1)
    print(f"{share:.1f} % of {total['num_branches']} branches, ", end="")
    print(f"{lines:.1f} % of {total['num_statements']} lines")
    return share


def main() -> int:
    """Measure the suites of the command line, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="add to what was measured before")
    parser.add_argument("--report", action="store_true", help="print the table alone")
    parser.add_argument("suites", nargs="*", default=list(SUITES), metavar="SUITE")
    options = parser.parse_args()
    kept = BUILD / "data" / "python"
    kept.parent.mkdir(parents=True, exist_ok=True)
    if not options.report:
        if not options.keep:
            subprocess.run([*COVERAGE, "erase"], cwd=ROOT, check=True)
        for suite in options.suites:
            measure(suite)
        combine = [*COVERAGE, "combine", "-q", *(["--append"] if kept.is_file() else [])]
        subprocess.run(combine, cwd=ROOT, check=True)
    written = BUILD / "python.json"
    subprocess.run([*COVERAGE, "json", "-q", "-o", str(written)], cwd=ROOT, check=True)
    share = report(json.loads(written.read_text(encoding="utf-8")))
    return int(share < BAR)


if __name__ == "__main__":
    sys.exit(main())
