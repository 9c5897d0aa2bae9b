# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Count logic cells, DSP blocks and block RAM of arrays that multiply, with yosys.

The arrays have 4 PEs × 8 lanes for K = 512 features and N = 64 outputs. The fabrics are UltraScale+
with and without DSP blocks, and ECP5 with its smaller ones. An element is its lanes, its memories
and its control. The array has four of them, and also the loader, the post unit and the result
memory. This takes minutes.
"""

from rich.console import Console
from rich.table import Table

from daqkf.hw_targets.config import ArrayConfig
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.synthesis import synthesize

FEATURES, OUTPUTS, PES, LANES = 512, 64, 4, 8

ARRAYS = (
    # family, multiplier, bits of a weight, fabric
    ("dense", "dsp", (8,), "xcup"),
    ("dense", "booth", (8,), "xcup"),
    ("multiply", "booth", (8,), "xcup"),
    ("multiply", "booth", (4,), "xcup"),
    ("multiply", "booth", (4, 8), "xcup"),
    ("dense", "dsp", (8,), "xcup-dsp"),
    ("dense", "packed", (8,), "xcup-dsp"),
    ("multiply", "dsp", (8,), "xcup-dsp"),
    ("multiply", "packed", (8,), "xcup-dsp"),
    ("multiply", "dsp", (4,), "xcup-dsp"),
    ("multiply", "packed", (4,), "xcup-dsp"),
    ("multiply", "dsp", (4, 8), "xcup-dsp"),
    ("multiply", "dsp", (8,), "ecp5-dsp"),
    ("multiply", "dsp", (4,), "ecp5-dsp"),
    ("multiply", "dsp", (4, 8), "ecp5-dsp"),
)


def config(family: str, multiplier: str, bits: tuple[int, ...]) -> ArrayConfig:
    """An array whose sums are as wide as K weights of these bits can make them."""
    width = (128 * ((1 << (max(bits) - 1)) - 1) * FEATURES).bit_length() + 1
    return ArrayConfig(
        pes=PES,
        lanes=LANES,
        post_lanes=1,
        max_shift=0,
        activation_depth=2 * FEATURES,
        stream_depth=FEATURES * OUTPUTS // PES,
        parameter_depth=OUTPUTS // PES,
        result_depth=OUTPUTS,
        families=(family,),
        multiplier=multiplier,
        weight_bits=bits,
        running_sum_width=9,
        accumulator_width=width,
        sum_width=width,
    )


def main() -> None:
    """Print the table."""
    table = Table(title=f"{PES} PEs × {LANES} lanes, K = {FEATURES}")
    for heading in ("family", "multiplier", "bits", "fabric", "array LC", "element LC / lane",
                    "DSP", "RAMB36", "flip-flops"):  # fmt: skip
        table.add_column(heading, justify="right")
    for family, multiplier, bits, fabric in ARRAYS:
        verilog = emit_verilog(circuit_module(build_array(config(family, multiplier, bits))))
        array = synthesize(verilog, TOP, fabric).counts
        element = synthesize(verilog, f"daqkf_{family}_element", fabric).counts
        table.add_row(
            family,
            "* in LUTs" if fabric == "xcup" and multiplier == "dsp" else multiplier,
            ", ".join(str(width) for width in bits),
            fabric,
            str(array.logic_cells),
            f"{element.logic_cells / LANES:.1f}",
            str(element.dsps * PES),
            f"{array.block_rams_36k:g}",
            str(array.flip_flops),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
