# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Elements of every family, and their datapaths, each alone against the family's golden model.

Arrays are simulated as a whole elsewhere, where an element seldom has to wait. Here it waits all
the time: it stops at any moment, and in each of its stages.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import test_array
import test_chain
import test_operands
import test_semirings
import test_strassen
import test_system
from networks import Layers, lowered
from numpy.typing import NDArray
from unit_bench import Bench
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

import daqkf
from daqkf.dialects.rpea import ArrayOp, ProgramOp
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.families.descriptor import Words
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.hw_targets.words import stream_word
from daqkf.lowering.conversions.dfke_to_rpea import LowerDfkeToRpeaPass
from daqkf.lowering.hdl.circuit import Circuit, concat
from daqkf.lowering.hdl.select import index_bits
from daqkf.lowering.image.decode import decode
from daqkf.lowering.image.encode import encode
from daqkf.lowering.rtl import lockstep
from daqkf.lowering.rtl.element import build_element
from daqkf.lowering.rtl.families import datapath_of
from daqkf.lowering.rtl.families.stage import Operands


@dataclass(frozen=True)
class Case:
    """An array, one of its elements, and what programs have it do."""

    config: ArrayConfig
    pe: int
    programs: Sequence[ProgramOp]

    @property
    def family(self) -> str:
        return self.config.family(self.pe)

    def streams(self) -> list[Words]:
        """The words of each program for the element."""
        return [list(program.streams())[self.pe] for program in self.programs]

    def sums(self, words: Words, memory: NDArray[np.int8]) -> list[list[int]]:
        """What the golden model says of each output, lane by lane, as the circuit's bits."""
        golden = FAMILIES[self.family].golden(words, memory.astype(np.int64), self.config)
        whole = 1 << self.config.accumulator_width
        return [[int(value) % whole for value in total] for total in golden]

    def memory(self, rng: np.random.Generator) -> NDArray[np.int8]:
        """Activations [depth, T], the last row of zeros."""
        shape = self.config.activation_depth, self.config.lanes
        x = rng.choice([-128, -128, -128, -1, 0, 127, *rng.integers(-128, 128, 6)], shape).astype(
            np.int8
        )
        x[self.config.null_address] = 0
        return x


def packed(values: Sequence[int] | NDArray[np.int8], bits: int = ACTIVATION_BITS) -> int:
    """Numbers side by side, the first in the lowest bits."""
    return sum((int(value) % (1 << bits)) << bits * n for n, value in enumerate(values))


def split(number: int, count: int, bits: int) -> list[int]:
    """The reverse: so many numbers of so many bits."""
    return [number >> bits * n & ((1 << bits) - 1) for n in range(count)]


def programs_of(module: ModuleOp) -> list[ProgramOp]:
    return [op for op in module.walk() if isinstance(op, ProgramOp)]


@cache
def kernels_on_an_array(name: str, pe: int = 0) -> Case:
    """What `test_many_kernels_on_one_array` plays, and outputs that are shorter than pipelines."""
    machine = test_array.MACHINES[name]
    most = test_array.largest_level(machine)
    kernels = [
        test_array.Kernel.random(number, *shape, most)
        for number, shape in enumerate(test_array.SHAPES)
    ]
    configs = [test_array.parts(kernel.lower(machine))[0] for kernel in kernels]
    config = ArrayConfig(**{key: max(vars(c)[key] for c in configs) for key in asdict(configs[0])})
    kernels += [test_array.Kernel.random(n, n, 20, 1.0, most) for n in (2, 3)]
    return Case(
        config, pe, [test_array.parts(kernel.lower(machine, config))[1] for kernel in kernels]
    )


@cache
def chains(name: str, pe: int = 0) -> Case:
    """What `test_chain.py` plays, and outputs that are shorter than the pipeline."""
    config, networks = test_chain.networks(name)
    modules = [module for _, module in networks]
    for features in (1, 2, 3, 5):
        layers = Layers.random(features, (features, 24))
        modules.append(lowered(layers.module(test_chain.MACHINES[name]), config))
    return Case(config, pe, [op for module in modules for op in programs_of(module)])


