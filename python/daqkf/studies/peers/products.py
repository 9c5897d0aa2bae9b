# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Products with the same matrices: in circuits of da4ml, and as programs of our arrays.

Square matrices are cut from a layer of MiniLM, pruned and quantised. da4ml makes a circuit of each;
one array of ours holds the programs of all of them. Both are simulated in Verilator and compared
with the integers bit for bit, and the same yosys counts what they take.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp

from daqkf.compiler.design import Design, run_passes
from daqkf.compiler.layer import compile_layer
from daqkf.compiler.pipelines import KERNELS, LOWER
from daqkf.dialects.dfke import KernelOp
from daqkf.dialects.rpea import ArrayOp, ProgramOp
from daqkf.hw_targets import Counts
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import Machine
from daqkf.lowering.image.encode import encode
from daqkf.lowering.rtl.array import TOP
from daqkf.passes.dfke_schedule import schedule
from daqkf.passes.progress import Progress
from daqkf.runtime.simulator import Job, Simulator
from daqkf.studies.bench.array import LAYER, contenders, generate
from daqkf.studies.minilm.model import MiniLM, load_calibration
from daqkf.studies.peers import constants
from daqkf.support.errors import DaqkfError
from daqkf.synthesis import synthesize

LEVELS = "uniform-15"
SIZES = (8, 16, 32, 64)
SPARSITIES = (0.0, 0.5, 0.7)
DA4ML = "da4ml"
MOST = 256
"""Rows and columns of the largest matrix."""
LARGEST = 64
"""Rows and columns of the largest matrix that da4ml is given: its search takes six times as long
for one half as large again."""

_SENTENCES = 8
"""Whose activations calibrate the layers that our arrays run."""
_ROWS = 64
"""Rows of activations that are simulated."""


def arrays() -> dict[str, Machine]:
    """Our arrays by name: a small one, the one of `daqkf bench array`, and one of more lanes."""
    bench = next(own.machine for own in contenders() if own.name == "running-sum-8")
    small = replace(bench, pes=2, lanes=2, items=2, post_lanes=1, max_shift=1)
    return {
        "ours 2×2": small,
        "ours 4×8": bench,
        "ours 4×32": replace(bench, lanes=4 * bench.lanes, post_lanes=4 * bench.post_lanes),
    }


@dataclass(frozen=True)
class Matrix:
    """A square matrix of levels, and the integer layer that has it."""

    size: int
    sparsity: float
    """That was asked for."""
    design: Design

    @property
    def name(self) -> str:
        """A name that functions may have."""
        return f"square_{self.size}_{round(1000 * self.sparsity)}"

    @property
    def levels(self) -> NDArray[np.int8]:
        """[K, N]."""
        return self.design.weight_levels


def load_matrices(sizes: Sequence[int], sparsities: Sequence[float]) -> list[Matrix]:
    """The first rows and columns of a layer of MiniLM, pruned and quantised.

    Raises:
        ModelNotFoundError: the MiniLM package is not installed.
    """
    model = MiniLM.load()
    weights, _ = model.linear(LAYER)
    x = model.activations(LAYER, load_calibration()[:_SENTENCES])
    return [
        square(weights[:size, :size], x[:, :size], sparsity)
        for sparsity in sparsities
        for size in sizes
    ]


def square(weights: NDArray[Any], x: NDArray[Any], sparsity: float) -> Matrix:
    """Weights [K, K], pruned and quantised with calibration data [T, K]."""
    design = compile_layer(weights, calibration=x, sparsity=sparsity, levels=LEVELS, split=0.0)
    return Matrix(len(weights), sparsity, design)


@dataclass(frozen=True)
class Row:
    """A circuit that multiplies by a matrix, as simulated and counted."""

    circuit: str
    fabric: str
    size: int
    sparsity: float
    nonzeros: int
    counts: Counts
    latency: int
    """Cycles from the first activation to the last result."""
    period: float
    """Cycles from one tile to the next, with what loads it."""
    together: int
    """Rows of activations of a tile."""
    seconds: float
    """CPU time from the levels to the circuit of da4ml, or to the program of ours."""

    @classmethod
    def of(
        cls,
        matrix: Matrix,
        circuit: str,
        fabric: str,
        counts: Counts,
        latency: int,
        period: float,
        together: int,
        seconds: float,
    ) -> Self:
        """What was measured for a matrix."""
        nonzeros = int(np.count_nonzero(matrix.levels))
        size, sparsity = matrix.size, matrix.sparsity
        taken = counts, latency, period, together, seconds
        return cls(circuit, fabric, size, sparsity, nonzeros, *taken)

    @property
    def luts(self) -> int:
        """LUTs, those that store included."""
        return self.counts.luts + self.counts.lut_rams

    @property
    def rate(self) -> float:
        """Products with the matrix in a cycle."""
        return self.together / self.period

    @property
    def work(self) -> float:
        """Products of two numbers in a cycle, those with zeros included, for 1,000 LUTs."""
        return 1000 * self.rate * self.size**2 / self.luts

    def facts(self) -> dict[str, Any]:
        """All figures as values for JSON."""
        derived = {"luts": self.luts, "rate": self.rate, "work_per_kilolut": self.work}
        return asdict(self) | derived


