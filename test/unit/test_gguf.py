# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Files that are no language model, or that lie about themselves, are refused in one line."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from language_models import (
    SMALL,
    TOKENS,
    changed,
    fields_of,
    random_weights,
    write_folder,
    write_gguf,
)

from daqkf.compiler.language_models import load_language_model
from daqkf.dialects.memory import VARIABLE
from daqkf.lowering.frontends.decoder import LanguageModel
from daqkf.lowering.frontends.gguf.file import TYPES, GgufFile
from daqkf.support.errors import describe

TINY = changed(SMALL, layers=1, width=8, hidden=8, heads=2, groups=1, features=4)


def reason(path: Path, use: Callable[[LanguageModel], Any] = LanguageModel.__repr__) -> str:
    """Why a model is refused, without the path that the message begins with."""
    with pytest.raises((ValueError, OSError)) as refused:
        use(load_language_model(path))
    message = describe(refused.value)
    assert "\n" not in message
    assert message.startswith(f"{path}"), message
    return message.removeprefix(str(path)).removeprefix(": ")


def network(model: LanguageModel) -> Any:
    return model.network()


def text(model: LanguageModel) -> Any:
    return model.text()


# Files by the byte.


def string(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def field(name: str | bytes, kind: int, value: bytes) -> bytes:
    return string(name) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    extents = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return string(name) + extents + struct.pack("<IQ", kind, offset)


def file(
    fields: list[bytes],
    tensors: list[bytes] | None = None,
    data: bytes = b"",
    counts: tuple[int, int] | None = None,
    version: int = 3,
) -> bytes:
    tensors = tensors or []
    found = counts or (len(tensors), len(fields))
    head = b"GGUF" + struct.pack("<IQQ", version, *found) + b"".join(fields + tensors)
    return head + bytes(-len(head) % 32) + data


NUMBER, FLOATS = field("a", 4, struct.pack("<I", 7)), bytes(64)
MOST = (1 << 64) - 1

LIES = {
    "an empty file": b"",
    "not a GGUF file": b"GGML" + bytes(60),
    "the header takes 4 bytes, where 2 are left": b"GG",
    "big-endian": file([], version=3 << 24),
    "GGUF of version 1, not 2 or 3": file([], version=1),
    f"{MOST} fields do not fit": file([], counts=(0, MOST)),
    f"{MOST} tensors do not fit": file([], counts=(MOST, 0)),
    "field 'a' is there twice": file([NUMBER, NUMBER]),
    "the name of field 0 takes 18446744073709551615 bytes": file(
        [struct.pack("<Q", MOST) + bytes(32)]
    ),
    "the name of field 0 is not UTF-8": file([field(b"\xff", 4, bytes(4))]),
    "field 'a' is not UTF-8": file([field("a", 8, string(b"\xc3\x28"))]),
    "field 'a' has values of type 99": file([field("a", 99, bytes(8))]),
    "field 'a' has values of type 9": file([field("a", 9, struct.pack("<IQ", 9, 1) + bytes(40))]),
    "field 'a' takes 4611686018427387904 bytes": file(
        [field("a", 9, struct.pack("<IQ", 4, 1 << 60))]
    ),
    "field 'a' has 1152921504606846976 texts": file(
        [field("a", 9, struct.pack("<IQ", 8, 1 << 60))]
    ),
    "general.alignment is no power of two": file([field("general.alignment", 4, bytes(4))]),
    "tensor 'w' is there twice": file([], [tensor("w", (4,)), tensor("w", (4,))], FLOATS),
    "tensor 'w' has 5 dimensions": file([], [tensor("w", (1,) * 5)], FLOATS),
    "tensor 'w' has 0 dimensions": file([], [tensor("w", ())], FLOATS),
    "tensor 'w' has the shape [0, 4], which is empty": file([], [tensor("w", (4, 0))], FLOATS),
    "tensor 'w' is of type 77, which is not read": file([], [tensor("w", (4,), 77)], FLOATS),
    "tensor 'w' is of type IQ2_XXS, which is not read": file(
        [], [tensor("w", (256,), 16)], bytes(66)
    ),
    "tensor 'w' has rows of 33, no multiple of 32": file([], [tensor("w", (33,), 8)], FLOATS),
    "tensor 'w' is at 8, no multiple of 32": file([], [tensor("w", (4,), 0, 8)], FLOATS),
    "tensor 'w' ends at 18446744073709551": file([], [tensor("w", (4,), 0, MOST - 31)], FLOATS),
    "tensor 'w' ends at": file([], [tensor("w", (1 << 40, 1 << 40))], FLOATS),
    "tensors 'w' and 'v' overlap": file([], [tensor("w", (9,)), tensor("v", (4,), 0, 32)], FLOATS),
}


@pytest.mark.parametrize("message", LIES)
def test_a_lie_is_named(message: str, tmp_path: Path):
    path = tmp_path / "lie.gguf"
    path.write_bytes(LIES[message])
    assert reason(path).startswith(message) or message in reason(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "model.gguf"
    write_gguf(path, fields_of(TINY), random_weights(TINY))
    return path.read_bytes()


def test_each_beginning_of_a_file_is_refused(whole: bytes, tmp_path: Path):
    path = tmp_path / "cut.gguf"
    lengths = {*range(64), *range(64, len(whole), 97), len(whole) - 1}
    for length in lengths:
        path.write_bytes(whole[:length])
        assert reason(path)
    path.write_bytes(whole)
    assert load_language_model(path).network()


def test_any_other_byte_is_refused_or_read(whole: bytes, tmp_path: Path):
    """Errors have one line, whatever changes in the part that says what is where."""
    path, rng = tmp_path / "changed.gguf", np.random.default_rng(3)
    refusals: list[str] = []
    for place in rng.integers(0, len(whole), 100):
        data = bytearray(whole)
        data[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        try:
            model = load_language_model(path)
            model.network()
            model.text()
        except ValueError as error:
            refusals.append(str(error))
    assert 0 < len(refusals) < 100
    for message in refusals:
        assert message.startswith(str(path))
        assert "\n" not in message


@pytest.mark.parametrize("kind", TYPES)
def test_numbers_are_those_of_the_package(kind: str, tmp_path: Path):
    """From bytes whose scales are finite; rows are of 512 numbers, and there are 3 of them."""
    own = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[own]
    rng = np.random.default_rng(8)
    raw = rng.integers(0, 60, (3, 512 // block * size), np.uint8)
    path = tmp_path / "numbers.gguf"
    path.write_bytes(file([], [tensor("w", (512, 3), int(own))], raw.tobytes()))
    found = GgufFile(path).read("w")
    assert (found.shape, found.dtype) == ((3, 512), np.float32)
    np.testing.assert_array_equal(found, gguf.dequantize(raw, own))


def test_a_block_of_4_bits_by_hand(tmp_path: Path):
    """Q4_1: a scale and a minimum of float16, then 16 bytes of two numbers each."""
    block = np.array([0.5, -2], np.float16).tobytes() + bytes(range(16, 32))
    path = tmp_path / "block.gguf"
    path.write_bytes(file([], [tensor("w", (32,), 3)], block))
    expected = [0.5 * i - 2 for i in range(16)] + [-1.5] * 16
    np.testing.assert_array_equal(GgufFile(path).read("w"), expected)


# Files that say other things than models do.


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"llama.block_count": None}, "field 'llama.block_count' is missing"),
        ({"llama.block_count": "x"}, "field 'llama.block_count' is not a whole number"),
        ({"llama.attention.head_count": 0}, "a decoder of 0 heads"),
        ({"llama.attention.head_count_kv": [1, 1]}, "head_count_kv' is not a whole number"),
        ({"llama.attention.value_length": 8}, "keys of 4 features, and values of another number"),
        ({"llama.expert_count": 8}, "field 'llama.expert_count' is not known, or not with the"),
        ({"llama.rope.scaling.type": "yarn"}, "'llama.rope.scaling.type' is not known, or not"),
        ({"llama.something": 1}, "field 'llama.something' is not known"),
        ({"llama.rope.freq_base": float("nan")}, "a rotary embedding of base nan"),
    ],
)
def test_fields_that_do_not_fit(facts: dict[str, Any], message: str, tmp_path: Path):
    fields = {k: v for k, v in (fields_of(TINY) | facts).items() if v is not None}
    path = write_gguf(tmp_path / "model.gguf", fields, random_weights(TINY))
    assert message in reason(path)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"llama.block_count": 0x7FFFFFFF}, "2147483647 layers, but 12 tensors"),
        ({"llama.block_count": 2}, "no tensor 'blk.1.attn_norm.weight'"),
        ({"llama.embedding_length": 12}, "tensor 'token_embd.weight' has the shape [264, 8], not"),
        ({"llama.vocab_size": 263}, "tensor 'token_embd.weight' has the shape [264, 8], not"),
    ],
)
def test_tensors_that_do_not_fit(facts: dict[str, Any], message: str, tmp_path: Path):
    path = write_gguf(tmp_path / "model.gguf", fields_of(TINY) | facts, random_weights(TINY))
    assert reason(path, network).startswith(message)