@cache
def semirings(name: str, pe: int = 0) -> Case:
    """What `test_semirings.py` plays."""
    config, programs = test_semirings.config_of(name), list[ProgramOp]()
    for kernel in test_semirings.kernels():
        module = kernel.scheduled(test_semirings.MACHINES[name])
        module.body.block.insert_op_before(ArrayOp("array", config), module.body.block.first_op)
        LowerDfkeToRpeaPass().apply(Context(), module)
        programs += programs_of(module)
    return Case(config, pe, programs)


@cache
def attention(name: str) -> Case:
    """What `test_operands.py` plays, without the kernels whose words are gated."""
    config, found = test_operands.chains(name)
    programs = [op for chain in found for op in chain.kernels() if isinstance(op, ProgramOp)]
    plain = [op for op in programs if not next(iter(op.streams()))["gated"].any()]
    assert plain
    return Case(config, 0, plain[:4])


def of_design(design: daqkf.Design) -> Case:
    return Case(design.config, 0, programs_of(design.module))


@cache
def narrow_strassen() -> Case:
    """What `test_strassen.py` plays, whose sums are narrower than products."""
    with tempfile.TemporaryDirectory() as folder:
        return of_design(test_strassen.narrow(1, 3, Path(folder)))


CASES: Mapping[str, Callable[[], Case]] = {
    "running-sum": lambda: kernels_on_an_array("P2-T2"),
    "running-sum-eight": lambda: kernels_on_an_array("windows-eight"),
    "shared-words": lambda: kernels_on_an_array("shared-eight"),
    "chained-running-sum": lambda: chains("mixed"),
    "chained-multiply": lambda: chains("mixed", 1),
    "chained-dense": lambda: chains("dense"),
    "strassen": lambda: kernels_on_an_array("strassen"),
    "narrow-strassen": narrow_strassen,
    "dispatching": lambda: of_design(test_system.with_variants()),
    "mixed-strassen": lambda: kernels_on_an_array("mixed"),
    "multiply-modes": lambda: kernels_on_an_array("multiply-modes"),
    "multiply-modes-dsp": lambda: kernels_on_an_array("multiply-modes-dsp"),
    "multiply-packed": lambda: kernels_on_an_array("multiply-packed"),
    "deltas-dsp": lambda: kernels_on_an_array("deltas-4"),
    "dense": lambda: kernels_on_an_array("dense"),
    "dense-packed": lambda: kernels_on_an_array("dense-packed"),
    "ternary": lambda: kernels_on_an_array("ternary-eight-items"),
    "ordered-sum": lambda: kernels_on_an_array("ordered-eight"),
    "semiring": lambda: semirings("one"),
    "semirings-of-four": lambda: semirings("mixed"),
    "beside-semirings": lambda: semirings("mixed", 1),
    "attention": lambda: attention("P2-T4"),
}


def datapath(case: Case) -> Circuit:
    """The datapath with its operands as ports, and one for what stops all of it."""
    config, family = case.config, FAMILIES[case.family].word
    c = Circuit("daqkf_datapath", "a datapath alone.")
    c.clock("clk")
    c.reset(c.input("rst", 1))
    start, enable, valid = (c.input(name, 1) for name in ("start", "enable", "valid"))
    addresses = family.addresses(config) or ("index0",)
    layout = {**family.fields(config), **stream_word(config, case.pe).widths, "last": 1}
    fields = {
        name: c.input(f"word_{name}", bits)
        for name, bits in layout.items()
        if name not in (*addresses, "end") and not name.startswith("index")
    }
    stored = datapath_of(case.family).stored
    rows = [stored(c.input(f"row{n}", config.row_bits)) for n in range(len(addresses))]
    hold_enable = c.wire("hold_enable", 1)
    operands = Operands(start, enable, valid, fields, rows, hold_enable)
    found = datapath_of(case.family).build(c, config, operands)
    hold_enable.drive(found.finished & enable)
    c.output("holds", found.finished & enable)
    c.output("held", concat(*reversed(found.held)))
    if found.both is not None:
        c.output("twice", found.both)
        c.output("second", concat(*reversed(found.second_held)))
    c.finish()
    return c


