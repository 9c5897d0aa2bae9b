# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Write what the paper's experiment has found as a document in Markdown."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from daqkf.hw_targets.device import LABELS
from daqkf.studies.bench.device import DENSE, ULTRA, Filling
from daqkf.studies.paper import ablation
from daqkf.studies.paper.energy import Interval, constants
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

_OPENING = """# The paper's experiment

The paper that this project is named after, "Accelerating Sparse Tensor Inference with Dynamically-Adjusted Quantized Kernel
Fusion on Reconfigurable Hardware", compares its architecture with a static one at five shares of zeros. This page has the
same comparison for what is built here. All of it was written by

```text
daqkf bench paper -o docs
```

which also wrote [paper.json](paper.json) with all figures and [paper.csv](paper.csv) with the rows below.

![speed-up, energy, accuracy under noise, convergence](paper.png)
"""

_READING = f"""## How we read the paper

The paper says little of how it measured. Where it is silent, this is what we did:

| the paper | here |
| --- | --- |
| "pre-pruned Transformer models" | MiniLM's encoder (all-MiniLM-L6-v2), all 36 layers, pruned by us as a whole (second order); SmolLM2 beside it |
| "a sample" is not defined | a sentence of {TOKENS} tokens |
| "static 8-bit quantization and a traditional out-of-order execution paradigm" | a dense array of 8 bits, output stationary, each layer by itself, as static as an array can be; it multiplies zeros, too |
| the latency of its baseline falls with the zeros | ours does not: what skips zeros is no baseline for skipping zeros (`baseline-sparse` is among the ablations) |
| "a Xilinx Virtex UltraScale+ FPGA" | an {DEVICE} with four channels of DDR4-2400 |
| no clock | one clock for all arrays; nothing here places and routes for UltraScale+, so that none is claimed |
| which logic both designs take is not said | three comparisons: equal logic, the device filled, equal DSP blocks |
| "Samples/Watt" | samples a second and watt, which are samples a joule |
| accuracy is not reported | levels keep a cosine of {ACCURACY:g} to W8A8; the cosine to the dense float model is below |
| "with and without data input noise" | a share of the tokens is replaced by others, drawn from the vocabulary |
| a "modified Strassen algorithm" | seven products for eight in DSP blocks, among the ablations |
| 6.5 times the speed and 3.2 times the energy efficiency, which its table does not show | goals: twice the table's speed-up everywhere, 6.5 times from half of the weights zero on, 3.2 times the energy efficiency everywhere |
"""

_MODEL = f"""## What of the energy is counted, and what is a model

**Counted**, on the synthesised netlist of each array of 4 elements of 8 lanes, as a tile of MiniLM's own activations goes through
layer.0.ffn.down (results equal the golden model's): toggles of all nets with their fan-out, rows that memories read and
write, flip-flops, cycles. Gates have delays, so that glitches are counted; as nothing is placed, the length of each net is drawn.
The bytes of external memory and the cycles are the planner's.

**A model** is what an event takes. No vendor publishes it, so each is an interval from one published source to another
(`python/daqkf/studies/paper/energy.toml`), and all figures are computed with 4,096 draws of all of them. An interval holds
nine tenths of the draws. Both arrays share each draw: their ratio is known better than either.

A model, too: all layers take energy as the simulated one does, by their cycles; a lane of a large engine takes as much
as one of a small engine; a product in a DSP block takes the place of the multiplier and accumulator of a lane, and two are
packed into a block. At equal logic weights are on the chip, and only activations and results come and go.
"""


