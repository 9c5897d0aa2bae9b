# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Schedules are partitions, reproducible, and as short as the methods promise."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from daqkf.passes.encode import balance, running_sum
from daqkf.passes.encode.balance import (
    differencing,
    longest_first,
    run_cycles,
    share_out,
    share_out_unrelated,
)
from daqkf.passes.quantize.pruning import magnitude_prune

COSTS = st.lists(st.integers(1, 200), min_size=1, max_size=60).map(np.array)
WORKERS = st.integers(1, 9)
POST_CYCLES = st.integers(1, 8)


def longest(costs: NDArray[np.int64], shares: list[NDArray[np.int64]]) -> int:
    return max(int(costs[share].sum()) for share in shares)


def clocked(
    costs: NDArray[np.int64], shares: list[NDArray[np.int64]], post_cycles: int, polled: int
) -> int:
    """The unit and the elements cycle by cycle, register by register as in the RTL."""
    last = [[step == cost for cost in costs[s] for step in range(1, cost + 1)] for s in shares]
    streams = [iter(flags) for flags in last]
    finished, full = [False] * len(shares), [False] * len(shares)
    group = cycle = 0
    waiting = len(costs)
    while waiting:
        taking = full[polled]
        done = taking and group == post_cycles - 1
        for worker, stream in enumerate(streams):
            kept = full[worker] and not (done and worker == polled)
            if finished[worker] and full[worker]:
                full[worker] = kept
            else:
                full[worker] = finished[worker] or kept
                finished[worker] = next(stream, False)
        group = (group + 1) % post_cycles if taking else group
        polled = (polled + 1) % len(shares) if done or not taking else polled
        waiting -= done
        cycle += 1
    return cycle


@given(COSTS, WORKERS, POST_CYCLES)
def test_schedule_is_a_partition(costs: NDArray[np.int64], workers: int, post_cycles: int):
    for shares in (
        share_out(costs, workers, post_cycles),
        longest_first(costs, workers),
        differencing(costs, workers, post_cycles),
    ):
        assert len(shares) == workers
        assert sorted(np.concatenate(shares).tolist()) == list(range(len(costs)))


@given(COSTS, WORKERS, POST_CYCLES)
def test_schedule_is_never_worse_than_the_longest_first(
    costs: NDArray[np.int64], workers: int, post_cycles: int
):
    ours, simple = share_out(costs, workers, post_cycles), longest_first(costs, workers)
    memory = [longest(costs, shares) - 1 for shares in (ours, simple)]
    assert memory[0].bit_length() <= memory[1].bit_length()
    if memory[0].bit_length() == memory[1].bit_length():
        cycles = [run_cycles(costs, shares, post_cycles) for shares in (ours, simple)]
        assert cycles[0] <= cycles[1]


@given(COSTS, WORKERS, POST_CYCLES)
def test_schedule_is_deterministic(costs: NDArray[np.int64], workers: int, post_cycles: int):
    one, other = (share_out(costs.copy(), workers, post_cycles) for _ in range(2))
    assert [share.tolist() for share in one] == [share.tolist() for share in other]


@given(COSTS, WORKERS)
def test_longest_first_is_within_grahams_bound(costs: NDArray[np.int64], workers: int):
    optimum = max(int(costs.max()), -(-int(costs.sum()) // workers))
    # Against a lower bound of the optimum, so the factor is that of list scheduling.
    limit = optimum + costs.max() * (workers - 1) / workers
    assert longest(costs, longest_first(costs, workers)) <= limit


@given(st.lists(st.integers(1, 50), min_size=1, max_size=7).map(np.array), st.integers(1, 3))
def test_differencing_is_within_a_third_of_the_optimum(costs: NDArray[np.int64], workers: int):
    loads = [
        np.bincount(places, costs, workers).max()
        for places in product(range(workers), repeat=len(costs))
    ]
    # 4/3 - 1/(3P) (Michiels, Korst, Aarts and van Leeuwen, 2003).
    bound = (4 / 3 - 1 / (3 * workers)) * min(loads)
    assert longest(costs, differencing(costs, workers)) <= bound + 1e-9


def test_differencing_finds_what_the_longest_first_misses():
    costs = np.array([8, 7, 6, 5, 4])
    assert longest(costs, longest_first(costs, 2)) == 17
    assert longest(costs, differencing(costs, 2)) == 16


@pytest.mark.parametrize(("workers", "stagger"), [(4, 8), (16, 2), (3, 5)])
def test_workers_end_one_after_another(workers: int, stagger: int):
    costs = np.random.default_rng(0).integers(1, 60, 50 * workers)
    ends = np.array([costs[share].sum() for share in differencing(costs, workers, stagger)])
    assert np.abs(np.diff(ends) - stagger).max() <= 1


@given(COSTS, WORKERS, POST_CYCLES, st.integers(0, 8), st.integers(0, 2**32 - 1))
def test_cycles_are_those_of_the_registers(
    costs: NDArray[np.int64], workers: int, post_cycles: int, polled: int, seed: int
):
    rng = np.random.default_rng(seed)
    places = rng.integers(0, workers, len(costs))
    shares = [rng.permutation(np.flatnonzero(places == worker)) for worker in range(workers)]
    found = run_cycles(costs, shares, post_cycles, polled % workers)
    assert found == clocked(costs, shares, post_cycles, polled % workers)


@pytest.mark.parametrize("phase", [0.0, 0.37])
def test_every_stretch_has_long_and_short_jobs(phase: float):
    """The means of eight neighbours are near the mean of all, which are 0 to 399."""
    order = balance._mixed(np.arange(400), phase)
    means = np.convolve(order, np.ones(8) / 8, "valid")
    assert sorted(order) == list(range(400))
    assert np.abs(means - 199.5).max() < 40


@pytest.mark.parametrize(("pes", "post_cycles"), [(4, 8), (8, 4)])
@pytest.mark.parametrize("shape", [(384, 384), (1536, 384), (384, 1536)])
def test_lanes_idle_for_less_than_two_per_cent(shape: tuple[int, int], pes: int, post_cycles: int):
    """MiniLM's shapes at 70 % zeros; benchmarks/balance.py has MiniLM itself."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=shape) * rng.uniform(0.5, 2, shape[1])
    levels = np.rint(7 * magnitude_prune(weights, 0.7) / np.abs(weights).max(axis=0))
    costs = running_sum.cost(levels.astype(np.int8), 3)
    cycles = run_cycles(costs, share_out(costs, pes, post_cycles), post_cycles)
    assert 1 - costs.sum() / (pes * cycles) < 0.02


def test_workers_of_a_kind_take_turns():
    """Jobs that take as long on either kind, of which one has two workers."""
    costs = np.full((2, 6), 5)
    shares = share_out_unrelated(costs, [[0, 1], [2]])
    assert [len(share) for share in shares] == [2, 2, 2]
