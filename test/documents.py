# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Run the commands and the code of a document, one after another, as its reader would.

    python test/documents.py DOCUMENT              # in the current folder, with the PATH's `python`
    python test/documents.py DOCUMENT --cheaper    # with what stands for long commands (`INSTEAD`)

A block of `sh` has commands, one of `text` has none, and `python` is run. `py` is code that needs a
file of the reader's, and is only compiled.
"""

import argparse
import re
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"""(?:'[^']*'|"[^"]*"|\s+(?!#|\s)|[^\s#'"]#*)*""")
"""A line up to its comment."""
_CONTINUED = re.compile(r" *\\\n *")


@dataclass(frozen=True)
class Instead:
    """What tests run in place of a command that takes too long for them, or needs too much."""

    command: str
    """A cheaper one; empty if there is none, and the arguments alone are checked."""
    why: str


_MINUTES = "it takes minutes"
_QUARTER = "it takes a quarter of an hour"
_HOURS = "it takes an hour or more"
_SMOLLM2 = "it needs what takes a quarter of an hour to compile"
_VIVADO = "it needs Vivado"
_BENCH = "it takes a quarter of an hour and more; test_bench*.py run its parts"

_TRAIN = "python benchmarks/smallest_language_model.py train build/smallest"
_SMALL = (
    "--layers 1 --width 32 --hidden 64 --features 8 --vocabulary 256 --context 128 --passes 2 "
    "--window 64 --stories 200"
)
_COVERAGE, _MUTANTS = ".venv/bin/python test/coverage", ".venv/bin/python test/mutation/run.py"

INSTEAD: Mapping[str, Instead] = {
    "daqkf demo": Instead("", "it takes two minutes; test_installed.py runs it"),
    "daqkf export-onnx minilm -o minilm.onnx": Instead(
        "daqkf export-onnx minilm --layers 1 -o minilm.onnx", "six layers take minutes"
    ),
    # docs/accuracy.md
    "daqkf compile minilm --sparsity 0.5 --accuracy 0.99 -o build/minilm": Instead("", _QUARTER),
    "daqkf eval": Instead("", _HOURS),
    # docs/array.md, docs/device.md, docs/language-speed.md
    "daqkf bench array --array dense shared-words-8 running-sum-8 baseline-sparse running-sum-4 "
    "--json xcup.json": Instead("", _BENCH),
    "daqkf bench array --array dense running-sum-8 --sparsity 0.7 0 --toggles": Instead("", _BENCH),
    "daqkf bench array --array dense running-sum-8 --sparsity 0.7 --fabric ecp5 --place 3": (
        Instead("", _BENCH)
    ),
    "daqkf bench device --json device.json --plot device.svg": Instead("", _BENCH),
    "daqkf bench device --sparsity 0.7 --device xczu7ev --array dense-dsp ours --one-token": (
        Instead("", _BENCH)
    ),
    "daqkf bench language --json language.json --plot language.svg": Instead("", _BENCH),
    "daqkf bench language --model llama2-7b --device xck26 --sparsity 0.5 0.7 "
    "--magnitudes 15 7": Instead("", _BENCH),
    "daqkf bench language --model smollm2 --device xck26 --one-token": Instead("", _BENCH),
    # docs/exploring.md
    "daqkf explore minilm --device xczu7ev --pes 2 4 8 --lanes 4 8 16 --items 4 8 --levels "
    "uniform-15 uniform-31 --sparsity 0 0.5 --trials 24 -o build/explore-minilm": Instead(
        "", _MINUTES
    ),
    # docs/boards.md
    "daqkf demo --target ulx3s -o build/ulx3s": Instead(
        "daqkf demo --target ulx3s -o build/ulx3s --sentences 1", "fewer sentences are enough"
    ),
    "daqkf synth build/ulx3s/uniform-15 --board ulx3s-85f --bitstream build/ulx3s/daqkf.bit": (
        Instead("", "it takes minutes; test_soc.py makes a bitstream")
    ),
    "openFPGALoader --board ulx3s build/ulx3s/daqkf.bit": Instead("", "it needs a board"),
    "daqkf simulate build/ulx3s/uniform-15 build/ulx3s/x.npy -o y.npy --soc": Instead(
        "", "it takes minutes; test_soc.py runs layers in a SoC"
    ),
    "daqkf plan minilm --sparsity 0.5 --levels uniform-15 --target "
    "ulx3s:items=2,activation_depth=512,partial_depth=512 --device ecp5-85k --memory sdr16-50 "
    "--clock 50 --tokens 4096": Instead("", "it needs MiniLM, which takes minutes to compile"),
    "daqkf compile minilm --sparsity 0.5 --levels uniform-15 -o build/minilm-ulx3s --target "
    "ulx3s:items=2,pes=4,lanes=32,activation_depth=512,partial_depth=512": Instead("", _MINUTES),
    "daqkf synth build/minilm-ulx3s --board ulx3s-85f --bitstream build/minilm-ulx3s.bit": (
        Instead("", _QUARTER)
    ),
    # docs/packages.md
    "vivado -mode batch -source layer-kv260/build.tcl": Instead("", _VIVADO),
    "vivado -mode batch -source layer-kv260/build.tcl -tclargs project": Instead("", _VIVADO),
    "quartus_sh -t nano/build.tcl": Instead("", "it needs Quartus"),
    "fusesoc --cores-root layer-core run --target=lint daqkf:ip:daqkf_system:1.0": Instead(
        "", "FuseSoC is for developers; test_fusesoc.py runs it"
    ),
    # docs/paper.md
    "daqkf bench paper -o docs": Instead("", _HOURS),
    # docs/peers.md
    "daqkf bench peers --json peers.json --page docs/peers.md": Instead("", _QUARTER),
    "daqkf bench peers --only products --size 16 32 --sparsity 0.5 --resume": Instead("", _MINUTES),
    # docs/drivers.md
    "daqkf package build/layer --c --inputs inputs.npz --base 0x50000000 -o host": Instead(
        "", "it needs what docs/networks.md compiles; test_c_network.py makes one and runs it"
    ),
    "daqkf run build/minilm inputs.npz -o outputs.npz --accelerator "
    "board:uart:/dev/ttyUSB1,csr=csr.csv": Instead("", "it needs a board"),
    # docs/language-models.md
    "daqkf compile smollm2 --sparsity 0.5 --levels uniform-15 -o build/smollm2 --resume": (
        Instead("", _QUARTER)
    ),
    'daqkf generate build/smollm2 "The capital of France is" --tokens 32': Instead("", _SMOLLM2),
    "daqkf chat build/smollm2": Instead("", _SMOLLM2),
    "daqkf eval build/smollm2 --against smollm2": Instead("", _SMOLLM2),
    "daqkf compile smollm2 --products --target wide-norm --attention-levels 127 --max-tokens 256 "
    "-o build/smollm2": Instead("", _QUARTER),
    "daqkf compile smollm2 --sparsity 0.5 --levels uniform-15 --target wide-memory:top_k=4 "
    "-o build/smollm2": Instead("", _QUARTER),
    'daqkf generate build/smollm2 "The capital of France is" --tokens 4 --accelerator rtl': (
        Instead("", _SMOLLM2)
    ),
    # docs/planning.md
    "daqkf compile minilm --sparsity 0.7 --levels uniform-15 --target wide-memory -o minilm": (
        Instead("", _MINUTES)
    ),
    "daqkf plan minilm --device xcvu9p --memory ddr4-2400x4 --tokens 128 --json plan.json "
    "--plot plan.svg": Instead("", "it needs MiniLM, which takes minutes to compile"),
    # docs/report.md
    "daqkf report minilm-folder --source minilm.onnx --inputs inputs.npz": Instead(
        "", "it needs what docs/networks.md compiles; test_report_page.py runs a small one"
    ),
    # docs/smallest-language-model.md
    _TRAIN: Instead(f"{_TRAIN} {_SMALL}", "the whole model takes minutes"),
    "daqkf synth build/smallest-ecp5 --board ulx3s-85f": Instead(
        "daqkf synth build/smallest-ecp5 --fabric ecp5", "placing takes minutes"
    ),
    # docs/tutorial.md
    "daqkf synth digits --board ulx3s-85f": Instead(
        "", "placing takes minutes; test_installed.py does it"
    ),
    # docs/verification.md
    f"{_COVERAGE}/rtl.py": Instead(f"{_COVERAGE}/rtl.py --help", _HOURS),
    f"{_COVERAGE}/rtl.py --missing daqkf_loader": Instead(f"{_COVERAGE}/rtl.py --help", _HOURS),
    f"{_COVERAGE}/python.py unit lit integration": Instead(f"{_COVERAGE}/python.py --help", _HOURS),
    "make mutants": Instead("", _HOURS),
    f"{_MUTANTS} --kind rtl --count 500 --seed 3 --only daqkf_loader": (
        Instead(f"{_MUTANTS} --help", _HOURS)
    ),
    f"{_MUTANTS} --retry --patience 600": Instead(f"{_MUTANTS} --help", _HOURS),
}
"""By the command as it stands in the document, without its comment."""