def random_weights(words: Words, case: Case, rng: np.random.Generator) -> Words:
    """The same words with weights of all values, where a word has weights as numbers."""
    kinds = {"multiply": "weight", "dense": "weight", "strassen": "m"}
    if case.family not in kinds:
        return words
    widths = FAMILIES[case.family].word.fields(case.config)
    weights = {
        # A third of them are the least number, of which products are largest.
        name: np.where(
            rng.random(len(values)) < 1 / 3,
            1 << (widths[name] - 1),
            rng.integers(0, 1 << widths[name], len(values)),
        )
        for name, values in words.items()
        if name.startswith(kinds[case.family])
    }
    return {**words, **weights}


def sums_of_a_datapath(
    bench: Bench, case: Case, words: Words, memory: NDArray[np.int8], rng: np.random.Generator
) -> Iterator[list[int]]:
    """The sums of each output. Words come and stages move at random; nothing else stays."""
    config = case.config
    inputs = bench.inputs.keys() - {"rst", "start", "enable", "valid"}
    addresses = sorted(name for name in words if name.startswith("index"))
    width, lanes = config.accumulator_width, config.lanes
    bench.step(start=1, enable=1, valid=0)
    bench.inputs["start"] = 0
    queue = list(range(len(words["last"])))
    holds, twice = 0, 0
    after = 20
    while queue or after:
        moves = int(rng.random() < 0.6)
        comes = bool(queue) and moves and rng.random() < 0.8
        values = {name: int(rng.integers(1 << 31)) for name in inputs}
        if comes:
            place = queue.pop(0)
            rows = {f"row{n}": packed(memory[words[a][place]]) for n, a in enumerate(addresses)}
            fields = {f"word_{name}": int(column[place]) for name, column in words.items()}
            values |= rows | {name: fields[name] for name in inputs & fields.keys()}
        after -= not queue and moves
        out = bench.step(enable=moves, valid=int(comes), **values)
        if holds:
            yield split(out["held"], lanes, width)
            if twice:
                yield split(out["second"], lanes, width)
        holds, twice = out["holds"], out.get("twice", 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_datapath_stops_in_each_of_its_stages(name: str):
    case, rng = CASES[name](), np.random.default_rng(11)
    streams = case.streams()
    # Short ones come often enough that each of their words has to wait in each stage.
    streams *= 1 + 100 // sum(len(words["last"]) for words in streams)
    with Bench(datapath(case)) as bench:
        for words in streams:
            words = random_weights(words, case, rng)
            memory = case.memory(rng)
            found = list(sums_of_a_datapath(bench, case, words, memory, rng))
            assert found == case.sums(words, memory)


def play(
    bench: Bench,
    case: Case,
    memory: NDArray[np.int8],
    rng: np.random.Generator,
    longest: int,
) -> Iterator[list[int]]:
    """The sums of each output, which are taken late; the element waits meanwhile.

    There is no further one after `longest` cycles without any.
    """
    config = case.config
    groups, width = config.lanes // config.post_lanes, config.accumulator_width
    for address, row in enumerate(memory):
        bench.step(activation_address=address, activation_data=packed(row), activation_write=1)
    bench.step(activation_write=0, start=1)
    bench.inputs["start"] = 0
    idle = 0
    while idle < longest:
        if not bench.step(take=0)["full"]:
            idle += 1
            continue
        idle = 0
        for _ in range(int(rng.choice([0, 1, 2, 30]))):
            bench.step()
        sums: list[int] = []
        for group in range(groups):
            choice = {"group": group} if groups > 1 else {}
            out = bench.step(take=int(group == groups - 1), **choice)
            sums += split(out["sums"], config.post_lanes, width)
        bench.inputs["take"] = 0
        yield sums


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if "dense" not in name])
def test_an_element_waits_for_the_post_unit(name: str):
    case, rng = CASES[name](), np.random.default_rng(12)
    with Bench(build_element(case.config, case.family)) as bench:
        for program, words in zip(case.programs, case.streams(), strict=True):
            rows = decode(encode(program), case.config).streams[case.pe]
            for address, row in enumerate(rows):
                data = packed(row, 32) & ((1 << stream_word(case.config, case.pe).width) - 1)
                bench.step(stream_address=address, stream_data=data, stream_write=1)
            bench.step(stream_write=0)
            memory = case.memory(rng)
            assert list(play(bench, case, memory, rng, len(rows) + 60)) == case.sums(words, memory)


