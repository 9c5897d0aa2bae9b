# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf`: the command line for people."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from daqkf.cli.arguments import ACCURACIES, TRAINING_PASSES, make_parser
from daqkf.cli.benching import bench
from daqkf.cli.common_arguments import SPARSITIES
from daqkf.cli.completion import completion
from daqkf.cli.files import check_inputs, check_output, check_output_folder, check_weights
from daqkf.cli.guard import guarded
from daqkf.compiler.file_suffixes import MINILM, is_named, is_network
from daqkf.passes.defaults import EXPONENTS
from daqkf.support.errors import DaqkfError


def _compile(options: argparse.Namespace) -> int:
    if not options.pareto and not options.output:
        raise DaqkfError("compile needs -o, a folder for the design, or --pareto")
    if sum((options.accuracy is not None, options.cycles is not None, options.pareto)) > 1:
        raise DaqkfError("give one of --accuracy, --cycles and --pareto")
    if options.pareto and (options.family or options.fabric or options.index_bits):
        raise DaqkfError(
            "--pareto counts the cycles of running_sum; it takes no --family or --index-bits"
        )
    if len(options.sparsity or ()) > 1 and options.pareto:
        raise DaqkfError("several sparsities make variants, which have no --pareto")
    if options.jobs is not None and options.scheduler is not None:
        raise DaqkfError("give --jobs or --scheduler, not both")
    check_weights(options.weights)
    for name in ("bias", "activation"):
        if is_network(options.weights) and getattr(options, name) is not None:
            raise DaqkfError(f"--{name} is for single layers")
    check_inputs(options.calibration, options.bias)
    check_output_folder(options.output)

    from rich.console import Console

    from daqkf.cli import compiling, networks

    options.wish = compiling.wish_of(options)
    options.target = options.target or compiling.target_of(options.wish, options.weights)
    options.clock = options.clock or compiling.default_clock(options.wish)
    from daqkf.compiler.formats import load_array, load_weights

    console = Console(stderr=True)
    if is_network(options.weights):
        return networks.compile_network(options, console)
    if options.products or options.no_fuse or options.distillation or options.requantize:
        raise DaqkfError("--products, --no-fuse, --requantize and --distillation are for networks")
    if options.fix or options.scale_rows or options.fallback is not None:
        raise DaqkfError("--fix, --scale-rows and --fallback are for networks")
    if options.pre_norms:
        raise DaqkfError("--pre-norms is for networks, which normalise")
    if options.wide_results is not None:
        raise DaqkfError("--wide-results are for networks, of which they name kernels")
    if options.ranked is not None:
        raise DaqkfError("--ranked is for networks, of which it names kernels")
    if options.row_exponents != EXPONENTS[0]:
        raise DaqkfError("--row-exponents are for networks, which gate")
    if options.sequential is not None:
        raise DaqkfError("--sequential is for networks, whose kernels follow one another")
    if options.jobs is not None or options.scheduler is not None:
        raise DaqkfError("--jobs and --scheduler are for networks, whose kernels are independent")
    calibration = load_array(options.calibration, "activations") if options.calibration else None
    return compiling.compile_layer(
        options,
        load_weights(options.weights),
        load_array(options.bias, "a bias") if options.bias else None,
        calibration,
        console,
    )


def _calibrate(options: argparse.Namespace) -> int:
    check_inputs(options.texts, None if options.tokenizer == MINILM else options.tokenizer)
    check_output(options.output)
    if options.max_tokens is not None and options.max_tokens < 1:
        raise DaqkfError(f"--max-tokens must be at least 1, not {options.max_tokens}")

    from daqkf.cli.calibrating import calibrate

    return calibrate(options)


def _run(options: argparse.Namespace) -> int:
    check_inputs(options.network, options.inputs)
    check_output(options.output)

    from daqkf.cli.networks import run_network

    return run_network(options)


def _simulate(options: argparse.Namespace) -> int:
    check_inputs(options.design, options.activations)
    check_output(options.output)
    check_output(options.trace)

    import numpy as np
    from rich.console import Console

    from daqkf.compiler.design import Design
    from daqkf.compiler.formats import load_array
    from daqkf.passes.array_files import array_file
    from daqkf.passes.files import write_atomically
    from daqkf.support.console import showing

    design = Design.load(options.design)
    x = load_array(options.activations, "activations")
    if options.soc:
        from daqkf.cli.boards import simulate_soc

        return simulate_soc(design, x, options)
    with showing(Console(stderr=True), "build the simulator, once, and simulate"):
        result = design.measure(
            x,
            stalls=options.stalls,
            seed=options.seed,
            trace=options.trace,
            trace_tiles=options.trace_tiles,
            memory=options.external_memory,
            clock=1e6 * options.clock,
        )
    write_atomically(Path(options.output), array_file(result.y))
    print(f"{options.output}: {list(result.y.shape)} in {result.cycles.running} cycles of running")
    if options.trace:
        shown = min(options.trace_tiles, result.tiles)
        print(f"{options.trace}: waveform of {shown} of {result.tiles} tiles")
    if len(design.level_sets) > 1:
        tiles = np.bincount(result.variants, minlength=len(design.level_sets))
        print(f"tiles by variant: {', '.join(f'{n}: {count}' for n, count in enumerate(tiles))}")
    return 0


def _debug(options: argparse.Namespace) -> int:
    source = None if is_named(options.source) else options.source
    check_inputs(options.network, source, options.inputs)
    check_output(options.json)

    from daqkf.cli.networks import debug_network

    return debug_network(options)


