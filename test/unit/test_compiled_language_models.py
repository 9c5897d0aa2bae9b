# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Compiled language models: text in, text out, in small random decoders."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import (
    SMALL,
    TEXT,
    changed,
    fields_of,
    logits_of,
    random_weights,
    write_folder,
    write_gguf,
)
from xdsl.dialects.func import FuncOp

import daqkf
from daqkf.cli.compiling import target_of
from daqkf.compiler.chat import chat_prompt, conversation, rendered
from daqkf.compiler.compiled_language_model import CompiledLanguageModel
from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.decoding import Engine
from daqkf.compiler.generation import Sampling, TextStream
from daqkf.compiler.language_models import (
    TARGET,
    batches_of,
    compile_language_model,
    inputs_of,
    load_language_model,
)
from daqkf.compiler.text_windows import DOCUMENT_END, windows_of
from daqkf.dialects.errors import DaqkfError
from daqkf.dialects.interpreting import call
from daqkf.dialects.nn.interpreter import NnFunctions


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return write_gguf(folder / "model.gguf", fields_of(SMALL), random_weights(SMALL))


@pytest.fixture(scope="module")
def model(path: Path) -> CompiledLanguageModel:
    found = daqkf.compile(path, calibration=TEXT, second_order=False, target="tiny")
    assert isinstance(found, CompiledLanguageModel)
    return found


def test_windows_are_of_one_document(path: Path):
    codec = load_language_model(path).text()
    text = f"the 12\n{DOCUMENT_END}\n{'a' * 7}\n{DOCUMENT_END}\n\n"
    assert [codec.decode(part) for part in windows_of(codec, text, 3)] == [
        *("the 1", "2"),
        *("aaa", "aaa", "a"),
    ]
    begun = [part.tolist() for part in windows_of(replace(codec, begin=1), text, 3)]
    assert begun[0][0] == 1 and begun[0][1:] == codec.encode("the ").tolist()
    assert begun[-1] == [1, codec.encode("a")[0]]
    with pytest.raises(ValueError, match="the text is empty"):
        windows_of(codec, f"\n{DOCUMENT_END}\n", 3)
    (first, *_) = batches_of(SMALL, codec, TEXT)
    assert len(first["tokens"]) == SMALL.context
    assert first["past_keys.0"].shape == (0, SMALL.groups, SMALL.features)


def test_a_model_is_saved_and_loaded(model: CompiledLanguageModel, tmp_path: Path):
    model.save(tmp_path)
    loaded = daqkf.load(tmp_path)
    assert isinstance(loaded, CompiledLanguageModel)
    assert loaded == model and loaded.decoder_config == model.decoder_config
    assert loaded.text.tokenizer.to_str() == model.text.tokenizer.to_str()
    for name in ("begin", "ends", "chat_template", "missing"):
        assert getattr(loaded.text, name) == getattr(model.text, name)
    plain = CompiledNetwork.load(tmp_path)
    assert not isinstance(plain, CompiledLanguageModel)


@pytest.mark.parametrize(("asked", "wide"), [({}, True), ({"wide_results": ""}, False)])
def test_results_are_wide_if_nothing_else_is_said(path: Path, asked: dict[str, Any], wide: bool):
    found = daqkf.compile(path, calibration=TEXT, second_order=False, **asked)
    assert isinstance(found, CompiledLanguageModel)
    assert found.target == TARGET
    assert {stage.wide for stage in found.stages} == {wide}


def test_the_command_line_has_the_same_default(path: Path):
    targets = {source: target_of(None, source) for source in (str(path), "minilm", "a.npy")}
    assert targets == {str(path): TARGET, "minilm": "generic", "a.npy": "generic"}


def test_folders_of_hugging_face_are_language_models(tmp_path: Path):
    config = changed(SMALL, pairs="halves", factors=(2.0,) * 4, biases=frozenset(("query",)))
    weights = random_weights(replace(config, biases=frozenset(("query", "key", "value"))))
    facts: dict[str, Any] = {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}
    source = write_folder(tmp_path / "source", config, weights, "qwen2", **facts)
    compiled = compile_language_model(source, calibration=TEXT, second_order=False, target="tiny")
    compiled.save(tmp_path / "saved")
    assert CompiledLanguageModel.load(tmp_path / "saved").decoder_config == compiled.decoder_config
    assert compiled.decoder_config.factors == (2.0,) * 4