def elements_in_step(config: ArrayConfig) -> Circuit:
    """All elements of an array of dense ones, with the control that they share."""
    c = Circuit("daqkf_elements", "elements that work in step, alone.")
    c.clock("clk")
    rst = c.input("rst", 1)
    c.reset(rst)
    rows = index_bits(config.banks * config.stream_depth)
    control = {
        "rst": rst,
        "start": c.input("start", 1),
        "features": c.input("features", config.address_width),
        "outputs": c.input("outputs", index_bits(config.result_depth + 1)),
        "activation_address": c.input("activation_address", config.address_width),
        "activation_data": c.input("activation_data", config.row_bits),
        "activation_write": c.input("activation_write", 1),
        **({"stream_start": c.const(0, rows)} if config.relocates else {}),
    }
    stream = {
        "stream_address": c.input("stream_address", rows),
        "stream_data": c.input("stream_data", stream_word(config, 0).width),
    }
    groups = config.lanes // config.post_lanes
    elements = [
        {
            **stream,
            "stream_write": c.input(f"stream_write{p}", 1),
            "take": c.input(f"take{p}", 1),
            **({"group": c.input(f"group{p}", index_bits(groups))} if groups > 1 else {}),
        }
        for p in range(config.pes)
    ]
    for p, outputs in enumerate(lockstep.place_elements(c, config, control, elements)):
        c.output(f"full{p}", outputs["full"])
        c.output(f"sums{p}", outputs["sums"])
    c.finish()
    return c


def take_in_turns(
    bench: Bench, config: ArrayConfig, outputs: int, rng: np.random.Generator
) -> list[list[int]]:
    """The sums of all outputs. The post unit takes those of an element after the other, late."""
    groups, width = config.lanes // config.post_lanes, config.accumulator_width
    found: list[list[int]] = []
    while len(found) < outputs:
        p = len(found) % config.pes
        for _ in range(5000):
            if bench.step(**{f"take{q}": 0 for q in range(config.pes)})[f"full{p}"]:
                break
        else:
            pytest.fail(f"element {p} has no sum for output {len(found)}")
        for _ in range(int(rng.choice([0, 1, 2, 30]))):
            bench.step()
        sums: list[int] = []
        for group in range(groups):
            choice = {f"group{p}": group} if groups > 1 else {}
            out = bench.step(**{f"take{p}": int(group == groups - 1)}, **choice)
            sums += split(out[f"sums{p}"], config.post_lanes, width)
        found.append(sums)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if "dense" in name])
def test_elements_in_step_wait_for_one_another(name: str):
    case, rng = CASES[name](), np.random.default_rng(15)
    config = case.config
    with Bench(elements_in_step(config)) as bench:
        for program in case.programs:
            image = decode(encode(program), config)
            for p in range(config.pes):
                for address, row in enumerate(image.streams[p]):
                    bench.step(
                        stream_address=address,
                        stream_data=packed(row, 32) & ((1 << stream_word(config, p).width) - 1),
                        **{f"stream_write{p}": 1},
                    )
                bench.step(**{f"stream_write{p}": 0})
            memory = case.memory(rng)
            for address, row in enumerate(memory):
                bench.step(
                    activation_address=address, activation_data=packed(row), activation_write=1
                )
            features, outputs = program.features.value.data, program.channels
            bench.step(activation_write=0, start=1, features=features, outputs=outputs)
            bench.inputs["start"] = 0
            found = take_in_turns(bench, config, outputs, rng)
            sums = [case.sums(words, memory) for words in program.streams()]
            assert found == [sums[n % config.pes][n // config.pes] for n in range(outputs)]
            out = bench.step(**{f"take{p}": 0 for p in range(config.pes)})
            assert not any(out[f"full{p}"] for p in range(config.pes))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_no_sum_is_there_after_a_reset(name: str):
    """Of one cycle, whatever the registers held before."""
    case = CASES[name]()
    dense = case.config.lockstep
    element = elements_in_step(case.config) if dense else build_element(case.config, case.family)
    with Bench(element) as bench:
        full = [name for name in bench.outputs if name.startswith("full")]
        assert full
        for seed in range(1, 25):
            bench.restart(seed)
            for _ in range(25):
                out = bench.step()
                assert not any(out[name] for name in full)
