# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Counts of neighbouring tokens as language models, which a trained one is held against."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int64]


class NGrams:
    """What follows up to `order - 1` tokens, interpolated with what follows fewer.

    The weights are those of method C of Witten and Bell ("The zero-frequency problem", 1991): what
    is known of fewer tokens counts as much as there are different tokens that were seen next. What
    follows none of them is interpolated with the uniform distribution.
    """

    def __init__(self, windows: Sequence[Tokens], order: int, vocabulary: int):
        """Count.

        Args:
            windows: texts, tokens [T] each.
            order: 1 counts tokens, 2 pairs, 3 triples.
            vocabulary: how many tokens there are.
        """
        self.order, self.vocabulary = order, vocabulary
        self._following: defaultdict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for window in windows:
            tokens = window.tolist()
            for place, token in enumerate(tokens):
                for length in range(min(order, place + 1)):
                    self._following[tuple(tokens[place - length : place])][token] += 1

    def share(self, before: Sequence[int], token: int) -> float:
        """The probability of a token behind others, of which the last ones count."""
        share = 1 / self.vocabulary
        for length in range(min(self.order, len(before) + 1)):
            following = self._following.get(tuple(before[len(before) - length :]))
            if following is None:
                break
            kinds, total = len(following), following.total()
            share = (following[token] + kinds * share) / (total + kinds)
        return share

    def loss(self, windows: Sequence[Tokens]) -> float:
        """The mean of -ln p of all tokens of texts but the first of each."""
        logs = [
            np.log(self.share(tokens[max(0, place + 1 - self.order) : place], tokens[place]))
            for tokens in (window.tolist() for window in windows)
            for place in range(1, len(tokens))
        ]
        return -float(np.mean(logs))
