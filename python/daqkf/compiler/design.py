# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A compiled layer: its circuit, its program, and ways to run them."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass, PassPipeline
from xdsl.rewriter import Rewriter
from xdsl.utils.exceptions import DiagnosticException, ParseError

from daqkf.compiler.compiled import Compiled
from daqkf.compiler.folder import Folder, write_folder
from daqkf.compiler.pipelines import CIRCUIT
from daqkf.compiler.rtl_files import array_files, rtl_contents, system_files
from daqkf.dialects.dense import to_array
from daqkf.dialects.dfke import DispatchOp
from daqkf.dialects.diagnostics import verify
from daqkf.dialects.interpreting import only_function, run
from daqkf.dialects.rpea import ArrayOp, Playable, ProgramOp
from daqkf.dialects.rpea import DispatchOp as ProgramDispatchOp
from daqkf.dialects.rpea.ops import beats_of
from daqkf.dialects.spaq import (
    ConstantOp,
    DequantizeOp,
    LevelsAttr,
    LevelSet,
    QuantizeOp,
)
from daqkf.dialects.spaq.checks import features
from daqkf.hw_targets import numerics
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.image_format import IMAGE_VERSION, fingerprint
from daqkf.hw_targets.memory import MemoryTiming
from daqkf.hw_targets.timing import Speed, speed
from daqkf.lowering import PASSES as LOWERINGS
from daqkf.passes import GENERAL_PASSES, PASSES
from daqkf.passes.encode.index_coding import storage_facts
from daqkf.passes.files import replacing, write_atomically
from daqkf.runtime.accelerators import CLOCK, Accelerator, external_memory
from daqkf.runtime.simulator import Cycles, Job, Simulator, Trace
from daqkf.runtime.waveforms import TILES, Waveform, gtkwave_view
from daqkf.support.errors import DaqkfError, describe
from daqkf.support.ir import make_context, module_text, parse_module

if TYPE_CHECKING:
    from daqkf.reports.pages.blocks import Section
    from daqkf.reports.writing import Report
    from daqkf.synthesis import Toggles

_FACTS = "design.json"

StageCallback = Callable[[str, ModuleOp], None]
"""Called with a stage's name and the IR after it, which it must not change."""


