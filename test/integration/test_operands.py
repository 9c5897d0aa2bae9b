# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Arrays with operand memories in Verilator, against the formulas of attention and the model."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from attending_networks import SEQUENCES, Attending
from networks import config_of, lint
from numpy.typing import NDArray

from daqkf.dialects.rpea import ChainOp, ProgramOp
from daqkf.dialects.rpea.interpreter import run_chain, run_kernel
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.numerics import ACTIVATION_MAX, ACTIVATION_MIN
from daqkf.lowering.conversions.config_sizing import shared_config
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.encode import encode, playable
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.runtime.simulator import Job, Simulator

MACHINES = {
    "P2-T4": SEQUENCES,
    "banks": replace(SEQUENCES, banks=2),
    "memory": replace(SEQUENCES, memory_bits=64, memory_ports=2, stream_depth=32),
    "P1-T2": replace(SEQUENCES, pes=1, lanes=2, items=2, post_lanes=1, max_shift=1),
    "P4-T4-V4": replace(SEQUENCES, pes=4, post_lanes=4),
    "P2-T8": replace(SEQUENCES, lanes=8, items=8),
    "shared": replace(SEQUENCES, max_shift=1, shared_words=True),
    "P1-T4": replace(SEQUENCES, pes=1, post_lanes=1),
    "P2-T2": replace(SEQUENCES, lanes=2, items=2, max_shift=1),
    "P4-T8-banks": replace(SEQUENCES, pes=4, lanes=8, items=8, post_lanes=1, max_shift=1, banks=2),
}
SOME = [pytest.param(name, marks=() if name == "banks" else pytest.mark.slow) for name in MACHINES]
LAYERS = [Attending.random(1, 12, 2, 8, 10), Attending.random(2, 7, 1, 16, 5)]
EXTREMES = [
    replace(LAYERS[0], tokens=tokens, table=np.where(entries, ACTIVATION_MAX, 0).astype(np.int8))
    for entries, tokens in (
        (np.arange(256) == ACTIVATION_MAX, 10),
        (np.zeros(256), 8),
        # Keys that are not there read the entry of the least.
        (np.arange(256) != ACTIVATION_MIN % 256, 3),
    )
]
"""Exponentials of the largest scores alone, none, and all alike; for parts of tiles of most
machines, for whole ones, and for one."""
SUM_BITS = 28
"""Room for sums and what is added."""


@cache
def chains(name: str) -> tuple[ArrayConfig, list[ChainOp]]:
    """An array for all layers, and the chain of each."""
    machine, layers = MACHINES[name], [*LAYERS, *EXTREMES]
    config = shared_config([config_of(layer.lowered(machine)) for layer in layers])
    config = replace(config, accumulator_width=SUM_BITS, sum_width=SUM_BITS)
    found: list[ChainOp] = []
    for layer in layers:
        (chain,) = playable(layer.lowered(machine, config))
        assert isinstance(chain, ChainOp)
        found.append(chain)
    return config, found


@cache
def simulator(name: str) -> Simulator:
    return Simulator.verilated(files(name), chains(name)[0])


@cache
def files(name: str) -> dict[str, str]:
    return emit_verilog(circuit_module(build_array(chains(name)[0])))


def jobs(name: str, *lengths: tuple[int, ...]) -> tuple[list[Job], list[NDArray[np.int8]]]:
    """Sequences of these lengths for each layer in turn, and their results."""
    rng, made, expected = np.random.default_rng(len(lengths)), list[Job](), list[NDArray[np.int8]]()
    for number, own in enumerate(lengths):
        layer, chain = LAYERS[number % 2], chains(name)[1][number % 2]
        count = chain.features.value.data
        x = rng.integers(-128, 128, (sum(own), count)).astype(np.int8)
        made.append(Job(encode(chain), x, chain.channels, own))
        parts = np.split(x, np.cumsum(own[:-1]))
        expected.append(np.concatenate([layer.expected(part) for part in parts]))
    return made, expected


