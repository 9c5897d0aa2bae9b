# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Levels chosen for an accuracy or for cycles, from Python and from the command line."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import daqkf
from daqkf.cli.main import main
from daqkf.compiler.layer import pareto
from daqkf.hw_targets import load_target

RNG = np.random.default_rng(8)
WEIGHTS = RNG.standard_normal((40, 12))
MIXING = 0.3 * RNG.standard_normal((40, 40))


def activations(tokens: int) -> NDArray[np.float64]:
    """Activations [tokens, 40] whose features go together."""
    return RNG.standard_normal((tokens, 40)) @ MIXING


PES = load_target("tiny").machine.pes
CALIBRATION, UNSEEN = activations(300), activations(100)


def compile(**options: Any) -> daqkf.Design:
    options = {"calibration": CALIBRATION, "target": "tiny", **options}
    return daqkf.compile(options.pop("weights", WEIGHTS), **options)


def noise(design: daqkf.Design, x: NDArray = CALIBRATION) -> float:
    """The squared error of a design's results, as a share of the true results' energy."""
    real = x @ WEIGHTS
    return float(((design.reference(x) - real) ** 2).sum() / (real**2).sum())


def cosine(design: daqkf.Design, x: NDArray = CALIBRATION) -> float:
    real, y = x @ WEIGHTS, design.reference(x)
    return float((real * y).sum() / np.linalg.norm(real) / np.linalg.norm(y))


def cycles(design: daqkf.Design) -> int:
    return max(design.summary()["stream_words"])


def test_a_cosine_is_kept_at_fewer_cycles():
    int8 = compile()
    fine, coarse = (compile(accuracy=accuracy, split=0) for accuracy in (0.99, 0.95))
    assert 0.988 < cosine(fine) < 0.993
    assert 0.945 < cosine(coarse) < 0.965
    # The levels are for inputs like these, not for these.
    assert cosine(fine, UNSEEN) > 0.985
    assert cycles(coarse) < 0.9 * cycles(fine) < 0.5 * cycles(int8)


@pytest.mark.slow
def test_an_sqnr_is_kept_and_its_rtl_computes_it():
    design = compile(accuracy="25dB")
    assert 10**-2.7 < noise(design) < 10**-2.4
    x = UNSEEN[:5]
    y = design.simulate(x, stalls=0.2)
    assert np.array_equal(y, design.reference(x))


def test_cycles_are_kept_and_more_of_them_make_less_noise():
    # 0.4 extra columns: they are not among the words that levels are chosen for.
    designs = [compile(cycles=budget, split=split) for budget, split in ((70, 0), (150, 0.4))]
    for design, budget in zip(designs, (70, 150), strict=True):
        assert 0.85 * budget < cycles(design) <= budget
    assert noise(designs[1]) < 0.5 * noise(designs[0])


def test_levels_are_looked_up_for_an_sqnr():
    design = compile(levels="auto-25dB", second_order=False)
    real = WEIGHTS * (design.weight_levels != 0)
    error = (design.weight_levels * design.weight_scales - real) ** 2
    assert 22 < -10 * np.log10(error.sum() / (real**2).sum()) < 30
    # Rounding with compensation does better by the outputs, with the same level sets.
    assert noise(compile(levels="auto-25dB")) < noise(design)


def test_the_second_order_is_used_where_there_is_enough_calibration():
    options = {"levels": "uniform-3", "sparsity": 0.4}
    first, second, default = (
        compile(**options, second_order=order) for order in (False, True, None)
    )
    assert noise(second) < 0.5 * noise(first)
    assert noise(second, UNSEEN) < 0.7 * noise(first, UNSEEN)
    assert default.program == second.program
    # Two tokens a feature are enough, fewer are not.
    for tokens, order in ((80, True), (79, False)):
        few = {**options, "calibration": CALIBRATION[:tokens]}
        assert compile(**few).program == compile(**few, second_order=order).program
        assert compile(**few).program != compile(**few, second_order=not order).program


