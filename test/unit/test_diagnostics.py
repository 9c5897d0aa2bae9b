# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Errors of verifiers and passes name a place and an operation; options are described."""

from dataclasses import dataclass

import pytest
from xdsl.context import Context
from xdsl.dialects import test
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.utils.arg_spec import parse_pipeline
from xdsl.utils.exceptions import PassFailedException, VerifyException

from daqkf.dialects.diagnostics import message, place, verify
from daqkf.dialects.xdsl_patches import Parser
from daqkf.lowering import PASSES as LOWERINGS
from daqkf.passes import PASSES
from daqkf.passes.diagnostics import fail, failing_at
from daqkf.passes.options import PassOption, descriptions, instance, pass_options
from daqkf.support.ir import make_context, parse_module

CONTEXT = make_context()
NESTED = '"test.op"() ({\n  "test.op"() : () -> ()\n}) : () -> ()'


@dataclass(frozen=True)
class ExamplePass(ModulePass):
    """Do nothing, in a
    paragraph.

    - `count`, `share-of`: of what, which
      goes on.

    - `name`: of whom.
    """

    name = "example-pass"
    count: int
    share_of: float | None = None
    label: str = "none"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Do nothing."""


def test_an_operation_without_a_text_is_placed_by_what_is_in_or_around_it():
    module = Parser(CONTEXT, NESTED, "text").parse_module()
    outer, inner = (op for op in module.walk() if op.name == "test.op")
    new = test.TestOp()
    inner.parent_block().add_op(new)  # pyright: ignore[reportOptionalMemberAccess]
    assert (place(outer), place(inner), place(new)) == ("text:1:1", "text:2:3", "text:1:1")
    outer.location = new.location
    assert place(outer) == "text:2:3"
    assert place(test.TestOp()) == ""
    assert message(test.TestOp(), "is\n  wrong") == "test.op: is wrong"
    assert message(test.TestOp(), "test.op is wrong") == "test.op is wrong"


def test_verifiers_name_the_first_operation_that_fails():
    text = (
        "func.func @f(%x: tensor<?x2xf32>) {\n"
        "  %0 = spaq.columns %x from 0 : tensor<?x2xf32> -> tensor<?x1xf32>\n"
        "  %1 = spaq.columns %x from 2 : tensor<?x2xf32> -> tensor<?x1xf32>\n"
        "  func.return\n}"
    )
    with pytest.raises(VerifyException) as error:
        parse_module(CONTEXT, text, "text")
    assert str(error.value) == "text:3:3: spaq.columns: features 2..2 of 2"
    module = Parser(CONTEXT, text, "text").parse_module()
    module.body.block.first_op.detach()  # pyright: ignore[reportOptionalMemberAccess]
    verify(module)


def test_passes_fail_at_an_operation():
    op = Parser(CONTEXT, NESTED, "text").parse_module().body.block.first_op
    assert op is not None
    with pytest.raises(PassFailedException) as error:
        fail(op, "some-pass", "no")
    assert str(error.value) == "text:1:1: test.op: some-pass: no"
    with pytest.raises(PassFailedException) as error, failing_at(op, "some-pass"):
        raise ValueError("no")
    assert str(error.value) == "text:1:1: test.op: some-pass: no"


def test_options_are_read_from_the_docstring():
    assert pass_options(ExamplePass) == [
        PassOption("count", "int", None, "of what, which goes on."),
        PassOption("share-of", "float|None", "none", "of what, which goes on."),
        PassOption("label", "str", "none", ""),
    ]
    assert descriptions("A\n- `a`: one\n  two\nthree\n  four") == {"a": "one two"}


@pytest.mark.parametrize(
    ("pipeline", "text"),
    [
        ("{size=3}", r"unknown option 'size' \(it has count, share-of, label\)"),
        ("", "the option 'count' is required"),
        ("{count=1.5}", "the option 'count' is int, not 1.5"),
        ("{count}", "the option 'count' is int, not no value"),
        ("{count=1,2}", "the option 'count' is int, not 1,2"),
        ("{count=1 share-of=a}", r"the option 'share-of' is float\|None, not a"),
    ],
)
def test_wrong_options_name_the_pass_and_the_option(pipeline: str, text: str):
    spec, *_ = parse_pipeline(f"example-pass{pipeline}")
    with pytest.raises(ValueError, match=f"^example-pass: {text}$"):
        instance(ExamplePass, spec)


def test_right_options_make_a_pass():
    spec, *_ = parse_pipeline("example-pass{count=2 share-of=0.5}")
    assert instance(ExamplePass, spec) == ExamplePass(2, 0.5)


@pytest.mark.parametrize("name", [*PASSES, *LOWERINGS])
def test_every_option_of_every_pass_is_described(name: str):
    kind = (PASSES | LOWERINGS)[name]()
    assert [option.name for option in pass_options(kind) if not option.description] == []
    assert set(descriptions(kind.__doc__ or "")) == {option.name for option in pass_options(kind)}
