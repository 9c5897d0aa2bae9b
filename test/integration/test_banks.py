# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Arrays of two banks: a program is loaded, by words or by wider beats, while another one runs."""

import zlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from networks import MACHINES as PLAIN
from networks import SOME, Layers, activations_for, chained, config_of, lint, lowered

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.image_format import (
    MAX_TILES,
    Header,
    beat_words,
    fingerprint,
    header_padding,
)
from daqkf.lowering.conversions.config_sizing import shared_config
from daqkf.lowering.hdl import crc32
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.decode import decode
from daqkf.lowering.image.encode import encode, for_tiles, playable
from daqkf.lowering.image.image import ProgramImageError
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.runtime.simulator import Job, SimulationError, Simulator

WIDE = "256 bits a cycle"
MACHINES = {name: replace(machine, banks=2) for name, machine in PLAIN.items()}
MACHINES |= {
    f"{bits} bits a cycle": replace(MACHINES["P2-T2"], program_bits=bits) for bits in (64, 128, 256)
}
MACHINES["one element"] = replace(MACHINES[WIDE], pes=1, program_bits=256)
MORE = [
    *SOME,
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("64 bits a cycle", "128 bits a cycle", WIDE, "one element")
    ),
]
BOTH = [pytest.param("P2-T2", False), pytest.param(WIDE, True, marks=pytest.mark.slow)]
"""Arrays whose programs are kernels, and such that have chains, by the words they take at once."""
SHAPES = ((24, 40, 9), (1, 3), (30, 30), (24, 17))
SINGLE = ((1, 1), (24, 40), (30, 30))


@cache
def array(name: str, *, chains: bool) -> tuple[ArrayConfig, list[tuple[Layers, bytes]]]:
    """An array, and the images of the networks that it runs."""
    layers = [Layers.random(seed, shape) for seed, shape in enumerate(SHAPES if chains else SINGLE)]
    modules = [entry.module(MACHINES[name]) for entry in layers]
    if chains:
        modules = [chained(module) for module in modules]
    config = shared_config([config_of(lowered(module)) for module in modules])
    images = [encode(playable(lowered(module, config))[-1]) for module in modules]
    return config, list(zip(layers, images, strict=True))


@cache
def simulator(name: str, *, chains: bool) -> Simulator:
    config, _ = array(name, chains=chains)
    return Simulator.verilated(emit_verilog(circuit_module(build_array(config))), config)


def jobs_of(name: str, *, chains: bool, tokens: int) -> tuple[list[Job], list[np.ndarray]]:
    _, entries = array(name, chains=chains)
    jobs, expected = [], []
    for number, (layers, image) in enumerate([*entries, *entries[::-1]]):
        x = activations_for(layers, tokens + number)
        y = layers.expected(x)
        jobs.append(Job(image, x, y.shape[1]))
        expected.append(y)
    return jobs, expected


@pytest.mark.parametrize("name", MORE)
@pytest.mark.parametrize("stalls", [0.0, 0.4])
@pytest.mark.parametrize("overlap", [False, True])
def test_programs_take_turns(name: str, stalls: float, overlap: bool):
    chains = name != "dense"
    jobs, expected = jobs_of(name, chains=chains, tokens=3)
    traces = simulator(name, chains=chains).trace(jobs, stalls=stalls, seed=5, overlap=overlap)
    for trace, y in zip(traces, expected, strict=True):
        np.testing.assert_array_equal(trace.y, y)


