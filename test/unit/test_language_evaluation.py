# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How language models are compared with the dense one."""

from pathlib import Path

import numpy as np
import pytest
from language_models import SMALL, fields_of, random_weights, write_gguf

from daqkf.compiler.decoding import Engine
from daqkf.compiler.language_models import load_language_model
from daqkf.studies.language.evaluation import RecordingEngine


def test_logits_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_gguf(tmp_path / "model.gguf", fields_of(SMALL), random_weights(SMALL))
    model = load_language_model(path)
    network, rng = model.network(), np.random.default_rng(1)
    plain, recording = Engine(network, model.config), RecordingEngine(network, model.config)
    texts = [rng.integers(0, SMALL.vocabulary, length) for length in (9, 5, 9)]
    for text in texts:
        found = recording.decoder().read(text)
        np.testing.assert_array_equal(found, plain.decoder().read(text))
    # What is written behind a text is read as by any other engine.
    np.testing.assert_array_equal(
        recording.decoder().read(texts[0], last=True), plain.decoder().read(texts[0], last=True)
    )
    monkeypatch.setattr(Engine, "read", None)
    again = [recording.decoder().read(text) for text in texts]
    assert [len(each) for each in again] == [9, 5, 9]
    assert not np.array_equal(again[0], again[2])
