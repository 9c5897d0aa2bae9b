# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""From the indices of a stream word to addresses, in stages of their own.

`hw_targets/index_coding.py` says what they mean. The registers of the last stage are the addresses,
so that neither the stream memory's nor the activation memory's side becomes longer.
"""

from collections.abc import Callable, Mapping, Sequence

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.index_coding import (
    DELTA,
    INDEX,
    OFFSET,
    WINDOW,
    Deltas,
    IndexForm,
    RunDistances,
    Windows,
)
from daqkf.lowering.hdl.circuit import Circuit, Signal, concat, mux, named
from daqkf.lowering.hdl.pipeline import delayed

Word = Mapping[str, Signal]


def locate(
    c: Circuit,
    config: ArrayConfig,
    family: str,
    word: Word,
    valid: Signal,
    start: Signal,
    enable: Signal,
) -> tuple[dict[str, Signal], Signal]:
    """A word with addresses in place of what it has for them, some cycles later; and `valid`."""
    form = FAMILIES[family].word.indices
    assert form is not None
    located = FORMS[type(form)](c, config, word, valid, start, enable)
    coded, stages = (WINDOW, OFFSET, DELTA), STAGES.get(type(form), 1)
    located |= {
        name: delayed(c, signal, f"located_{name}", stages, enable=enable)
        for name, signal in word.items()
        if name != "end" and not name.startswith(coded)
    }
    return located, delayed(c, valid, "located_valid", stages, enable=enable, reset=0)


def _windows(
    c: Circuit, config: ArrayConfig, word: Word, valid: Signal, start: Signal, enable: Signal
) -> dict[str, Signal]:
    """An offset's top bit chooses between a word's window and the next; the others follow it."""
    low, window = config.index_bits - 1, word[WINDOW]
    following = named(window + 1, "following_window")
    addresses: dict[str, Signal] = {}
    for item, offset in enumerate(_numbered(word, OFFSET)):
        address = c.register(
            f"{INDEX}{item}",
            config.address_width,
            reset=config.null_address,
            clear=enable & offset.all(),
        )
        address.drive(concat(mux(offset[low], following, window), offset[:low]), enable=enable)
        addresses[f"{INDEX}{item}"] = address
    return addresses


def _deltas(
    c: Circuit, config: ArrayConfig, word: Word, valid: Signal, start: Signal, enable: Signal
) -> dict[str, Signal]:
    """Where the last item was, or at an output's begin row 0, and the distances from there."""
    width, deltas = config.address_width, _numbered(word, DELTA)
    addresses = [c.register(f"{INDEX}{item}", width) for item in range(len(deltas))]
    step = enable & valid
    fresh = c.register("fresh", 1, reset=1)
    fresh.drive(start | word["last"], enable=start | step)
    base, distance = named(addresses[-1] & (~fresh).replicate(width), "base_address"), None
    for address, delta in zip(addresses, deltas, strict=True):
        distance = delta if distance is None else _sum(distance, delta)
        address.drive(base + distance.zext(width), enable=step)
    return {f"{INDEX}{item}": address for item, address in enumerate(addresses)}


def _sum(distance: Signal, delta: Signal) -> Signal:
    width = distance.width + 1
    return distance.zext(width) + delta.zext(width)


def _numbered(word: Word, name: str) -> list[Signal]:
    return [signal for field, signal in word.items() if field.startswith(name)]


RUN_STAGES = 4
"""Cycles from the distances of a word to the rows of its items."""


def _run_distances(
    c: Circuit, config: ArrayConfig, word: Word, valid: Signal, start: Signal, enable: Signal
) -> dict[str, Signal]:
    """The distances summed up from where the run began; those of all ones are null items'."""
    distances = _numbered(word, DELTA)
    nulls = [
        delayed(c, distance.all(), f"null{item}_stage", RUN_STAGES - 1, enable=enable, reset=0)
        for item, distance in enumerate(distances)
    ]
    fresh = c.register("fresh", 1, reset=1)
    fresh.drive(start | word["last"], enable=start | (enable & valid))
    begins = named(fresh | word["step"], "run_begins")
    rows = sum_up(c, config, distances, (begins, valid), enable)
    return null_or_row(c, config, rows, nulls, enable)


