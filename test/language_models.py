# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Small random decoders: as files, and as NumPy that knows nothing of the compiler."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from daqkf.lowering.frontends import huggingface
from daqkf.lowering.frontends.decoder import DecoderConfig
from daqkf.lowering.frontends.gguf.module import TENSOR_NAMES
from daqkf.lowering.frontends.text import byte_characters
from daqkf.studies.minilm.model import ModelNotFoundError
from daqkf.studies.smallest.folder import facts_of
from daqkf.studies.smollm2.packaged import find_smollm2

Weights = dict[str, NDArray[np.float32]]


def smollm2_or_skip() -> Path:
    """The file of SmolLM2; without its package the test is skipped, which `make venv` installs."""
    try:
        return find_smollm2()
    except ModelNotFoundError as error:
        pytest.skip(str(error))


SPECIAL = ("<|end|>", "<|user|>")
MERGES = ("t h", "th e", "Ġ the", "Ġ a", "1 2", "Ã ©")
TOKENS = (*SPECIAL, *byte_characters(), *(merge.replace(" ", "") for merge in MERGES))

TEXT = "the the 12é a the thé 1 2 12 a\n" * 12
"""A text that the tokeniser has tokens for."""

SMALL = DecoderConfig(
    layers=2,
    width=32,
    hidden=48,
    heads=4,
    groups=2,
    features=8,
    vocabulary=len(TOKENS),
    epsilon=1e-5,
    context=64,
    base=1000.0,
    pairs="neighbours",
)


def random_weights(config: DecoderConfig, seed: int = 1) -> Weights:
    """Weights by the names of `DecoderConfig.tensors`."""
    rng = np.random.default_rng(seed)
    found: Weights = {}
    for name, shape in config.tensors():
        numbers = rng.standard_normal(shape) / np.sqrt(shape[-1])
        found[name] = (numbers + ("norm" in name)).astype(np.float32)
    return found


