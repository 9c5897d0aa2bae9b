# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Measure how long compiling a network takes, where the time goes, and how it grows.

The networks are feed-forward networks of 1, 2, … 16 layers with random weights (K = N = `--width`,
GELU between layers), single layers of 1, 4 and 16 times as many weights, and transformers of
`--weights` million weights, whose attention the array computes, too. Each is compiled in a process
of its own, so that its peak memory is known, and on one thread. Times are CPU times, which other
processes disturb less. `relative` is the time per non-zero, divided by that of the first network
of the kind: 1 means linear growth. With --minilm, MiniLM's encoder is compiled in place of these,
from its ONNX file with 100 calibration sentences: unpruned, and at 50 % zeros. With --model, an
ONNX file is. With --jobs N, the last network is compiled by one process and by N, and times are by
the clock; the IR, programs included, has to be the same.

With --growth, transformers of 1, 10, 30 and 100 million weights take the whole way instead, which
is `daqkf compile FILE -o FOLDER`: reading, drawn calibration data, quantisation, programs, RTL, and
all files of the folder. The seconds are those of the process and of the one that runs CIRCT, after
what both have imported. A network for which the machine lacks memory is left out, with a message.
"""

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from daqkf.support.tables import table_console

if TYPE_CHECKING:
    from daqkf.compiler.compiled_network import CompiledNetwork

DEPTHS = (1, 2, 4, 8, 16)
FACTORS = (1, 2, 4)
SPARSITY = 0.5
TRANSFORMERS = {1: (128, 5), 4: (256, 5), 21: (512, 7), 101: (512, 32)}
"""Features and layers of those that have so many million weights, 12·D² in each layer."""
SENTENCES = 100
"""That calibrate MiniLM."""
GROWTH = {1: (128, 5), 10: (384, 6), 30: (512, 10), 100: (768, 14)}
"""Features and layers of the transformers of --growth, by millions of weights."""
BYTES_A_WEIGHT, BYTES = 25, 120 << 20
"""Of memory that compiling takes at most: for each weight, and in any case."""
LIBRARIES = (
    "daqkf.cli.networks",
    "daqkf.compiler.network",
    "daqkf.lowering.conversions.rpea_to_hw",
    "daqkf.lowering.frontends.onnx",
    "daqkf.studies",
    "onnx",
    "rich.spinner",
    "rich.status",
    "rich.table",
    "scipy.special",
    "threadpoolctl",
    "xdsl.transforms.canonicalize",
)
"""What is imported before the time counts. Modules of ours, for what they import."""
HEAD_FEATURES, TOKENS_KNOWN = 32, 1000
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""What the libraries of linear algebra read when they are loaded."""


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


