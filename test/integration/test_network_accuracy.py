# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A network of our own that nothing was tuned on: pruned as a whole, with levels for accuracy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.rewriter import Rewriter

import daqkf
from daqkf.cli.main import main
from daqkf.compiler.design import run_passes
from daqkf.compiler.formats import load_network
from daqkf.compiler.network import pareto, prune_file
from daqkf.compiler.pipelines import OUTLINE
from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.spaq import AddOp
from daqkf.passes.quantize.accuracy import AllOutputs, Loss, cosines
from daqkf.passes.quantize.gradients import PRODUCTS
from daqkf.passes.quantize.network_statistics import batches, observe, outputs_of
from daqkf.passes.spaq_prune import prune
from daqkf.studies.digits.network import Classifier, draw, export, train

CALIBRATION = {"image": draw(np.random.default_rng(5), 1000)[0]}
IMAGES, LABELS = draw(np.random.default_rng(99), 2000)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return train()


@pytest.fixture(scope="module")
def file(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("digits") / "digits.onnx"
    path.write_bytes(export(classifier).SerializeToString())
    return path


def right(logits: NDArray[np.floating]) -> float:
    return float((logits.argmax(axis=1) == LABELS).mean())


def logits_of(network: ModuleOp | daqkf.CompiledNetwork) -> NDArray[Any]:
    inputs = {"image": IMAGES}
    found = (
        network.run(inputs) if not isinstance(network, ModuleOp) else outputs_of(network, inputs)
    )
    return found["logits"]


def by_itself(file: Path, sparsity: float) -> ModuleOp:
    """Every kernel pruned by itself, to the same share, on what it reads in the dense network."""
    network = load_network(file)
    run_passes(network, OUTLINE)
    x = CALIBRATION["image"]
    for kernel in [op for op in network.ops if isinstance(op, FuncOp) and op is not entry(network)]:
        module = ModuleOp([kernel.clone()])
        (y,) = call(network, kernel, (x,))
        prune(module, sparsity, x)
        (pruned,) = module.ops
        pruned.detach()
        Rewriter.replace_op(kernel, pruned)
        x = y
    return network


def test_it_learns(classifier: Classifier):
    assert right(classifier.logits(IMAGES)) > 0.95


def test_pruning_as_a_whole_loses_less_than_half_of_what_each_kernel_alone_does(
    classifier: Classifier, file: Path
):
    reference = classifier.logits(IMAGES)
    networks = prune_file(file, CALIBRATION, 0.5), by_itself(file, 0.5)
    losses = [1 - cosines(logits_of(network), reference).mean() for network in networks]
    assert losses[0] < 0.25 * losses[1]
    wrong = [right(reference) - right(logits_of(network)) for network in networks]
    assert wrong[0] <= 0.5 * wrong[1]


@pytest.mark.parametrize("levels", ["uniform-3", "uniform-7"])
def test_kernels_make_up_for_the_rounding_of_those_before(
    levels: str, classifier: Classifier, file: Path
):
    reference = classifier.logits(IMAGES)
    networks = [
        daqkf.compile(file, calibration=CALIBRATION, levels=levels, sequential=sequential)
        for sequential in (True, False)
    ]
    losses = [1 - cosines(logits_of(network), reference).mean() for network in networks]
    assert losses[0] < 0.9 * losses[1]


@pytest.fixture(scope="module")
def static(file: Path) -> daqkf.CompiledNetwork:
    """All weights in 8 bits."""
    return daqkf.compile(file, calibration=CALIBRATION)


@pytest.mark.parametrize(("accuracy", "most"), [(0.99, 0.01), ("25dB", 10**-2.5)])
def test_an_accuracy_holds_on_images_that_nobody_saw(
    classifier: Classifier,
    file: Path,
    static: daqkf.CompiledNetwork,
    accuracy: float | str,
    most: float,
):
    network = daqkf.compile(file, calibration=CALIBRATION, accuracy=accuracy)
    found, reference = logits_of(network), classifier.logits(IMAGES)
    assert Loss(energy=isinstance(accuracy, str)).of(found, reference) < 1.2 * most
    assert network.cycles < static.cycles


def test_cycles_are_kept(file: Path, static: daqkf.CompiledNetwork):
    most = static.cycles
    network = daqkf.compile(file, calibration=CALIBRATION, cycles=round(0.8 * most))
    assert 0.7 * most < network.cycles <= 0.8 * most
    with pytest.raises(daqkf.DaqkfError, match="10 cycles are out of reach: the least stream"):
        daqkf.compile(file, calibration=CALIBRATION, cycles=10)


def test_the_front_falls(file: Path):
    front = pareto(file, CALIBRATION, points=5)
    assert len(front) > 2
    assert [point.loss for point in front] == sorted(point.loss for point in front)
    cycles = [point.cycles for point in front]
    assert cycles == sorted(cycles, reverse=True)


def test_a_measure_of_the_users_own(classifier: Classifier, file: Path):
    """Without a derivative: the largest logit alone, which takes fewer cycles than all."""
    seen: list[int] = []

    def measure(outputs: Any, inputs: Any) -> NDArray[Any]:
        seen.append(len(inputs["image"]))
        return outputs["logits"] - outputs["logits"].mean(axis=1, keepdims=True)

    network = daqkf.compile(file, calibration=CALIBRATION, accuracy=0.99, measure=measure)
    found, reference = (
        measure({"logits": values}, {"image": IMAGES})
        for values in (logits_of(network), classifier.logits(IMAGES))
    )
    assert sum(seen) > 0
    assert cosines(found, reference).mean() > 0.985


def test_samples_that_meet_stay_together(file: Path):
    network = load_network(file)
    run_passes(network, OUTLINE)
    images = {"image": np.tile(CALIBRATION["image"], (3, 1))}
    parts = batches(network, images)
    assert len(parts) > 1
    assert sum(len(part["image"]) for part in parts) == len(images["image"])
    found = observe(network, parts, AllOutputs(), Loss(), rows=500)
    assert all(400 < sum(map(len, rows)) <= 600 for rows in found.rows.values())
    assert all((own > 0).any() for own in found.sensitivity.values())


@pytest.mark.slow
def test_from_the_command_line(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    calibration = tmp_path / "inputs.npz"
    np.savez(calibration, image=CALIBRATION["image"][:600])
    given = ["compile", str(file), "--calibration", str(calibration)]
    assert main([*given, "--accuracy", "0.99", "-o", str(tmp_path / "out")]) == 0
    # Long paths break lines.
    assert "cycles a tile" in " ".join(capsys.readouterr().err.split())
    assert main([*given, "--pareto"]) == 0
    assert "predicted cosine" in capsys.readouterr().out
    assert main(["compile", str(file), "--accuracy", "0.9", "-o", str(tmp_path / "no")]) == 1
    assert "need calibration" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
    assert main([*given, "--accuracy", "2", "-o", str(tmp_path / "no")]) == 1
    assert "accuracy must be a cosine of 0 to 1 or an SQNR like 25dB" in capsys.readouterr().err
    assert main([*given, "--family", "moon", "-o", str(tmp_path / "no")]) == 1
    assert "moon" in capsys.readouterr().err


def test_options_that_do_not_exist(file: Path):
    with pytest.raises(daqkf.DaqkfError, match="unknown option 'levls'"):
        daqkf.compile(file, levls="int8")
    with pytest.raises(daqkf.DaqkfError, match="bias is for single layers"):
        daqkf.compile(file, bias=np.zeros(3))
    with pytest.raises(daqkf.DaqkfError, match="products is for networks, not for single layers"):
        daqkf.compile(np.eye(4), products=True)
    with pytest.raises(daqkf.DaqkfError, match="give accuracy or cycles, not both"):
        daqkf.compile(file, calibration=CALIBRATION, accuracy=0.9, cycles=100)


@pytest.mark.slow
def test_differences_say_how_much_kernels_matter_where_gradients_are_unknown(
    file: Path, monkeypatch: pytest.MonkeyPatch
):
    network = load_network(file)
    run_passes(network, OUTLINE)
    parts = batches(network, {"image": CALIBRATION["image"][:300]})
    expected = observe(network, parts, AllOutputs(), Loss()).sensitivity
    monkeypatch.delitem(PRODUCTS, AddOp)  # the biases of all kernels
    found = observe(network, parts, AllOutputs(), Loss()).sensitivity
    assert set(found) == set(expected)
    *hidden, last = found
    for own in found.values():
        assert (own == own[0]).all()  # the outputs of a kernel are not told apart
        assert own[0] > 0
    assert found[last].sum() == pytest.approx(expected[last].sum(), rel=0.25)
    # An error of the sums becomes a smaller one behind their GELU, which is where errors are put.
    for matmul in hidden:
        assert expected[matmul].sum() < found[matmul].sum() < 6 * expected[matmul].sum()
