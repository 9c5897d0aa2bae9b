# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The tokeniser in the fields of a GGUF file, as an object of the package `tokenizers`.

Byte-level pair encoding (Sennrich et al., "Neural Machine Translation of Rare Words with Subword
Units", 2016; `tokenizer.ggml.model` is "gpt2"). How a text is split before tokens are merged is
named by `tokenizer.ggml.pre`, and nowhere described in the file; llama.cpp has the patterns that
the names mean in `llama-vocab.cpp`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from daqkf.dialects.errors import from_extra
from daqkf.lowering.frontends.text import TextCodec, missing_bytes

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_MODEL = "gpt2"

_GPT2, _DIGITS = "gpt2", "digits"

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

SPLITS = {
    "gpt-2": _GPT2,
    "smollm": _DIGITS,
    "starcoder": _DIGITS,
    "refact": _DIGITS,
    "llama-bpe": _LLAMA3,
    "qwen2": _LLAMA3.replace("{1,3}", ""),
}
"""How texts are split, by what files call it: GPT-2's way, the same after each digit was made a
part of its own, or a pattern of parts."""

_WHOLE = frozenset(("llama-bpe",))
"""Kinds of tokenisers in which a part that is a token is not merged of others."""

_CONTROL, _USER_DEFINED = 3, 4
"""Of `tokenizer.ggml.token_type`."""


def read_tokenizer(fields: Mapping[str, Any], vocabulary: int) -> TextCodec:
    """The tokeniser in the fields of a file.

    Args:
        fields: of the file, by name.
        vocabulary: tokens that the model knows.

    Raises:
        ValueError: a field is missing, or is not what it should be; or an unknown kind of
            tokeniser, which is named.
        DaqkfError: the package `tokenizers` is missing.
    """
    model = _text(fields, "tokenizer.ggml.model")
    if model != _MODEL:
        raise ValueError(f"a tokeniser of kind '{model}', which is not read (known: {_MODEL})")
    split = _text(fields, "tokenizer.ggml.pre")
    if split not in SPLITS:
        known = ", ".join(SPLITS)
        raise ValueError(f"a tokeniser that splits as '{split}', which is not known ({known})")
    tokens = _texts(fields, "tokenizer.ggml.tokens")
    if len(tokens) != vocabulary:
        raise ValueError(f"{len(tokens)} tokens, but the model knows {vocabulary}")
    numbers = {token: number for number, token in enumerate(tokens)}
    if len(numbers) < len(tokens) or "" in numbers:
        twice = next(token for i, token in enumerate(tokens) if not token or numbers[token] != i)
        raise ValueError(f"token {twice!r} is there twice" if twice else "a token without text")
    merges = _merges(_texts(fields, "tokenizer.ggml.merges"), numbers)
    tokenizer = _tokenizer(numbers, merges, split)
    _add_special(tokenizer, tokens, fields)
    begin = _number(fields, "tokenizer.ggml.bos_token_id", vocabulary)
    if not fields.get("tokenizer.ggml.add_bos_token", False):
        begin = None
    ends = (
        _number(fields, f"tokenizer.ggml.{name}_token_id", vocabulary) for name in ("eos", "eot")
    )
    template = fields.get("tokenizer.chat_template")
    return TextCodec(
        tokenizer,
        begin,
        frozenset(end for end in ends if end is not None),
        template if isinstance(template, str) else None,
        missing_bytes(numbers),
    )


def _text(fields: Mapping[str, Any], name: str) -> str:
    """A field that is a text."""
    found = fields.get(name)
    if not isinstance(found, str):
        raise ValueError(f"field '{name}' is {'missing' if found is None else 'not a text'}")
    return found


def _texts(fields: Mapping[str, Any], name: str) -> list[str]:
    """A field of texts."""
    found = fields.get(name)
    if not isinstance(found, list):
        raise ValueError(f"field '{name}' is {'missing' if found is None else 'not of texts'}")
    return found


def _number(fields: Mapping[str, Any], name: str, vocabulary: int) -> int | None:
    """A field that is the number of a token, if it is there."""
    found = fields.get(name)
    if found is None:
        return None
    if not isinstance(found, int) or not 0 <= found < vocabulary:
        raise ValueError(f"field '{name}' is {found}, which is none of {vocabulary} tokens")
    return found


def _merges(lines: Sequence[str], numbers: Mapping[str, int]) -> list[tuple[str, str]]:
    """The pairs of tokens that become one token, the first ones first."""
    found: list[tuple[str, str]] = []
    for line in lines:
        left, _, right = line.partition(" ")
        for part in (left, right, left + right):
            if part not in numbers:
                raise ValueError(f"the merge {line!r} has {part!r}, which is no token")
        found.append((left, right))
    return found


def _tokenizer(numbers: dict[str, int], merges: list[tuple[str, str]], split: str) -> "Tokenizer":
    """The tokeniser, without special tokens."""
    with from_extra("lm"):
        from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    pattern = SPLITS[split]
    parts: list[Any] = []
    if pattern == _DIGITS:
        parts.append(pre_tokenizers.Digits(individual_digits=True))
    elif pattern != _GPT2:
        parts.append(pre_tokenizers.Split(Regex(pattern), "isolated"))
    parts.append(
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern in (_GPT2, _DIGITS))
    )
    tokenizer = Tokenizer(models.BPE(numbers, merges, ignore_merges=split in _WHOLE))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    return tokenizer


def _add_special(tokenizer: "Tokenizer", tokens: Sequence[str], fields: Mapping[str, Any]) -> None:
    """Tell a tokeniser which tokens are found in a text before it is split."""
    with from_extra("lm"):
        from tokenizers import AddedToken

    kinds = fields.get("tokenizer.ggml.token_type")
    if kinds is None:
        return
    if not isinstance(kinds, np.ndarray) or kinds.dtype.kind not in "iu":
        raise ValueError("field 'tokenizer.ggml.token_type' is not of integers")
    if len(kinds) != len(tokens):
        raise ValueError(f"{len(kinds)} types of {len(tokens)} tokens")
    control, own = (
        [token for token, kind in zip(tokens, kinds.tolist(), strict=True) if kind == wanted]
        for wanted in (_CONTROL, _USER_DEFINED)
    )
    tokenizer.add_special_tokens([AddedToken(x, normalized=False, special=True) for x in control])
    tokenizer.add_tokens([AddedToken(x, normalized=False) for x in own])