class _Graph:
    """Nodes and constants of an ONNX model, of random weights."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, array: Any) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def linear(self, x: str, features: int, channels: int, name: str) -> str:
        weights = self.rng.standard_normal((features, channels)) / np.sqrt(features)
        bias = self.rng.standard_normal(channels) / 10
        weight = self.constant(f"{name}.weight", weights.astype(np.float32))
        product = self.node("MatMul", [x, weight], f"{name}.product")
        added = self.constant(f"{name}.bias", bias.astype(np.float32))
        return self.node("Add", [product, added], name)

    def normalized(self, x: str, kept: str, features: int, name: str) -> str:
        gamma = self.constant(f"{name}.gamma", np.ones(features, np.float32))
        beta = self.constant(f"{name}.beta", np.zeros(features, np.float32))
        total = self.node("Add", [x, kept], f"{name}.sum")
        return self.node("LayerNormalization", [total, gamma, beta], name, epsilon=1e-5)


def transformer(features: int, layers: int) -> Any:
    """An ONNX model of an encoder [batch, length] → [batch, length, features]."""
    from onnx import TensorProto, helper

    graph, heads = _Graph(), features // HEAD_FEATURES
    table = graph.rng.standard_normal((TOKENS_KNOWN, features)).astype(np.float32)
    x = graph.node("Gather", [graph.constant("table", table), "input_ids"], "tokens")
    present = graph.node("Cast", ["attention_mask"], "present", to=TensorProto.FLOAT)
    absent = graph.node("Sub", [graph.constant("one", np.float32(1)), present], "absent")
    below = graph.node("Mul", [absent, graph.constant("below", np.float32(-1e9))], "masked")
    mask = graph.node("Unsqueeze", [below, graph.constant("axes", np.array([1, 2]))], "mask")
    apart = graph.constant("apart", np.array([0, 0, heads, HEAD_FEATURES]))
    together = graph.constant("together", np.array([0, 0, features]))
    scale = graph.constant("scale", np.float32(np.sqrt(HEAD_FEATURES)))
    for number in range(layers):
        name = f"layer.{number}"
        parts: list[str] = []
        for part, order in (
            ("query", [0, 2, 1, 3]),
            ("key", [0, 2, 3, 1]),
            ("value", [0, 2, 1, 3]),
        ):
            own = graph.linear(x, features, features, f"{name}.{part}")
            split = graph.node("Reshape", [own, apart], f"{name}.{part}.heads")
            parts.append(graph.node("Transpose", [split], f"{name}.{part}.by_head", perm=order))
        query, key, value = parts
        scores = graph.node("MatMul", [query, key], f"{name}.scores")
        scores = graph.node("Div", [scores, scale], f"{name}.scaled")
        scores = graph.node("Add", [scores, mask], f"{name}.masked")
        shares = graph.node("Softmax", [scores], f"{name}.shares", axis=-1)
        context = graph.node("MatMul", [shares, value], f"{name}.context")
        context = graph.node("Transpose", [context], f"{name}.tokens", perm=[0, 2, 1, 3])
        context = graph.node("Reshape", [context, together], f"{name}.joined")
        output = graph.linear(context, features, features, f"{name}.output")
        x = graph.normalized(output, x, features, f"{name}.attended")
        up = graph.linear(x, features, 4 * features, f"{name}.up")
        up = graph.node("Gelu", [up], f"{name}.gelu")
        down = graph.linear(up, 4 * features, features, f"{name}.down")
        x = graph.normalized(down, x, features, f"{name}.out")
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    result = helper.make_tensor_value_info(x, TensorProto.FLOAT, ["batch", "length", features])
    made = helper.make_graph(graph.nodes, "transformer", inputs, [result], graph.constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def compile_once(
    path: Path, sparsity: float | None, products: bool, sentences: int, jobs: int = 1
) -> dict[str, Any]:
    """Compile once, with images and RTL: CPU seconds by stage, peak MiB, and non-zeros.

    `clock` is the time by the clock without images and RTL.
    """
    from daqkf.compiler.network import compile_network
    from daqkf.dialects.spaq import ConstantOp

    calibrated: dict[str, Any] = {"second_order": False}
    if sentences:
        from daqkf.studies.minilm.model import MiniLM, load_calibration
        from daqkf.studies.minilm.network import SentenceEmbedding, inputs_of

        inputs = inputs_of(MiniLM.load(), load_calibration()[:sentences])
        calibrated = {"calibration": inputs, "measure": SentenceEmbedding()}
    marks: list[tuple[str, float]] = []

    def progress(name: str) -> None:
        # Of "quantise layer.0", say, the first word.
        marks.append((name.split()[0], time.process_time()))

    start = time.perf_counter()
    network = compile_network(
        path,
        jobs=jobs,
        levels="uniform-15",
        sparsity=sparsity,
        target="wide-norm" if products else "wide",
        products=products,
        progress=progress,
        **calibrated,
    )
    clock = time.perf_counter() - start
    progress("encode")
    size = sum(row["program_bytes"] for row in network.traffic())
    progress("RTL")
    assert network.verilog_files
    progress("end")
    stages = dict.fromkeys((stage for stage, _ in marks[:-1]), 0.0)
    for (stage, begin), (_, end) in pairwise(marks):
        stages[stage] += end - begin
    seconds = sum(stages.values())
    constants = (op for op in network.network.walk() if isinstance(op, ConstantOp))
    nonzeros = sum(int(np.count_nonzero(op.array())) for op in constants if op.array().ndim == 2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "seconds": seconds,
        "clock": clock,
        "mebibytes": peak,
        "nonzeros": nonzeros,
        "image": size,
        "stages": stages,
        "digest": _digest(network),
    }


def _digest(network: "CompiledNetwork") -> str:
    """Of all that the compiler made of a network but its RTL."""
    from daqkf.support.ir import module_text

    text = module_text(network.network) + module_text(network.arrays)
    return hashlib.sha256(text.encode()).hexdigest()


def compile_into_folder(path: Path, target: str) -> dict[str, Any]:
    """`daqkf compile` in this process: CPU seconds, peak MiB, non-zeros, bytes of the folder."""
    for name in LIBRARIES:
        import_module(name)
    from daqkf.cli.main import main as command
    from daqkf.compiler.compiled_network import CompiledNetwork

    networks: list[CompiledNetwork] = []
    save = CompiledNetwork.save

    def saved(self: CompiledNetwork, folder: str | Path) -> None:
        networks.append(self)
        began = _cpu_seconds()
        save(self, folder)
        spent.append(_cpu_seconds() - began)

    spent: list[float] = []
    CompiledNetwork.save = saved
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        arguments = ["compile", str(path), "-o", folder, "--jobs", "1", "--levels", "uniform-15"]
        begin = _cpu_seconds()
        code = command([*arguments, "--target", target])
        seconds = _cpu_seconds() - begin
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    if code:
        sys.exit(code)
    return {
        "seconds": seconds,
        "save": sum(spent),
        "mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "nonzeros": sum(int(np.count_nonzero(levels)) for levels in networks[0].levels),
        "folder": size,
    }


def _cpu_seconds() -> float:
    """Of this process, and of children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + used.ru_utime + used.ru_stime


