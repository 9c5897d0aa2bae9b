# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Place an engine whose streams come from memory on the smallest ECP5 that holds it.

    python benchmarks/engine_clock.py [--lanes 64] [--post-lanes 8] [--pes 1] [--seeds 1]

It prints what the engine takes beside what `hw_targets.engine` says, the clock frequency of each
seed, and the critical path. By default it is the largest engine that fits an LFE5U-85F with 1024
rows of activations: block RAM binds. The engine loads a program while another one runs, and chains
kernels. Runs are cached; one seed takes ten minutes and more.
"""

import argparse
from dataclasses import replace

from daqkf.cli.synthesizing import print_resources
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.engine import engine_needs
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.synthesis.resources import PLACED, synthesize

ENGINE = ArrayConfig(
    pes=1,
    lanes=64,
    post_lanes=8,
    max_shift=0,
    activation_depth=1024,
    stream_depth=512,
    parameter_depth=512,
    result_depth=512,
    items=8,
    banks=2,
    memory_bits=64,
    running_sum_width=16,
    accumulator_width=22,
    sum_width=23,
    kernels=8,
)


def main() -> None:
    """Place it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("pes", "lanes", "post_lanes", "memory_bits"):
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, dest=name, type=int, default=getattr(ENGINE, name))
    parser.add_argument("--seeds", type=int, default=1, help="so many placements (default: 1)")
    options = vars(parser.parse_args())
    seeds = range(1, options.pop("seeds") + 1)
    config = replace(ENGINE, **options)
    files = emit_verilog(circuit_module(build_array(config)))
    found = synthesize(files, TOP, PLACED, place=True, seeds=seeds)
    needs = engine_needs(config, PLACED)
    print(
        f"{config.pes} x {config.lanes}: {needs.luts:,} LUTs, {needs.flip_flops:,} flip-flops and "
        f"{needs.block_rams_18k} block RAMs are predicted"
    )
    print_resources(found, None)


if __name__ == "__main__":
    main()
