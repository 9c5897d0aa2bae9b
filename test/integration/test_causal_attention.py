# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Attention of decoders on the array: causal, of grouped queries, behind what was read before."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from language_models import (
    SMALL,
    changed,
    fields_of,
    logits_of,
    random_weights,
    smollm2_or_skip,
    write_gguf,
)
from numpy.typing import NDArray

import daqkf
from daqkf.cli.main import main
from daqkf.compiler.compiled_language_model import CompiledLanguageModel
from daqkf.compiler.decoding import Engine
from daqkf.compiler.language_models import (
    compile_language_model,
    inputs_of,
    load_language_model,
)
from daqkf.compiler.products import attention_image, attention_requirement
from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn import CausalAttentionOp
from daqkf.dialects.nn.decoders import CachedOperation
from daqkf.dialects.nn.interpreter import NnFunctions, attend_causally
from daqkf.dialects.rpea import ArrayOp, ChainOp, SoftmaxOp
from daqkf.dialects.rpea.interpreter import run_chain
from daqkf.hw_targets import load_target
from daqkf.lowering.conversions.config_sizing import shared_config
from daqkf.lowering.conversions.separate_columns import SeparateColumns
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.disassemble import import_program
from daqkf.lowering.image.encode import playable
from daqkf.lowering.rtl.array import build_array
from daqkf.passes.nn_attention import quantize_attention
from daqkf.passes.nn_product import in_order
from daqkf.runtime.accelerators import SimulatedArray
from daqkf.runtime.simulator import Job, Simulator
from daqkf.support.errors import DaqkfError

TARGET = str(Path(__file__).parents[1] / "passes" / "targets" / "decodes.toml")
MOST = 24
TEXT = "the 12 a the café. " * 12
GROUPED = changed(SMALL, heads=6, groups=2, features=4, layers=1, width=16, hidden=16)
"""Three heads of queries for each of keys and values: as many as are no power of two."""


@cache
def compiled(grouped: bool = False, levels: int = 127) -> CompiledLanguageModel:
    config = GROUPED if grouped else SMALL
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.gguf")
        write_gguf(path, fields_of(config), random_weights(config))
        return compile_language_model(
            path,
            calibration=[inputs_of(config, tokens(seed, MOST)) for seed in range(100, 104)],
            levels="int8",
            target=TARGET,
            products=True,
            attention_levels=levels,
            host_cycles=1000.0,
            max_tokens=MOST,
        )


def tokens(seed: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, SMALL.vocabulary, count)


def read(engine: Engine, text: NDArray[np.int64], cuts: Sequence[int]) -> NDArray[np.float32]:
    """The logits of all tokens, which are read in parts."""
    decoder = engine.decoder()
    return np.concatenate([decoder.read(part) for part in np.split(text, cuts)])


def ops_of(model: CompiledLanguageModel) -> list[CausalAttentionOp]:
    return [op for op in model.network.walk() if isinstance(op, CausalAttentionOp)]


@pytest.mark.parametrize("grouped", [False, True])
def test_attention_of_decoders_is_the_arrays(grouped: bool):
    model, config = compiled(grouped), GROUPED if grouped else SMALL
    assert model.summary()["attentions"] == config.layers
    assert "cached_attention" not in [row["does"] for row in model.left()]
    assert model.config.causal
    text = tokens(3, 20)
    expected = logits_of(config, random_weights(config), text)
    error = np.linalg.norm(read(model.engine(), text, []) - expected) / np.linalg.norm(expected)
    assert error < 0.12


def test_fewer_levels_are_further_from_the_float_network():
    text, weights = tokens(3, 20), random_weights(GROUPED)
    expected = logits_of(GROUPED, weights, text)
    errors = [
        np.linalg.norm(read(compiled(True, levels).engine(), text, []) - expected)
        for levels in (127, 3)
    ]
    assert errors[1] > 1.5 * errors[0]


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("cuts", [[19], [1, 2, 3], list(range(1, 20))])
def test_tokens_mean_the_same_however_they_are_read(grouped: bool, cuts: list[int]):
    model, text = compiled(grouped), tokens(4, 20)
    whole, parts = (read(model.engine(), text, each) for each in ([], cuts))
    # Attention is exact; what the host computes of several rows at once may round otherwise.
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_the_network_by_itself_does_as_a_decoder_does():
    model, text = compiled(True), tokens(5, 9)
    found = model.run(inputs_of(GROUPED, text))
    np.testing.assert_allclose(found["logits"], read(model.engine(), text, [4]), atol=1e-5)
    # What it gives as the past are the floats that it was given, which are rounded again.
    past = {name.replace("present", "past"): x for name, x in found.items() if name != "logits"}
    step = {"tokens": text[:1], "positions": np.array([9]), **past}
    again = read(model.engine(), np.append(text, text[0]), [9])[-1:]
    np.testing.assert_allclose(model.run(step)["logits"], again, atol=1e-5)