def blocks(path: Path) -> list[tuple[str, str]]:
    """The blocks of a document, each with its language."""
    return _BLOCK.findall(path.read_text(encoding="utf-8"))


def commands(text: str) -> list[str]:
    """The commands of a block: each in one line, without comments."""
    lines = (_COMMAND.match(line) for line in _CONTINUED.sub(" ", text).splitlines())
    return [line[0].strip() for line in lines if line and line[0].strip()]


def simple(command: str) -> Iterator[list[str]]:
    """The words of each program that a line of the shell starts."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    words: list[str] = []
    reads_into = False
    for word in [*lexer, ";"]:
        if set(word) <= set("|&;()"):
            if words and words != ["source"]:
                yield words
            words, reads_into = [], False
        elif set(word) <= set("<>("):
            if word == "<(":
                if words and words != ["source"]:
                    yield words
                words = []
            else:
                reads_into = True
        elif reads_into:
            reads_into = False
        else:
            words.append(word)


def run(path: Path, cheaper: bool = False) -> None:
    """Run the blocks in Python and in the shell, in the current folder.

    All Python code of a document has the same variables. Lines with `pip install` are left out, as
    what they install is for the caller to choose.

    Args:
        path: the document.
        cheaper: run what `INSTEAD` says in place of long commands.

    Raises:
        Exception: what the code raises; CalledProcessError: a command failed.
    """
    scope: dict[str, Any] = {"__name__": "__main__"}
    for language, text in blocks(path):
        began = time.monotonic()
        if language == "python":
            exec(compile(text, path.name, "exec"), scope)
        elif language == "sh":
            lines = [line for line in commands(text) if not line.startswith("pip install")]
            if cheaper:
                lines = [INSTEAD[line].command if line in INSTEAD else line for line in lines]
            subprocess.run(["bash", "-e", "-o", "pipefail", "-c", "\n".join(lines)], check=True)
        else:
            continue
        print(f"{path.name}, {language}: {time.monotonic() - began:.1f} s", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("document", type=Path)
    parser.add_argument("--cheaper", action="store_true", help="leave out or replace what is long")
    options = parser.parse_args(arguments)
    run(options.document, options.cheaper)


if __name__ == "__main__":
    main()
