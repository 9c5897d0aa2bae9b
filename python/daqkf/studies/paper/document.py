# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Write what the paper's experiment has found as a document in Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template

import numpy as np

from daqkf.hw_targets.device import LABELS
from daqkf.studies.bench.device import DENSE, ULTRA, Filling
from daqkf.studies.paper.ablation import SPARSITY
from daqkf.studies.paper.energy import DRAWS, Interval, constants
from daqkf.studies.paper.experiment import ACCURACY, BASELINE, DEVICE, OURS, TOKENS, Row
from daqkf.studies.paper.published import published
from daqkf.studies.paper.results import MAGNITUDES, Results

_EVENTS: Mapping[str, str] = {
    "pin": "nets",
    "lut": "LUTs",
    "clock": "clock",
    "block_ram": "block RAM",
    "dsp": "DSP blocks",
    "memory": "external memory",
    "leakage": "leakage",
}
"""What takes energy, by its name in `energy.toml`, and what it is called."""


def document(found: Results) -> str:
    """The page, which refers to `paper.png`, `paper.json` and `paper.csv` beside it.

    Its prose is `page.md`; the tables are made here.
    """
    page = Template(Path(__file__).with_name("page.md").read_text(encoding="utf-8"))
    rows, converged = found.rows, found.convergence.facts()
    return page.substitute(
        summary=_summary(rows),
        verdict=_verdict(rows),
        logic=_logic(rows),
        filled=_table(_FILLED, [_filled(row, one) for row in rows for one in row.fillings]),
        constants=_constants(),
        shares=_shares(rows),
        noise=_noise(rows),
        trends=_trends(found),
        ablations=_ablations(found),
        convergence=_convergence(found),
        language=_language(found),
        tokens=TOKENS,
        device=DEVICE,
        accuracy=f"{ACCURACY:g}",
        clock=f"{rows[0].clock / 1e6:g}",
        blocks=DENSE,
        ours=ULTRA,
        published=", ".join(f"{row.samples_per_watt:g}" for row in published().rows),
        draws=f"{DRAWS:,}",
        ablated=f"{SPARSITY:.0%}",
        layer=converged["layer"],
        levels=converged["levels"],
        magnitudes=MAGNITUDES,
    )


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text."""
    rule = ["---"] + ["---:"] * (len(heading) - 1)
    lines = [heading, rule, *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _times(value: float) -> str:
    return f"{value:.2f}x"


def _interval(gain: Interval) -> str:
    return f"{gain.value:.2f}x ({gain.low:.2f} to {gain.high:.2f})"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _summary(rows: Sequence[Row]) -> str:
    heading = (
        *("zeros", "the paper's speed-up", "goal", "at equal logic", "device filled"),
        *("energy at equal logic", "without fusion", "device filled", "cosine to dense"),
    )
    lines: list[list[str]] = []
    for row in rows:
        given, goal = published().row(row.sparsity), published().goal(row.sparsity)
        lines.append(
            [
                f"{row.sparsity:.0%}",
                _times(given.speedup) if given else "",
                _times(goal) if goal else "",
                _times(row.speedup),
                _times(row.device_speedup),
                _interval(row.energy_gain),
                _interval(row.unfused_energy_gain),
                _interval(row.device_energy_gain),
                f"{row.prepared.ours[0.0]:.3f}",
            ]
        )
    return _table(heading, lines)


def _verdict(rows: Sequence[Row]) -> str:
    missed = [text for row in rows for text in _missed(row)]
    return f"Missed: {'; '.join(missed)}." if missed else "All goals are met."


def _missed(row: Row) -> list[str]:
    goal = published().goal(row.sparsity)
    share = f"at {row.sparsity:.0%} zeros"
    found: list[str] = []
    if goal and row.speedup < goal:
        found.append(f"{row.speedup:.2f} of {goal:.2f} times the speed at equal logic {share}")
    energy = published().headline["energy"]
    for name, gain in (("equal logic", row.energy_gain), ("device filled", row.device_energy_gain)):
        if gain.value < energy:
            found.append(f"{gain.value:.2f} of {energy:g} times the energy, {name}, {share}")
    return found


def _logic(rows: Sequence[Row]) -> str:
    heading = ("zeros", "array", "LUTs", "RAMB36", "cycles of a tile", "work a LUT", "glitches")
    lines: list[list[str]] = []
    for row in rows:
        pairs = zip((BASELINE, OURS), (row.baseline, row.ours), row.glitching, strict=True)
        for name, found, glitching in pairs:
            lines.append(
                [
                    f"{row.sparsity:.0%}",
                    name,
                    f"{found.luts:,}",
                    f"{found.resources.counts.block_rams_36k:g}",
                    f"{found.cycles + found.load_cycles:,}",
                    _times(1 if name == BASELINE else row.speedup),
                    f"{glitching - 1:+.0%}",
                ]
            )
    return _table(heading, lines)


_FILLED = (
    *("zeros", "array", "samples a second", "latency of a sample", "speed-up"),
    *("a DSP block", "samples a joule", "GB/s", *LABELS.values()),
)


def _filled(row: Row, filling: Filling) -> list[str]:
    base = filling is row.device.baseline
    shares = filling.device.shares(filling.needs)
    joules = row.samples_per_joule(DENSE if base else ULTRA)
    return [
        f"{row.sparsity:.0%}",
        filling.array,
        f"{row.samples(filling):,.0f}",
        f"{1e3 * row.latency(filling):.2f} ms",
        _times(1 if base else row.device_speedup),
        _times(1 if base else row.dsp_speedup),
        f"{_rate(joules.value)} ({_rate(joules.low)} to {_rate(joules.high)})",
        f"{filling.traffic / 1e9:.1f}",
        *(f"{shares.get(name, 0):.0%}" for name in LABELS),
    ]


def _constants() -> str:
    rows = [
        [one.event, f"{one.low:g} to {one.high:g} {one.unit}", one.source]
        for one in constants().values()
    ]
    heading = "| an event | takes | by |\n| --- | --- | --- |\n"
    return heading + "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _shares(rows: Sequence[Row]) -> str:
    heading = ("zeros", "array", "µJ a token", *_EVENTS.values())
    names = {
        BASELINE: f"{BASELINE}, equal logic",
        OURS: f"{OURS}, equal logic",
        DENSE: f"{DENSE}, device",
        ULTRA: f"{ULTRA}, device",
    }
    lines: list[list[str]] = []
    for row in rows:
        for name, called in names.items():
            shares = row.events[name].facts()["shares"]
            energy = 1e6 * float(np.median(row.events[name].energy()))
            parts = (f"{shares[event]:.0%}" for event in _EVENTS)
            lines.append([f"{row.sparsity:.0%}", called, f"{energy:.3g}", *parts])
    return _table(heading, lines)


def _noise(rows: Sequence[Row]) -> str:
    shares = list(rows[0].prepared.ours)
    heading = ("zeros", "levels", "to W8A8", *(f"{share:.0%} replaced" for share in shares))
    lines: list[list[str]] = []
    for row in rows:
        kinds = (
            ("W8A8", 1.0, row.prepared.baseline),
            ("tuned", row.prepared.cosine, row.prepared.ours),
        )
        for name, own, noisy in kinds:
            cells = (f"{noisy[share]:.4f}" for share in shares)
            lines.append([f"{row.sparsity:.0%}", name, f"{own:.4f}", *cells])
    return _table(heading, lines)


def _trends(found: Results) -> str:
    if not found.trends:
        return "Lines take three shares of zeros."
    heading = ("figure", "at 0 %", "for each 10 % more", "R²", "p", "residuals")
    lines = [
        [
            name,
            f"{line.intercept:.2f} ± {line.intercept_error:.2f}",
            f"{line.slope / 10:+.2f} ± {line.slope_error / 10:.2f}",
            f"{line.determination:.3f}",
            f"{line.p:.2g}",
            ", ".join(f"{residual:+.2f}" for residual in line.residuals),
        ]
        for name, line in found.trends.items()
    ]
    return _table(heading, lines)


def _ablations(found: Results) -> str:
    heading = ("part", "figure", "without", "with", "times less")
    lines = [
        [
            one.part + (f" ({one.note})" if one.note else ""),
            one.figure,
            _number(one.without),
            _number(one.with_),
            f"{one.gain:.2f}",
        ]
        for one in found.ablations
    ]
    return _table(heading, lines)


def _number(value: float) -> str:
    if value >= 1e6:
        return f"{value:.3e}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _convergence(found: Results) -> str:
    heading = ("what", "iterations", "first", "a quarter", "half", "last")
    lines = [
        [
            name,
            str(len(history)),
            *(f"{history[(len(history) - 1) * part // 4]:.2e}" for part in (0, 1, 2, 4)),
        ]
        for name, history in found.convergence.histories.items()
    ]
    return _table(heading, lines)


def _language(found: Results) -> str:
    if not found.language:
        return "The package of SmolLM2 was not installed."
    heading = ("zeros", "array", "tokens a second", "speed-up", "bits a weight", "bandwidth")
    lines: list[list[str]] = []
    for share, pair in found.language.items():
        for speed in pair:
            lines.append(
                [
                    f"{share:.0%}",
                    speed.array,
                    f"{speed.decode_rate:,.0f}",
                    _times(speed.decode_rate / pair[0].decode_rate),
                    f"{speed.bits_per_weight:.2f}",
                    f"{speed.bandwidth:.0%}",
                ]
            )
    return _table(heading, lines)
