# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Products of results with results: streams that operands gate, and chains that fill them."""

import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from attending_networks import SEQUENCES, Attending
from networks import config_of
from numpy.typing import NDArray
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, i64
from xdsl.utils.exceptions import PassFailedException, VerifyException

from daqkf.dialects.interpreting import run
from daqkf.dialects.rpea import ArrayOp, ChainOp
from daqkf.dialects.spaq import AttendOp
from daqkf.hw_targets import numerics
from daqkf.hw_targets import operands as memories
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families.running_sum import FAMILY as RUNNING_SUM
from daqkf.hw_targets.image_format import Command, Header
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.words import chain_row
from daqkf.lowering.image.decode import decode
from daqkf.lowering.image.disassemble import import_program
from daqkf.lowering.image.encode import encode, playable
from daqkf.lowering.image.image import ProgramImageError
from daqkf.lowering.image.listing import listing
from daqkf.passes.encode import operands as coding
from daqkf.passes.encode.coding import Stream

Int8 = NDArray[np.int8]
HEADS, WIDTH, TILES = 2, 16, 2


def config(pes: int, lanes: int) -> ArrayConfig:
    machine = replace(SEQUENCES, pes=pes, lanes=lanes, items=lanes, post_lanes=1)
    depths = {"activation_depth": 128, "operand_depth": 512}
    widths = dict.fromkeys(("running_sum_width", "accumulator_width", "sum_width"), 32)
    fields = {name: getattr(machine, name) for name in Machine.__dataclass_fields__}
    return ArrayConfig(**(fields | depths), **widths, kernels=8)


def summed(
    array: ArrayConfig,
    x: Int8,
    memory: Int8,
    outputs: list[NDArray[np.int64]],
    rows: Callable[[NDArray[np.int64]], NDArray[np.int64]],
    first: int,
) -> NDArray[np.int64]:
    """What the elements make of activations [T, K], with the compiler's corrections: [T, N]."""
    activations = np.zeros((array.activation_depth, len(x)), np.int64)
    activations[: x.shape[1]] = x.T
    found: dict[int, NDArray[np.int64]] = {}
    for pe, share in enumerate(outputs):
        stream = coding.stream(rows(share), array)
        assert len(stream.fields["last"]) == stream.starts[-1]
        words = memories.gated(encoded(stream, array), memory[pe], first, array)
        sums = RUNNING_SUM.golden(words, activations, array)
        correction = np.broadcast_to(stream.correction, len(share))
        for output, total, more in zip(share.tolist(), sums, correction, strict=True):
            found[output] = total + more
    return np.array([found[output] for output in range(len(found))]).T


def encoded(stream: Stream, array: ArrayConfig) -> dict[str, NDArray[np.int64]]:
    words = dict(stream.fields)
    count = len(words["last"])
    words["end"] = np.arange(count) == count - 1
    return dict(RUNNING_SUM.word.encoded(words, array))


@pytest.mark.parametrize(("pes", "lanes"), [(1, 2), (2, 2), (2, 4), (4, 4), (2, 8), (8, 8)])
@pytest.mark.parametrize("extreme", [False, True])
def test_streams_are_the_products(pes: int, lanes: int, extreme: bool):
    array, rng = config(pes, lanes), np.random.default_rng(pes + lanes)
    keys = TILES * lanes

    def draw(*shape: int) -> Int8:
        low, high = (-128, -127) if extreme else (-128, 128)
        return rng.integers(low, high, shape).astype(np.int8)

    queries, k, v = (draw(n, HEADS * WIDTH) for n in (5, keys, keys))
    shares = draw(5, HEADS * keys)
    memory = memories.empty_operands(array)
    memories.fill_features(memory, k, 0)
    first = memories.feature_words(HEADS * WIDTH, TILES, array)
    memories.fill_tokens(memory, v, first, TILES)

    scores = summed(
        array,
        queries,
        memory,
        coding.score_outputs(HEADS, TILES, array),
        lambda share: coding.score_rows(share, keys, WIDTH, lanes),
        0,
    )
    wide = [x.astype(np.int64) for x in (queries, k, shares, v)]
    q, k64, s, v64 = wide
    head = [slice(n * WIDTH, (n + 1) * WIDTH) for n in range(HEADS)]
    expected = np.concatenate([q[:, own] @ k64[:, own].T for own in head], axis=1)
    np.testing.assert_array_equal(scores, expected)
    results = summed(
        array,
        shares,
        memory,
        coding.context_outputs(HEADS * WIDTH, array),
        lambda share: coding.context_rows(share, keys, WIDTH, lanes),
        first,
    )
    parts = np.split(s, HEADS, axis=1)
    expected = np.concatenate(
        [part @ v64[:, own] for part, own in zip(parts, head, strict=True)], 1
    )
    np.testing.assert_array_equal(results, expected)


