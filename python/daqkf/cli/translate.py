# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf-translate`: IR ↔ program image, IR → SystemVerilog; networks, arrays → IR; registers."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from xdsl.dialects.builtin import ModuleOp

from daqkf.cli.guard import add_memory, add_version, guarded
from daqkf.compiler.formats import FORMATS, load_network
from daqkf.dialects.rpea import ArrayOp, Playable
from daqkf.drivers.c_library import c_library
from daqkf.hw_targets.config import ArrayConfig
from daqkf.lowering.rtl.register_map import EXPORTS
from daqkf.passes.array_files import load_archive
from daqkf.passes.files import write_atomically
from daqkf.support.errors import DaqkfError
from daqkf.support.facts import Facts
from daqkf.support.ir import make_context, module_text, parse_module

C_DRIVER = "c-driver"
TO = ("verilog", "split-verilog", "program", "listing", "mlir", *EXPORTS, C_DRIVER)


def _program(module: ModuleOp) -> Playable:
    from daqkf.lowering.image.encode import playable

    programs = playable(module)
    if len(programs) != 1:
        raise DaqkfError(f"expected one rpea.program in the module, not {len(programs)}")
    return programs[0]


_FACTS = ("design.json", "network.json")
"""That the folder of a design or a network has."""


def _array(path: Path) -> ArrayOp:
    """The array of a file of IR or of facts, or of a folder that has the latter."""
    if path.is_dir():
        found = [path / name for name in _FACTS if (path / name).is_file()]
        if not found:
            raise DaqkfError(f"{path}: has no {' or '.join(_FACTS)}; say --array")
        path = found[0]
    if path.suffix == ".json":
        return ArrayOp("array", _config(Facts.read(path).part("array")))
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DaqkfError(f"{path}: not text: {error}") from None
    module = parse_module(make_context(), text, str(path))
    arrays = [op for op in module.ops if isinstance(op, ArrayOp)]
    if len(arrays) != 1:
        raise DaqkfError(f"{path}: expected one rpea.array in the module, not {len(arrays)}")
    return arrays[0]


def _config(facts: Facts) -> ArrayConfig:
    """The config that facts name, field by field."""
    kinds, config = get_type_hints(ArrayConfig), dict[str, Any]()
    for entry in fields(ArrayConfig):
        kind = kinds[entry.name]
        if entry.name not in facts.values and entry.default is not MISSING:
            continue
        if get_origin(kind) is tuple:
            config[entry.name] = tuple(facts.items(entry.name, get_args(kind)[0]))
        else:
            config[entry.name] = facts.get(entry.name, kind)
    if unknown := set(facts.values) - set(kinds):
        raise DaqkfError(f"{facts.path}: does not know '{facts.place}{min(unknown)}'")
    try:
        return ArrayConfig(**config)
    except ValueError as error:
        raise DaqkfError(f"{facts.path}: '{facts.place.rstrip('.')}': {error}") from None


def _array_of(image: Path) -> ArrayOp:
    """The array of the design or the network in whose folder an image is."""
    folders = [image.parent, image.absolute().parent.parent]
    beside = [folder for folder in folders if any((folder / name).is_file() for name in _FACTS)]
    return _array(beside[0] if beside else image.parent)


def _read_image(options: argparse.Namespace) -> int:
    """Disassemble or validate a program image."""
    from daqkf.lowering.image.decode import decode
    from daqkf.lowering.image.disassemble import import_program
    from daqkf.lowering.image.image import ProgramImageError
    from daqkf.lowering.image.listing import listing

    path = Path(options.disassemble or options.validate)
    to = options.to or "mlir"
    if options.validate and options.to:
        raise DaqkfError("--validate translates to nothing, and takes no --to")
    if to not in ("mlir", "listing"):
        raise DaqkfError(f"--disassemble translates to mlir or listing, not to {to}")
    data = path.read_bytes()
    array = _array(Path(options.array)) if options.array else _array_of(path)
    try:
        if to == "listing":
            return _write(options.output, listing(data, array.config.data).encode())
        module = import_program(data, array)
    except ProgramImageError as error:
        raise DaqkfError(f"{path}: {error}") from None
    if options.disassemble:
        return _write(options.output, module_text(module).encode())
    image = decode(data, array.config.data)
    tiles = image.tiles or "any number of"
    print(
        f"{path}: a valid program of {len(data)} bytes, {image.features} features, "
        f"{image.channels} outputs, for {tiles} tiles"
    )
    return 0


def _verilog(module: ModuleOp) -> dict[str, str]:
    from xdsl.dialects.hw import HWModuleOp

    from daqkf.lowering.hdl.verilog import emit_verilog

    if not any(isinstance(op, HWModuleOp) for op in module.ops):
        raise DaqkfError("the module has no hw.module; run lower-rpea-to-hw first")
    return emit_verilog(module)


