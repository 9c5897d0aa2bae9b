# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf compile` of a network's file, and `daqkf run`."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daqkf.cli.compiling import print_front, print_plan, shared_options, speed_line, storage_line
from daqkf.cli.files import read_text
from daqkf.compiler.file_suffixes import MINILM, is_named
from daqkf.compiler.formats import load_array
from daqkf.passes.array_files import archive
from daqkf.passes.files import write_atomically
from daqkf.passes.quantize.samples import load_inputs
from daqkf.support.errors import DaqkfError

if TYPE_CHECKING:
    from rich.console import Console

    from daqkf.compiler.accuracy import Measured
    from daqkf.compiler.compiled_network import CompiledNetwork
    from daqkf.compiler.options import NetworkOptions
    from daqkf.drivers.device import Board
    from daqkf.passes.progress import Progress
    from daqkf.passes.steps import Steps
    from daqkf.runtime.accelerators import Accelerator

SOC = "soc"
"""The accelerator that is a whole SoC, see `boards.simulation`."""


def compile_network(options: argparse.Namespace, console: "Console") -> int:
    """Compile a network into a folder, or print what accuracy costs; returns the exit code."""
    from daqkf.compiler.options import NetworkOptions
    from daqkf.support.console import showing

    if len(options.sparsity or ()) > 1 or "," in options.levels:
        raise DaqkfError("a network has one level set and one sparsity")
    chosen = NetworkOptions(
        sparsity=options.sparsity[0] if options.sparsity else None,
        distillation=options.distillation,
        levels=options.levels,
        requantize=options.requantize,
        fixed=_fixed(options.fix),
        pre_norms=options.pre_norms,
        scale_rows=options.scale_rows,
        wide_results=options.wide_results,
        ranked=options.ranked,
        row_exponents=options.row_exponents,
        fallback=options.fallback,
        sequential=options.sequential,
        **shared_options(options),
        fuse=not options.no_fuse,
        host_cycles=options.host_cycles,
        products=options.products,
        attention_levels=options.attention_levels,
        max_tokens=options.max_tokens,
        jobs=options.jobs,
        scheduler=options.scheduler,
    )
    chosen.check()
    if options.pareto:
        return _print_pareto(options, chosen, console)
    with showing(console, "read") as progress:
        source, calibration, chosen = source_of(options, chosen)
        steps = _steps(options, chosen)
        network, accuracy = compiled_and_measured(source, chosen, calibration, progress, steps)
        found = None
        if options.wish:
            from daqkf.planning.fitting import fitted

            progress("plan")
            found = options.wish.plan(network)
            network = fitted(found, network, progress)
        progress("write")
        network.save(options.output)
        steps.clear()
    if found:
        print_plan(found)
    print_traffic(network)
    facts = network.summary()
    if network.levels:
        console.print(
            f"{options.output}: {facts['cycles']:,} cycles a tile, {facts['sparsity']:.1%} zeros, "
            f"{facts['bits']:.2f} bits a weight",
            markup=False,
        )
        console.print(storage_line(facts))
        console.print(speed_line(network.speed, options.clock), highlight=False)
    text = f"accuracy not measured: {accuracy}" if isinstance(accuracy, str) else accuracy.line()
    console.print(text, markup=False, highlight=False)
    return 0


def compiled_and_measured(
    source: Any,
    chosen: "NetworkOptions",
    calibration: Any,
    progress: "Progress",
    steps: "Steps | None" = None,
) -> "tuple[CompiledNetwork, Measured | str]":
    """A network, or the language model that a file has, and its accuracy as it was measured."""
    from daqkf.compiler import language_models, network
    from daqkf.passes.steps import NOTHING_KEPT

    named = {"calibration": calibration, "progress": progress, "steps": steps or NOTHING_KEPT}
    if isinstance(source, str | Path) and language_models.is_language_model(source):
        return language_models.compile_and_measure(source, chosen, **named)
    return network.compile_and_measure(source, chosen, **named)


def _print_pareto(options: argparse.Namespace, chosen: "NetworkOptions", console: "Console") -> int:
    """Print what accuracy costs; returns the exit code."""
    from daqkf.compiler.network import pareto
    from daqkf.support.console import showing

    with showing(console, "read") as progress:
        source, calibration, chosen = source_of(options, chosen)
        if calibration is None:
            raise DaqkfError("--pareto needs --calibration")
        front = pareto(source, calibration, chosen, progress=progress)
    rows = ((f"{1 - point.loss:.5f}", f"{point.cycles:,}") for point in front)
    print_front(("predicted cosine", "cycles a tile"), rows)
    return 0


def _steps(options: argparse.Namespace, chosen: "NetworkOptions") -> "Steps":
    """Where finished steps are kept, if they are."""
    from daqkf.passes.steps import NOTHING_KEPT
    from daqkf.support.kept import Kept

    if not options.resume:
        return NOTHING_KEPT
    files = [path for path in (options.weights, options.calibration) if path]
    names = [str(Path(path).absolute()) for path in files if not is_named(path)]
    # Each step is found by all that it is made of, so the paths need only tell runs apart.
    return Kept.of("compile", [names, repr(chosen)], resume=True)


