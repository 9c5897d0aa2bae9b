# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The generic form of the IR means the same to MLIR's own parser, which CIRCT's package brings.

Circuits are left out: every test that exports one has CIRCT parse its text. Where `mlir-opt` is
installed, `test/opinions/mlir-opt.mlir` has it read the same.
"""

import re
from collections.abc import Iterator
from functools import cache
from io import StringIO
from pathlib import Path

import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.printer import Printer

from daqkf.support.ir import make_context, parse_module

ROOT = Path(__file__).parents[1]
FOLDERS = [
    *(f"dialects/{name}" for name in ("nn", "spaq", "dfke", "rpea", "linalg_ext")),
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("lowering", "passes")),
]

_OF_ITSELF = re.compile(r"daqkf-(opt|translate) %s|%roundtrip")
"""Commands that read the IR in the file of a test."""


@cache
def context() -> Context:
    return make_context()


def generic(module: ModuleOp) -> str:
    text = StringIO()
    Printer(text, print_generic_format=True).print_op(module)
    return text.getvalue()


def modules(folder: str) -> Iterator[ModuleOp]:
    """The modules in the tests of a folder, but for wrong ones."""
    for path in sorted((ROOT / folder).rglob("*.mlir")):
        text = path.read_text()
        if "invalid" not in path.name and _OF_ITSELF.search(text):
            for part in text.split("// -----"):
                yield parse_module(context(), part, path.name)


def through_mlir(text: str) -> str:
    """What MLIR reads from the generic form and prints in it; it verifies the dialects it knows."""
    import circt
    from circt import ir

    with ir.Context() as reader:
        reader.allow_unregistered_dialects = True
        circt.register_dialects(reader)
        return ir.Module.parse(text).operation.get_asm(print_generic_op_form=True)


@pytest.mark.parametrize("folder", FOLDERS)
def test_mlir_reads_and_prints_the_same(folder: str):
    found = 0
    for module in modules(folder):
        back = parse_module(context(), through_mlir(generic(module)), "MLIR")
        assert module.is_structurally_equivalent(back)
        found += 1
    assert found


def test_a_difference_is_noticed():
    module = next(modules("dialects/rpea"))
    text = through_mlir(generic(module))
    wrong = text.replace("max_shift = 1,", "max_shift = 0,", 1)
    assert wrong != text
    other = parse_module(context(), wrong, "MLIR")
    assert not module.is_structurally_equivalent(other)
