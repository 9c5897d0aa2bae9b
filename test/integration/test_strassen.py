# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What yosys makes of the Strassen family's circuit. `test_array.py` simulates it."""

from daqkf.dialects.rpea import ArrayConfig
from daqkf.lowering.circuit import circuit_module
from daqkf.lowering.export_verilog import emit_verilog
from daqkf.lowering.rtl.families.strassen import build_pair
from daqkf.synthesis import synthesize


def test_two_lanes_take_seven_dsp_blocks():
    """For a 2×2×2 block in each cycle, which has eight products."""
    config = ArrayConfig(1, 2, 1, 0, 64, 64, 64, 64, 14, 22, 22, families=("strassen",))
    pair = build_pair(config)
    resources = synthesize(emit_verilog(circuit_module(pair)), pair.name, "xcup-dsp")
    assert resources.counts.dsps == 7