@pytest.mark.parametrize("name", ["P2-T2", pytest.param(WIDE, marks=pytest.mark.slow)])
def test_loading_hides_behind_running(name: str):
    """With enough tiles, only the first program is waited for, a cycle for each beat."""
    jobs, _ = jobs_of(name, chains=True, tokens=60)
    one_by_one = simulator(name, chains=True).trace(jobs)
    overlapped = simulator(name, chains=True).trace(jobs, overlap=True)
    waits = [trace.cycles.loading_program for trace in one_by_one]
    beats = [len(job.image or b"") // (MACHINES[name].program_bits // 8) for job in jobs]
    assert all(0 <= waited - count < 8 for waited, count in zip(waits, beats, strict=True))
    assert overlapped[0].cycles.loading_program >= beats[0]
    assert sum(trace.cycles.loading_program for trace in overlapped[1:]) < 0.1 * sum(waits[1:])


def test_a_program_waits_for_its_turn():
    """Whatever comes early, a program has exactly the tiles that it is for."""
    jobs, expected = jobs_of("P2-T2", chains=False, tokens=1)
    for seed in range(8):
        traces = simulator("P2-T2", chains=False).trace(
            jobs * 3, stalls=0.7, seed=seed, overlap=True
        )
        for trace, y in zip(traces, expected * 3, strict=True):
            np.testing.assert_array_equal(trace.y, y)


def test_rows_take_fewer_cycles_where_beats_are_wider():
    (_, narrow), (_, wide) = (array(name, chains=True)[1][0] for name in ("P2-T2", WIDE))
    # Four values of a table in a word, and two rows of parameters in a beat. A row of these streams
    # is a word, and so a beat in both.
    assert len(wide) / 32 < 0.65 * len(narrow) / 4


@pytest.mark.slow
@pytest.mark.parametrize(("name", "chains"), BOTH)
@pytest.mark.parametrize(
    ("word", "error"),
    [
        (Header.MAGIC, "magic"),
        (Header.VERSION, "version"),
        (Header.FINGERPRINT, "fingerprint"),
        (Header.LENGTH, "length"),
        (Header.CRC, "checksum"),
        (len(Header), "command"),
        (-3, "checksum"),
    ],
)
def test_a_flipped_word_is_refused(name: str, chains: bool, word: int, error: str):
    config, ((layers, image), *_) = array(name, chains=chains)
    words = np.frombuffer(image, "<u4").copy()
    words[word + header_padding(config) * (word == len(Header))] ^= 0x4000_0001
    x = activations_for(layers, 2)
    with pytest.raises(SimulationError, match=error):
        simulator(name, chains=chains).trace([Job(words.tobytes(), x, 1)])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "chains"), BOTH)
def test_every_flipped_bit_of_a_body_is_refused(name: str, chains: bool):
    """What fills up beats is among them."""
    _, ((layers, image), *_) = array(name, chains=chains)
    rng = np.random.default_rng(2)
    x = activations_for(layers, 2)
    for place in rng.choice(8 * (len(image) - 4 * len(Header)), 12, replace=False):
        damaged = bytearray(image)
        damaged[4 * len(Header) + place // 8] ^= 1 << (place % 8)
        with pytest.raises(SimulationError, match=r"checksum|command|length"):
            simulator(name, chains=chains).trace([Job(bytes(damaged), x, 1)])


@pytest.mark.slow
@pytest.mark.parametrize("cut", [1, 3, 40])
@pytest.mark.parametrize(("name", "chains"), BOTH)
def test_a_truncated_image_is_refused(name: str, chains: bool, cut: int):
    config, ((layers, image), *_) = array(name, chains=chains)
    x = activations_for(layers, 2)
    with pytest.raises(SimulationError, match="length"):
        simulator(name, chains=chains).trace([Job(image[: -4 * cut * beat_words(config)], x, 1)])


@pytest.mark.parametrize(("name", "chains"), BOTH)
def test_words_behind_the_end_are_refused(name: str, chains: bool):
    config, ((layers, image), *_) = array(name, chains=chains)
    x = activations_for(layers, 2)
    with pytest.raises(SimulationError, match="length"):
        simulator(name, chains=chains).trace([Job(image + bytes(4 * beat_words(config)), x, 1)])


def test_tiles_are_checked():
    config, ((_, image), *_) = array("P2-T2", chains=False)
    decode(for_tiles(image, MAX_TILES, config), config)
    for tiles in (0, MAX_TILES + 1):
        with pytest.raises(ProgramImageError, match=f"for {tiles} tiles"):
            for_tiles(image, tiles, config)
    single = replace(config, banks=1)
    with pytest.raises(ProgramImageError, match="for 3 tiles, on an array of one bank"):
        decode(_refitted(for_tiles(image, 3, config), single), single)


def _refitted(image: bytes, config: ArrayConfig) -> bytes:
    words = np.frombuffer(image, "<u4").copy()
    words[Header.FINGERPRINT] = fingerprint(config)
    return words.tobytes()


def test_overlap_needs_two_banks():
    config, ((layers, image), *_) = array("P2-T2", chains=False)
    single = Simulator(Path(), replace(config, banks=1))
    job = Job(image, activations_for(layers, 2), 1)
    with pytest.raises(SimulationError, match="two banks"):
        single.trace([job], overlap=True)
    with pytest.raises(SimulationError, match="own program"):
        simulator("P2-T2", chains=False).trace([job, replace(job, image=None)], overlap=True)


def test_crc32_is_that_of_zlib():
    register, data = crc32.INITIAL, np.random.default_rng(0).bytes(64)
    for word in np.frombuffer(data, "<u4"):
        register = crc32.advance(register ^ int(word))
    assert register ^ crc32.INITIAL == zlib.crc32(data)


@pytest.mark.parametrize("name", [*SOME, pytest.param(WIDE, marks=pytest.mark.slow)])
def test_lint_and_yosys_take_the_circuit(name: str, tmp_path: Path):
    config, _ = array(name, chains=name != "dense")
    lint(emit_verilog(circuit_module(build_array(config))), TOP, tmp_path)
