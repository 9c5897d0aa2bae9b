# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How language models are compared with the dense one."""

from pathlib import Path

import numpy as np
import pytest
from language_models import SMALL, fields_of, random_weights, write_gguf

from daqkf.compiler.decoding import Engine
from daqkf.compiler.language_models import load_language_model
from daqkf.studies.language.evaluation import Recorded
from daqkf.studies.language.picture import picture


def test_logits_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_gguf(tmp_path / "model.gguf", fields_of(SMALL), random_weights(SMALL))
    model = load_language_model(path)
    rng = np.random.default_rng(1)
    engine = Engine(model.network(), model.config)
    recorded = Recorded(engine)
    texts = [rng.integers(0, SMALL.vocabulary, length) for length in (9, 5, 9)]
    wanted = [engine.foretell(text) for text in texts]
    assert not np.array_equal(wanted[0], wanted[2])
    for text, logits in zip(texts, wanted, strict=True):
        np.testing.assert_array_equal(recorded.foretell(text), logits)
    monkeypatch.setattr(Engine, "read", None)
    for text, logits in zip(texts, wanted, strict=True):
        np.testing.assert_array_equal(recorded.foretell(text), logits)


def test_the_picture_has_numbers_at_its_axes():
    rows = [
        {"way": "ours", "zeros": 0.0, "kl": 0.01},
        {"way": "ours", "zeros": 0.5, "kl": 1.0},
    ]
    text = picture(rows, "svg").decode()
    assert "mathdefault" not in text and "<!-- 0.1 -->" in text
