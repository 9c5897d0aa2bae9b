# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How fast the exact integers of a compiled network run in NumPy, beside onnxruntime's floats.

Compiles MiniLM, or another ONNX encoder of token ids, for `generic`, where the host keeps softmax
and normalisation in float, and for `wide-norm` with products, where all of a layer is integers.
Then runs `CompiledNetwork.run` and onnxruntime's float32 in turn, each on one thread, and prints
tokens per second of CPU time, the best of `--repeat` runs, and their ratio.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CASES: dict[str, dict[str, Any]] = {
    "generic": {"target": "generic", "levels": "uniform-15"},
    "wide-norm, products": {"target": "wide-norm", "levels": "uniform-15", "products": True},
}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""What the libraries of linear algebra read when they are loaded."""


def measured(model: Path, case: str, batch: int, length: int, repeat: int) -> dict[str, float]:
    """Tokens per second of onnxruntime and of the fast model; `length` tokens in each sequence."""
    import numpy as np
    import onnxruntime as ort

    import daqkf
    from daqkf.compiler.compiled_network import CompiledNetwork
    from daqkf.support.timing import least_seconds

    compiled = daqkf.compile(str(model), **CASES[case])
    assert isinstance(compiled, CompiledNetwork)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    ids = np.random.default_rng(0).integers(1000, 20000, (batch, length))
    drawn = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    inputs = {name: drawn.get(name, np.zeros_like(ids)) for name in compiled.inputs}
    runs = (lambda: session.run(None, inputs), lambda: compiled.run(inputs))
    reference, fast = least_seconds(runs, repeat)
    return {"onnxruntime": ids.size / reference, "fast": ids.size / fast}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="an ONNX file; default: MiniLM, exported")
    parser.add_argument("--batch", type=int, default=8, help="sequences; default: 8")
    parser.add_argument("--length", type=int, default=64, help="tokens of each; default: 64")
    parser.add_argument("--repeat", type=int, default=15, help="default: 15")
    parser.add_argument("--one", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    shape = options.batch, options.length, options.repeat
    if options.one:
        print(json.dumps(measured(options.model, options.one, *shape)))
        return
    with tempfile.TemporaryDirectory() as folder:
        model = options.model
        if model is None:
            from daqkf.studies.minilm.export_onnx import export_minilm
            from daqkf.studies.minilm.model import MiniLM

            model = Path(folder) / "model.onnx"
            model.write_bytes(export_minilm(MiniLM.load()).SerializeToString())
        print_table(model, shape)


def print_table(model: Path, shape: tuple[int, int, int]) -> None:
    """A row for each case, which runs in a process of its own for the libraries' threads."""
    from rich.table import Table

    from daqkf.support.tables import table_console

    table = Table()
    table.add_column("compiled for")
    for heading in ("onnxruntime, tokens/s", "fast model, tokens/s", "ratio"):
        table.add_column(heading, justify="right")
    names = "--batch", "--length", "--repeat"
    flags = [part for name, value in zip(names, shape, strict=True) for part in (name, str(value))]
    for case in CASES:
        command = [sys.executable, __file__, "--model", str(model), "--one", case, *flags]
        run = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | ONE_THREAD
        )
        found = json.loads(run.stdout)
        ratio = found["fast"] / found["onnxruntime"]
        table.add_row(case, f"{found['onnxruntime']:,.0f}", f"{found['fast']:,.0f}", f"{ratio:.2f}")
    table_console().print(table)


if __name__ == "__main__":
    main()
