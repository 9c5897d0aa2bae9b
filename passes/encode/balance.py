# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Sharing out a kernel's outputs over processing elements, and the order in which each runs them.

Outputs are whole, so the shares are a multi-way number partition. Longest processing time
first (Graham, 1969) leaves up to 1.2 % of MiniLM's runs at 70 % zeros unbalanced, the largest
differencing method (Karmarkar and Karp, 1982) hardly anything. The order matters more:
one post unit serves all elements, and an output that is finished while the one before it is
still held stops its element. Longest first, the unit idles at first and is late at the end;
orders that mix lengths avoid that. Last, elements that end together queue for the unit, so
shares are made to end one turn of the unit after another.

benchmarks/balance.py has the figures; `run_cycles` is the model of the unit that decides.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

type Ints = NDArray[np.int64]

_GOLDEN = (5**0.5 - 1) / 2
_NEVER = 1 << 60


def share_out(costs: Ints, workers: int, post_cycles: int) -> list[Ints]:
    """The jobs of each of `workers`, in order; deterministic.

    The best of three schedules: shares by differencing in a mixed order, which end one after
    another or together, and the longest job first, which can win where there are hardly any
    jobs. The best takes the fewest cycles of those with the smallest stream memories, which
    have a power of two of words.

    Args:
        costs: cycles of each job [N], at least 1.
        workers: P processing elements.
        post_cycles: of the post unit for a finished job: `lanes / post_lanes`.
    """
    schedules = [
        [
            _mixed(share, worker / workers)
            for worker, share in enumerate(differencing(costs, workers, stagger))
        ]
        for stagger in (post_cycles, 0)
    ]

    def price(shares: list[Ints]) -> tuple[int, int]:
        words = max(int(costs[share].sum()) for share in shares)
        return (words - 1).bit_length(), run_cycles(costs, shares, post_cycles)

    return min(longest_first(costs, workers), *schedules, key=price)


def longest_first(costs: Ints, workers: int) -> list[Ints]:
    """Each job [N], the longest first, to the worker who has least to do (Graham, 1969).

    The longest share exceeds the optimum by at most a third.
    """
    shares: list[list[int]] = [[] for _ in range(workers)]
    loads = [(0, worker) for worker in range(workers)]
    for job in np.argsort(-costs, kind="stable"):
        load, worker = heapq.heappop(loads)
        shares[worker].append(int(job))
        heapq.heappush(loads, (load + int(costs[job]), worker))
    return [np.array(share, np.int64) for share in shares]


def dealt(costs: Ints, workers: int) -> Ints:
    """[rounds, workers] each job [N], the longest first, dealt out to and fro; -1 behind the last.

    With many jobs for each worker the shares are about as even as those of `longest_first`, and
    found without a loop over the jobs.
    """
    order = np.argsort(-costs, kind="stable")
    rounds = np.append(order, np.full(-len(order) % workers, -1)).reshape(-1, workers)
    rounds[1::2] = rounds[1::2, ::-1].copy()
    return rounds


def differencing(costs: Ints, workers: int, stagger: int = 0) -> list[Ints]:
    """The largest differencing method (Karmarkar and Karp, 1982) for P shares of jobs [N].

    Keeps partial partitions into P shares, at first one for each job. The two whose largest
    and smallest shares differ most are merged, the largest shares of one with the smallest of
    the other, until one is left.

    Worker 0 ends first and each worker about `stagger` after the one before: the final
    partition also holds P jobs of 0, stagger, 2·stagger …, which are nobody's.

    Returns:
        The jobs of each worker, the longest first; equal ones by index.
    """
    # A share is a linked list of jobs, of which only its ends are known; -1 ends it. Numbers
    # from N on are the staggering jobs. There are few workers, for whom lists are faster.
    jobs, lengths = len(costs), costs.tolist()
    following = [-1] * (jobs + workers)
    parts = [_Partition.of(job, cost, workers) for job, cost in enumerate(lengths)]
    dummies = list(range(jobs, jobs + workers))
    parts.append(_Partition([stagger * number for number in range(workers)], dummies, dummies))
    heap = [(-part.loads[-1], number) for number, part in enumerate(parts)]
    heapq.heapify(heap)
    while len(heap) > 1:
        one, other = heapq.heappop(heap)[1], heapq.heappop(heap)[1]
        parts[one] = parts[one].merged(parts[other], following)
        heapq.heappush(heap, (-parts[one].loads[-1], one))
    shares: list[Ints] = [np.empty(0, np.int64)] * workers
    for job in parts[heap[0][1]].first:
        share: list[int] = []
        while job >= 0:
            share.append(job)
            job = following[job]
        members = np.sort(np.array(share))
        own = members[:-1]
        shares[workers - 1 - (members[-1] - jobs)] = own[np.argsort(-costs[own], kind="stable")]
    return shares


