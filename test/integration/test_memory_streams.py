# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Arrays whose streams come from external memory: the same results, whatever memory does."""

from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from networks import (
    MACHINE,
    Layers,
    activations_for,
    chained,
    chained_on_one_array,
    config_of,
    lint,
    lowered,
)
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.dense import to_array
from daqkf.dialects.rpea import ArrayOp, ProgramOp
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.image_format import Header
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.memory import IDEAL, MemoryTiming, load_memory, memory_names
from daqkf.hw_targets.prediction import KernelWork, Step, tile_cycles_of
from daqkf.hw_targets.streams import kernel_beats, pack_rows, row_bits, unpack_rows
from daqkf.hw_targets.timing import speed
from daqkf.hw_targets.words import stream_row_words, stream_word
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.decode import decode
from daqkf.lowering.image.disassemble import import_program
from daqkf.lowering.image.encode import at_addresses, encode, parts_of, playable, split_image
from daqkf.lowering.image.image import ProgramImageError
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.lowering.rtl.system import TOP as SYSTEM
from daqkf.lowering.rtl.system import build_system
from daqkf.runtime.simulator import ExternalMemory, Job, SimulationError, Simulator

FIFO = replace(MACHINE, memory_bits=64, stream_depth=16)
MACHINES = {
    "one port": FIFO,
    "mixed": replace(
        FIFO, pes=4, memory_ports=2, families=("running_sum", "multiply"), memory_bits=128
    ),
    "wide rows": replace(
        FIFO, pes=3, lanes=5, post_lanes=5, max_shift=0, items=8, banks=2, reads_ahead=True
    ),
    "coded": replace(
        FIFO,
        items=4,
        max_shift=0,
        families=("ordered_sum",),
        stream_code="varint",
        memory_bits=128,
        banks=2,
        reads_ahead=True,
    ),
    "coded ports": replace(
        FIFO,
        pes=4,
        items=8,
        max_shift=0,
        families=("ordered_sum",),
        stream_code="varint",
        memory_bits=128,
        memory_ports=2,
        banks=2,
        reads_ahead=True,
    ),
    "distances": replace(
        FIFO, items=8, max_shift=0, families=("ordered_sum",), index_bits=4, memory_bits=256
    ),
    "in step": replace(FIFO, pes=4, lanes=6, post_lanes=3, memory_ports=2, families=("dense",)),
    "in step, packed": replace(
        FIFO, pes=3, lanes=4, post_lanes=1, families=("dense",), multiplier="packed", banks=2
    ),
    "wide port": replace(
        FIFO,
        items=4,
        memory_bits=512,
        stream_depth=512,
        stream_memory="ultra",
        banks=2,
        program_bits=256,
        reads_ahead=True,
    ),
}
TWO_BANKS = [name for name, machine in MACHINES.items() if machine.banks > 1]
SOME = [pytest.param(name, marks=() if name == "coded" else pytest.mark.slow) for name in MACHINES]
SHAPES = ((24, 40, 9), (5, 1, 3), (30, 30))
MEMORIES = {
    "ideal": IDEAL,
    "far": MemoryTiming(latency=300, beats=1, cycles=1),
    "narrow": MemoryTiming(latency=5, beats=2, cycles=7),
    "refreshed": MemoryTiming(latency=20, beats=1, cycles=1, interval=50, pause=25),
}


@cache
def networks(name: str) -> tuple[ArrayConfig, list[tuple[Layers, ModuleOp]]]:
    """Networks on one array, chained, and the one that is a single kernel."""
    return chained_on_one_array(MACHINES[name], SHAPES)


@cache
def files(name: str) -> dict[str, str]:
    return emit_verilog(circuit_module(build_array(networks(name)[0])))


@cache
def simulator(name: str) -> Simulator:
    return Simulator.verilated(files(name), networks(name)[0])


