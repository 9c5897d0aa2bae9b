# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Circuit IR → SystemVerilog, by CIRCT in a child process.

CIRCT's exporters report errors on stderr only, and some passes abort the whole process on
bad input; in a child both become an exception.
"""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from xdsl.dialects.builtin import ModuleOp

PIPELINE = (
    "builtin.module("
    "hw.module(canonicalize,cse,hw-aggregate-to-comb),"
    "hw.module(canonicalize,cse),"
    "lower-seq-to-sv{disable-reg-randomization},"
    "hw.module(canonicalize,cse,prettify-verilog,hw-cleanup))"
)
"""From hw, comb, seq and sv to what the exporter takes."""

OPTIONS = "locationInfoStyle=none,omitVersionComment,disallowLocalVariables"
"""yosys reads no variables declared inside processes."""


class VerilogExportError(ValueError):
    """CIRCT did not accept the circuit."""


def emit_verilog(module: ModuleOp) -> dict[str, str]:
    """SystemVerilog of each `hw.module`: file name → text, in the order of the IR.

    Raises:
        VerilogExportError: the IR is no circuit, or CIRCT failed; the message has its words.
    """
    # Absolute: the child works in another folder. An empty entry is the current one.
    paths = [os.path.abspath(path) for path in sys.path]
    with tempfile.TemporaryDirectory(prefix="daqkf-") as folder:
        run = subprocess.run(
            [sys.executable, "-m", "daqkf.lowering.hdl.verilog"],
            input=str(module),
            capture_output=True,
            text=True,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            check=False,
        )
    try:
        files = json.loads(run.stdout) if run.returncode == 0 else {}
    except json.JSONDecodeError:
        files = {}
    if run.stderr.strip() or not files:
        reason = _reason(run.returncode, run.stderr)
        raise VerilogExportError(f"CIRCT cannot export the circuit: {reason}")
    return files


def _reason(code: int, stderr: str) -> str:
    """One line of what a failed child said."""
    if code == -signal.SIGXFSZ:
        # LLVM takes the signal that a file beyond the limit sends, if it is faster than the error.
        return os.strerror(errno.EFBIG)
    if code < 0:
        return f"it crashed with {signal.Signals(-code).name}"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    # A line that ends in a colon only introduces the error.
    errors = [line for line in lines if "error" in line.lower() and not line.endswith(":")]
    return next(iter(errors or lines), "there is no module in it" if code == 0 else f"exit {code}")


def single_file(files: dict[str, str]) -> str:
    """All modules in one text."""
    return "\n".join(text.strip("\n") + "\n" for text in files.values())


def _child(text: str) -> dict[str, str]:
    """Run the pipeline and the exporter; only ever called in a process of its own."""
    circt: Any = import_module("circt")
    ir: Any = import_module("circt.ir")
    passmanager: Any = import_module("circt.passmanager")

    with ir.Context() as context, tempfile.TemporaryDirectory() as folder:
        circt.register_dialects(context)
        module = ir.Module.parse(text)
        passmanager.PassManager.parse(PIPELINE).run(module.operation)
        module.operation.attributes["circt.loweringOptions"] = ir.StringAttr.get(OPTIONS)
        circt.export_split_verilog(module, folder)
        names = Path(folder, "filelist.f").read_text(encoding="utf-8").split()
        return {name: Path(folder, name).read_text(encoding="utf-8") for name in names}


def _main() -> int:
    try:
        files = _child(sys.stdin.read())
    except Exception as error:  # whatever CIRCT raises becomes the parent's message
        print(f"error: {error}", file=sys.stderr)
        return 1
    json.dump(files, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
