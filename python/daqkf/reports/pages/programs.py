# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What a page says of an array and its programs: cycles, bytes, memories and logic.

Cycles are those of the schedule: the words of each element, and the rows that the post unit takes.
They leave out the latency of the pipeline, and stalls of whatever is connected.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.device import LABELS, device_names, load_device
from daqkf.hw_targets.engine import (
    UnknownEngineError,
    engine_needs,
    instances,
    memories,
    module_logic,
)
from daqkf.hw_targets.timing import tile_cycles
from daqkf.reports.pages.blocks import (
    Block,
    Chart,
    Lane,
    Note,
    Section,
    Series,
    Share,
    Table,
    Timeline,
)
from daqkf.reports.pages.charts import thinned

_KERNELS = 24
"""Kernels whose phases are drawn, at most."""

_STEPS, _SLOWEST = 400, 16


@dataclass(frozen=True)
class Work:
    """What the array does for a tile of a kernel."""

    name: str
    words: NDArray[np.int64]
    """[P] of each element."""
    rows: int
    """Of results, as the post unit makes them."""
    loaded: int
    """Bytes of a token that come in front of it; 0 in a chain behind another kernel."""
    stored: int
    """Bytes of a token that leave behind it; 0 if the results stay on the array."""
    products: int
    """Dense products of a token, zeros included: K × N; 0 for products of activations."""
    program_bytes: int

    def cycles(self, config: ArrayConfig) -> int:
        """For a tile of tokens."""
        return tile_cycles(self.words, self.rows, config)

    def loading(self, config: ArrayConfig) -> int:
        """Cycles in which the activations of a tile come."""
        return -(-self.loaded // config.features_together)

    def storing(self, config: ArrayConfig) -> int:
        """Cycles in which its results leave."""
        return -(-self.stored // config.features_together)


def sections(works: Sequence[Work], config: ArrayConfig, saved: int) -> list[Section]:
    """The sections on an array, and on what its programs do; `saved` are bytes a token that fusion
    saves."""
    found = [
        Section("utilisation", "Elements and ports over time", _utilisation(works, config)),
        Section("roofline", "Roofline", _roofline(works, config)),
        Section("bytes", "Bytes moved", _bytes(works, config, saved)),
        Section("memory", "Memory map", _memory(works, config)),
        Section("resources", "Resources", _resources(config)),
    ]
    return [section for section in found if section.blocks]


def _utilisation(works: Sequence[Work], config: ArrayConfig) -> list[Block]:
    if not works:
        return []
    total = sum(work.cycles(config) for work in works)
    busy = sum(int(work.words.sum()) for work in works)
    text = (
        f"A tile of {config.lanes} tokens takes {total:,} cycles by the schedule. Elements read a "
        f"word in {busy / (config.pes * total):.1%} of their cycles, and all {config.lanes} lanes "
        "of an element work on it. In the other cycles they have no words left, and wait for the "
        "longest element or for the post unit. Latency of the pipeline is not counted."
    )
    rows = [
        (
            work.name,
            work.cycles(config),
            int(work.words.min()),
            int(work.words.max()),
            _share(float(work.words.sum()) / (config.pes * work.cycles(config))),
            "post unit" if work.words.max() < work.cycles(config) else "elements",
            work.loading(config),
            work.storing(config),
        )
        for work in works
    ]
    headings = (
        *("kernel", "cycles a tile", "words of the shortest element", "of the longest"),
        *("elements busy", "bound by", "cycles loading", "cycles storing"),
    )
    return [
        Note(text),
        _running(works, config),
        _phases(works, config),
        Table("Cycles of each kernel", headings, rows),
        *_waiting(works, config),
    ]


def _share(value: float) -> Share:
    return Share(value, f"{value:.1%}")


def _running(works: Sequence[Work], config: ArrayConfig) -> Chart:
    """How many elements still read words, over the cycles of a tile of all kernels in turn."""
    times: list[float] = []
    shares: list[float] = []
    begin = 0
    each = max(4, _STEPS // len(works))
    for work in works:
        ends = np.unique([0, *work.words.tolist(), work.cycles(config) - 1])
        ends = ends[ends < work.cycles(config)][thinned_of(ends, work.cycles(config), each)]
        counts = (work.words[None, :] > ends[:, None]).mean(axis=1)
        times += (begin + ends).tolist()
        shares += (100 * counts).tolist()
        begin += work.cycles(config)
    series = Series("elements", [*times, begin], [*shares, 0.0], steps=True)
    caption = "Elements that read a word in a cycle; all kernels of a tile run in turn."
    return Chart("Elements at work", caption, "cycle", "elements at work, %", [series])


def thinned_of(ends: NDArray[np.int64], cycles: int, most: int) -> NDArray[np.int64]:
    """Places of some of the ends that are before a number of cycles."""
    return thinned(int((ends < cycles).sum()), most)


def _phases(works: Sequence[Work], config: ArrayConfig) -> Timeline:
    shown, now = works[:_KERNELS], 0.0
    lanes: dict[str, list[tuple[float, float, str]]] = {
        "port of activations: loading": [],
        "elements: running": [],
        "post unit: making results": [],
        "port of results: storing": [],
    }
    loading, running, making, storing = lanes.values()
    stored = 0.0
    for work in shown:
        if work.loaded:
            loading.append((now, now + work.loading(config), f"{work.name}: load"))
            now += work.loading(config)
        cycles = work.cycles(config)
        longest = int(work.words.max())
        running.append((now, now + longest, f"{work.name}: {longest:,} words"))
        post = work.rows * config.post_cycles
        making.append((now + cycles - post, now + cycles, f"{work.name}: {work.rows:,} results"))
        now += cycles
        if work.stored:
            begin = max(now, stored)
            stored = begin + work.storing(config)
            storing.append((begin, stored, f"{work.name}: store"))
    some = f" The first {len(shown)} of {len(works)} kernels." if len(shown) < len(works) else ""
    caption = (
        "Loading, running and storing of one tile. Results leave while the next kernel or tile "
        f"runs; the post unit's cycles are drawn at the end of those of its kernel.{some}"
    )
    return Timeline(
        "Ports and elements",
        caption,
        "cycle",
        [Lane(name, spans) for name, spans in lanes.items()],
    )


def _waiting(works: Sequence[Work], config: ArrayConfig) -> list[Block]:
    """Which elements have the least to do, over all kernels."""
    words = np.sum([work.words for work in works], axis=0)
    total = sum(work.cycles(config) for work in works)
    order = np.argsort(words, kind="stable")
    shown = sorted(order[:_SLOWEST].tolist())
    rows = [
        (
            f"element {place}",
            int(words[place]),
            _share(float(words[place]) / total),
            total - int(words[place]),
        )
        for place in shown
    ]
    some = f"the {len(rows)} that wait most of {config.pes}" if len(rows) < config.pes else "all"
    headings = ("element", "words a tile", "busy", "cycles without a word")
    return [Table(f"Elements that wait: {some}", headings, rows, folded=True)]


def _traffic(work: Work, config: ArrayConfig) -> float:
    """Bytes that a kernel moves for a tile: activations, results, and streams from memory."""
    streams = work.program_bytes if config.memory_bits else 0
    return (work.loaded + work.stored) * config.lanes + streams


def _roofline(works: Sequence[Work], config: ArrayConfig) -> list[Block]:
    known = [work for work in works if work.products and _traffic(work, config)]
    if not known:
        return []
    lanes = config.lanes
    peak = max(work.products * lanes * config.pes / max(int(work.words.sum()), 1) for work in known)
    # A beat of activations in, and one of results out, in each cycle.
    ports = 2 * lanes * config.features_together + config.memory_bits // 8
    x = np.array([work.products * lanes / _traffic(work, config) for work in known])
    y = np.array(
        [work.products * lanes / (work.cycles(config) + work.loading(config)) for work in known]
    )
    low, high = min(x.min(), peak / ports) / 4, max(x.max(), peak / ports) * 4
    reach = np.array([low, peak / ports, high])
    series = [
        Series(
            "what elements and ports can do",
            reach.tolist(),
            np.minimum(reach * ports, peak).tolist(),
            marks=False,
        ),
        Series("kernels", x.tolist(), y.tolist(), points=True),
        Series(
            f"a dense array of {config.pes} × {lanes} multipliers",
            [float(low), float(high)],
            [float(config.pes * lanes)] * 2,
            marks=False,
        ),
    ]
    text = (
        "Products are dense ones, zeros included. Zeros take no time, so all elements at work do "
        f"{peak:,.1f} in a cycle with the kernel whose words stand for most products; "
        f"{config.pes * lanes} multipliers do {config.pes * lanes}. The ports move {ports} bytes "
        "in a cycle" + (", streams of weights among them." if config.memory_bits else ".")
    )
    axes = "dense products for each byte moved", "dense products a cycle"
    return [
        Note(text),
        Chart("Products by bytes moved", "Both axes are logarithmic.", *axes, series, log=True),
    ]


def _bytes(works: Sequence[Work], config: ArrayConfig, saved: int) -> list[Block]:
    most = max((work.loaded + work.stored for work in works), default=1) or 1
    rows = [
        (
            work.name,
            work.loaded,
            work.stored,
            Share((work.loaded + work.stored) / most, f"{work.loaded + work.stored:,}"),
            work.program_bytes or None,
        )
        for work in works
    ]
    total = sum(work.loaded + work.stored for work in works)
    text = f"{total:,} bytes of a token go to the array and back."
    if saved:
        text += f" Fusion saves {saved:,} bytes, which would go there and back without it."
    headings = ("kernel", "in", "out", "both", "bytes of its program")
    return [Note(text), Table("Bytes a token", headings, rows)]


def _memory(works: Sequence[Work], config: ArrayConfig) -> list[Block]:
    blocks: list[Block] = []
    try:
        found = memories(config)
    except (KeyError, ValueError):
        found = []  # elements of which nothing says what memories they have
    if found:
        most = max(memory.number * memory.depth * memory.width for memory in found) or 1
        rows = [
            (
                memory.holds,
                memory.module,
                memory.number,
                memory.depth,
                memory.width,
                Share(
                    memory.number * memory.depth * memory.width / most,
                    _bits(memory.number * memory.depth * memory.width),
                ),
                {"block": "block RAM", "distributed": "LUTs", "ultra": "UltraRAM"}.get(
                    memory.style, memory.style
                ),
            )
            for memory in found
            if memory.depth
        ]
        headings = ("holds", "unit", "number", "rows", "bits of a row", "size", "made of")
        blocks.append(Table("Memories on the chip", headings, rows))
    place, images = 0, list[tuple[object, ...]]()
    for work in works:
        if work.program_bytes:
            images.append((work.name, f"{place:#010x}", work.program_bytes))
            place += work.program_bytes
    if images:
        caption = "Program images, one behind another"
        blocks.append(
            Table(caption, ("program", "offset", "bytes"), images, folded=len(images) > 12)
        )
    return blocks


def _bits(bits: int) -> str:
    return f"{bits / 8192:,.1f} KiB" if bits >= 8192 else f"{bits:,} bits"


def _resources(config: ArrayConfig) -> list[Block]:
    blocks: list[Block] = []
    numbers, rows, reason = instances(config), list[tuple[object, ...]](), ""
    for family, name in (("xcup", "UltraScale+"), ("ecp5", "ECP5")):
        try:
            logic = module_logic(config, family)
        except UnknownEngineError as error:
            reason = str(error)
            continue
        most = max((takes["luts"] for takes in logic.values()), default=1) or 1
        rows += [
            (
                module,
                name,
                numbers.get(module, 1),
                Share(takes["luts"] / most, f"{takes['luts']:,.0f}"),
                round(takes["flip_flops"]),
            )
            for module, takes in logic.items()
            if takes["luts"] or takes["flip_flops"]
        ]
    if rows:
        headings = ("unit", "fabric", "number", "LUTs of all", "flip-flops of all")
        blocks.append(Table("Logic of each unit, predicted", headings, rows))
    on = list[tuple[object, ...]]()
    for name in device_names():
        device = load_device(name)
        try:
            shares = device.shares(engine_needs(config, device.fabric))
        except (UnknownEngineError, KeyError, ValueError) as error:
            reason = str(error)
            continue
        cells = [shares.get(kind) for kind in LABELS]
        on.append((name, *(None if cell is None else _of(cell) for cell in cells)))
    if on:
        blocks.append(
            Table("The array's share of devices, predicted", ("device", *LABELS.values()), on)
        )
    if reason and not (rows and on):
        blocks.append(
            Note(f"{reason[:1].upper() + reason[1:]}. daqkf synth finds what this one takes.")
        )
    else:
        text = "A model that was fitted to synthesis by yosys predicts these; daqkf synth counts."
        blocks.insert(0, Note(text))
    return blocks


def _of(share: float) -> Share:
    return Share(min(share, 1), f"{share:.1%}" if share <= 10 else f"{share:.0f} times")