def jobs(name: str) -> tuple[list[Job], list[NDArray[np.int8]]]:
    """The networks one after another, and the first one again."""
    config, entries = networks(name)
    made, expected = list[Job](), list[NDArray[np.int8]]()
    for tokens, (layers, module) in enumerate([*entries, entries[0]], 3 * config.lanes):
        (program,) = playable(module)
        x = activations_for(layers, tokens)
        made.append(Job(encode(program), x, program.channels))
        expected.append(layers.expected(x))
    return made, expected


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("stalls", [0.0, 0.4])
def test_the_results_are_the_formulas(name: str, memory: str, stalls: float):
    made, expected = jobs(name)
    for overlap in [False, True] if MACHINES[name].banks > 1 else [False]:
        traces = simulator(name).trace(
            made, stalls=stalls, seed=7, overlap=overlap, memory=MEMORIES[memory]
        )
        for trace, y in zip(traces, expected, strict=True):
            np.testing.assert_array_equal(trace.y, y)


IN_ORDER = [pytest.param(n, marks=() if n == "coded" else pytest.mark.slow) for n in TWO_BANKS]


@pytest.mark.parametrize("name", IN_ORDER)
@pytest.mark.parametrize("in_turn", [False, True])
def test_programs_for_few_tiles_follow_one_another(name: str, in_turn: bool):
    """In any order, while a reader is ahead of the elements by a program, or by none."""
    config, entries = networks(name)
    rng, made, expected = np.random.default_rng(3), list[Job](), list[NDArray[np.int8]]()
    for number in range(24):
        layers, module = entries[rng.integers(len(entries))]
        (program,) = playable(module)
        x = activations_for(layers, int(rng.integers(1, 3 * config.lanes)) + number % 2)
        made.append(Job(encode(program), x, program.channels))
        expected.append(layers.expected(x))
    for seed, (memory, stalls) in enumerate(product(MEMORIES.values(), (0.0, 0.1, 0.5))):
        traces = simulator(name).trace(
            made, stalls=stalls, seed=seed, overlap=True, in_turn=in_turn, memory=memory
        )
        for trace, y in zip(traces, expected, strict=True):
            np.testing.assert_array_equal(trace.y, y)


def test_the_next_program_begins_with_full_fifos():
    """Without memory's latency, and without what a reader would have read in vain."""
    config, ((layers, module), *_) = networks("wide port")
    (program,) = playable(module)
    job = Job(encode(program), activations_for(layers, 8 * config.lanes), program.channels)
    cycles: list[int] = []
    for latency in (5, 150):
        memory = MemoryTiming(latency=latency, beats=1, cycles=1)
        traces = simulator("wide port").trace([job] * 4, in_turn=True, memory=memory)
        cycles.append(traces[2].cycles.running)
    assert cycles[0] == cycles[1]


@pytest.mark.slow
def test_memory_that_is_fast_enough_costs_next_to_nothing():
    """The kernels of a chain are read ahead, so that only the first one is waited for."""
    machine = replace(FIFO, memory_bits=256, stream_depth=64)
    layers = Layers.random(0, (40, 60, 50, 40))
    cycles: list[int] = []
    for kind in (machine, replace(machine, memory_bits=0, stream_depth=2**12)):
        module = lowered(chained(layers.module(kind)))
        config, (program,) = config_of(module), playable(module)
        array = Simulator.verilated(emit_verilog(circuit_module(build_array(config))), config)
        x = activations_for(layers, 20 * config.lanes)
        (trace,) = array.trace([Job(encode(program), x, program.channels)])
        np.testing.assert_array_equal(trace.y, layers.expected(x))
        cycles.append(trace.cycles.running)
    assert cycles[0] == pytest.approx(cycles[1], rel=0.01)


def test_memory_that_is_too_slow_is_used_up():
    """A tile takes the beats of its kernels, divided by what memory gives."""
    config, ((layers, module), *_) = networks("one port")
    (program,) = playable(module)
    image = encode(program)
    x = activations_for(layers, 60 * config.lanes)
    memory = MemoryTiming(latency=20, beats=1, cycles=8)
    (trace,) = simulator("one port").trace([Job(image, x, program.channels)], memory=memory)
    beats = len(split_image(image)[1]) * 8 // config.memory_bits
    assert trace.cycles.total / 60 == pytest.approx(8 * beats, rel=0.04)