def golden(model: CompiledLanguageModel) -> Engine:
    """The decoder with kernels as `spaq` defines them, one operation after the other."""

    def kernel(function: FuncOp, x: Any, lengths: Sequence[int]) -> Any:
        return call(model.network, function, (x,))[0]

    return Engine(
        model.network, model.decoder_config, lambda cached: NnFunctions(kernel, cached=cached)
    )


def test_the_fast_model_is_equal_to_the_golden_one(model: CompiledLanguageModel):
    tokens = model.text.encode(TEXT)[:20]
    fast, slow = model.engine().decoder(), golden(model).decoder()
    for part in (tokens[:13], tokens[13:14], tokens[14:]):
        np.testing.assert_array_equal(fast.read(part), slow.read(part))


def test_the_fast_model_is_equal_to_the_networks_own_run(model: CompiledLanguageModel):
    tokens = model.text.encode(TEXT)[:9]
    expected = model.run(inputs_of(model.decoder_config, tokens))["logits"]
    np.testing.assert_array_equal(model.engine().decoder().read(tokens), expected)
    last = model.engine().decoder().read(tokens, last=True)
    np.testing.assert_array_equal(last, expected[-1:])


def test_texts_that_are_read_together_do_not_meet(model: CompiledLanguageModel):
    engine, tokens = model.engine(), model.text.encode(TEXT)
    parts = [tokens[:5], tokens[3:4], tokens[8:20]]
    together = [engine.decoder() for _ in parts]
    alone = [engine.decoder() for _ in parts]
    for last in (False, True):
        found = engine.read(together, parts, last)
        for decoder, part, logits in zip(alone, parts, found, strict=True):
            np.testing.assert_array_equal(logits, decoder.read(part, last))


def test_generation(model: CompiledLanguageModel):
    text = "".join(model.generate("the a", tokens=20))
    decoder, tokens = model.engine().decoder(), model.text.encode("the a")
    written: list[int] = []
    while len(written) < 20:
        written.append(int(decoder.read(tokens)[-1].argmax()))
        tokens = np.array(written[-1:])
        if written[-1] in model.text.ends:
            written.pop()
            break
    assert text == model.text.decode(written, False)
    drawn = [
        "".join(model.generate("the a", tokens=20, temperature=2.0, top_k=50, seed=seed))
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    several = ["", ""]
    options: dict[str, Any] = {"tokens": 20, "temperature": 2.0, "top_k": 50, "seed": 1}
    for number, piece in model.generate_together(["the a", "12"], **options):
        several[number] += piece
    assert several[0] == drawn[0] and several[1]


def test_pieces_are_whole_characters(model: CompiledLanguageModel):
    codec = model.text
    stream = TextStream(codec)
    tokens = codec.encode("aé\N{SNOWMAN}\N{GRINNING FACE}b")
    pieces = [stream.feed(int(token)) for token in tokens]
    assert [piece for piece in pieces if piece] == [*"aé\N{SNOWMAN}\N{GRINNING FACE}b"]
    assert stream.end() == ""
    # What is no UTF-8 is not held back for ever, and half a character shows at the end.
    broken = [int(token) for token in codec.encode("\N{GRINNING FACE}")[:1]]
    stream = TextStream(codec)
    pieces = [stream.feed(token) for token in broken * 6]
    assert pieces[:3] == ["", "", ""] and pieces[3]
    assert "".join(pieces) + stream.end() == codec.decode(broken * 6)


@pytest.mark.parametrize(
    ("stop", "expected"),
    [(["the 1"], "a "), (["xyz", "e 12"], "a th"), (["12a"], "a the 12"), ([" "], "a")],
)
def test_stops(model: CompiledLanguageModel, stop: list[str], expected: str):
    stream, text = TextStream(model.text, stop), ""
    for token in model.text.encode("a the 12"):
        text += stream.feed(int(token))
        assert expected.startswith(text)
        if stream.stopped:
            break
    assert text + stream.end() == expected


def test_sampling():
    logits = np.log(np.array([0.5, 0.25, 0.125, 0.125], np.float32))
    rng = np.random.default_rng(0)
    assert Sampling().chosen(logits, rng) == 0
    drawn = [Sampling(temperature=0.5).chosen(logits, rng) for _ in range(4000)]
    shares = np.array([16, 4, 1, 1]) / 22
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 4000, shares, atol=0.03)
    drawn = [Sampling(temperature=1.0, top_k=2).chosen(logits, rng) for _ in range(4000)]
    np.testing.assert_allclose(np.bincount(drawn) / 4000, [2 / 3, 1 / 3], atol=0.03)
    with pytest.raises(DaqkfError, match="not numbers"):
        Sampling().chosen(np.array([np.nan, 1.0]), rng)


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ("", {}, "the prompt: the text is empty"),
        (5, {}, "a prompt is a text, not 5"),
        (
            "a" * 60,
            {"tokens": 10},
            "60 tokens of the prompt and 10 to write are 5 more than the model's context, which "
            "is of 64",
        ),
        ("a", {"tokens": 0}, "tokens must be at least 1, not 0"),
        ("a", {"temperature": -1.0}, "temperature must be 0 or more, not -1"),
        ("a", {"temperature": float("nan")}, "temperature must be 0 or more, not nan"),
        ("a", {"top_k": 0}, "top_k must be at least 1, not 0"),
        ("a", {"seed": -1}, "seed must be 0 or more, not -1"),
        ("a", {"stop": "the"}, "stop is a list of texts that are not empty"),
        ("a", {"top": 1}, "unknown option 'top' (known: engine, tokens, temperature"),
    ],
)
def test_bad_prompts_and_options(
    model: CompiledLanguageModel, prompt: Any, options: dict[str, Any], message: str
):
    with pytest.raises(DaqkfError, match=f"^{re.escape(message)}"):
        model.generate(prompt, **options)


