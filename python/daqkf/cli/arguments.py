# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The arguments of `daqkf`, for each command; importing this costs little."""

import argparse
import os

from daqkf.cli.bench_arguments import add_bench
from daqkf.cli.common_arguments import DISTILLATION, Commands, add_resume, address, clock
from daqkf.cli.compile_arguments import add_compile
from daqkf.cli.completion import SHELLS, TOOLS
from daqkf.cli.explore_arguments import add_explore
from daqkf.cli.guard import add_memory, add_version
from daqkf.cli.language_arguments import add_chat, add_evaluation, add_generate
from daqkf.cli.packaging_arguments import add_package
from daqkf.compiler.file_suffixes import MINILM, SMOLLM2
from daqkf.hw_targets.device import device_names
from daqkf.hw_targets.memory import memory_names
from daqkf.passes.defaults import (
    TABLE,
)
from daqkf.runtime.waveforms import TILES

TRAINING_PASSES = 2
"""Of training MiniLM in `daqkf eval`: as many as it takes for the figures of docs/accuracy.md."""


ACCELERATORS = ("fast", "rtl", "queue", "soc")
BOARD = "board:"
"""What stands before a board's name where an accelerator can be."""

ACCURACIES = [0.98, 0.99, 0.995]
"""Cosines that `daqkf eval` chooses MiniLM's levels for."""


def _add_demo(commands: Commands) -> None:
    demo = commands.add_parser("demo", help="compile and simulate a layer of a real transformer")
    demo.add_argument("-o", "--output", default="build/demo", help="folder (default: build/demo)")
    demo.add_argument("--sentences", type=int, default=8, help="sentences to run (default: 8)")
    demo.add_argument("--sparsity", type=float, default=0.7, help="default: 0.7")
    demo.add_argument("--target", default="wide", help="see daqkf targets (default: wide)")


def _add_calibrate(commands: Commands) -> None:
    calibrator = commands.add_parser(
        "calibrate", help="make calibration data of a language model from texts"
    )
    calibrator.add_argument("tokenizer", help=f"'{MINILM}', or a tokenizer.json")
    calibrator.add_argument("texts", help="a text in each line")
    calibrator.add_argument(
        "--inputs",
        default="input_ids,attention_mask",
        help="of the network, in a list with commas: input_ids, attention_mask, token_type_ids "
        "(default: the first two)",
    )
    calibrator.add_argument(
        "--max-tokens", type=int, help="cut longer texts (default: as the tokeniser does)"
    )
    calibrator.add_argument("-o", "--output", required=True, help="inputs by name, .npz")


def _add_run(commands: Commands) -> None:
    runner = commands.add_parser("run", help="run a compiled network")
    runner.add_argument("network", help="a folder written by daqkf compile")
    runner.add_argument("inputs", help="arrays by name, .npz")
    runner.add_argument("-o", "--output", required=True, help="outputs by name, .npz")
    runner.add_argument(
        "--accelerator",
        default=ACCELERATORS[0],
        type=_accelerator,
        metavar="{fast,rtl,queue,soc,board:NAME}",
        help="exact integers, the simulated RTL of the array, or that of the whole system, which "
        "takes jobs from a queue in external memory, or that of a SoC around it, too, with a "
        "processor, firmware and an SDRAM; or a board, such as board:uio:/dev/uio0 or "
        "board:uart:/dev/ttyUSB1,csr=csr.csv (docs/drivers.md; default: fast)",
    )
    runner.add_argument("--only", default="", help="kernels on it whose names begin so")
    runner.add_argument(
        "--check",
        action="store_true",
        help="compare with the fast model, bit for bit, and say where activations saturate",
    )
    runner.add_argument("--resume", metavar="FOLDER", help="keep results there, and find them")
    runner.add_argument(
        "--queues",
        metavar="FOLDER",
        help="write there what a host puts into memory for each queue, what memory holds when the "
        "queue has run, and which registers it writes",
    )
    runner.add_argument(
        "--base",
        type=address,
        default=0,
        metavar="ADDRESS",
        help="from which on memory is the queues' (default: 0)",
    )
    _add_external_memory(runner)