@pytest.mark.parametrize("lanes", [2, 8])
def test_no_sum_leaves_its_width(lanes: int):
    array = config(1, lanes)
    words = encoded(coding.stream(np.arange(WIDTH).reshape(1, -1, lanes), array), array)
    bits = coding.width(WIDTH, lanes)
    reached = 0
    for operand in (-128, 127):
        memory = np.full((array.operand_depth, lanes), operand, np.int8)
        for x in (-128, 127):
            activations = np.zeros((array.activation_depth, 1), np.int64)
            activations[:WIDTH] = x
            gated = memories.gated(words, memory, 0, array)
            # Each prefix is an output of its own: what the register has on its way.
            for end in range(1, len(words["last"])):
                prefix = {name: values[:end].copy() for name, values in gated.items()}
                step = {name: np.zeros(1, np.int64) for name in prefix}
                null = {f"index{n}": np.array([array.null_address]) for n in range(lanes)}
                step |= {"step": np.ones(1, np.int64), "last": np.ones(1, np.int64), **null}
                whole = {name: np.append(prefix[name], step[name]) for name in prefix}
                (total,) = RUNNING_SUM.golden(whole, activations, array)
                reached = max(reached, numerics.width_for(int(abs(total[0]))))
    assert reached <= bits <= reached + 1


def test_operands_stand_where_streams_read_them():
    memory = np.zeros((2, 8, 4), np.int8)
    memories.fill_features(memory, np.arange(1, 25, dtype=np.int8).reshape(3, 8), 1)
    # Tokens 0 and 2 are with PE 0, two words each.
    assert memory[0, 1:5].tolist() == [
        [1, 2, 3, 4],
        [5, 6, 7, 8],
        [17, 18, 19, 20],
        [21, 22, 23, 24],
    ]
    assert memory[1, 1:3].tolist() == [[9, 10, 11, 12], [13, 14, 15, 16]]
    memory[:] = 0
    memories.fill_tokens(memory, np.arange(1, 19, dtype=np.int8).reshape(6, 3), 2, 3)
    # Features 0 and 2 are with PE 0, a word for each tile of four tokens, three words apart.
    assert memory[0, 2:7].tolist() == [
        [1, 4, 7, 10],
        [13, 16, 0, 0],
        [0] * 4,
        [3, 6, 9, 12],
        [15, 18, 0, 0],
    ]


def test_keys_that_are_not_there_count_for_nothing():
    rng = np.random.default_rng(1)
    q = rng.integers(-128, 128, (4, 10)).astype(np.int8)
    table = np.where(numerics.IDENTITY == -128, 0, numerics.IDENTITY & 63).astype(np.int8)
    e = numerics.exponentials(q, 5, np.full(10, 127), table, 3)
    grouped = e.reshape(4, 2, 5)
    alone = np.ascontiguousarray(q.reshape(4, 2, 5)[:, :, :3]).reshape(4, 6)
    expected = numerics.exponentials(alone, 3, np.full(6, 127), table)
    np.testing.assert_array_equal(grouped[:, :, :3].reshape(4, 6), expected)
    assert not grouped[:, :, 3:].any()


@pytest.mark.parametrize(
    ("features", "heads", "width", "tokens"),
    [(12, 2, 8, 10), (5, 1, 4, 4), (9, 3, 4, 13), (2, 1, 4, 1)],
)
def test_formulas_ir_and_array_agree(features: int, heads: int, width: int, tokens: int):
    layer = Attending.random(features, features, heads, width, tokens)
    exact, array = layer.module(), layer.lowered(SEQUENCES)
    rng = np.random.default_rng(2)
    for length in range(1, tokens + 1):
        x = rng.integers(-128, 128, (length, features)).astype(np.int8)
        expected = layer.expected(x)
        np.testing.assert_array_equal(run(exact, x), expected)
        np.testing.assert_array_equal(run(array, x), expected)
        assert length < 4 or len(np.unique(expected)) > 10


def lowered() -> tuple[ModuleOp, ChainOp]:
    module = Attending.random(3, 6, 2, 4, 6).lowered(SEQUENCES)
    (chain,) = playable(module)
    assert isinstance(chain, ChainOp)
    return module, chain


def test_images_come_back():
    module, chain = lowered()
    image, array = encode(chain), next(op for op in module.ops if isinstance(op, ArrayOp))
    assert decode(image, array.config.data).attends
    imported = import_program(image, array)
    (again,) = playable(imported)
    assert isinstance(again, ChainOp)
    assert again.tokens == 8
    assert encode(again) == image
    assert "KERNEL features 6 outputs 6 attends" in listing(image, array.config.data)


