# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Training of a small language model from nothing, its folder, and what it is held against."""

import re
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any, override

import numpy as np
import pytest
from language_models import logits_of

from daqkf.compiler.decoding import Engine
from daqkf.compiler.language_models import load_language_model, text_codec
from daqkf.compiler.text_windows import DOCUMENT_END
from daqkf.lowering.frontends.decoder import DecoderConfig
from daqkf.passes.progress import Step
from daqkf.passes.quantize.adam import Trained, cosine_rate
from daqkf.passes.steps import Steps
from daqkf.studies.smallest.folder import END, train_tokenizer, write_folder
from daqkf.studies.smallest.ngrams import NGrams
from daqkf.studies.smallest.recipe import CALIBRATION, EVALUATION, ORDERS, make
from daqkf.studies.smallest.stories import stories
from daqkf.studies.smallest.token import multiplications
from daqkf.studies.smallest.training import (
    Decoder,
    Schedule,
    cross_entropy,
    random_tensors,
    train,
)

SMALL = DecoderConfig(
    layers=2,
    width=8,
    hidden=12,
    heads=2,
    groups=1,
    features=4,
    vocabulary=11,
    epsilon=1e-5,
    context=16,
    tied=True,
)


@pytest.mark.parametrize("tied", [True, False])
def test_gradients_of_all_tensors_are_slopes_of_the_loss(tied: bool):
    """Against central differences of a loss in float64 by NumPy that knows nothing of the IR."""
    config, rng = replace(SMALL, tied=tied), np.random.default_rng(1)
    tensors = random_tensors(config, rng)
    assert list(tensors) == [name for name, _ in config.tensors()]
    tokens = rng.integers(0, config.vocabulary, 8)
    loss, gradients = Decoder(config, tensors).lesson(tokens)

    def exact(changed: dict[str, Any]) -> float:
        logits = logits_of(config, changed, tokens[:-1])
        return cross_entropy(logits, tokens[1:])[0]

    assert loss == pytest.approx(exact(tensors), rel=1e-5)
    assert gradients.keys() == tensors.keys()
    for name, gradient in gradients.items():
        direction = rng.standard_normal(gradient.shape)
        exactly = {key: array.astype(np.float64) for key, array in tensors.items()}
        ends = [exact(exactly | {name: exactly[name] + h * direction}) for h in (1e-4, -1e-4)]
        slope = (ends[0] - ends[1]) / 2e-4
        assert (gradient * direction).sum() == pytest.approx(slope, rel=2e-3, abs=1e-5), name


def test_a_pattern_is_learnt():
    """Each token says which one is next, so the loss goes to nothing."""
    tokens = np.resize(np.random.default_rng(2).permutation(SMALL.vocabulary), 400)
    schedule = Schedule(passes=10, window=12, batch=4, warm_up=5)
    tensors = train(SMALL, [tokens], schedule)
    found, _ = Decoder(SMALL, tensors).lesson(tokens[:13])
    assert found < 0.5 < log(SMALL.vocabulary)
    other = train(SMALL, [tokens], schedule, seed=1)
    assert all(np.any(other[name] != tensors[name]) for name in tensors)


class _Remembered(Steps):
    """Keeps steps in memory, and interrupts behind so many."""

    def __init__(self, after: int):
        self.found: dict[str, Any] = {}
        self.after = after

    @override
    def find(self, key: object) -> Any | None:
        return self.found.get(repr(key))

    @override
    def keep(self, key: object, result: Any) -> None:
        if len(self.found) == self.after:
            raise KeyboardInterrupt
        # As it is now: it changes when work goes on.
        self.found[repr(key)] = _copied(result)

    @override
    def inner(self, key: object) -> "_Remembered":
        return self


def _copied(value: Any) -> Any:
    import pickle

    return pickle.loads(pickle.dumps(value))


def test_what_was_interrupted_goes_on_with_the_same_numbers():
    tokens = np.random.default_rng(3).integers(0, SMALL.vocabulary, 200)
    schedule, told = Schedule(passes=3, window=12, batch=4), list[str]()
    whole = train(SMALL, [tokens], schedule)
    steps = _Remembered(2)
    with pytest.raises(KeyboardInterrupt):
        train(SMALL, [tokens], schedule, steps=steps)
    steps.after = 9
    resumed = train(SMALL, [tokens], schedule, steps=steps, progress=told.append)
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)
    first = told[0]
    assert isinstance(first, Step) and first.number == first.total * 2 // 3 + 1


def test_too_little_text():
    with pytest.raises(ValueError, match="20 tokens are too few for windows of 12"):
        train(SMALL, [np.zeros(20, np.int64)], Schedule(window=12))