def drawn(matrix: Matrix) -> NDArray[np.int8]:
    """Rows of activations over all of int8, [T, K]."""
    rng = np.random.default_rng(matrix.size)
    return rng.integers(-128, 128, (_ROWS, matrix.size)).astype(np.int8)


def measure_constant(matrix: Matrix, fabrics: Sequence[str], progress: Progress) -> list[Row]:
    """The circuit of da4ml for a matrix.

    Raises:
        DaqkfError: da4ml is not installed or failed, or the circuit computes something else.
        SimulationError, SynthesisError, ToolNotFoundError: a tool failed or is missing.
    """
    progress("da4ml")
    # An output that is always zero needs no circuit.
    levels = matrix.levels[:, matrix.levels.any(axis=0)].astype(np.int64)
    circuit = constants.constant_circuit(levels)
    x = drawn(matrix)
    progress("simulate")
    expected = x.astype(np.int64) @ levels
    latency = constants.simulated(circuit, x, expected)
    if latency is None:
        raise DaqkfError(f"the circuit of da4ml for {matrix.name} computes something else")
    rows: list[Row] = []
    for fabric in fabrics:
        progress(f"synthesise for {fabric}")
        counts = synthesize(circuit.files, constants.TOP, fabric).counts
        rows.append(Row.of(matrix, DA4ML, fabric, counts, latency, 1.0, 1, circuit.seconds))
    return rows


def measure_array(
    name: str,
    machine: Machine,
    matrices: Sequence[Matrix],
    fabrics: Sequence[str],
    progress: Progress,
) -> list[Row]:
    """One of our arrays, which holds the programs of all matrices.

    Raises:
        DaqkfError: its results are not the integers.
        SimulationError, SynthesisError, ToolNotFoundError: a tool failed or is missing.
    """
    progress("compile")
    config, programs, seconds = _lowered(matrices, machine)
    files = generate(config)
    progress("simulate")
    simulator = Simulator.verilated(files, config)
    found: dict[str, tuple[int, float]] = {}
    for matrix in matrices:
        found[matrix.name] = _simulated(name, matrix, programs[matrix.name], simulator)
    rows: list[Row] = []
    for fabric in fabrics:
        progress(f"synthesise for {fabric}")
        counts = synthesize(files, TOP, fabric).counts
        for matrix in matrices:
            latency, period = found[matrix.name]
            taken = period, machine.lanes, seconds / len(matrices)
            rows.append(Row.of(matrix, name, fabric, counts, latency, *taken))
    return rows


def _lowered(
    matrices: Sequence[Matrix], machine: Machine
) -> tuple[ArrayConfig, Mapping[str, ProgramOp], float]:
    """The smallest array for all matrices, their programs, and the CPU time of all programs."""
    module = ModuleOp([])
    for matrix in matrices:
        (function,) = (op for op in matrix.design.golden.ops if isinstance(op, FuncOp))
        own = function.clone()
        own.sym_name = StringAttr(matrix.name)
        module.body.block.add_op(own)
    start = time.process_time()
    run_passes(module, [name for name in KERNELS if name != "dfke-schedule"])
    for kernel in (op for op in module.walk() if isinstance(op, KernelOp)):
        kernel.schedule = schedule(kernel.parts().weights.array(), machine)
    run_passes(module, LOWER)
    programs = [op for op in module.ops if isinstance(op, ProgramOp)]
    for program in programs:
        encode(program)
    seconds = time.process_time() - start
    array = next(op for op in module.ops if isinstance(op, ArrayOp))
    names = [matrix.name for matrix in matrices]
    return array.config.data, dict(zip(names, programs, strict=True)), seconds


def _simulated(
    name: str, matrix: Matrix, program: ProgramOp, simulator: Simulator
) -> tuple[int, float]:
    """The latency of a tile, and the period of tiles."""
    x = drawn(matrix)
    lanes = simulator.config.lanes
    image = encode(program)
    jobs = [Job(image, part, program.channels) for part in (x[:lanes], x)]
    single, whole = simulator.trace(jobs)
    if not np.array_equal(whole.y, matrix.design.reference(x)):
        raise DaqkfError(f"{name} computes something else than the integers of {matrix.name}")
    tiles = -(-len(x) // lanes)
    latency = single.cycles.total - single.cycles.loading_program
    return latency, (whole.cycles.running + whole.cycles.loading_activations) / tiles


def crossing(rows: Sequence[Row], circuit: str, fabric: str, sparsity: float) -> int | None:
    """The smallest size at which an array of ours takes fewer LUTs than da4ml's circuit."""
    luts = {
        (row.circuit, row.size): row.luts
        for row in rows
        if (row.fabric, row.sparsity) == (fabric, sparsity)
    }
    sizes = sorted(size for name, size in luts if name == DA4ML and (circuit, size) in luts)
    fewer = (size for size in sizes if luts[circuit, size] < luts[DA4ML, size])
    return next(fewer, None)