def test_an_unknown_architecture_is_named(tmp_path: Path):
    path = write_gguf(tmp_path / "m.gguf", fields_of(TINY), random_weights(TINY), "mamba")
    assert reason(path) == "the architecture 'mamba' is not read (known: llama, qwen2, qwen3)"


def test_tensors_too_many_and_not_finite(tmp_path: Path):
    weights = random_weights(TINY)
    path = write_gguf(
        tmp_path / "a.gguf",
        fields_of(TINY),
        weights | {"layers.0.attention.query_norm.weight": np.ones(4, np.float32)},
    )
    expected = "tensor 'blk.0.attn_q_norm.weight' is none that this architecture has"
    assert reason(path, network) == expected
    weights["layers.0.ffn.up.weight"][3, 5] = np.nan
    path = write_gguf(tmp_path / "b.gguf", fields_of(TINY), weights)
    assert reason(path, network) == "tensor 'blk.0.ffn_up.weight' has nan at [3, 5]"


def test_a_model_that_does_not_fit_memory(
    tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "model.gguf"
    path.write_bytes(whole)
    monkeypatch.setenv(VARIABLE, "20K")
    assert reason(path, network).startswith("a model of this size takes 34.6 KiB of memory")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"model": "llama"}, "a tokeniser of kind 'llama', which is not read (known: gpt2)"),
        ({"model": None}, "field 'tokenizer.ggml.model' is missing"),
        ({"model": 3}, "field 'tokenizer.ggml.model' is not a text"),
        ({"pre": "new"}, "a tokeniser that splits as 'new', which is not known (gpt-2, smollm,"),
        ({"tokens": list(TOKENS[:-1])}, "263 tokens, but the model knows 264"),
        ({"tokens": [*TOKENS[:-1], "a"]}, "token 'a' is there twice"),
        ({"tokens": [*TOKENS[:-1], ""]}, "a token without text"),
        ({"merges": ["t h", "th"]}, "the merge 'th' has '', which is no token"),
        ({"merges": ["t h", "t i"]}, "the merge 't i' has 'ti', which is no token"),
        ({"merges": [1]}, "field 'tokenizer.ggml.merges' is not of texts"),
        ({"token_type": [1]}, "1 types of 264 tokens"),
        ({"token_type": ["1"]}, "field 'tokenizer.ggml.token_type' is not of integers"),
        ({"eos_token_id": 264}, "'tokenizer.ggml.eos_token_id' is 264, which is none of 264"),
    ],
)
def test_a_tokeniser_with_holes(facts: dict[str, Any], message: str, tmp_path: Path):
    own = {f"tokenizer.ggml.{name}": value for name, value in facts.items()}
    fields = {k: v for k, v in (fields_of(TINY) | own).items() if v is not None}
    path = write_gguf(tmp_path / "model.gguf", fields, random_weights(TINY))
    assert message in reason(path, text)
    assert load_language_model(path).network()  # which needs no tokeniser


