# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Compiled language models: text in, text out, in small random decoders."""

from dataclasses import replace
from pathlib import Path

import pytest
from language_models import SMALL, changed, fields_of, random_weights, write_folder, write_gguf

import daqkf
from daqkf.compiler.compiled_language_model import CompiledLanguageModel
from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.language_models import (
    DOCUMENT_END,
    batches_of,
    compile_language_model,
    load_language_model,
    windows_of,
)

TEXT = "the the 12é a the thé 1 2 12 a\n" * 12


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return write_gguf(folder / "model.gguf", fields_of(SMALL), random_weights(SMALL))


@pytest.fixture(scope="module")
def model(path: Path) -> CompiledLanguageModel:
    found = daqkf.compile(path, calibration=TEXT, scale_rows=True, second_order=False)
    assert isinstance(found, CompiledLanguageModel)
    return found


def test_windows_are_of_one_document(path: Path):
    codec = load_language_model(path).text()
    text = f"the 12\n{DOCUMENT_END}\n{'a' * 7}\n{DOCUMENT_END}\n\n"
    assert [codec.decode(part) for part in windows_of(codec, text, 3)] == [
        *("the 1", "2"),
        *("aaa", "aaa", "a"),
    ]
    begun = [part.tolist() for part in windows_of(replace(codec, begin=1), text, 3)]
    assert begun[0][0] == 1 and begun[0][1:] == codec.encode("the ").tolist()
    assert begun[-1] == [1, codec.encode("a")[0]]
    with pytest.raises(ValueError, match="the text is empty"):
        windows_of(codec, f"\n{DOCUMENT_END}\n", 3)
    (first, *_) = batches_of(SMALL, codec, TEXT)
    assert len(first["tokens"]) == SMALL.context
    assert first["past_keys.0"].shape == (0, SMALL.groups, SMALL.features)


def test_a_model_is_saved_and_loaded(model: CompiledLanguageModel, tmp_path: Path):
    model.save(tmp_path)
    loaded = daqkf.load(tmp_path)
    assert isinstance(loaded, CompiledLanguageModel)
    assert loaded == model and loaded.decoder_config == model.decoder_config
    assert loaded.text.tokenizer.to_str() == model.text.tokenizer.to_str()
    for name in ("begin", "ends", "chat_template", "missing"):
        assert getattr(loaded.text, name) == getattr(model.text, name)
    plain = CompiledNetwork.load(tmp_path)
    assert not isinstance(plain, CompiledLanguageModel)


def test_folders_of_hugging_face_are_language_models(tmp_path: Path):
    config = changed(SMALL, pairs="halves", factors=(2.0,) * 4, biases=frozenset(("query",)))
    weights = random_weights(replace(config, biases=frozenset(("query", "key", "value"))))
    facts = {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}
    source = write_folder(tmp_path / "source", config, weights, "qwen2", **facts)
    compiled = compile_language_model(source, calibration=TEXT, second_order=False)
    compiled.save(tmp_path / "saved")
    assert CompiledLanguageModel.load(tmp_path / "saved").decoder_config == compiled.decoder_config
    assert compiled.decoder_config.factors == (2.0,) * 4
