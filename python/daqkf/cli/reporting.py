# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf report`: from what the user names to a page, or to a folder of pictures."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from daqkf.compiler.file_suffixes import MINILM, is_named
from daqkf.compiler.formats import load_weights
from daqkf.compiler.named_models import NamedModel, named_model
from daqkf.passes.files import write_atomically
from daqkf.passes.nn_product import Inputs
from daqkf.passes.quantize.samples import load_inputs
from daqkf.passes.quantize.sparsity import TILE
from daqkf.reports import model, writing
from daqkf.reports.writing import PAGE, Report
from daqkf.support.errors import DaqkfError

_COMPILED = ("design.json", "network.json")
_MEASURED = (".json",)
_EXPLORED = "explore.json"


def report(options: argparse.Namespace) -> int:
    """Print the table, and write the page or the folder that the command line asks for.

    Raises:
        DaqkfError: there is nothing to report on, or an unknown level set or matrix.
    """
    from daqkf.support.tables import print_table

    source, output = Path(options.source), _output(options)
    if source.is_dir() and not _is_compiled(source) and (source / _EXPLORED).is_file():
        source = source / _EXPLORED
    if source.suffix in _MEASURED and not source.is_dir():
        return _measured(source, output)
    found = _found(options)
    if output.suffix == PAGE:
        page = found.page()
        print_table(writing.table(found.entries))
        write_atomically(output, page.encode())
        print(output)
        return 0
    found.save(output)
    print_table(writing.table(found.entries))
    print(f"{output}: report.json, report.png, report.svg")
    return 0


def _output(options: argparse.Namespace) -> Path:
    """Where the report goes: as asked for, or beside what it is of."""
    if options.output:
        return Path(options.output)
    source = Path(options.source)
    return source / f"report{PAGE}" if source.is_dir() else Path(f"{source.stem}{PAGE}")


def _is_compiled(folder: Path) -> bool:
    return any((folder / name).exists() for name in _COMPILED)


def _measured(source: Path, output: Path) -> int:
    """The page of a benchmark's file."""
    from daqkf.reports.pages.benchmarks import read
    from daqkf.reports.pages.rendering import render

    if output.suffix != PAGE:
        raise DaqkfError(f"{output}: the report of a benchmark is a page: -o NAME{PAGE}")
    write_atomically(output, render(read(source)).encode())
    print(output)
    return 0


def _found(options: argparse.Namespace) -> Report:
    """The report on a compiled folder, or on weights, with the matrices that were asked for."""
    from daqkf.compiler.options import level_set

    levels, path = level_set(options.levels), Path(options.source)
    compiled = path.is_dir() and (_is_compiled(path) or options.source != MINILM)
    if compiled:
        found = _of_folder(path, options)
    elif options.against or options.inputs:
        raise DaqkfError("--source and --inputs are for the folder of what was compiled")
    else:
        found = Report(path.stem, [])
    changed = options.layer or options.sparsity is not None or options.tile != TILE
    if compiled and not changed:
        return found
    every = [entry.matrix for entry in found.entries] if compiled else _matrices(options.source)
    matrices = model.choose(every, options.layer or ())
    if options.sparsity is not None:
        matrices = [matrix.pruned(options.sparsity) for matrix in matrices]
    return replace(found, entries=model.analyse(matrices, levels, options.tile))


def _of_folder(path: Path, options: argparse.Namespace) -> Report:
    """The report on a folder that `daqkf compile` wrote."""
    from daqkf.compiler.design import Design
    from daqkf.compiler.saved import load

    if not _is_compiled(path):
        raise DaqkfError(f"{path}: nothing in it was compiled: no {' and no '.join(_COMPILED)}")
    compiled = load(path)
    name = path.resolve().name
    if isinstance(compiled, Design):
        if options.inputs:
            raise DaqkfError("--inputs are for networks; a layer is compared by its weights")
        source = load_weights(options.against) if options.against else None
        return replace(compiled.report(source), title=name)
    source, inputs, said = _compared(compiled.options.model, options)
    found = compiled.report(source, inputs)
    return replace(found, title=name, lead=f"{found.lead}{said}")


def _compared(own: str | None, options: argparse.Namespace) -> tuple[Any, Inputs | None, str]:
    """What a network is compared with, on which inputs, and what is to be said of them.

    Args:
        own: the name of the model that the folder is of, if it has one.
        options: the command line, which may name others.
    """
    inputs = load_inputs(options.inputs) if options.inputs else None
    if options.against and not is_named(options.against):
        return options.against, inputs, ""
    name = options.against or own
    if name is None or not is_named(name):
        return None, inputs, ""
    try:
        found = named_model(name)
    except DaqkfError as error:
        if options.against:
            raise
        print(f"accuracy is left out: {error}", file=sys.stderr)
        return None, inputs, ""
    batch = _own_inputs(found)
    if inputs is None and batch is not None:
        samples = len(next(iter(batch.values())))
        return found.source, batch, f" Accuracy is that on {samples} samples of its calibration."
    # Weights of a language model take long to compare, and nobody has asked for that.
    return found.source if options.against or inputs else None, inputs, ""


def _own_inputs(model: NamedModel) -> Inputs | None:
    """A batch in the middle of a model's own calibration, which are inputs by name; of a text
    None."""
    data = model.calibration
    if isinstance(data, Mapping):
        return data
    if isinstance(data, str) or not isinstance(data, Sequence) or not data:
        return None
    return data[len(data) // 2]


def _matrices(source: str) -> list[model.Matrix]:
    """The weight matrices of a file, or of MiniLM."""
    path = Path(source)
    if source == MINILM:
        from daqkf.studies.minilm.matrices import encoder_matrices

        return encoder_matrices()
    if path.suffix in (".npy", ".npz"):
        return model.of_array(path.stem, load_weights(source))
    if path.suffix == ".mlir":
        from daqkf.support.ir import make_context, parse_module

        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise DaqkfError(f"{source}: not text: {error}") from None
        return model.of_module(source, parse_module(make_context(), text, source))
    path.stat()
    raise DaqkfError(
        f"{source}: expected the folder of what was compiled, a benchmark (.json), weights (.npy, "
        f".npz), IR (.mlir), or '{MINILM}'"
    )