def _fixed(texts: Sequence[str]) -> dict[str, Any]:
    """Inputs by name that are given as NAME=NUMBER or NAME=NUMBER,NUMBER…"""
    found: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            numbers = [
                float(part) if set(part) & set(".en") else int(part) for part in value.split(",")
            ]
        except ValueError:
            raise DaqkfError(f"--fix takes NAME=NUMBER, not '{text}'") from None
        found[name] = numbers if "," in value else numbers[0]
    return found


def source_of(
    options: argparse.Namespace, chosen: "NetworkOptions"
) -> tuple[Any, Any, "NetworkOptions"]:
    """What is compiled, what it is calibrated on, and how its accuracy is measured."""
    calibration = None
    if options.calibration:
        if options.weights == MINILM:
            raise DaqkfError("--calibration is for files; MiniLM brings its own sentences")
        calibration = _calibration(options.calibration)
    if not is_named(options.weights):
        return options.weights, calibration, chosen
    from daqkf.compiler.named_models import named_model
    from daqkf.hw_targets import load_target

    load_target(options.target)  # refuses unknown ones before any work
    model = named_model(options.weights)
    chosen = replace(chosen, model=options.weights)
    measured = chosen if model.measure is None else replace(chosen, measure=model.measure)
    return model.source, model.calibration if calibration is None else calibration, measured


def file_of(source: str) -> str:
    """The file that a name stands for; anything else is a file by itself."""
    if not is_named(source):
        return source
    from daqkf.compiler.named_models import named_model

    found = named_model(source).source
    if not isinstance(found, Path):
        raise DaqkfError(f"'{source}' is no language model's file")
    return str(found)


def _calibration(path: str) -> Any:
    """Inputs by name from a .npz file, an array for a network's one input from a .npy file, or the
    text of a .txt file."""
    if path.endswith(".txt"):
        return read_text(path)
    return load_array(path, "activations") if path.endswith(".npy") else load_inputs(path)


def run_network(options: argparse.Namespace) -> int:
    """Run a compiled network on inputs by name; returns the exit code."""
    from rich.console import Console

    from daqkf.compiler.compiled_network import FAST, QUEUE, CompiledNetwork
    from daqkf.support.console import showing

    board = _board(options)
    if options.external_memory and (board or options.accelerator in (FAST, SOC)):
        raise DaqkfError("--external-memory is for --accelerator rtl or queue")
    if options.accelerator != QUEUE and (options.queues or options.base):
        raise DaqkfError("--queues and --base are for --accelerator queue")
    network = CompiledNetwork.load(options.network)
    inputs = load_inputs(options.inputs)
    with showing(Console(stderr=True), "run") as progress:
        device = board or _device(network, options, progress)
        results = network.run(
            inputs,
            accelerator=device,
            only=options.only,
            check=options.check,
            resume=options.resume,
            progress=progress,
        )
    if options.check:
        print(_compared(network, options))
        _print_saturation(network.saturation(inputs))
    write_atomically(Path(options.output), archive(results))
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in results.items())
    print(f"{options.output}: {shapes}")
    if board:
        board.close()
        print(f"{board.stored:,} bytes written to the board, {board.interrupts:,} interrupts")
    elif options.accelerator == SOC:
        from daqkf.boards.simulation import SocSystem
        from daqkf.cli.boards import print_soc_runs

        assert isinstance(device, SocSystem)
        print_soc_runs(device)
    elif options.accelerator == QUEUE:
        _print_queues(network)
    elif options.accelerator != FAST:
        cycles = sum(entry.total for entry in network.simulated.cycles.values())
        print(f"{cycles:,} cycles of the array, {len(network.simulated.cycles)} programs")
    return 0


def _board(options: argparse.Namespace) -> "Board | None":
    """The board that kernels run on, if they do."""
    from daqkf.cli.arguments import BOARD

    if not options.accelerator.startswith(BOARD):
        return None
    from daqkf.drivers.names import board

    return board(options.accelerator.removeprefix(BOARD))


def _device(
    network: "CompiledNetwork", options: argparse.Namespace, progress: "Progress"
) -> "Accelerator | str":
    """What kernels run on, with its memory."""
    from daqkf.compiler.compiled_network import QUEUE
    from daqkf.hw_targets.streams import ALIGNMENT
    from daqkf.hw_targets.words import ADDRESS_BITS
    from daqkf.runtime.accelerators import external_memory, system_memory
    from daqkf.runtime.system import RecordedQueues

    name, clock = options.external_memory, 1e6 * options.clock
    if options.accelerator == SOC:
        from daqkf.boards.simulation import SocSystem

        progress("build the simulators, once")
        return SocSystem.of(network.system_files, network.config)
    if options.accelerator != QUEUE:
        memory = external_memory(name, clock, network.config)
        if name:
            progress("build the simulator, once")
            network.simulated.memory = memory
        return options.accelerator
    memory, channels = system_memory(name, clock, network.config)
    if options.base % ALIGNMENT or not 0 <= options.base < 1 << ADDRESS_BITS:
        raise DaqkfError(
            f"--base must be a multiple of {ALIGNMENT} below 2^{ADDRESS_BITS}, not {options.base}"
        )
    progress("build the simulator, once")
    system = network.system
    system.memory, system.channels, system.base = memory, channels, options.base
    return RecordedQueues(system, Path(options.queues)) if options.queues else system


