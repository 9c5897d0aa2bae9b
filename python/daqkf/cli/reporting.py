# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf report`: from what the user names to matrices, and from these to a folder."""

import argparse
from pathlib import Path

from daqkf.compiler.file_suffixes import MINILM
from daqkf.compiler.formats import load_weights
from daqkf.reports import model, writing
from daqkf.support.errors import DaqkfError


def report(options: argparse.Namespace) -> int:
    """Print the table and write the folder that the command line asks for.

    Raises:
        DaqkfError: there is nothing to report on, or an unknown level set or matrix.
    """
    from daqkf.compiler.options import level_set
    from daqkf.support.tables import print_table

    levels = level_set(options.levels)
    matrices = model.choose(_matrices(options.source), options.layer or ())
    if options.sparsity is not None:
        matrices = [matrix.pruned(options.sparsity) for matrix in matrices]
    entries = model.analyse(matrices, levels, options.tile)
    writing.write_report(entries, Path(options.output))
    print_table(writing.table(entries))
    print(f"{options.output}: report.json, report.png, report.svg")
    return 0


def _matrices(source: str) -> list[model.Matrix]:
    """The weight matrices of a file, of a design's folder, or of MiniLM."""
    path = Path(source)
    if source == MINILM:
        from daqkf.studies.minilm.matrices import encoder_matrices

        return encoder_matrices()
    if path.is_dir():
        from daqkf.compiler.design import Design

        return model.of_module(source, Design.load(path).golden)
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
        f"{source}: expected weights (.npy, .npz), IR (.mlir), a design's folder, or '{MINILM}'"
    )
