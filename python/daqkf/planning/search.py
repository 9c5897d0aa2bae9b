# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The search for the best engines: every organisation of a grid that fits the device."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.design import Design
from daqkf.hw_targets.config import ArrayConfig, memory_depth
from daqkf.hw_targets.device import LABELS, Device, Needs, load_device
from daqkf.hw_targets.engine import (
    DSP_BITS,
    UnknownEngineError,
    in_dsps,
    logic_needs,
    memory_needs,
)
from daqkf.hw_targets.machine import (
    MEMORY_BITS,
    MEMORY_WORDS,
    PROGRAM_BITS,
    RAM_CHOICES,
    RAM_STYLES,
)
from daqkf.hw_targets.memory import Channels, MemoryTiming, load_channels
from daqkf.hw_targets.prediction import KernelWork, Step, TileCycles, program_beats, tile_cycles_of
from daqkf.hw_targets.streams import is_coded, row_bits
from daqkf.planning.plan import CAUSES, Pace, Plan
from daqkf.planning.workload import Program, Workload
from daqkf.support.errors import DaqkfError

THROUGHPUT, LATENCY = "throughput", "latency"

OBJECTIVES = (THROUGHPUT, LATENCY)
"""What a plan is best at: the most tokens a second with the wanted tokens in flight, or the least
time of one tile alone."""

CLOCK = 250e6
"""Of the engines in Hz, if none is given."""

TOKENS = 128
"""That are in flight, if nobody says how many."""

USE = 0.8
"""The share of each resource that engines take at most, if none is given."""

