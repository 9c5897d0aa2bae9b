# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Texts of several documents as windows of tokens."""

import numpy as np
from numpy.typing import NDArray

from daqkf.lowering.frontends.text import TextCodec

DOCUMENT_END = "<|endoftext|>"
"""A line of a text file between documents, which do not follow from one another."""


def windows_of(codec: TextCodec, text: str, longest: int) -> list[NDArray[np.int64]]:
    """The tokens of a text, at most `longest` at a time: [T] each.

    Lines of `DOCUMENT_END` are between documents. No window has tokens of two of them; each begins
    with the token that begins texts, if there is one.

    Raises:
        ValueError: there is no text, or it has a byte that the tokeniser has no token for.
    """
    documents = [part.strip("\n") for part in f"\n{text}\n".split(f"\n{DOCUMENT_END}\n")]
    found: list[NDArray[np.int64]] = []
    for document in documents:
        if not document.strip():
            continue
        tokens = codec.encode(document)
        begin = tokens[:0] if codec.begin is None else tokens[:1]
        rest, room = tokens[len(begin) :], longest - len(begin)
        found += [
            np.concatenate([begin, rest[first : first + room]])
            for first in range(0, len(rest), room)
        ]
    if not found:
        raise ValueError("the text is empty")
    return found
