# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What it costs that streams come from external memory, in cycles of the simulated RTL.

    python benchmarks/memory_streams.py [--sparsity 0.7] [--clock 250] [--tiles 20]

A layer of MiniLM's shape runs on the target `wide-memory`, with ports of each width, behind each
memory and behind one that gives a beat in each cycle; and on the same array with its streams in
block RAM. `used` is the share of what the memory could have given meanwhile.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import daqkf
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.memory import IDEAL, load_memory, memory_names
from daqkf.hw_targets.target import load_target
from daqkf.lowering.image.encode import split_image

FEATURES, OUTPUTS = 384, 384
FIRST_DEPTH = 1 << 14
"""Words of the stream memories of the array that has its streams in block RAM."""


def target(machine: Machine, folder: Path) -> str:
    """A file of a machine, for `daqkf.compile`."""
    lines = ['description = ""', "[machine]"]
    for name, value in vars(machine).items():
        text = list(value) if isinstance(value, tuple) else value
        lines.append(f"{name} = {str(text).lower() if isinstance(value, bool) else repr(text)}")
    path = folder / f"memory{machine.memory_bits}.toml"
    path.write_text("\n".join(lines).replace("'", '"'))
    return str(path)


def main() -> None:
    """Print a line for each port and memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sparsity", type=float, default=0.7, help="share of zeros")
    parser.add_argument("--clock", type=float, default=250.0, metavar="MHZ", help="of the array")
    parser.add_argument("--tiles", type=int, default=20, help="of 8 tokens")
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((FEATURES, OUTPUTS)) / np.sqrt(FEATURES)
    machine = load_target("wide-memory").machine
    x = rng.standard_normal((options.tiles * machine.lanes, FEATURES))
    wide = {bits: replace(machine, memory_bits=bits) for bits in (64, 128, 256, 512)}
    kinds = {0: replace(machine, memory_bits=0, stream_depth=FIRST_DEPTH), **wide}
    print("bits  memory          cycles a tile  beats a tile  bits a non-zero  used")
    with TemporaryDirectory() as folder:
        for bits, kind in kinds.items():
            design = daqkf.compile(
                weights,
                sparsity=options.sparsity,
                levels="uniform-15",
                calibration=x,
                target=target(kind, Path(folder)),
            )
            nonzeros = np.count_nonzero(design.weight_levels)
            beats = 8 * len(split_image(design.program)[1]) // (bits or 1)
            for name in (None, *(memory_names() if bits else ())):
                measured = design.measure(x, memory=name, clock=1e6 * options.clock)
                assert np.array_equal(measured.y, design.reference(x))
                cycles = (measured.cycles.total - measured.cycles.loading_program) / options.tiles
                line = f"{bits:4}  {name or ('ideal' if bits else 'block RAM'):14}{cycles:15,.0f}"
                if bits:
                    device = load_memory(name) if name else None
                    timing = device.timing(1e6 * options.clock, kind) if device else IDEAL
                    given = cycles * timing.beats / timing.cycles
                    if timing.interval:
                        given *= 1 - timing.pause / timing.interval
                    line += f"{beats:14,}{beats * bits / nonzeros:17.2f}{beats / given:6.0%}"
                print(line, flush=True)


if __name__ == "__main__":
    main()
