# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Compare the work per second and LUT of every family of elements with a dense array.

The same passes compile the same pruned model for all arrays. The baselines run it in 8 bits, and
the others with the levels that keep its accuracy. Cycles are those of the schedule over all 36
layers; one layer is also simulated and compared with the golden model. Resources are those of one
array that holds all layers, by yosys. No ECP5 has memories for all layers, so the clock frequency
is that of the same array with smaller memories, by nextpnr.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.func import FuncOp

from daqkf.compiler.design import run_passes
from daqkf.compiler.pipelines import KERNELS, LOWER
from daqkf.dialects.dfke import KernelOp
from daqkf.dialects.rpea import ArrayOp, ProgramOp
from daqkf.dialects.rpea.interpreter import run_kernel
from daqkf.dialects.spaq import LevelSet, QuantizeOp
from daqkf.dialects.spaq.checks import features
from daqkf.hw_targets import load_target
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.numerics import quantize
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.encode import encode
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.passes.dfke_schedule import schedule, schedule_cycles
from daqkf.passes.progress import Progress
from daqkf.runtime.simulator import Job, Simulator
from daqkf.studies.bench.workload import Workload, load_workload
from daqkf.studies.minilm.model import MiniLM, load_evaluation
from daqkf.support.errors import DaqkfError
from daqkf.synthesis import Placement, Resources, Toggles, synthesize, toggles

LAYER = "layer.0.ffn.down"
"""The projection of 1536 inputs, which is simulated, and also reported alone."""

SENTENCES, TILES = 3, 3
"""The number of sentences whose tokens are simulated, and the number of their tiles."""

BASELINE = "dense"

CLOCK_DEPTHS = {
    "activation_depth": 512,
    "stream_depth": 1024,
    "parameter_depth": 32,
    "result_depth": 128,
}
"""The memories of the array that is placed and routed."""


@dataclass(frozen=True)
class Contender:
    """An array that is measured."""

    name: str
    machine: Machine
    tuned: bool
    """Whether it runs tuned levels; if not, it runs 8 bits, or `levels`."""
    dsp: bool = False
    """Whether it is for fabrics with DSPs; if not, it is for those without."""
    levels: LevelSet | None = None
    """The levels of all weights, for elements that can run no others."""

    def suits(self, fabric: str) -> bool:
        """Whether the array is measured on this fabric."""
        return fabric.endswith("-dsp") == self.dsp


def tuning_machine() -> Machine:
    """The machine for whose cycles the levels are tuned; all contenders run the same levels."""
    return replace(load_target("generic").machine, items=4)


