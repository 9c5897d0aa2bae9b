# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf-translate`: IR → SystemVerilog or program image; networks, arrays → IR; registers."""

import argparse
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from daqkf.cli.guard import guarded
from daqkf.errors import DaqkfError
from daqkf.files import write_atomically
from daqkf.frontends import FORMATS, load_network
from daqkf.ir import make_context, module_text, parse_module
from daqkf.lowering.export_registers import EXPORTS

TO = ("verilog", "split-verilog", "program", "mlir", *EXPORTS)


def _program(module: ModuleOp) -> bytes:
    from daqkf.lowering.program_image import encode, playable

    programs = playable(module)
    if len(programs) != 1:
        raise DaqkfError(f"expected one rpea.program in the module, not {len(programs)}")
    return encode(programs[0])


def _verilog(module: ModuleOp) -> dict[str, str]:
    from xdsl.dialects.hw import HWModuleOp

    from daqkf.lowering.export_verilog import emit_verilog

    if not any(isinstance(op, HWModuleOp) for op in module.ops):
        raise DaqkfError("the module has no hw.module; run lower-rpea-to-hw first")
    return emit_verilog(module)


def _import(path: str) -> ModuleOp:
    """The layer in an .npz file: `weights`, and optionally `bias`, `activation`, `samples`."""
    from daqkf.lowering.import_arrays import import_layer
    from daqkf.passes.spaq_calibrate import calibrate

    if not zipfile.is_zipfile(path):
        raise DaqkfError(f"{path}: not an .npz file")
    with np.load(path, allow_pickle=False) as data:
        if "weights" not in data.files:
            raise DaqkfError(f"{path}: has no array 'weights'")
        unknown = set(data.files) - {"weights", "bias", "activation", "samples"}
        if unknown:
            raise DaqkfError(f"{path}: unknown array '{min(unknown)}'")
        arrays = {name: data[name] for name in data.files}
    activation = str(arrays["activation"]) if "activation" in arrays else None
    module = import_layer(arrays["weights"], arrays.get("bias"), activation)
    if "samples" in arrays:
        calibrate(module, arrays["samples"])
    return module


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("daqkf-translate", description=__doc__)
    parser.add_argument(
        "input", nargs="?", help="a file of IR, by default standard input; or what --from says"
    )
    parser.add_argument(
        "--from",
        dest="source",
        choices=FORMATS,
        help="make IR of a network's file: an ONNX model; linalg on tensors in MLIR; a matrix in "
        "Matrix Market's or NumPy's format; or a .toml file that describes layers in a "
        "safetensors file",
    )
    parser.add_argument(
        "--import-npz",
        metavar="FILE",
        help="make float IR of the arrays in an .npz file instead: weights [K, N], and "
        "optionally bias [N], activation (a name) and samples [T, K] to calibrate with",
    )
    parser.add_argument(
        "--to",
        choices=TO,
        help="verilog: all modules in one text; split-verilog: a file for each in the folder "
        "-o; program: the program image; mlir: the IR itself (what imports make by default); "
        "without an input, the registers of daqkf_system as c-header, as python-constants, or as "
        "the register-table of docs/registers.md",
    )
    parser.add_argument("-o", "--output", help="output file or folder; by default, stdout")
    return parser


def _run(options: argparse.Namespace) -> int:
    to = options.to or ("mlir" if options.import_npz or options.source else None)
    if to is None:
        raise DaqkfError(f"say what to translate to: --to {{{','.join(TO)}}}")
    if to == "split-verilog" and not options.output:
        raise DaqkfError("--to split-verilog needs a folder: -o FOLDER")
    if to in EXPORTS:
        if options.input or options.import_npz or options.source:
            raise DaqkfError(f"--to {to} is the same for all arrays, and takes no input")
        return _write(options.output, EXPORTS[to]().encode())
    if options.source and (options.import_npz or options.input in (None, "-")):
        raise DaqkfError(f"--from {options.source} needs a file, and no --import-npz")
    if options.import_npz:
        module = _import(options.import_npz)
    elif options.source:
        module = load_network(options.input, options.source)
    else:
        path = options.input if options.input != "-" else None
        text = Path(path).read_text(encoding="utf-8") if path else sys.stdin.read()
        module = parse_module(make_context(), text, path or "stdin")

    if to == "split-verilog":
        for name, text in _verilog(module).items():
            write_atomically(Path(options.output, name), text.encode())
        return 0
    if to == "program":
        data = _program(module)
    elif to == "verilog":
        from daqkf.lowering.export_verilog import single_file

        data = single_file(_verilog(module)).encode()
    else:
        data = module_text(module).encode()
    if not options.output and to == "program" and sys.stdout.isatty():
        raise DaqkfError("a program image is binary: write it to a file with -o FILE")
    return _write(options.output, data)


def _write(output: str | None, data: bytes) -> int:
    if output:
        write_atomically(Path(output), data)
    else:
        sys.stdout.buffer.write(data)
    return 0


def main(args: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(args)
    return guarded("daqkf-translate", lambda: _run(options))


if __name__ == "__main__":
    sys.exit(main())