def test_integers_are_the_formula():
    """Each query by itself, over the keys that it sees."""
    (op,) = ops_of(compiled(True))
    rng = np.random.default_rng(6)
    keys, values = (rng.integers(-127, 128, (7, 2, 4)).astype(np.int8) for _ in range(2))
    queries = rng.integers(-128, 128, (2 * 3, 8)).astype(np.int8)
    y = op.integers(queries, op.operands_of(keys, values, 2))
    factors, table = op.factors(), op.exponentials()

    def scaled(value: int, name: str, group: int) -> int:
        part = factors[name]
        multiplier, shift = int(part.multipliers[group]), int(part.shifts[group])
        return min(max((value * multiplier + (1 << (shift - 1))) >> shift, -128), 127)

    for number, row in enumerate(queries.astype(int)):
        seen = 5 + number // 3 + 1
        for group in range(2):
            own = slice(4 * group, 4 * group + 4)
            scores = [
                scaled(int(row[own] @ key), "scores", group)
                for key in keys[:seen, group].astype(int)
            ]
            e = [int(table[max(score - max(scores) + 127, -128)]) for score in scores]
            total = max(sum(e), 1)
            k = next(k for k in range(64) if (64 << k) // total >= 1 << 11)
            shares = [(value << 4) * ((64 << k) // total) >> max(k - 6, 0) for value in e]
            shares = [scaled(share, "shares", group) for share in shares]
            sums = np.array(shares) @ values[:seen, group].astype(int)
            found = [scaled(int(total), "results", group) for total in sums]
            assert found == y[number, own].tolist()


@pytest.mark.parametrize(("past", "count"), [(0, 1), (0, 9), (8, 1), (5, 4)])
def test_the_program_is_the_exact_integers(past: int, count: int):
    model = compiled(True)
    (op,) = ops_of(model)
    rng = np.random.default_rng(past)
    keys, values = (rng.integers(-127, 128, (past + count, 2, 4)).astype(np.int8) for _ in "kv")
    operands = op.operands_of(keys, values, count)
    queries = rng.integers(-128, 128, (3 * count, 8)).astype(np.int8)
    array = next(found for found in model.arrays.ops if isinstance(found, ArrayOp))
    for columns in (None, SeparateColumns(model.config)):
        machine = load_target(TARGET).machine
        image = attention_image(op, operands, model.config, machine, columns)
        chain = playable(import_program(image, array))[-1]
        assert isinstance(chain, ChainOp)
        (shares,) = [kernel for kernel in chain.kernels() if isinstance(kernel, SoftmaxOp)]
        assert shares.seen == (3, 3 * past)
        np.testing.assert_array_equal(run_chain(chain, queries), op.integers(queries, operands))


def test_the_words_of_keys_are_made_once():
    model = compiled(True)
    (op,) = ops_of(model)
    rng, columns = np.random.default_rng(0), SeparateColumns(model.config)
    keys, values = (rng.integers(-127, 128, (9, 2, 4)).astype(np.int8) for _ in "kv")
    made: list[int] = []
    for count, new in ((6, 6), (7, 1), (8, 1), (9, 1)):
        operands = op.operands_of(keys[:count], values[:count], new)
        attention_image(op, operands, model.config, load_target(TARGET).machine, columns)
        made.append(columns.made)
    # Two heads of keys for each new token, and all eight channels of values.
    assert made == [2 * 6 + 8, 2 * 7 + 16, 2 * 8 + 24, 2 * 9 + 32]


def test_a_target_that_cannot_hold_a_text_says_so():
    ops, machine = ops_of(compiled(True)), load_target(TARGET).machine
    with pytest.raises(ValueError, match="words of a PE; the target holds at most 1024: fewer"):
        attention_requirement(ops, MOST, replace(machine, stream_depth=1024))
    with pytest.raises(ValueError, match="the target has no unit for such a softmax"):
        attention_requirement(ops, MOST, replace(machine, causal=False))


@pytest.mark.parametrize("stalls", [0.0, 0.4])
def test_the_rtl_reads_a_prompt_and_goes_on_bit_for_bit(stalls: float):
    model, text = compiled(True), tokens(8, 7)
    device = SimulatedArray(model.simulated.simulator, stalls=stalls)
    engine = model.engine(device, check=True)
    found = read(engine, text, [4, 5, 6])
    np.testing.assert_array_equal(found, read(model.engine(), text, [4, 5, 6]))


@pytest.mark.slow
def test_the_rtl_writes_what_the_fast_model_does():
    model = compiled()
    whole = list(model.generate_together(["the 12", "a"], tokens=4))
    rtl = model.engine("rtl", check=True)
    assert list(model.generate_together(["the 12", "a"], tokens=4, engine=rtl)) == whole


@pytest.mark.slow
def test_attention_of_a_layer_of_smollm2_in_rtl():
    """Nine tokens at once, and one that follows, on an array with many lanes."""
    path = smollm2_or_skip()
    model = load_language_model(path)
    network, machine = model.network(), load_target("wide-norm").machine
    text = model.text().encode("The capital of France is Paris, and that of Italy")
    inputs = inputs_of(model.config, np.array(text[:10]))
    quantize_attention(network, inputs, machine, np.inf, 31, 16)
    found: list[tuple[CausalAttentionOp, tuple[NDArray[np.float32], ...]]] = []

    def attended(op: CachedOperation, *args: NDArray[np.float32]) -> tuple[Any, ...]:
        assert isinstance(op, CausalAttentionOp)
        found.append((op, args))
        return attend_causally(op, lambda op, *rest: op.integers(*rest), *args)

    function, host = entry(network), NnFunctions(cached=attended)
    call(network, function, in_order(function, inputs), host=host)
    op, (queries, keys, values, *_) = found[0]
    config = shared_config(attention_requirement([op], 16, machine))
    columns, levels = SeparateColumns(config), (op.key_levels(keys), op.value_levels(values))
    simulator = Simulator.verilated(emit_verilog(circuit_module(build_array(config))), config)
    for new in (slice(0, 9), slice(9, 10)):
        rows = op.rows_of(queries[new])
        known = [part[: new.stop] for part in levels]
        operands = op.operands_of(known[0], known[1], new.stop - new.start)
        image = attention_image(op, operands, config, machine, columns)
        (trace,) = simulator.trace([Job(image, rows, rows.shape[1])], stalls=0.2, seed=1)
        np.testing.assert_array_equal(trace.y, op.integers(rows, operands))
        assert len(np.unique(trace.y)) > 40


def test_texts_have_caches_of_their_own():
    model = compiled(True)
    engine, texts = model.engine(), [tokens(seed, 6) for seed in range(3)]
    decoders = [engine.decoder() for _ in texts]
    first = engine.read(decoders, [text[:4] for text in texts])
    second = engine.read(decoders, [text[4:] for text in texts])
    for text, *parts in zip(texts, first, second, strict=True):
        alone = read(model.engine(), text, [4])
        np.testing.assert_allclose(np.concatenate(parts), alone, atol=1e-5)


def test_longer_texts_than_there_is_room_for_are_refused():
    engine = compiled(True).engine()
    with pytest.raises(DaqkfError, match="25 tokens are more than attention was compiled for"):
        engine.decoder().read(tokens(1, MOST + 1))


def test_folders_keep_it(tmp_path: Path):
    model, text = compiled(True), tokens(7, 6)
    model.save(tmp_path / "model")
    again = daqkf.load(tmp_path / "model")
    assert isinstance(again, CompiledLanguageModel)
    np.testing.assert_array_equal(read(again.engine(), text, [3]), read(model.engine(), text, [3]))
    with pytest.raises(DaqkfError, match="which is 24 "):
        again.engine().decoder().read(tokens(1, MOST + 1))


def test_the_command_says_what_stays_with_the_host(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = write_gguf(tmp_path / "model.gguf", fields_of(GROUPED), random_weights(GROUPED))
    options = ["--products", "--max-tokens", "24", "--attention-levels", "63", "--levels", "int8"]
    (tmp_path / "text.txt").write_text(TEXT)
    options += ["--calibration", str(tmp_path / "text.txt"), "-o", str(tmp_path / "out")]
    target = str(Path(TARGET).with_name("attends.toml"))
    assert main(["compile", str(path), *options, "--target", target]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "the target has no unit for a softmax that is causal" in words
