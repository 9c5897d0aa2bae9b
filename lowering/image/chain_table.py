# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The table of a chain in a program image: a row for each kernel."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.rpea import GatingOp, Kernel, NormalizationOp, ProgramOp, SoftmaxOp
from daqkf.dialects.rpea.ops import places
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.numerics import NORMALIZED_FEATURES
from daqkf.hw_targets.operands import AttentionKernel, Fills
from daqkf.hw_targets.words import chain_row, stream_place_bits

Ints = NDArray[np.int64]
Words = NDArray[np.uint32]

ROW_FIELDS = {op.FIELD: op for op in (NormalizationOp, GatingOp, SoftmaxOp)}
"""The row unit's kernels by what the chain's table says of them."""


def chain_rows(
    config: ArrayConfig,
    kernels: Sequence[Kernel],
    saved: Sequence[int],
    tiles: int | None = None,
) -> Words:
    """The chain's table, packed: a row for each kernel, of sequences of at most so many tiles."""
    streams, slots = places(kernels, config)
    numbers = np.arange(len(kernels))
    norms = [kernel if isinstance(kernel, NormalizationOp) else None for kernel in kernels]
    keys = [kernel.keys.value.data if isinstance(kernel, SoftmaxOp) else 0 for kernel in kernels]
    seen = [kernel.seen if isinstance(kernel, SoftmaxOp) else (0, 0) for kernel in kernels]
    return chain_row(config).pack(
        {
            # The row unit has no stream, so it may name the end of a full memory: wrapped. Nor
            # does it take its features from the activation memory, which may be smaller.
            "stream": streams[:-1] % (1 << stream_place_bits(config)),
            "slot": slots[:-1],
            "features": np.array([kernel.features.value.data for kernel in kernels])
            % config.activation_depth,
            "outputs": np.array([kernel.channels for kernel in kernels]),
            "last": numbers == len(kernels) - 1,
            "saves": np.isin(numbers, saved),
            "normalizes": np.array([isinstance(kernel, NormalizationOp) for kernel in kernels]),
            "rms": np.array([own is not None and own.rms is not None for own in norms]),
            "epsilon": np.array([0 if own is None else own.added for own in norms]),
            "gates": np.array([isinstance(kernel, GatingOp) for kernel in kernels]),
            "keys": np.array(keys),
            "queries": np.array([queries for queries, _ in seen]),
            "past": np.array([past for _, past in seen]),
            "scales": np.array([_scales(kernel) for kernel in kernels]),
            **_operand_fields(kernels, tiles),
        }
    )


def _scales(kernel: Kernel) -> bool:
    """Whether a kernel finds exponents that rows share, or takes them back."""
    if isinstance(kernel, ProgramOp):
        return kernel.correction is not None
    return isinstance(kernel, GatingOp) and kernel.reach is not None


def _operand_fields(kernels: Sequence[Kernel], tiles: int | None) -> dict[str, Ints]:
    """What the chain's table says of operands: who fills them, and where they are."""
    fields = {
        name: np.zeros(len(kernels), np.int64) for name in ("fills", "pauses", "operands", "stride")
    }
    for number, kernel in enumerate(kernels):
        if isinstance(kernel, ProgramOp) and kernel.operands_from is not None:
            fields["operands"][number] = kernel.operands_from.value.data
    if tiles is not None:
        for filling, reading, fills in (
            (AttentionKernel.KEYS, AttentionKernel.SCORES, Fills.FEATURES),
            (AttentionKernel.VALUES, AttentionKernel.CONTEXT, Fills.TOKENS),
        ):
            fields["fills"][filling] = fills
            fields["operands"][filling] = fields["operands"][reading]
        fields["pauses"][AttentionKernel.VALUES] = 1
        fields["stride"][AttentionKernel.VALUES] = tiles
    return fields


def chain_fields(config: ArrayConfig, table: Words) -> dict[str, Ints]:
    """The fields [kernels] of a chain's table; 0 for units that the array lacks.

    With one more, `rows`: whether a kernel is the row unit's.
    """
    nothing = np.zeros(len(table), np.int64)
    names = ["saves", "fills", "pauses", "operands", "stride", "queries", "past", "rms", "epsilon"]
    names += ["scales", *ROW_FIELDS]
    fields = {**dict.fromkeys(names, nothing), **chain_row(config).unpack(table)}
    return {**fields, "rows": np.any([fields[name] for name in ROW_FIELDS], axis=0).astype(int)}


def read_features(rows: Mapping[str, Ints], features: int) -> Ints:
    """What each kernel of a chain of K features reads.

    Those that fill operands, and the one behind them, read what the chain does.
    """
    found = np.array([features, *rows["outputs"][:-1]])
    found[1:][rows["fills"][:-1] > 0] = features
    return found


def chain_problem(
    rows: Mapping[str, Ints], sizes: tuple[int, int], attends: bool, config: ArrayConfig
) -> str:
    """Why an array would run a chain of K features and N outputs wrongly; empty if none."""
    outputs, count = rows["outputs"], len(rows["outputs"])
    features = read_features(rows, sizes[0])
    # The row unit's have lost the bits that the activation memory has no rows for.
    told = np.where(rows["rows"], features % config.activation_depth, features)
    if (
        not np.array_equal(np.flatnonzero(rows["last"]), [count - 1])
        or outputs[-1] != sizes[1]
        or not np.array_equal(rows.get("features", told), told)
    ):
        return "the kernels of the program image's chain do not follow one another"
    filling, number = AttentionKernel.QUERIES if attends else 0, np.arange(count)
    causal, later = rows["queries"] > 0, rows["past"] > 0
    if np.any(causal & (rows["keys"] == 0)) or np.any(later & (rows["queries"] == 0)):
        return "queries of a kernel of the program image's chain that is no causal softmax"
    if (
        not np.array_equal(rows["fills"] > 0, number < filling)
        or not np.array_equal(rows["pauses"] > 0, number == filling - 1)
        or filling >= count
    ):
        return f"other kernels than the chain's first {filling} fill operands"
    finds, takes = (rows["scales"] * (rows["rows"] == kind) > 0 for kind in (1, 0))
    if not np.array_equal(finds[:-1], takes[1:]) or takes[0] or finds[-1]:
        return "other kernels than those behind rows that share exponents take them back"
    return ""


def wrong_rows(rows: Mapping[str, Ints], kernel: int, features: int) -> str:
    """What is wrong with a kernel of the row unit: it works on results of a program, and saves
    nothing."""
    verb, *more = [op.VERB for name, op in ROW_FIELDS.items() if rows[name][kernel]]
    count, gates, keys = (int(rows[name][kernel]) for name in ("outputs", "gates", "keys"))
    if more:
        return f"{verb} and {more[0]} results at once"
    if rows["scales"][kernel] and not gates:
        return f"{verb} rows that share exponents"
    if not kernel or rows["rows"][kernel - 1]:
        return f"{verb} what no program before it has computed"
    if rows["saves"][kernel]:
        return "saves activations, and has none"
    if features != (2 * count if gates else count):
        return f"{verb} {features} features as {count}"
    if keys and count % keys:
        return f"{verb} {count} features in groups of {keys} keys"
    together = 0 if gates else keys or count
    if together > NORMALIZED_FEATURES:
        return f"{verb} {together} features; at most {NORMALIZED_FEATURES}"
    return ""
