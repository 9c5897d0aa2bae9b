# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Parts of whole systems alone: counters and registers over many more events than a system has in a
test, and the array of two banks. Registers begin with random values, which the reset must put
right."""

import zlib
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import test_system
import test_units
from unit_bench import Bench

import daqkf
from daqkf.hw_targets.image_format import Command, Header
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.lowering.hdl.circuit import Circuit
from daqkf.lowering.image.decode import decode
from daqkf.lowering.rtl.register_file import build_register_file
from daqkf.lowering.rtl.registers import constants, registers_of
from daqkf.lowering.rtl.system import build_system
from daqkf.runtime.simulator import Job, Simulator

DESIGNS: Mapping[str, Callable[[], daqkf.Design]] = {
    "variants": test_system.with_variants,
    "two-banks": test_system.of_two_banks,
}


def counters_of(system: Circuit) -> Circuit:
    (found,) = (part for part in system.instances if part.name == "daqkf_counters")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", DESIGNS)
def test_counters_count(name: str):
    """Random steps, with snapshots, clearings and resets in between."""
    rng = np.random.default_rng(13)
    with Bench(counters_of(build_system(DESIGNS[name]().config))) as bench:
        names = [port.removesuffix("_step") for port in bench.inputs if port.endswith("_step")]
        assert set(names) == set(bench.outputs) and "zeros" in names
        most = dict.fromkeys(names, 1) | {"zeros": DESIGNS[name]().config.lanes}
        counts, copies = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
        for _ in range(2000):
            steps = {counter: int(rng.integers(most[counter] + 1)) for counter in names}
            snapshot, clear, rst = (int(rng.random() < share) for share in (0.1, 0.01, 0.002))
            out = bench.step(
                snapshot=snapshot,
                clear=clear,
                rst=rst,
                **{f"{counter}_step": step for counter, step in steps.items()},
            )
            assert out == copies
            if snapshot:
                copies = counts
            counts = {key: (0 if clear else counts[key]) + steps[key] for key in names}
            if rst:
                counts, copies = dict.fromkeys(names, 0), dict.fromkeys(names, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", DESIGNS)
def test_registers_answer_as_the_map_says(name: str):
    config = DESIGNS[name]().config
    registers, values = registers_of(config), constants(config)
    with Bench(build_register_file(registers, values)) as bench:
        test_units.answer_as_the_map_says(bench, registers, values, np.random.default_rng(14))


@pytest.mark.slow
def test_a_system_decides_by_the_zeros():
    test_units.decide_by_the_zeros(test_system.with_variants().config)


def with_results_turned(design: daqkf.Design) -> bytes:
    """The program with a table whose entries have every bit inverted."""
    words = np.frombuffer(design.program, "<u4").copy()
    section = decode(design.program, design.config).section(Command.TABLE)
    first = section.word(0)
    words[first : first + section.rows.size] ^= (1 << ACTIVATION_BITS) - 1
    words[Header.CRC] = zlib.crc32(words[len(Header) :].tobytes())
    return words.tobytes()


@pytest.mark.slow
def test_programs_for_some_tiles_follow_one_another():
    """Each is for so many tiles, and the next one, of other results, is loaded meanwhile."""
    design = test_system.of_two_banks()
    lanes, rng = design.config.lanes, np.random.default_rng(16)
    simulator = Simulator.verilated(design.verilog_files, design.config)
    images = design.program, with_results_turned(design)
    jobs, expected = list[Job](), list[np.ndarray]()
    for number, tiles in enumerate((3, 1, 2, 5)):
        x = rng.integers(-128, 128, (tiles * lanes, design.features)).astype(np.int8)
        jobs.append(Job(images[number % 2], x, design.outputs))
        y = design.reference(x)
        expected.append(~y if number % 2 else y)
    for seed, stalls in ((0, 0.0), (1, 0.5)):
        traces = simulator.trace(jobs, stalls=stalls, seed=seed, overlap=True)
        for trace, y in zip(traces, expected, strict=True):
            np.testing.assert_array_equal(trace.y, y)
