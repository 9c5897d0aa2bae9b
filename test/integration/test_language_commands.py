# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf generate`, `daqkf chat` and `daqkf eval` with a small random decoder."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import SMALL, TEXT, fields_of, random_weights, write_gguf

import daqkf
from daqkf.cli.language import shown
from daqkf.cli.main import main
from daqkf.compiler.compiled_language_model import CompiledLanguageModel


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    template = "{% for m in messages %}{{ m.role }}:{{ m.content }}<|end|>{% endfor %}"
    fields = fields_of(SMALL) | {"tokenizer.chat_template": template}
    path = tmp_path_factory.mktemp("models") / "model.gguf"
    return write_gguf(path, fields, random_weights(SMALL))


@pytest.fixture(scope="module")
def folder(source: Path) -> Path:
    text, folder = source.with_name("text.txt"), source.with_name("compiled")
    text.write_text(TEXT)
    args = ("compile", str(source), "--calibration", str(text), "--target", "tiny")
    assert main([*args, "-o", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> CompiledLanguageModel:
    found = daqkf.load(folder)
    assert isinstance(found, CompiledLanguageModel)
    return found


def said(captured: str) -> list[str]:
    """What standard error has beside the progress of slow machines."""
    return [line for line in captured.splitlines() if not re.match(r"\d+ s: ", line)]


def test_generate(folder: Path, model: CompiledLanguageModel, capsys: pytest.CaptureFixture[str]):
    capsys.readouterr()
    assert main(["generate", str(folder), "the a", "--tokens", "9"]) == 0
    found = capsys.readouterr()
    assert found.out == shown("".join(model.generate("the a", tokens=9))) + "\n"
    (line,) = said(found.err)
    assert re.fullmatch(
        r"2 tokens read at once: .* a second, 8 tokens one by one: .* a second", line
    )
    options = ("--tokens", "9", "--temperature", "1.5", "--top-k", "9", "--seed", "3")
    drawn: list[str] = []
    for _ in range(2):
        assert main(["generate", str(folder), "the a", *options]) == 0
        drawn.append(capsys.readouterr().out)
    assert drawn[0] == drawn[1] != found.out
    assert main(["generate", str(folder), "the a", "12", "--tokens", "9"]) == 0
    texts = capsys.readouterr().out
    assert texts.startswith("the a") and "\n\n12" in texts
    assert found.out[:-1] in texts


@pytest.mark.slow
def test_layers_run_in_rtl(
    folder: Path, model: CompiledLanguageModel, capsys: pytest.CaptureFixture[str]
):
    capsys.readouterr()
    options = ("--accelerator", "rtl", "--layers", "1", "--check", "--tokens", "2")
    assert main(["generate", str(folder), "the", *options]) == 0
    found = capsys.readouterr()
    assert found.out == shown("".join(model.generate("the", tokens=2))) + "\n"
    *_, cycles, equal = said(found.err)
    own, every = len(model.selected("layers.1.")), len(model.selected())
    assert 0 < own < every and equal == f"{own} of {every} kernels equal, bit for bit"
    assert re.fullmatch(r"[\d,]+ cycles of the array, \d+ programs", cycles)


def test_an_interrupt_ends_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    capsys.readouterr()

    def interrupted(*_: Any, **__: Any) -> Iterator[str]:
        yield "the"
        raise KeyboardInterrupt

    monkeypatch.setattr(CompiledLanguageModel, "generate", interrupted)
    assert main(["generate", str(folder), "a"]) == 130
    found = capsys.readouterr()
    assert found.out == "the\n" and said(found.err) == ["daqkf: interrupted"]


def test_chat(
    folder: Path,
    model: CompiledLanguageModel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    capsys.readouterr()
    monkeypatch.setattr("sys.stdin", io.StringIO("the\n\na\n"))
    assert main(["chat", str(folder), "--tokens", "5", "--system", "12"]) == 0
    out = capsys.readouterr().out
    messages = [{"role": "system", "content": "12"}, {"role": "user", "content": "the"}]
    first = "".join(model.chat(messages, tokens=5))
    messages += [{"role": "assistant", "content": first}, {"role": "user", "content": "a"}]
    second = "".join(model.chat(messages, tokens=5))
    assert out == f"{shown(first)}\n{shown(second)}\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["generate", "{}", ""], "the prompt: the text is empty"),
        (["generate", "{}", "a", "--tokens", "0"], "tokens must be at least 1, not 0"),
        (["generate", "{}", "a", "--tokens", "65"], "1 tokens of the prompt and 65 to write are 1"),
        (["generate", "{}", "a", "--top-k", "-1"], "top_k must be at least 1, not -1"),
        (["generate", "{}", "a", "--check"], "--layers and --check are for --accelerator rtl or"),
        (["generate", "nowhere", "a"], "nowhere: No such file or directory"),
        (["chat", "{}", "--temperature", "nan"], "temperature must be 0 or more, not nan"),
        (["eval", "{}", "--quick"], "--quick is for MiniLM"),
        (["eval", "{}", "--sparsity", "0.5"], "--sparsity is for a model's file"),
        (["eval", "{}", "--window", "1"], "a window has at least 2 tokens, not 1"),
        (["eval", "{}", "--levels", "int8", "binary"], "2 --levels for 0 --sparsity: give one, or"),
        (["eval", "--levels", "int8", "binary"], "several --levels are for language models"),
        (["eval", "{}", "--distillation", "0", "1"], "2 --distillation for 0 --sparsity: give one"),
        (["eval", "--distillation", "0", "1"], "several --distillation are for language models"),
        (["eval", "--window", "9"], "--window is for language models"),
        (["eval", "--wide-results", "a"], "--wide-results is for language models"),
        (["eval", "{}", "--plot", "a.pdf"], "a.pdf: a picture is svg or png"),
        (["eval", "nowhere"], "nowhere: No such file or directory"),
    ],
)
def test_bad_arguments(
    folder: Path,
    tmp_path: Path,
    args: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
):
    capsys.readouterr()
    output = ["-o", str(tmp_path / "out")] if args[0] == "eval" else []
    assert main([arg.format(folder) for arg in args] + output) == 1
    (line,) = said(capsys.readouterr().err)
    assert line.startswith(f"daqkf: {message}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layers", ["x", "1-", "-1", "", "1,,2", "99999"])
def test_bad_layers(layers: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["generate", "folder", "a", f"--layers={layers}"])
    assert "layers are numbers like 0,2-4" in capsys.readouterr().err


def test_other_folders_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    design = daqkf.compile(np.eye(4))
    design.save(tmp_path)
    assert main(["generate", str(tmp_path), "a"]) == 1
    assert "the folder of a layer" in capsys.readouterr().err


def test_eval(source: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text, out = tmp_path / "text.txt", tmp_path / "out"
    text.write_text("the 12 a thé 1 2 the the a\n")
    common = ("--text", str(text), "--window", "9", "-o", str(out), "--target", "tiny")
    assert main(["eval", str(folder), "--against", str(source), *common]) == 0
    assert "perplexity" in capsys.readouterr().out
    facts = json.loads((out / "eval.json").read_text())
    (row,) = facts["rows"]
    assert row["window"] == 9 and row["tokens"] > 9 and row["kl"] > 0 and 0 < row["same_first"] <= 1
    assert row["cycles"] > 0 and row["bytes_per_token"] > 0
    plot, own = tmp_path / "kl.svg", ("--sparsity", "0.5", "--calibration", str(text))
    assert main(["eval", str(source), *own, "--plot", str(plot), *common]) == 0
    dense, rounded, *pruned = json.loads((out / "eval.json").read_text())["rows"]
    assert "kl" not in dense and dense["tokens"] == row["tokens"]
    assert [found["way"] for found in pruned] == ["ours", "magnitude", "Wanda"]
    assert all(found["zeros"] > 0.49 and found["kl"] > row["kl"] for found in pruned)
    assert 0 < rounded["kl"] < pruned[1]["kl"] and rounded["bytes_per_token"] > 0
    assert plot.read_bytes().startswith(b"<?xml")
    several = ("--sparsity", "0", "0.5", "--levels", "int8", "uniform-7", *own[2:])
    assert main(["eval", str(source), *several, "--no-baselines", *common]) == 0
    _, *ours = json.loads((out / "eval.json").read_text())["rows"]
    assert [found["name"] for found in ours] == ["0% zeros, int8", "50% zeros, uniform-7"]
    assert ours[1]["magnitudes"] <= 7 < ours[0]["magnitudes"]
    trained = (*several, "--distillation", "0", "2")
    assert main(["eval", str(source), *trained, "--no-baselines", *common]) == 0
    _, first, second = json.loads((out / "eval.json").read_text())["rows"]
    assert first == ours[0]
    assert second["name"] == "50% zeros, uniform-7, distilled 2 times"
    # Without the dense model there is nothing to compare with.
    assert main(["eval", str(folder), *common]) == 0
    (alone,) = json.loads((out / "eval.json").read_text())["rows"]
    assert "kl" not in alone and alone["perplexity"] == row["perplexity"]
