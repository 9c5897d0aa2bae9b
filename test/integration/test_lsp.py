# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The language server, asked by a client of pygls and function by function."""

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest

from daqkf.cli import lsp
from daqkf.cli.lsp import operation_at, operations, problems

if TYPE_CHECKING:
    from lsprotocol import types

GOOD = """\
func.func @main(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %y = nn.elementwise relu %x : (tensor<?x4xf32>) -> tensor<?x4xf32>
  func.return %y : tensor<?x4xf32>
}
"""
MISSPELT = GOOD.replace("nn.elementwise", "nn.elementwisee")
WRONG = GOOD.replace("tensor<?x4xf32> {", "tensor<?x5xf32> {")


def test_what_is_right_has_no_problems():
    assert problems(GOOD, "good.mlir") == []


def test_what_does_not_parse_is_named_with_its_place():
    (found,) = problems(MISSPELT, "bad.mlir")
    assert found.line == 1
    assert "nn.elementwisee" in found.message


def test_what_ends_too_early_is_named():
    (found,) = problems(GOOD[:60], "cut.mlir")
    assert found.line == 1
    assert problems("%", "short.mlir")[0].line == 0


def test_what_does_not_verify_is_named_with_its_operation():
    (found,) = problems(WRONG, "wrong.mlir")
    assert found.line == 2
    assert found.message.startswith("func.return: ")
    assert problems(WRONG + WRONG.replace("@main", "@other"), "both.mlir")[1].line == 6


def test_each_operation_has_documentation():
    prefixes = ("nn.", "spaq.", "dfke.", "rpea.")
    own = {name: text for name, text in operations().items() if name.startswith(prefixes)}
    assert own
    assert all(own.values())


@pytest.mark.parametrize(
    ("column", "name"),
    [(7, "nn.elementwise"), (21, "nn.elementwise"), (5, None), (2, None), (50, None)],
)
def test_the_operation_at_a_place(column: int, name: str | None):
    assert operation_at(GOOD.splitlines()[1], column) == name


async def ask() -> "tuple[list[list[types.Diagnostic]], Any, Any]":
    """What the server says of a text that is changed twice, of an operation, and of all."""
    from lsprotocol import types
    from pygls.lsp.client import LanguageClient

    client = LanguageClient("test", "1")
    arrived: asyncio.Queue[list[types.Diagnostic]] = asyncio.Queue()

    @client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
    def keep(parameters: types.PublishDiagnosticsParams) -> None:
        arrived.put_nowait(list(parameters.diagnostics))

    await client.start_io(sys.executable, "-m", lsp.__name__)
    await client.initialize_async(types.InitializeParams(capabilities=types.ClientCapabilities()))
    client.initialized(types.InitializedParams())
    uri = "file:///layer.mlir"
    client.text_document_did_open(
        types.DidOpenTextDocumentParams(types.TextDocumentItem(uri, "mlir", 1, MISSPELT))
    )
    said = [await asyncio.wait_for(arrived.get(), 30)]
    for version, text in ((2, WRONG), (3, GOOD)):
        client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                types.VersionedTextDocumentIdentifier(version, uri),
                [types.TextDocumentContentChangeWholeDocument(text)],
            )
        )
        said.append(await asyncio.wait_for(arrived.get(), 30))
    document = types.TextDocumentIdentifier(uri)
    hover = await client.text_document_hover_async(
        types.HoverParams(document, types.Position(1, 9))
    )
    names = await client.text_document_completion_async(
        types.CompletionParams(document, types.Position(1, 7))
    )
    await client.shutdown_async(None)
    client.exit(None)
    await client.stop()
    return said, hover, names


@pytest.mark.slow
def test_a_client_is_served():
    said, hover, names = asyncio.run(ask())
    assert [len(diagnostics) for diagnostics in said] == [1, 1, 0]
    assert said[0][0].range.start.line == 1
    assert said[1][0].range.start.line == 2
    assert hover.contents.value.startswith("`nn.elementwise`\n\n")
    assert {"nn.elementwise", "spaq.matmul"} <= {item.label for item in names}