def test_rates_rise_and_fall():
    rates = [cosine_rate(step, 100, 10) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[9]
    assert rates[50] == pytest.approx(0.5) and 0 < rates[99] < 1e-3


def test_only_what_is_not_kept_moves():
    values = np.array([0.0, 2.0, -2.0], np.float32)
    trained = Trained(values.copy(), values != 0)
    assert trained.unit == 2 and not trained.step(1, 0.1)
    trained.add(np.array([1.0, 1.0, -3.0]))
    assert trained.step(1, 0.1)
    # The first step is as long for all, whatever their gradients.
    np.testing.assert_allclose(trained.values, [0.0, 1.8, -1.8], rtol=1e-6)


TEXTS = ["The goat ate the oats.\n\nThe oats ate nothing.", "A goat is not an oat."] * 9


def test_a_folder_is_what_was_trained(tmp_path: Path):
    tokenizer = train_tokenizer(TEXTS, 120)
    assert tokenizer.to_str() == train_tokenizer(TEXTS, 120).to_str()
    config = replace(SMALL, vocabulary=120)
    tensors = random_tensors(config, np.random.default_rng(4))
    write_folder(tmp_path / "model", config, tensors, tokenizer)
    model = load_language_model(tmp_path / "model")
    assert model.config == config
    codec = text_codec(model)
    assert codec.ends == {END} and codec.begin is None
    tokens = codec.encode(TEXTS[0].split("\n")[0])
    assert codec.decode(tokens) == "The goat ate the oats."
    logits = Engine(model.network(), config).decoder().read(tokens)
    np.testing.assert_allclose(logits, logits_of(config, tensors, tokens), atol=1e-4)
    with pytest.raises(ValueError, match="no token for byte 0xc3"):
        codec.encode("é")


def test_a_vocabulary_that_a_text_does_not_give():
    with pytest.raises(ValueError, match=r"the documents give \d+ tokens, not 4000"):
        train_tokenizer(TEXTS, 4000)


def test_a_model_beside_counts(tmp_path: Path):
    config = replace(SMALL, vocabulary=110)
    schedule = Schedule(passes=1, window=12, batch=2)
    model = make(tmp_path / "model", TEXTS, ["The oats ate a goat."], config, schedule)
    assert load_language_model(tmp_path / "model").config == config
    calibration = (tmp_path / "model" / CALIBRATION).read_text()
    assert [part.strip() for part in calibration.split(DOCUMENT_END)] == TEXTS
    assert (tmp_path / "model" / EVALUATION).read_text() == "The oats ate a goat.\n"
    assert [row["by"] for row in model.rows()][:-1] == list(ORDERS)
    assert model.parameters == sum(array.size for array in model.tensors.values())
    decoded = model.found.tokens * model.bytes_per_token
    assert decoded < len("The oats ate a goat.") <= decoded + 4
    assert model.bits_per_byte(log(2) * model.bytes_per_token) == pytest.approx(1)
    assert model.counts["pairs"] < model.counts["tokens"] < log(110)


def test_stories():
    """They are all different, and those of a seed are the same ones; whom they name comes back."""
    found = stories(300, 5)
    assert found == stories(300, 5) and len(set(found)) == 300
    assert len(set(found) & set(stories(300, 6))) < 3
    for text in found:
        assert text.isascii() and text[0].isupper() and text[-1] in '."'
        assert not set("{}") & set(text) and "  " not in text and "\n" not in text
        assert 120 < len(text) < 1200
        assert any(text.count(name) > 2 for name in re.findall(r"\b[A-Z][a-z]+\b", text))


def test_shares_by_counts():
    """a b a c: behind nothing, a was seen twice, and b and c once; behind a, b and c once each."""
    counts = NGrams([np.array([0, 1, 0, 2])], 2, 4)
    alone = {0: (2 + 3 / 4) / 7, 1: (1 + 3 / 4) / 7, 2: (1 + 3 / 4) / 7, 3: (3 / 4) / 7}
    for token, share in alone.items():
        assert counts.share([], token) == pytest.approx(share)
        behind = ((token in (1, 2)) + 2 * share) / 4
        assert counts.share([0], token) == pytest.approx(behind)
        assert counts.share([3], token) == pytest.approx(share)  # was never seen
    for before in ([], [0], [1], [2], [3]):
        assert sum(counts.share(before, token) for token in range(4)) == pytest.approx(1)
    expected = -log(counts.share([0], 2))
    assert counts.loss([np.array([3, 0, 2])[1:]]) == pytest.approx(expected)


def test_multiplications():
    found = multiplications(SMALL, 10)
    matrices = sum(
        int(np.prod(shape)) for name, shape in SMALL.tensors() if len(shape) == 2
    )  # the embedding is the output's, too
    assert found["matrices"] == matrices
    assert found["attention"] == 2 * 2 * 10 * 8