def test_bad_readings(model: CompiledLanguageModel):
    decoder = model.engine().decoder()
    with pytest.raises(DaqkfError, match=r"there are no tokens to read"):
        decoder.read([])
    with pytest.raises(DaqkfError, match=f"token 1000 is none of the model's {SMALL.vocabulary}"):
        decoder.read([1000])
    decoder.read([3] * 60)
    with pytest.raises(DaqkfError, match="65 tokens are more than the model's context, which is"):
        decoder.read([3] * 5)
    assert decoder.length == 60
    with pytest.raises(DaqkfError, match=r"there is no layer 2: they are 0 … 1"):
        model.engine(layers=[2])
    with pytest.raises(DaqkfError, match="unknown accelerator 'gpu'"):
        model.engine("gpu")


CHAT = (
    "{% for message in messages %}\n"
    "{{ message['role'] }}:{{ message['content'] }}<|end|>\n"
    "{% endfor %}\n"
    "{% if add_generation_prompt %}\n<|user|>{% endif %}"
)


def chatting(model: CompiledLanguageModel, template: str | None, **text: Any) -> Any:
    return replace(model, text=replace(model.text, chat_template=template, **text))


def test_chat(model: CompiledLanguageModel):
    chat = chatting(model, CHAT)
    assert rendered(chat.text, conversation("the")) == "user:the<|end|>\n<|user|>"
    messages = [{"role": "system", "content": "a"}, {"role": "user", "content": "12"}]
    assert rendered(chat.text, messages) == "system:a<|end|>\nuser:12<|end|>\n<|user|>"
    tokens = chat_prompt(chat.text, "the")
    assert tokens[-1] == 1 and (tokens == 0).sum() == 1
    prompt = chat.text.decode(tokens)
    assert "".join(chat.chat("the", tokens=9)) == "".join(model.generate(prompt, tokens=9))
    # The template may write the token that texts begin with.
    begun = chatting(model, "{{ bos_token }}{{ messages[0]['content'] }}{{ eos_token }}", begin=1)
    assert chat_prompt(begun.text, "a").tolist() == [1, *model.text.encode("a"), 0]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "the model's file has no chat template"),
        ("{% for %}", "the chat template: line 1: "),
        ("{{ raise_exception('only users') }}", "the chat template: only users"),
        ("{{ missing.name }}", "the chat template: 'missing' is undefined"),
        ("{{ ''.__class__.__mro__ }}{{ x() }}", "the chat template: "),
        ("{{ 'a' * 1000000000 }}", "the chat template: '*' of large numbers"),
        ("{{ 9 ** 999999999 }}", "the chat template: '**' of large numbers"),
        ("{% for i in range(99999) %}{{ 'aaaaaaaaaaaaaaaaaaaa' }}{% endfor %}", "the chat templ"),
        ("{{ messages.append(1) }}", "the chat template: "),
        ("{{ 1 / 0 }}", "the chat template: division by zero"),
        ("", "the prompt: the text is empty"),
    ],
)
def test_bad_templates(model: CompiledLanguageModel, template: str | None, message: str):
    with pytest.raises(DaqkfError, match=f"^{re.escape(message)}") as caught:
        chatting(model, template).chat("the")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("messages", [[], [{"role": "user"}], [{"role": "user", "content": 1}]])