def _demo(options: argparse.Namespace) -> int:
    check_output_folder(options.output)

    from daqkf.studies.demo import run_demo

    return run_demo(
        Path(options.output), options.sentences, options.sparsity, target=options.target
    )


def _report(options: argparse.Namespace) -> int:
    check_inputs(None if options.source == MINILM else options.source, options.inputs)
    page = options.output is None or options.output.endswith(".html")
    (check_output if page else check_output_folder)(options.output)

    from daqkf.cli.reporting import report

    return report(options)


def _generate(options: argparse.Namespace) -> int:
    check_inputs(options.model)

    from daqkf.cli.language import generate

    return generate(options)


def _chat(options: argparse.Namespace) -> int:
    check_inputs(options.model)

    from daqkf.cli.language import chat

    return chat(options)


def _eval(options: argparse.Namespace) -> int:
    check_output_folder(options.output)
    if options.model != MINILM:
        check_inputs(
            *(path for path in (options.model, options.against) if path and not is_named(path)),
            options.text,
            options.calibration,
        )
        from daqkf.cli.language import evaluate

        return evaluate(options)
    for name in ("text", "calibration", "window", "against", "wide_results", "plot"):
        if getattr(options, name) is not None:
            raise DaqkfError(f"--{name.replace('_', '-')} is for language models")
    if options.pre_norms:
        raise DaqkfError("--pre-norms is for language models")
    levels, *more = options.levels or [None]
    passes, *others = options.distillation or [TRAINING_PASSES]
    for name, several in (("levels", more), ("distillation", others)):
        if several:
            raise DaqkfError(f"several --{name} are for language models")

    from daqkf.studies.minilm.evaluation import run_eval

    return run_eval(
        Path(options.output),
        SPARSITIES if options.sparsity is None else options.sparsity,
        ACCURACIES if options.accuracy is None else options.accuracy,
        options.target or "generic",
        levels,
        options.sentences,
        passes,
        quick=options.quick,
        resume=options.resume,
    )


def _export_onnx(options: argparse.Namespace) -> int:
    check_output(options.output)

    from daqkf.passes.files import write_atomically
    from daqkf.studies.minilm.export_onnx import export_minilm
    from daqkf.studies.minilm.model import MiniLM

    model = export_minilm(MiniLM.load(), options.layers, options.decomposed, options.embedded)
    data = model.SerializeToString()
    write_atomically(Path(options.output), data)
    print(f"{options.output}: {len(model.graph.node)} nodes, {len(data)} bytes")
    return 0


def _synth(options: argparse.Namespace) -> int:
    check_inputs(options.design, options.toggles)
    check_output(options.json)
    check_output(options.bitstream)

    from rich.console import Console

    from daqkf.cli import synthesizing
    from daqkf.compiler.formats import load_array

    if options.bitstream:
        from daqkf.cli.boards import write_bitstream

        return write_bitstream(options, Console(stderr=True))
    x = load_array(options.toggles, "activations") if options.toggles else None
    return synthesizing.synthesize_design(options, x, Console(stderr=True))


def _package(options: argparse.Namespace) -> int:
    from daqkf.cli.packaging import check_choice, package_folder

    check_choice(options)
    check_inputs(options.folder, options.inputs)
    check_output_folder(options.output)
    return package_folder(options)


def _plan(options: argparse.Namespace) -> int:
    if not Path(options.network).is_dir():
        check_weights(options.network)
    check_inputs(options.calibration)
    check_output(options.json)
    check_output(options.plot)

    from daqkf.cli.planning import plan_network

    return plan_network(options)


def _explore(options: argparse.Namespace) -> int:
    check_weights(options.source)
    check_inputs(options.calibration, options.samples, options.bias)
    check_output_folder(options.output)
    check_output(options.storage)

    from daqkf.cli.exploring import explore_source

    return explore_source(options)


def _spaq_profile(options: argparse.Namespace) -> int:
    if options.check:
        check_inputs(options.output)
    else:
        check_output(options.output)

    from daqkf.studies.profiling.command import build_table, check_table

    return (check_table if options.check else build_table)(Path(options.output), options.jobs)


def _prove(options: argparse.Namespace) -> int:
    from daqkf.formal.command import run_prove

    return run_prove(options.family, options.places, options.timeout)


def _completion(options: argparse.Namespace) -> int:
    return completion(options, make_parser)


def _targets(options: argparse.Namespace) -> int:
    from daqkf.hw_targets import load_target, target_names

    for name in target_names():
        print(f"{name:10} {load_target(name).description}")
    return 0


RUN: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "demo": _demo,
    "compile": _compile,
    "calibrate": _calibrate,
    "run": _run,
    "generate": _generate,
    "chat": _chat,
    "debug": _debug,
    "simulate": _simulate,
    "synth": _synth,
    "package": _package,
    "plan": _plan,
    "explore": _explore,
    "report": _report,
    "eval": _eval,
    "export-onnx": _export_onnx,
    "spaq-profile": _spaq_profile,
    "bench": bench,
    "prove": _prove,
    "targets": _targets,
    "completion": _completion,
}
"""What runs each command."""


def main(args: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""

    def body() -> int:
        options = make_parser().parse_args(args)
        return RUN[options.command](options)

    return guarded("daqkf", body)


if __name__ == "__main__":
    sys.exit(main())
