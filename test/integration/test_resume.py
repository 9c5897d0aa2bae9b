# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What `daqkf compile` of a network says at its end, and how it goes on if it was interrupted."""

import re
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from daqkf.cli.main import main
from daqkf.compiler.network import compile_network
from daqkf.compiler.options import NetworkOptions
from daqkf.passes.progress import Step
from daqkf.studies.digits.network import CLASSES, SIDE, Classifier, export
from daqkf.support.kept import Kept

RNG = np.random.default_rng(6)
WIDTHS = SIDE * SIDE, 24, 24, CLASSES


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    layers = [
        (RNG.standard_normal(shape).astype(np.float32), np.zeros(shape[1], np.float32))
        for shape in pairwise(WIDTHS)
    ]
    path = tmp_path_factory.mktemp("network") / "net.onnx"
    path.write_bytes(export(Classifier(layers)).SerializeToString())
    return path


class Counting(Kept):
    """Counts the steps that are found and those that are made."""

    found = made = 0

    def find(self, key: object) -> object:
        result = super().find(key)
        self.found += result is not None
        return result

    def keep(self, key: object, result: object) -> None:
        super().keep(key, result)
        self.made += 1


@pytest.mark.parametrize("stage", ["quantise", "schedule", "lower"])
def test_kernels_that_are_done_are_found(file: Path, tmp_path: Path, stage: str):
    x = {"image": RNG.standard_normal((64, WIDTHS[0])).astype(np.float32)}
    options = NetworkOptions(sparsity=0.5, fuse=False)

    def interrupt(step: str) -> None:
        if isinstance(step, Step) and step.startswith(stage) and step.number == 3:
            raise KeyboardInterrupt

    first = Counting(tmp_path / "work")
    with pytest.raises(KeyboardInterrupt):
        compile_network(file, options, calibration=x, progress=interrupt, steps=first)
    assert first.made and not first.found
    second = Counting(tmp_path / "work")
    resumed = compile_network(file, options, calibration=x, steps=second)
    assert second.found >= 2
    assert resumed == compile_network(file, options, calibration=x)
    third = Counting(tmp_path / "work")
    other = NetworkOptions(sparsity=0.25, fuse=False)
    compile_network(file, other, calibration=x, steps=third)
    assert not third.found


@pytest.mark.parametrize(
    ("options", "which"),
    [([], "16 samples of the calibration"), (["--accuracy", "0.9"], "9 samples kept apart")],
    ids=["plain", "accuracy"],
)
def test_the_command_says_how_accurate_it_is_and_keeps_nothing(
    options: list[str],
    which: str,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setenv("DAQKF_CACHE", str(tmp_path / "cache"))
    np.savez(tmp_path / "x.npz", image=RNG.standard_normal((64, WIDTHS[0])).astype(np.float32))
    command = ["compile", str(file), "--calibration", str(tmp_path / "x.npz"), "--resume"]
    assert main([*command, *options, "--clock", "200", "-o", str(tmp_path / "out")]) == 0
    assert not list((tmp_path / "cache" / "steps").glob("*/*"))
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(r"at 200 MHz: .* tokens/s.* bind", said)
    match = re.search(rf"SQNR ([\d.]+) dB, cosine ([\d.]+) to the float network, on {which}", said)
    assert match and float(match[1]) > 5 and 0.9 < float(match[2]) <= 1


QUICKLY = ("eval", "--quick", "--sentences", "8", "--sparsity", "0", "--accuracy")
LEVELS = ("--levels", "codebook-15")


def steps_in(cache: Path) -> set[Path]:
    """The finished steps that a cache keeps."""
    found = {path for path in (cache / "steps").rglob("*") if path.is_file()}
    return {path for path in found if not path.name.startswith(".") and path.suffix != ".tmp"}


@pytest.mark.slow
def test_an_evaluation_that_is_killed_goes_on_behind_its_last_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cache = tmp_path / "cache"
    monkeypatch.setenv("DAQKF_CACHE", str(cache))
    command = [*QUICKLY, *LEVELS, "-o", str(tmp_path / "killed")]
    with subprocess.Popen(
        [sys.executable, "-m", "daqkf.cli.main", *command], stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None and len(steps_in(cache)) < 6:
            time.sleep(0.05)
        assert process.poll() is None, "it has ended before it was killed"
        process.kill()
    finished = steps_in(cache)
    assert len(finished) >= 6 and not (tmp_path / "killed").exists()
    made: set[Path] = set()

    def keep(self: Kept, key: object, result: object) -> None:
        made.add(self._path(key))
        kept(self, key, result)

    kept = Kept.keep
    monkeypatch.setattr(Kept, "keep", keep)
    assert main([*command, "--resume"]) == 0
    assert made and not made & finished
    assert not steps_in(cache)
    whole = tmp_path / "whole"
    assert main([*QUICKLY, *LEVELS, "-o", str(whole)]) == 0
    assert (whole / "eval.json").read_bytes() == (tmp_path / "killed/eval.json").read_bytes()