def null_or_row(
    c: Circuit,
    config: ArrayConfig,
    rows: Sequence[Signal],
    nulls: Sequence[Signal],
    enable: Signal,
) -> dict[str, Signal]:
    """The registers of addresses: a row, or that of zeros."""
    addresses: dict[str, Signal] = {}
    for item, (row, null) in enumerate(zip(rows, nulls, strict=True)):
        address = c.register(
            f"{INDEX}{item}",
            config.address_width,
            reset=config.null_address,
            clear=enable & null,
        )
        address.drive(row, enable=enable)
        addresses[f"{INDEX}{item}"] = address
    return addresses


def sum_up(
    c: Circuit,
    config: ArrayConfig,
    distances: Sequence[Signal],
    begins_valid: tuple[Signal, Signal],
    enable: Signal,
    base: int = 0,
) -> list[Signal]:
    """The sums of a word's distances up to each, and of those before in the run.

    They are a cycle before `RUN_STAGES`. A run begins with a word that is `begins` and `valid`.
    With `base` 1, each distance counts one more, and a run begins at -1: every adder has a carry.
    This is the parallel prefix sum of Brent and Kung (IEEE Transactions on Computers, 1982), which
    has the fewest adders: 15 for eight items. The sums of blocks take a cycle, the sum of all one
    more, and it is then added to a register, the row of the last item.
    """
    width = config.address_width
    blocks = [[distance[: min(distance.width, width)] for distance in distances]]
    while len(blocks[-1]) > 2:
        pairs = blocks[-1]
        bits = min(pairs[0].width + 1, width)
        sums = [_plus(a, b, bits, base) for a, b in zip(pairs[::2], pairs[1::2], strict=True)]
        blocks.append([named(total, f"block{len(blocks)}_{n}") for n, total in enumerate(sums)])
    # The registers of the first stage are below the sum of all, which is made in the second one.
    halves = [c.delay(half, f"half{n}", enable=enable) for n, half in enumerate(blocks[-1])]
    whole = halves[0]
    if len(halves) > 1:
        whole = _plus(halves[0], halves[1], min(whole.width + 1, width), base)
    whole = c.delay(whole, "whole", enable=enable)
    begins, valid = (
        delayed(c, signal, f"{name}_stage", 2, enable=enable, reset=0)
        for name, signal in zip(("begins", "sums_valid"), begins_valid, strict=True)
    )
    last = c.register("last_row", width)
    kept = begins if base else ~begins
    before = last | kept.replicate(width) if base else last & kept.replicate(width)
    before = named(before, "row_before")
    after = _plus(before, whole, width, base)
    last.drive(after, enable=enable & valid)

    # Down again: what is before a block, and the sum up to its end.
    spans = [(c.delay(before, "before", enable=enable), last)]
    for level in reversed(range(len(blocks) if len(halves) > 1 else 0)):
        narrower: list[tuple[Signal, Signal]] = []
        for number, (start, end) in enumerate(spans):
            left = blocks[level][2 * number]
            if level == len(blocks) - 1:
                left, name, stages = halves[0], "half_stage", 2
            else:
                name, stages = f"block{level}_{2 * number}_stage", 3
            # With a reset, they do not become shift registers, which take LUTs.
            left = delayed(c, left, name, stages, enable=enable, reset=0)
            middle = named(_plus(start, left, width, base), f"row{level}_{2 * number}")
            narrower += [(start, middle), (middle, end)]
        spans = narrower
    return [end for _, end in spans]


def _plus(a: Signal, b: Signal, width: int, carry: int) -> Signal:
    """The sum of so many bits; a carry takes no further adder."""
    total = _fitted(a, width) + _fitted(b, width)
    return total + 1 if carry else total


def _fitted(distance: Signal, width: int) -> Signal:
    """Extended or cut to so many bits."""
    return distance[:width] if distance.width >= width else distance.zext(width)


FORMS: Mapping[type[IndexForm], Callable[..., dict[str, Signal]]] = {
    Windows: _windows,
    Deltas: _deltas,
    RunDistances: _run_distances,
}

STAGES: Mapping[type[IndexForm], int] = {RunDistances: RUN_STAGES}
"""Cycles that they take, if they are more than one."""
