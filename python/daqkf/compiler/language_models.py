# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Language models from files, and their float network from token to token."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler.file_suffixes import SUFFIXES, is_model_folder
from daqkf.dialects.interpreting import Lifetimes, call, entry
from daqkf.lowering.frontends.decoder import DecoderConfig, LanguageModel
from daqkf.support.errors import EXPECTED, DaqkfError, describe

Floats = NDArray[np.float32]


def load_language_model(path: str | Path) -> LanguageModel:
    """The language model in a GGUF file, or in a folder of Hugging Face.

    Its network and its tokeniser are read when they are asked for.

    Raises:
        DaqkfError: neither of these, or one that cannot be read or has something unsupported.
    """
    from daqkf.lowering.frontends.gguf.module import open_gguf
    from daqkf.lowering.frontends.huggingface import open_folder

    path = Path(path)
    try:
        if is_model_folder(path):
            return open_folder(path)
        if SUFFIXES.get(path.suffix) == "gguf":
            return open_gguf(path)
    except DaqkfError:
        raise
    except EXPECTED as error:
        raise DaqkfError(describe(error)) from None
    raise DaqkfError(f"{path}: no language model: a .gguf file, or a folder with config.json")


class FloatDecoder:
    """A decoder that has read some tokens, by the interpreter of `nn`, in float32.

    It keeps the keys and values of all layers. This is the reference, and takes some tenths of a
    second for a token of a small model.
    """

    def __init__(self, network: ModuleOp, config: DecoderConfig):
        """A decoder that has read nothing yet; `network` must not change from here on."""
        self._network, self._config = network, config
        self._function, self._lifetimes = entry(network), Lifetimes()
        empty = np.zeros((0, config.groups, config.features), np.float32)
        self._past = [empty] * (2 * config.layers)
        self.length = 0
        """Tokens that were read."""

    def read(self, tokens: Sequence[int] | NDArray[np.int64]) -> Floats:
        """Read on: the logits [T, vocabulary] of what follows each of the tokens [T].

        Raises:
            DaqkfError: no tokens, one that the model does not know, or more of them than it was
                made for.
        """
        array = np.asarray(tokens, np.int64)
        if array.ndim != 1 or not len(array):
            raise DaqkfError("there are no tokens to read")
        unknown = array[(array < 0) | (array >= self._config.vocabulary)]
        if len(unknown):
            raise DaqkfError(f"token {unknown[0]} is none of the model's {self._config.vocabulary}")
        end = self.length + len(array)
        if end > self._config.context:
            raise DaqkfError(
                f"{end} tokens are more than the model's context, which is of "
                f"{self._config.context}"
            )
        positions = np.arange(self.length, end)
        logits, *self._past = call(
            self._network,
            self._function,
            [array, positions, *self._past],
            lifetimes=self._lifetimes,
        )
        self.length = end
        return logits
