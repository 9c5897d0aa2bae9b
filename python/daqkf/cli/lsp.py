# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf-lsp`: what editors ask about IR, by the language server protocol (pygls).

It says what does not parse or verify, what an operation is, and which operations there are.
"""

import argparse
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import FileLineColLoc, ModuleOp
from xdsl.utils.exceptions import ParseError, VerifyException

from daqkf.cli.guard import add_memory, add_version, guarded
from daqkf.dialects import DIALECTS
from daqkf.dialects.errors import from_extra
from daqkf.dialects.xdsl_patches import Parser
from daqkf.support.errors import EXPECTED, describe
from daqkf.support.ir import make_context

if TYPE_CHECKING:
    from pygls.lsp.server import LanguageServer

_NAME = re.compile(r"[A-Za-z_][\w$]*(?:\.[A-Za-z_][\w$]*)+")


@dataclass(frozen=True)
class Problem:
    """A part of a line that is wrong; lines and columns (in characters) count from 0."""

    line: int
    first: int
    last: int
    """The column behind it."""
    message: str


def problems(text: str, name: str) -> list[Problem]:
    """What does not parse in a text of IR, or else each operation that does not verify."""
    lines = text.split("\n")
    try:
        module = Parser(make_context(), text, name).parse_module()
    except ParseError as error:
        start = min(error.span.start, len(text))
        line = text.count("\n", 0, start)
        first = start - (text.rfind("\n", 0, start) + 1)
        last = min(first + max(error.span.len, 1), max(len(lines[line]), first + 1))
        return [Problem(line, first, last, " ".join(error.msg.split()))]
    except EXPECTED as error:
        return [Problem(0, 0, 1, describe(error))]
    return list(_unverified(module, lines))


def _unverified(module: ModuleOp, lines: Sequence[str]) -> Iterator[Problem]:
    for op in module.walk():
        try:
            op.verify(verify_nested_ops=False)
        except VerifyException as error:
            line = first = 0
            if isinstance(place := op.location, FileLineColLoc):
                line, first = place.line.data - 1, place.column.data - 1
            yield Problem(line, first, len(lines[line]), f"{op.name}: {describe(error)}")


@cache
def operations() -> dict[str, str]:
    """The documentation of each operation of DAQKF's dialects, by its name."""
    return {
        op.name: inspect.getdoc(op) or ""
        for factory in DIALECTS.values()
        for op in factory().operations
    }


def operation_at(line: str, column: int) -> str | None:
    """The name of the operation at a column (in characters) of a line, if one is there."""
    for match in _NAME.finditer(line):
        if match.start() <= column <= match.end() and match[0] in operations():
            return match[0]
    return None


def make_server() -> "LanguageServer":
    """The server; `start_io` makes it answer on the standard streams.

    Raises:
        DaqkfError: pygls is missing.
    """
    from importlib.metadata import version

    with from_extra("lsp"):
        from lsprotocol import types
        from pygls.lsp.server import LanguageServer

    server = LanguageServer("daqkf-lsp", version("daqkf"))

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def check(
        parameters: types.DidOpenTextDocumentParams | types.DidChangeTextDocumentParams,
    ) -> None:
        uri = parameters.text_document.uri
        document = server.workspace.get_text_document(uri)
        found = [
            types.Diagnostic(
                document.position_codec.range_to_client_units(
                    document.lines,
                    types.Range(
                        types.Position(problem.line, problem.first),
                        types.Position(problem.line, problem.last),
                    ),
                ),
                problem.message,
                severity=types.DiagnosticSeverity.Error,
                source="daqkf",
            )
            for problem in problems(document.source, document.filename or uri)
        ]
        server.text_document_publish_diagnostics(
            types.PublishDiagnosticsParams(uri, found, document.version)
        )

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    def describe_operation(parameters: types.HoverParams) -> types.Hover | None:
        document = server.workspace.get_text_document(parameters.text_document.uri)
        place = document.position_codec.position_from_client_units(
            document.lines, parameters.position
        )
        line = document.lines[place.line] if place.line < len(document.lines) else ""
        if (name := operation_at(line, place.character)) is None:
            return None
        text = f"`{name}`\n\n{operations()[name]}"
        return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, text))

    @server.feature(types.TEXT_DOCUMENT_COMPLETION)
    def complete(parameters: types.CompletionParams) -> list[types.CompletionItem]:
        kind = types.CompletionItemKind.Function
        return [
            types.CompletionItem(name, kind=kind, detail=text.split("\n")[0])
            for name, text in operations().items()
        ]

    return server


def main(args: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""

    def body() -> int:
        parser = argparse.ArgumentParser(
            "daqkf-lsp", description="Serve an editor on the standard streams (LSP)."
        )
        add_version(parser)
        add_memory(parser)
        parser.parse_args(args)
        make_server().start_io()
        return 0

    return guarded("daqkf-lsp", body)


if __name__ == "__main__":
    sys.exit(main())
