# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Kernels that are pruned and rounded one after another, in small random decoders."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import SMALL, changed, fields_of, random_weights, write_gguf
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

import daqkf
from daqkf.compiler import pruning
from daqkf.compiler.language_models import inputs_of, load_language_model
from daqkf.compiler.network import quantize_network
from daqkf.compiler.options import NetworkOptions, level_set
from daqkf.compiler.outlining import outlined
from daqkf.compiler.pruning import is_sequential
from daqkf.dialects.nn import ElementwiseOp, MatmulOp
from daqkf.dialects.nn.decoders import CachedAttentionOp
from daqkf.dialects.spaq import LevelSet
from daqkf.lowering.frontends.decoder import LOGITS
from daqkf.passes.nn_row_scales import RowScales, take_weights, without_row_scales
from daqkf.passes.nn_scale import Scales, ranges_on, scales_of
from daqkf.passes.progress import Step
from daqkf.passes.quantize.accuracy import Divergence, NextToken
from daqkf.passes.quantize.distillation import distil
from daqkf.passes.quantize.levels import own_fit, own_levels
from daqkf.passes.quantize.network_pruning import kernel_shares, single_layers
from daqkf.passes.quantize.network_statistics import Batch, observe, outputs_of, sweep
from daqkf.passes.quantize.paired_inputs import PairedInputs
from daqkf.passes.quantize.pruning import dense_targets, magnitude_prune
from daqkf.passes.quantize.sequential import (
    FittedLayer,
    fit_layer,
    in_int8,
    quantize_sequentially,
)
from daqkf.passes.quantize.weights import bias_of, integer_weights, put_bias, replace_constant
from daqkf.support.errors import DaqkfError
from daqkf.support.kept import Kept

Array = NDArray[Any]
CONFIG = changed(SMALL, layers=2)
COARSE = LevelSet.of("uniform", 7, None)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return write_gguf(folder / "model.gguf", fields_of(CONFIG), random_weights(CONFIG))


def decoder(path: Path, **named: Any) -> ModuleOp:
    """A decoder whose products are kernels."""
    options = NetworkOptions(**named)
    network = load_language_model(path).network()
    scales = partial(_scales, texts(3))
    return outlined(network, options, scaling=scales)[0]


def _scales(inputs: list[Batch], module: ModuleOp, _: bool) -> Mapping[MatmulOp, Scales]:
    return scales_of(ranges_on(module, inputs))


def texts(seed: int, count: int = 12) -> list[Batch]:
    """Tokens of which each follows from the one before it, but for some: so features correlate."""
    rng = np.random.default_rng(seed)
    follows = np.random.default_rng(0).integers(0, CONFIG.vocabulary, CONFIG.vocabulary)
    found: list[Batch] = []
    for _ in range(count):
        tokens = rng.integers(0, CONFIG.vocabulary, 40)
        for at in range(1, 40):
            if rng.random() < 0.7:
                tokens[at] = follows[tokens[at - 1]]
        found.append(inputs_of(CONFIG, tokens))
    return found


def logits(network: ModuleOp, inputs: Sequence[Batch]) -> Array:
    return np.concatenate([outputs_of(network, batch)["logits"] for batch in inputs])


def each_by_itself(network: ModuleOp, inputs: Sequence[Batch], share: float) -> ModuleOp:
    """The same pruning and rounding, but of each kernel on what it reads in the dense network."""
    copy, layers = network.clone(), single_layers(network)
    others, read = single_layers(copy), dict[Any, PairedInputs]()
    for reached in sweep(network, inputs):
        name, value = reached.kernel.sym_name.data, reached.call.input
        if value not in read:
            rows = np.concatenate(reached.rows())
            read[value] = PairedInputs(rows.shape[1])
            read[value].add(rows, rows)
        fit_layer(layers[name], read[value], COARSE, share).into(others[name])
    return copy


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_errors_grow_less_than_where_kernels_are_rounded_by_themselves(path: Path, share: float):
    network, inputs, apart = decoder(path), texts(1, 40), texts(2)
    wanted = logits(network, apart)
    alone = each_by_itself(network, inputs, share)
    quantize_sequentially(network, inputs, COARSE, share)
    errors = [np.square(logits(made, apart) - wanted).mean() for made in (network, alone)]
    assert 0 < errors[0] < 0.9 * errors[1]
    for layer in single_layers(network).values():
        weights = layer.weights.array()
        assert np.mean(weights == 0) >= share
        assert bias_of(layer.matmul) is not None


