# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Random programs on simulated circuits, against the golden model and against formulas.

A few simulators are built; many programs run on each, in turns and with streams that pause, on one
bank or two. Each result is compared with that of the interpreter of the integer IR, of the golden
model of the program, and of `formulas`. Damaged images must be refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random

import numpy as np
from images import sealed
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.utils.exceptions import PassFailedException

from daqkf.dialects.interpreting import call, run
from daqkf.dialects.rpea import ArrayOp, ChainOp, Playable, ProgramOp
from daqkf.dialects.rpea.interpreter import run_chain, run_kernel
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.image_format import Command, Header
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.decode import decode
from daqkf.lowering.image.disassemble import import_program
from daqkf.lowering.image.encode import encode, playable
from daqkf.lowering.image.image import ProgramImageError
from daqkf.lowering.rtl.array import build_array
from daqkf.runtime.simulator import Job, SimulationError, Simulator
from fuzz import formulas
from fuzz.formats import changed_image
from fuzz.programs import ARRAYS, Array, activations_of, config_for, fused, lowered


@cache
def config_of(name: str) -> ArrayConfig:
    """The configuration of an array."""
    return config_for(ARRAYS[name])


@cache
def simulator_of(name: str) -> Simulator:
    """The simulator of an array."""
    config = config_of(name)
    return Simulator.verilated(emit_verilog(circuit_module(build_array(config))), config)


@dataclass(frozen=True)
class Find:
    """A program whose results differ, by the number of its case."""

    array: str
    problem: str
    seed: int
    module: ModuleOp | None = None
    x: NDArray[np.int8] | None = None
    sequences: tuple[int, ...] = ()


@dataclass
class Tally:
    """Counts of a run."""

    programs: int = 0
    """That ran on a circuit, end to end."""
    results: int = 0
    """Numbers that were compared."""
    misfits: int = 0
    """Modules that do not fit the array, or that make several programs."""
    images: int = 0
    """Damaged images."""
    accepted: int = 0
    """Images that were changed and are still right."""
    finds: list[Find] = field(default_factory=list)


@dataclass(frozen=True)
class Case:
    """A program and its activations."""

    seed: int
    module: ModuleOp
    program: Playable
    x: NDArray[np.int8]
    sequences: tuple[int, ...]
    job: Job


def case_of(array: Array, config: ArrayConfig, seed: int) -> Case | None:
    """A case by its number; none if its layers make no one program of this array."""
    rng = np.random.default_rng((seed, 1))
    module = array.random(seed)
    try:
        programs = playable(lowered(fused(module, array.machine, array.chains), config))
    except PassFailedException:
        return None
    if len(programs) != 1:
        return None
    sequences: tuple[int, ...] = ()
    tokens = int(rng.integers(1, 3 * config.lanes + 2))
    if array.making.attends:
        most = array.making.attends
        sequences = tuple(rng.integers(1, most + 1, int(rng.integers(1, 4))).tolist())
        tokens = sum(sequences)
    x = activations_of(rng, module, tokens)
    (program,) = programs
    job = Job(encode(program), x, program.channels, sequences)
    return Case(seed, module, program, x, sequences, job)


def by_formulas(
    module: ModuleOp, x: NDArray[np.int8], sequences: Sequence[int]
) -> NDArray[np.int8]:
    """The results by the second formulas."""
    return np.array(formulas.evaluate(module, "layer", x.tolist(), sequences), np.int8)


def by_integers(
    module: ModuleOp, x: NDArray[np.int8], sequences: Sequence[int]
) -> NDArray[np.int8]:
    """The results by the interpreter of `spaq`."""
    function = next(op for op in module.ops if isinstance(op, FuncOp))
    return call(module, function, (x,), sequences=sequences)[0]


def by_model(case: Case) -> NDArray[np.int8]:
    """The results by the golden model of the program."""
    module = case.program.parent_op()
    assert isinstance(module, ModuleOp)
    parts = np.split(case.x, np.cumsum(case.sequences[:-1], dtype=np.int64))
    return np.concatenate([run(module, part) for part in parts])


def problem_of(case: Case, y: NDArray[np.int8] | None) -> str | None:
    """What differs, if anything does; y are the circuit's results."""
    expected = by_formulas(case.module, case.x, case.sequences)
    found = {
        "the integer IR": by_integers(case.module, case.x, case.sequences),
        "the golden model": by_model(case),
        "the circuit": y,
    }
    for name, values in found.items():
        if values is not None and not np.array_equal(values, expected):
            return f"{name} differs from the formulas"
    return None


def run_batch(
    name: str, seeds: Sequence[int], tally: Tally, simulator: Simulator | None = None
) -> None:
    """Run cases on one array, one after another without a reset."""
    array = ARRAYS[name]
    simulator = simulator or simulator_of(name)
    config = simulator.config
    made = [case_of(array, config, seed) for seed in seeds]
    cases = [case for case in made if case is not None]
    tally.misfits += len(made) - len(cases)
    rng = Random(seeds[0])
    stalls, overlap = rng.choice((0.0, 0.2, 0.5)), config.double_buffered and rng.random() < 0.7
    jobs = [case.job for case in cases]
    try:
        traces = simulator.trace(jobs, stalls=stalls, seed=rng.randrange(1 << 30), overlap=overlap)
        results: list[NDArray[np.int8] | None] = [trace.y for trace in traces]
    except SimulationError as error:
        tally.finds.append(Find(name, str(error), seeds[0]))
        results = [None] * len(cases)
    for case, y in zip(cases, results, strict=True):
        problem = problem_of(case, y)
        tally.programs += y is not None
        tally.results += case.x.shape[0] * case.program.channels
        if problem is not None:
            found = Find(name, problem, case.seed, case.module, case.x, case.sequences)
            tally.finds.append(found)


