# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""MiniLM as a network: its first layers pruned as a whole; and what is said of evaluations."""

from dataclasses import replace

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler.design import run_passes
from daqkf.compiler.network import prune_file
from daqkf.compiler.pipelines import OUTLINE
from daqkf.passes.quantize.accuracy import cosines
from daqkf.passes.quantize.weights import float_products
from daqkf.passes.spaq_prune import prune
from daqkf.reports.figures import frontier_figure, rendered
from daqkf.studies.minilm.evaluation import Point, Row, table
from daqkf.studies.minilm.model import MiniLM, load_calibration, load_sentences
from daqkf.studies.minilm.network import SentenceEmbedding, embeddings, inputs_of, network_of

CALIBRATION, SENTENCES = load_calibration()[:60], load_sentences()[:24]


@pytest.fixture(scope="module")
def model() -> MiniLM:
    """MiniLM's first two layers: the real weights in a third of the time."""
    whole = MiniLM.load()
    return replace(whole, architecture=replace(whole.architecture, layers=2))


def density(network: ModuleOp) -> float:
    weights = [constant.array() for _, constant in float_products(network)]
    return sum(map(np.count_nonzero, weights)) / sum(w.size for w in weights)


def test_the_network_is_the_model(model: MiniLM):
    ordered = sorted(SENTENCES, key=lambda sentence: (len(sentence), sentence))
    found = embeddings(network_of(model), inputs_of(model, SENTENCES))
    assert found == pytest.approx(model.encode(ordered), abs=1e-4)


@pytest.mark.slow
def test_pruning_keeps_the_embeddings_better_than_magnitudes(model: MiniLM):
    dense, inputs = network_of(model), inputs_of(model, SENTENCES)
    calibration = inputs_of(model, CALIBRATION)
    pruned = prune_file(dense, calibration, 0.3, SentenceEmbedding())
    assert density(pruned) == pytest.approx(0.7, abs=1e-3)
    simple = dense.clone()
    run_passes(simple, OUTLINE)
    prune(simple, 0.3)
    reference = embeddings(dense, inputs)
    ours, theirs = (
        1 - cosines(embeddings(network, inputs), reference).mean() for network in (pruned, simple)
    )
    assert ours < 0.3 * theirs


def test_the_table_and_the_picture_of_an_evaluation():
    point = Point(0.99, 0.991, 0.95, 0.97, 12.5, 4.6, 0.51, 700_000)
    whole = replace(point, accuracy=0.0)
    rows = [Row(0.5, 0.96, 0.997, 840_000, [whole, point]), Row(0.7, 0.87, 0.996, 600_000, [point])]
    assert table(rows).row_count == 5
    assert [len(row.curve().points) for row in rows] == [1, 1]
    assert [len(row.curve().alone) for row in rows] == [1, 0]
    # Without accuracies that levels are chosen for there is but the one level set.
    rows.append(replace(rows[0], points=[whole]))
    for shown in (rows, rows[2:]):
        picture = rendered(frontier_figure([row.curve() for row in shown]), "png")
        assert picture.startswith(b"\x89PNG")