@pytest.mark.slow
@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("stalls", [0.0, 0.4])
def test_the_rtl_is_the_formulas(name: str, stalls: float):
    # Longest first, so that shorter ones find what is left of it.
    made, expected = jobs(name, (10, 1, 4), (5, 2), (9, 8, 3), (1, 4, 5))
    overlaps = [False, True] if chains(name)[0].double_buffered else [False]
    for overlap in overlaps:
        traces = simulator(name).trace(made, stalls=stalls, seed=4, overlap=overlap)
        for trace, y in zip(traces, expected, strict=True):
            np.testing.assert_array_equal(trace.y, y)


@pytest.mark.slow
@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("number", [0, len(LAYERS)])
def test_sequences_of_every_length_are_the_model(name: str, number: int):
    """On one program, in any order, so that tokens of others are left in the memories.

    Where the largest scores alone count, those of such tokens would be all that does.
    """
    config, found = chains(name)
    chain = found[number]
    assert chain.tokens is not None
    assert chain.tokens % config.lanes == 0
    rng = np.random.default_rng(5)
    lengths = rng.permutation(np.arange(1, chain.tokens + 1)).tolist()
    x = rng.integers(-128, 128, (sum(lengths), chain.features.value.data)).astype(np.int8)
    parts = np.split(x, np.cumsum(lengths[:-1]))
    (trace,) = simulator(name).trace([Job(encode(chain), x, chain.channels, tuple(lengths))])
    expected = np.concatenate([run_chain(chain, part) for part in parts])
    np.testing.assert_array_equal(trace.y, expected)


@pytest.mark.parametrize("name", SOME)
def test_extreme_exponentials_and_activations(name: str):
    made, expected = list[Job](), list[NDArray[np.int8]]()
    for layer, chain in zip(EXTREMES, chains(name)[1][len(LAYERS) :], strict=True):
        count = chain.features.value.data
        parts = [
            np.full((layer.tokens, count), -128, np.int8),
            np.full((layer.tokens - 1, count), 127, np.int8),
            np.where(np.arange(count) % 2, -128, 127).astype(np.int8)[np.newaxis],
        ]
        lengths = tuple(len(part) for part in parts)
        made.append(Job(encode(chain), np.concatenate(parts), chain.channels, lengths))
        expected.append(np.concatenate([layer.expected(part) for part in parts]))
    for trace, y in zip(simulator(name).trace(made, stalls=0.2, seed=6), expected, strict=True):
        np.testing.assert_array_equal(trace.y, y)


@pytest.mark.parametrize("name", SOME)
def test_a_program_stays_for_more_sequences(name: str):
    (first, second), expected = jobs(name, (10, 3), (5,))
    later = replace(first, image=None, x=first.x[:7], sequences=(7,))
    traces = simulator(name).trace([first, later, second], stalls=0.2, seed=1)
    np.testing.assert_array_equal(traces[0].y, expected[0])
    np.testing.assert_array_equal(traces[1].y, LAYERS[0].expected(first.x[:7]))
    np.testing.assert_array_equal(traces[2].y, expected[1])


@pytest.mark.parametrize("name", SOME)
def test_programs_without_attention_run_between_sequences(name: str):
    config, (chain, *_) = chains(name)
    (sequences,), (expected,) = jobs(name, (9, 2))
    program = chain.kernels()[0]
    assert isinstance(program, ProgramOp)
    x = np.random.default_rng(3).integers(-128, 128, (3 * config.lanes + 1, 12)).astype(np.int8)
    plain = Job(encode(program), x, program.channels)
    traces = simulator(name).trace(
        [plain, sequences, plain], stalls=0.2, seed=2, overlap=config.double_buffered
    )
    np.testing.assert_array_equal(traces[0].y, run_kernel(program, x))
    np.testing.assert_array_equal(traces[1].y, expected)
    np.testing.assert_array_equal(traces[2].y, run_kernel(program, x))


@pytest.mark.parametrize("name", SOME)
def test_lint_and_yosys_take_the_circuit(name: str, tmp_path: Path):
    assert {"daqkf_fill.sv"} < files(name).keys()
    lint(files(name), TOP, tmp_path)
