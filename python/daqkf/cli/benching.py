# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf bench`: what it does with its options."""

import argparse
from pathlib import Path

from daqkf.cli.common_arguments import SPARSITIES
from daqkf.cli.files import check_output, read_text
from daqkf.support.errors import DaqkfError

_ONLY = {
    "place": ("array",),
    "toggles": ("array",),
    "device": ("device", "language"),
    "one_token": ("device", "language"),
    "plot": ("device", "language"),
    "jobs": ("device", "paper"),
    "resume": ("device", "paper", "peers"),
    "output": ("paper",),
    "json": ("array", "device", "language", "peers"),
    "array": ("array", "device"),
    **dict.fromkeys(("model", "magnitudes", "context", "prompt", "sequences"), ("language",)),
    **dict.fromkeys(("cache_bits", "host", "for_prompts"), ("language",)),
    **dict.fromkeys(("only", "size", "page"), ("peers",)),
}
"""Options that are not for all of what is measured."""


def bench(options: argparse.Namespace) -> int:
    """Measure what is named, and print it; returns the exit code.

    Raises:
        DaqkfError: an option that is for something else, or that is bad.
    """
    check_output(options.json)
    check_output(options.plot)
    for name, measured in _ONLY.items():
        if getattr(options, name) not in (None, False, 0, []) and options.what not in measured:
            others = " or ".join(measured)
            raise DaqkfError(f"--{name.replace('_', '-')} is for daqkf bench {others}")
    run = {
        "array": _arrays,
        "device": _devices,
        "language": _language_models,
        "paper": _paper,
        "peers": _peers,
    }
    return run[options.what](options)


def _path(name: str | None) -> Path | None:
    return Path(name) if name else None


def _arrays(options: argparse.Namespace) -> int:
    from daqkf.studies.bench.command import run_bench

    return run_bench(
        _path(options.json),
        sparsities=options.sparsity or SPARSITIES,
        fabrics=options.fabric,
        only=options.array,
        accuracy=options.accuracy,
        seeds=range(1, options.place + 1),
        count_toggles=options.toggles,
    )


def _devices(options: argparse.Namespace) -> int:
    from daqkf.studies.bench.device_command import DEVICES, run_device_bench

    return run_device_bench(
        _path(options.json),
        _path(options.plot),
        sparsities=options.sparsity or SPARSITIES,
        devices=options.device or DEVICES,
        only=options.array,
        accuracy=options.accuracy,
        clock=1e6 * options.clock,
        use=options.use,
        one_token=options.one_token,
        jobs=options.jobs or 0,
        resume=options.resume,
    )


def _language_models(options: argparse.Namespace) -> int:
    from daqkf.studies.bench.language_command import DEVICES, MODELS, run_language_bench
    from daqkf.studies.bench.language_speed import Situation

    names = ("context", "prompt", "sequences", "cache_bits", "for_prompts")
    asked = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.host is not None:
        asked["host"] = 1e-6 * options.host
    return run_language_bench(
        _path(options.json),
        _path(options.plot),
        models=options.model or MODELS,
        devices=options.device or DEVICES,
        sparsities=options.sparsity or (0.5,),
        magnitudes=options.magnitudes or (15,),
        asked=Situation(**asked),
        clock=1e6 * options.clock,
        use=options.use,
        one_token=options.one_token,
    )


def _paper(options: argparse.Namespace) -> int:
    from daqkf.studies.paper.command import run_paper_bench

    return run_paper_bench(
        Path(options.output or "build/paper"),
        sparsities=options.sparsity or SPARSITIES,
        clock=1e6 * options.clock,
        use=options.use,
        jobs=options.jobs or 0,
        resume=options.resume,
    )


def _peers(options: argparse.Namespace) -> int:
    from daqkf.studies.peers.command import run_peers_bench
    from daqkf.studies.peers.products import SIZES
    from daqkf.studies.peers.products import SPARSITIES as ZEROS

    page = _path(options.page)
    return run_peers_bench(
        _path(options.json),
        page,
        read_text(page) if page else "",
        only=options.only or (),
        sizes=options.size or SIZES,
        sparsities=options.sparsity or ZEROS,
        fabrics=options.fabric,
        resume=options.resume,
    )