def test_training_between_pruning_and_rounding(path: Path, monkeypatch: pytest.MonkeyPatch):
    inputs, model = texts(1, 8), load_language_model(path)
    lost: list[float] = []

    def trained(network: ModuleOp, dense: ModuleOp, *given: Any, **named: Any) -> None:
        wanted = logits(dense, inputs)
        lost.append(Divergence().of(logits(network, inputs), wanted))
        distil(network, dense, *given, **named, rate=3e-3)
        lost.append(Divergence().of(logits(network, inputs), wanted))

    monkeypatch.setattr(pruning, "distil", trained)
    options = NetworkOptions(
        sparsity=0.6, distillation=3, sequential=True, measure=NextToken(LOGITS)
    )
    assert isinstance(options.loss, Divergence)
    network = quantize_network(model.network(), options, calibration=inputs)
    assert 0 < lost[1] < 0.97 * lost[0]
    zeros = np.concatenate([levels.ravel() == 0 for levels in integer_weights([network])])
    assert zeros.mean() == pytest.approx(0.6, abs=0.02)


def test_moments_are_those_of_all_rows():
    rng = np.random.default_rng(4)
    dense = (rng.standard_normal((300, 6)) @ rng.standard_normal((6, 6)) + 3).astype(np.float32)
    now = (dense + 0.3 * rng.standard_normal((300, 6)) - 0.5).astype(np.float32)
    found = PairedInputs(6)
    for low in range(0, 300, 70):
        found.add(dense[low : low + 70], now[low : low + 70])
    x, y = dense.astype(np.float64), now.astype(np.float64)
    assert np.allclose(found.now.mean, y.mean(axis=0), atol=1e-5)
    assert np.allclose(found.now.covariance, np.cov(y.T, bias=True), atol=1e-4)
    weights, bias = rng.standard_normal((6, 4)), rng.standard_normal(4)
    p, q = x - x.mean(axis=0), y - y.mean(axis=0)
    expected = dense_targets(weights, q.T @ q / 300, q.T @ p / 300)
    assert np.allclose(found.target(weights, True), expected, atol=1e-4)
    expected = dense_targets(weights, y.T @ y / 300, y.T @ x / 300)
    assert np.allclose(found.target(weights, False), expected, atol=1e-4)
    other = weights + 0.1 * rng.standard_normal((6, 4))
    moved = found.bias(bias, weights, other)
    assert np.allclose((y @ other + moved).mean(axis=0), (x @ weights + bias).mean(axis=0))


def test_rows_may_count_more_than_others():
    rng = np.random.default_rng(6)
    dense = (rng.standard_normal((60, 5)) + 1).astype(np.float32)
    now = (dense + 0.3 * rng.standard_normal((60, 5))).astype(np.float32)
    often = rng.integers(1, 4, 60)
    found, repeated = PairedInputs(5), PairedInputs(5)
    scale = np.sqrt(often)[:, np.newaxis]
    for low in range(0, 60, 25):
        part = slice(low, low + 25)
        found.add(dense[part], now[part], scale[part])
    repeated.add(np.repeat(dense, often, axis=0), np.repeat(now, often, axis=0))
    weights, bias = rng.standard_normal((5, 3)), rng.standard_normal(3)
    assert found.count == pytest.approx(often.sum())
    for with_bias in (False, True):
        expected = repeated.target(weights, with_bias)
        assert np.allclose(found.target(weights, with_bias), expected, atol=1e-5)
    other = weights + 0.1
    expected = repeated.bias(bias, weights, other)
    assert np.allclose(found.bias(bias, weights, other), expected, atol=1e-5)


@pytest.mark.parametrize("given", [False, True])
def test_the_host_undoes_scales_of_rows_and_adds_the_biases(given: bool, path: Path):
    network, inputs = decoder(path, scale_rows=True), texts(1, 4)
    layers = single_layers(network).values()
    assert all(RowScales.of(layer.call) for layer in layers)
    plain = without_row_scales(network)
    assert not any(RowScales.of(layer.call) for layer in single_layers(plain).values())
    assert np.allclose(logits(plain, inputs), logits(network, inputs), atol=1e-4)
    if given:
        rng = np.random.default_rng(3)
        for layer in single_layers(plain).values():
            put_bias(layer.matmul, rng.standard_normal(layer.weights.array().shape[1], np.float32))
    else:
        quantize_sequentially(plain, inputs, COARSE, 0.5)
    take_weights(network, plain)
    assert np.allclose(logits(plain, inputs), logits(network, inputs), atol=1e-4)
    for layer in layers:
        scales = RowScales.of(layer.call)
        assert scales is not None and isinstance(
            scales.result.result.get_user_of_unique_use(), ElementwiseOp
        )


