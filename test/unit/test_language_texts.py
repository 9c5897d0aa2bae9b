# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The texts for language models: whole documents, and nothing of the evaluation in the calibration.

Each text was written for this project. It has stories, dialogues, articles, letters, instructions,
chats, news, Python and Markdown, in like shares in both.
"""

from itertools import pairwise
from pathlib import Path

import pytest

TEXTS = Path(__file__).parents[2] / "python/daqkf/studies/smollm2"
BOUNDARY = "<|endoftext|>"
SIZES = {"calibration": (45, 35_000), "evaluation": (15, 12_000)}
"""Of each text, the number of documents, and the words that it has at least."""


def read(name: str) -> str:
    """A text; a `UnicodeDecodeError` if it is not UTF-8."""
    return (TEXTS / f"{name}.txt").read_bytes().decode("utf-8", errors="strict")


def documents(name: str) -> list[str]:
    """The documents of a text, which lines with only the boundary separate."""
    return read(name).removesuffix("\n").split(f"\n{BOUNDARY}\n")


def long_lines(name: str) -> set[str]:
    """The lines of a text that have more than 40 characters."""
    return {line for line in map(str.strip, read(name).splitlines()) if len(line) > 40}


def runs(name: str, length: int) -> set[tuple[str, ...]]:
    """Each sequence of so many words that follow each other in a document."""
    split = (document.split() for document in documents(name))
    return {tuple(words[i : i + length]) for words in split for i in range(len(words) - length + 1)}


@pytest.mark.parametrize("name", SIZES)
def test_each_document_is_long_and_whole(name: str):
    count, words = SIZES[name]
    found = documents(name)
    assert len(found) == count
    assert sum(len(document.split()) for document in found) >= words
    for document in found:
        start = document[:60]
        assert 300 <= len(document.split()) <= 1200, start
        assert document == document.strip(), start
        assert BOUNDARY not in document, start
        last = document.removesuffix("<|im_end|>").split("\n")[-1]
        signed = last.isalpha()  # A letter ends with a name.
        assert signed or last[-1] in '.!?"*)]', f"{start} ... ends amid a sentence"


@pytest.mark.parametrize("name", SIZES)
def test_characters_are_plain(name: str):
    text = read(name)
    assert text.endswith("\n")
    assert not {character for character in text if not character.isprintable()} - {"\n"}
    assert sum(not character.isascii() for character in text) <= len(text) / 1000
    assert all(line == line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("name", SIZES)
def test_turns_of_chats_alternate(name: str):
    chats = [document for document in documents(name) if "<|im_start|>" in document]
    assert chats
    for chat in chats:
        turns = [turn.partition("\n") for turn in chat.split("<|im_start|>")]
        assert turns.pop(0) == ("", "", "")
        assert all(turn.rstrip("\n").endswith("<|im_end|>") for *_, turn in turns)
        assert all(turn.count("<|im_end|>") == 1 for *_, turn in turns)
        speakers = [speaker for speaker, *_ in turns]
        if speakers[0] == "system":
            del speakers[0]
        assert speakers[0] == "user"
        assert speakers[-1] == "assistant"
        assert {"user", "assistant"} == set(speakers)
        assert all(one != other for one, other in pairwise(speakers))


@pytest.mark.parametrize("name", SIZES)
def test_programs_are_python(name: str):
    programs = [document for document in documents(name) if document.startswith('"""')]
    assert len(programs) == len(documents(name)) // 15
    for program in programs:
        compile(program, name, "exec")


def test_the_texts_share_no_line_and_no_long_run_of_words():
    assert long_lines("calibration") & long_lines("evaluation") == set()
    assert runs("calibration", 7) & runs("evaluation", 7) == set()
