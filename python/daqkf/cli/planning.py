# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf plan`: what it does with its options."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from daqkf.compiler.file_suffixes import MINILM, is_model_folder, is_network
from daqkf.hw_targets.device import load_device
from daqkf.hw_targets.memory import load_channels
from daqkf.passes.files import write_atomically
from daqkf.support.errors import DaqkfError

if TYPE_CHECKING:
    from daqkf.compiler.compiled_network import CompiledNetwork
    from daqkf.compiler.design import Design
    from daqkf.passes.progress import Progress

_COMPILED = ("sparsity", "levels", "calibration", "target")
"""Options that are for what is compiled first."""

_LEVELS, _TARGET = "int8", "wide-memory"


def plan_network(options: argparse.Namespace) -> int:
    """Find the best engines for a network, and print them; returns the exit code."""
    from rich.console import Console

    from daqkf.planning import plan
    from daqkf.support.console import showing
    from daqkf.support.tables import print_table

    kind = Path(options.plot).suffix.removeprefix(".") if options.plot else ""
    if options.plot:
        from daqkf.planning.roofline import KINDS

        if kind not in KINDS:
            raise DaqkfError(f"{options.plot}: a roofline is {' or '.join(KINDS)}")
    try:
        device = load_device(options.device)
        load_channels(options.memory or device.memories[0])
    except ValueError as error:
        raise DaqkfError(str(error)) from None
    with showing(Console(stderr=True), "read") as progress:
        network = _network(options, progress)
        progress("search")
        found = plan(
            network,
            options.device,
            options.memory,
            tokens=options.tokens,
            clock=1e6 * options.clock,
            objective=options.objective,
            use=options.use,
        )
    if options.json:
        text = json.dumps(found.facts(), indent=2) + "\n"
        write_atomically(Path(options.json), text.encode())
    if options.plot:
        from daqkf.planning.roofline import roofline

        write_atomically(Path(options.plot), roofline(found, kind))
    for table in found.tables():
        print_table(table)
    return 0


def _network(options: argparse.Namespace, progress: "Progress") -> "CompiledNetwork | Design":
    """What is planned for: what a folder has, or what is compiled of a file."""
    from daqkf.compiler.saved import load

    if Path(options.network).is_dir() and not is_model_folder(options.network):
        for name in _COMPILED:
            if getattr(options, name) is not None:
                raise DaqkfError(f"--{name} is for what is compiled; {options.network} is already")
        return load(Path(options.network))
    import daqkf
    from daqkf.cli.networks import compiled_and_measured, source_of
    from daqkf.compiler.options import NetworkOptions

    levels, target = options.levels or _LEVELS, options.target or _TARGET
    if options.network != MINILM and not is_network(options.network):
        from daqkf.compiler.formats import load_array

        calibration = options.calibration and load_array(options.calibration, "activations")
        return daqkf.compile(
            options.network,
            calibration=calibration,
            sparsity=options.sparsity,
            levels=levels,
            target=target,
        )
    chosen = NetworkOptions(sparsity=options.sparsity, levels=levels, target=target)
    chosen.check()
    options.weights, options.target = options.network, target
    source, calibration, chosen = source_of(options, chosen)
    return compiled_and_measured(source, chosen, calibration, progress)[0]
