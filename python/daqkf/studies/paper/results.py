# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the paper's experiment has found: all rows, and the trends through them."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from io import StringIO
from typing import Any

from daqkf.studies.bench.language_speed import Speed
from daqkf.studies.paper.ablation import Ablated
from daqkf.studies.paper.convergence import Convergence
from daqkf.studies.paper.energy import constants
from daqkf.studies.paper.experiment import DEVICE, TOKENS, Row
from daqkf.studies.paper.published import published
from daqkf.studies.paper.trend import Trend, trend

MAGNITUDES = 15
"""Of SmolLM2's weights."""

_FIGURES = {
    "speed-up, equal logic": lambda row: row.speedup,
    "energy, equal logic": lambda row: row.energy_gain.value,
    "speed-up, device filled": lambda row: row.device_speedup,
    "energy, device filled": lambda row: row.device_energy_gain.value,
}


@dataclass(frozen=True)
class Results:
    """Everything that `daqkf bench paper` measures."""

    rows: list[Row]
    """By the share of zeros, ascending."""
    ablations: Sequence[Ablated]
    convergence: Convergence
    language: Mapping[float, tuple[Speed, Speed]]
    """SmolLM2 on the device by the share of zeros: the dense engine and ours; empty where its
    package is not installed."""

    @cached_property
    def trends(self) -> Mapping[str, Trend]:
        """Lines through figures by the share of zeros, and through the paper's; none for fewer than
        three shares."""
        shares = [row.sparsity for row in self.rows]
        if len(shares) < 3:
            return {}
        found = {name: trend(shares, list(map(of, self.rows))) for name, of in _FIGURES.items()}
        own = published().rows
        found["the paper's speed-up"] = trend(
            [row.sparsity for row in own], [row.speedup for row in own]
        )
        return found

    def facts(self) -> dict[str, Any]:
        """All figures as values for JSON."""
        return {
            "device": DEVICE,
            "tokens": TOKENS,
            "clock_mhz": self.rows[0].clock / 1e6,
            "rows": [row.facts() for row in self.rows],
            "published": [asdict(row) for row in published().rows],
            "trends": {name: asdict(line) for name, line in self.trends.items()},
            "ablations": [asdict(one) | {"gain": one.gain} for one in self.ablations],
            "convergence": self.convergence.facts(),
            "language": [
                {"sparsity": share, "dense": dense.facts(), "ours": ours.facts()}
                for share, (dense, ours) in self.language.items()
            ],
            "constants": {name: asdict(one) for name, one in constants().items()},
        }

    def table(self) -> str:
        """The rows as CSV."""
        text = StringIO()
        heading = (
            *("zeros", "speedup_equal_logic", "speedup_device", "speedup_equal_dsps"),
            *("energy_equal_logic", "energy_low", "energy_high"),
            *("energy_device", "energy_device_low", "energy_device_high"),
            *("baseline_ms", "ms", "baseline_samples_per_second", "samples_per_second"),
            *("baseline_samples_per_joule", "samples_per_joule"),
            *("baseline_cosine", "cosine", "paper_speedup", "paper_samples_per_watt"),
        )
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(heading)
        for row in self.rows:
            device, given = row.device, published().row(row.sparsity)
            gain, whole = row.energy_gain, row.device_energy_gain
            joules = [row.samples_per_joule(name).value for name in list(row.events)[2:]]
            figures = (
                *(row.sparsity, row.speedup, row.device_speedup, row.dsp_speedup),
                *(gain.value, gain.low, gain.high, whole.value, whole.low, whole.high),
                *(1e3 * row.latency(one) for one in (device.baseline, device.ours)),
                *(row.samples(one) for one in (device.baseline, device.ours)),
                *joules,
                *(row.prepared.baseline[0.0], row.prepared.ours[0.0]),
            )
            own = (given.speedup, given.samples_per_watt) if given else ("", "")
            writer.writerow([*(f"{figure:.6g}" for figure in figures), *own])
        return text.getvalue()
