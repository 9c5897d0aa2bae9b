# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The level table predicts what fits do, decides consistently, and refuses damaged files."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from daqkf.passes.encode import running_sum
from daqkf.passes.quantize.level_table import (
    CLASSES,
    SQNR_LIMIT,
    TABLE,
    Features,
    Grid,
    LevelTable,
    LevelTableError,
    corners,
    load_table,
    pattern_class,
)
from daqkf.passes.quantize.levels import fit
from daqkf.passes.quantize.pruning import magnitude_prune
from daqkf.passes.spaq_select_levels import select_levels

SHIFT = 3


def weights(seed: int, features: int = 256, channels: int = 24) -> NDArray[np.float64]:
    """Channels of different size, between normal and heavy tails."""
    rng = np.random.default_rng(seed)
    scale = np.exp(0.5 * rng.standard_normal(channels))
    return rng.standard_t(rng.uniform(4, 30, channels), (features, channels)) * scale


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.8])
def test_predictions_agree_with_fits(sparsity: float):
    table = load_table()
    pruned = magnitude_prune(weights(11), sparsity)
    features = Features.of(pruned)
    sqnr, cycles = table.predict_sqnr(features), table.predict_cycles(features, SHIFT)
    errors, ratios = [], []
    for place in range(0, len(table.levels), 3):
        found = fit(pruned, table.levels[place])
        true = 10 * np.log10((pruned**2).sum() / found.error(pruned).sum())
        errors.append(sqnr[place] - min(true, SQNR_LIMIT))
        ratios.append(cycles[place] / running_sum.cost(found.levels, SHIFT).mean())
    assert np.abs(errors).max() < 1
    assert min(ratios) > 0.85
    assert max(ratios) < 1.15


@given(st.integers(0, 20), st.floats(0, 0.95), st.floats(-5, 39), st.floats(0, 10))
@settings(max_examples=30)
def test_more_accuracy_never_costs_fewer_cycles(
    seed: int, sparsity: float, target: float, more: float
):
    table = load_table()
    features = Features.of(magnitude_prune(weights(seed, 64, 8), sparsity))
    reachable = min(target + more, float(table.predict_sqnr(features).max()))
    coarse = table.decide(features, min(target, reachable), SHIFT)
    fine = table.decide(features, reachable, SHIFT)
    assert coarse.cycles <= fine.cycles
    assert fine.sqnr >= reachable
    assert coarse.levels in table.levels


def test_a_decision_is_the_cheapest_that_suffices():
    table, features = load_table(), Features.of(weights(3))
    sqnr, cycles = table.predict_sqnr(features), table.predict_cycles(features, SHIFT)
    for target in (5.0, 15.0, 25.0, 35.0):
        chosen = table.decide(features, target, SHIFT)
        assert chosen.cycles == cycles[sqnr >= target].min()
    assert select_levels(weights(3), 25.0) == table.decide(features, 25.0, SHIFT)


def test_without_weights_the_usual_shape_is_taken():
    table = load_table()
    for features in (Features(0.0, "dense", 384.0), Features(0.5, "2:4", 192.0)):
        chosen = table.decide(features, 15.0, SHIFT)
        assert chosen.sqnr >= 15
    # What magnitude pruning leaves is more alike, so one magnitude serves it better.
    dense = table.predict_sqnr(Features(0.0, "dense", 384.0))
    pruned = table.predict_sqnr(Features(0.9, "unstructured", 38.0))
    assert pruned[0] > dense[0] + 1


def test_features_do_not_change_with_the_scale():
    for scale in (1e-160, 1.0, 1e150):
        found = Features.of(weights(5) * scale)
        expected = Features.of(weights(5))
        assert found.channels is not None
        assert expected.channels is not None
        for one, other in zip(found.channels, expected.channels, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9)


def test_features_of_known_shapes():
    matrix = np.array([[2.0, 0, 3.0], [-2.0, 0, 0], [2.0, 0, -4.0], [0, 0, 0]])
    features = Features.of(matrix)
    assert features.fan_in == 2.5
    assert features.sparsity == pytest.approx(7 / 12)
    channels = features.channels
    assert channels is not None
    np.testing.assert_allclose(channels.nonzeros, [3, 2])
    np.testing.assert_allclose(channels.effective, [3, 25**2 / (81 + 256)])
    np.testing.assert_allclose(channels.form, [1, 3.5 / np.sqrt(12.5)])
    np.testing.assert_allclose(channels.crest, [1, 4 / np.sqrt(12.5)])
    np.testing.assert_allclose(channels.energy, [12 / 37, 25 / 37])


