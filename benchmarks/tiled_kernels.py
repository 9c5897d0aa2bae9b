# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How long kernels take to compile that are cut into more and more programs, over 1× to 16×.

Each is compiled for the target `tiny` in a process of its own, from a Matrix Market file with two
entries that are not zero, and saved. A row has its outputs, its programs, the seconds of CPU time
and how often the first row's; linear growth stays below the factor of the size.

    python benchmarks/tiled_kernels.py
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

FIRST = 1024
TIMES = (1, 2, 4, 8, 16)


def measure(outputs: int) -> tuple[int, float]:
    """The programs of a kernel [4, outputs], and the seconds that it takes."""
    import daqkf
    from daqkf.compiler.compiled_network import CompiledNetwork

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.mtx")
        header = "%%MatrixMarket matrix coordinate real general\n"
        path.write_text(f"{header}4 {outputs} 2\n1 1 1.0\n2 2 0.5\n", encoding="ascii")
        began = time.process_time()
        network = daqkf.compile(path, target="tiny")
        assert isinstance(network, CompiledNetwork)
        network.save(Path(folder, "out"))
        return sum(len(group) for group in network.stages[0].programs), time.process_time() - began


def main() -> None:
    """Print the table."""
    if len(sys.argv) > 1:
        print(*measure(int(sys.argv[1])))
        return
    print(f"{'outputs':>8} {'programs':>9} {'seconds':>8} {'times':>6}")
    first = 0.0
    for times in TIMES:
        command = [sys.executable, __file__, str(times * FIRST)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        programs, seconds = run.stdout.split()
        first = first or float(seconds)
        ratio = float(seconds) / first
        print(f"{times * FIRST:>8} {programs:>9} {float(seconds):>8.1f} {ratio:>6.1f}")


if __name__ == "__main__":
    main()
