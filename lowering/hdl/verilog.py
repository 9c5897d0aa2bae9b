# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Circuit IR → SystemVerilog, by CIRCT in a child process.

CIRCT's exporters report errors on stderr only, and some passes abort the whole process on
bad input; in a child both become an exception.
"""

import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

LOWERING = (
    "builtin.module("
    "hw.module(canonicalize,cse,hw-aggregate-to-comb),"
    "hw.module(canonicalize,cse),"
    "lower-seq-to-sv{disable-reg-randomization},"
    "hw.module(canonicalize,cse,prettify-verilog,cse))"
)
"""From hw, comb, seq and sv to what the exporter takes, with a process for each register."""

MERGING = "builtin.module(hw.module(hw-cleanup))"
"""Processes with the same clock, reset and attributes become one."""

OPTIONS = "locationInfoStyle=none,omitVersionComment,disallowLocalVariables"
"""yosys reads no variables declared inside processes."""


class VerilogExportError(ValueError):
    """CIRCT did not accept the circuit."""


def emit_verilog(module: "ModuleOp") -> dict[str, str]:
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
    if code < 0:
        return f"it crashed with {signal.Signals(-code).name}"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    # A line that ends in a colon only introduces the error.
    errors = [line for line in lines if "error" in line.lower() and not line.endswith(":")]
    return next(iter(errors or lines), "there is no module in it" if code == 0 else f"exit {code}")


def single_file(files: dict[str, str]) -> str:
    """All modules in one text."""
    return "\n".join(files.values())


_SECTION = "sv.verbatim"
"""The operation of a comment, with which a section begins."""


_PROCESS, _INSTANCE = "sv.alwaysff", "hw.instance"
_DECLARATIONS = {"sv.reg", "sv.read_inout", "sv.localparam", "hw.constant"}
_MARK = "daqkf.section"


def _sections(circuit: Any) -> list[list[Any]]:
    """The operations of a module, cut in front of each comment; its output is left out."""
    sections: list[list[Any]] = [[]]
    for view in circuit.regions[0].blocks[0].operations:
        op = view.operation
        if op.name == _SECTION:
            sections.append([])
        if op.name != "hw.output":
            sections[-1].append(op)
    return sections


def _mark(ir: Any, circuit: Any, kind: str) -> None:
    """Give operations the number of their section.

    So only processes of the same section are merged, and instances, which passes move to the end,
    come back.
    """
    for number, section in enumerate(_sections(circuit)):
        for op in section:
            if op.name == kind:
                op.attributes[_MARK] = ir.StringAttr.get(str(number))


def _order_sections(circuit: Any) -> None:
    """Order each section: declarations, logic from its inputs on, instances, processes.

    Otherwise the exporter declares at the top of the module what is used before it is defined.
    """
    sections = _sections(circuit)
    instances = [op for section in sections for op in section if op.name == _INSTANCE]
    last = None
    for number, section in enumerate(sections):
        comment = [op for op in section if op.name == _SECTION]
        declared = [op for op in section if op.name in _DECLARATIONS]
        own = [op for op in instances if op.attributes[_MARK].value == str(number)]
        processes = [op for op in section if op.name == _PROCESS]
        special = _DECLARATIONS | {_SECTION, _INSTANCE, _PROCESS}
        logic = _inputs_first([op for op in section if op.name not in special])
        for op in (*comment, *declared, *logic, *own, *processes):
            if last is None:
                op.move_before(circuit.regions[0].blocks[0].operations[0])
            else:
                op.move_after(last)
            last = op


def _inputs_first(logic: list[Any]) -> list[Any]:
    """The operations, each behind those of them that it reads, but for loops."""
    own = dict.fromkeys(logic)
    done: dict[Any, None] = {}

    def visit(op: Any, within: set[Any]) -> None:
        if op in done or op in within:
            return
        for operand in op.operands:
            owner = operand.owner
            if owner in own:
                visit(owner, within | {op})
        done[op] = None

    for op in logic:
        visit(op, set())
    return list(done)


def _child(text: str) -> dict[str, str]:
    """Run the pipeline and the exporter; only ever called in a process of its own."""
    circt: Any = import_module("circt")
    ir: Any = import_module("circt.ir")
    passmanager: Any = import_module("circt.passmanager")

    exported = io.StringIO()
    with ir.Context() as context:
        circt.register_dialects(context)
        module = ir.Module.parse(text)
        for op in module.body.operations:
            _mark(ir, op.operation, _INSTANCE)
        passmanager.PassManager.parse(LOWERING).run(module.operation)
        circuits = [op.operation for op in module.body.operations]
        for circuit in circuits:
            _mark(ir, circuit, _PROCESS)
        passmanager.PassManager.parse(MERGING).run(module.operation)
        for circuit in circuits:
            _order_sections(circuit)
        module.operation.attributes["circt.loweringOptions"] = ir.StringAttr.get(OPTIONS)
        # Not into files: where one cannot be written, CIRCT may crash and not say why.
        circt.export_verilog(module, exported)
    texts = re.findall(r"^(?:.*\n)*?endmodule\n", exported.getvalue(), re.MULTILINE)
    return {_file_name(text): text.strip("\n") + "\n" for text in texts}


def _file_name(text: str) -> str:
    (name,) = re.findall(r"^module (\w+)", text, re.MULTILINE)
    return f"{name}.sv"


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