def test_a_matrix_of_zeros_takes_the_cheapest_set():
    chosen = load_table().decide(Features.of(np.zeros((8, 2))), 49.0, SHIFT)
    assert chosen.sqnr == np.inf
    assert chosen.cycles == 1


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("2:4", "n:m"), ("row", "row"), ("dense", "dense"), ("banded", "unstructured"), ("", None)],
)
def test_pattern_classes(pattern: str, name: str | None):
    assert CLASSES[pattern_class(pattern)] == (name or "unstructured")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda: Features.of(np.array([[1.0, np.nan]])), "only be chosen for a finite matrix"),
        (lambda: Features.of(np.ones(3)), "only be chosen for a finite matrix"),
        (lambda: Features.of(np.ones((0, 3))), "only be chosen for a finite matrix"),
        (lambda: Features(1.5, "dense", 3), "sparsity must be 0 <= sparsity <= 1, not 1.5"),
        (lambda: Features(0, "dense", np.inf), "fan_in must be finite and at least 0, not inf"),
        (lambda: select_levels(weights(0), 80), "no level set of the table reaches 80 dB"),
        (lambda: select_levels(weights(0), np.nan), "target must be a finite SQNR in dB, not nan"),
    ],
)
def test_bad_input_is_named(bad, message: str):
    with pytest.raises(ValueError, match=message):
        bad()


def test_interpolation_is_exact_on_linear_functions_and_ends_at_the_border():
    axes = np.array([0.0, 1, 4]), np.array([-1.0, 1])
    places = np.meshgrid(*axes, indexing="ij")
    grid = Grid(axes, (2 * places[0] - 3 * places[1]).reshape(-1, 1))
    x, y = np.array([0.0, 0.5, 3, 4, 9]), np.array([-1.0, 0.25, 1, 0, -7])
    inside = 2 * np.clip(x, 0, 4) - 3 * np.clip(y, -1, 1)
    np.testing.assert_allclose(grid((x, y))[:, 0], inside)
    _, shares = corners(axes, (x, y))
    np.testing.assert_allclose(shares.sum(axis=1), 1)


def test_the_file_is_what_the_table_says():
    text = TABLE.read_text()
    table = LevelTable.loads(text, "table")
    assert table.dumps() == text
    assert len(text) < 200_000
    assert {"minilm", "ocr", "vad"} <= set(table.profile)


def test_damaged_tables_are_refused(tmp_path: Path):
    path = tmp_path / "table.json"
    text = TABLE.read_text()
    document = json.loads(text)
    older = text.replace(f'"version": {document["version"]}', '"version": 0')
    digit = text.index(",", text.index('"values"')) + 1
    flipped = text[:digit] + ("1" if text[digit] != "1" else "2") + text[digit + 1 :]
    hint = "; rebuild it: daqkf spaq-profile$"
    for content, message in (
        (text[: len(text) // 2], r"is no JSON \(.*\)"),
        (flipped, "is damaged: its checksum does not match"),
        (text.replace('"checksum"', '"other"'), "is damaged: its checksum does not match"),
        (older, "has version 0, and this DAQKF reads 1"),
        ("[1, 2]", "is no level table"),
        ("", r"is no JSON \(.*\)"),
        ("\0\1", r"is no JSON \(.*\)"),
    ):
        path.write_text(content)
        with pytest.raises(LevelTableError, match=message + hint) as error:
            load_table(path)
        assert str(error.value).startswith(f"{path}: the level table ")
    path.unlink()
    with pytest.raises(LevelTableError, match=r"cannot be read \(No such file or directory\)"):
        load_table(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("sqnr"), "'sqnr'"),
        (lambda d: d["sqnr"]["values"].pop(), "the values of a grid do not fill it"),
        (lambda d: d["sqnr"]["axes"][0].reverse(), "axes of ascending knots"),
        (lambda d: d["levels"].append(["uniform", 0, 0]), "a level set needs 1 <= magnitudes"),
        (lambda d: d["cycles"].pop("0"), "cycles without shifts"),
    ],
)
def test_wrong_entries_are_named(change, message: str):
    """Even with a checksum that is right."""
    from daqkf.passes.quantize.level_table import _checksum

    document = json.loads(TABLE.read_text())
    del document["checksum"]
    change(document)
    document["checksum"] = _checksum(document)
    with pytest.raises(LevelTableError, match=f"t.json: .*wrong or missing entry .*{message}"):
        LevelTable.loads(json.dumps(document), "t.json")
