# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf calibrate`: calibration data of a language model, made of texts by its tokeniser."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.cli.files import read_text
from daqkf.compiler.file_suffixes import MINILM
from daqkf.dialects.errors import from_extra
from daqkf.passes.array_files import archive
from daqkf.passes.files import write_atomically
from daqkf.support.errors import DaqkfError, describe

_ARRAYS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
"""What each input that exporters of encoders know is of an encoding."""


def calibrate(options: argparse.Namespace) -> int:
    """Write the inputs for a file's lines; returns the exit code.

    Raises:
        DaqkfError: there are no lines, an unknown input, or no tokeniser.
        OSError: a file cannot be read or written.
    """
    names = options.inputs.split(",")
    if unknown := [name for name in names if name not in _ARRAYS]:
        raise DaqkfError(f"unknown input '{unknown[0]}' (known: {', '.join(_ARRAYS)})")
    lines = read_text(options.texts).splitlines()
    texts = [line for line in lines if line.strip()]
    if not texts:
        raise DaqkfError(f"{options.texts}: no lines with text in it")
    encoded = _encodings(options.tokenizer, texts, options.max_tokens)
    arrays: dict[str, NDArray[Any]] = {
        name: np.array([getattr(entry, _ARRAYS[name]) for entry in encoded], np.int64)
        for name in names
    }
    write_atomically(Path(options.output), archive(arrays))
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
    print(f"{options.output}: {shapes}")
    return 0


def _encodings(source: str, texts: list[str], most: int | None) -> list[Any]:
    """The texts as tokens, all as many as the longest has."""
    if source == MINILM:
        from daqkf.studies.minilm.model import MiniLM

        tokenizer = MiniLM.load().tokenizer
    else:
        with from_extra("tokenizers"):
            from tokenizers import Tokenizer

        data = Path(source).read_bytes()
        try:
            tokenizer = Tokenizer.from_buffer(data)
        except Exception as error:  # what `tokenizers` raises has no class of its own
            raise DaqkfError(f"{source}: not a tokenizer.json: {describe(error)}") from None
    if most is not None:
        tokenizer.enable_truncation(most)
    if tokenizer.padding is None:
        tokenizer.enable_padding()
    return tokenizer.encode_batch(texts)
