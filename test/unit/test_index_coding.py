# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What streams and other forms of weights take, and the indices that are chosen by it."""

from dataclasses import replace
from itertools import product
from math import log2

import numpy as np
import pytest
from numpy.typing import NDArray

from daqkf.hw_targets import load_target
from daqkf.hw_targets.block_ram import RAMB36, ramb18s
from daqkf.hw_targets.config import smallest_array
from daqkf.hw_targets.words import stream_word
from daqkf.passes.encode.channels import share_out_channels
from daqkf.passes.encode.cost_model import Elements
from daqkf.passes.encode.index_coding import SLOWDOWN, Storage, Streams, choose, storage_facts

MACHINE = replace(load_target("generic").machine, max_shift=0)
MULTIPLY = replace(MACHINE, families=("multiply",))


def levels(features: int, channels: int, density: float, most: int) -> NDArray[np.int8]:
    rng = np.random.default_rng(3)
    values = rng.integers(1, most + 1, (features, channels)) * rng.choice([-1, 1], channels)
    return (values * (rng.random(values.shape) < density)).astype(np.int8)


def test_bound_is_the_count_of_matrices():
    matrix = np.array([[3], [-1], [0], [3], [0]], np.int8)
    same = [
        column
        for column in product(range(-3, 4), repeat=5)
        if sorted(map(abs, column)) == [0, 0, 1, 3, 3]
    ]
    assert Storage.of(matrix).bound == pytest.approx(log2(len(same)))


def test_bitmap_and_csr_count_rows_and_values():
    matrix = np.array([[3, 0], [-1, 0], [0, 5], [3, 0], [0, 0]], np.int8)
    found = Storage.of(matrix)
    assert found.nonzeros == 4
    assert found.bitmap == 10 + 4 * 2
    assert found.csr == 4 * (3 + 2) + 3 * 3


def test_matrices_without_weights():
    found = Storage.of(np.zeros((3, 2), np.int8))
    assert (found.nonzeros, found.bitmap, found.bound) == (0, 6, 0)


def test_facts_add_up_over_programs():
    config = smallest_array(replace(MULTIPLY, pes=2, stream_depth=2048), 5)
    width = 3 + 8 + 2
    matrix = np.array([[3, 0], [-1, 0], [0, 5], [3, 0], [0, 0]], np.int8)
    words = [np.array([3, 1]), np.array([4, 0])]
    facts = storage_facts(config, words, [matrix, matrix])
    assert facts["stream_ramb36"] == 2 * 1
    bits = facts["bits_per_weight"]
    assert (bits["stream"], bits["bitmap"], bits["csr"]) == (width, 18 / 4, 29 / 4)
    empty = storage_facts(config, words[:1], [np.zeros((5, 2), np.int8)])
    assert empty["bits_per_weight"]["stream"] == 4 * width


@pytest.mark.parametrize(
    ("depth", "width", "halves"),
    [(512, 72, 2), (512, 73, 3), (1024, 18, 1), (1024, 36, 2), (2048, 20, 3), (2048, 28, 4),
     (8192, 21, 11), (8192, 39, 20), (8192, 96, 44), (32768, 3, 6), (65536, 1, 4), (2, 1, 1)],
)  # fmt: skip
def test_block_ram(depth: int, width: int, halves: int):
    assert ramb18s(depth, width) == halves


def test_block_ram_grows_with_width_and_depth():
    for rows, width in product(RAMB36, range(1, 100)):
        assert ramb18s(rows, width) <= ramb18s(rows, width + 1)
        assert ramb18s(rows, width) <= ramb18s(2 * rows, width)


def test_memories_hold_the_longest_stream():
    assert Streams(MACHINE, [np.array([9, 40, 3]), np.array([20])], [], 0).depth == 64


def test_streams_are_those_of_the_schedule():
    kernels = [levels(600, 40, 0.4, 7), levels(100, 80, 0.9, 3)]
    machine = replace(MACHINE, items=4, index_bits=7)
    found = Streams.of(kernels, machine)
    words = [share_out_channels(kernel, machine)[1] for kernel in kernels]
    assert [each.tolist() for each in found.words] == [each.tolist() for each in words]
    assert found.depth == 1 << (max(int(each.max()) for each in words) - 1).bit_length()
    width = stream_word(smallest_array(machine, 600), 0).width
    assert width == 4 * 7 + (10 - 7 + 1) + 2 + 1 + 3
    assert found.bits == width * int(np.sum(words))
    assert found.ramb18s == 4 * ramb18s(found.depth, width)


def test_deltas_are_chosen_for_ascending_rows():
    kernel = levels(1000, 64, 0.3, 127)
    chosen = choose([kernel], MULTIPLY)
    assert chosen.index_bits in (3, 4)
    whole, coded = Streams.of([kernel], MULTIPLY), Streams.of([kernel], chosen)
    assert coded.ramb18s < whole.ramb18s
    limit = whole.cycles * (1 + SLOWDOWN)
    others = [Streams.of([kernel], replace(MULTIPLY, index_bits=bits)) for bits in range(2, 10)]
    assert coded.ramb18s == min(other.ramb18s for other in others if other.cycles <= limit)
    assert any(other.ramb18s < coded.ramb18s for other in others if other.cycles > limit)
    assert Elements.of(None, index_bits="auto").on(MULTIPLY, [kernel]) == chosen
    # A stream memory may be full.
    exact = replace(MULTIPLY, stream_depth=coded.depth)
    assert choose([kernel], exact).index_bits == chosen.index_bits


def test_whole_addresses_stay_where_nothing_is_saved():
    small = levels(40, 4, 0.5, 3)  # one block RAM whatever the word
    assert choose([small], MULTIPLY) == MULTIPLY
    assert choose([small], replace(MULTIPLY, index_bits=4)) == MULTIPLY
    for family in ("dense", "strassen"):
        machine = replace(MACHINE, families=(family,))
        assert choose([levels(600, 40, 0.4, 7)], machine) == machine
    far = levels(1500, 64, 0.3, 127)  # most windows would have one item
    assert not choose([far], MACHINE).index_bits


def test_the_limit_of_the_streams_is_kept():
    kernel = levels(1000, 64, 0.3, 127)
    words = int(share_out_channels(kernel, MULTIPLY)[1].max())
    limited = replace(MULTIPLY, stream_depth=1 << (words - 1).bit_length())
    assert Streams.of([kernel], choose([kernel], limited)).depth <= limited.stream_depth


def test_index_bits_of_elements():
    assert Elements.of(None, index_bits="5").on(MACHINE).index_bits == 5
    assert Elements.of("multiply", index_bits=0).on(replace(MULTIPLY, index_bits=3)) == MULTIPLY
    assert Elements.of(None).on(replace(MACHINE, index_bits=3)).index_bits == 3
    with pytest.raises(ValueError, match="index_bits must be a number or auto, not 'few'"):
        Elements.of(None, index_bits="few").on(MACHINE)
    with pytest.raises(ValueError, match=r"index_bits must be 2..11 for addresses of 12 bits"):
        Elements.of(None, index_bits=12).on(MACHINE)
