# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`benchmarks/smallest_language_model.py`: from a text to a language model in simulated RTL."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import daqkf
from daqkf.cli.main import main
from daqkf.compiler.compiled_language_model import CompiledLanguageModel

pytestmark = pytest.mark.slow

SIZES = {"layers": 1, "width": 32, "hidden": 64, "features": 8, "vocabulary": 256, "context": 64}


def script() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "smallest_language_model.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_from_a_text_to_rtl(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A model is trained, is better than counts of tokens, and is the same in RTL, bit for bit."""
    study, model, folder = script(), str(tmp_path / "model"), str(tmp_path / "compiled")
    options = [part for name, size in SIZES.items() for part in (f"--{name}", str(size))]
    options += ["--passes", "2", "--window", "64", "--stories", "200"]
    assert study.main(["train", model, *options]) == 0
    found = capsys.readouterr().out
    losses = {
        name: float(loss) for name, loss in re.findall(r"│ (tokens|model)\b[^│]*│ +([\d.]+)", found)
    }
    assert losses["model"] < losses["tokens"]
    compiling = ("--sparsity", "0.5", "--levels", "uniform-15", "--target", "one-token")
    text = str(tmp_path / "model" / "calibration.txt")
    assert main(["compile", model, "--calibration", text, *compiling, "-o", folder]) == 0
    capsys.readouterr()
    written: list[str] = []
    for more in ((), ("--accelerator", "rtl", "--check")):
        assert main(["generate", folder, "Once upon", "--tokens", "4", *more]) == 0
        printed = capsys.readouterr()
        written.append(printed.out)
    assert written[0] == written[1]
    assert "5 of 5 kernels equal, bit for bit" in printed.err
    assert study.main(["token", folder, "--clock", "50"]) == 0
    said = re.match(r"5 programs of ([\d,]+) bytes .*: ([\d,]+) cycles", capsys.readouterr().out)
    assert said is not None
    size, cycles = (int(number.replace(",", "")) for number in said.groups())
    compiled = daqkf.load(folder)
    assert isinstance(compiled, CompiledLanguageModel)
    assert size == sum(row["program_bytes"] for row in compiled.traffic())
    # No sooner than all words have been taken, and rows have come and gone.
    rows = sum(row["in"] + row["out"] for row in compiled.traffic())
    assert compiled.cycles < cycles < 4 * (compiled.cycles + rows)