@pytest.mark.slow
def test_a_port_that_binds_is_predicted():
    machine = replace(FIFO, pes=4, items=8, max_shift=0)
    layers = Layers.random(4, (60, 200))
    module = lowered(layers.module(machine))
    config, (program,) = config_of(module), playable(module)
    assert isinstance(program, ProgramOp)
    predicted = speed([(to_array(program.rows), program.channels)], config)
    assert predicted.memory == predicted.cycles > 2 * program.longest
    array = Simulator.verilated(emit_verilog(circuit_module(build_array(config))), config)
    job = Job(encode(program), activations_for(layers, 40 * config.lanes), program.channels)
    (trace,) = array.trace([job])
    # What a FIFO holds is read while activations arrive.
    assert 0.94 * predicted.cycles < trace.cycles.running / 40 < predicted.cycles


@pytest.mark.parametrize("name", SOME)
def test_rtl_is_clean_for_verilator_and_yosys(name: str, tmp_path: Path):
    lint(files(name), TOP, tmp_path)
    system = emit_verilog(circuit_module(build_system(networks(name)[0])))
    lint(system, SYSTEM, tmp_path)
    assert "m_axi0_araddr" in system[f"{SYSTEM}.sv"]


@pytest.mark.parametrize("name", MACHINES)
def test_images_come_back(name: str):
    config, entries = networks(name)
    for _, module in entries:
        (program,) = playable(module)
        image = encode(program)
        addresses = [4096 * (3 + port) for port in range(config.memory_ports)]
        placed = at_addresses(image, addresses, config)
        for data, expected in ((image, [0] * config.memory_ports), (placed, addresses)):
            assert decode(data, config).addresses == expected
            array = next(op for op in module.ops if isinstance(op, ArrayOp))
            assert encode(playable(import_program(data, array))[-1]) == image


