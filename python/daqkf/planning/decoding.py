# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Engines for decoding, where a model makes one token after another.

Each token takes all weights once, and each kernel waits for a host that makes its activations of
the results of the kernel before. So lanes are as few as there are sequences in flight, all engines
share the outputs of each kernel, and what counts are bytes, and how far FIFOs bridge the time in
which nothing runs (`prediction.Turns`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

from daqkf.hw_targets.config import ArrayConfig, memory_depth
from daqkf.hw_targets.device import Device, Needs
from daqkf.hw_targets.engine import DSP_BITS, UnknownEngineError, engine_needs, in_dsps
from daqkf.hw_targets.machine import LANES_TOGETHER, PROGRAM_BITS, RAM_CHOICES
from daqkf.hw_targets.memory import Channels
from daqkf.hw_targets.prediction import Turns, program_beats, tile_cycles_of
from daqkf.hw_targets.words import parameter_row, stream_word
from daqkf.planning.plan import CAUSES
from daqkf.planning.workload import Product, Program
from daqkf.support.errors import DaqkfError

_PES = (2, 4, 8, 12, 16, 20, 24, 32, 48, 64)
"""Of an engine; parameters take as much room as if it had a power of two of them."""

_ENGINES = (1, 2, 4, 8, 16, 32)
_FIFOS = (512, "block"), (1024, "block"), (2048, "block"), (4096, "block"), (4096, "ultra")
"""Slots or words of a FIFO, and what it is made of: what bridges the time in which nothing runs.
UltraRAM has as many rows as its FIFO."""

_TOGETHER = {"block": (1, 2, 4), "ultra": (1, 8), "distributed": (8,)}
"""What activation memories are tried of, and of how many features a row: up to as many as block RAM
of two ports or UltraRAM is wide."""

_PORTS = (
    *((1, 128), (1, 256), (2, 128), (1, 512), (2, 256), (4, 128)),
    *((2, 512), (4, 256), (4, 512), (8, 512)),
)
"""Memory ports of an engine and their bits, the narrowest first."""

_KEEPING_UP = 1.05
"""Ports bring as much of what memory gives at least, so that they bind nothing."""

_TOO_MUCH = 2.5
"""Ports and elements that could take so many times what memory gives are not tried."""

_TOO_FEW = 0.2
"""Nor are elements that take less than this part of it."""

CACHE = "cache"
"""What cycles are for in which keys and values of earlier tokens come."""

DECODING_CAUSES: Mapping[str, str] = {**CAUSES, CACHE: "keys and values"}
"""What the cycles of a token can be for, and what it is called."""


@dataclass(frozen=True, eq=False)
class Turn:
    """A kernel of a decoder, whose activations a host makes of what kernels before it gave."""

    name: str
    parts: Sequence[Product]
    """Parts of its features, each with all outputs, whose sums are added up."""
    times: int = 1
    """How many such kernels a token goes through."""

    @property
    def weights(self) -> int:
        """Of all these kernels, zeros included."""
        return self.times * sum(part.products for part in self.parts)

    @property
    def outputs(self) -> int:
        """Of one of them."""
        return self.parts[-1].outputs

    def programs(self, most: int) -> list[Program]:
        """What runs for one of these kernels, with up to so many outputs at a time."""
        if most not in self._programs:
            found: list[Program] = []
            pieces = -(-self.outputs // most)
            for piece in range(pieces):
                own = slice(piece, None, pieces)
                for number, part in enumerate(self.parts):
                    bits = None if part.bits is None else part.bits[own]
                    product = Product(part.features, part.costs[own], bits)
                    kept = number < len(self.parts) - 1
                    found.append(Program(self.name, [product], keeps=kept))
            self._programs[most] = found
        return self._programs[most]

    @cached_property
    def _programs(self) -> dict[int, list[Program]]:
        """What was made for some numbers of outputs."""
        return {}


@dataclass(frozen=True, eq=False)
class Decoding:
    """What a token has engines do."""

    layer: Sequence[Turn]
    """The turns of a layer, in order, each with as many `times` as there are layers."""
    output: Turn
    """What gives the logits."""
    config: ArrayConfig
    """Of an array that they were compiled for."""
    cache_bytes: float
    """Keys and values of earlier tokens that each sequence reads for a token, and its own."""
    sequences: int = 1
    """In flight."""
    lanes: int = 1
    """Of an element: one for each sequence, or more, for prompts."""
    host: float = 0.0
    """Seconds that the host takes for each turn, from the last row of results to the first row of
    activations."""

    @property
    def turns(self) -> list[Turn]:
        """All of them, those of a layer once."""
        return [*self.layer, self.output]

    @property
    def weights(self) -> int:
        """That a token takes, zeros included."""
        return sum(turn.weights for turn in self.turns)

    @cached_property
    def word_bits(self) -> float:
        """Bits that a word takes in memory, on average."""
        parts = [part for turn in self.turns for part in turn.parts]
        if any(part.bits is None for part in parts):
            return stream_word(self.config, 0).width
        bits = sum(int(part.bits.sum()) for part in parts if part.bits is not None)
        return bits / sum(int(part.costs.sum()) for part in parts)

    def runs(self, most: int) -> list["Run"]:
        """Programs with up to so many outputs, in order."""
        if most not in self._runs:
            self._runs[most] = list(self._made(most))
        return self._runs[most]

    @cached_property
    def _runs(self) -> dict[int, list["Run"]]:
        """What was made for some numbers of outputs."""
        return {}

    def _made(self, most: int) -> Iterator["Run"]:
        made = [turn.programs(most) for turn in self.turns]
        before = [made[len(self.layer) - 1], *made[:-1]]
        for turn, own, others in zip(self.turns, made, before, strict=True):
            for number, program in enumerate(own):
                yield Run(program, turn.times, others[-1].outputs if number == 0 else 0)


@dataclass(frozen=True)
class Run:
    """A program that is run for one tile at a time."""

    program: Program
    times: int
    """For a token."""
    results: int
    """Of the program before, if activations are made of these."""

    @property
    def product(self) -> Product:
        """What it computes."""
        (part,) = self.program.parts
        assert isinstance(part, Product)
        return part


@dataclass(frozen=True)
class DecodePace:
    """How fast engines make a token in all sequences."""

    causes: Mapping[str, float]
    """Cycles by what they are for; see `DECODING_CAUSES`."""
    output_cycles: float
    """Those of the logits."""
    weight_bytes: float
    """Streams and programs, which come once for all sequences."""
    moved_bytes: float
    """Activations and results, keys and values of all sequences."""

    @property
    def cycles(self) -> float:
        """Of a token in all sequences."""
        return sum(self.causes.values())


@dataclass(frozen=True)
class DecodePlan:
    """Engines that share the outputs of each kernel."""

    device: Device
    memory: Channels
    clock: float
    config: ArrayConfig
    """Of an engine."""
    engines: int
    needs: Needs
    """Of all engines."""
    work: Decoding
    pace: DecodePace

    @property
    def tokens_per_second(self) -> float:
        """Of all sequences together."""
        return self.work.sequences * self.clock / self.pace.cycles

    def prompt_seconds(self, tokens: int) -> float:
        """In which so many tokens go through all layers; see `prompt_cycles`."""
        found = prompt_cycles(self.work, self.config, self.engines, self.memory, self.clock, tokens)
        return found / self.clock

    @property
    def bytes_per_second(self) -> float:
        """That the memory moves."""
        return (self.pace.weight_bytes + self.pace.moved_bytes) * self.clock / self.pace.cycles

    @property
    def bandwidth(self) -> float:
        """The share of what the memory gives, refreshes taken off, that is used."""
        return self.bytes_per_second / self.memory.bandwidth

    @property
    def bits_per_weight(self) -> float:
        """Of external memory, everything included."""
        return 8 * self.pace.weight_bytes / self.work.weights

    def facts(self) -> dict[str, Any]:
        """All figures as values for JSON."""
        cycles = self.pace.cycles
        return {
            "engines": self.engines,
            "engine": asdict(self.config),
            "needs": asdict(self.needs),
            "shares": self.device.shares(self.needs),
            "sequences": self.work.sequences,
            "tokens_per_second": self.tokens_per_second,
            "cycles_per_token": cycles,
            "causes": {name: each / cycles for name, each in self.pace.causes.items()},
            "weight_bytes_per_token": self.pace.weight_bytes,
            "moved_bytes_per_token": self.pace.moved_bytes,
            "bits_per_weight": self.bits_per_weight,
            "bytes_per_second": self.bytes_per_second,
            "bandwidth": self.bandwidth,
        }


def best_decoder(
    work: Decoding, device: Device, memory: Channels, clock: float, use: float
) -> DecodePlan:
    """The engines that make a token in the least time, and of these those that take the least.

    Args:
        work: what a token has them do.
        device: or what is left of one.
        memory: its external memory.
        clock: in Hz.
        use: the share of each resource that may be taken.

    Raises:
        DaqkfError: no engine fits, or nothing says what such elements take of the device.
    """
    try:
        return _best(work, device, memory, clock, use)
    except UnknownEngineError as error:
        raise DaqkfError(str(error)) from None


def _best(work: Decoding, device: Device, memory: Channels, clock: float, use: float) -> DecodePlan:
    best: tuple[tuple[float, float], DecodePlan] | None = None
    paces: dict[tuple[ArrayConfig, int], DecodePace] = {}
    for config, engines in _organisations(work, memory, clock):
        # What memories are made of takes no time.
        key = replace(config, **dict.fromkeys(RAM_CHOICES, "block")), engines
        if key not in paces:
            paces[key] = decode_pace(work, config, engines, memory, clock)
        pace = paces[key]
        cycles = float(f"{pace.cycles:.3g}")
        if best is not None and cycles > best[0][0]:
            continue
        needs = engine_needs(config, device.fabric) * engines
        shares = device.shares(needs)
        rank = cycles, sum(shares.values())
        if max(shares.values()) <= use and (best is None or rank < best[0]):
            best = rank, DecodePlan(device, memory, clock, config, engines, needs, work, pace)
    if best is None:
        raise DaqkfError(f"no engine for decoding fits {use:.0%} of {device.name}")
    return best[1]


def _organisations(
    work: Decoding, memory: Channels, clock: float
) -> Iterator[tuple[ArrayConfig, int]]:
    """Engines that are tried, and how many of them."""
    given = 8 * memory.bandwidth / clock
    for engines, pes in product(_ENGINES, _PES):
        if not _TOO_FEW < engines * pes * work.word_bits / given < _TOO_MUCH:
            continue
        enough = [
            (ports, bits)
            for ports, bits in _PORTS
            if not pes % ports and _KEEPING_UP < engines * ports * bits / given < _TOO_MUCH
        ]
        # The fewest bits that do: more of them would only take more.
        for ports, bits in enough[:2]:
            for config in _memories(work, pes, engines):
                yield replace(config, memory_ports=ports, memory_bits=bits), engines


def _memories(work: Decoding, pes: int, engines: int) -> Iterator[ArrayConfig]:
    """Engines of so many elements with FIFOs and activation memories of each kind."""
    # Two lanes share a DSP block.
    base, lanes = work.config, work.lanes + work.lanes % 2 * in_dsps(work.config)
    plain = replace(
        base,
        pes=pes,
        lanes=lanes,
        post_lanes=lanes,
        banks=2,
        reads_ahead=True,
        families=base.families[:1],
        **dict.fromkeys(RAM_CHOICES, "block"),
    )
    runs = work.runs(engines * plain.result_depth)
    slots = max(run.product.shared(engines * pes).outputs for run in runs)
    fits = plain.sum_width <= DSP_BITS and not in_dsps(plain)
    sized = replace(
        plain,
        parameter_depth=memory_depth(slots),
        post_multiplier="dsp" if fits else "luts",
    )
    # Parameters of an output are filled up to as many bits.
    wide = next(bits for bits in PROGRAM_BITS[1:] if bits >= parameter_row(sized).width)
    few = lanes <= LANES_TOGETHER and not in_dsps(plain)
    for (fifo, kind), style in product(_FIFOS, _TOGETHER):
        found = replace(sized, stream_depth=fifo, program_bits=wide, activation_memory=style)
        found = replace(found, stream_memory=kind)
        for together in _TOGETHER[style] if few else (1,):
            yield replace(found, features_together=together)


def decode_pace(
    work: Decoding, config: ArrayConfig, engines: int, memory: Channels, clock: float
) -> DecodePace:
    """How fast so many engines of a config are; see `best_decoder`."""
    behind = memory.behind(engines * config.memory_ports)
    timing, given = behind.timing(clock, config), memory.bandwidth / clock
    causes = dict.fromkeys(DECODING_CAUSES, 0.0)
    weight_bytes = moved = output = 0.0
    runs = work.runs(engines * config.result_depth)
    steps = [run.product.work(config, engines) for run in runs]
    loads = [program_beats([step], config) for step in steps]
    results = [-(-run.results // engines) for run in runs]
    turns = Turns(config, timing)
    for step, before in zip(steps, results, strict=True):
        turns.take(step, before, work.host * clock)
    # Now the FIFOs are as full as behind another token.
    for number, (run, step) in enumerate(zip(runs, steps, strict=True)):
        tile = turns.take(step, results[number], work.host * clock)
        bits = tile.beats * config.memory_ports * config.memory_bits
        brought = engines * (bits + loads[number] * config.program_bits) / 8
        # Activations go to each engine, and come from memory once.
        rows = step.features + engines * (0 if run.program.keeps else step.outputs)
        tile.memory += max(0.0, (brought + rows * config.lanes) / given - tile.total)
        # Behind the last turn of a layer is mostly the first one of the next.
        last = number + 1 == len(runs) or run.times > runs[number + 1].times
        loading = max(0.0, loads[0 if last else number + 1] - tile.total)
        for name, cycles in tile.causes().items():
            causes[name] += run.times * cycles
        causes["loading"] += run.times * loading
        weight_bytes += run.times * brought
        moved += run.times * rows * config.lanes
        output += (tile.total + loading) * (run.times < runs[0].times)
    # The logits leave before there is another token.
    leaving = config.tile_beats(steps[-1].rows)
    causes["moving"] += leaving
    cache = work.sequences * work.cache_bytes
    causes[CACHE] = cache / given
    return DecodePace(causes, output + leaving, weight_bytes, moved + cache)


def prompt_cycles(
    work: Decoding,
    config: ArrayConfig,
    engines: int,
    memory: Channels,
    clock: float,
    tokens: int,
) -> float:
    """Cycles in which the tokens of a prompt go through all layers, `lanes` of them at a time.

    A program runs for all of them before there is another one, and takes its streams for each
    `lanes` tokens again.
    """
    behind = memory.behind(engines * config.memory_ports)
    timing, given = behind.timing(clock, config), memory.bandwidth / clock
    tiles, total = -(-tokens // config.lanes), 0.0
    turns = Turns(config, timing)
    for run in work.runs(engines * config.result_depth):
        if run.times < work.layer[0].times:
            continue
        step = run.product.work(config, engines)
        results = -(-run.results // engines)
        first = turns.take(step, results, work.host * clock)
        other = tile_cycles_of([step], config, timing)
        rows = step.features + engines * (0 if run.program.keeps else step.outputs)
        bits = other.beats * config.memory_ports * config.memory_bits
        least = (engines * bits / 8 + rows * config.lanes) / given
        spent = max(first.total, least) + (tiles - 1) * max(other.total, least)
        total += run.times * max(spent, program_beats([step], config))
    return total
