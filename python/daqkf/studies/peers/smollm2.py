# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""SmolLM2 on this machine's processor by llama.cpp, and on a device as it is planned.

llama.cpp is what the package `xllamacpp` brings, which is not built for the processor at hand. It
runs in a process of its own, because it has threads of its own and writes a log.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from daqkf.dialects.errors import from_extra
from daqkf.passes.progress import Progress
from daqkf.studies.bench.device import Bench
from daqkf.studies.bench.language import Sampled, Weights
from daqkf.studies.bench.language_speed import Situation, ours
from daqkf.studies.peers.minilm import CLOCK, DEVICE, PLANNED, Speed
from daqkf.studies.smollm2.packaged import find_smollm2
from daqkf.support.errors import DaqkfError

REPEATS = 3
PROMPT, WRITTEN = 128, 64
"""Tokens that are read, and those that are written behind them."""
SPARSITY, MAGNITUDES, USE = 0.5, 15, 0.8
"""Of what is planned: zeros, levels, and the share of the device that may be taken."""
_PROGRAM = (
    "import sys; from daqkf.studies.peers.smollm2 import child; "
    "child(sys.argv[1], int(sys.argv[2]))"
)


def measure_smollm2(progress: Progress, repeats: int = REPEATS) -> list[Speed]:
    """SmolLM2 by llama.cpp, and as it is planned.

    Raises:
        DaqkfError: llama.cpp is not installed, or failed.
        ModelNotFoundError: the package with SmolLM2 is not installed.
    """
    with from_extra("peers"):
        import xllamacpp  # pyright: ignore # noqa: F401

    path = find_smollm2()
    progress("llama.cpp")
    command = [sys.executable, "-c", _PROGRAM, str(path), str(repeats)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = run.stdout.strip().splitlines()
    if run.returncode or not lines:
        last = (run.stderr.strip().splitlines() or ["no output"])[-1]
        raise DaqkfError(f"llama.cpp failed: {last}")
    found = json.loads(lines[-1])
    kind = path.stem.rpartition(".")[2]
    rows = [Speed("SmolLM2-135M", f"llama.cpp, {kind}", found["written"], found["read"])]
    sampled = Sampled.of(Weights.of("smollm2"), SPARSITY, MAGNITUDES, progress)
    planned = ours(sampled, Bench.of(DEVICE, CLOCK, USE), Situation(), progress)
    name = (
        f"{PLANNED}: {DEVICE} at {CLOCK / 1e6:g} MHz, {SPARSITY:.0%} zeros, {MAGNITUDES} magnitudes"
    )
    return [*rows, Speed("SmolLM2-135M", name, planned.decode_rate, planned.prompt_rate)]


def child(path: str, repeats: int) -> None:
    """Measure llama.cpp with one thread; print tokens a second of CPU time as JSON."""
    with from_extra("peers"):
        import xllamacpp  # pyright: ignore

    library: Any = xllamacpp
    params: Any = library.CommonParams()
    params.model.path = str(Path(path))
    params.n_ctx, params.n_parallel = 1024, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server: Any = library.Server(params)
    # A word is a token, or two; the server says how many it has read.
    prompt = "and then " * (PROMPT // 2)

    def seconds(written: int) -> tuple[float, int]:
        start = time.process_time()
        asked = {"prompt": prompt, "n_predict": written, "temperature": 0, "cache_prompt": False}
        reply = server.handle_completions({**asked, "ignore_eos": True})
        return time.process_time() - start, int(reply["usage"]["prompt_tokens"])

    read, whole, tokens = float("inf"), float("inf"), 0
    for _ in range(repeats + 1):
        own, tokens = seconds(1)
        read = min(read, own)
        whole = min(whole, seconds(1 + WRITTEN)[0])
    print(json.dumps({"read": tokens / read, "written": WRITTEN / (whole - read)}))