@dataclass(frozen=True)
class _Partition:
    """P shares of some jobs, the smallest first."""

    loads: list[int]
    """[P] cycles above those of the smallest share; the last is what shares differ by at most."""
    first: list[int]
    """[P] the first job of each share, or -1."""
    last: list[int]
    """[P] the last job, or -1."""

    @classmethod
    def of(cls, job: int, cost: int, workers: int) -> "_Partition":
        none = [-1] * (workers - 1)
        ends = [*none, job]
        return cls([*([0] * (workers - 1)), cost if workers > 1 else 0], ends, ends)

    def merged(self, other: "_Partition", following: list[int]) -> "_Partition":
        """Join the largest shares of one with the smallest of the other."""
        shares: list[tuple[int, int, int]] = []
        for load, begin, end, more, first, last in zip(
            self.loads,
            self.first,
            self.last,
            reversed(other.loads),
            reversed(other.first),
            reversed(other.last),
            strict=True,
        ):
            if end >= 0 and first >= 0:
                following[end] = first
            ends = begin if begin >= 0 else first, last if last >= 0 else end
            shares.append((load + more, *ends))
        shares.sort(key=itemgetter(0))
        least = shares[0][0]
        return _Partition(
            [load - least for load, *_ in shares],
            [first for _, first, _ in shares],
            [last for *_, last in shares],
        )


def _mixed(share: Ints, phase: float) -> Ints:
    """Jobs sorted by length in an order in which every stretch has long and short ones.

    Multiples of the golden ratio modulo 1 fill the interval evenly at every length of the
    sequence (Weyl's equidistribution); `phase` sets workers apart.
    """
    points = np.mod((np.arange(len(share)) + 0.5) * _GOLDEN + phase, 1)
    ranks = np.empty(len(share), np.int64)
    ranks[np.argsort(points, kind="stable")] = np.arange(len(share))
    return share[ranks]


def run_cycles(costs: Ints, shares: list[Ints], post_cycles: int, polled: int = 0) -> int:
    """Cycles until the post unit has taken the last job, apart from the constant latency.

    Exact for the generated array (lowering/rtl/post.py): the unit polls one element a cycle in
    turn, `polled` first, and takes `post_cycles` for what it finds. An element goes on with
    its next job while the finished one is held, and stops if the next one is finished too.
    """
    workers = len(shares)
    queues = [costs[share].tolist()[::-1] for share in shares]
    # When the finished job was moved to the holding register, and when the unit sees it.
    held = [queue.pop() if queue else _NEVER for queue in queues]
    now = 0
    for _ in range(sum(map(len, shares))):
        soonest, found = _NEVER, 0
        for worker, when in enumerate(held):
            poll = (worker - polled) % workers
            if when + 1 > now + poll:
                poll += -(-(when + 1 - now - poll) // workers) * workers
            if poll < soonest:
                soonest, found = poll, worker
        now += soonest + post_cycles
        polled = (found + 1) % workers
        # The register is free from now on.
        queue = queues[found]
        held[found] = max(held[found] + queue.pop(), now) if queue else _NEVER
    return now


def share_out_unrelated(costs: Ints, members: Sequence[Sequence[int]]) -> list[Ints]:
    """Share out jobs over workers of several kinds, each to where it ends first.

    List scheduling on unrelated machines by earliest completion time (Ibarra and Kim, 1977),
    jobs with the longest least cost first; ties go to the lower worker.

    Args:
        costs: [kinds, N] of each job on a worker of each kind.
        members: the workers of each kind.
    """
    shares: list[list[int]] = [[] for _ in range(sum(map(len, members)))]
    queues = [[(0, worker) for worker in workers] for workers in members]
    for queue in queues:
        heapq.heapify(queue)
    for job in np.argsort(-costs.min(axis=0), kind="stable"):
        ends = [
            (queue[0][0] + int(cost), queue[0][1], kind)
            for kind, (queue, cost) in enumerate(zip(queues, costs[:, job], strict=True))
        ]
        end, worker, kind = min(ends)
        shares[worker].append(int(job))
        heapq.heapreplace(queues[kind], (end, worker))
    return [np.array(share, np.int64) for share in shares]
