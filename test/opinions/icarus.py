# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

# REQUIRES: iverilog
# RUN: python %s %t

"""Arrays of each family run in Icarus Verilog, and give the results of the formulas.

Unlike Verilator it knows undefined values, so nothing may depend on a register before its reset.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

TEST = Path(__file__).parents[1]
sys.path[:0] = [str(TEST), str(TEST / "integration")]

from test_array import MACHINES, Kernel, largest_level, parts, verilog  # noqa: E402

from daqkf.lowering.image.encode import encode  # noqa: E402
from daqkf.runtime.simulator import Job  # noqa: E402

NAMES = ("P2-T2", "strassen", "multiply-modes", "ternary", "windows-eight", "dense-packed")


def run(name: str, folder: Path, seed: int) -> None:
    """Build the array of a machine with Icarus, and run a random kernel."""
    folder.mkdir(parents=True, exist_ok=True)
    machine = MACHINES[name]
    kernel = Kernel.random(seed, 21, 9, 0.4, largest_level(machine))
    config, program = parts(kernel.lower(machine))
    x = np.random.default_rng(seed).integers(-128, 128, (2 * machine.lanes, 21)).astype(np.int8)
    job = Job(encode(program), x, 9)
    assert job.image is not None
    words, beats = np.frombuffer(job.image, "<u4"), job.beats(machine.lanes)
    rows = sum(job.tiles(machine.lanes)) * job.outputs
    (folder / "program.hex").write_text("".join(f"{word:08x}\n" for word in words))
    (folder / "x.hex").write_text("".join(f"{row[::-1].tobytes().hex()}\n" for row in beats))
    for file, text in verilog(config).items():
        (folder / file).write_text(text)
    values = {"WORDS": len(words), "BEATS": len(beats), "ROWS": rows, "BITS": config.row_bits}
    command = ["iverilog", "-g2012", "-s", "bench", "-o", "array.vvp"]
    command += [f"-Pbench.{key}={value}" for key, value in (values | {"SEED": seed}).items()]
    command += [str(TEST / "opinions" / "bench.sv"), *verilog(config)]
    subprocess.run(command, cwd=folder, check=True)
    found = subprocess.run(
        ["vvp", "array.vvp"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.split()
    tiles = [np.frombuffer(bytes.fromhex(row), np.int8)[::-1] for row in found]
    y = job.results(np.array(tiles).reshape(-1, job.outputs, machine.lanes))
    np.testing.assert_array_equal(y, kernel.expected(x))
    print(f"{name}: {y.size} results")


if __name__ == "__main__":
    for number, chosen in enumerate(NAMES, 1):
        run(chosen, Path(sys.argv[1], chosen), number)