def test_a_byte_without_a_token(tmp_path: Path):
    tokens = ["~~~" if token == "q" else token for token in TOKENS]
    fields = fields_of(TINY) | {"tokenizer.ggml.tokens": tokens}
    codec = load_language_model(
        write_gguf(tmp_path / "model.gguf", fields, random_weights(TINY))
    ).text()
    assert codec.missing == {ord("q")}
    with pytest.raises(ValueError, match="no token for byte 0x71 of the text"):
        codec.encode("a quick one")
    assert codec.decode(codec.encode("a one")) == "a one"
    write_folder(tmp_path, changed(TINY, pairs="halves"), random_weights(TINY))
    assert load_language_model(tmp_path).text().missing == frozenset()
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text().replace('"q": ', '"~~~": ').replace('"q":', '"~~~":'))
    assert load_language_model(tmp_path).text().missing == {ord("q")}


# Folders.


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"model_type": "mamba"}, "the architecture 'mamba' is not read (known: llama, qwen2"),
        ({"hidden_size": None}, "'hidden_size' is missing"),
        ({"hidden_size": "8"}, "'hidden_size' is not a whole number"),
        ({"rms_norm_eps": []}, "'rms_norm_eps' is not a number"),
        ({"rope_theta": 10**400}, "'rope_theta' is 1000"),
        ({"tie_word_embeddings": 1}, "'tie_word_embeddings' is neither true nor false"),
        ({"hidden_act": "gelu"}, "'hidden_act' is not supported with the value gelu"),
        ({"quantization_config": {}}, "'quantization_config' is not supported"),
        ({"rope_scaling": [1]}, "'rope_scaling' is not an object of JSON"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "a rotary embedding of type 'yarn' is not read"),
        ({"rope_scaling": {"rope_type": "linear"}}, "'factor' is missing"),
    ],
)
def test_configurations_that_do_not_fit(facts: dict[str, Any], message: str, tmp_path: Path):
    write_folder(tmp_path, TINY, random_weights(TINY), **facts)
    assert message in reason(tmp_path)


