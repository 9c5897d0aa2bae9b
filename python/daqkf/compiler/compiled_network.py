# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A compiled network: what the host runs, the kernels on one array, and ways to run both."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.irdl import IRDLOperation
from xdsl.utils.exceptions import DiagnosticException, InterpretationError, ParseError

from daqkf.compiler.design import require_fingerprint, run_passes
from daqkf.compiler.folder import Folder, write_folder
from daqkf.compiler.kernel_runner import KernelRunner
from daqkf.compiler.lowered_network import LoweredNetwork
from daqkf.compiler.options import TOKENS, NetworkOptions
from daqkf.compiler.pipelines import CIRCUIT
from daqkf.compiler.rtl_files import array_files, rtl_contents, system_files
from daqkf.compiler.saturation import Saturated
from daqkf.dialects.dense import to_array
from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn import (
    ConstantOp,
    ElementwiseOp,
    LinearOp,
    OperatorOp,
    ProductOp,
    ReduceOp,
    SliceOp,
)
from daqkf.dialects.nn.attention import IntegerAttention
from daqkf.dialects.nn.base import HOST, node_name
from daqkf.dialects.nn.causal_attention import CausalAttentionOp
from daqkf.dialects.nn.interpreter import NnFunctions
from daqkf.dialects.rpea import ArrayOp, ProgramOp, TiledOp
from daqkf.dialects.rpea.ops import beats_of
from daqkf.dialects.spaq.checks import features as columns_of
from daqkf.hw_targets import load_target
from daqkf.hw_targets.image_format import fingerprint
from daqkf.hw_targets.numerics import distinct_magnitudes
from daqkf.hw_targets.timing import Speed, speed
from daqkf.lowering.image.encode import parts_of
from daqkf.passes.encode.channels import network_cycles
from daqkf.passes.encode.index_coding import storage_facts
from daqkf.passes.files import file_stem
from daqkf.passes.nn_kernels import kernel_name
from daqkf.passes.nn_product import Inputs, in_order, in_parts, together
from daqkf.passes.progress import Progress, silent
from daqkf.passes.quantize.weights import integer_weights
from daqkf.runtime.accelerators import Accelerator, Configurable, Resumable, SimulatedArray
from daqkf.runtime.simulator import Simulator
from daqkf.runtime.system import SimulatedSystem
from daqkf.support.errors import DaqkfError, describe
from daqkf.support.facts import Facts
from daqkf.support.ir import make_context, module_text, parse_module

if TYPE_CHECKING:
    from daqkf.compiler.debugging import KernelErrors
    from daqkf.reports.pages.blocks import Section
    from daqkf.reports.writing import Report

_ON_ARRAY = LinearOp | ProductOp | IntegerAttention

FAST, RTL, QUEUE = "fast", "rtl", "queue"

FACTS = "network.json"
"""The file of a network's facts."""

_MODULES = ("network", "arrays")
"""Those of a `CompiledNetwork`, each in a file of its name."""