def test_the_front_is_monotone_and_can_be_compiled():
    choices = pareto(WEIGHTS, CALIBRATION, target="tiny", points=5)
    assert len(choices) >= 4
    for better, quicker in pairwise(choices):
        assert quicker.words < better.words
        assert quicker.noise > better.noise
    middle = choices[len(choices) // 2]
    design = compile(cycles=-(-middle.words // PES) + 1, split=0)
    assert noise(design) < 1.3 * middle.noise + 1e-4
    pruned = pareto(WEIGHTS, CALIBRATION, sparsity=0.5, target="tiny", points=2)
    assert pruned[-1].words < 0.8 * choices[-1].words


INTEGERS = RNG.integers(-3, 4, (40, 12))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accuracy": 0.99, "calibration": None}, "accuracy and cycles need calibration"),
        ({"cycles": 99, "calibration": None}, "accuracy and cycles need calibration"),
        ({"accuracy": 0.99, "levels": ["int8", "ternary"]}, "need calibration, and no variants"),
        ({"accuracy": 0.99, "sparsity": [0.1, 0.5]}, "need calibration, and no variants"),
        ({"accuracy": "good"}, "accuracy must be a cosine below 1 or like 25dB, not 'good'"),
        ({"accuracy": 1}, "accuracy must be a cosine below 1 or like 25dB, not '1'"),
        ({"accuracy": 0.99, "weights": INTEGERS}, "one of them, with samples and float weights"),
        ({"cycles": 99, "weights": INTEGERS}, "one of them, with samples and float weights"),
        ({"accuracy": 0.99, "cycles": 99}, "give accuracy or words, one of them"),
        ({"accuracy": "200dB"}, "the least loss that can be had is"),
        ({"cycles": 9}, "the least stream words that can be had is"),
        ({"cycles": 0}, "the least stream words that can be had is"),
        ({"second_order": True, "calibration": None}, "second_order needs calibration"),
        ({"calibration": np.array(1.0)}, r"calibration samples must be numbers \[T, K\]"),
        ({"accuracy": 0.9, "calibration": np.ones((9, 7))}, r"an array of shape \(9, 7\)"),
        ({"levels": "auto-dB"}, "unknown level set 'auto-dB'"),
    ],
)
def test_what_cannot_be_is_named(options: dict[str, Any], message: str):
    with pytest.raises(daqkf.DaqkfError, match=message):
        compile(**options)


def test_a_front_of_what_cannot_be_is_refused():
    for weights, x, message in (
        (INTEGERS, CALIBRATION, "integer weights have their levels already"),
        (WEIGHTS, np.ones((9, 7)), r"samples: an array of shape \(9, 7\)"),
        (WEIGHTS * np.nan, CALIBRATION, r"weights\[0, 0\] is nan"),
    ):
        with pytest.raises(daqkf.DaqkfError, match=message):
            pareto(weights, x, target="tiny")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    np.save(tmp_path / "w.npy", WEIGHTS)
    np.save(tmp_path / "x.npy", CALIBRATION)
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMPILE = ("compile", "w.npy", "--calibration", "x.npy", "--target", "tiny")


@pytest.mark.slow
def test_an_accuracy_on_the_command_line(files: Path):
    command = [Path(sys.executable).parent / "daqkf", *COMPILE, "--accuracy", "20dB", "-o", "out"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    again = daqkf.Design.load(files / "out")
    assert 10**-2.2 < noise(again) < 10**-1.9
    assert f"out: {cycles(again)} stream words on the longest of 2 PEs" in run.stderr


def test_cycles_on_the_command_line(files: Path):
    assert main([*COMPILE, "--cycles", "110", "--split", "0", "-o", "out"]) == 0
    assert 95 < max(json.loads((files / "out/design.json").read_text())["stream_words"]) <= 110


def test_a_front_on_the_command_line(files: Path, capsys: pytest.CaptureFixture[str]):
    before = set(files.iterdir())
    assert main([*COMPILE, "--pareto"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "SQNR of the outputs" in lines[1]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "dB" in line]
    choices = pareto(WEIGHTS, CALIBRATION, target="tiny")
    assert [row[2] for row in rows] == [f"{-(-choice.words // PES):,}" for choice in choices]
    assert [row[0] for row in rows] == [f"{-10 * np.log10(c.noise):.1f} dB" for c in choices]
    assert set(files.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*COMPILE, "--accuracy", "0.9", "--cycles", "9", "-o", "out"], "give one of"),
        ([*COMPILE, "--pareto", "--cycles", "9"], "give one of"),
        (
            ["compile", "minilm", "--sparsity", "0.5,0.7", "-o", "out"],
            "one level set",
        ),
        ([*COMPILE, "--accuracy", "0.9"], "compile needs -o, a folder for the design, or --pareto"),
        ([*COMPILE, "--accuracy", "3", "-o", "out"], "accuracy must be a cosine below 1"),
        ([*COMPILE, "--cycles", "9", "-o", "out"], "the least stream words that can be had is"),
        (["compile", "w.npy", "--accuracy", "0.9", "-o", "out"], "cycles need calibration"),
        (["compile", "w.npy", "--pareto"], "--pareto needs --calibration"),
        (["compile", "minilm", "--bias", "x.npy", "-o", "out"], "--bias is for single layers"),
        (["compile", "minilm", "--calibration", "x.npy", "-o", "out"], "--calibration is for"),
        (
            ["compile", "minilm", "--accuracy", "3", "-o", "out"],
            "accuracy must be a cosine of 0 to 1",
        ),
        (["compile", "minilm", "--sparsity", "1.5", "-o", "out"], "0 <= sparsity < 1, not 1.5"),
        (["compile", "minilm", "--target", "moon", "-o", "out"], "unknown target 'moon'"),
        (["eval", "--sparsity", "1.5", "-o", "out"], "--sparsity must be 0 or above and below 1"),
        (["eval", "--accuracy", "0.2", "-o", "out"], "--accuracy must be 0.5 or above and below"),
        (["eval", "--target", "moon", "-o", "out"], "unknown target 'moon'"),
    ],
)
def test_the_command_line_names_what_is_wrong(
    files: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
):
    before = set(files.iterdir())
    assert main(arguments) == 1
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line.startswith("daqkf: ")]
    assert len(lines) == 1
    assert said.err.rstrip().endswith(lines[0])
    assert message in lines[0]
    assert not said.out
    assert set(files.iterdir()) == before