def _import(path: str) -> ModuleOp:
    """The layer in an .npz file: `weights`, and optionally `bias`, `activation`, `samples`."""
    from daqkf.lowering.frontends.arrays import import_layer
    from daqkf.passes.spaq_calibrate import calibrate

    arrays = load_archive(path, "a NumPy archive")
    if "weights" not in arrays:
        raise DaqkfError(f"{path}: has no array 'weights'")
    unknown = set(arrays) - {"weights", "bias", "activation", "samples"}
    if unknown:
        raise DaqkfError(f"{path}: unknown array '{min(unknown)}'")
    activation = str(arrays["activation"]) if "activation" in arrays else None
    module = import_layer(arrays["weights"], arrays.get("bias"), activation)
    if "samples" in arrays:
        calibrate(module, arrays["samples"])
    return module


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser("daqkf-translate", description=__doc__)
    add_version(parser)
    parser.add_argument(
        "input", nargs="?", help="a file of IR, by default standard input; or what --from says"
    )
    parser.add_argument(
        "--from",
        dest="source",
        choices=FORMATS,
        metavar="FORMAT",
        help="what to make IR of: onnx, a model; linalg, on tensors, in MLIR; mtx, npy or npz, a "
        "matrix; safetensors, a .toml file that describes layers in such a file",
    )
    parser.add_argument(
        "--import-npz",
        metavar="FILE",
        help="make float IR of the arrays in an .npz file instead: weights [K, N], and "
        "optionally bias [N], activation (a name) and samples [T, K] to calibrate with",
    )
    images = parser.add_mutually_exclusive_group()
    images.add_argument(
        "--disassemble",
        metavar="IMAGE",
        help="read a program image instead: its programs as IR, which translates back to the same "
        "image, or with --to listing a line for each row",
    )
    images.add_argument(
        "--validate",
        metavar="IMAGE",
        help="check all that the hardware checks of a program image, and that it plays it "
        "rightly: every output once, no feature beyond the last, nothing that is not read",
    )
    parser.add_argument(
        "--array",
        metavar="PATH",
        help="that the image is for: IR with an rpea.array, or the folder of a design or a network "
        "(by default, the one that the image is in)",
    )
    parser.add_argument(
        "--to",
        choices=TO,
        metavar="FORM",
        help="verilog: all modules in one text; split-verilog: a file for each in the folder "
        "-o; program: the program image; listing: the program image as text; mlir: the IR itself "
        "(what imports and --disassemble make by default); "
        "without an input, the registers of daqkf_system as c-header, as python-constants, or as "
        "the register-table of docs/registers.md, and the driver in C as c-driver in the folder -o",
    )
    parser.add_argument("-o", "--output", help="output file or folder; by default, stdout")
    add_memory(parser)
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.disassemble or options.validate:
        if options.input or options.import_npz or options.source:
            raise DaqkfError("an image is read by itself: no other input")
        return _read_image(options)
    if options.array:
        raise DaqkfError("--array is for --disassemble and --validate")
    to = options.to or ("mlir" if options.import_npz or options.source else None)
    if to is None:
        raise DaqkfError(f"say what to translate to: --to {{{','.join(TO)}}}")
    if to in ("split-verilog", C_DRIVER) and not options.output:
        raise DaqkfError(f"--to {to} needs a folder: -o FOLDER")
    if to in (*EXPORTS, C_DRIVER):
        if options.input or options.import_npz or options.source:
            raise DaqkfError(f"--to {to} is the same for all arrays, and takes no input")
        if to == C_DRIVER:
            return _write_files(options.output, c_library(linux=True))
        return _write(options.output, EXPORTS[to]().encode())
    if options.source and (options.import_npz or options.input in (None, "-")):
        raise DaqkfError(f"--from {options.source} needs a file, and no --import-npz")
    if options.import_npz:
        module = _import(options.import_npz)
    elif options.source:
        module = load_network(options.input, options.source)
    else:
        path = options.input if options.input != "-" else None
        text = Path(path).read_bytes() if path else sys.stdin.read()
        module = parse_module(make_context(), text, path or "stdin")

    if to == "split-verilog":
        return _write_files(options.output, _verilog(module))
    if to in ("program", "listing"):
        from daqkf.lowering.image.encode import encode
        from daqkf.lowering.image.listing import listing
        from daqkf.passes.rpea_validate import RpeaValidatePass

        program = _program(module)
        RpeaValidatePass().apply(make_context(), module)
        data = encode(program)
        if to == "listing":
            data = listing(data, program.target().config.data).encode()
    elif to == "verilog":
        from daqkf.lowering.hdl.verilog import single_file

        data = single_file(_verilog(module)).encode()
    else:
        data = module_text(module).encode()
    if not options.output and to == "program" and sys.stdout.isatty():
        raise DaqkfError("a program image is binary: write it to a file with -o FILE")
    return _write(options.output, data)


def _write_files(folder: str, texts: Mapping[str, str]) -> int:
    for name, text in texts.items():
        write_atomically(Path(folder, name), text.encode())
    return 0


def _write(output: str | None, data: bytes) -> int:
    if output:
        write_atomically(Path(output), data)
    else:
        sys.stdout.buffer.write(data)
    return 0


def main(args: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return guarded("daqkf-translate", lambda: _run(make_parser().parse_args(args)))


if __name__ == "__main__":
    sys.exit(main())
