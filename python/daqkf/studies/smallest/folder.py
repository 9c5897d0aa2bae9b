# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A tokeniser of our own, and a model as a folder of Hugging Face.

`daqkf.lowering.frontends.huggingface` reads such folders, and so does the package `transformers`.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from daqkf.compiler.text_windows import DOCUMENT_END
from daqkf.dialects.errors import from_extra
from daqkf.lowering.frontends.decoder import DecoderConfig
from daqkf.lowering.frontends.huggingface import CONFIG, SINGLE, TENSOR_NAMES, TOKENIZER
from daqkf.passes.files import write_atomically

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END = 0
"""The token of `DOCUMENT_END`."""

_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


def train_tokenizer(documents: Iterable[str], vocabulary: int) -> "Tokenizer":
    """Byte-level pair encoding (Sennrich, Haddow and Birch, 2016), learnt from documents.

    It knows the bytes of ASCII that can be seen, those of the documents, and no others: 256 would
    be half of a small vocabulary.

    Raises:
        ValueError: the documents give another number of tokens than `vocabulary`.
        DaqkfError: the package `tokenizers` is missing.
    """
    with from_extra("lm"):
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[DOCUMENT_END],
        initial_alphabet=list(_PRINTABLE),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    if (found := tokenizer.get_vocab_size()) != vocabulary:
        raise ValueError(f"the documents give {found} tokens, not {vocabulary}")
    return tokenizer


def facts_of(config: DecoderConfig) -> dict[str, Any]:
    """What `config.json` says of an architecture whose text the token `END` ends."""
    return {
        "model_type": "llama",
        "hidden_size": config.width,
        "intermediate_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.groups,
        "head_dim": config.features,
        "vocab_size": config.vocabulary,
        "rms_norm_eps": config.epsilon,
        "max_position_embeddings": config.context,
        "rope_theta": config.base,
        "tie_word_embeddings": config.tied,
        "hidden_act": "silu",
        "eos_token_id": END,
    }


def write_folder(
    path: Path,
    config: DecoderConfig,
    tensors: Mapping[str, NDArray[Any]],
    tokenizer: "Tokenizer",
) -> None:
    """Write a decoder of the architecture `llama`, whose text `DOCUMENT_END` ends.

    Args:
        path: the folder, which is made as needed.
        config: the architecture, with pairs of `halves` and all features turning.
        tensors: by the names of `DecoderConfig.tensors`; matrices are [N, K].
        tokenizer: with `DOCUMENT_END` as its first token.
    """
    from safetensors.numpy import save

    facts = facts_of(config) | {"architectures": ["LlamaForCausalLM"], "torch_dtype": "float32"}
    named = {
        TENSOR_NAMES.of(name): np.ascontiguousarray(array, np.float32)
        for name, array in tensors.items()
    }
    write_atomically(path / SINGLE, save(named, metadata={"format": "pt"}))
    write_atomically(path / TOKENIZER, tokenizer.to_str(pretty=True).encode())
    # The last one, by which a folder is known.
    write_atomically(path / CONFIG, (json.dumps(facts, indent=2) + "\n").encode())
