# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Training of pruned networks towards the dense one's outputs."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

import daqkf
from daqkf.cli.main import main
from daqkf.compiler.design import run_passes
from daqkf.compiler.formats import load_network
from daqkf.compiler.network import prune_file
from daqkf.compiler.pipelines import OUTLINE
from daqkf.dialects.spaq import AddOp
from daqkf.passes.progress import Step
from daqkf.passes.quantize import distillation
from daqkf.passes.quantize.accuracy import AllOutputs, Divergence, Loss, cosines
from daqkf.passes.quantize.distillation import distil
from daqkf.passes.quantize.gradients import PRODUCTS
from daqkf.passes.quantize.network_statistics import batches, outputs_of
from daqkf.passes.quantize.weights import bias_of, float_products
from daqkf.studies.digits.network import WIDTHS, Classifier, draw, export
from daqkf.support.kept import Kept

SEEN = {"image": draw(np.random.default_rng(1), 400)[0]}
UNSEEN = {"image": draw(np.random.default_rng(2), 400)[0]}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of random weights."""
    rng = np.random.default_rng(0)
    layers = [
        (
            (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32),
            (0.1 * rng.standard_normal(shape[1])).astype(np.float32),
        )
        for shape in pairwise(WIDTHS)
    ]
    path = tmp_path_factory.mktemp("digits") / "digits.onnx"
    path.write_bytes(export(Classifier(layers)).SerializeToString())
    return path


@pytest.fixture(scope="module")
def dense(file: Path) -> ModuleOp:
    network = load_network(file)
    run_passes(network, OUTLINE)
    return network


@pytest.fixture(scope="module")
def pruned(file: Path) -> ModuleOp:
    return prune_file(file, SEEN, 0.6)


def logits(network: ModuleOp, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
    return outputs_of(network, inputs)["logits"]


def arrays_of(network: ModuleOp) -> list[NDArray[Any]]:
    """Weights and biases."""
    found = list(float_products(network))
    biases = [bias_of(op) for op, _ in found]
    return [constant.array() for _, constant in found] + [bias.array() for bias in biases if bias]


@pytest.mark.parametrize("loss", [Loss(), Loss(energy=True), Divergence()])
def test_gradients_of_losses(loss: Loss):
    rng = np.random.default_rng(3)
    found, reference = rng.standard_normal((2, 5, 7))
    direction = rng.standard_normal(found.shape)
    step = 1e-5 * direction
    numeric = (loss.of(found + step, reference) - loss.of(found - step, reference)) / 2e-5
    assert (loss.gradient(found, reference) * direction).sum() == pytest.approx(numeric, rel=1e-5)


@pytest.mark.parametrize("loss", [Loss(), Loss(energy=True), Divergence()])
def test_random_directions_have_the_curvature_of_losses(loss: Loss):
    rng = np.random.default_rng(4)
    reference, error = rng.standard_normal((2, 3, 5))
    error *= 1e-3
    drawn = [(loss.direction(reference, rng) * error).sum(axis=1) for _ in range(20000)]
    expected = loss.factor * float(np.square(drawn).mean())
    assert loss.of(reference + error, reference) == pytest.approx(expected, rel=0.05)


def test_vectors_of_zeros_have_no_slope():
    assert not Loss().gradient(np.zeros((2, 3)), np.zeros((2, 3))).any()


@pytest.mark.parametrize("loss", [Loss(), Loss(energy=True)])
def test_outputs_come_back_and_zeros_stay(dense: ModuleOp, pruned: ModuleOp, loss: Loss):
    network = pruned.clone()
    steps = batches(network, SEEN, 50)
    assert len(steps) == 8
    distil(network, dense, steps, AllOutputs(), loss, 8, rate=2e-3)
    for inputs, share in ((SEEN, 0.9), (UNSEEN, 0.995)):
        reference = logits(dense, inputs)
        before, after = (loss.of(logits(each, inputs), reference) for each in (pruned, network))
        assert after < share * before
    for old, new in zip(arrays_of(pruned), arrays_of(network), strict=True):
        assert (old != new).any()
        if old.ndim == 2:
            assert not new[old == 0].any()


def test_the_same_seed_trains_the_same(dense: ModuleOp, pruned: ModuleOp):
    steps = batches(pruned, SEEN, 100)
    trained = [pruned.clone() for _ in range(3)]
    for network, seed in zip(trained, (0, 0, 1), strict=True):
        distil(network, dense, steps, AllOutputs(), Loss(), 5, rate=1e-3, seed=seed)
    first, again, other = map(arrays_of, trained)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_a_rate_that_destroys_the_network_changes_nothing(dense: ModuleOp, pruned: ModuleOp):
    network = pruned.clone()
    distil(network, dense, [SEEN], AllOutputs(), Loss(), 2, rate=10.0)
    for old, new in zip(arrays_of(pruned), arrays_of(network), strict=True):
        assert (old == new).all()


class FirstHalf:
    """A measure of five of the ten logits, which counts its derivatives."""

    count = 0

    def __call__(self, outputs: Any, inputs: Any) -> NDArray[Any]:
        return outputs["logits"][:, :5]

    def vjp(self, outputs: Any, inputs: Any, gradient: NDArray[Any]) -> dict[str, NDArray[Any]]:
        self.count += 1
        return {"logits": np.pad(gradient, ((0, 0), (0, 5))).astype(np.float32)}


def test_only_what_is_measured_counts(dense: ModuleOp, pruned: ModuleOp):
    network, measure = pruned.clone(), FirstHalf()
    distil(network, dense, batches(pruned, SEEN, 50), measure, Loss(), 4, rate=1e-3)
    assert measure.count
    old, new = [arrays_of(each)[3] for each in (pruned, network)]
    assert (old[:, 5:] == new[:, 5:]).all()
    assert (old[:, :5] != new[:, :5]).any()


def test_as_an_option(file: Path, dense: ModuleOp, pruned: ModuleOp):
    network = prune_file(file, SEEN, 0.6, distillation=20)
    reference = logits(dense, UNSEEN)
    before, after = (Loss().of(logits(each, UNSEEN), reference) for each in (pruned, network))
    assert after < before
    for named, message in (
        ({"sparsity": 0.5, "distillation": -1}, "distillation must be at least 0, not -1"),
        ({"distillation": 1}, "distillation trains what pruning keeps: give sparsity, too"),
        ({"sparsity": 0.5, "distillation": 1}, "distillation needs calibration"),
        (
            {"sparsity": 0.5, "distillation": 1, "second_order": False, "calibration": SEEN},
            "and pruning of second order",
        ),
    ):
        with pytest.raises(daqkf.DaqkfError, match=message):
            daqkf.compile(file, **named)


def test_operations_without_a_gradient_are_named(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(PRODUCTS, AddOp)  # the biases of all kernels
    with pytest.raises(daqkf.DaqkfError, match=r"needs gradients, and spaq\.add has none"):
        prune_file(file, SEEN, 0.6, distillation=1)


def test_from_the_command_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    file: Path,
    pruned: ModuleOp,
):
    passes: list[int] = []

    def recorded(*args: Any, **named: Any) -> None:
        passes.append(args[5])
        distil(*args, **named)

    monkeypatch.setattr("daqkf.compiler.pruning.distil", recorded)
    np.savez(tmp_path / "x.npz", image=SEEN["image"])
    given = ["compile", str(file), "--calibration", str(tmp_path / "x.npz"), "--sparsity", "0.6"]
    folder = tmp_path / "trained"
    assert main([*given, "--distillation", "3", "-o", str(folder)]) == 0
    assert passes == [3]
    network = daqkf.CompiledNetwork.load(folder)
    assert cosines(network.run(UNSEEN)["logits"], logits(pruned, UNSEEN)).mean() > 0.99
    assert network.summary()["sparsity"] > 0.59
    out = ["-o", str(tmp_path / "no")]
    np.save(tmp_path / "w.npy", np.eye(4))
    assert main(["compile", str(tmp_path / "w.npy"), "--distillation", "2", *out]) == 1
    assert "--distillation are for networks" in capsys.readouterr().err
    assert main(["compile", str(file), "--distillation", "2", *out]) == 1
    assert "give sparsity, too" in capsys.readouterr().err
    assert main(["eval", "--distillation", "-2", *out]) == 1
    assert "--distillation must be at least 0, not -2" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_what_was_interrupted_goes_on(
    dense: ModuleOp, pruned: ModuleOp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Behind what was kept last, to the same weights."""
    monkeypatch.setattr(distillation, "_KEPT_EVERY", 3)
    parts = batches(dense, [{"image": SEEN["image"][low : low + 40]} for low in range(0, 400, 40)])
    seen = list[int]()

    def trained(steps: Kept, until: int) -> list[NDArray[Any]]:
        def count(step: Step | str) -> None:
            assert isinstance(step, Step)
            if step.number > until:
                raise KeyboardInterrupt
            seen.append(step.number)

        network = pruned.clone()
        distil(network, dense, parts, AllOutputs(), Loss(), 2, progress=count, steps=steps)
        return arrays_of(network)

    whole = trained(Kept(tmp_path / "whole"), 20)
    assert not all(map(np.array_equal, whole, arrays_of(pruned)))
    steps = Kept(tmp_path / "parts")
    for until, expected in ((2, [1, 2]), (7, [*range(1, 8)]), (11, [*range(7, 12)])):
        seen.clear()
        with pytest.raises(KeyboardInterrupt):
            trained(steps, until)
        assert seen == expected
    seen.clear()
    found = trained(steps, 20)
    assert seen == [*range(10, 21)]
    for one, other in zip(whole, found, strict=True):
        np.testing.assert_array_equal(one, other)
    # Where files are damaged, it begins anew.
    for path in sorted((tmp_path / "parts").iterdir())[::3]:
        path.write_bytes(b"")
    seen.clear()
    trained(steps, 20)
    assert seen == [*range(1, 21)]
