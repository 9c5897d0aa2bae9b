# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Decoders from files compute what NumPy says, with a cache of keys and values and without."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import (
    MERGES,
    SMALL,
    SPECIAL,
    TOKENS,
    changed,
    fields_of,
    logits_of,
    pair_encoded,
    permuted,
    random_weights,
    write_folder,
    write_gguf,
)
from tokenizers.pre_tokenizers import ByteLevel

from daqkf.compiler.decoding import FloatDecoder
from daqkf.compiler.formats import load_network
from daqkf.compiler.language_models import load_language_model
from daqkf.lowering.frontends.decoder import DecoderConfig
from daqkf.lowering.frontends.text import TextCodec, byte_characters
from daqkf.support.errors import DaqkfError

PROMPT = np.array([3, 200, 17, 17, 259, 0, 101, 44, 2])
QKV = frozenset(("query", "key", "value"))


def decoder(path: Path) -> FloatDecoder:
    model = load_language_model(path)
    return FloatDecoder(model.network(), model.config)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "small.gguf"
    return write_gguf(path, fields_of(SMALL), random_weights(SMALL))


@pytest.mark.parametrize(
    ("architecture", "facts"),
    [
        ("llama", {}),
        ("llama", {"tied": True, "turning": 4}),
        ("llama", {"biases": frozenset(("query", "down"))}),
        ("qwen2", {"pairs": "halves", "biases": QKV, "groups": 4}),
        ("qwen3", {"pairs": "halves", "head_norms": True, "features": 12, "tied": True}),
    ],
)
def test_a_gguf_file_computes_its_architecture(
    architecture: str, facts: dict[str, Any], tmp_path: Path
):
    config = changed(SMALL, **facts)
    weights = random_weights(config)
    path = tmp_path / "model.gguf"
    write_gguf(path, fields_of(config, architecture), weights, architecture)
    model = load_language_model(path)
    assert {**vars(model.config), "epsilon": 1e-5} == vars(config)  # it is a float32 in the file
    found = FloatDecoder(model.network(), model.config).read(PROMPT)
    np.testing.assert_allclose(found, logits_of(config, weights, PROMPT), atol=1e-4)


@pytest.mark.parametrize("parts", [(9,), (4, 5), (1,) * 9, (7, 1, 1)])
def test_a_cache_changes_nothing(small: Path, parts: tuple[int, ...]):
    whole = decoder(small).read(PROMPT)
    model = decoder(small)
    ends = np.cumsum(parts)
    rows = [model.read(PROMPT[end - n : end]) for n, end in zip(parts, ends, strict=True)]
    np.testing.assert_allclose(np.concatenate(rows), whole, atol=2e-6)
    assert model.length == len(PROMPT)


def test_factors_of_the_rotary_embedding(tmp_path: Path):
    factors = (1.0, 1.5, 4.0, 8.0)
    config = changed(SMALL, factors=factors)
    weights = random_weights(config)
    tensors = weights | {"rope_freqs.weight": np.array(factors, np.float32)}
    path = write_gguf(tmp_path / "a.gguf", fields_of(config), tensors)
    assert load_language_model(path).config.factors == factors
    expected = logits_of(config, weights, PROMPT)
    np.testing.assert_allclose(decoder(path).read(PROMPT), expected, atol=1e-4)
    fields = fields_of(config) | {"llama.rope.scaling.type": "linear"}
    scaled = fields | {"llama.rope.scaling.factor": 2.0}
    path = write_gguf(tmp_path / "b.gguf", scaled, tensors)
    assert load_language_model(path).config.factors == (2.0, 3.0, 8.0, 16.0)


@pytest.mark.parametrize("shards", [1, 3])
def test_a_folder_and_a_file_have_the_same_model(shards: int, tmp_path: Path):
    config = changed(SMALL, pairs="halves")
    weights = random_weights(config)
    folder = write_folder(tmp_path / "model", config, weights, shards=shards)
    found = decoder(folder).read(PROMPT)
    np.testing.assert_allclose(found, logits_of(config, weights, PROMPT), atol=1e-4)
    file = write_gguf(tmp_path / "model.gguf", fields_of(SMALL), permuted(weights, config))
    np.testing.assert_allclose(decoder(file).read(PROMPT), found, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "facts", "own"),
    [
        ("llama", {"tied": True, "biases": QKV | {"output"}}, {"attention_bias": True}),
        ("llama", {"biases": frozenset(("gate", "up", "down"))}, {"mlp_bias": True}),
        ("qwen2", {"biases": QKV}, {"use_sliding_window": False}),
        ("qwen3", {"head_norms": True}, {}),
    ],
)
def test_a_folder_computes_its_architecture(
    kind: str, facts: dict[str, Any], own: dict[str, Any], tmp_path: Path
):
    config = changed(SMALL, pairs="halves", **facts)
    weights = random_weights(config)
    found = decoder(write_folder(tmp_path, config, weights, kind, **own)).read(PROMPT)
    np.testing.assert_allclose(found, logits_of(config, weights, PROMPT), atol=1e-4)