@dataclass(frozen=True, eq=False, repr=False)
class Simulation:
    """Results and cycle counts of a simulation; equal if all of them are."""

    y: NDArray[Any]
    """float32 [T, N], or int8 columns [T, N + E'] for int8 inputs."""
    cycles: Cycles
    tiles: int
    """Passes over the array, of as many tokens as it has lanes."""
    variants: NDArray[np.int64]
    """[tiles] the variant that each took, as the array reports it."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Simulation):
            return NotImplemented
        same = self.cycles == other.cycles and self.y.dtype == other.y.dtype
        arrays = (self.y, other.y), (self.variants, other.variants)
        return same and all(np.array_equal(one, another) for one, another in arrays)

    def __hash__(self) -> int:
        return hash((self.cycles, self.tiles, self.y.tobytes()))

    def __repr__(self) -> str:
        shape = " × ".join(map(str, self.y.shape))
        return (
            f"Simulation({shape} {self.y.dtype}, {self.tiles} tiles, {self.cycles.running} cycles)"
        )


@dataclass(eq=False, repr=False)
class Design(Compiled):
    """A compiled layer: its circuit, its program, and ways to run them."""

    module: ModuleOp
    """The IR at array level: `rpea.array`, `rpea.program` and the host function."""
    golden: ModuleOp
    """The integer layer before fusion, which defines the results; or its variants, fused."""
    levels: LevelSet
    """Of variant 0, like everything that is said of the weights."""
    target: str
    """The target's name or file."""

    @property
    def modules(self) -> tuple[ModuleOp, ...]:
        """The IR that tells a design from another one."""
        return self.module, self.golden

    @property
    def figures(self) -> dict[str, str]:
        """What is said of a design in a line, by name."""
        config, weights = self.config, self.weight_levels
        levels = [f"{entry.kind}-{entry.magnitudes}" for entry in self.level_sets]
        return {
            "layer": f"{self.features} → {self.outputs}",
            "levels": " and ".join(levels),
            "zeros": f"{1 - np.count_nonzero(weights) / weights.size:.1%} zeros",
            "cycles": f"{self.cycles:,} cycles a tile",
            "array": f"{self.target}: {config.pes} PEs × {config.lanes} lanes",
        }

    @property
    def cycles(self) -> int:
        """Cycles of a tile of tokens, of the streams or of the post unit; of variant 0."""
        return self.speed.cycles

    @property
    def speed(self) -> Speed:
        """The predicted speed; of variant 0."""
        from daqkf.lowering.image.encode import parts_of

        program = next(part for part in parts_of(self._program) if isinstance(part, ProgramOp))
        return speed([(to_array(program.rows), program.channels)], self.config)

    def report(self, source: NDArray[np.floating] | None = None) -> "Report":
        """The layer as a table, as pictures and as a page: weights, programs and memories.

        Args:
            source: the float weights [K, N] that it was compiled from, to compare levels with.

        Raises:
            DaqkfError: weights of another shape.
        """
        from daqkf.compiler.report_facts import no_accuracy, program_works, weight_accuracy
        from daqkf.reports.model import analyse, of_module
        from daqkf.reports.pages import programs
        from daqkf.reports.writing import Report

        accuracy = no_accuracy()
        if source is not None:
            levels = self.weight_levels * self.weight_scales.astype(np.float64)
            if np.shape(source) != levels.shape:
                shapes = f"{list(levels.shape)}, not {list(np.shape(source))}"
                raise DaqkfError(f"the weights of the layer have the shape {shapes}")
            accuracy = weight_accuracy([("layer.weights", source, levels)])

        def sections() -> "list[Section]":
            works = program_works(self._program, "layer", len(self.program))
            found = programs.sections(works, self.config, 0)
            return [*found, accuracy] if source is None else [accuracy, *found]

        entries = analyse(of_module("layer", self.golden), self.levels)
        lead = f"A layer of {self.features:,} features and {self.outputs:,} outputs."
        return Report("layer", entries, lead, self.figures, sections)

    @cached_property
    def array(self) -> ArrayOp:
        """The array."""
        return next(op for op in self.module.ops if isinstance(op, ArrayOp))

    @cached_property
    def _program(self) -> Playable:
        from daqkf.lowering.image.encode import playable

        return playable(self.module)[-1]

    @cached_property
    def _dispatch(self) -> DispatchOp | None:
        return next((op for op in self.golden.walk() if isinstance(op, DispatchOp)), None)

    @cached_property
    def level_sets(self) -> tuple[LevelSet, ...]:
        """The level set of each variant."""
        encodings = (op.encoding for op in self.golden.walk() if isinstance(op, ConstantOp))
        levels = (encoding.levels for encoding in encodings if encoding is not None)
        return tuple(entry.data for entry in levels if isinstance(entry, LevelsAttr))

    @property
    def config(self) -> ArrayConfig:
        """Everything that shapes the circuit."""
        return self.array.config.data

    @cached_property
    def _reads(self) -> QuantizeOp:
        return next(op for op in self.golden.walk() if isinstance(op, QuantizeOp))

    @cached_property
    def _leaves(self) -> DequantizeOp:
        return next(op for op in self.golden.walk() if isinstance(op, DequantizeOp))

    @property
    def features(self) -> int:
        """K, the features of the layer; the array has as many columns, and `input_split` more."""
        return features(self._reads.input)

    @property
    def outputs(self) -> int:
        """N, the outputs of the layer; the array has as many, and `output_split` more."""
        return features(self._leaves.result)

    @property
    def input_scale(self) -> float:
        """What one int8 step of an input is worth."""
        scale = self._reads.scales()
        assert isinstance(scale, float)
        return scale

    @property
    def output_scale(self) -> float | NDArray[np.float64]:
        """What one int8 step of a result is worth: of all, or [N] of each output."""
        return self._leaves.scales()

    @property
    def input_split(self) -> NDArray[np.int32]:
        """[E] the feature of each extra column of the array's inputs, ascending."""
        return self._reads.columns()

    @property
    def output_split(self) -> NDArray[np.int32]:
        """[E'] the output of each extra column of the array's results, ascending."""
        return self._leaves.columns()

    def quantize_input(self, x: NDArray[Any]) -> NDArray[np.int8]:
        """The array's columns [T, K + E] of real activations [T, K]."""
        return numerics.quantize(x, self.input_scale, self.input_split)

    def dequantize_output(self, y: NDArray[np.int8]) -> NDArray[np.float32]:
        """The real results [T, N] of the array's columns [T, N + E']."""
        return numerics.dequantize(y, self.output_scale, self.output_split)

    @cached_property
    def _weights(self) -> ConstantOp:
        constants = (op for op in self.golden.walk() if isinstance(op, ConstantOp))
        return next(op for op in constants if op.array().ndim == 2)

    @property
    def weight_levels(self) -> NDArray[np.int8]:
        """The quantised weights [K, N]; extra columns and outputs only repeat them."""
        return self._weights.array()[: self.features, : self.outputs]

    @property
    def weight_scales(self) -> NDArray[np.float32]:
        """What one level of a weight is worth, per output channel [N]."""
        assert self._weights.scales is not None
        return to_array(self._weights.scales)[: self.outputs]

    @cached_property
    def _integers(self) -> ModuleOp:
        return _integers_only(self.golden)

    @cached_property
    def circuit(self) -> ModuleOp:
        """The IR at circuit level."""
        module = self.module.clone()
        run_passes(module, CIRCUIT)
        return module

    @cached_property
    def verilog_files(self) -> dict[str, str]:
        """SystemVerilog by file name, one module each.

        Raises:
            VerilogExportError: the exporter failed.
        """
        from daqkf.lowering.hdl.verilog import emit_verilog

        if "system_files" in self.__dict__:
            return array_files(self.system_files)
        return emit_verilog(self.circuit)

    @property
    def verilog(self) -> str:
        """SystemVerilog of all modules; the top is `daqkf_array`."""
        from daqkf.lowering.hdl.verilog import single_file

        return single_file(self.verilog_files)

    @cached_property
    def system_files(self) -> dict[str, str]:
        """SystemVerilog by file name of `daqkf_system`, the array's files among them.

        Raises:
            VerilogExportError: the exporter failed.
        """
        return system_files(self.config)

    @cached_property
    def program(self) -> bytes:
        """The program image."""
        from daqkf.lowering.image.encode import encode

        return encode(self._program)

    @cached_property
    def _simulator(self) -> Simulator:
        return Simulator.verilated(self.verilog_files, self.config)

    def adopt_array(self, other: "Design") -> None:
        """Use the RTL and the simulator of a design that has the same array.

        Raises:
            DaqkfError: its array is another one.
        """
        if other.config != self.config:
            raise DaqkfError("the designs have different arrays")
        vars(self).update(verilog_files=other.verilog_files, _simulator=other._simulator)
        if "system_files" in vars(other):
            vars(self).update(system_files=other.system_files)

    def measure(
        self,
        x: NDArray[Any],
        *,
        stalls: float = 0.0,
        seed: int = 0,
        trace: str | Path | None = None,
        trace_tiles: int = TILES,
        memory: str | None = None,
        clock: float = CLOCK,
    ) -> Simulation:
        """Simulate the generated RTL on float activations [T, K] or int8 columns [T, K + E].

        Float activations are quantised first and the results scaled back; int8 columns are the
        array's own, `quantize_input` makes them. All streams pause at random in a share
        `stalls` of the cycles.

        `trace` is a file for the waveform of the first `trace_tiles` tiles, `.vcd` or `.fst`;
        GTKWave opens it in groups with the file `.gtkw` beside it.

        `memory` is the external memory, one of `hw_targets.memory_names()`, that the streams of a
        target with `memory_bits` come from, at a `clock` of the array in Hz. By default that
        memory has a beat in each cycle.

        Raises:
            DaqkfError: activations of a wrong shape or type, a waveform of another format, or a
                memory that is not known, or that the array has no port for.
            OSError: the waveform cannot be written there.
            SimulationError, ToolNotFoundError: the simulation failed, or a tool is missing.
        """
        waveform = Waveform(Path(trace), trace_tiles) if trace is not None else None
        q, is_float = self._quantized(x)
        job = Job(self.program, q, self._program.channels)
        timing = external_memory(memory, clock, self.config)
        if waveform is None:
            (traced,) = self._simulator.trace([job], stalls=stalls, seed=seed, memory=timing)
        else:
            traced = self._traced(job, waveform, stalls=stalls, seed=seed, memory=timing)
        y = self._scaled(traced.y.astype(np.int8, copy=False), is_float)
        return Simulation(y, traced.cycles, len(traced.variants), traced.variants)

    def _traced(
        self, job: Job, waveform: Waveform, *, stalls: float, seed: int, memory: MemoryTiming
    ) -> Trace:
        view = gtkwave_view(waveform, self.verilog_files)
        with replacing(waveform.path) as temporary:
            # Whether it can be written shows before the simulator is built.
            temporary.touch()
            simulator = Simulator.verilated(self.verilog_files, self.config, waveform.format)
            (traced,) = simulator.trace(
                [job],
                stalls=stalls,
                seed=seed,
                waveform=replace(waveform, path=temporary),
                memory=memory,
            )
        write_atomically(waveform.view, view.encode())
        return traced

    def simulate(
        self,
        x: NDArray[Any],
        *,
        stalls: float = 0.0,
        seed: int = 0,
        trace: str | Path | None = None,
        trace_tiles: int = TILES,
    ) -> NDArray[Any]:
        """The results of `measure` alone: float32 [T, N], or for int8 int8 [T, N + E']."""
        return self.measure(x, stalls=stalls, seed=seed, trace=trace, trace_tiles=trace_tiles).y

    def run(self, x: NDArray[Any], accelerator: Accelerator) -> NDArray[Any]:
        """The results of an array on a board, or of a simulated one, for activations as `measure`.

        Raises:
            DaqkfError: activations of a wrong shape or type.
        """
        q, is_float = self._quantized(x)
        (y,) = accelerator.run([Job(self.program, q, self._program.channels)])
        return self._scaled(y.astype(np.int8, copy=False), is_float)

    def reference(self, x: NDArray[Any]) -> NDArray[Any]:
        """What the integer golden model computes; `simulate` equals it bit for bit.

        Raises:
            DaqkfError: activations of a wrong shape or type.
        """
        q, is_float = self._quantized(x)
        return self._scaled(run(self._integers, q), is_float)

    def variants(self, x: NDArray[Any]) -> NDArray[np.int64]:
        """[tiles] the variant that each tile of activations [T, K] takes, by the golden model.

        Raises:
            DaqkfError: activations of a wrong shape or type.
        """
        q, _ = self._quantized(x)
        if self._dispatch is None:
            return np.zeros(-(-len(q) // self.config.lanes), np.int64)
        return self._dispatch.decision.data.variants(q)

    def toggles(self, x: NDArray[Any], *, modules: bool = False) -> "Toggles":
        """How often the nets of the synthesised array change for activations [T, K].

        See `daqkf.synthesis.toggles`.

        Raises:
            DaqkfError: activations of a wrong shape or type.
            SynthesisError, SimulationError, ToolNotFoundError: it failed, or a tool is missing.
        """
        from daqkf.synthesis import toggles

        q, _ = self._quantized(x)
        job = Job(self.program, q, self._program.channels)
        expected = run(self._integers, q)
        return toggles(self.verilog_files, self.config, job, expected, modules=modules)

    def _quantized(self, x: NDArray[Any]) -> tuple[NDArray[np.int8], bool]:
        x = np.asarray(x)
        columns = self._program.features.value.data if x.dtype == np.int8 else self.features
        if x.ndim != 2 or x.shape[1] != columns or not len(x):
            raise DaqkfError(
                f"activations must have the shape [T, {self.features}], not {list(x.shape)}"
                if columns == self.features
                else f"int8 activations must have the array's columns [T, {columns}], of which "
                f"{columns - self.features} are extra, not {list(x.shape)}"
            )
        if x.dtype == np.int8:
            return x, False
        if x.dtype.kind != "f":
            raise DaqkfError(f"activations must be int8 or float, not {x.dtype}")
        if not np.isfinite(x).all():
            raise DaqkfError("activations contain NaN or infinity")
        return self.quantize_input(x), True

    def _scaled(self, y: NDArray[np.int8], is_float: bool) -> NDArray[Any]:
        return self.dequantize_output(y) if is_float else y

    def summary(self) -> dict[str, Any]:
        """Facts about the design, JSON-able."""
        from daqkf.lowering.image.encode import parts_of

        program = self._program
        dispatches = isinstance(program, ProgramDispatchOp)
        programs = [part for part in parts_of(program) if isinstance(part, ProgramOp)]
        words = [to_array(entry.rows).tolist() for entry in programs]
        facts = {
            "features": self.features,
            "outputs": self.outputs,
            "target": self.target,
            "levels": asdict(self.levels) | {"bits": self.levels.bits},
            "array": asdict(self.config),
            "fingerprint": f"{fingerprint(self.config):#010x}",
            "image_version": IMAGE_VERSION,
            "program_bytes": len(self.program),
            "stream_words": words[0],
            **storage_facts(
                self.config,
                [np.array(words[0])],
                [self._weights.array()],
                beats_of(programs[:1], self.config)[0],
            ),
            "input_scale": self.input_scale,
            "output_scale": np.asarray(self.output_scale).tolist(),
            "input_split": self.input_split.tolist(),
            "output_split": self.output_split.tolist(),
        }
        if dispatches:
            facts["decision"] = asdict(program.decision.data)
            facts["variants"] = [
                {"levels": asdict(levels) | {"bits": levels.bits}, "stream_words": counts}
                for levels, counts in zip(self.level_sets, words, strict=True)
            ]
        return facts

    def save(self, folder: str | Path) -> None:
        """Write a folder that `load` reads back.

        `rtl/*.sv`, `program.bin`, `design.mlir` (array level), `layer.mlir` (the integer layer),
        `design.json` (facts) and `daqkf_registers.h`, each under a temporary name first. Of the
        RTL, `rtl/filelist.f` lists the array, `rtl/system.f` the system around it, too. The facts
        have the hashes of all files, and files of an earlier compilation are removed.
        """
        system = self.system_files  # first, as the array's files are among them
        contents = rtl_contents(self.verilog_files, system)
        contents["design.mlir"] = module_text(self.module)
        contents["layer.mlir"] = module_text(self.golden)
        files = {name: text.encode() for name, text in contents.items()}
        files["program.bin"] = self.program
        write_folder(Path(folder), _FACTS, self.summary(), files)

    @classmethod
    def load(cls, folder: str | Path) -> "Design":
        """Read a design back. Its program is the file; its RTL is generated again when it is
        asked for, so that nothing but the IR decides what is simulated or synthesised.

        Raises:
            DaqkfError: a file is missing, malformed, not as it was saved, or does not fit the
                others.
        """
        from daqkf.lowering.image.decode import decode

        folder = Path(folder)
        context = make_context()
        try:
            saved = Folder.open(folder, _FACTS)
            found = saved.facts.part("levels")
            levels = LevelSet(
                found.get("kind", str), found.get("magnitudes", int), found.get("maximum", int)
            )
            module, golden = (
                parse_module(context, saved.text(name), str(folder / name))
                for name in ("design.mlir", "layer.mlir")
            )
            design = cls(module, golden, levels, saved.facts.get("target", str))
            require_fingerprint(saved, design.config)
            program = saved.data("program.bin")
            decode(program, design.config)
        except StopIteration:
            raise DaqkfError(f"{folder / 'design.mlir'}: no rpea.array") from None
        except (ParseError, DiagnosticException, ValueError, OSError) as error:
            message = describe(error)
            place = "" if str(folder) in message else f"{folder}: "
            raise DaqkfError(f"{place}{message}") from None
        vars(design)["program"] = program
        return design


def require_fingerprint(saved: Folder, config: ArrayConfig) -> None:
    """Check that the facts of a folder are of the array that its IR has.

    Raises:
        DaqkfError: they are of another one.
    """
    if saved.facts.get("fingerprint", str) != f"{fingerprint(config):#010x}":
        raise DaqkfError(f"{saved.facts.path}: of another array than the IR beside it")


def run_passes(
    module: ModuleOp, passes: Iterable[ModulePass | str], stage: StageCallback | None = None
) -> None:
    """Run passes on verified IR, given as such or by name; verify after each, and show it."""
    known = GENERAL_PASSES | PASSES | LOWERINGS

    def between(previous: Any, module: ModuleOp, following: Any) -> None:
        if previous is not None:
            verify(module)
            if stage is not None:
                stage(previous.name, module)

    instances = (known[entry]()() if isinstance(entry, str) else entry for entry in passes)
    PassPipeline(tuple(instances), between).apply(make_context(), module)


def _integers_only(module: ModuleOp) -> ModuleOp:
    """A copy of a quantised layer without its `spaq.quantize` and `spaq.dequantize`.

    Its function takes and gives the int8 columns themselves, as the array does.
    """
    copy = module.clone()
    for op in list(copy.walk()):
        if isinstance(op, QuantizeOp | DequantizeOp):
            if isinstance(op, QuantizeOp):
                Rewriter.replace_value_with_new_type(op.input, op.result.type)
            Rewriter.replace_op(op, [], [op.input])
    only_function(copy).update_function_type()
    return copy