def logits_of(config: DecoderConfig, weights: Weights, tokens: Any) -> NDArray[np.float64]:
    """The logits [T, vocabulary] of tokens, one token and one head after the other, in float64."""
    w = {name: array.astype(np.float64) for name, array in weights.items()}
    turning = config.turning or config.features
    speeds = config.base ** (-2.0 * np.arange(turning // 2) / turning)
    speeds = speeds / np.array(config.factors or [1.0])

    def norm(x: Any, name: str) -> Any:
        return x / np.sqrt((x**2).mean() + config.epsilon) * w[f"{name}.weight"]

    def linear(x: Any, name: str) -> Any:
        return w[f"{name}.weight"] @ x + w.get(f"{name}.bias", 0.0)

    def turned(x: Any, position: int) -> Any:
        """A head, whose pairs are complex numbers that are multiplied by one of length 1."""
        first = range(0, turning, 2) if config.pairs == "neighbours" else range(turning // 2)
        step = 1 if config.pairs == "neighbours" else turning // 2
        y = x.copy()
        for i, place in enumerate(first):
            number = complex(x[place], x[place + step]) * np.exp(1j * position * speeds[i])
            y[place], y[place + step] = number.real, number.imag
        return y

    caches: list[tuple[list[Any], list[Any]]] = [([], []) for _ in range(config.layers)]
    rows: list[Any] = []
    for position, token in enumerate(tokens):
        x = w["embedding.weight"][token]
        for i, (keys, values) in enumerate(caches):
            layer = f"layers.{i}.attention"
            h = norm(x, f"{layer}.norm")
            heads = {
                part: linear(h, f"{layer}.{part}").reshape(-1, config.features)
                for part in ("query", "key", "value")
            }
            for part in ("query", "key"):
                if config.head_norms:
                    heads[part] = np.array([norm(y, f"{layer}.{part}_norm") for y in heads[part]])
                heads[part] = np.array([turned(y, position) for y in heads[part]])
            keys.append(heads["key"])
            values.append(heads["value"])
            results: list[Any] = []
            for head, query in enumerate(heads["query"]):
                group = head * config.groups // config.heads
                scores = np.array([key[group] @ query for key in keys]) / config.features**0.5
                shares = np.exp(scores - scores.max())
                shares /= shares.sum()
                results.append(sum(p * v[group] for p, v in zip(shares, values, strict=True)))
            x = x + linear(np.concatenate(results), f"{layer}.output")
            h = norm(x, f"layers.{i}.ffn.norm")
            gate = linear(h, f"layers.{i}.ffn.gate")
            h = gate / (1 + np.exp(-gate)) * linear(h, f"layers.{i}.ffn.up")
            x = x + linear(h, f"layers.{i}.ffn.down")
        matrix = w["embedding.weight" if config.tied else "output.weight"]
        rows.append(matrix @ norm(x, "norm"))
    return np.array(rows)


def fields_of(config: DecoderConfig, architecture: str = "llama") -> dict[str, Any]:
    """The fields of a GGUF file with such a decoder."""
    own = {
        "block_count": config.layers,
        "context_length": config.context,
        "embedding_length": config.width,
        "feed_forward_length": config.hidden,
        "attention.head_count": config.heads,
        "attention.head_count_kv": config.groups,
        "attention.key_length": config.features,
        "attention.value_length": config.features,
        "attention.layer_norm_rms_epsilon": config.epsilon,
        "rope.freq_base": config.base,
        "rope.dimension_count": config.turning or config.features,
        "vocab_size": config.vocabulary,
    }
    return {
        **{f"{architecture}.{name}": value for name, value in own.items()},
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": list(TOKENS),
        "tokenizer.ggml.token_type": [3 if token in SPECIAL else 1 for token in TOKENS],
        "tokenizer.ggml.merges": list(MERGES),
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.chat_template": "{{ messages }}",
    }


def write_gguf(
    path: Path,
    fields: Mapping[str, Any],
    weights: Weights,
    architecture: str = "llama",
    kind: str = "F32",
) -> Path:
    """A GGUF file by the package's writer; matrices are of a type, where their rows allow it."""
    writer = gguf.GGUFWriter(path, architecture)
    for name, value in fields.items():
        match value:
            case bool():
                writer.add_bool(name, value)
            case int():
                writer.add_uint32(name, value)
            case float():
                writer.add_float32(name, value)
            case str():
                writer.add_string(name, value)
            case _:
                writer.add_array(name, value)
    for name, array in weights.items():
        called = name if name == "rope_freqs.weight" else TENSOR_NAMES.of(name)
        own = gguf.GGMLQuantizationType[kind if array.ndim > 1 else "F32"]
        writer.add_tensor(called, gguf.quantize(array, own), raw_dtype=own)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_folder(
    path: Path,
    config: DecoderConfig,
    weights: Weights,
    kind: str = "llama",
    shards: int = 1,
    **facts: Any,
) -> Path:
    """A folder of Hugging Face, whose tensors are in so many files."""
    path.mkdir(exist_ok=True)
    known = facts_of(config) | {"model_type": kind}
    (path / "config.json").write_text(json.dumps(known | facts))
    tensors = {huggingface.TENSOR_NAMES.of(name): array for name, array in weights.items()}
    if shards == 1:
        save_file(tensors, path / "model.safetensors")
    else:
        places = {
            name: f"model-{i % shards + 1:05}-of-{shards:05}.safetensors"
            for i, name in enumerate(tensors)
        }
        for file in set(places.values()):
            own = {name: array for name, array in tensors.items() if places[name] == file}
            save_file(own, path / file)
        index = json.dumps({"metadata": {}, "weight_map": places})
        (path / "model.safetensors.index.json").write_text(index)
    tokenizer = Tokenizer(
        models.BPE(
            {token: i for i, token in enumerate(TOKENS)},
            [tuple(merge.split(" ")) for merge in MERGES],  # type: ignore[misc]
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # type: ignore[assignment]
        [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    tokenizer.save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    return path


def permuted(weights: Weights, config: DecoderConfig) -> Weights:
    """Queries and keys whose halves became neighbours, as the converter to GGUF does it."""
    found = dict(weights)
    for i in range(config.layers):
        for part, heads in (("query", config.heads), ("key", config.groups)):
            name = f"layers.{i}.attention.{part}.weight"
            split = weights[name].reshape(heads, 2, config.features // 2, -1)
            found[name] = split.swapaxes(1, 2).reshape(weights[name].shape)
    return found


def changed(config: DecoderConfig, **facts: Any) -> DecoderConfig:
    """The architecture with other facts."""
    return DecoderConfig(**asdict(config) | facts)


def pair_encoded(text: str, merges: Sequence[str]) -> list[str]:
    """Byte-level pair encoding by its rules: the merge that comes first in the list goes first."""
    ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(merges)}
    ((characters, _),) = pre_tokenizers.ByteLevel(False, use_regex=False).pre_tokenize_str(text)
    parts = list(characters)
    while True:
        pairs = [(ranks[pair], i) for i, pair in enumerate(pairwise(parts)) if pair in ranks]
        if not pairs:
            return parts
        _, i = min(pairs)
        parts = [*parts[:i], parts[i] + parts[i + 1], *parts[i + 2 :]]
