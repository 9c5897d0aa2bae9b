# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What passes learn from samples, checked by running the IR before and after."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from daqkf.dialects.interpreting import run
from daqkf.dialects.spaq import AddOp
from daqkf.dialects.spaq.ops import defining_constant
from daqkf.lowering.frontends.arrays import import_layer
from daqkf.passes.encode import running_sum
from daqkf.passes.quantize.input_statistics import InputStatistics
from daqkf.passes.quantize.samples import input_statistics, load_samples
from daqkf.passes.quantize.weights import float_products, products
from daqkf.passes.spaq_calibrate import calibrate
from daqkf.passes.spaq_prune import prune
from daqkf.passes.spaq_quantize import SpaqQuantizePass
from daqkf.support.ir import make_context, parse_module

TWO_LAYERS = """
func.func @two(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %v = spaq.constant dense<[[1.0, -1.0, 0.5], [2.0, 0.25, -3.0]]> : tensor<2x3xf32>
  %0 = spaq.matmul %x, %v : (tensor<?x2xf32>, tensor<2x3xf32>) -> tensor<?x3xf32>
  %1 = spaq.activation "relu" %0 : tensor<?x3xf32> -> tensor<?x3xf32>
  %w = spaq.constant dense<[[1.0], [2.0], [3.0]]> : tensor<3x1xf32>
  %2 = spaq.matmul %1, %w : (tensor<?x3xf32>, tensor<3x1xf32>) -> tensor<?x1xf32>
  func.return %2 : tensor<?x1xf32>
}"""


