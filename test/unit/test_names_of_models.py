# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Models that are known by name."""

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
from language_models import SMALL, fields_of, random_weights, write_gguf

import daqkf
from daqkf.cli.main import main
from daqkf.compiler import file_suffixes, named_models
from daqkf.compiler.compiled_language_model import CompiledLanguageModel
from daqkf.compiler.named_models import named_model
from daqkf.support.errors import DaqkfError


def test_ours_are_stated():
    assert {"minilm", "smollm2"} <= file_suffixes.model_names()
    assert file_suffixes.is_named("minilm") and file_suffixes.is_network("smollm2")
    assert not file_suffixes.is_named("minilm.onnx")


def test_an_unknown_one_is_refused():
    with pytest.raises(DaqkfError, match=r"no model is called 'none' \(there are: minilm, smollm2"):
        named_model("none")


THEIRS = """
from pathlib import Path

import numpy as np

from daqkf.compiler.language_models import inputs_of, load_language_model
from daqkf.compiler.named_models import NamedModel

PATH = Path(__file__).with_name("model.gguf")

def named():
    config, rng = load_language_model(PATH).config, np.random.default_rng(1)
    tokens = [rng.integers(0, config.vocabulary, 20) for _ in range(4)]
    return NamedModel(PATH, [inputs_of(config, each) for each in tokens])
"""


@pytest.fixture
def stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a model of another package."""
    write_gguf(tmp_path / "model.gguf", fields_of(SMALL), random_weights(SMALL))
    (tmp_path / "their_models.py").write_text(THEIRS)
    monkeypatch.syspath_prepend(tmp_path)
    points = EntryPoints([EntryPoint("theirs", "their_models:named", file_suffixes.MODELS)])
    monkeypatch.setattr(named_models, "entry_points", lambda group: points.select(group=group))
    monkeypatch.setattr(file_suffixes, "model_names", lambda: points.names)
    return "theirs"


def test_names_are_compiled_with_their_own_calibration(stated: str):
    model = daqkf.compile(stated, levels="uniform-15", target="tiny")
    assert isinstance(model, CompiledLanguageModel)
    assert model.selected()


def test_the_command_line_takes_them_too(stated: str, tmp_path: Path):
    options = ("--levels", "uniform-15", "--target", "tiny", "-o", str(tmp_path / "out"))
    assert main(["compile", stated, *options]) == 0
    assert isinstance(daqkf.load(tmp_path / "out"), CompiledLanguageModel)
