# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Language models in GGUF files → `nn`.

What the fields and tensors of an architecture mean is written down in llama.cpp's
`llama-arch.cpp` and `llama-model.cpp`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xdsl.dialects.builtin import ModuleOp

from daqkf.lowering.frontends.decoder import (
    PRODUCTS,
    DecoderConfig,
    LanguageModel,
    TensorNames,
    Tensors,
    import_decoder,
    naming,
)
from daqkf.lowering.frontends.gguf.file import GgufFile
from daqkf.lowering.frontends.gguf.tokenizer import read_tokenizer


@dataclass(frozen=True)
class _Architecture:
    """What makes architectures differ that are alike in all the rest."""

    pairs: str
    """Of rotary embeddings. The converter to GGUF permutes LLaMA's queries and keys for it."""
    head_norms: bool = False


ARCHITECTURES = {
    "llama": _Architecture("neighbours"),
    "qwen2": _Architecture("halves"),
    "qwen3": _Architecture("halves", head_norms=True),
}
"""Those that are read, by their names in files."""

_FACTORS = "rope_freqs.weight"
"""The tensor of what frequencies are divided by."""

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "attention.causal": (True,),
    "attention.scale": (0.0,),
    "attention.sliding_window": (0,),
    "embedding_scale": (0.0, 1.0),
    "expert_count": (0,),
    "expert_used_count": (0,),
    "logit_scale": (0.0, 1.0),
    "residual_scale": (0.0, 1.0),
    "rope.scaling.attn_factor": (0.0, 1.0),
    "rope.scaling.type": ("none", "linear"),
}
"""Fields that would change what a model computes, and their values that do not."""

_KNOWN = frozenset(
    (
        *("attention.head_count", "attention.head_count_kv", "attention.key_length"),
        *("attention.layer_norm_rms_epsilon", "attention.value_length", "block_count"),
        *("context_length", "embedding_length", "feed_forward_length", "rope.dimension_count"),
        *("rope.freq_base", "rope.scaling.factor", "rope.scaling.finetuned"),
        *("rope.scaling.original_context_length", "tensor_data_layout", "vocab_size"),
    )
)
"""Fields of an architecture that are heeded, or that change nothing here."""

TENSOR_NAMES = TensorNames(
    layers="blk",
    layer={
        "attention.norm": "attn_norm",
        "attention.query": "attn_q",
        "attention.key": "attn_k",
        "attention.value": "attn_v",
        "attention.output": "attn_output",
        "attention.query_norm": "attn_q_norm",
        "attention.key_norm": "attn_k_norm",
        "ffn.norm": "ffn_norm",
        "ffn.gate": "ffn_gate",
        "ffn.up": "ffn_up",
        "ffn.down": "ffn_down",
    },
    outer={"embedding": "token_embd", "norm": "output_norm", "output": "output"},
)
"""What GGUF calls tensors."""


def open_gguf(path: Path) -> LanguageModel:
    """The language model in a GGUF file.

    Raises:
        ValueError: no such file, a damaged one, an architecture that is not read, or tensors that
            do not fit it; the message begins with the path.
        OSError: it cannot be read.
        DaqkfError: a package of the extra `lm` is missing.
    """
    file = GgufFile(path)
    with naming(path):
        config = _config(file)

    def network() -> ModuleOp:
        shapes = {name: tensor.shape for name, tensor in file.tensors.items()}
        shapes.pop(_FACTORS, None)
        with naming(path):
            return import_decoder(config, Tensors(shapes, file.read, TENSOR_NAMES.of))

    def text() -> Any:
        with naming(path):
            return read_tokenizer(file.fields, config.vocabulary)

    return LanguageModel(config, network, text)


def read_gguf(path: Path) -> ModuleOp:
    """The network of a language model in a GGUF file; raises as `open_gguf` does."""
    return open_gguf(path).network()