@pytest.mark.parametrize(
    ("field", "kernel", "value"), [("fills", 0, 0), ("pauses", 0, 1), ("fills", 3, 1)]
)
def test_images_that_fill_otherwise_are_refused(field: str, kernel: int, value: int):
    module, chain = lowered()
    array = config_of(module)
    image = np.frombuffer(encode(chain), "<u4").copy()
    section = decode(image.tobytes(), array).section(Command.CHAIN)
    rows = chain_row(array).unpack(section.rows)
    rows[field][kernel] = value
    begin = section.word(0)
    image[begin : begin + section.rows.size] = chain_row(array).pack(rows).reshape(-1)
    image[Header.CRC] = zlib.crc32(image[len(Header) :].tobytes())
    with pytest.raises(ProgramImageError, match="than the chain's first 2 fill operands"):
        decode(image.tobytes(), array)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda chain: chain.properties.pop("tiles"), "has operands, and no number of tiles"),
        (
            lambda chain: chain.properties.update(tiles=IntegerAttr(3, i64)),
            "a softmax of 8 keys in a chain of 12 tokens",
        ),
        (
            lambda chain: chain.kernels()[3].properties.pop("operands"),
            "keys, values, queries, scores of operands, a softmax and results of operands",
        ),
        (
            lambda chain: chain.kernels()[5].properties.update(operands=IntegerAttr(1, i64)),
            r"operands from words \[0, 1\], not \[0, 8\]",
        ),
        (
            lambda chain: chain.kernels()[5].properties.update(operands=IntegerAttr(512, i64)),
            "operands from word 512; the array holds 16",
        ),
    ],
)
def test_chains_of_sequences_are_verified(change: Callable[[ChainOp], object], message: str):
    module, chain = lowered()
    change(chain)
    with pytest.raises(VerifyException, match=message):
        module.verify()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"softmax": False}, "operand memories are for attention, which needs softmax"),
        ({"families": ("ternary",)}, "for running_sum elements with whole addresses"),
        ({"index_bits": 3}, "for running_sum elements with whole addresses"),
        ({"result_depth": 2}, "need results for the 4 keys of a tile, not 2"),
        ({"items": 2}, "not 4 lanes, 2 items and 2 PEs"),
        ({"pes": 3}, "not 4 lanes, 4 items and 3 PEs"),
        ({"operand_depth": 3}, "operand_depth must be a power of two above 1, not 3"),
    ],
)
def test_machines_that_cannot_have_them(change: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        replace(SEQUENCES, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"stream_depth": 128},
            "stream words of a PE in 3 kernels; the target holds at most 128",
        ),
        (
            {"operand_depth": 8},
            "attention of 6 tokens takes operand_depth = 16; the target holds 8",
        ),
    ],
)
def test_targets_that_are_too_small(change: dict[str, int], message: str):
    with pytest.raises(PassFailedException, match=message):
        Attending.random(3, 6, 2, 4, 6).lowered(replace(SEQUENCES, **change))


def test_heads_are_of_whole_words():
    with pytest.raises(
        PassFailedException, match="heads of 3 features; the target's operand words have 4"
    ):
        Attending.random(3, 6, 2, 3, 6).lowered(SEQUENCES)


@pytest.mark.parametrize(("pes", "lanes", "width"), [(1, 2, 6), (2, 4, 16), (4, 4, 4)])
def test_what_an_attention_takes_is_what_its_streams_have(pes: int, lanes: int, width: int):
    heads, tokens = 2, 3 * lanes - 1
    module = Attending.random(3, 9, heads, width, tokens).module()
    attend = next(op for op in module.walk() if isinstance(op, AttendOp))
    array = config(pes, lanes)
    need, keys = coding.attention_need(attend, array), 3 * lanes
    assert (need.tiles, need.scores) == (3, heads * keys)
    scores = [
        coding.stream(coding.score_rows(share, keys, width, lanes), array)
        for share in coding.score_outputs(heads, 3, array)
    ]
    results = [
        coding.stream(coding.context_rows(share, keys, width, lanes), array)
        for share in coding.context_outputs(heads * width, array)
    ]
    words = [one.starts[-1] + other.starts[-1] for one, other in zip(scores, results, strict=True)]
    assert need.words == max(words)
    # As many bits as the largest sum of products needs, with what is counted too much.
    largest = 128 * 128 * max(width, keys)
    assert 1 << (need.width - 1) > largest + 256 * max(width, keys) // lanes
    assert 1 << (need.width - 2) <= largest + 256 * max(width, keys)


def test_a_sum_of_operands_has_the_fewest_bits():
    """63 products of -128 and -128, and what 16 words of 4 items count too much."""
    most = 63 * 128 * 128 + 256 * 16 * 3
    assert 1 << 19 <= most < 1 << 20
    assert coding.width(63, 4) == 21
    assert coding.width(64, 4) == 22
