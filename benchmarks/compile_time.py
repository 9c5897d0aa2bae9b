# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Measure how long compiling a network takes, and how the time grows with the non-zeros.

The networks are feed-forward networks of 1, 2, … 16 layers with random weights (K = N = `--width`,
GELU between layers), and single layers of 1, 4 and 16 times as many weights. Each is compiled in a
process of its own, so that its peak memory is known. `relative` is the time per non-zero, divided
by that of the first network of the kind: 1 means linear growth. With --minilm, the exported MiniLM
encoder is compiled, too.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from daqkf.support.console import table_console

DEPTHS = (1, 2, 4, 8, 16)
FACTORS = (1, 2, 4)
SPARSITY = 0.5


def feed_forward(widths: Sequence[int]) -> Any:
    """An ONNX model whose layers have these widths."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, constants, value = [], [], "x"
    for number, (features, channels) in enumerate(pairwise(widths)):
        weights = rng.standard_normal((features, channels)).astype(np.float32)
        name = f"layer.{number}"
        constants.append(numpy_helper.from_array(weights, f"{name}.weight"))
        product, value_after = f"{name}.product", name
        nodes.append(helper.make_node("MatMul", [value, f"{name}.weight"], [product], product))
        nodes.append(helper.make_node("Gelu", [product], [value_after], name))
        value = value_after
    shapes = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["tokens", width])
        for name, width in (("x", widths[0]), (value, widths[-1]))
    )
    first, last = shapes
    graph = helper.make_graph(nodes, "ffn", [first], [last], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def compile_once(path: Path, sparsity: float | None) -> dict[str, float]:
    """Compile once, with program images: seconds, peak memory in MiB, and non-zeros."""
    from daqkf.compiler.network import compile_network
    from daqkf.dialects.spaq import ConstantOp

    start = time.perf_counter()
    network = compile_network(
        path, levels="uniform-15", sparsity=sparsity, target="wide", second_order=False
    )
    size = sum(row["program_bytes"] for row in network.traffic())
    seconds = time.perf_counter() - start
    constants = (op for op in network.network.walk() if isinstance(op, ConstantOp))
    nonzeros = sum(int(np.count_nonzero(op.array())) for op in constants if op.array().ndim == 2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "mebibytes": peak, "nonzeros": nonzeros, "image": size}


def measured(path: Path, sparsity: float | None) -> dict[str, float]:
    """Compile once in a process of its own, with the same results."""
    arguments = [sys.executable, __file__, "--one", str(path)]
    if sparsity is not None:
        arguments += ["--sparsity", str(sparsity)]
    run = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=384, help="default: 384")
    parser.add_argument("--minilm", action="store_true", help="the whole encoder, too")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--sparsity", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(compile_once(options.one, options.sparsity)))
        return
    table = Table()
    table.add_column("network")
    for heading in ("non-zeros", "seconds", "relative", "peak MiB"):
        table.add_column(heading, justify="right")
    kinds: dict[str, dict[str, Any]] = {
        "depth": {f"{depth} layers": [options.width] * (depth + 1) for depth in DEPTHS},
        "width": {
            f"{options.width * factor} × {options.width * factor}": [options.width * factor] * 2
            for factor in FACTORS
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        for networks in kinds.values():
            first = 0.0
            for name, widths in networks.items():
                path.write_bytes(feed_forward(widths).SerializeToString())
                found = measured(path, SPARSITY)
                rate = found["seconds"] / found["nonzeros"]
                first = first or rate
                _add_row(table, name, found, f"{rate / first:.2f}")
            table.add_section()
        if options.minilm:
            from daqkf.studies.minilm.export_onnx import export_minilm
            from daqkf.studies.minilm.model import MiniLM

            path.write_bytes(export_minilm(MiniLM.load()).SerializeToString())
            _add_row(table, "MiniLM's encoder, unpruned", measured(path, None), "")
            _add_row(table, f"MiniLM's encoder, {SPARSITY:.0%}", measured(path, SPARSITY), "")
    table_console().print(table)


def _add_row(table: Table, name: str, found: dict[str, float], relative: str) -> None:
    table.add_row(
        name,
        f"{found['nonzeros']:,.0f}",
        f"{found['seconds']:.2f}",
        relative,
        f"{found['mebibytes']:,.0f}",
    )


if __name__ == "__main__":
    main()