def contenders() -> list[Contender]:
    """The arrays, all with the same numbers of elements and lanes; the baseline is first."""
    base = load_target("generic").machine

    def machine(family: str, **fields: Any) -> Machine:
        return replace(base, families=(family,), **fields)

    def running_sum(items: int) -> Machine:
        # Without shifts, weights are split, and short outputs need a faster post unit.
        return machine("running_sum", items=items, max_shift=0, post_lanes=max(items // 4, 1))

    return [
        Contender(BASELINE, machine("dense"), tuned=False),
        Contender("baseline-sparse", machine("multiply"), tuned=False),
        *(Contender(f"running-sum-{items}", running_sum(items), tuned=True) for items in (2, 4, 8)),
        Contender(
            "shared-words-8",
            # Some layers wait for the post unit; more lanes for it cost more than they gain.
            replace(running_sum(8), max_shift=1, shared_words=True),
            tuned=True,
        ),
        Contender(
            "ternary-8",
            machine("ternary", items=8, post_lanes=2),
            tuned=False,
            levels=LevelSet.of("ternary"),
        ),
        Contender(f"{BASELINE}-dsp", machine("dense", multiplier="packed"), False, dsp=True),
        Contender("multiply-dsp", machine("multiply", multiplier="packed"), False, dsp=True),
        Contender(
            "multiply-modes-dsp",
            machine("multiply", multiplier="dsp", weight_bits=(4, 8)),
            True,
            dsp=True,
        ),
        Contender("strassen-dsp", machine("strassen"), False, dsp=True),
    ]


@dataclass(frozen=True)
class Measurement:
    """The figures of a contender at one sparsity, on one fabric."""

    contender: str
    fabric: str
    sparsity: float
    cosine: float
    """The mean cosine of the embeddings to those of W8A8, on the evaluation sentences."""
    cycles: int
    """Cycles of a tile in all layers."""
    load_cycles: int
    """Cycles in which the activations of a tile are loaded, in all layers. No element runs in
    them."""
    layer_cycles: int
    """Cycles of a tile in `LAYER`."""
    simulated_cycles: float
    """Cycles of a tile in `LAYER` by simulation, with latencies and the wait for the post unit."""
    simulated_period: float
    """Cycles from one tile to the next by simulation, with loading; storing overlaps with both."""
    resources: Resources
    placement: Placement | None
    """The placement of the array with memories of `CLOCK_DEPTHS`."""
    toggles: Toggles | None
    glitches: Toggles | None = None
    """The same tile on a netlist whose gates have delays, by modules."""

    @property
    def luts(self) -> int:
        """The LUTs that the array takes, on UltraScale+ those of six inputs, and those that store.

        On ECP5 they are its LUT sites, two of a slice, as nextpnr packs them: a carry block takes
        two. That is what `logic_cells` are there.
        """
        counts = self.resources.counts
        if self.fabric.startswith("ecp5"):
            return counts.logic_cells
        return counts.luts + counts.lut_rams

    def work_per_lut(self) -> float:
        """Tiles per second and LUT, at the clock of the placement, or else at 1 Hz."""
        return self._clock() / (self.cycles * self.luts)

    def layer_work_per_lut(self) -> float:
        """Tiles per second and LUT, for `LAYER` alone."""
        return self._clock() / (self.layer_cycles * self.luts)

    def loaded_work_per_lut(self) -> float:
        """Tiles per second and LUT, for all layers and with loading."""
        return self._clock() / ((self.cycles + self.load_cycles) * self.luts)

    def work_per_cell(self) -> float:
        """Tiles per second and logic cell, by yosys' estimate, in which small LUTs share one."""
        return self._clock() / (self.cycles * self.resources.counts.logic_cells)

    def work_per_dsp(self) -> float | None:
        """Tiles per second and DSP; None on fabrics without DSPs."""
        dsps = self.resources.counts.dsps
        return self._clock() / (self.cycles * dsps) if dsps else None

    def _clock(self) -> float:
        return 1e6 * self.placement.fmax_mhz if self.placement else 1.0

    def facts(self) -> dict[str, Any]:
        """All figures as values for JSON."""
        return asdict(self) | {
            "resources": self.resources.facts(),
            "toggles": self.toggles and self.toggles.facts(),
            "glitches": self.glitches and self.glitches.facts(),
        }


@dataclass(frozen=True)
class Compiled:
    """All layers, compiled for one array."""

    config: ArrayConfig
    cycles: Mapping[str, int]
    """Cycles of a tile, by layer."""
    load_cycles: int
    """Cycles that loading a tile takes, summed over the layers."""
    program: ProgramOp
    """The program of `LAYER`."""
    x: NDArray[np.int8]
    """Real activations for the program, int8 [T, K]."""


def compile_workload(workload: Workload, machine: Machine, x: NDArray[np.floating]) -> Compiled:
    """Lower all layers of a workload to one array.

    `x` are float activations [T, K] of `LAYER`.
    """
    module = workload.module()
    run_passes(module, [name for name in KERNELS if name != "dfke-schedule"])
    cycles: dict[str, int] = {}
    load_cycles = 0
    names: list[str] = []
    columns = None
    for function in (op for op in module.ops if isinstance(op, FuncOp)):
        name = function.sym_name.data
        names.append(name)
        (kernel,) = (op for op in function.walk() if isinstance(op, KernelOp))
        kernel.schedule = schedule(kernel.parts().weights.array(), machine)
        cycles[name] = schedule_cycles(kernel.schedule)
        load_cycles += features(kernel.input)
        if name == LAYER:
            (read,) = (op for op in function.walk() if isinstance(op, QuantizeOp))
            columns = quantize(x, read.scales(), read.columns())
    assert columns is not None
    run_passes(module, LOWER)
    array = next(op for op in module.ops if isinstance(op, ArrayOp))
    programs = [op for op in module.ops if isinstance(op, ProgramOp)]
    program = programs[names.index(LAYER)]
    return Compiled(array.config.data, cycles, load_cycles, program, columns)


def generate(config: ArrayConfig) -> dict[str, str]:
    """The SystemVerilog of an array, text by file name."""
    return emit_verilog(circuit_module(build_array(config)))


def measure_clock(config: ArrayConfig, fabric: str, seeds: Sequence[int]) -> Placement | None:
    """Place and route the array with memories of `CLOCK_DEPTHS`, once for each seed."""
    files = generate(replace(config, **CLOCK_DEPTHS))
    return synthesize(files, TOP, fabric, place=True, seeds=seeds).placement


def measure(
    contender: Contender,
    sparsity: float,
    fabrics: Sequence[str],
    *,
    accuracy: float,
    seeds: Sequence[int],
    count_toggles: bool,
    progress: Progress,
    count_glitches: bool = False,
) -> list[Measurement]:
    """Compile, simulate and synthesise a contender, and on ECP5 place it once for each seed.

    Raises:
        DaqkfError: the simulation and the golden model differ.
        SimulationError, SynthesisError, ToolNotFoundError: a tool failed or is missing.
    """
    asked = accuracy if contender.tuned else None
    workload = load_workload(sparsity, asked, tuning_machine(), progress, contender.levels)
    progress("compile")
    lanes = contender.machine.lanes
    samples = MiniLM.load().activations(LAYER, load_evaluation()[:SENTENCES])
    found = compile_workload(workload, contender.machine, samples[: TILES * lanes])
    progress("simulate")
    job = Job(encode(found.program), found.x, found.program.channels)
    expected = run_kernel(found.program, found.x)
    files = generate(found.config)
    (trace,) = Simulator.verilated(files, found.config).trace([job])
    if not np.array_equal(trace.y, expected):
        raise DaqkfError(f"{contender.name} computes something else than its golden model")
    tiles = -(-len(found.x) // lanes)
    running = trace.cycles.running / tiles
    activity = glitches = None
    tile, results = replace(job, x=found.x[:lanes]), expected[:lanes]
    if count_toggles:
        progress("count toggles")
        activity = toggles(files, found.config, tile, results)
    if count_glitches:
        progress("count toggles with glitches")
        glitches = toggles(files, found.config, tile, results, modules=True, delays=True)
    rows: list[Measurement] = []
    for fabric in fabrics:
        if not contender.suits(fabric):
            continue
        resources, placement = _synthesized(files, found.config, fabric, seeds, progress)
        rows.append(
            Measurement(
                contender.name,
                fabric,
                sparsity,
                workload.cosine,
                sum(found.cycles.values()),
                found.load_cycles,
                found.cycles[LAYER],
                running,
                running + trace.cycles.loading_activations / tiles,
                resources,
                placement,
                activity,
                glitches,
            )
        )
    return rows


def _synthesized(
    files: Mapping[str, str],
    config: ArrayConfig,
    fabric: str,
    seeds: Sequence[int],
    progress: Progress,
) -> tuple[Resources, Placement | None]:
    """What an array takes of a fabric; and its placement, if there are seeds, on ECP5."""
    progress(f"synthesise for {fabric}")
    resources = synthesize(files, TOP, fabric)
    if not seeds or not fabric.startswith("ecp5"):
        return resources, None
    progress(f"place and route for {fabric}")
    return resources, measure_clock(config, fabric, seeds)