def damage(name: str, seed: int, tally: Tally, simulator: Simulator | None = None) -> None:
    """Give an array a changed image: one that is right by chance runs, others are refused."""
    array = ARRAYS[name]
    simulator = simulator or simulator_of(name)
    config, rng = simulator.config, Random(seed)
    case = case_of(array, config, seed)
    if case is None or case.job.image is None:
        return
    image = case.job.image
    if config.double_buffered and rng.random() < 0.5:
        image = _damaged(rng, image)
    elif rng.random() < 0.5:
        words = np.frombuffer(image, "<u4").copy()
        words[rng.randrange(3)] ^= np.uint32(1 << rng.randrange(32))
        image = words.tobytes()
    else:
        few = rng.random() < 0.8
        image = _other_numbers(rng, image, config) if few else changed_image(rng, image, b"")
        _sealed(array, simulator, case, image, tally)
        return
    tally.images += 1
    try:
        simulator.trace([Job(image, case.x, case.job.outputs, case.sequences)], stalls=0.2)
    except SimulationError as error:
        if "refused the program" in str(error):
            return
        tally.finds.append(Find(name, f"a damaged image: {error}", seed))
        return
    tally.finds.append(Find(name, "takes a damaged image", seed))


def _damaged(rng: Random, image: bytes) -> bytes:
    """An image with bits that differ, or with more or fewer words."""
    words = list(np.frombuffer(image, "<u4"))
    match rng.randrange(4):
        case 0:
            del words[rng.randrange(1, len(words)) :]
        case 1:
            words += [np.uint32(rng.getrandbits(32)) for _ in range(rng.randrange(1, 5))]
        case 2:
            at = rng.randrange(len(Header), len(words))
            words[at] = np.uint32(int(words[at]) ^ rng.randrange(1, 1 << 32))
        case _:
            at = rng.randrange(len(words))
            words[at] = np.uint32(int(words[at]) ^ (1 << rng.randrange(32)))
    return np.array(words, "<u4").tobytes()


def _other_numbers(rng: Random, image: bytes, config: ArrayConfig) -> bytes:
    """An image with a bit changed of a table or of parameters, and a header that fits."""
    words = np.frombuffer(image, "<u4").copy()
    wanted = rng.choice((Command.TABLE, Command.PARAMETERS))
    sections = [part for part in decode(image, config).sections if part.command is wanted]
    section = rng.choice(sections)
    at = section.word(rng.randrange(len(section.rows))) + rng.randrange(section.rows.shape[1])
    words[at] ^= np.uint32(1 << rng.randrange(8 if wanted is Command.TABLE else 32))
    return sealed(words)


def _sealed(array: Array, simulator: Simulator, case: Case, image: bytes, tally: Tally) -> None:
    """Run an image with changed rows and a header that fits, if the tools find nothing wrong."""
    name, config = array.name, simulator.config
    try:
        decode(image, config)
        holder = ArrayOp("array", config)
        (program,) = playable(import_program(image, holder))
    except ProgramImageError:
        tally.images += 1
        return
    if program.features.value.data != case.x.shape[1] or case.sequences:
        return
    tally.accepted += 1
    if isinstance(program, ChainOp):
        expected = run_chain(program, case.x)
    elif isinstance(program, ProgramOp) and program.adds is None and not program.keeps:
        expected = run_kernel(program, case.x)
    else:
        return
    try:
        (trace,) = simulator.trace([Job(image, case.x, program.channels)], stalls=0.2)
    except SimulationError as error:
        tally.finds.append(Find(name, f"an image that is right: {error}", case.seed))
        return
    if not np.array_equal(trace.y, expected):
        tally.finds.append(Find(name, "a changed image differs from the golden model", case.seed))


def fuzz(
    seed: int,
    until: Callable[[Tally], bool],
    progress: Callable[[Tally], None],
    names: Sequence[str] = tuple(ARRAYS),
    batch: int = 32,
    damages: int = 4,
) -> Tally:
    """Run programs on all arrays in turns, until the tally says that it is enough."""
    tally, number = Tally(), 0
    try:
        while True:
            for name in names:
                first = (seed << 32) + number * batch
                run_batch(name, range(first, first + batch), tally)
                for place in range(damages):
                    damage(name, first + place, tally)
                progress(tally)
                if until(tally):
                    return tally
            number += 1
    except KeyboardInterrupt:
        return tally


def summary(tally: Tally, seconds: float) -> str:
    """The line that a run ends with."""
    return (
        f"circuits: {tally.programs} programs end to end in {seconds:.0f} s, {tally.results} "
        f"numbers compared, {tally.misfits} modules left out; {tally.images} damaged images, "
        f"{tally.accepted} changed ones that are right; {len(tally.finds)} finds"
    )