def test_a_longer_context_of_llama3(tmp_path: Path):
    rotation = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    config = changed(SMALL, pairs="halves", base=10000.0)
    folder = write_folder(tmp_path, config, random_weights(config), rope_scaling=rotation)
    factors = load_language_model(folder).config.factors
    assert factors is not None
    # 64 tokens are 10.2 turns of the first pair, 1.02 of the second, 0.1 of the third.
    share = (64 / (2 * np.pi * 10) - 1) / 3
    np.testing.assert_allclose(factors, [1, 1 / (share + (1 - share) / 8), 8, 8])


def test_names_and_shapes_of_the_network(small: Path):
    text = str(load_network(small))
    assert "%past_keys.1: tensor<?x2x8xf32>" in text
    assert "%layers.1.ffn.down = nn.matmul %layers.1.ffn.product" in text
    assert 'inputs = ["tokens", "positions", "past_keys.0", "past_values.0"' in text
    assert 'outputs = ["logits", "present_keys.0"' in text
    assert 'node = "layers.1.ffn.down"' in text


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([], "there are no tokens to read"),
        ([0, 264], "token 264 is none of the model's 264"),
        ([-1], "token -1 is none of the model's 264"),
        ([0] * 65, "65 tokens are more than the model's context, which is of 64"),
    ],
)
def test_what_is_no_prompt_is_told(small: Path, tokens: list[int], message: str):
    with pytest.raises(DaqkfError, match=message):
        decoder(small).read(tokens)


def test_bytes_are_written_as_characters():
    characters = byte_characters()
    assert sorted(characters) == sorted(ByteLevel.alphabet())
    text = "é ÿ\n~日本"
    ((written, _),) = ByteLevel(False, use_regex=False).pre_tokenize_str(text)
    assert written == "".join(characters[byte] for byte in text.encode())


@pytest.fixture(scope="module", params=["file", "folder"])
def codec(
    request: pytest.FixtureRequest, small: Path, tmp_path_factory: pytest.TempPathFactory
) -> TextCodec:
    if request.param == "file":
        return load_language_model(small).text()
    folder = tmp_path_factory.mktemp("folder")
    write_folder(folder, changed(SMALL, pairs="halves"), random_weights(SMALL))
    return load_language_model(folder).text()


@pytest.mark.parametrize(
    "words",
    [
        ["the", " the", " a", " the", "ory"],
        [" a", " café", "é"],
        ["1", "2", " the", "\n"],
        ["日本"],
    ],
)
def test_a_tokeniser_follows_its_merges(codec: TextCodec, words: list[str]):
    text = "".join(words)
    found = codec.encode(text)
    assert [TOKENS[i] for i in found] == [
        token for word in words for token in pair_encoded(word, MERGES)
    ]
    assert found.dtype == np.int64
    assert codec.decode(found) == text


def test_special_tokens_are_whole(codec: TextCodec):
    found = codec.encode("<|user|>the<|end|>")
    assert found.tolist() == [1, TOKENS.index("the"), 0]
    assert codec.decode(found, special=False) == "the"
    assert (codec.begin, codec.ends) == (None, {0})
    assert codec.chat_template == "{{ messages }}"
    assert SPECIAL[0] in codec.decode(found)


def test_an_empty_text_is_told(codec: TextCodec):
    with pytest.raises(ValueError, match="the text is empty"):
        codec.encode("")


def test_a_token_that_begins_texts(tmp_path: Path):
    fields = fields_of(SMALL) | {
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.bos_token_id": 1,
    }
    path = write_gguf(tmp_path / "model.gguf", fields, random_weights(SMALL))
    codec = load_language_model(path).text()
    assert codec.encode("the").tolist() == [1, TOKENS.index("the")]
    assert codec.encode("").tolist() == [1]


def test_configurations_that_no_decoder_has():
    for facts, message in (
        ({"layers": 0}, "a decoder of 0 layers"),
        ({"groups": 3}, "4 heads do not share 3"),
        ({"turning": 9}, "9 of 8 features of a head cannot turn"),
        ({"base": -1.0}, r"base -1\.0"),
        ({"epsilon": np.nan}, "epsilon nan"),
        ({"factors": (1.0,)}, "4 positive factors"),
    ):
        with pytest.raises(ValueError, match=message):
            changed(SMALL, **facts)
    assert isinstance(SMALL, DecoderConfig)
