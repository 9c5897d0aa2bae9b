# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Language models in folders of Hugging Face → `nn`.

A folder has `config.json`, the tensors in `model.safetensors`, or in several files that
`model.safetensors.index.json` names, and the tokeniser in `tokenizer.json`. What the keys of the
configuration mean is written down in the package `transformers`, in `configuration_llama.py`,
`configuration_qwen2.py`, `configuration_qwen3.py` and `modeling_rope_utils.py`.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from daqkf.dialects.errors import from_extra
from daqkf.lowering.frontends.decoder import (
    PRODUCTS,
    DecoderConfig,
    LanguageModel,
    TensorNames,
    Tensors,
    import_decoder,
    naming,
)
from daqkf.lowering.frontends.safetensors_files import SafetensorsFile
from daqkf.lowering.frontends.text import TextCodec, missing_bytes, parse_tokenizer
from daqkf.passes.array_files import reading

CONFIG = "config.json"

_INDEX = "model.safetensors.index.json"

SINGLE, TOKENIZER = "model.safetensors", "tokenizer.json"
"""The tensors, if they are in one file, and the tokeniser."""

MODEL_TYPES = ("llama", "qwen2", "qwen3")
"""Those that are read."""

_LONGEST = 256 << 20
"""Bytes of a JSON file, of which tokenisers have some ten millions."""

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu", "swish"),
    "quantization_config": (None,),
    "use_sliding_window": (False, None),
}
"""Keys that would change what a model computes, and their values that do not."""

TENSOR_NAMES = TensorNames(
    layers="model.layers",
    layer={
        "attention.norm": "input_layernorm",
        "attention.query": "self_attn.q_proj",
        "attention.key": "self_attn.k_proj",
        "attention.value": "self_attn.v_proj",
        "attention.output": "self_attn.o_proj",
        "attention.query_norm": "self_attn.q_norm",
        "attention.key_norm": "self_attn.k_norm",
        "ffn.norm": "post_attention_layernorm",
        "ffn.gate": "mlp.gate_proj",
        "ffn.up": "mlp.up_proj",
        "ffn.down": "mlp.down_proj",
    },
    outer={"embedding": "model.embed_tokens", "norm": "model.norm", "output": "lm_head"},
)
"""What such a folder calls tensors."""

_HEAD = "lm_head.weight"


def open_folder(path: Path) -> LanguageModel:
    """The language model in a folder.

    Raises:
        ValueError: a file is missing or damaged, the architecture is not read, or tensors do not
            fit it; the message begins with the path of the file.
        OSError: a file cannot be read.
    """
    if not path.is_dir():
        raise ValueError(f"{path}: not a folder with {CONFIG}")
    facts = _json(path / CONFIG)
    with naming(path / CONFIG):
        config = _config(facts)

    def network() -> ModuleOp:
        files = _files(path)
        shapes = {name: file.shape(name) for name, file in files.items()}
        if config.tied:
            shapes.pop(_HEAD, None)  # some writers store the embedding twice
        tensors = Tensors(shapes, lambda name: files[name].read(name), TENSOR_NAMES.of)
        with naming(path):
            return import_decoder(config, tensors)

    return LanguageModel(config, network, lambda: _text(path, facts, config.vocabulary))


def read_folder(path: Path) -> ModuleOp:
    """The network of a language model in a folder; raises as `open_folder` does."""
    return open_folder(path).network()


def _json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ValueError: it is none; the message begins with the path.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(_LONGEST + 1)
    with naming(path):
        if len(data) > _LONGEST:
            raise ValueError(f"longer than {_LONGEST >> 20} MiB")
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"not readable as JSON ({error})") from None
        if not isinstance(found, dict):
            raise ValueError("not an object of JSON")
    return found


class _Facts:
    """The keys of a configuration."""

    def __init__(self, facts: Mapping[str, Any]):
        self._facts = facts

    def get(self, name: str) -> Any:
        """A key, if it is there and not null."""
        return self._facts.get(name)

    def count(self, name: str, default: int | None = None) -> int:
        """A whole number."""
        found = self._found(name, default)
        if not isinstance(found, int) or isinstance(found, bool):
            raise ValueError(f"'{name}' is not a whole number")
        return found

    def number(self, name: str, default: float | None = None) -> float:
        """A number."""
        found = self._found(name, default)
        if not isinstance(found, int | float) or isinstance(found, bool):
            raise ValueError(f"'{name}' is not a number")
        try:
            return float(found)
        except OverflowError:
            raise ValueError(f"'{name}' is {found}") from None

    def flag(self, name: str, default: bool) -> bool:
        """Whether something is so."""
        found = self._found(name, default)
        if not isinstance(found, bool):
            raise ValueError(f"'{name}' is neither true nor false")
        return found

    def _found(self, name: str, default: Any) -> Any:
        found = self._facts.get(name)
        found = default if found is None else found
        if found is None:
            raise ValueError(f"'{name}' is missing")
        return found


