# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Run-time dispatch on a real layer, and how noise in the inputs changes its decisions.

Layers of MiniLM have two variants of different sparsity. Some sentences calibrate the decision
table. The others are run, without noise and with Gaussian noise added to their activations. The
table has for each noise:

- the share of tiles that take the fast variant, and of decisions that the noise changed;
- the output's signal-to-noise ratio (dB) to the float layer on the same inputs, with the
  dispatch, with the same number of fast tiles taken at random, and with each variant alone;
- the mean cycles of a tile.

The error budget is the error that half of the calibration tiles exceed in the fast variant. The
golden model stands for the RTL; at the end, some tiles are run in the RTL itself.
"""

import argparse
import re
import subprocess
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

import daqkf
from daqkf.dialects.dfke import DecisionAttr, DispatchOp
from daqkf.dialects.interpreting import run
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.functions import apply_function
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.passes.quantize.pruning import magnitude_prune
from daqkf.runtime import tools
from daqkf.studies.demo import signal_to_noise
from daqkf.studies.minilm.model import MiniLM, load_sentences
from daqkf.studies.paper.ablation import median_error
from daqkf.support.tables import table_console

CALIBRATION = 60
"""The number of sentences that calibrate; the others are run."""

UNLIMITED = 1e6
"""An error budget in steps of the output, which no variant exceeds."""

NOISE = (np.inf, 40.0, 30.0, 20.0, 10.0)
"""The signal-to-noise ratios of the activations in dB."""


@dataclass(frozen=True)
class Case:
    """A layer and its variants."""

    layer: str
    activation: str | None
    sparsities: tuple[float, float]


CASES = (
    Case("layer.5.attention.value", None, (0.3, 0.5)),
    Case("layer.0.ffn.up", "gelu", (0.3, 0.5)),
    Case("layer.0.ffn.down", None, (0.3, 0.5)),
)
LEVELS = "codebook-15"
HOW = ("dispatch", "slow", "fast")
"""The ways to choose a variant: by dispatch, always variant 0 (slow), or always variant 1
(fast)."""


def mixed(slow: float, fast: float, share: float) -> float:
    """The signal-to-noise ratio in dB if a share of the tiles, taken at random, were fast."""
    noise = (1 - share) * 10 ** (-slow / 10) + share * 10 ** (-fast / 10)
    return float(-10 * np.log10(noise))


def fixed(design: daqkf.Design, variant: int, x: NDArray[Any]) -> NDArray[Any]:
    """The results if every tile took one variant."""
    module = design.golden.clone()
    for op in module.walk():
        if isinstance(op, DispatchOp):
            decision = op.decision.data
            op.decision = DecisionAttr(replace(decision, table=(variant,) * len(decision.table)))
    return run(module, x.astype(np.float32))


def cells(config: ArrayConfig, top: str) -> str:
    """The resources of a module of the array on UltraScale+ without DSP blocks, by yosys."""
    files = emit_verilog(circuit_module(build_array(config)))
    yosys = tools.yosys()
    script = (
        f"read_verilog -sv {' '.join(files)}; "
        f"synth_xilinx -family xcup -nodsp -flatten -top {top}; tee -o stat stat -tech xilinx"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            Path(folder, name).write_text(text)
        command = [*yosys.argv, "-q", "-p", script]
        subprocess.run(command, cwd=folder, env=yosys.env, check=True, capture_output=True)
        stat = Path(folder, "stat").read_text()
    logic = re.search(r"Estimated number of LCs: +(\d+)", stat)
    others = re.findall(r"^ +(\d+) .*\b(FDRE|RAM\w+)$", stat, re.MULTILINE)
    return ", ".join([f"{logic[1] if logic else '?'} LCs", *(f"{n} {kind}" for n, kind in others)])


def main() -> None:
    """Print a table for each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rtl", type=int, default=8, help="tiles for the RTL (default: 8)")
    parser.add_argument("--cells", action="store_true", help="synthesise the array; minutes")
    options = parser.parse_args()
    console = table_console()
    model, sentences = MiniLM.load(), load_sentences()
    rng = np.random.default_rng(0)
    for case in CASES:
        weights, bias = model.linear(case.layer)
        pruned = magnitude_prune(weights, min(case.sparsities))

        def layer(
            x: NDArray[Any],
            pruned: NDArray[Any] = pruned,
            bias: NDArray[Any] = bias,
            activation: str | None = case.activation,
        ) -> NDArray[Any]:
            sums = x @ pruned + bias
            return sums if activation is None else apply_function(activation, sums)

        calibration = model.activations(case.layer, sentences[:CALIBRATION])
        compiled = partial(
            daqkf.compile,
            weights,
            bias=bias,
            activation=case.activation,
            sparsity=case.sparsities,
            levels=LEVELS,
            calibration=calibration,
            second_order=False,
        )
        budget = median_error(compiled(error_budget=UNLIMITED), calibration, layer(calibration))
        design = compiled(error_budget=budget)
        clean = model.activations(case.layer, sentences[CALIBRATION:])
        words = np.array([max(entry["stream_words"]) for entry in design.summary()["variants"]])
        decided = design.variants(clean)
        shown = Table(
            title=f"{case.layer}, {len(clean)} tokens, {LEVELS}, sparsities "
            f"{case.sparsities[0]:.0%} / {case.sparsities[1]:.0%}, budget {budget:.2f} steps"
        )
        for heading in (
            *("input\nSNR", "tiles\nfast", "decisions\nchanged", "of them\nto fast"),
            *(f"SQNR\n{how}" for how in (HOW[0], "at random", *HOW[1:])),
            *(f"cycles\n{how}" for how in HOW),
        ):
            shown.add_column(heading, justify="right")
        for snr in NOISE:
            x = clean + rng.standard_normal(clean.shape) * clean.std() * 10 ** (-snr / 20)
            variants, reference = design.variants(x), layer(x)
            ratios = [
                signal_to_noise(reference, y)
                for y in (design.reference(x), fixed(design, 0, x), fixed(design, 1, x))
            ]
            ratios.insert(1, mixed(*ratios[1:], float(variants.mean())))
            shown.add_row(
                "none" if np.isinf(snr) else f"{snr:.0f} dB",
                f"{variants.mean():.1%}",
                f"{(variants != decided).mean():.1%}",
                f"{(variants > decided).mean():.1%}",
                *(f"{ratio:.2f}" for ratio in ratios),
                *(f"{cycles:.0f}" for cycles in (words[variants].mean(), *words)),
            )
        console.print(shown)
        some = clean[: options.rtl * design.config.lanes]
        if len(some):
            measured = design.measure(some)
            equal = np.array_equal(measured.y, design.reference(some)) and np.array_equal(
                measured.variants, design.variants(some)
            )
            console.print(
                f"RTL, {measured.tiles} tiles: {measured.cycles.running / measured.tiles:.0f} "
                f"cycles a tile, variants {measured.variants.tolist()}, "
                f"{'equal bit for bit' if equal else '[red]NOT EQUAL[/]'}"
            )
        if options.cells and case is CASES[0]:
            console.print(f"the SPAQ unit: {cells(design.config, 'daqkf_spaq')}")
            console.print(f"the array: {cells(design.config, TOP)}")
            console.print(f"without the unit: {cells(replace(design.config, buckets=1), TOP)}")


if __name__ == "__main__":
    main()
