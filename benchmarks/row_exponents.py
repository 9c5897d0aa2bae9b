# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Compare scales of the gated products that SmolLM2's layers multiply by `ffn_down`.

Each row of the table is a layer, with the signal-to-noise ratio in dB of that product, whose float
weights read int8: with one scale for all tokens, with 2 % extra columns, and with exponents that
the int8 of a token share, by their reach in bits. It is the ratio that half of the tokens of a part
of the evaluation text exceed. Ranges are those of a part of the calibration text. The last column
says whether the compiler would choose a reach of 3.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from xdsl.dialects.func import FuncOp

from daqkf.compiler.calibration import KernelRows
from daqkf.compiler.language_models import batches_of, load_language_model, text_codec
from daqkf.compiler.options import NetworkOptions
from daqkf.compiler.outlining import outlined
from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.spaq import ConstantOp, MatmulOp
from daqkf.hw_targets.numerics import ACTIVATION_MAX, ACTIVATION_MIN, row_exponents, scale_rows
from daqkf.passes.defaults import SPLIT
from daqkf.passes.nn_kernels import matches
from daqkf.passes.nn_product import in_order
from daqkf.passes.quantize.calibration import Columns, absmax_ranges
from daqkf.passes.quantize.gating import exponents_pay
from daqkf.studies.smollm2.packaged import find_smollm2, own_text
from daqkf.support.tables import table_console

REACHES = (1, 2, 3, 7)
_CHOSEN = 3
_LONGEST = 64
"""Tokens of a part of a text."""

Floats = NDArray[np.floating]


def rounded(x: Floats, scales: Floats, reach: int = 0) -> Floats:
    """What int8 of scales [K] has of x [T, K], with exponents of this reach."""
    levels = x / scales
    if reach:
        coarse = np.clip(np.rint(levels), ACTIVATION_MIN, ACTIVATION_MAX).astype(np.int8)
        finer = reach - row_exponents(coarse, reach).astype(np.int64)
    else:
        finer = np.zeros((len(x), 1), np.int64)
    steps = np.clip(np.rint(scale_rows(levels, finer)), ACTIVATION_MIN, ACTIVATION_MAX)
    return np.ldexp(steps, -finer) * scales


def decibels(x: Floats, weights: Floats, approximate: Floats) -> float:
    """The signal-to-noise ratio of a product, of the median token."""
    noise, signal = (x - approximate) @ weights, x @ weights
    return 10 * float(np.log10(np.median((signal**2).sum(axis=1) / (noise**2).sum(axis=1))))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for text, tokens in (("calibration", 1000), ("evaluation", 300)):
        what = f"of our {text} text, about; default: {tokens}"
        parser.add_argument(f"--{text}", type=int, default=tokens, metavar="TOKENS", help=what)
    options = parser.parse_args(arguments)
    model = load_language_model(find_smollm2())
    codec = text_codec(model)
    network, _ = outlined(model.network(), NetworkOptions(scale_rows=False, fuse=False))
    weights = {
        op.sym_name.data: next(
            body.weights.owner.array()
            for body in op.walk()
            if isinstance(body, MatmulOp) and isinstance(body.weights.owner, ConstantOp)
        )
        for op in network.ops
        if isinstance(op, FuncOp) and matches(op, ["*ffn.down*"])
    }
    if not weights:
        raise SystemExit("no kernel is called ffn.down")
    seen: list[dict[str, Floats]] = []
    for text in ("calibration", "evaluation"):
        listener, function = KernelRows(), entry(network)
        tokens = getattr(options, text)
        batches = batches_of(model.config, codec, own_text(text).read_text(), _LONGEST)
        for batch in batches[:: max(1, len(batches) * _LONGEST // tokens)]:
            call(network, function, in_order(function, batch), (listener,))
        seen.append({name: np.concatenate(listener.rows[name]) for name in weights})
    table = Table()
    headings = ["one scale", "2 % columns", *(f"+ {reach} bits" for reach in REACHES), "pays"]
    for heading in ("layer", *headings):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    every: list[list[float]] = []
    for name, own in weights.items():
        ranges, x = absmax_ranges(seen[0][name]), seen[1][name].astype(np.float64)
        single = np.broadcast_to(Columns.plain(float(ranges.max())).scale, len(ranges))
        scales = np.broadcast_to(Columns.single(ranges, SPLIT).scale, len(ranges))
        ways = [(single, 0), (scales, 0), *((scales, reach) for reach in REACHES)]
        found = [decibels(x, own, rounded(x, *way)) for way in ways]
        every.append(found)
        pays = exponents_pay(seen[0][name].astype(np.float64), own, ranges, _CHOSEN)
        table.add_row(name, *(f"{ratio:.1f}" for ratio in found), "yes" if pays else "no")
    table.add_row("median", *(f"{ratio:.1f}" for ratio in np.median(every, axis=0)), "")
    console = table_console()
    console.print(table)


if __name__ == "__main__":
    main()
