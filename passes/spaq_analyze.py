# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`spaq-analyze`: state the sparsity of every weight matrix in its type."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, NoneAttr
from xdsl.passes import ModulePass
from xdsl.utils.exceptions import PassFailedException

from daqkf.dialects.spaq import AnalysisAttr, EncodingAttr, LevelsAttr, Sparsity, SparsityAttr
from daqkf.dialects.spaq.analysis import KEY
from daqkf.passes.files import write_atomically
from daqkf.passes.quantize.sparsity import TILE, SparsitySummary, analyze, analyze_weights
from daqkf.passes.quantize.weights import named_matrices, replace_constant

JSON_VERSION = 1


def encode(array: NDArray[Any], levels: LevelsAttr | None = None) -> EncodingAttr:
    """The encoding of weights [K, N]: their sparsity, and the level set if they have one."""
    return _encoding(analyze(array), levels)


def _encoding(summary: SparsitySummary, levels: LevelsAttr | None) -> EncodingAttr:
    sparsity = Sparsity(
        nonzeros=summary.nonzeros,
        column_nonzeros=int(summary.column_nonzeros.max()),
        pattern=summary.pattern,
    )
    return EncodingAttr(SparsityAttr(sparsity), levels or NoneAttr())


def analysis_json(matrices: Iterable[Mapping[str, Any]]) -> str:
    """The text of a file with the facts of some matrices, each on its own line.

    Raises:
        ValueError: a fact is NaN or infinite.
    """
    lines = ",\n".join(json.dumps(facts, allow_nan=False) for facts in matrices)
    return f'{{"version": {JSON_VERSION}, "matrices": [\n{lines}\n]}}\n'


@dataclass(frozen=True)
class SpaqAnalyzePass(ModulePass):
    """Give every constant weight matrix a `#spaq.encoding` with its sparsity.

    Counts the non-zeros of the matrix and of its fullest output channel, and names the
    pattern of the zeros. A level set that is stated already stays.

    - `json`: a file for everything that is known of each matrix: the zeros of each channel and
      tile, dynamic range in dB, entropy in bits per weight.
    - `detail`: put the same into the IR as well, as `#spaq.analysis` on each constant.
    - `tile`: features and channels of a tile.
    """

    name = "spaq-analyze"

    json: str | None = None
    detail: bool = False
    tile: int = TILE

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if self.tile < 1:
            raise PassFailedException(f"{self.name}: tile must be above 0, not {self.tile}")
        facts: list[dict[str, Any]] = []
        for name, constant in named_matrices(op).items():
            levels = constant.encoding.levels if constant.encoding else None
            levels = levels if isinstance(levels, LevelsAttr) else None
            array = constant.array()
            if self.json is None and not self.detail:
                replace_constant(constant, array, encode(array, levels))
                continue
            analysis = analyze_weights(array, (self.tile, self.tile))
            facts.append({"name": name} | analysis.facts())
            new = replace_constant(constant, array, _encoding(analysis.sparsity, levels))
            if self.detail:
                new.attributes[KEY] = AnalysisAttr.of(
                    self.tile,
                    analysis.dynamic_range,
                    analysis.entropy.total,
                    analysis.sparsity.column_nonzeros,
                    analysis.tile_nonzeros,
                )
        if self.json is not None:
            self._write(self.json, analysis_json(facts))

    def _write(self, path: str, text: str) -> None:
        try:
            write_atomically(Path(path), text.encode())
        except OSError as error:
            raise PassFailedException(f"{self.name}: {path}: {error.strerror}") from None
