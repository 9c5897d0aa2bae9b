# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Text as the tokens of a language model, and back."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.errors import from_extra
from daqkf.passes.array_files import reading

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def byte_characters() -> list[str]:
    """The characters that byte-level tokenisers write the bytes 0 … 255 as.

    Those of Latin-1 that can be seen stand for themselves; the others are, in their order, the
    characters from 256 on (Radford et al., "Language Models are Unsupervised Multitask Learners",
    2019, in the code beside it).
    """
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in seen else next(others)) for byte in range(0x100)]


_NEVER = frozenset((0xC0, 0xC1, *range(0xF5, 0x100)))
"""Bytes that UTF-8 does not have."""


def missing_bytes(tokens: Container[str]) -> frozenset[int]:
    """The bytes of UTF-8 that a byte-level tokeniser has no token for, and leaves out."""
    characters = enumerate(byte_characters())
    return frozenset(byte for byte, token in characters if token not in tokens) - _NEVER


def parse_tokenizer(data: bytes, file: Path, vocabulary: int) -> "Tokenizer":
    """The tokeniser in the bytes of a `tokenizer.json`.

    Raises:
        ValueError: it cannot be read, or has tokens that a model of this vocabulary does not know;
            the message begins with the file's path.
        DaqkfError: the package `tokenizers` is missing.
    """
    with from_extra("lm"):
        from tokenizers import Tokenizer

    with reading(file, "a tokeniser"):
        tokenizer = Tokenizer.from_buffer(data)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if not 0 <= largest < vocabulary:
        raise ValueError(f"{file}: tokens up to {largest}, but the model knows {vocabulary}")
    return tokenizer


@dataclass(frozen=True)
class TextCodec:
    """A tokeniser, and which tokens mean what to a model."""

    tokenizer: "Tokenizer"
    begin: int | None = None
    """The token that comes before a text, if one does."""
    ends: frozenset[int] = frozenset()
    """Tokens that end what a model writes."""
    chat_template: str | None = None
    """A template in Jinja's language that makes one text of a conversation, as the file has it."""
    missing: frozenset[int] = frozenset()
    """Bytes of UTF-8 that no token stands for."""

    def encode(self, text: str) -> NDArray[np.int64]:
        """The tokens [T] of a text, at least one; names of special tokens in it become those.

        Raises:
            ValueError: the text gives no tokens, or has a byte that the tokeniser has no token for.
        """
        data = text.encode("utf-8", "replace")
        if absent := self.missing.intersection(data):
            byte = next(byte for byte in data if byte in absent)
            raise ValueError(f"the tokeniser has no token for byte 0x{byte:02x} of the text")
        found = self.tokenizer.encode(text, add_special_tokens=False).ids
        tokens = found if self.begin is None else [self.begin, *found]
        if not tokens:
            raise ValueError("the text is empty")
        return np.array(tokens, np.int64)

    def decode(self, tokens: Sequence[int] | NDArray[np.int64], special: bool = True) -> str:
        """The text of tokens, with or without `special` ones; broken UTF-8 becomes U+FFFD."""
        return self.tokenizer.decode(
            [int(token) for token in tokens], skip_special_tokens=not special
        )