@pytest.mark.parametrize("name", [name for name in MACHINES if "coded" not in name])
def test_rows_are_what_was_packed(name: str):
    config, rng = networks(name)[0], np.random.default_rng(1)
    lengths = [5, 9, 1, 7][: config.pes // config.memory_ports]
    words = []
    for pe, rows in enumerate(lengths):
        layout = stream_word(config, pe)
        fields = {key: rng.integers(0, 1 << bits, rows) for key, bits in layout.widths.items()}
        words.append(layout.pack(fields))
        assert words[-1].shape == (rows, stream_row_words(config))
    data = pack_rows(words, 11, config)
    assert len(data) == kernel_beats(config, 11) * config.memory_bits // 8
    assert row_bits(config) % 32 == 0
    streams, following = unpack_rows(data + b"\1" * 64, 0, config)
    assert following == kernel_beats(config, 11)
    for packed, found in zip(words, streams, strict=True):
        np.testing.assert_array_equal(found[: len(packed)], packed)
        assert len(found) == 11
        assert not found[len(packed) :].any()


def broken(image: bytes, config: ArrayConfig, fault: str) -> bytes:
    """An image whose streams are damaged behind the back of its CRC."""
    loaded, outside = split_image(image)
    words = np.frombuffer(outside, "<u4").copy()
    if fault == "no rows":
        words[0] = 0
    elif fault == "too many rows":
        words[0] += 1000
    elif fault == "too few rows":
        words[0] -= 1
    return loaded + words.tobytes()


@pytest.mark.parametrize("fault", ["no rows", "too many rows", "too few rows"])
def test_a_damaged_stream_ends_in_an_error(fault: str):
    config, ((layers, module), *_) = networks("one port")
    (program,) = playable(module)
    image = broken(encode(program), config, fault)
    with pytest.raises(ProgramImageError, match=r"a kernel of|is damaged"):
        decode(image, config)
    x = activations_for(layers, 4)
    job = Job(image, x, program.channels)
    if fault == "too many rows":
        # Elements have had all their words, and the next kernel is looked for where it is.
        np.testing.assert_array_equal(simulator("one port").trace([job])[0].y, layers.expected(x))
        return
    with pytest.raises(SimulationError, match="error stream"):
        simulator("one port").trace([job])


def test_an_address_outside_of_memory_is_an_error(monkeypatch: pytest.MonkeyPatch):
    config, ((layers, module), *_) = networks("one port")
    (program,) = playable(module)
    job = Job(encode(program), activations_for(layers, 4), program.channels)
    place = ExternalMemory.place
    monkeypatch.setattr(
        ExternalMemory, "place", lambda *args: at_addresses(place(*args), [1 << 30], config)
    )
    with pytest.raises(SimulationError, match="error memory"):
        simulator("one port").trace([job])


def test_memory_that_does_not_answer_is_an_error():
    _, ((layers, module), *_) = networks("one port")
    (program,) = playable(module)
    job = Job(encode(program), activations_for(layers, 4), program.channels)
    with pytest.raises(SimulationError, match="error timeout"):
        simulator("one port").trace([job], memory=replace(IDEAL, latency=1 << 20))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory_bits": 100}, "memory_bits must be one of 0, 64, 128, 256, 512, not 100"),
        ({"memory_ports": 3}, "3 memory ports do not divide 2 PEs"),
        ({"memory_bits": 0, "memory_ports": 2}, "2 memory ports of no bits"),
        (
            {"activation_memory": "flash"},
            r"unknown activation_memory 'flash' \(known: block, ultra",
        ),
        ({"reads_ahead": True}, "reads_ahead is for arrays with memory_bits and banks = 2"),
        ({"memory_ports": 9, "pes": 9}, "memory_ports cannot be beyond 8"),
    ],
)
def test_machines_that_cannot_be_are_named(changes: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        replace(FIFO, **changes)  # pyright: ignore[reportArgumentType]


def test_more_beats_than_a_program_can_say_are_refused(monkeypatch: pytest.MonkeyPatch):
    _, ((_, module), *_) = networks("one port")
    monkeypatch.setattr("daqkf.dialects.rpea.ops.BEAT_BITS", 4)
    with pytest.raises(VerifyException, match="beats of a memory port; the array holds 15"):
        module.verify()


def test_addresses_that_cannot_be_are_refused():
    config, ((_, module), *_) = networks("one port")
    image = encode(playable(module)[0])
    for address in (64, 1 << 40, -4096):
        with pytest.raises(ProgramImageError, match="multiples of 4096 below 2\\^40"):
            at_addresses(image, [address], config)


def test_an_image_that_lacks_its_streams_is_refused():
    config, ((_, module), *_) = networks("one port")
    image = encode(playable(module)[0])
    loaded, _ = split_image(image)
    with pytest.raises(ProgramImageError, match="MEMORY: the 0 bytes of streams"):
        decode(loaded, config)
    with pytest.raises(ProgramImageError, match="goes on past its streams"):
        decode(image + bytes(8), config)
    words = np.frombuffer(image, "<u4").copy()
    words[Header.LENGTH] += 1
    with pytest.raises(ProgramImageError):
        decode(words.tobytes(), config)


@pytest.mark.parametrize("name", memory_names())
def test_memories_have_the_bandwidth_that_they_say(name: str):
    device = load_memory(name)
    machine = Machine(**{**vars(FIFO), "memory_bits": 512})
    timing = device.timing(250e6, machine)
    assert timing.beats / timing.cycles == pytest.approx(
        min(1, device.bandwidth / (64 * 250e6)), rel=0.01
    )
    assert timing.pause / timing.interval == pytest.approx(
        device.refresh / device.refresh_interval, rel=0.1
    )


def test_an_unknown_memory_is_named():
    with pytest.raises(ValueError, match="unknown memory 'ddr9'"):
        load_memory("ddr9")


@pytest.mark.parametrize("memory", ["ideal", "narrow", "ddr4-2400"])
def test_plans_are_within_3_percent_of_simulation(memory: str):
    config, entries = networks("one port")
    behind = MEMORIES.get(memory) or load_memory(memory).timing(250e6, config)
    for layers, module in (entries[0], entries[-1]):
        (program,) = playable(module)
        steps: list[Step] = [
            KernelWork(part.features.value.data, part.channels, part.longest)
            for part in parts_of(program)
            if isinstance(part, ProgramOp)
        ]
        totals: list[int] = []
        for tiles in (10, 40):
            x = activations_for(layers, tiles * config.lanes)
            job = Job(encode(program), x, program.channels)
            (trace,) = simulator("one port").trace([job], memory=behind)
            totals.append(trace.cycles.total)
        predicted = tile_cycles_of(steps, config, behind).total
        assert predicted == pytest.approx((totals[1] - totals[0]) / 30, rel=0.03)
