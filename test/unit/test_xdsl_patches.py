# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What `dialects/xdsl_patches.py` adds to xDSL, and that xDSL still lacks it.

Each test has two halves: ours does it, and xDSL's own does not. When the second fails, upstream
has what the patch is for, and the patch can go.
"""

import re
import time
from io import StringIO
from math import inf
from typing import Any

import numpy as np
import pytest
import xdsl.dialects.test
import xdsl.parser
import xdsl.printer
from xdsl.dialects.builtin import (
    AnyFloat,
    BytesAttr,
    DenseIntOrFPElementsAttr,
    FileLineColLoc,
    IntegerType,
    StringAttr,
    UnknownLoc,
    f32,
    i8,
    i32,
)
from xdsl.ir import Operation
from xdsl.utils.exceptions import ParseError
from xdsl.utils.lexer import Input
from xdsl.utils.mlir_lexer import MLIRLexer

from daqkf.dialects.dense import from_array
from daqkf.dialects.xdsl_patches import Lexer, Parser, Printer
from daqkf.support.ir import make_context

GONE = "xDSL does this itself now: delete the patch"
CONTEXT = make_context()
INFINITE = '"test.op"() {a = dense<0x7F800000> : tensor<1xf32>} : () -> ()'


def parsed(kind: type[xdsl.parser.Parser], text: str) -> Operation:
    """The first operation of a module."""
    op = kind(CONTEXT, text, "text").parse_module().body.block.first_op
    assert op is not None
    return op


def values(op: Operation) -> tuple[float, ...]:
    """The elements of the constant `a`."""
    attribute = op.attributes["a"]
    assert isinstance(attribute, DenseIntOrFPElementsAttr)
    return tuple(map(float, attribute.get_values()))


def seconds(kind: type[MLIRLexer], length: int) -> float:
    """How long it takes to refuse a string of `length` characters that is never closed."""
    start = time.process_time()
    with pytest.raises(ParseError, match="before closing string literal"):
        kind(Input('"' + "a" * length, "text")).lex()
    return time.process_time() - start


def test_an_open_string_takes_linear_time():
    assert min(seconds(Lexer, 100_000) for _ in range(3)) < 1
    slow, slower = seconds(MLIRLexer, 14), seconds(MLIRLexer, 20)
    assert slower > 8 * slow, GONE


@pytest.mark.parametrize("text", ['"a"', '""', r'"\22\0A\\"', '"é"', r'"\FF"'])
def test_the_same_strings_are_lexed(text: str):
    ours, theirs = (kind(Input(f"{text} rest", "text")).lex() for kind in (Lexer, MLIRLexer))
    assert (ours.kind, ours.text) == (theirs.kind, theirs.text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"0x00ff"', "0x00ff"),
        ('"0x"', "0x"),
        (r'"0x\22"', '0x"'),
        (r'"0x\\"', "0x\\"),
        ('"0xé"', "0xé"),
        (r'"0\78"', "0x"),
    ],
)
def test_strings_that_begin_like_bytes_are_what_they_are_in_xdsl(text: str, expected: str):
    """Those that have no escapes are not looked at character by character."""
    for kind in (xdsl.parser.Parser, Parser):
        parser = kind(CONTEXT, f"{text} rest", "text")
        assert parser.parse_optional_str_literal() == expected
        assert parser.parse_identifier() == "rest"


@pytest.mark.parametrize("text", ['"0xab', '"0xab\n"', '"0xab\v"', '"0xab\f"', '"0xab\\'])
def test_strings_that_do_not_end_are_refused(text: str):
    with pytest.raises(ParseError):
        Lexer(Input(text, "text")).lex()


@pytest.mark.parametrize("name", ["π", "日本", "a\0b", 'q"\\', "\x1b[2J", "é/../x"])
def test_texts_beyond_ascii_come_back(name: str):
    text = StringIO()
    Printer(stream=text).print_op(xdsl.dialects.test.TestOp(attributes={"a": StringAttr(name)}))
    assert parsed(Parser, text.getvalue()).attributes["a"] == StringAttr(name)
    if not name.isascii():
        found = parsed(xdsl.parser.Parser, text.getvalue()).attributes["a"]
        assert found == BytesAttr(name.encode()), GONE
    # What is no text stays bytes.
    (other,) = parsed(Parser, '"test.op"() {a = "\\FF\\00"} : () -> ()').attributes.values()
    assert other == BytesAttr(b"\xff\0")


def test_hexadecimal_digits_are_the_bits_of_a_float():
    assert values(parsed(Parser, INFINITE)) == (inf,)
    assert values(parsed(xdsl.parser.Parser, INFINITE)) != (inf,), GONE


def test_operations_know_where_they_are_from():
    text = '"test.op"() ({\n  "test.op"() : () -> ()\n}) : () -> ()'
    op = parsed(Parser, text)
    places = [found.location for found in op.walk()]
    assert [(at.line.data, at.column.data) for at in places if isinstance(at, FileLineColLoc)] == [
        (1, 1),
        (2, 3),
    ]
    assert isinstance(parsed(xdsl.parser.Parser, text).location, UnknownLoc), GONE
    stated = parsed(Parser, '"test.op"() : () -> () loc("elsewhere":7:9)').location
    assert isinstance(stated, FileLineColLoc)
    assert (stated.filename.data, stated.line.data) == ("elsewhere", 7)


def test_parse_errors_name_the_operation():
    text = '"test.op"() ({\n  spaq.constant 3\n}) : () -> ()'
    with pytest.raises(ParseError) as ours:
        parsed(Parser, text)
    assert ours.value.msg.startswith("spaq.constant: ")
    assert str(ours.value.span.get_location()).startswith("text:2:")
    with pytest.raises(ParseError) as theirs:
        parsed(xdsl.parser.Parser, text)
    assert "spaq.constant" not in theirs.value.msg, GONE


def test_dense_constants_are_parsed_without_building_constraints():
    text = "\n".join(INFINITE for _ in range(200))

    def spent(kind: type[xdsl.parser.Parser]) -> float:
        start = time.process_time()
        kind(CONTEXT, text, "text").parse_module()
        return time.process_time() - start

    ours, theirs = (min(spent(kind) for _ in range(3)) for kind in (Parser, xdsl.parser.Parser))
    assert theirs > 1.5 * ours, GONE


@pytest.mark.parametrize("kind", ["tensor<?xi8>", "i8", "tensor<2x!test.type>"])
def test_a_dense_constant_of_a_wrong_type_is_refused(kind: str):
    for parser in (Parser, xdsl.parser.Parser):
        with pytest.raises(ParseError):
            parsed(parser, f'"test.op"() {{a = dense<1> : {kind}}} : () -> ()')


@pytest.mark.parametrize(
    ("constant", "error", "message"),
    [
        ("dense<[(1, 2]> : tensor<1xcomplex<f32>>", AssertionError, "expected ')', got ']'"),
        ("dense<1> : tensor<1xcomplex<f32>>", AssertionError, "expected a pair of numbers"),
        ("dense<1> : tensor<1xi664>", NotImplementedError, "Format not implemented for i664"),
    ],
)
def test_what_is_asserted_of_constants_is_refused(
    constant: str, error: type[Exception], message: str
):
    text = f'"test.op"() {{a = {constant}}} : () -> ()'
    with pytest.raises(ParseError, match=re.escape(message)):
        parsed(Parser, text)
    with pytest.raises(error):  # a ParseError, once xDSL does this itself
        parsed(xdsl.parser.Parser, text)


def printed(kind: type[xdsl.printer.Printer], attribute: DenseIntOrFPElementsAttr) -> str:
    """The text of a constant."""
    text = StringIO()
    kind(stream=text).print_attribute(attribute)
    return text.getvalue()


RNG = np.random.default_rng(7)


@pytest.mark.parametrize("shape", [(0,), (1,), (100,), (101,), (40, 30), (3, 0)])
@pytest.mark.parametrize("kind", [i8, i32, f32], ids=str)
@pytest.mark.parametrize("same", [False, True])
def test_constants_have_the_same_text(
    shape: tuple[int, ...], kind: IntegerType | AnyFloat, same: bool
):
    array = RNG.integers(-100, 100, shape) * (0 if same else 1) + 1
    attribute = from_array(array, kind)
    assert printed(Printer, attribute) == printed(xdsl.printer.Printer, attribute)


def test_one_element_that_differs_shows():
    array: Any = np.ones(5000, np.int8)
    for place in (0, 2500, 4999):
        array[place] = 3
        text = printed(Printer, from_array(array, i8))
        assert '"0x' in text
        array[place] = 1
    assert printed(Printer, from_array(array, i8)) == "dense<1> : tensor<5000xi8>"


def test_large_constants_are_printed_from_their_bytes():
    attribute = from_array(RNG.integers(-(2**30), 2**30, 500_000), i32)

    def spent(kind: type[xdsl.printer.Printer]) -> float:
        start = time.process_time()
        printed(kind, attribute)
        return time.process_time() - start

    ours, theirs = (min(spent(kind) for _ in range(3)) for kind in (Printer, xdsl.printer.Printer))
    assert theirs > 1.5 * ours, GONE