def _accelerator(text: str) -> str:
    """An accelerator by its name."""
    if text not in ACCELERATORS and not text.startswith(BOARD):
        known = ", ".join((*ACCELERATORS, f"{BOARD}NAME"))
        raise argparse.ArgumentTypeError(f"unknown accelerator {text!r} (known: {known})")
    return text


def _add_external_memory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--external-memory",
        metavar="NAME",
        help=f"{', '.join(memory_names())}: what the simulated RTL reads streams from, on targets "
        "with memory_bits (default: memory with a beat in each cycle)",
    )
    parser.add_argument(
        "--clock",
        type=float,
        default=250.0,
        metavar="MHZ",
        help="of the array, which that memory is held against (default: 250)",
    )


def _add_debug(commands: Commands) -> None:
    debugger = commands.add_parser(
        "debug", help="compare the kernels of a compiled network with the float one"
    )
    debugger.add_argument("network", help="a folder written by daqkf compile")
    debugger.add_argument("source", help=f"the file that it was compiled from, or '{MINILM}'")
    debugger.add_argument("inputs", help="arrays by name, .npz")
    debugger.add_argument("--json", metavar="FILE", help="write the figures there, too")


def _add_simulate(commands: Commands) -> None:
    simulator = commands.add_parser("simulate", help="simulate a compiled design's RTL")
    simulator.add_argument("design", help="a folder written by daqkf compile")
    simulator.add_argument(
        "activations", help="[T, K] in .npy, float, or the array's own int8 columns"
    )
    simulator.add_argument("-o", "--output", required=True, help="results [T, N], .npy")
    simulator.add_argument("--stalls", type=float, default=0.0, help="share of stream pauses")
    simulator.add_argument("--seed", type=int, default=0, help="of the pauses")
    simulator.add_argument(
        "--soc",
        action="store_true",
        help="also run the layer in a SoC: a processor, firmware and an SDRAM; for targets with a "
        "queue, such as ulx3s",
    )
    _add_external_memory(simulator)
    simulator.add_argument(
        "--trace",
        metavar="FILE",
        help="write a waveform there, .vcd or .fst, and beside it a .gtkw that opens it in GTKWave",
    )
    simulator.add_argument(
        "--trace-tiles",
        type=int,
        default=TILES,
        metavar="N",
        help=f"tiles that the waveform shows, from the first on (default: {TILES})",
    )


def _add_synth(commands: Commands) -> None:
    synthesizer = commands.add_parser(
        "synth", help="synthesise a compiled layer's or network's RTL"
    )
    synthesizer.add_argument(
        "design", help="a folder written by daqkf compile, of a layer or network"
    )
    synthesizer.add_argument(
        "--fabric",
        help="xcup, xcup-dsp, ecp5, ecp5-dsp (default: xcup, or ecp5 with --place or --board)",
    )
    synthesizer.add_argument(
        "--place", action="store_true", help="place and route, for the frequency; ecp5 only"
    )
    synthesizer.add_argument(
        "--board",
        metavar="BOARD",
        help="place and route for a board, such as ulx3s-85f; an unknown one is told the others",
    )
    synthesizer.add_argument(
        "--bitstream",
        metavar="FILE",
        help="write the bitstream of a SoC for the board, with the array, a processor and the "
        "controller of its memory; for targets with a queue, such as ulx3s",
    )
    synthesizer.add_argument(
        "--clock", type=float, metavar="MHZ", help="of that SoC, which has to meet it (default: 50)"
    )
    synthesizer.add_argument(
        "--seeds",
        type=int,
        help="placements to try (default: 1, and the fastest counts; up to 4 of a bitstream, of "
        "which the first one counts that meets the clock)",
    )
    synthesizer.add_argument("--modules", action="store_true", help="each module by itself, too")
    synthesizer.add_argument(
        "--toggles",
        metavar="ACTIVATIONS",
        help="[T, K] in .npy: run them on the netlist and count toggles; xcup only",
    )
    synthesizer.add_argument("--json", metavar="FILE", help="write the figures there, too")


