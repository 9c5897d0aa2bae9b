# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the tools make of the Strassen family's circuit. `test_array.py` simulates more of it."""

from pathlib import Path

import numpy as np
import pytest
from networks import lint

import daqkf
from daqkf.hw_targets.config import ArrayConfig
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.rtl.array import TOP
from daqkf.lowering.rtl.families.strassen import build_pair
from daqkf.synthesis import synthesize

TARGET = """
[machine]
pes = 2
lanes = 4
post_lanes = 2
max_shift = 1
activation_depth = 64
stream_depth = 64
parameter_depth = 16
result_depth = 16
families = ["strassen"]
"""


@pytest.mark.slow
def test_two_lanes_take_seven_dsp_blocks():
    """For a 2×2×2 block in each cycle, which has eight products."""
    config = ArrayConfig(1, 2, 1, 0, 64, 64, 64, 64, 14, 22, 22, families=("strassen",))
    pair = build_pair(config)
    resources = synthesize(emit_verilog(circuit_module(pair)), pair.name, "xcup-dsp")
    assert resources.counts.dsps == 7


def narrow(largest: int, features: int, folder: Path) -> daqkf.Design:
    """A layer whose sums have fewer bits than products."""
    target = folder / "narrow.toml"
    target.write_text(TARGET)
    levels = np.random.default_rng(largest).integers(-largest, largest + 1, (features, 5))
    return daqkf.compile(levels, levels=largest, target=str(target))


@pytest.mark.slow
@pytest.mark.parametrize(("largest", "features"), [(1, 3), (7, 4)])
def test_sums_narrower_than_products(largest: int, features: int, tmp_path: Path):
    """They are right modulo their width, and no bit of a product is left over."""
    rng = np.random.default_rng(largest)
    design = narrow(largest, features, tmp_path)
    assert design.config.accumulator_width < 18
    x = rng.integers(-128, 128, (9, features)).astype(np.int8)
    x[:2] = [[-128], [127]]
    expected = design.reference(x)
    assert np.array_equal(design.simulate(x), expected)
    assert np.array_equal(design.simulate(x, stalls=0.4), expected)

    lint(design.verilog_files, TOP, tmp_path)