@dataclass(frozen=True, eq=False, repr=False)
class CompiledNetwork(LoweredNetwork):
    """A network whose kernels run on one array; the host runs the rest."""

    @property
    def figures(self) -> dict[str, str]:
        """What is said of a network in a line, by name."""
        config, count = self.config, len(self.kernels)
        figures = {"kernels": f"{count} kernel{'s' if count != 1 else ''}"}
        if self.levels:
            figures["cycles"] = f"{self.cycles:,} cycles a tile"
            figures["zeros"] = f"{self.sparsity():.1%} zeros"
            figures["bits"] = f"{self.magnitudes()[1]:.2f} bits a weight"
        return figures | {"array": f"{self.target}: {config.pes} PEs × {config.lanes} lanes"}

    def report(
        self, source: str | Path | ModuleOp | None = None, inputs: Inputs | None = None
    ) -> "Report":
        """The network as a table, as pictures and as a page: its graph, where operators run,
        weights, programs and memories.

        Args:
            source: the network that this one was compiled from, to compare the weights with.
            inputs: by name, to compare the results of each kernel on, too.

        Raises:
            DaqkfError: inputs without a source or that do not fit, or a network with other kernels.
        """
        from daqkf.compiler.options import level_set
        from daqkf.reports.model import analyse, of_module
        from daqkf.reports.writing import Report

        accuracy = self._accuracy(source, inputs)

        def sections() -> "list[Section]":
            from daqkf.compiler.report_facts import operators, works
            from daqkf.reports.pages import networks, programs

            graph = networks.sections(operators(self.network))
            found = programs.sections(works(self.stages), self.config, self.saved())
            return [
                *graph,
                *([accuracy] if source else []),
                *found,
                *([] if source else [accuracy]),
            ]

        matrices = sorted(of_module("network", self.network), key=lambda own: self._turn(own.name))
        entries = analyse(matrices, level_set("int8"))
        lead = f"A network of {len(entries)} matrices in {len(self.kernels)} kernels."
        return Report("network", entries, lead, self.figures, sections)

    def _turn(self, matrix: str) -> int:
        """Which kernel of those that run has the matrix of this name, which begins with its own."""
        kernels = self.selected()
        own = max((name for name in kernels if matrix.startswith(f"{name}.")), key=len, default="")
        return kernels.index(own) if own else len(kernels)

    def _accuracy(self, source: str | Path | ModuleOp | None, inputs: Inputs | None) -> "Section":
        """What a report says of accuracy."""
        from daqkf.compiler.debugging import weight_pairs
        from daqkf.compiler.report_facts import kernel_accuracy, no_accuracy, weight_accuracy

        if source is None:
            if inputs is not None:
                raise DaqkfError("inputs need the network that this one was compiled from")
            return no_accuracy()
        if inputs is not None:
            errors = self.debug(inputs, source)
            return kernel_accuracy(errors.facts(), errors.hints())
        try:
            return weight_accuracy(weight_pairs(self.network, self.options, source))
        except (DiagnosticException, InterpretationError, ValueError) as error:
            raise DaqkfError(describe(error)) from None

    def debug(self, inputs: Inputs, source: str | Path | ModuleOp) -> "KernelErrors":
        """Each kernel's results beside those of the float network: where accuracy gets lost.

        Both networks run from the inputs on, so the errors of earlier kernels are in the results of
        later ones.

        Args:
            inputs: arrays by name; see `inputs`.
            source: the network that this one was compiled from.

        Raises:
            DaqkfError: inputs that do not fit, or a network with other kernels.
        """
        from daqkf.compiler.debugging import kernel_errors

        saturated = self.saturation(inputs)
        try:
            return kernel_errors(self.network, self.options, source, inputs, saturated)
        except (DiagnosticException, InterpretationError, ValueError) as error:
            raise DaqkfError(describe(error)) from None

    @cached_property
    def verilog_files(self) -> dict[str, str]:
        """SystemVerilog of the array by file name, one module each."""
        from daqkf.lowering.hdl.verilog import emit_verilog

        if "system_files" in self.__dict__:
            return array_files(self.system_files)
        array = next(op for op in self.arrays.ops if isinstance(op, ArrayOp))
        circuit = ModuleOp([array.clone()])
        run_passes(circuit, CIRCUIT)
        return emit_verilog(circuit)

    @cached_property
    def system_files(self) -> dict[str, str]:
        """SystemVerilog by file name of `daqkf_system`, the array's files among them."""
        return system_files(self.config)

    @cached_property
    def simulated(self) -> SimulatedArray:
        """The RTL in Verilator, built when it is first asked for."""
        return SimulatedArray(Simulator.verilated(self.verilog_files, self.config))

    @cached_property
    def system(self) -> SimulatedSystem:
        """The RTL of the whole system in Verilator, built when it is first asked for.

        Raises:
            DaqkfError: the target has no queue.
        """
        try:
            return SimulatedSystem.verilated(self.system_files, self.config)
        except ValueError as error:
            raise DaqkfError(str(error)) from None

    @property
    def attention_room(self) -> int | None:
        """The most tokens that attention behind a past is made for, if it is the array's."""
        if not any(isinstance(op, CausalAttentionOp) for op in self.network.walk()):
            return None
        return self.options.max_tokens or TOKENS

    def run(
        self,
        inputs: Inputs,
        *,
        accelerator: Accelerator | str = FAST,
        only: str = "",
        check: bool = False,
        resume: str | Path | None = None,
        progress: Progress = silent,
    ) -> dict[str, NDArray[Any]]:
        """The network's outputs by name.

        Args:
            inputs: arrays by name; see `inputs`. A network that the file fixes to a batch of one
                takes any number of rows, and runs them one by one unless they can run together.
            accelerator: `fast`, the exact integers of the IR; `rtl`, the simulated array; `queue`,
                the simulated system, which takes all that a kernel does from a queue in external
                memory; or anything that has the methods of `Accelerator` or of
                `QueueAccelerator`, such as a board's driver.
            only: kernels, products and attentions whose names begin so run on the accelerator, the
                others in the fast model.
            check: compare what the accelerator gives with the fast model, bit for bit.
            resume: a folder in which the accelerator's results are kept, and found again.
            progress: told what runs next.

        Raises:
            DaqkfError: inputs that do not fit, an unknown accelerator, a difference that `check`
                finds.
            SimulationError, ToolNotFoundError: the simulation failed, or a tool is missing.
        """
        runner = self.runner(accelerator, only, check, resume, progress)
        function = entry(self.network)
        try:
            parts = [
                call(
                    self.network,
                    function,
                    in_order(function, part),
                    host=NnFunctions(runner.kernel, runner.product, runner.attention),
                    lifetimes=self.lifetimes,
                )
                for part in in_parts(function, inputs)
            ]
        except (InterpretationError, ValueError) as error:
            # A new error, as the interpreter notes the whole IR on those that pass.
            kind = type(error) if isinstance(error, DaqkfError) else DaqkfError
            raise kind(describe(error)) from None
        return dict(zip(self.outputs, together(function, parts), strict=True))

    def runner(
        self,
        accelerator: Accelerator | str = FAST,
        only: str | Sequence[str] = "",
        check: bool = False,
        resume: str | Path | None = None,
        progress: Progress = silent,
        ranked: str | None = None,
    ) -> KernelRunner:
        """What runs kernels as `run` says; `only` may be several beginnings of names.

        If a kernel is `ranked`, an accelerator finds its largest results, and gives no others.

        Raises:
            DaqkfError: an unknown accelerator, or no kernel has such a name.
        """
        if accelerator == RTL:
            accelerator = self.simulated
        elif accelerator == QUEUE:
            accelerator = self.system
        if isinstance(accelerator, str) and accelerator != FAST:
            known = ", ".join((FAST, RTL, QUEUE))
            raise DaqkfError(f"unknown accelerator '{accelerator}' (known: {known})")
        names = (only,) if isinstance(only, str) else tuple(only)
        for name in names:
            if name and not self.selected(name):
                known = ", ".join(self.selected())
                raise DaqkfError(f"no kernel's name begins with '{name}' (known: {known})")
        device = None if isinstance(accelerator, str) else accelerator
        if isinstance(device, Configurable):
            device = device.for_array(self.config)
        if device is not None and resume is not None:
            device = Resumable(device, Path(resume))
        return KernelRunner(self, device, names, check, progress, ranked)

    def selected(self, only: str | tuple[str, ...] = "") -> list[str]:
        """The kernels, products and attentions whose names begin so, in the order they run in."""
        found: dict[str, None] = {}
        for op in entry(self.network).walk():
            if isinstance(op, LinearOp):
                found[op.callee.root_reference.data] = None
            elif isinstance(op, ProductOp | IntegerAttention):
                found[node_name(op).strip("'")] = None
        return [name for name in found if name.startswith(only)]

    def saturation(self, inputs: Inputs) -> dict[str, float]:
        """The share of each kernel's activations that saturate on these inputs, by its name.

        They are the floats that are beyond the range of the int8 that they become. A share that is
        more than some thousandths says that the calibration data were of another kind.

        Raises:
            DaqkfError: inputs that do not fit.
        """
        function, saturated = entry(self.network), Saturated()
        try:
            for part in in_parts(function, inputs):
                arguments = in_order(function, part)
                call(self.network, function, arguments, (saturated,), lifetimes=self.lifetimes)
        except (InterpretationError, ValueError) as error:
            raise DaqkfError(describe(error)) from None
        return {
            kernel_name(kernel): lost / size for kernel, (lost, size) in saturated.counts.items()
        }

    @cached_property
    def levels(self) -> list[NDArray[np.int8]]:
        """The integer weights [K, N] of all products, as the array gets them."""
        return integer_weights([self.network])

    @cached_property
    def cycles(self) -> int:
        """Cycles in which all kernels run over one tile of tokens, one after another.

        They are those of the streams, or of the post unit where that takes longer.
        """
        if any(isinstance(op, TiledOp) for op in self.arrays.ops):
            # A kernel that is cut counts as if the array held it whole.
            machine = load_target(self.target).machine.with_elements_of(self.config)
            return network_cycles(self.levels, machine)
        return self.speed.cycles

    @cached_property
    def speed(self) -> Speed:
        """The predicted speed of all programs; a kernel that is cut has several."""
        programs = (
            (to_array(op.rows), op.result_rows)
            for op in self.arrays.walk()
            if isinstance(op, ProgramOp) and op.operands_from is None
        )
        return speed(programs, self.config)

    def sparsity(self) -> float:
        """The share of zeros among all integer weights."""
        size = sum(levels.size for levels in self.levels)
        return 1 - sum(map(np.count_nonzero, self.levels)) / max(size, 1)

    def magnitudes(self) -> tuple[float, float]:
        """The average number of magnitudes of a channel, and the bits that tell them and their
        signs and zero apart."""
        counts = np.concatenate([distinct_magnitudes(levels) for levels in self.levels])
        return float(counts.mean()), float(np.log2(2 * counts + 1).mean())

    def storage(self) -> dict[str, Any]:
        """What streams take; see `storage_facts`."""
        programs = [op for op in self.arrays.walk() if isinstance(op, ProgramOp)]
        rows = [to_array(op.rows) for op in programs]
        beats = beats_of(programs, self.config)[0]
        return storage_facts(self.config, rows, self.levels, beats)

    def traffic(self) -> list[dict[str, Any]]:
        """A row for each program: what it moves a token, and its words and bytes.

        `name` is the symbol of its kernel, `source` what the kernel is called in the file.
        """
        return [
            {
                "name": stage.name,
                "source": kernel_name(self.kernels[stage.name]),
                "kernels": stage.kernels,
                "rows": stage.rows,
                "programs": sum(len(group) for group in stage.programs),
                "in": stage.features * len(stage.programs),
                "out": stage.outputs,
                "program_bytes": sum(len(image) for group in stage.images for image in group),
                "words": sum(
                    part.longest
                    for group in stage.programs
                    for program in group
                    for part in parts_of(program)
                ),
            }
            for stage in self.stages
        ]

    def saved(self) -> int:
        """Bytes a token that fusion saves: what merged kernels read once, and chains never move."""
        merged = 0
        for op in self.network.walk():
            if isinstance(op, LinearOp):
                slices = [use for use in op.result.uses if isinstance(use.operation, SliceOp)]
                features = self.kernels[op.callee.root_reference.data].body.block.args[0]
                merged += max(len(slices) - 1, 0) * columns_of(features)
        return merged + sum(stage.saved for stage in self.stages)

    def host(self) -> dict[str, int]:
        """What the host runs: operations of `main` by kind, and how many there are."""
        found: Counter[str] = Counter()
        for op in entry(self.network).body.block.ops:
            if isinstance(op, _ON_ARRAY | ConstantOp) or not op.name.startswith("nn."):
                continue
            assert isinstance(op, IRDLOperation)
            found[_kind(op)] += 1
        return dict(found.most_common())

    def operators(self) -> dict[str, int]:
        """Operators of ONNX that the host runs as they are in the file, and how many of each."""
        found = (op for op in entry(self.network).walk() if isinstance(op, OperatorOp))
        return dict(Counter(op.operator.data for op in found).most_common())

    def left(self) -> list[dict[str, str]]:
        """What the host does that arrays can: `name`, what it `does`, `why` it does it."""
        return [
            {"name": node_name(op).strip("'"), "does": _kind(op), "why": why.data}
            for op in self.network.walk()
            if isinstance(op, IRDLOperation)
            and isinstance(why := op.attributes.get(HOST), StringAttr)
        ]

    def summary(self) -> dict[str, Any]:
        """Facts about the network, JSON-able."""
        rows = self.traffic()
        return {
            "target": self.target,
            "options": self.options.cutting(),
            "inputs": self.inputs,
            "outputs": self.outputs,
            "array": asdict(self.config),
            "fingerprint": f"{fingerprint(self.config):#010x}",
            "bytes_per_token": sum(row["in"] + row["out"] for row in rows),
            "saved_by_fusion": self.saved(),
            "programs": rows,
            **self._weights,
            "host": self.host(),
            "operators": self.operators(),
            "left": self.left(),
            "products": sum(isinstance(op, ProductOp) for op in self.network.walk()),
            "attentions": sum(isinstance(op, IntegerAttention) for op in self.network.walk()),
        }

    @cached_property
    def _weights(self) -> dict[str, Any]:
        """Facts about the weights, of a network that has any."""
        if not self.levels:
            return {}
        magnitudes, bits = self.magnitudes()
        return {
            "cycles": self.cycles,
            "sparsity": self.sparsity(),
            "magnitudes": magnitudes,
            "bits": bits,
            **self.storage(),
        }

    def save(self, folder: str | Path) -> None:
        """Write a folder that `load` reads back.

        `rtl/*.sv` with the system and `daqkf_registers.h` (see `Design.save`), `programs/*.bin`,
        `network.mlir` (the host's part and the integer kernels), `arrays.mlir` (the array level)
        and `network.json` (facts), each under a temporary name first.
        """
        facts, files = self.contents()
        write_folder(Path(folder), FACTS, facts, files)

    def contents(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """What `save` writes: the facts, and the bytes of each file by its name in the folder."""
        system = self.system_files  # first, as the array's files are among them
        contents = rtl_contents(self.verilog_files, system)
        files = {name: text.encode() for name, text in contents.items()}
        # One text at a time: a language model's are as large as the model.
        files |= {f"{name}.mlir": module_text(getattr(self, name)).encode() for name in _MODULES}
        images = [
            (stage.name, image)
            for stage in self.stages
            for group in stage.images
            for image in group
        ]
        for number, (name, image) in enumerate(images):
            files[f"programs/{number:03}-{file_stem(name)}.bin"] = image
        return self.summary(), files

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a network back. Its RTL and its programs are made of the IR when they are asked
        for, so that nothing but that decides what runs.

        Raises:
            DaqkfError: a file is missing, malformed, not as it was saved, or does not fit the
                others.
        """
        folder = Path(folder)
        try:
            return cls.of_folder(Folder.open(folder, FACTS))
        except (ParseError, DiagnosticException, ValueError, OSError) as error:
            message = describe(error)
            place = "" if str(folder) in message else f"{folder}: "
            raise DaqkfError(f"{place}{message}") from None

    @classmethod
    def of_folder(cls, saved: Folder) -> Self:
        """What a folder has, of which only the hashes were looked at.

        Raises:
            DaqkfError, ParseError, DiagnosticException, ValueError, OSError: a file is malformed,
                or does not fit the others.
        """
        modules = {
            name: parse_module(make_context(), saved.text(f"{name}.mlir"), str(path))
            for name, path in ((name, saved.path / f"{name}.mlir") for name in _MODULES)
        }
        network = cls(**modules, options=_options(saved.facts))
        try:
            require_fingerprint(saved, network.config)
        except StopIteration:
            raise DaqkfError(f"{saved.path / 'arrays.mlir'}: no rpea.array") from None
        return network


def _options(facts: Facts) -> NetworkOptions:
    """The options that a folder keeps."""
    target, kept = facts.get("target", str), facts.part("options")
    try:
        return NetworkOptions.of({**kept.values, "target": target}, "networks")
    except DaqkfError as error:
        raise DaqkfError(f"{facts.path}: '{kept.place}': {error}") from None


def _kind(op: IRDLOperation) -> str:
    """What an operation of the host does, in a word."""
    if isinstance(op, OperatorOp):
        return op.operator.data
    named = isinstance(op, ElementwiseOp | ReduceOp)
    return op.kind.data if named else op.name.removeprefix("nn.")
