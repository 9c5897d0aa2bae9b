# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Count the logic of the residual memory and the row unit, synthesised for UltraScale+.

The array is that of the target `wide`, with small memories and sums of 24 bits. The rows are the
array with chains alone, with residuals, with each kind of row unit, and with all of them. Then
follow the cycles that they take for a tile.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace

from rich.console import Console
from rich.table import Table

from daqkf.hw_targets import load_target
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import UNITS
from daqkf.hw_targets.timing import gating_cycles, normalization_cycles, softmax_cycles
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.support.tables import table_console
from daqkf.synthesis import synthesize

FEATURES = 384
KEYS = 64
MEMORIES = {
    "activation_depth": 512,
    "stream_depth": 1024,
    "parameter_depth": 256,
    "result_depth": 512,
}
WIDTHS = {"running_sum_width": 18, "accumulator_width": 24, "sum_width": 24}
VARIANTS = {
    "chains alone": {},
    "+ residuals": {"residual_depth": 512},
    "+ normalisation": {"normalizes": True},
    "+ normalisation, also by root mean squares": {
        "normalizes": True,
        "rms_norms": True,
        "epsilon_width": 24,
    },
    "+ residuals and normalisation": {"residual_depth": 512, "normalizes": True},
    "+ gating": {"gates": True},
    "+ gating and exponents of 3 bits": {"gates": True, "row_exponents": 3},
    "+ gating and exponents of 7 bits": {"gates": True, "row_exponents": 7},
    "+ normalisation and gating": {"normalizes": True, "gates": True},
    "+ normalisation and softmax": {"normalizes": True, "softmax": True},
    "+ everything": {"residual_depth": 512, **dict.fromkeys(UNITS, True)},
    "+ operand memories": {
        "residual_depth": 512,
        **dict.fromkeys(UNITS, True),
        "operand_depth": 1024,
    },
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fabric", default="xcup", help="default: xcup")
    options = parser.parse_args(arguments)
    machine = replace(load_target("wide").machine, **MEMORIES)
    config = ArrayConfig(**asdict(machine), **WIDTHS, kernels=8)
    table = Table()
    for heading in ("array", "logic cells", "of chains alone"):
        table.add_column(heading, justify="left" if heading == "array" else "right")
    base = 0
    with Console(stderr=True).status("synthesise") as status:
        for name, units in VARIANTS.items():
            status.update(f"synthesise: {name}")
            verilog = emit_verilog(circuit_module(build_array(replace(config, **units))))
            cells = synthesize(verilog, TOP, options.fabric).counts.logic_cells
            base = base or cells
            table.add_row(name, f"{cells:,}", f"{cells / base:.2f}x")
    console = table_console()
    console.print(table)
    console.print(
        f"a tile of {machine.lanes} tokens and {FEATURES} features is normalised in about "
        f"{normalization_cycles(machine, FEATURES):,} cycles, gated in "
        f"{gating_cycles(machine, FEATURES // 2):,}, and turned into softmaxes of {KEYS} keys in "
        f"{softmax_cycles(machine, FEATURES, KEYS):,}"
    )


if __name__ == "__main__":
    main()
