# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Conversations as one text, by the chat template that a model's file has.

Templates are in Jinja's language and are foreign data: they run in Jinja's sandbox, from which
nothing of Python can be reached, and which changes nothing. What they may use beside it is what the
package `transformers` offers them.
"""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from daqkf.compiler.generation import Tokens, encoded
from daqkf.dialects.errors import from_extra
from daqkf.lowering.frontends.text import TextCodec
from daqkf.support.errors import DaqkfError, describe, shortened

Messages = str | Sequence[Mapping[str, str]]
"""What the user says, or messages with their `role` (system, user, assistant) and `content`."""

_LONGEST = 1 << 20
"""Characters of what a template gives, and factors of repetition that it may ask for."""


def conversation(messages: Messages) -> list[dict[str, str]]:
    """The messages of a conversation.

    Raises:
        DaqkfError: there are none, or one has other fields.
    """
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    for message in messages:
        if set(message) != {"role", "content"} or not all(
            isinstance(value, str) for value in message.values()
        ):
            raise DaqkfError(f"a message has a 'role' and a 'content', unlike {shortened(message)}")
    if not messages:
        raise DaqkfError("the conversation is empty")
    return [dict(message) for message in messages]


def chat_prompt(codec: TextCodec, messages: Messages) -> Tokens:
    """The tokens of a conversation that the model is to go on with, [T].

    Raises:
        DaqkfError: the model has no chat template, or it fails.
    """
    text, begin = rendered(codec, conversation(messages)), codec.begin
    tokens = encoded(codec, text)
    # Templates often write the first token themselves.
    if begin is not None and tokens[:2].tolist() == [begin, begin]:
        tokens = tokens[1:]
    return np.asarray(tokens)


def rendered(codec: TextCodec, messages: Sequence[Mapping[str, str]]) -> str:
    """What the chat template makes of messages, up to where the model's answer begins.

    Raises:
        DaqkfError: there is no template, or it fails; the message is one line.
    """
    if codec.chat_template is None:
        raise DaqkfError("the model's file has no chat template")
    with from_extra("lm"):
        from jinja2 import TemplateError, TemplateSyntaxError

    names = {
        "bos_token": None if codec.begin is None else codec.tokenizer.id_to_token(codec.begin),
        "eos_token": codec.tokenizer.id_to_token(min(codec.ends)) if codec.ends else None,
    }
    try:
        template = _environment().from_string(codec.chat_template)
        text = ""
        for piece in template.generate(
            messages=messages, add_generation_prompt=True, **{k: v or "" for k, v in names.items()}
        ):
            text += piece
            if len(text) > _LONGEST:
                raise TemplateError(f"it gives more than {_LONGEST} characters")
    except TemplateSyntaxError as error:
        line = f"line {error.lineno}: {describe(error)}"
        raise DaqkfError(f"the chat template: {line}") from None
    except Exception as error:  # a template can do whatever Jinja lets it
        raise DaqkfError(f"the chat template: {describe(error)}") from None
    return text


def _environment() -> Any:
    """Jinja as chat templates expect it, where they can do no harm."""
    with from_extra("lm"):
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        """Refuses what takes long or much memory."""

        intercepted_binops = frozenset(("*", "**"))

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            """A product, if both sides are small."""
            if operator == "**" or any(
                isinstance(x, int) and abs(x) > _LONGEST for x in (left, right)
            ):
                raise TemplateError(f"'{operator}' of large numbers")
            return multiply(left, right)

    def fail(message: str) -> None:
        raise TemplateError(message)

    multiply = operator.mul
    environment = Environment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = fail
    return environment
