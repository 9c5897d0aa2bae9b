# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Finished steps are found by all that they are made of, until the work is done."""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from daqkf.passes.steps import NOTHING_KEPT, Steps
from daqkf.support.kept import Kept, digest

KEY = ["prune", np.arange(3), 0.5, None]


def never(_: Steps) -> Any:
    raise AssertionError("the step is done again")


def test_a_step_is_done_once(tmp_path: Path):
    kept = Kept(tmp_path / "work")
    result = {"weights": np.eye(2), "module": ModuleOp([])}
    assert kept.do(KEY, lambda _: result) is result
    found = Kept(tmp_path / "work").do(KEY, never)
    np.testing.assert_array_equal(found["weights"], np.eye(2))
    assert str(found["module"]) == str(result["module"])
    assert kept.find(["prune", np.arange(3), 0.25, None]) is None
    kept.clear()
    assert kept.find(KEY) is None


def test_the_steps_of_a_step_go_with_it(tmp_path: Path):
    kept = Kept(tmp_path / "work")

    def interrupted(inner: Steps) -> Any:
        assert inner.do("first", lambda _: 1) == 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept.do(KEY, interrupted)
    assert kept.do(KEY, lambda inner: inner.do("first", never) + 1) == 2
    assert len(list((tmp_path / "work").rglob("*"))) == 1


def test_a_damaged_file_is_a_step_not_done(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    kept = Kept(tmp_path)
    kept.keep(KEY, 5)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        assert kept.find(KEY) is None
    assert "was damaged: its step is done again" in caplog.text


def test_what_nobody_has_gone_on_with_for_a_week_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DAQKF_CACHE", str(tmp_path))
    old, new = Kept.of("compile", 1, resume=True), Kept.of("compile", 2, resume=True)
    old.keep(KEY, 1)
    (folder,) = (tmp_path / "steps").iterdir()
    new.keep(KEY, 2)
    week = 7 * 24 * 3600
    os.utime(folder, (folder.stat().st_atime, folder.stat().st_mtime - week - 60))
    assert Kept.of("compile", 2, resume=True).find(KEY) == 2
    assert not folder.exists()
    assert Kept.of("compile", 2, resume=False).find(KEY) is None


def test_nothing_is_kept_where_nobody_asks():
    assert NOTHING_KEPT.do(KEY, lambda _: 1) == 1
    assert NOTHING_KEPT.do(KEY, lambda _: 2) == 2


def test_digests_tell_values_apart():
    values = [
        *(
            0,
            0.0,
            False,
            None,
            "",
            b"",
            "0",
            [],
            [0],
            [[0]],
            [0, 0],
            {},
            {"a": 0},
            ["a", 0],
            Path("a"),
        ),
        *(np.zeros(2), np.zeros(2, np.float32), np.zeros((1, 2)), np.float32(0), ModuleOp([])),
    ]
    assert len({digest(value) for value in values}) == len(values)
    with pytest.raises(TypeError, match="a object has no digest"):
        digest(object())
    with pytest.raises(TypeError, match="arrays of objects"):
        digest(np.array([None]))
