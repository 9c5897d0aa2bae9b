# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Sharing out a kernel's channels, and the streams of the shares."""

from dataclasses import replace

import numpy as np
import pytest
from networks import MACHINE

from daqkf.hw_targets.semirings import Semiring
from daqkf.passes.encode.balance import share_out
from daqkf.passes.encode.channels import network_cycles, share_out_channels
from daqkf.passes.encode.coding import Stream, codings

WIDE = replace(MACHINE, pes=4, lanes=12, post_lanes=4)
"""The post unit takes three cycles for an output."""


def test_a_network_takes_the_cycles_of_its_kernels():
    """An empty channel has one word, so the post unit is what they wait for."""
    kernels = [np.zeros((5, channels), np.int8) for channels in (30, 7)]
    assert network_cycles(kernels, WIDE) == 3 * 30 + 3 * 7
    full = np.full((200, 4), 3, np.int8)
    words = share_out_channels(full, WIDE)[1]
    assert network_cycles([full, kernels[1]], WIDE) == words.max() + 3 * 7 > 3 * 4 + 3 * 7


def test_a_channel_without_a_partner_is_the_last_of_its_share():
    """Elements of the Strassen family complete two channels together."""
    machine = replace(MACHINE, pes=1, lanes=8, families=("strassen",))
    rng = np.random.default_rng(2)
    for _ in range(8):
        density = rng.random(21)
        levels = rng.integers(1, 9, (30, 21)) * (rng.random((30, 21)) < density)
        pairs = codings(machine, Semiring.PLUS_TIMES)["strassen"].jobs(levels.astype(np.int8))
        (share,), _ = share_out_channels(levels.astype(np.int8), machine)
        assert sorted(share) == list(range(21))
        found = {tuple(share[place : place + 2].tolist()) for place in range(0, 21, 2)}
        assert found == {tuple(pair[pair >= 0].tolist()) for pair in pairs}


@pytest.mark.parametrize(
    ("costs", "workers", "post_cycles", "words"),
    [([10, 1, 11, 6, 4, 8, 7], 3, 5, 16), ([4, 6, 7, 1, 8, 2], 4, 2, 8)],
)
def test_a_memory_may_be_filled_to_its_last_word(
    costs: list[int], workers: int, post_cycles: int, words: int
):
    shares = share_out(np.array(costs), workers, post_cycles)
    assert max(sum(costs[job] for job in share) for share in shares) == words


def test_a_stream_is_cut_into_those_of_some_channels():
    fields = {"index0": np.arange(10), "last": np.arange(10) % 2}
    whole = Stream(fields, np.array([0, 3, 4, 9, 10]), np.array([5, 6, 7, 8]))
    one, none, other = whole.cut([1, 0, 3])
    assert one.fields["index0"].tolist() == [0, 1, 2]
    assert (one.starts.tolist(), one.correction.tolist()) == ([0, 3], [5])
    assert (none.starts.tolist(), none.fields["last"].tolist()) == ([0], [])
    assert other.fields["index0"].tolist() == [3, 4, 5, 6, 7, 8, 9]
    assert (other.starts.tolist(), other.correction.tolist()) == ([0, 1, 6, 7], [6, 7, 8])
    # By default there is nothing to correct.
    assert Stream(fields, whole.starts).cut([4])[0].correction.tolist() == [0, 0, 0, 0]