def _add_plan(commands: Commands) -> None:
    planner = commands.add_parser(
        "plan", help="find the engines of a device that are best for a network"
    )
    planner.add_argument(
        "network",
        help="a folder written by daqkf compile, or what that compiles: a file, or 'minilm'",
    )
    planner.add_argument(
        "--device", required=True, help=f"{', '.join(device_names())}: what is planned for"
    )
    planner.add_argument(
        "--memory",
        metavar="NAME",
        help=f"{', '.join(memory_names())}; several channels as ddr4-2400x4 (default: what the "
        "device usually has)",
    )
    planner.add_argument(
        "--tokens", type=int, default=128, help="that are in flight (default: 128)"
    )
    planner.add_argument(
        "--objective",
        choices=("throughput", "latency"),
        default="throughput",
        help="the most tokens a second, or the least time of a tile alone (default: throughput)",
    )
    planner.add_argument(
        "--clock", type=clock, default=250.0, metavar="MHZ", help="of the engines (default: 250)"
    )
    planner.add_argument(
        "--use",
        type=float,
        default=0.8,
        help="share of each resource that may be taken (default: 0.8)",
    )
    planner.add_argument(
        "--sparsity", type=float, help="what is compiled first: prune to this share of zeros"
    )
    planner.add_argument("--levels", help="what is compiled first: see daqkf compile")
    planner.add_argument("--calibration", help="what is compiled first: see daqkf compile")
    planner.add_argument(
        "--target",
        help="what is compiled first: see daqkf targets; its items, steps and activation memories "
        "are those of the plan (default: wide-memory)",
    )
    planner.add_argument("--json", metavar="FILE", help="write the figures there, too")
    planner.add_argument("--plot", metavar="FILE", help="write a roofline there, .svg or .png")


def _add_report(commands: Commands) -> None:
    reporter = commands.add_parser(
        "report", help="write a page on what was compiled or measured, or on weights"
    )
    reporter.add_argument(
        "source",
        help="a folder that compile or explore wrote, a benchmark's .json, weights in .npy or "
        ".npz, IR in .mlir, or 'minilm'",
    )
    reporter.add_argument("--layer", action="append", help="only the matrix of this name; repeats")
    reporter.add_argument("--sparsity", type=float, help="prune to this share of zeros first")
    reporter.add_argument(
        "--levels", default="codebook-15", help="to fit to floats (default: codebook-15)"
    )
    reporter.add_argument("--tile", type=int, default=16, help="its extent (default: 16)")
    reporter.add_argument(
        "--source",
        dest="against",
        metavar="SOURCE",
        help="what the folder was compiled from, to compare it with: a network, its name, or "
        "weights",
    )
    reporter.add_argument(
        "--inputs", metavar="FILE", help="of the network, in .npz, to compare kernels on"
    )
    reporter.add_argument(
        "-o",
        "--output",
        help="NAME.html for a page, or a folder for JSON and pictures of weights (default: "
        "report.html in the folder, or a page of the file's name)",
    )