class _Fields:
    """The fields of a file's architecture."""

    def __init__(self, file: GgufFile):
        name = file.fields.get("general.architecture")
        if not isinstance(name, str) or name not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise ValueError(f"the architecture '{name}' is not read (known: {known})")
        self.architecture = ARCHITECTURES[name]
        self._fields, self._name = file.fields, name
        for key, value in file.fields.items():
            own = key.removeprefix(f"{name}.")
            if own == key or own in _KNOWN:
                continue
            if not isinstance(value, str | int | float) or value not in _NEUTRAL.get(own, ()):
                raise ValueError(f"field '{key}' is not known, or not with the value {value}")

    def get(self, name: str) -> Any:
        """The field, if it is there."""
        return self._fields.get(f"{self._name}.{name}")

    def count(self, name: str, default: int | None = None) -> int:
        """A whole number."""
        found = self.get(name)
        if found is None and default is not None:
            return default
        if not isinstance(found, int) or isinstance(found, bool):
            raise self._wrong(name, found, "a whole number")
        return found

    def number(self, name: str, default: float | None = None) -> float:
        """A number."""
        found = self.get(name)
        if found is None and default is not None:
            return default
        if not isinstance(found, int | float) or isinstance(found, bool):
            raise self._wrong(name, found, "a number")
        return float(found)

    def _wrong(self, name: str, found: Any, expected: str) -> ValueError:
        if found is None:
            return ValueError(f"field '{self._name}.{name}' is missing")
        return ValueError(f"field '{self._name}.{name}' is not {expected}")


def _config(file: GgufFile) -> DecoderConfig:
    """The architecture that the fields and the names of tensors say."""
    fields = _Fields(file)
    heads, width = fields.count("attention.head_count"), fields.count("embedding_length")
    features = fields.count("attention.key_length", width // heads if heads > 0 else 0)
    if fields.count("attention.value_length", features) != features:
        raise ValueError(f"keys of {features} features, and values of another number")
    turning = fields.count("rope.dimension_count", features)
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None:
        raise ValueError("no tensor 'token_embd.weight'")
    vocabulary = fields.count("vocab_size", embedding.shape[0])
    first = {name: TENSOR_NAMES.of(f"layers.0.{_part(name)}.bias") for name in PRODUCTS}
    return DecoderConfig(
        layers=fields.count("block_count"),
        width=width,
        hidden=fields.count("feed_forward_length"),
        heads=heads,
        groups=fields.count("attention.head_count_kv", heads),
        features=features,
        vocabulary=vocabulary,
        epsilon=fields.number("attention.layer_norm_rms_epsilon"),
        context=fields.count("context_length"),
        base=fields.number("rope.freq_base", 10000.0),
        pairs=fields.architecture.pairs,
        turning=None if turning == features else turning,
        factors=_factors(file, fields, turning),
        tied="output.weight" not in file.tensors,
        biases=frozenset(name for name, tensor in first.items() if tensor in file.tensors),
        head_norms=fields.architecture.head_norms,
    )


def _part(product: str) -> str:
    return f"{'ffn' if product in ('gate', 'up', 'down') else 'attention'}.{product}"


def _factors(file: GgufFile, fields: _Fields, turning: int) -> tuple[float, ...] | None:
    """What the frequencies of the rotary embedding are divided by."""
    scale = fields.number("rope.scaling.factor", 1.0)
    linear = fields.get("rope.scaling.type") == "linear" or (
        fields.get("rope.scaling.type") is None and scale not in (0.0, 1.0)
    )
    tensor = file.tensors.get(_FACTORS)
    if tensor is None and not linear:
        return None
    if not 0 < turning < 1 << 16:
        raise ValueError(f"{turning} features of a head cannot turn")
    if tensor is not None and tensor.shape != (turning // 2,):
        raise ValueError(f"tensor '{_FACTORS}' has the shape {list(tensor.shape)}")
    parts = [1.0] * (turning // 2) if tensor is None else file.read(_FACTORS).tolist()
    return tuple(part * (scale if linear else 1.0) for part in parts)