_PES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
LANES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Of an element; tried unless others are given."""

_PORTS = (1, 2, 4, 8)
_LEAST = 8
"""Ports that bring less than this part of what elements can take are not tried."""

_FIFO = 512
"""Words of the FIFO of an element: a block RAM has no fewer."""

INTO_LUTS = ("table_memory", "partial_memory", "result_memory")
"""What may be made of LUTs that store, those that save the most block RAM for each LUT first. Each
is tried with those before it."""

_LUT_ROWS = 512
"""Rows of the deepest activation memories that are tried in LUTs, which are nine for each bit that
is read, and three that choose."""

_ORDERS = (
    ("block", "ultra", "distributed"),
    ("ultra", "block", "distributed"),
    ("distributed", "block", "ultra"),
)
"""What the activation memories of engines side by side are made of: as many as there is room for of
the first kind, then of the next one."""


def plan(
    network: CompiledNetwork | Design,
    device: str,
    memory: str | None = None,
    *,
    tokens: int = TOKENS,
    clock: float = CLOCK,
    objective: str = THROUGHPUT,
    use: float = USE,
) -> Plan:
    """The engines of a device that are best for a network.

    Elements, lanes, post lanes, memories, ports and the number of engines are searched; items,
    steps and the widths of sums are those that the network was compiled with. What an engine takes
    comes from `hw_targets.engine`, its cycles from `hw_targets.prediction`. The words of an output
    are those of the compiled streams; outputs are shared out anew among other numbers of elements.

    Args:
        network: what is to run.
        device: one of `hw_targets.device.device_names()`.
        memory: external memory, `NAME` or `NAMExCHANNELS`; by default the device's usual one.
        tokens: that are in flight.
        clock: of the engines, in Hz.
        objective: one of `OBJECTIVES`.
        use: the share of each resource of the device that may be taken, above 0 and up to 1.

    Raises:
        DaqkfError: an unknown device, memory or objective, numbers that are out of range, a network
            that cannot be planned for, or one of which no engine fits.
    """
    found, channels = checked(device, memory, tokens, clock, objective, use)
    return best_engines(Workload.of(network), found, channels, tokens, clock, use, objective)


def best_engines(
    work: Workload,
    device: Device,
    memory: Channels,
    tokens: int,
    clock: float = CLOCK,
    use: float = USE,
    objective: str = THROUGHPUT,
    lanes: Sequence[int] = LANES,
) -> Plan:
    """The engines of a device that are best for a workload; see `plan`, which checks all this.

    Args:
        work: what is to run, and on elements of which family.
        device: or what is left of one.
        memory: or a part of it.
        tokens: in flight.
        clock: in Hz.
        use: the share of each resource that may be taken.
        objective: one of `OBJECTIVES`.
        lanes: numbers of them to try, the fewest first.

    Raises:
        DaqkfError: no engine fits, or nothing says what such elements take of the device.
    """
    try:
        return _Search(work, device, memory, tokens, clock, use, objective, lanes).best()
    except UnknownEngineError as error:
        raise DaqkfError(str(error)) from None


def checked(
    device: str, memory: str | None, tokens: int, clock: float, objective: str, use: float
) -> tuple[Device, Channels]:
    """The device and the memory that a plan is for; see `plan`.

    Raises:
        DaqkfError: there are none such, or numbers that are out of range.
    """
    if objective not in OBJECTIVES:
        raise DaqkfError(f"unknown objective '{objective}' (known: {', '.join(OBJECTIVES)})")
    if tokens < 1:
        raise DaqkfError(f"plans are for 1 token or more, not {tokens}")
    if not 0 < use <= 1:
        raise DaqkfError(f"use must be a share above 0 and up to 1, not {use:g}")
    if not 0 < clock < float("inf"):
        raise DaqkfError(f"a clock must be above 0, not {clock / 1e6:g} MHz")
    try:
        found = load_device(device)
        return found, load_channels(memory or found.memories[0])
    except ValueError as error:
        raise DaqkfError(str(error)) from None


@dataclass(frozen=True)
class _Search:
    """What is searched, and within which limits."""

    work: Workload
    device: Device
    memory: Channels
    tokens: int
    clock: float
    use: float
    objective: str
    lanes: Sequence[int]
    timings: "dict[ArrayConfig, _Timing]" = field(default_factory=dict[ArrayConfig, "_Timing"])

    def best(self) -> Plan:
        """The best plan.

        Raises:
            DaqkfError: no engine fits.
        """
        best: tuple[tuple[float, ...], Plan] | None = None
        for shape in self._shapes():
            if best is not None and self._least(shape, self._wanted(shape.lanes)) > best[0][0]:
                continue
            for config, engines in self._engines(shape):
                if best is not None and self._least(shape, engines.number, config) > best[0][0]:
                    continue
                found = self._plan(config, engines)
                key = self._key(found)
                if best is None or key < best[0]:
                    best = key, found
        if best is None:
            raise DaqkfError(
                f"no engine for this network fits {self.use:.0%} of {self.device.name}"
            )
        return best[1]

    def _key(self, found: Plan) -> tuple[float, ...]:
        """What is to be small: time by the objective, and of equal times what is taken."""
        times = found.pace.cycles, found.alone.cycles
        first, second = times if self.objective == THROUGHPUT else reversed(times)
        taken = sum(self.device.shares(found.needs).values())
        return float(f"{first:.3g}"), float(f"{second:.3g}"), taken

    def _wanted(self, lanes: int) -> int:
        """How many engines of so many lanes have something to do."""
        return -(-self.tokens // lanes)

    def _least(self, shape: "_Shape", engines: int, config: ArrayConfig | None = None) -> float:
        """Cycles that a plan takes at least: those of the elements, the post and the row unit, and
        those in which activations arrive; or those in which the memory moves activations and
        results, and streams if there is a config of the engines."""
        if self.objective == LATENCY:
            engines = tiles = 1
        else:
            tiles = -(-self.tokens // (engines * shape.lanes))
        cycles = self.work.tile_cycles(shape.pes, shape.lanes // shape.post_lanes)
        cycles += shape.row_cycles(self.work) + self.work.least_cycles
        moved = shape.lanes * self.work.row_bytes
        if config is not None:
            moved += self._timing(config).stream_bytes
        cycles = max(cycles, engines * moved * self.clock / self.memory.bandwidth)
        # Times are compared in three digits.
        return 0.99 * tiles * cycles

    def _shapes(self) -> Iterator["_Shape"]:
        """Elements, lanes, post lanes and solvers, the most first, so that what is slow is seen
        early."""
        for pes in reversed(_PES):
            for lanes in reversed(self.lanes):
                if lanes < 2 * self.tokens:
                    for post_lanes in self._post_lanes(pes, lanes):
                        for solvers in self._solvers(post_lanes):
                            yield _Shape(pes, lanes, post_lanes, solvers)

    def _solvers(self, post_lanes: int) -> Sequence[int]:
        """Solvers of a row unit that are tried: one for each lane, for four, or for all."""
        if not self.work.config.normalizes:
            return (1,)
        return sorted({post_lanes, max(post_lanes // 4, 1), 1}, reverse=True)

    def _post_lanes(self, pes: int, lanes: int) -> Sequence[int]:
        """As few as keep up with the elements, half and twice as many."""
        words, outputs = self.work.tile_cycles(pes, 0), self.work.outputs
        enough = 1
        while enough < lanes and outputs * lanes > words * enough:
            enough *= 2
        return sorted({max(enough // 2, 1), enough, min(2 * enough, lanes)})

    def _engines(self, shape: "_Shape") -> Iterator[tuple[ArrayConfig, "_Engines"]]:
        """Engines of a shape, and how many of them."""
        for config in self._memories(shape):
            for engines in self._numbers(config):
                yield config, engines

    def _sized(self, pes: int) -> ArrayConfig:
        return replace(
            self.work.config,
            pes=pes,
            memory_ports=1,
            stream_depth=1 << 20,
            families=self.work.config.families[:1],
        )

    def _memories(self, shape: "_Shape") -> Sequence[ArrayConfig]:
        """An engine of a shape with each kind of memories. Whatever is left of a device, they are
        the same."""
        device = self.device
        key = shape, device.fabric, bool(device.dsps), bool(device.lut_rams)
        if key not in self.work.engines:
            self.work.engines[key] = tuple(self._made(shape))
        return self.work.engines[key]

    def _made(self, shape: "_Shape") -> Iterator[ArrayConfig]:
        programs, plain = self.work.programs, self._sized(shape.pes)
        words = max(program.stream_depth(plain) for program in programs)
        slots = max(program.slots(plain) for program in programs)
        shaped = replace(
            shape.of(plain),
            parameter_depth=memory_depth(slots),
            banks=2 if len(programs) > 1 else 1,
            post_multiplier=self._post_multiplier(plain),
        )
        for common in self._styles(shaped):
            yield from self._ports(common, words)

    def _styles(self, config: ArrayConfig) -> Iterator[ArrayConfig]:
        """An engine with memories in block RAM, and with some of them in LUTs that store."""
        config = replace(config, **dict.fromkeys(RAM_CHOICES, "block"))
        yield config
        for name in INTO_LUTS if self.device.lut_rams else ():
            if name != "partial_memory" or config.partial_depth:
                config = replace(config, **{name: "distributed"})
                yield config

    def _ports(self, common: ArrayConfig, words: int) -> Iterator[ArrayConfig]:
        """An engine with its streams on chip, or by each number and width of memory ports.

        Args:
            common: the engine.
            words: of the longest stream in any program.
        """
        pes = common.pes
        # Elements decode what memory brings.
        for program_bits in () if is_coded(common) else self._program_bits(PROGRAM_BITS[-1]):
            yield replace(
                common,
                memory_bits=0,
                stream_depth=memory_depth(words),
                program_bits=program_bits,
            )
        if words > MEMORY_WORDS:
            return
        wanted = row_bits(common)
        for bits in MEMORY_BITS[1:]:
            for ports in _PORTS:
                much = bits * ports > 2 * wanted and (bits, ports) != (MEMORY_BITS[1], 1)
                if pes % ports or much or bits * ports * _LEAST < wanted:
                    continue
                for program_bits in self._program_bits(bits):
                    yield replace(
                        common,
                        memory_bits=bits,
                        memory_ports=ports,
                        stream_depth=_FIFO,
                        program_bits=program_bits,
                    )

    def _post_multiplier(self, config: ArrayConfig) -> str:
        """DSP blocks multiply for the post unit where they can, if elements leave them idle."""
        fits = self.device.dsps and config.sum_width <= DSP_BITS and not in_dsps(config)
        return "dsp" if fits and self.device.fabric == "xcup" else "luts"

    def _program_bits(self, most: int) -> Sequence[int]:
        """Bits of programs that come at once, and no more than a port of so many brings. Where
        there is one program, it is loaded once."""
        wide = min(most, PROGRAM_BITS[-1])
        return (wide, PROGRAM_BITS[0]) if len(self.work.programs) > 1 else PROGRAM_BITS[:1]

    def _numbers(self, config: ArrayConfig) -> list["_Engines"]:
        """How many such engines there can be: as many as there is room for, fewer, or one.

        Those with activations in one kind of memory stand beside those that have them in another.
        """
        wanted = self._wanted(config.lanes)
        fabric = self.device.fabric
        needs = {style: _needs(config, style, fabric) for style in self._kinds(config)}
        mixes = [self._mix(needs, order, wanted) for order in _ORDERS]
        most = max(engines.number for engines in mixes)
        found: dict[tuple[int, ...], _Engines] = {}
        for number in {most // 2, most // 4, 1} - {0}:
            mixes += [self._mix(needs, order, number) for order in _ORDERS]
        for engines in mixes:
            if engines.number:
                found[engines.key] = engines
        return [found[key] for key in sorted(found)]

    def _kinds(self, config: ArrayConfig) -> list[str]:
        """What the activation memories of engines can be made of on the device."""
        few = config.activation_depth <= _LUT_ROWS
        there = {
            "block": self.device.block_rams_18k,
            "ultra": self.device.ultra_rams,
            "distributed": few and self.device.lut_rams,
        }
        return [style for style, has in there.items() if has]

    def _mix(self, needs: Mapping[str, Needs], order: Sequence[str], wanted: int) -> "_Engines":
        """Engines up to the wanted number: as many of a kind as there is room for, then others."""
        total, counts = Needs(0, 0, 0), dict[str, int]()
        for style in (style for style in order if style in needs):
            count = self._room(needs[style], wanted - sum(counts.values()), total)
            if count:
                counts[style] = count
                total += needs[style] * count
        return _Engines(counts, total)

    def _room(self, needs: Needs, wanted: int, taken: Needs) -> int:
        """How many engines there is room for, beside what is taken, up to the wanted number."""
        for name in LABELS:
            if takes := getattr(needs, name):
                left = int(self.use * getattr(self.device, name)) - getattr(taken, name)
                wanted = min(wanted, left // takes)
        return max(wanted, 0)

    def _plan(self, config: ArrayConfig, engines: "_Engines") -> Plan:
        timing = self._timing(config)
        styles = list(engines.counts)
        return Plan(
            device=self.device,
            memory=self.memory,
            clock=self.clock,
            use=self.use,
            objective=self.objective,
            config=with_activations(config, styles[0] if len(styles) == 1 else "block"),
            engines=engines.number,
            engines_by_memory=engines.counts,
            needs=engines.needs,
            pace=timing.pace(self.tokens, engines.number),
            alone=timing.pace(config.lanes, 1),
            products=self.work.products,
            words=self.work.words,
        )

    def _timing(self, config: ArrayConfig) -> "_Timing":
        config = _timed(config)
        if config not in self.timings:
            self.timings[config] = _Timing(self, config)
        return self.timings[config]


@lru_cache(maxsize=1 << 16)
def _needs(config: ArrayConfig, style: str, fabric: str) -> Needs:
    """What an engine with its activations in memory of a style takes."""
    return logic_needs(config, fabric) + memory_needs(with_activations(config, style), fabric)


@lru_cache(maxsize=1 << 14)
def _timed(config: ArrayConfig) -> ArrayConfig:
    """The engine that takes as long: what memories are made of takes no time."""
    return replace(config, **dict.fromkeys(RAM_CHOICES, "block"))


def with_activations(config: ArrayConfig, style: str) -> ArrayConfig:
    """An engine with its activations in memory of a style. If that is UltraRAM, so are results that
    would be in block RAM."""
    ultra = style == "ultra" and config.result_memory == "block"
    results = style if ultra else config.result_memory
    return replace(config, activation_memory=style, result_memory=results)


@dataclass(frozen=True)
class _Shape:
    """The organisation of an engine."""

    pes: int
    lanes: int
    post_lanes: int
    row_solvers: int

    def row_cycles(self, work: Workload) -> int:
        """Those of a tile in all programs of the row unit, if there is one."""
        return work.row_cycles(self.of(work.config)) if work.config.has_rows else 0

    def of(self, config: ArrayConfig) -> ArrayConfig:
        """An array with lanes and units of this shape, and without attention."""
        return replace(
            config,
            lanes=self.lanes,
            post_lanes=self.post_lanes,
            row_solvers=self.row_solvers,
            operand_depth=0,
        )


@dataclass(frozen=True)
class _Engines:
    """Engines side by side."""

    counts: Mapping[str, int]
    """How many of them have their activations in memory of each style."""
    needs: Needs
    """Of all of them."""

    @property
    def number(self) -> int:
        """How many they are."""
        return sum(self.counts.values())

    @property
    def key(self) -> tuple[int, ...]:
        """By which they are sorted: the most first, and of as many those in block RAM."""
        return -self.number, *(-self.counts.get(style, 0) for style in RAM_STYLES)


@dataclass(frozen=True)
class _Timing:
    """How long engines of a kind take."""

    search: _Search
    config: ArrayConfig
    known: dict[tuple[int, int], Pace] = field(default_factory=dict[tuple[int, int], Pace])

    @cached_property
    def _steps(self) -> Sequence[Sequence[Step]]:
        work = self.search.work
        if self.config not in work.steps:
            work.steps[self.config] = [program.steps(self.config) for program in work.programs]
        return work.steps[self.config]

    @cached_property
    def stream_bytes(self) -> float:
        """That an engine reads for a tile of all programs."""
        config = self.config
        if not config.memory_bits:
            return 0.0
        kernels = (step for steps in self._steps for step in steps if isinstance(step, KernelWork))
        return self._port_bytes(sum(step.beats(config) for step in kernels))

    @cached_property
    def _loads(self) -> list[int]:
        """Cycles in which each program is loaded."""
        return [program_beats(steps, self.config) for steps in self._steps]

    @cached_property
    def _program_bytes(self) -> float:
        """Of all programs, if they do not stay."""
        return sum(self._loads) * self.config.program_bits / 8 if len(self._loads) > 1 else 0.0

    def pace(self, tokens: int, engines: int) -> Pace:
        """A pass of tokens through all programs, shared among the engines."""
        if (tokens, engines) not in self.known:
            self.known[tokens, engines] = self._pace(tokens, engines)
        return self.known[tokens, engines]

    def _pace(self, tokens: int, engines: int) -> Pace:
        config, search = self.config, self.search
        tiles = -(-tokens // (engines * config.lanes))
        timing = None
        if config.memory_bits:
            seen = search.memory.behind(engines * config.memory_ports)
            timing = seen.timing(search.clock, config)
        causes = dict.fromkeys(CAUSES, 0.0)
        loads, traffic = self._loads, engines * self._program_bytes
        for number, program in enumerate(search.work.programs):
            tile = self._tile(program, self._steps[number], engines, timing)
            for name, cycles in tile.causes().items():
                causes[name] += tiles * cycles
            traffic += tiles * engines * self._bytes(program, tile)
            if len(loads) > 1:
                # With two banks the next program is loaded while this one runs over tiles. There
                # are not more of them than have room for their partial sums.
                following = loads[(number + 1) % len(loads)]
                turn = min(tiles, program.most or tiles)
                turns, spent = -(-tiles // turn), turn * tile.total
                traffic += (turns - 1) * engines * following * config.program_bits / 8
                causes["loading"] += turns * max(0.0, following - spent)
                moved = turn * self._bytes(program, tile) + following * config.program_bits / 8
                waits = moved / self._bandwidth(engines) - max(following, spent)
                causes["memory"] += turns * max(0.0, waits)
        return Pace(tokens, sum(causes.values()), causes, traffic)

    def _bytes(self, program: Program, tile: TileCycles) -> float:
        """Bytes that an engine moves for a tile."""
        rows = (program.features + program.outputs) * self.config.lanes
        return self._port_bytes(tile.beats) + rows

    def _port_bytes(self, beats: int) -> float:
        """Of so many beats of each memory port."""
        return beats * self.config.memory_ports * self.config.memory_bits / 8

    def _tile(
        self, program: Program, steps: Sequence[Step], engines: int, timing: MemoryTiming | None
    ) -> TileCycles:
        """A tile of a program, where activations and results may have to wait for the memory."""
        tile = tile_cycles_of(steps, self.config, timing)
        needed = self._bytes(program, tile) / self._bandwidth(engines)
        tile.memory += max(0.0, needed - tile.total)
        return tile

    def _bandwidth(self, engines: int) -> float:
        """Bytes a cycle that each of so many engines gets."""
        search = self.search
        return search.memory.bandwidth / search.clock / engines
