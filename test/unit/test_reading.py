# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Texts that are read in parts, several of them at a time."""

import threading
import time
from typing import Any

import numpy as np
import pytest
from language_models import SMALL, fields_of, random_weights, write_gguf
from threadpoolctl import threadpool_limits

from daqkf.compiler.decoding import Engine
from daqkf.compiler.language_models import load_language_model
from daqkf.compiler.reading import Part, parts_of

TEXTS = [np.arange(23) * 7 % 260, np.arange(2) + 40, np.arange(11) * 5 % 260]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    path = tmp_path_factory.mktemp("models") / "model.gguf"
    model = load_language_model(write_gguf(path, fields_of(SMALL), random_weights(SMALL)))
    return Engine(model.network(), model.config)


def test_parts_have_all_tokens_in_order():
    for size in (None, 1, 4, 100):
        parts = parts_of(TEXTS, size)
        assert all(sum(len(span.tokens) for span in part) <= (size or 36) for part in parts)
        assert len(parts) == (1 if size is None else -(-36 // size))
        for number, text in enumerate(TEXTS):
            spans = [span for part in parts for span in part if span.text == number]
            assert np.concatenate([span.tokens for span in spans]).tolist() == text.tolist()
            assert all(text[span.rows].tolist() == span.tokens.tolist() for span in spans)
            assert [span.last for span in spans] == [False] * (len(spans) - 1) + [True]


@pytest.mark.parametrize("cores", [1, 3])
@pytest.mark.parametrize("size", [1, 4, 5])
def test_parts_are_read_as_if_they_came_one_after_another(
    engine: Engine, size: int, cores: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("os.process_cpu_count", lambda: cores)
    (text, *_), one, engine.part = TEXTS, engine.decoder(), None
    with threadpool_limits(1, user_api="blas"):
        wanted = [one.read(text[low : low + size]) for low in range(0, len(text), size)]
    engine.part = size
    np.testing.assert_array_equal(engine.decoder().read(text), np.concatenate(wanted))
    last = engine.decoder().read(text, last=True)
    np.testing.assert_allclose(last, wanted[-1][-1:], atol=1e-5)


def test_texts_of_one_reading_share_parts(engine: Engine):
    engine.part = None
    wanted = engine.read([engine.decoder() for _ in TEXTS], TEXTS)
    engine.part = 4
    decoders = [engine.decoder() for _ in TEXTS]
    found = engine.read(decoders, TEXTS)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    again = engine.read([engine.decoder() for _ in TEXTS], TEXTS, last=True)
    for one, other in zip(again, wanted, strict=True):
        np.testing.assert_allclose(one, other[-1:], atol=1e-5)


class _Stop(Exception):
    pass


@pytest.mark.parametrize("kind", [_Stop, KeyboardInterrupt])
def test_a_part_that_fails_ends_the_reading(
    engine: Engine, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
):
    """No other part waits for it, no thread is left, and the next reading is right."""
    engine.part, read, threads = 4, engine._read, threading.active_count()
    decoder = engine.decoder()
    before = decoder.read(TEXTS[2])

    def failing(reading: Any, part: Part, last: bool) -> Any:
        if part[0].first == 8:
            raise kind
        return read(reading, part, last)

    monkeypatch.setattr("os.process_cpu_count", lambda: 3)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_read", failing)
        with pytest.raises(kind):
            decoder.read(TEXTS[0])
    assert threading.active_count() == threads
    assert decoder.length == len(before)
    other, text = engine.decoder(), TEXTS[0][::-1]
    other.read(TEXTS[2])
    wanted = other.read(text)

    def late(reading: Any, part: Part, last: bool) -> Any:
        if part[0].first == 0:
            time.sleep(0.2)
        return read(reading, part, last)

    # The keys that the failed reading left are there before those of the first part.
    monkeypatch.setattr(engine, "_read", late)
    np.testing.assert_array_equal(decoder.read(text), wanted)
