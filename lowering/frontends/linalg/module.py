# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""MLIR in linalg on tensors, as torch-mlir and IREE print it → `nn`.

What is not supported is an error that has the operation's name and its place in the text.
"""

from collections.abc import Mapping
from types import MappingProxyType

from xdsl.context import Context
from xdsl.dialects.builtin import (
    ArrayAttr,
    FunctionType,
    ModuleOp,
    StringAttr,
)
from xdsl.dialects.cf import AssertOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.dialects.ml_program import GlobalOp
from xdsl.ir import Block, Operation, Region
from xdsl.transforms.dead_code_elimination import dce
from xdsl.utils.exceptions import InterpretationError, VerifyException

from daqkf.dialects.diagnostics import verify
from daqkf.dialects.interpreting import ENTRY, entry
from daqkf.dialects.xdsl_patches import Parser
from daqkf.lowering.frontends.linalg.operations import convert
from daqkf.lowering.frontends.linalg.values import LinalgImportError, Values

_IMPORTED = {"linalg", "tensor", "arith"}
"""Dialects that make a module one to import."""


def parse_network(context: Context, text: str, name: str) -> ModuleOp:
    """A module of `nn`: the one in the text, or what its linalg on tensors becomes.

    Raises:
        LinalgImportError: an operation or a type is not supported, or does not verify.
        ParseError: malformed text.
    """
    parser = _Parser(context, text, name)
    module = parser.parse_module()
    _verify(module)
    if not any(op.dialect_name() in _IMPORTED for op in module.walk()):
        return module
    return import_linalg(module, name, parser.blobs)


def _verify(module: ModuleOp) -> None:
    """Raise a LinalgImportError with the place of what does not verify."""
    try:
        module.verify()
    # xDSL's verifiers of linalg stumble over operands that are missing.
    except (VerifyException, LookupError):
        for op in module.walk():
            try:
                op.verify(verify_nested_ops=False)
            except (VerifyException, LookupError) as error:
                raise LinalgImportError.at(op, str(error).strip().splitlines()[0]) from None
        raise


def import_linalg(
    module: ModuleOp, name: str, blobs: Mapping[str, str] = MappingProxyType({})
) -> ModuleOp:
    """The network of linalg on tensors as the function `main` of `nn` operations.

    It is the module's only function, or the one that is called `main`. Constants are moved and
    reshaped here; a broadcast is left to the functions that read it, as far as it can be.
    `blobs` are the resources that constants name, in hexadecimal.

    Raises:
        LinalgImportError: an operation or a type is not supported; with its place, or with `name`.
    """
    for op in module.ops:
        # A global that is read is refused where it is read.
        if not isinstance(op, FuncOp | GlobalOp):
            raise LinalgImportError.at(op, "not supported in a module")
    try:
        source = entry(module)
    except InterpretationError as error:
        raise LinalgImportError(f"{name}: {error}") from None
    if len(source.body.blocks) != 1:
        raise LinalgImportError.at(source, "a body of one block is expected")
    values = Values(source, blobs)
    for op in source.body.block.ops:
        try:
            _convert(values, op)
        except (ValueError, VerifyException) as error:
            raise LinalgImportError.at(op, str(error).splitlines()[0]) from None
    function = _function(source, values.block)
    imported = ModuleOp([function])
    dce(imported)
    verify(imported)
    return imported


def _convert(values: Values, op: Operation) -> None:
    values.current = op
    if isinstance(op, ReturnOp):
        values.block.add_op(ReturnOp(*map(values.whole, op.arguments)))
    elif isinstance(op, AssertOp):
        # It is about extents, which the interpreter checks as it runs.
        return
    else:
        convert(op, values)


def _function(source: FuncOp, block: Block) -> FuncOp:
    last = block.last_op
    assert last is not None
    kind = FunctionType.from_lists(list(block.arg_types), list(last.operand_types))
    function = FuncOp(ENTRY, kind, Region(block))
    names = [arg.name_hint or f"input{arg.index}" for arg in source.body.block.args]
    function.attributes["inputs"] = ArrayAttr([StringAttr(found) for found in names])
    return function


class _Parser(Parser):
    """Keeps resources apart from those of other texts.

    xDSL has one store of resources for all texts, in which a name that comes again is a new one.
    """

    def __init__(self, context: Context, text: str, name: str):
        super().__init__(context, text, name)
        self.blobs: dict[str, str] = {}

    def _parse_dialect_resource_handle(self, dialect_name: str, interface: object) -> str:
        return self.parse_identifier(" for resource handle")

    def _parse_resource(self, dialect_name: str, interface: object) -> None:
        key = self.parse_identifier(" for a resource")
        self.parse_punctuation(":")
        self.blobs[key] = self.parse_str_literal()
