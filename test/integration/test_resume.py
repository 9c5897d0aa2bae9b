# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What `daqkf compile` of a network says at its end, and how it goes on if it was interrupted."""

import re
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


def test_kernels_that_are_done_are_found(file: Path, tmp_path: Path):
    x = {"image": RNG.standard_normal((64, WIDTHS[0])).astype(np.float32)}
    options = NetworkOptions(sparsity=0.5, fuse=False)

    def interrupt(step: str) -> None:
        if isinstance(step, Step) and step.startswith("quantise") and step.number == 3:
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