def test_files_of_a_folder_that_are_damaged(tmp_path: Path):
    config = changed(TINY, pairs="halves")
    weights = random_weights(config)

    def damaged(name: str, data: bytes | None, use: Callable[[LanguageModel], Any]) -> str:
        write_folder(tmp_path, config, weights, shards=2)
        place = tmp_path / name
        place.unlink(missing_ok=True)
        if data is not None:
            place.write_bytes(data)
        return reason(tmp_path, use)

    assert "config.json: not readable as JSON (" in damaged("config.json", b"{", network)
    assert "not an object of JSON" in damaged("config.json", b"[1]", network)
    assert "not readable as JSON" in damaged("config.json", b"[" * 100_000, network)
    shard = "model-00001-of-00002.safetensors"
    assert f"{shard}: not readable as safetensors" in damaged(shard, b"\x01" * 40, network)
    assert f"{shard}: No such file" in damaged(shard, None, network)
    index = "model.safetensors.index.json"
    assert "no object 'weight_map'" in damaged(index, b"{}", network)
    outside = json.dumps({"weight_map": {"model.norm.weight": "../x"}}).encode()
    assert "'../x' is not the name of a file" in damaged(index, outside, network)
    absent = json.dumps({"weight_map": {"x": shard}}).encode()
    assert f"'{shard}' has no tensor 'x'" in damaged(index, absent, network)
    assert "model.safetensors: No such file" in damaged(index, None, network)
    assert "tokenizer.json: No such file" in damaged("tokenizer.json", None, text)
    assert "not readable as a tokeniser" in damaged("tokenizer.json", b"{}", text)


def test_other_paths_are_no_models(tmp_path: Path):
    expected = "no language model: a .gguf file, or a folder with config.json"
    assert reason(tmp_path) == expected
    assert reason(tmp_path / "model.onnx") == expected
    path = tmp_path / "model.gguf"
    assert reason(path) == "No such file or directory"
    path.symlink_to("/dev/null")
    assert reason(path) == "not a regular file"
    path.unlink()
    path.mkdir()
    assert reason(path) == "Is a directory"
