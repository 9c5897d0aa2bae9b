# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""MiniLM as a whole: pruned, quantised, put together; with few sentences and few options."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from daqkf.dialects.interpreting import run
from daqkf.dialects.rpea import ArrayConfig
from daqkf.dialects.spaq import LevelSet
from daqkf.hw_targets import load_target
from daqkf.lowering.image.encode import decode
from daqkf.passes.quantize.pruning import magnitude_prune
from daqkf.reports.figures import frontier_figure, rendered
from daqkf.studies.minilm.compilation import front, write_network
from daqkf.studies.minilm.evaluation import Point, Row, table
from daqkf.studies.minilm.model import MiniLM, load_calibration, load_sentences
from daqkf.studies.minilm.pruning import prune_network
from daqkf.studies.minilm.quantization import NetworkQuantizer, cosines
from daqkf.support.errors import DaqkfError

MACHINE = load_target("generic").machine
CALIBRATION, SENTENCES = load_calibration()[:60], load_sentences()[:24]
MENU = (
    (LevelSet.of("uniform", 7), 0.0),
    (LevelSet.of("uniform", 15), 4.0),
    (LevelSet.of("uniform", 31), 0.0),
)


@pytest.fixture(scope="module")
def model() -> MiniLM:
    """MiniLM's first two layers: the real weights in a third of the time."""
    whole = MiniLM.load()
    return replace(whole, architecture=replace(whole.architecture, layers=2))


@pytest.fixture(scope="module")
def pruned(model: MiniLM, tmp_path_factory: pytest.TempPathFactory) -> MiniLM:
    return prune_network(model, CALIBRATION, 0.3, cache=tmp_path_factory.getbasetemp() / "pruned")


@pytest.fixture(scope="module")
def quantizer(pruned: MiniLM) -> NetworkQuantizer:
    return NetworkQuantizer(pruned, CALIBRATION, MACHINE, menu=MENU)


def density(model: MiniLM) -> float:
    weights = [model.linear(name)[0] for name in model.linear_names]
    return sum(map(np.count_nonzero, weights)) / sum(w.size for w in weights)


def test_pruning_keeps_the_embeddings_better_than_magnitudes(model: MiniLM, pruned: MiniLM):
    assert density(pruned) == pytest.approx(0.7, abs=1e-4)
    simple = model.with_linears(
        {
            name: (magnitude_prune(model.linear(name)[0], 0.3), model.linear(name)[1])
            for name in model.linear_names
        }
    )
    dense = model.encode(SENTENCES)
    ours, theirs = (1 - cosines(m.encode(SENTENCES), dense).mean() for m in (pruned, simple))
    assert ours < 0.6 * theirs


def test_a_pruned_model_is_kept_and_a_damaged_file_is_made_anew(
    model: MiniLM, pruned: MiniLM, tmp_path_factory: pytest.TempPathFactory
):
    folder = tmp_path_factory.getbasetemp() / "pruned"
    (file,) = folder.iterdir()
    seen: list[str] = []
    again = prune_network(model, CALIBRATION, 0.3, cache=folder, progress=seen.append)
    assert tuple(seen) == model.linear_names
    for name in model.linear_names:
        assert np.array_equal(again.linear(name)[0], pruned.linear(name)[0])
    # Other sentences and sparsities have files of their own.
    assert prune_network(model, CALIBRATION, 0.0, cache=folder) is model
    file.write_bytes(file.read_bytes()[:1000])

    def stop(name: str) -> None:
        raise InterruptedError(name)

    with pytest.raises(InterruptedError):
        prune_network(model, CALIBRATION, 0.3, cache=folder, progress=stop)


def test_bad_sparsities_are_named(model: MiniLM):
    with pytest.raises(ValueError, match="sparsity must be 0 <= sparsity < 1, not 1"):
        prune_network(model, CALIBRATION, 1.0)


def test_integers_follow_the_float_model(pruned: MiniLM, quantizer: NetworkQuantizer):
    static = quantizer.static()
    reference = static.encode(pruned, SENTENCES)
    assert cosines(reference, pruned.encode(SENTENCES)).mean() > 0.99
    assert static.magnitudes()[0] > 60
    networks = [quantizer.tuned(accuracy) for accuracy in (0.98, 0.99)]
    found = [cosines(network.encode(pruned, SENTENCES), reference).mean() for network in networks]
    assert found[0] > 0.97
    assert found[1] > 0.98
    cycles = [network.cycles(MACHINE) for network in (*networks, static)]
    assert cycles == sorted(cycles)
    # More zeros than the model had: some were bought.
    assert networks[0].sparsity() > static.sparsity()


def test_a_budget_of_cycles_holds(quantizer: NetworkQuantizer):
    most = quantizer.static().cycles(MACHINE)
    network = quantizer.within(round(0.9 * most))
    assert 0.85 * most < network.cycles(MACHINE) <= 0.9 * most
    with pytest.raises(DaqkfError, match="1000 cycles are out of reach: the least stream words"):
        quantizer.within(1000)
    with pytest.raises(DaqkfError, match=r"accuracy 0\.99999 is out of reach"):
        quantizer.tuned(0.99999)


def test_the_front_falls(quantizer: NetworkQuantizer):
    rows = front(quantizer, 5)
    assert len(rows) > 2
    assert rows == sorted(rows, reverse=True)
    assert [cycles for _, cycles in rows] == sorted((c for _, c in rows), reverse=True)


def test_a_network_is_one_array_and_a_program_for_each_layer(
    tmp_path: Path, pruned: MiniLM, quantizer: NetworkQuantizer
):
    network = quantizer.choose(most_loss=0.02)
    facts = write_network(network, "generic", tmp_path)
    assert json.loads((tmp_path / "network.json").read_text()) == json.loads(json.dumps(facts))
    assert (tmp_path / "rtl" / "daqkf_array.sv").is_file()
    names = {path.stem for path in (tmp_path / "programs").iterdir()}
    assert names == set(pruned.linear_names)
    config = ArrayConfig(**facts["array"])
    for name in pruned.linear_names:
        image = decode((tmp_path / "programs" / f"{name}.bin").read_bytes(), config)
        levels = network.levels()[name]
        assert (image.features, image.channels) == levels.shape
    # The kernel that runs GELU gives what is after it.
    x = pruned.activations("layer.0.ffn.up", SENTENCES)
    y = run(network.modules["layer.0.ffn.up"], x)
    assert y.shape == (len(x), 1536)
    assert y.min() > -0.5 < 0.5 < y.max()


def test_the_table_and_the_picture_of_an_evaluation(tmp_path: Path):
    point = Point(0.99, 0.991, 0.95, 0.992, 0.993, 12.5, 4.6, 0.51, 700_000)
    rows = [Row(0.5, 0.96, 0.997, 840_000, [point]), Row(0.7, 0.87, 0.996, 600_000, [point])]
    text = table(rows)
    assert text.row_count == 4
    assert rendered(frontier_figure([row.curve() for row in rows]), "png").startswith(b"\x89PNG")