def _print_queues(network: "CompiledNetwork") -> None:
    """Print what the queues of a run have taken."""
    from functools import reduce
    from operator import add

    runs, system = network.system.runs, network.system
    if not runs:
        print("no queue has run")
        return
    total = reduce(add, runs)
    queues = f"{len(runs)} queue{'s' if len(runs) > 1 else ''}"
    print(f"{total.cycles:,} cycles from doorbells to interrupts: {queues}, {total.jobs:,} jobs")
    print(
        f"the array ran in {total.busy / total.cycles:.1%} of them, took activations in "
        f"{total.loading / total.cycles:.1%}, waited for some in {total.starved:,}, "
        f"{total.starved / total.jobs:,.0f} a job, and for programs in {total.waiting:,}"
    )
    share = total.share(system.memory, system.channels)
    print(
        f"memory: {total.streams:,} bytes of streams, {total.read:,} of descriptors, programs and "
        f"activations, {total.written:,} of results; {share:.1%} of what it could give"
    )


def debug_network(options: argparse.Namespace) -> int:
    """Compare the kernels of a network with those of the float one; returns the exit code."""
    import json

    from rich.console import Console

    from daqkf.compiler.compiled_network import CompiledNetwork
    from daqkf.support.console import showing
    from daqkf.support.tables import print_table

    network = CompiledNetwork.load(options.network)
    inputs = load_inputs(options.inputs)
    with showing(Console(stderr=True), "run both networks"):
        found = network.debug(inputs, _file_or_minilm(options.source))
    if options.json:
        text = json.dumps(found.facts(), indent=2) + "\n"
        write_atomically(Path(options.json), text.encode())
    print_table(found.table())
    for hint in found.hints():
        print(hint)
    return 0


def _file_or_minilm(source: str) -> Any:
    """A network's file, or the module of MiniLM."""
    if source != MINILM:
        return file_of(source)
    from daqkf.studies.minilm.model import MiniLM
    from daqkf.studies.minilm.network import network_of

    return network_of(MiniLM.load())


def _compared(network: "CompiledNetwork", options: argparse.Namespace) -> str:
    """What a run with `--check` that has ended well has shown."""
    from daqkf.compiler.compiled_network import FAST

    names = network.selected()
    if options.accelerator == FAST:
        return (
            f"0 of {len(names)} kernels compared: --accelerator {FAST} is what others are held to"
        )
    return f"{len(network.selected(options.only))} of {len(names)} kernels equal, bit for bit"


def _print_saturation(shares: dict[str, float]) -> None:
    """Say on standard error which kernels read values beyond what they were calibrated for."""
    from daqkf.compiler.debugging import SATURATION

    for name, share in shares.items():
        if share >= SATURATION:
            message = f"{share:.1%} of what kernel {name!r} reads saturates"
            print(f"warning: {message}: was it calibrated on such data?", file=sys.stderr)


def print_traffic(network: "CompiledNetwork") -> None:
    """Print what programs move, and what the host does."""
    from rich.table import Table

    from daqkf.support.tables import print_table, table_console

    table = Table(caption="bytes in and out are for a token")
    for heading in ("kernel", "layers", "programs", "in", "out", "words a tile", "program bytes"):
        table.add_column(heading, justify="left" if heading == "kernel" else "right")
    for row in network.traffic():
        names = ("kernels", "programs", "in", "out", "words", "program_bytes")
        cells = [row[name] for name in names]
        table.add_row(row["name"], *(f"{cell:,}" for cell in cells))
    console = table_console()
    print_table(table, console)
    facts = network.summary()
    console.print(
        f"{facts['bytes_per_token']:,} bytes a token to the array and back; fusion saves "
        f"{facts['saved_by_fusion']:,}"
    )
    for kind in ("attentions", "products"):
        if facts[kind]:
            console.print(f"on the array, too: {facts[kind]} {kind} of activations")
    rows = Counter[str]()
    for program in facts["programs"]:
        rows.update(program["rows"])
    if rows:
        kinds = ", ".join(f"{count} {kind}" for kind, count in rows.items())
        console.print(f"in its row unit: {kinds}")
    rest = ", ".join(f"{count} {kind}" for kind, count in facts["host"].items())
    console.print(f"on the host: {rest or 'nothing'}")
    if facts["operators"]:
        kinds = ", ".join(f"{count} {name}" for name, count in facts["operators"].items())
        console.print(f"of that by onnxruntime, as the file has it: {kinds}", markup=False)
    left: dict[tuple[str, str], list[str]] = {}
    for row in facts["left"]:
        left.setdefault((row["does"], row["why"]), []).append(row["name"])
    for (does, why), own in left.items():
        stay = f"{does} {own[0]} stays"
        if len(own) > 1:
            stay = f"{len(own)} {does} ({own[0]} … {own[-1]}) stay"
        console.print(f"  {stay} there: {why}", markup=False)