def test_bad_conversations(model: CompiledLanguageModel, messages: Any):
    with pytest.raises(DaqkfError, match=r"the conversation is empty|a message has a 'role'"):
        chatting(model, CHAT).chat(messages)


def test_evaluation(model: CompiledLanguageModel, path: Path):
    text = f"the the 12é a\n{DOCUMENT_END}\nthe thé 1 2 12 a"
    source = load_language_model(path)
    dense = Engine(source.network(), source.config)
    found = model.evaluate(text, window=6, reference=dense)
    weights = random_weights(SMALL)
    losses: list[float] = []
    divergences: list[float] = []
    same: list[bool] = []
    for tokens in windows_of(model.text, text, 6):
        ours = np.exp(model.run(inputs_of(SMALL, tokens))["logits"][:-1].astype(np.float64))
        theirs = np.exp(logits_of(SMALL, weights, tokens)[:-1])
        for p, q, token in zip(ours, theirs, tokens[1:], strict=True):
            p, q = p / p.sum(), q / q.sum()
            losses.append(-np.log(p[token]))
            divergences.append((q * np.log(q / p)).sum())
            same.append(p.argmax() == q.argmax())
    assert found.tokens == len(losses) and found.window == 6
    assert found.perplexity == pytest.approx(np.exp(np.mean(losses)), rel=1e-4)
    assert found.kl == pytest.approx(np.mean(divergences), rel=1e-3)
    assert found.same_first == pytest.approx(np.mean(same))
    plain = model.evaluate(text, window=6)
    assert plain.kl is None and "kl" not in plain.facts()
    for bad, window, message in (
        ("", 6, "the text is empty"),
        ("a", 6, "the text has no two tokens that follow one another"),
        ("aa", 1, "a window has at least 2 tokens, not 1"),
    ):
        with pytest.raises(DaqkfError, match=message):
            model.evaluate(bad, window=window)


def test_folders_that_were_changed_are_refused(model: CompiledLanguageModel, tmp_path: Path):
    model.save(tmp_path)
    manifest, language = tmp_path / "network.json", tmp_path / "language.json"
    known, whole = manifest.read_text(), language.read_text()

    def refused(change: Callable[[dict[str, Any]], object], message: str) -> None:
        facts = json.loads(whole)
        change(facts)
        language.write_text(json.dumps(facts))
        text = json.loads(known)
        text["files"]["language.json"] = hashlib.sha256(language.read_bytes()).hexdigest()
        manifest.write_text(json.dumps(text))
        with pytest.raises(DaqkfError, match=re.escape(message)) as caught:
            daqkf.load(tmp_path)
        assert str(caught.value).startswith(str(tmp_path)) and "\n" not in str(caught.value)

    refused(lambda facts: facts["decoder"].pop("base"), "lacks 'decoder.base'")
    refused(lambda facts: facts["decoder"].update(base="x"), "'decoder.base' must be a number")
    refused(lambda facts: facts["decoder"].update(more=1), "'decoder.more' is not known")
    refused(lambda facts: facts["decoder"].update(heads=3), "3 heads do not share 2")
    refused(lambda facts: facts["decoder"].update(layers=1), "the network is not a decoder of")
    refused(lambda facts: facts["decoder"].update(vocabulary=9), "tokens up to 263, but the model")
    refused(lambda facts: facts["text"].update(ends=[9999]), "token 9999 is none of 264")
    refused(lambda facts: facts["text"].update(chat_template=5), "must be a text, not an integer")
    refused(lambda facts: facts.pop("text"), "lacks 'text'")
    manifest.write_text(known)
    with pytest.raises(DaqkfError, match=r"language.json: not as it was saved"):
        daqkf.load(tmp_path)
    language.write_text(whole)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(DaqkfError, match=r"tokenizer.json: No such file"):
        daqkf.load(tmp_path)