def correlated(seed: int, tokens: int = 200, features: int = 24) -> NDArray[np.float32]:
    """Activations with a mean, whose features go together."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((tokens, 6)) @ rng.standard_normal((6, features))
    own = 0.3 * rng.standard_normal((tokens, features))
    return (mixed + own + rng.standard_normal(features)).astype(np.float32)


def layer(bias: bool) -> tuple[ModuleOp, NDArray[np.float32]]:
    rng = np.random.default_rng(5)
    weights = rng.standard_normal((24, 10))
    return import_layer(weights, rng.standard_normal(10) if bias else None), correlated(6)


def error(module: ModuleOp, x: NDArray[np.float32], real: NDArray) -> float:
    """The squared error of the outputs, as a share of their energy."""
    return float(((run(module, x) - real) ** 2).sum() / (real**2).sum())


def test_each_product_sees_its_own_input():
    module = parse_module(make_context(), TWO_LAYERS, "test")
    x = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)
    found = input_statistics(module, x)
    (first, weights), (second, _) = products(module)
    assert set(found) == {first, second}
    for matmul, seen in ((first, x), (second, np.maximum(x @ weights.array(), 0))):
        expected = InputStatistics.of(seen)
        assert np.allclose(found[matmul].mean, expected.mean, atol=1e-6)
        assert np.allclose(found[matmul].covariance, expected.covariance, atol=1e-5)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.ones((2, 3)), r"samples: an array of shape \(2, 3\) is not a tensor<\?x2xf32>"),
        (np.ones(2), r"samples must be numbers \[T, K\], not float64 \(2,\)"),
        (np.ones((0, 2)), r"samples must be numbers \[T, K\], not float64 \(0, 2\)"),
        (np.array([["a", "b"]]), r"samples must be numbers \[T, K\], not <U1"),
        (np.array([[1.0, 2.0], [1.0, np.inf]]), r"sample \[1, 1\] is inf"),
    ],
)
def test_samples_that_do_not_fit_are_named(samples: NDArray, message: str):
    module = parse_module(make_context(), TWO_LAYERS, "test")
    for use in (input_statistics, lambda module, x: prune(module, 0.5, x)):
        with pytest.raises(ValueError, match=message):
            use(module, samples)


def test_files_of_samples_that_cannot_be_read_are_named(tmp_path: Path):
    empty, archive, text = tmp_path / "e.npy", tmp_path / "a.npz", tmp_path / "t.npy"
    empty.touch()
    np.savez(archive, x=np.ones((2, 2)))
    text.write_text("no array")
    for path, message in (
        (empty, r"e\.npy: not readable as samples in \.npy format \(it does not begin"),
        (archive, r"a\.npz: not readable as samples in \.npy format \(it does not begin"),
        (text, r"t\.npy: not readable as samples in \.npy format \(it does not begin"),
    ):
        with pytest.raises(ValueError, match=message):
            load_samples(str(path))
    with pytest.raises(FileNotFoundError):
        load_samples(str(tmp_path / "nowhere.npy"))


@pytest.mark.parametrize("bias", [False, True])
def test_pruning_with_samples_changes_the_outputs_less(bias: bool):
    module, x = layer(bias)
    real = run(module, x)
    by_magnitude, by_samples = module.clone(), module.clone()
    prune(by_magnitude, 0.6)
    prune(by_samples, 0.6, x)
    for pruned in (by_magnitude, by_samples):
        ((_, constant),) = float_products(pruned)
        assert np.count_nonzero(constant.array()) == 96
    assert error(by_samples, x, real) < 0.5 * error(by_magnitude, x, real)


def test_pruning_shifts_the_bias_by_what_the_mean_loses():
    module, x = layer(bias=True)
    real = run(module, x)
    prune(module, 0.6, x)
    (add,) = (op for op in module.walk() if isinstance(op, AddOp))
    assert defining_constant(add.bias) is not None
    assert np.allclose(run(module, x).mean(axis=0), real.mean(axis=0), atol=1e-3)


@pytest.mark.parametrize("levels", [("uniform", 3), ("codebook", 3), ("ternary", 1), ("binary", 1)])
@pytest.mark.parametrize("bias", [False, True])
def test_rounding_with_samples_changes_the_outputs_less(levels: tuple[str, int], bias: bool):
    module, x = layer(bias)
    prune(module, 0.3, x)
    real = run(module, x)
    calibrate(module, x)
    nearest, compensated = module.clone(), module.clone()
    quantize = SpaqQuantizePass(*levels)
    quantize.quantize(nearest)
    quantize.quantize(compensated, x)
    for quantized in (nearest, compensated):
        quantized.verify()
    assert error(compensated, x, real) < 0.8 * error(nearest, x, real)


def test_an_accuracy_is_kept_at_fewer_words_the_lower_it_is():
    module, x = layer(bias=True)
    # The mean of the outputs costs nothing: what is promised is about their variation.
    real = run(module, x)
    energy = float(((real - real.mean(axis=0)) ** 2).sum() / (real**2).sum())
    calibrate(module, x)
    words: list[int] = []
    for decibels in (12, 25):
        copy = module.clone()
        SpaqQuantizePass(accuracy=f"{decibels}dB").quantize(copy, x)
        copy.verify()
        allowed = 10 ** (-decibels / 10) * energy
        assert 0.5 * allowed < error(copy, x, real) < 1.3 * allowed
        ((_, constant),) = products(copy)
        words.append(int(running_sum.cost(constant.array(), 3).sum()))
    assert words[0] < words[1]


def test_words_are_kept_and_a_tight_budget_is_met_with_more_noise():
    module, x = layer(bias=True)
    calibrate(module, x)
    for words in (400, 100, 80):
        copy = module.clone()
        SpaqQuantizePass(words=words, split=0).quantize(copy, x)
        ((_, constant),) = products(copy)
        assert 0.9 * min(words, 250) < running_sum.cost(constant.array(), 3).sum() <= words


def test_samples_change_nothing_of_exact_levels():
    levels = np.random.default_rng(1).integers(-3, 4, (24, 5))
    module, x = import_layer(levels), correlated(2)
    calibrate(module, x)
    SpaqQuantizePass(magnitudes=3, exact=True, split=0).quantize(module, x)
    ((_, constant),) = products(module)
    assert np.array_equal(constant.array(), levels)
    assert not any(isinstance(op, AddOp) for op in module.walk())


@pytest.mark.parametrize(
    ("options", "samples", "message"),
    [
        ({"accuracy": 0.99}, False, "give accuracy or words, one of them, with samples"),
        ({"words": 99}, False, "give accuracy or words, one of them, with samples"),
        ({"words": 99, "accuracy": 0.9}, True, "give accuracy or words, one of them"),
        ({"words": 99, "exact": True}, True, "with samples and float weights"),
        ({"accuracy": "200dB"}, True, r"the least loss that can be had is [\d.e-]+, not 1e-20"),
        ({"accuracy": "fine"}, True, "must be a cosine below 1 or like 25dB, not 'fine'"),
        ({"words": 9}, True, "the least stream words that can be had is [0-9]+, not 9"),
    ],
)
def test_options_that_cannot_be_met_are_named(
    options: dict[str, float | str], samples: bool, message: str
):
    module, x = layer(bias=False)
    calibrate(module, x)
    before = str(module)
    with pytest.raises(ValueError, match=message):
        SpaqQuantizePass(**options).quantize(module, x if samples else None)  # pyright: ignore
    assert str(module) == before
