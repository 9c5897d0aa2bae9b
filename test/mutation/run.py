# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`make mutants`: plant faults, and count those that the tests find.

    python test/mutation/run.py --seed 18 --count 200 --only python

A mutant is killed if a test of `make check` or `make slow` fails with it. The tests that run what
has changed are tried, the quickest first. Results are kept in `build/mutants/*.jsonl`; a run goes
on where another one of the same seed and count was stopped. The last line is
`N killed, N survived, N equivalent`; `survivors.toml` has the equivalent ones, and others that
may survive, each with the reason.
"""

import argparse
import json
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "mutants"
KINDS = ("python", "rtl")


class Campaign(Protocol):
    """Mutants of one kind, and how to try them."""

    def names(self) -> list[str]:
        """The names of all mutants, no two the same."""
        ...

    def attempt(self, number: int) -> tuple[bool, str, float]:
        """Whether a mutant is killed, by which test, and in how many seconds."""
        ...


def explained(kind: str) -> set[str]:
    """The names of the mutants that are `equivalent`, or `accepted` as they are."""
    entries = tomllib.loads((HERE / "survivors.toml").read_text(encoding="utf-8"))
    return {entry["mutant"] for entry in entries[kind]}


def earlier(path: Path) -> dict[str, dict[str, Any]]:
    """The results of an earlier run, by the mutant's name."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {entry["mutant"]: entry for entry in map(json.loads, lines)}


def results(
    kind: str, campaign: Campaign, path: Path, only: str, skip: str, retry: bool
) -> Iterator[dict[str, Any]]:
    """The result of each mutant; new ones are added to a file."""
    known, same, accepted = earlier(path), explained("equivalent"), explained("accepted")
    names = campaign.names()
    for number, name in enumerate(names):
        if only not in name or (skip and name.startswith(tuple(skip.split(",")))):
            continue
        entry = known.get(name)
        if entry is None or (retry and not entry["killed"] and name not in same | accepted):
            killed, by, seconds = campaign.attempt(number)
            entry = {"mutant": name, "killed": killed, "by": by, "seconds": round(seconds, 2)}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        verdict = "killed" if entry["killed"] else "equivalent" if name in same else "survived"
        print(f"{kind} {number + 1}/{len(names)} {verdict:10} {name} ({entry['by'] or '-'})")
        sys.stdout.flush()
        yield entry | {"verdict": verdict}


def main() -> int:
    """Run the campaigns that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=18)
    parser.add_argument("--count", type=int, default=200, help="mutants of each kind")
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--only", default="", help="mutants whose names have this in them")
    parser.add_argument("--skip", default="", help="units or files to leave out, with commas")
    parser.add_argument("--retry", action="store_true", help="try again what has survived")
    parser.add_argument(
        "--patience", type=float, default=60.0, help="seconds of tests that a mutant must survive"
    )
    parser.add_argument("--again", action="store_true", help="forget the results of earlier runs")
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    counted: Counter[str] = Counter()
    for kind in options.kind or KINDS:
        if kind == "python":
            from source_campaign import SourceCampaign as Campaign
        else:
            from circuit_campaign import CircuitCampaign as Campaign
        path = BUILD / f"{kind}-{options.seed}-{options.count}.jsonl"
        if options.again:
            path.unlink(missing_ok=True)
            (BUILD / "lines.json").unlink(missing_ok=True)
        campaign = Campaign(options.seed, options.count, BUILD, options.patience)
        found = results(kind, campaign, path, options.only, options.skip, options.retry)
        own = Counter(entry["verdict"] for entry in found)
        print(f"{kind}: {summary(own)}")
        counted += own
    print(summary(counted))
    return 0


def summary(counted: Counter[str]) -> str:
    """The counts as text."""
    return ", ".join(f"{counted[name]} {name}" for name in ("killed", "survived", "equivalent"))


if __name__ == "__main__":
    sys.exit(main())
