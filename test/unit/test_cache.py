# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Entries of the cache are made once, and again when somebody has damaged them."""

import logging
from pathlib import Path

import pytest

from daqkf.support.cache import cached


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAQKF_CACHE", str(tmp_path / "a cache"))
    return tmp_path / "a cache"


class Maker:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "inner").mkdir()
        (folder / "inner" / "text").write_text("made")


def test_an_entry_is_made_once():
    make = Maker()
    first, second = cached("kind", [1, "x"], make), cached("kind", [1, "x"], make)
    assert first == second and make.calls == 1
    assert (first / "inner" / "text").read_text() == "made"
    assert cached("kind", [2, "x"], make) != first and make.calls == 2


@pytest.mark.parametrize("text", ["", "mad", None])
def test_a_damaged_entry_is_made_again_with_a_note(
    caplog: pytest.LogCaptureFixture, text: str | None
):
    make = Maker()
    file = cached("kind", 1, make) / "inner" / "text"
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    with caplog.at_level(logging.WARNING):
        assert cached("kind", 1, make) / "inner" / "text" == file
    assert file.read_text() == "made" and make.calls == 2
    assert "in the cache was damaged, and is made again" in caplog.text


def test_what_fails_leaves_nothing(folder: Path):
    def fail(place: Path) -> None:
        (place / "half").touch()
        raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        cached("kind", 1, fail)
    assert not list((folder / "kind").iterdir())
