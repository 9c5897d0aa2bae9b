# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The arguments of `daqkf compile`."""

import argparse

from daqkf.cli.common_arguments import DISTILLATION, Commands, add_resume, clock
from daqkf.compiler.file_suffixes import NETWORKS
from daqkf.hw_targets.device import device_names
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.memory import memory_names
from daqkf.hw_targets.prices import priced_fabrics
from daqkf.passes.defaults import (
    ATTENTION_LEVELS,
    BUDGET,
    DEFAULT_FABRIC,
    EXPONENTS,
    HOST_CYCLES,
    SPLIT,
)


def _numbers(text: str) -> list[float]:
    """Numbers with commas between them."""
    return [float(entry) for entry in text.split(",")]


def add_compile(commands: Commands) -> None:
    """The arguments of `daqkf compile`."""
    compiler = commands.add_parser("compile", help="compile a layer, or a network")
    compiler.add_argument(
        "weights",
        help="[K, N] in .npy, a SciPy sparse matrix in .npz, a network's file "
        f"({', '.join(NETWORKS)}), a folder with config.json, 'minilm' or 'smollm2'",
    )
    compiler.add_argument("--bias", help="[N] in .npy")
    compiler.add_argument("--activation", help="relu, gelu, gelu_tanh, silu, sigmoid, tanh")
    compiler.add_argument(
        "--sparsity",
        type=_numbers,
        help="prune to this share of zeros first; one for each variant: 0.5,0.8",
    )
    compiler.add_argument(
        "--levels",
        default="int8",
        help="int8, uniform-15, codebook-15-31, auto-25dB … (default: int8); with commas between "
        "them, variants among which the array picks by the zeros of its inputs",
    )
    compiler.add_argument(
        "--error-budget",
        type=float,
        default=BUDGET,
        help=f"RMS error that variants may have, in steps of the output (default: {BUDGET})",
    )
    compiler.add_argument(
        "--calibration",
        help="float activations [T, K] in .npy; a network's inputs by name in .npz, or its only "
        "input in .npy; for a language model a text in .txt",
    )
    compiler.add_argument(
        "--split",
        type=float,
        default=SPLIT,
        help=f"share of extra int8 columns for features of large range (default: {SPLIT}; 0: none)",
    )
    compiler.add_argument(
        "--target",
        help="see daqkf targets; or a .toml file; behind a colon entries that differ, as in "
        "wide:pes=8,lanes=16 (default: generic; of language models, and with --device, "
        "wide-memory)",
    )
    _add_device(compiler)
    compiler.add_argument(
        "--family",
        help=f"elements in place of the target's: {', '.join(FAMILIES)}; several with commas "
        "between them, which take turns; or auto, the one of the least cycles times area",
    )
    compiler.add_argument(
        "--fabric",
        help=f"that --family is for: {', '.join(priced_fabrics())} (default: for auto "
        f"{DEFAULT_FABRIC}, otherwise whatever the target's elements are for)",
    )
    compiler.add_argument(
        "--index-bits",
        help="of an item's row in a stream word: 0 for whole addresses, or auto for the least "
        "block RAM at 5 %% more cycles or less (default: as the target says, mostly 0)",
    )
    compiler.add_argument(
        "--accuracy",
        help="choose levels at the fewest cycles: a cosine of the outputs like 0.99 (of the "
        "embeddings of MiniLM), or an SQNR like 25dB; networks are measured on every seventh "
        "sample of the calibration, which nothing is fitted to",
    )
    compiler.add_argument(
        "--cycles", type=int, help="choose levels at the best accuracy: cycles a tile may take"
    )
    compiler.add_argument(
        "--pareto", action="store_true", help="only print what accuracies cost which cycles"
    )
    compiler.add_argument(
        "--products", action="store_true", help="networks: attention on the array, too"
    )
    compiler.add_argument(
        "--attention-levels",
        type=int,
        default=ATTENTION_LEVELS,
        help="networks: the largest level of keys and values, 1..127 (default: "
        f"{ATTENTION_LEVELS})",
    )
    compiler.add_argument(
        "--distillation",
        type=int,
        default=0,
        metavar="PASSES",
        help=f"networks: after pruning, passes {DISTILLATION} (default: 0)",
    )
    compiler.add_argument(
        "--max-tokens",
        type=int,
        help="networks: the most tokens of a sequence, for --products (default: 128, and where an "
        "array does whole attention, the most of the calibration)",
    )
    compiler.add_argument(
        "--fix",
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="an input of an ONNX file that is a constant; several numbers with commas",
    )
    compiler.add_argument(
        "--pre-norms",
        action="store_true",
        help="let the array normalise in front of products, as decoders do, and run the gates "
        "behind them, where the target has units for that",
    )
    compiler.add_argument(
        "--scale-rows",
        action=argparse.BooleanOptionalAction,
        help="let the host scale each row that a kernel reads, as for sound; by default for files "
        "with levels of weights and no others",
    )
    compiler.add_argument(
        "--wide-results",
        metavar="NAMES",
        help="networks: kernels whose results become int16, by name, with commas between them and "
        "* for any characters: of products without a function, on a target with wide_results "
        "(default: none; of language models *)",
    )
    compiler.add_argument(
        "--ranked",
        metavar="NAMES",
        help="networks: kernels whose largest results the array is to find, by name as for "
        "--wide-results (default: none; of language models the logits, on a target with a top_k)",
    )
    compiler.add_argument(
        "--row-exponents",
        choices=EXPONENTS,
        default=EXPONENTS[0],
        help="networks: whether gated results that a product reads share an exponent by token, on "
        "a target with row_exponents; auto: if that leaves half of the noise",
    )
    compiler.add_argument(
        "--sequential",
        action=argparse.BooleanOptionalAction,
        help="prune and round kernels one after another, each on what those before it leave; by "
        "default for large networks with calibration data",
    )
    compiler.add_argument(
        "--fallback",
        type=float,
        metavar="DB",
        help="the SQNR that outputs keep: kernels that int8 is too coarse for stay on the host",
    )
    compiler.add_argument(
        "--requantize",
        action="store_true",
        help="networks: new scales and levels for a quantised file, in place of its own",
    )
    compiler.add_argument(
        "--no-fuse",
        action="store_true",
        help="networks: neither merge nor chain kernels, nor normalise on the array",
    )
    compiler.add_argument(
        "--host-cycles",
        type=float,
        default=HOST_CYCLES,
        help="networks: the array's cycles in which the host gates a value, adds and normalises "
        f"it, or makes a share of a score, which decides who does (default: {HOST_CYCLES:g})",
    )
    compiler.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="networks: processes that compile kernels side by side, with the same results "
        "(default: one for each core if the network is large enough)",
    )
    compiler.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="networks: of a Dask cluster that compiles the kernels, tcp://host:port",
    )
    compiler.add_argument(
        "--clock",
        type=clock,
        metavar="MHZ",
        help="that the predicted speed and the plan are for (default: 100, with --device 250)",
    )
    add_resume(compiler, "networks: keep finished steps in the cache until the end, and ")
    compiler.add_argument("-o", "--output", help="folder for the design")


def _add_device(compiler: argparse.ArgumentParser) -> None:
    compiler.add_argument(
        "--device",
        help=f"{', '.join(device_names())}: choose the elements, lanes and memories of the array "
        "for it, as daqkf plan does, in place of those of the target",
    )
    compiler.add_argument(
        "--external-memory",
        metavar="NAME",
        help=f"of the device: {', '.join(memory_names())}; several channels as ddr4-2400x4 "
        "(default: what it usually has)",
    )
    compiler.add_argument("--tokens", type=int, help="in flight on the device (default: 128)")
    compiler.add_argument(
        "--objective",
        choices=("throughput", "latency"),
        help="on the device: the most tokens a second, or the least time of a tile alone (default: "
        "throughput)",
    )
