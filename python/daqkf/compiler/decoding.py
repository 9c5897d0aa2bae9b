# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Decoders that read on from token to token: the float network, or a compiled one."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from daqkf.dialects.interpreting import Lifetimes, call, entry
from daqkf.lowering.frontends.decoder import DecoderConfig
from daqkf.support.errors import DaqkfError

Floats = NDArray[np.float32]

Run = Callable[[Sequence[NDArray[Any]]], Sequence[NDArray[Any]]]
"""Runs a decoder's function `main`: its results for its arguments, both in their order."""


class Decoder:
    """A decoder that has read some tokens of a text.

    It keeps the keys and values of all layers.
    """

    def __init__(self, run: Run, config: DecoderConfig):
        """A decoder that has read nothing yet."""
        self._run, self._config = run, config
        empty = np.zeros((0, config.groups, config.features), np.float32)
        self._past: Sequence[NDArray[Any]] = [empty] * (2 * config.layers)
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
        logits, *self._past = self._run([array, positions, *self._past])
        self.length = end
        return logits


class FloatDecoder(Decoder):
    """The decoder of a float network, by the interpreter of `nn`, in float32.

    This is the reference, and takes some tenths of a second for a token of a small model.
    """

    def __init__(self, network: ModuleOp, config: DecoderConfig):
        """A decoder that has read nothing yet; `network` must not change from here on."""
        function, lifetimes = entry(network), Lifetimes()

        def run(arguments: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
            return call(network, function, arguments, lifetimes=lifetimes)

        super().__init__(run, config)