def _config(facts: Mapping[str, Any]) -> DecoderConfig:
    """The architecture that a configuration says."""
    kind = facts.get("model_type")
    if kind not in MODEL_TYPES:
        raise ValueError(f"the architecture '{kind}' is not read (known: {', '.join(MODEL_TYPES)})")
    for name, values in _NEUTRAL.items():
        if name in facts and facts[name] not in values:
            raise ValueError(f"'{name}' is not supported with the value {facts[name]}")
    found = _Facts(facts)
    heads, width = found.count("num_attention_heads"), found.count("hidden_size")
    features = found.count("head_dim", width // heads if heads > 0 else 0)
    rotation = facts.get("rope_parameters") or facts.get("rope_scaling") or {}
    if not isinstance(rotation, dict):
        raise ValueError("'rope_scaling' is not an object of JSON")
    rotation = _Facts(rotation)
    base = rotation.number("rope_theta", found.number("rope_theta", 10000.0))
    return DecoderConfig(
        layers=found.count("num_hidden_layers"),
        width=width,
        hidden=found.count("intermediate_size"),
        heads=heads,
        groups=found.count("num_key_value_heads", heads),
        features=features,
        vocabulary=found.count("vocab_size"),
        epsilon=found.number("rms_norm_eps", 1e-6),
        context=found.count("max_position_embeddings"),
        base=base,
        factors=_factors(rotation, base, features),
        tied=found.flag("tie_word_embeddings", False),
        biases=_biases(str(kind), found),
        head_norms=kind == "qwen3",
    )


def _biases(kind: str, found: _Facts) -> frozenset[str]:
    """The products of a layer that add a bias."""
    if kind == "qwen2":
        return frozenset(PRODUCTS[:3])
    biases = PRODUCTS[:4] if found.flag("attention_bias", False) else ()
    return frozenset(biases + (PRODUCTS[4:] if found.flag("mlp_bias", False) else ()))


def _factors(rotation: _Facts, base: float, features: int) -> tuple[float, ...] | None:
    """What the frequencies of the rotary embedding are divided by.

    That of "llama3" leaves fast pairs, divides slow ones, and goes from one to the other between.
    """
    kind = rotation.get("rope_type") or rotation.get("type") or "default"
    if kind == "default":
        return None
    if kind not in ("linear", "llama3"):
        raise ValueError(f"a rotary embedding of type '{kind}' is not read (linear, llama3)")
    factor = rotation.number("factor")
    pairs = features // 2
    if not (0 < pairs < 1 << 16 and base > 0 and factor > 0):
        raise ValueError(f"a rotary embedding of {features} features, base {base}, factor {factor}")
    if kind == "linear":
        return (factor,) * pairs
    low, high = rotation.number("low_freq_factor"), rotation.number("high_freq_factor")
    context = rotation.count("original_max_position_embeddings")
    if not (0 < low < high and 0 < context < 1 << 31):
        raise ValueError("a rotary embedding of type 'llama3' has factors and a context above 0")
    # Turns of each pair in the context that the model was trained with at first.
    turns = context / (2 * math.pi) * base ** (-np.arange(pairs) / pairs)
    share = np.clip((turns - low) / (high - low), 0, 1)
    return tuple((1 / (share + (1 - share) / factor)).tolist())


def _files(path: Path) -> dict[str, SafetensorsFile]:
    """The file of each tensor."""
    index = path / _INDEX
    if not index.is_file():
        single = SafetensorsFile(path / SINGLE)
        return dict.fromkeys(sorted(single.names), single)
    places = _json(index).get("weight_map")
    with naming(index):
        if not isinstance(places, dict) or not places:
            raise ValueError("no object 'weight_map'")
        for file in places.values():
            if not isinstance(file, str) or Path(file).name != file or file in ("", ".", ".."):
                raise ValueError(f"{file!r} is not the name of a file in the folder")
    opened = {file: SafetensorsFile(path / file) for file in sorted(set(places.values()))}
    for name, file in places.items():
        if name not in opened[file].names:
            raise ValueError(f"{index}: '{file}' has no tensor '{name}'")
    return {name: opened[file] for name, file in places.items()}


def _text(path: Path, facts: Mapping[str, Any], vocabulary: int) -> TextCodec:
    """The tokeniser of a folder."""
    with from_extra("lm"):
        from tokenizers import decoders

    file = path / TOKENIZER
    tokenizer = parse_tokenizer(file.read_bytes(), file, vocabulary)
    tokens = tokenizer.get_vocab(with_added_tokens=True)
    beside = path / "tokenizer_config.json"
    own = _json(beside) if beside.is_file() else {}
    template = own.get("chat_template")
    apart = path / "chat_template.jinja"
    if apart.is_file():
        with reading(apart, "a text"):
            template = apart.read_text(encoding="utf-8")
    ends = facts.get("eos_token_id")
    ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
    for token in ends:
        if not isinstance(token, int) or not 0 <= token < vocabulary:
            raise ValueError(f"{path / CONFIG}: 'eos_token_id' is {ends}")
    return TextCodec(
        tokenizer,
        _begin(tokenizer),
        frozenset(ends),
        template if isinstance(template, str) else None,
        missing_bytes(tokens) if isinstance(tokenizer.decoder, decoders.ByteLevel) else frozenset(),
    )


def _begin(tokenizer: Any) -> int | None:
    """The token that a tokeniser puts before texts, if it is one and does so.

    Raises:
        ValueError: it puts something else around texts.
    """
    plain, whole = (tokenizer.encode("a", add_special_tokens=added).ids for added in (False, True))
    if whole == plain:
        return None
    if whole[1:] == plain:
        return whole[0]
    raise ValueError("the tokeniser puts more than one token before texts")