def _add_eval(commands: Commands) -> None:
    evaluation = commands.add_parser(
        "eval", help="measure MiniLM or a language model, pruned and quantised"
    )
    evaluation.add_argument(
        "model",
        nargs="?",
        default=MINILM,
        help=f"'{MINILM}' (default); the folder of a compiled language model; a language model's "
        f"file or folder, or '{SMOLLM2}', which is measured as it is and with each --sparsity",
    )
    evaluation.add_argument(
        "--sparsity",
        type=float,
        nargs="+",
        help="shares of zeros to prune to (default: for MiniLM 0 0.1 0.3 0.5 0.7, for others none)",
    )
    evaluation.add_argument(
        "--accuracy",
        type=float,
        nargs="*",
        help="of MiniLM: cosines to the float pruned model (default: 0.98 0.99 0.995)",
    )
    evaluation.add_argument(
        "--levels",
        nargs="+",
        help="a level set that all weights have: of MiniLM as one row more, of others in all rows, "
        "or one for each --sparsity (default: int8)",
    )
    add_evaluation(evaluation)
    evaluation.add_argument(
        "--distillation",
        type=int,
        nargs="+",
        metavar="PASSES",
        help=f"after pruning, passes {DISTILLATION}; of language models all rows', or those for "
        f"each --sparsity (default: of MiniLM {TRAINING_PASSES}, else 0)",
    )
    evaluation.add_argument("--sentences", type=int, help="that calibrate MiniLM (default: all)")
    evaluation.add_argument(
        "--target", help="whose cycles count (default: generic; of language models wide-memory)"
    )
    evaluation.add_argument(
        "--quick",
        action="store_true",
        help="of MiniLM: fewer sentences, for a first impression",
    )
    add_resume(evaluation)
    evaluation.add_argument("-o", "--output", default="build/eval", help="default: build/eval")


def _add_export_onnx(commands: Commands) -> None:
    exporter = commands.add_parser("export-onnx", help="write MiniLM's encoder as an ONNX model")
    exporter.add_argument("model", choices=("minilm",))
    exporter.add_argument("--layers", type=int, help="only the first so many (default: all)")
    exporter.add_argument(
        "--decomposed",
        action="store_true",
        help="write LayerNormalization and Gelu as older exporters do, in simpler operators",
    )
    exporter.add_argument(
        "--embedded", action="store_true", help="start from embedded tokens in place of ids"
    )
    exporter.add_argument("-o", "--output", required=True, help="file, .onnx")


def _add_spaq_profile(commands: Commands) -> None:
    profiler = commands.add_parser("spaq-profile", help="build the table of level sets")
    profiler.add_argument("-o", "--output", default=str(TABLE), help="file (default: our own)")
    profiler.add_argument(
        "--check", action="store_true", help="compare the table with fits on unseen weights instead"
    )
    profiler.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")


def _add_prove(commands: Commands) -> None:
    prover = commands.add_parser(
        "prove", help="prove that each family's circuit yields dot products, and find planted bugs"
    )
    prover.add_argument("--family", action="append", help="only this one (default: all); repeats")
    prover.add_argument(
        "--places",
        type=int,
        default=1,
        help="where each kind of bug is planted: the first so many places, 0 for all (default: 1)",
    )
    prover.add_argument(
        "--timeout", type=float, default=20.0, help="seconds for a query (default: 20)"
    )


def _add_completion(commands: Commands) -> None:
    completer = commands.add_parser(
        "completion", help="print a script with which a shell completes these commands"
    )
    completer.add_argument("shell", choices=SHELLS)
    completer.add_argument("--tool", choices=TOOLS, default=TOOLS[0], help=f"default: {TOOLS[0]}")


def _add_targets(commands: Commands) -> None:
    commands.add_parser("targets", help="list the targets")


COMMANDS = (
    _add_demo,
    add_compile,
    _add_calibrate,
    _add_run,
    add_generate,
    add_chat,
    _add_debug,
    _add_simulate,
    _add_synth,
    add_package,
    _add_plan,
    add_explore,
    _add_report,
    _add_eval,
    _add_export_onnx,
    _add_spaq_profile,
    add_bench,
    _add_prove,
    _add_targets,
    _add_completion,
)
"""What adds each command, in the order of `daqkf --help`."""


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser("daqkf", description="Compile, run and verify.")
    add_version(parser)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    for name, command in commands.choices.items():
        if name != "plan":  # whose memory is another one
            add_memory(command)
    return parser