class Results(Kept):
    """Sees what is kept."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.made: list[Any] = []

    def inner(self, key: object) -> "Results":
        found = Results(super().inner(key)._folder)
        found.made = self.made
        return found

    def keep(self, key: object, result: object) -> None:
        super().keep(key, result)
        self.made.append(result)


@pytest.mark.parametrize(
    "levels",
    [
        "codebook-5-15",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("uniform-7", "binary", "int8")),
    ],
)
def test_compiled_kernels_have_exactly_the_levels_that_were_found(
    levels: str, path: Path, tmp_path: Path
):
    steps, inputs = Results(tmp_path), texts(1)
    options = NetworkOptions(levels=levels, sparsity=0.4, sequential=True, fuse=False, split=0)
    network = load_language_model(path).network()
    network = quantize_network(network, options, calibration=inputs, steps=steps)
    found = integer_weights([network])
    made = [result.levels for result in steps.made if isinstance(result, FittedLayer)]
    assert len(found) == len(made) == 7 * CONFIG.layers + 1
    assert {array.tobytes() for array in found} == {array.tobytes() for array in made}
    assert max(int(np.abs(array).max()) for array in made) == level_set(levels).maximum


def test_gated_and_merged_kernels_keep_their_levels(path: Path, tmp_path: Path):
    steps = Results(tmp_path)
    options = NetworkOptions(levels="uniform-7", sequential=True, scale_rows=True)
    network = load_language_model(path).network()
    found = integer_weights([quantize_network(network, options, calibration=texts(1), steps=steps)])
    made = [result.levels for result in steps.made if isinstance(result, FittedLayer)]
    columns = {column.tobytes() for array in made for column in array.T}
    assert sum(array.shape[1] for array in found) == sum(array.shape[1] for array in made)
    split = [array for array in found if array.shape[0] in (CONFIG.width, CONFIG.hidden)]
    assert split and all(column.tobytes() in columns for array in split for column in array.T)


def test_what_was_interrupted_goes_on(path: Path, tmp_path: Path):
    network, inputs = decoder(path), texts(1, 4)
    whole, again, third = (network.clone() for _ in range(3))
    quantize_sequentially(whole, inputs, COARSE, 0.5)

    def interrupt(step: str) -> None:
        if isinstance(step, Step) and step.number == 9:
            raise KeyboardInterrupt

    first = Results(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        quantize_sequentially(network, inputs, COARSE, 0.5, progress=interrupt, steps=first)
    assert len(first.made) == 8
    for module, count in ((again, 7), (third, 0)):
        steps, told = Results(tmp_path), list[str]()
        quantize_sequentially(module, inputs, COARSE, 0.5, progress=told.append, steps=steps)
        assert len(steps.made) == count and len(told) == 15
        assert module.is_structurally_equivalent(whole)
    other = Results(tmp_path)
    quantize_sequentially(decoder(path), inputs, COARSE, 0.25, steps=other)
    assert len(other.made) == 15


def test_kernels_that_matter_less_get_more_zeros(path: Path):
    inputs, model = texts(1, 8), load_language_model(path)
    options = NetworkOptions(sparsity=0.6, sequential=True, measure=NextToken(LOGITS))
    network = quantize_network(model.network(), options, calibration=inputs)
    levels = list(integer_weights([network]))
    assert np.mean(np.concatenate([each.ravel() == 0 for each in levels])) == pytest.approx(
        0.6, 0.02
    )
    shares = [np.mean(each == 0) for each in levels]
    assert max(shares) > min(shares) + 0.15
    # Of two decoders, the one with shares of their own is nearer to the dense one on other texts.
    equal, own = decoder(path), decoder(path)
    observed = observe(own, inputs, NextToken(LOGITS), Divergence(), rows=512, curvature=False)
    assert not observed.curvature
    quantize_sequentially(equal, inputs, None, 0.6)
    quantize_sequentially(own, inputs, None, kernel_shares(own, observed, 0.6))
    apart = texts(2)
    wanted = logits(decoder(path), apart)
    lost = [Divergence().of(logits(made, apart), wanted) for made in (own, equal)]
    assert 0 < lost[0] < 0.8 * lost[1]


def test_outputs_that_matter_more_keep_more(path: Path):
    network, inputs = decoder(path), texts(1, 8)
    reached = next(iter(sweep(network, inputs)))
    rows = np.concatenate(reached.rows())
    layer = single_layers(network)[reached.kernel.sym_name.data]
    weights = layer.weights.array()
    read = PairedInputs(rows.shape[1])
    read.add(rows, rows)
    matters = np.where(np.arange(weights.shape[1]) % 2, 100.0, 1.0)
    errors = [
        np.square(rows @ (fit_layer(layer, read, None, 0.5, each).weights() - weights)).mean(axis=0)
        for each in (None, matters)
    ]
    assert errors[1][1::2].sum() < 0.5 * errors[0][1::2].sum()
    assert errors[1][::2].sum() > 1.2 * errors[0][::2].sum()
    assert matters @ errors[1] < matters @ errors[0]


def test_zeros_of_a_file_stay(path: Path):
    network = decoder(path)
    layers = single_layers(network)
    for layer in layers.values():
        pruned = magnitude_prune(layer.weights.array(), 0.6)
        replace_constant(layer.weights, pruned, None)
    before = {name: layer.weights.array() != 0 for name, layer in single_layers(network).items()}
    quantize_sequentially(network, texts(1, 4), COARSE, 0.5)
    for name, layer in single_layers(network).items():
        assert not (layer.weights.array()[~before[name]] != 0).any()


def test_what_no_kernel_reads_is_not_computed(path: Path):
    network = decoder(path)
    attentions = [op for op in network.walk() if isinstance(op, CachedAttentionOp)]
    cached = {value for op in attentions for value in (op.present_keys, op.present_values)}
    assert len(cached) == 2 * CONFIG.layers
    runs: Any = None
    for reached in sweep(network, texts(1, 2)):
        runs = reached.runs
        assert reached.call.input in runs[0] and not cached & set(runs[0])
    # What the last kernel gives, the logits, is not there either.
    assert runs == [{}, {}]


def test_kernels_may_read_rows_in_int8(path: Path):
    rng = np.random.default_rng(5)
    rows = (rng.standard_normal((2, 9, 30)) * rng.uniform(0.01, 50, (2, 9, 1))).astype(np.float32)
    rows[0, 0] = 3
    found = in_int8(rows)
    step = (rows.max(axis=-1) - rows.min(axis=-1)) / 254
    assert (np.abs(found - rows).max(axis=-1) <= 0.501 * step + 1e-6).all()
    assert all(len(np.unique(row)) <= 255 for row in found.reshape(-1, 30))
    assert np.array_equal(found[0, 0], rows[0, 0])
    network, inputs = decoder(path), texts(1, 2)
    for plain, reached in zip(sweep(network, inputs), sweep(network, inputs, in_int8), strict=True):
        (exact, _), (read, _) = plain.rows(), reached.rows()
        assert all(len(np.unique(row)) <= 255 for row in read)
        assert 0 < np.abs(read - exact).max() < 0.2 * np.abs(exact).max()
    one, other = network.clone(), network.clone()
    quantize_sequentially(one, inputs, COARSE)
    quantize_sequentially(other, inputs, COARSE, int8=True)
    assert not one.is_structurally_equivalent(other)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"accuracy": 0.9}, "sequential does not go with accuracy, which needs all kernels"),
        ({"cycles": 9}, "sequential does not go with cycles"),
        ({"fallback": 20.0}, "sequential does not go with fallback"),
        ({"second_order": False}, "sequential rounding is of second order"),
        ({"calibration": None}, "second_order and sequential need calibration"),
    ],
)
def test_what_does_not_go_together_is_refused(named: dict[str, Any], message: str, path: Path):
    network = load_language_model(path).network()
    with pytest.raises(DaqkfError, match=message):
        daqkf.compile(network, sequential=True, **{"calibration": texts(1, 1), **named})


def test_large_networks_are_sequential_by_default(path: Path, monkeypatch: pytest.MonkeyPatch):
    network = decoder(path)
    assert not is_sequential(network, NetworkOptions(), keep=False)
    assert is_sequential(network, NetworkOptions(sequential=True), keep=False)
    monkeypatch.setattr(pruning, "_MOST_BYTES", 1 << 20)
    assert is_sequential(network, NetworkOptions(), keep=False)
    assert not is_sequential(network, NetworkOptions(), keep=True)
    others: list[dict[str, Any]] = [{"sequential": False}, {"cycles": 9}, {"second_order": False}]
    for named in others:
        assert not is_sequential(network, NetworkOptions(**named), keep=False)
    with pytest.raises(DaqkfError, match="requantize drops the file's"):
        is_sequential(network, NetworkOptions(sequential=True), keep=True)


@pytest.mark.parametrize("levels", ["uniform-15", "codebook-4-30", "ternary"])
def test_levels_are_found_in_weights_that_have_them(levels: str):
    rng, level_set_ = np.random.default_rng(7), level_set(levels)
    codes = rng.choice(np.arange(1, level_set_.maximum + 1), (level_set_.magnitudes, 6))
    codes[:, 5] = level_set_.maximum
    wanted = np.take_along_axis(codes, rng.integers(0, level_set_.magnitudes, (40, 6)), axis=0)
    wanted *= rng.integers(-1, 2, wanted.shape)
    wanted[:, 0] = 0
    scales = rng.uniform(1e-3, 2, 6)
    found = own_fit((wanted * scales).astype(np.float32), level_set_)
    assert found is not None
    assert np.array_equal(found.levels, own_levels(wanted, level_set_.maximum))
    assert np.allclose(found.levels * found.scales, wanted * scales, rtol=1e-6)
    assert own_fit(rng.standard_normal((40, 6)), level_set_) is None