def growth(target: str, sizes: Sequence[int]) -> None:
    """Print what compiling transformers into folders takes, each in a process of its own."""
    table = Table(title=f"daqkf compile transformer.onnx --levels uniform-15 --target {target}")
    table.add_column("weights")
    headings = "non-zeros", "CPU seconds", "of them save", "µs a non-zero", "relative"
    for heading in (*headings, "peak MiB", "folder MiB"):
        table.add_column(heading, justify="right")
    first = 0.0
    for millions in sizes:
        name, needed = f"{millions} million", millions * 10**6 * BYTES_A_WEIGHT + BYTES
        if (there := _available()) < needed:
            print(f"{name}: left out, needs {needed >> 20:,} MiB, there are {there >> 20:,}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "transformer.onnx"
            # In a process of its own, since this one's memory would count as its children's.
            _run("--write", str(millions), "--one", str(path))
            found = json.loads(_run("--one", str(path), "--target", target, "--growth", "1"))
        rate = found["seconds"] / found["nonzeros"]
        first = first or rate
        table.add_row(
            name,
            f"{found['nonzeros']:,}",
            f"{found['seconds']:.2f}",
            f"{found['save']:.2f}",
            f"{1e6 * rate:.2f}",
            f"{rate / first:.2f}",
            f"{found['mebibytes']:,.0f}",
            f"{found['folder'] / 2**20:,.0f}",
        )
    table_console().print(table)


def _available() -> int:
    """Bytes of memory that a process can have; all there are where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        entry = next(line for line in lines if line.startswith("MemAvailable"))
        return int(entry.split()[1]) << 10
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _run(*arguments: str) -> str:
    """What this script prints with other arguments, on one thread."""
    command = [sys.executable, __file__, *arguments]
    environment = os.environ | ONE_THREAD
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return run.stdout


def measured(
    path: Path,
    sparsity: float | None,
    products: bool = False,
    sentences: int = 0,
    jobs: int = 1,
) -> dict[str, Any]:
    """Compile once in a process of its own, on one thread, with the same results."""
    arguments = ["--one", str(path), "--jobs", str(jobs)]
    if sparsity is not None:
        arguments += ["--sparsity", str(sparsity)]
    if products:
        arguments.append("--products")
    if sentences:
        arguments += ["--sentences", str(sentences)]
    return json.loads(_run(*arguments))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=384, help="default: 384")
    parser.add_argument(
        "--weights",
        type=int,
        nargs="*",
        choices=TRANSFORMERS,
        default=[1, 4],
        metavar="MILLIONS",
        help=f"transformers, of {', '.join(map(str, TRANSFORMERS))}; default: 1 4",
    )
    parser.add_argument("--minilm", action="store_true", help="the whole encoder, calibrated")
    parser.add_argument("--model", type=Path, help="an ONNX file, with --products if given")
    parser.add_argument("--products", action="store_true", help="attention is the array's")
    parser.add_argument("--jobs", type=int, default=1, help="compare so many processes with one")
    parser.add_argument(
        "--growth",
        type=int,
        nargs="*",
        choices=GROWTH,
        metavar="MILLIONS",
        help=f"transformers, the whole way; default: {' '.join(map(str, GROWTH))}",
    )
    parser.add_argument("--target", default="wide", help="of --growth; default: wide")
    parser.add_argument("--write", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--sparsity", type=float, help=argparse.SUPPRESS)
    parser.add_argument(
        "--sentences", type=int, help="that calibrate MiniLM; default: 100", default=0
    )
    options = parser.parse_args(arguments)
    if options.write:
        options.one.write_bytes(transformer(*GROWTH[options.write]).SerializeToString())
        return
    if options.one and options.growth:
        print(json.dumps(compile_into_folder(options.one, options.target)))
        return
    if options.growth is not None:
        growth(options.target, options.growth or list(GROWTH))
        return
    if options.one:
        found = compile_once(
            options.one, options.sparsity, options.products, options.sentences, options.jobs
        )
        print(json.dumps(found))
        return
    rows = _Rows()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        if options.model:
            rows.add(options.model.name, measured(options.model, None, options.products))
        elif options.minilm:
            _minilm(rows, path, options.sentences or SENTENCES)
        else:
            _synthetic(rows, path, options.width, options.weights)
        rows.print()
        if options.jobs > 1:
            sentences = (options.sentences or SENTENCES) if options.minilm else 0
            _side_by_side(options.model or path, options.products, sentences, options.jobs)


def _side_by_side(path: Path, products: bool, sentences: int, jobs: int) -> None:
    """Print the times by the clock of one process and of several for an unpruned network."""
    found = [measured(path, None, products, sentences, count) for count in (1, jobs)]
    if len({each["digest"] for each in found}) > 1:
        sys.exit(f"{jobs} processes make something else than one")
    one, several = (each["clock"] for each in found)
    table_console().print(
        f"{jobs} processes: {several:.1f} s; one: {one:.1f} s; a share of {several / one:.2f}; "
        "the same IR"
    )


def _synthetic(rows: "_Rows", path: Path, width: int, weights: Sequence[int]) -> None:
    """Rows of networks of random weights, one kind after another."""
    for depth in DEPTHS:
        path.write_bytes(feed_forward([width] * (depth + 1)).SerializeToString())
        rows.add(f"{depth} layers", measured(path, SPARSITY), "depth")
    for factor in FACTORS:
        path.write_bytes(feed_forward([width * factor] * 2).SerializeToString())
        rows.add(f"{width * factor} × {width * factor}", measured(path, SPARSITY), "width")
    for millions in weights:
        path.write_bytes(transformer(*TRANSFORMERS[millions]).SerializeToString())
        rows.add(f"transformer, {millions} million", measured(path, None, True), "transformer")


def _minilm(rows: "_Rows", path: Path, sentences: int) -> None:
    """Rows of MiniLM's encoder, unpruned and pruned."""
    from daqkf.studies.minilm.export_onnx import export_minilm
    from daqkf.studies.minilm.model import MiniLM

    path.write_bytes(export_minilm(MiniLM.load()).SerializeToString())
    for sparsity, name in ((None, "unpruned"), (SPARSITY, f"{SPARSITY:.0%}")):
        rows.add(f"MiniLM, {name}", measured(path, sparsity, sentences=sentences))


class _Rows:
    """What was measured, as two tables."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str, dict[str, Any]]] = []

    def add(self, name: str, found: dict[str, Any], kind: str = "") -> None:
        """A compilation; those of a kind are compared with its first one."""
        self._found.append((name, kind, found))

    def print(self) -> None:
        """The growth, and where the time goes."""
        growth, stages = Table(), Table(title="CPU seconds by stage")
        growth.add_column("network")
        for heading in ("non-zeros", "CPU seconds", "µs a non-zero", "relative", "peak MiB"):
            growth.add_column(heading, justify="right")
        names = dict.fromkeys(stage for *_, found in self._found for stage in found["stages"])
        stages.add_column("network")
        for stage in names:
            stages.add_column(stage, justify="right")
        first: dict[str, float] = {}
        for name, kind, found in self._found:
            rate = found["seconds"] / found["nonzeros"]
            relative = f"{rate / first.setdefault(kind, rate):.2f}" if kind else ""
            growth.add_row(
                name,
                f"{found['nonzeros']:,.0f}",
                f"{found['seconds']:.2f}",
                f"{1e6 * rate:.2f}",
                relative,
                f"{found['mebibytes']:,.0f}",
            )
            stages.add_row(name, *(f"{found['stages'].get(stage, 0):.2f}" for stage in names))
        table_console().print(growth, stages)


if __name__ == "__main__":
    main()