def document(found: Results) -> str:
    """The page, which refers to `paper.png`, `paper.json` and `paper.csv` beside it."""
    parts = [
        _OPENING,
        _summary(found.rows),
        _READING,
        _logic(found.rows),
        _device(found.rows),
        _MODEL,
        _constants(),
        _shares(found.rows),
        _accuracy(found.rows),
        _trends(found),
        _ablations(found),
        _convergence(found),
        _language(found),
    ]
    return "\n".join(part for part in parts if part)


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text."""
    rule = ["---"] + ["---:"] * (len(heading) - 1)
    lines = [heading, rule, *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def _times(value: float) -> str:
    return f"{value:.2f}x"


def _interval(gain: Interval) -> str:
    return f"{gain.value:.2f}x ({gain.low:.2f} to {gain.high:.2f})"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _summary(rows: Sequence[Row]) -> str:
    heading = (
        *("zeros", "the paper's speed-up", "goal", "at equal logic", "device filled"),
        *("energy at equal logic", "device filled", "cosine to dense"),
    )
    lines: list[list[str]] = []
    missed: list[str] = []
    for row in rows:
        given, goal = published().row(row.sparsity), published().goal(row.sparsity)
        share = f"{row.sparsity:.0%}"
        lines.append(
            [
                share,
                _times(given.speedup) if given else "",
                _times(goal) if goal else "",
                _times(row.speedup),
                _times(row.device_speedup),
                _interval(row.energy_gain),
                _interval(row.device_energy_gain),
                f"{row.prepared.ours[0.0]:.3f}",
            ]
        )
        missed += _missed(row, goal)
    verdict = "All goals are met at equal logic." if not missed else f"Missed: {'; '.join(missed)}."
    return (
        "All speed-ups and gains of energy are over a dense array of 8 bits of the same generator.\n\n"
        + _table(heading, lines)
        + f"\n{verdict} Energies are medians and nine tenths of what the constants may be.\n"
    )


def _missed(row: Row, goal: float | None) -> list[str]:
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
    return (
        "## At equal logic\n\nArrays of 4 elements of 8 lanes without DSP blocks, by yosys for UltraScale+; "
        "cycles are those of a tile of 8 tokens\nthrough all layers with the loading of its activations. "
        "Glitches are the toggles, weighted by fan-out, that come on top\nif gates have delays.\n\n"
        + _table(heading, lines)
    )


def _device(rows: Sequence[Row]) -> str:
    heading = (
        *("zeros", "array", "samples a second", "latency of a sample", "speed-up"),
        *("a DSP block", "samples a joule", "GB/s", *LABELS.values()),
    )
    lines: list[list[str]] = []
    for row in rows:
        for filling in (row.device.baseline, row.device.ours):
            lines.append(_filled(row, filling))
    given = ", ".join(f"{row.samples_per_watt:g}" for row in published().rows)
    return (
        f"## The device filled\n\nAn {DEVICE} by the planner ([planning.md](planning.md), [device.md](device.md)), at "
        f"{rows[0].clock / 1e6:g} MHz; `{DENSE}` packs two products\ninto each DSP block, `{ULTRA}` has hardly any. "
        f"The paper's own samples a watt are {given}; its samples are not\nours. A latency is that of a sample "
        "alone, without others beside it.\n\n" + _table(heading, lines)
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
    return heading + "".join(f"| {' | '.join(row)} |\n" for row in rows)


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
    return "Where it goes, medians:\n\n" + _table(heading, lines)


def _accuracy(rows: Sequence[Row]) -> str:
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
    return (
        "## Accuracy, and noise on the inputs\n\nThe mean cosine of 128 sentences' embeddings to those of the dense "
        "float model on the same sentences, where a share of\nthe tokens is replaced by others.\n\n"
        + _table(heading, lines)
    )


def _trends(found: Results) -> str:
    if not found.trends:
        return ""
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
    return (
        "## Trends\n\nStraight lines through the figures by the share of zeros (least squares); ± is the interval of "
        "95 % by Student's t.\nResiduals whose signs follow a curve say that the figure grows faster than a line: "
        "work falls as 1 − zeros, so that\nspeed grows as its inverse.\n\n" + _table(heading, lines)
    )


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
    return (
        f"## What each part is worth\n\nAt {ablation.SPARSITY:.0%} zeros, one part after another; a figure below 1 is a loss.\n\n"
        + _table(heading, lines)
    )


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
    facts = found.convergence.facts()
    return (
        f"## Convergence\n\n{facts['layer']} at {facts['sparsity']:.0%} zeros, {facts['levels']}: pruning by the alternating direction method of "
        "multipliers and\nrounding by coordinate descent have the squared error of the outputs over their energy, "
        "Lloyd-Max that of the weights.\n\n" + _table(heading, lines)
    )


def _language(found: Results) -> str:
    if not found.language:
        return ""
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
    return (
        f"## SmolLM2, a token at a time\n\nOn the same {DEVICE}, where weights come from memory for each token and the "
        f"bandwidth is what counts\n([language-speed.md](language-speed.md)); {MAGNITUDES} magnitudes, 512 earlier tokens.\n\n"
        + _table(heading, lines)
    )
