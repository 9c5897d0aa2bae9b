# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The datapath of the unary family, which has one adder in each lane.

operands → accumulators → held sums
"""

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.lowering.hdl.circuit import Circuit, mux
from daqkf.lowering.rtl.families.stage import Datapath, DatapathBuilder, Operands


def build_datapath(c: Circuit, config: ArrayConfig, operands: Operands) -> Datapath:
    """Build the element's control and its lanes."""
    enable, (row,) = operands.enable, operands.rows
    negative, last = operands.fields["negative"], operands.fields["last"]
    add_enable = enable & operands.valid
    fresh = c.register("fresh", 1, reset=1)
    fresh.drive(operands.start | last, enable=operands.start | add_enable)
    finished = c.delay(operands.valid & last, "finished", enable=enable, reset=0)
    held, width = [], config.accumulator_width
    for t in range(config.lanes):
        x = row[ACTIVATION_BITS * t : ACTIVATION_BITS * (t + 1)].sext(width)
        accumulator = c.register(f"accumulator{t}", width)
        so_far = mux(fresh, c.const(0, width), accumulator)
        accumulator.drive(mux(negative, so_far - x, so_far + x), enable=add_enable)
        held.append(c.delay(accumulator, f"held_sum{t}", enable=operands.hold_enable))
    return Datapath(finished, held)


DATAPATH = DatapathBuilder(build_datapath)
