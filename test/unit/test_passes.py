# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Every pass is checked by running the IR before and after."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from xdsl.dialects.builtin import FunctionType, ModuleOp, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue
from xdsl.passes import PassPipeline
from xdsl.utils.exceptions import InterpretationError

from daqkf.dialects.dense import from_array
from daqkf.dialects.interpreting import run
from daqkf.dialects.rpea import ArrayOp, RunOp
from daqkf.dialects.spaq import (
    ActivationOp,
    ConstantOp,
    DequantizeOp,
    LevelSet,
    MatmulOp,
    QuantizeOp,
)
from daqkf.dialects.spaq.checks import features
from daqkf.dialects.spaq.ops import activations, defining_constant
from daqkf.hw_targets.functions import apply_function
from daqkf.lowering import PASSES as LOWERINGS
from daqkf.lowering.frontends.arrays import import_layer
from daqkf.passes import PASSES
from daqkf.passes.quantize.integer_layers import quantize_layer
from daqkf.passes.quantize.levels import Fit
from daqkf.passes.quantize.weights import float_products
from daqkf.passes.spaq_calibrate import calibrate
from daqkf.support.ir import make_context, module_text, parse_module

CONTEXT = make_context()
INTEGER_PASSES = (
    "dfke-fuse",
    "dfke-specialize-bitwidth",
    "dfke-schedule{target=tiny}",
    "lower-dfke-to-rpea",
)


def apply(module: ModuleOp, spec: str) -> None:
    PassPipeline.parse_spec(PASSES | LOWERINGS, spec).apply(CONTEXT, module)
    module.verify()


def layer(
    seed: int, features: int, channels: int, density: float, activation: str | None
) -> tuple[ModuleOp, NDArray[np.float32]]:
    """A random calibrated float layer and activations for it."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((features, channels)) * (
        rng.random((features, channels)) < density
    )
    bias = rng.standard_normal(channels) if seed % 2 else None
    x = rng.standard_normal((9, features)).astype(np.float32)
    module = import_layer(weights, bias, activation)
    calibrate(module, x)
    return module, x


@given(
    st.integers(0, 2**16),
    st.integers(1, 40),
    st.integers(1, 17),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    st.sampled_from([None, "relu", "gelu"]),
    st.sampled_from(
        ["", "{magnitudes=3 split=0.3}", "{magnitudes=3 split=0}", "{kind=codebook magnitudes=5}"]
    ),
)
@settings(max_examples=30)
def test_integer_passes_change_no_bit(
    seed: int, features: int, channels: int, density: float, activation: str | None, levels: str
):
    module, x = layer(seed, features, channels, density, activation)
    apply(module, f"spaq-analyze,spaq-quantize{levels}")
    expected = run(module, x)
    for spec in INTEGER_PASSES:
        apply(module, spec)
        assert np.array_equal(run(module, x), expected), spec
        again = parse_module(CONTEXT, module_text(module), "printed")
        assert np.array_equal(run(again, x), expected), f"printed after {spec}"


@pytest.mark.parametrize("activation", [None, "relu", "gelu", "silu", "tanh", "sigmoid"])
def test_quantisation_stays_close(activation: str | None):
    module, x = layer(3, 40, 16, 0.5, activation)
    real = run(module, x)
    apply(module, "spaq-analyze")
    assert np.array_equal(run(module, x), real)
    apply(module, "spaq-quantize")
    error = np.sqrt(((run(module, x) - real) ** 2).mean())
    assert error < 0.02 * np.abs(real).max()


def test_pruning_is_seen_by_the_interpreter():
    module, x = layer(5, 20, 6, 1.0, None)
    before = run(module, x)
    apply(module, "spaq-prune{sparsity=0.0}")
    assert np.array_equal(run(module, x), before)
    apply(module, "spaq-prune{sparsity=0.9}")
    assert not np.array_equal(run(module, x), before)


def test_tiny_weights_beside_a_large_bias_stay_representable():
    weights = np.array([[1.0, 1e-30, 0.0], [0.5, -2e-30, 0.0]])
    module = import_layer(weights, np.array([0.0, 5.0, -3.0]), None)
    x = np.array([[1.0, -1.0], [0.25, 0.5]], np.float32)
    calibrate(module, x)
    real = run(module, x)
    apply(module, "spaq-analyze,spaq-quantize," + ",".join(INTEGER_PASSES))
    assert np.abs(run(module, x) - real).max() < 0.05


def test_tiny_weights_of_a_channel_with_extra_outputs_stay_representable():
    # Channel 0 is all bias: its extra outputs begin far from what its weights reach.
    weights = np.tile([1e-30, 1.0, 0.5, -0.25], (3, 1))
    module = import_layer(weights, np.array([40.0, 0.0, 0.0, 0.0]), "relu")
    x = np.random.default_rng(2).standard_normal((20, 3)).astype(np.float32)
    calibrate(module, x)
    real = run(module, x)
    apply(module, "spaq-analyze,spaq-quantize{split=0.8}")
    (dequantize,) = (op for op in module.walk() if isinstance(op, DequantizeOp))
    assert set(dequantize.columns()) == {0}
    apply(module, ",".join(INTEGER_PASSES))
    assert np.abs(run(module, x) - real).max() < 0.15


def test_an_overflow_is_an_error_not_a_wrong_number():
    text = """
    func.func @f(%x: tensor<?x2xi8>) -> tensor<?x1xi8> {
      %w = spaq.constant dense<127> : tensor<2x1xi8>
      %0 = spaq.matmul %x, %w : (tensor<?x2xi8>, tensor<2x1xi8>) -> tensor<?x1xi15>
      %1 = spaq.requantize %0 multiplier dense<1> : tensor<1xi32> shift dense<1> : tensor<1xi32>
        : tensor<?x1xi15> -> tensor<?x1xi8>
      func.return %1 : tensor<?x1xi8>
    }"""
    module = parse_module(CONTEXT, text, "test")
    run(module, np.full((1, 2), 60, np.int8))
    with pytest.raises(InterpretationError, match="a sum needs 16 bits, but its type is i15"):
        run(module, np.full((1, 2), 127, np.int8))


def network(
    rng: np.random.Generator, widths: tuple[int, ...], activation: str, outliers: bool = False
) -> ModuleOp:
    """Random float layers without biases, each with an activation; some channels stand out."""
    block = Block(arg_types=[activations(widths[0], f32)])
    value: SSAValue = block.args[0]
    for inputs, channels in pairwise(widths):
        matrix = rng.standard_normal((inputs, channels))
        if outliers:
            matrix[:, :: channels // 2] *= 6
        weights = ConstantOp(from_array(matrix, f32))
        product = MatmulOp(value, weights.result, activations(channels, f32))
        result = ActivationOp(activation, product.result)
        block.add_ops([weights, product, result])
        value = result.result
    block.add_op(ReturnOp(value))
    kind = FunctionType.from_lists(list(block.arg_types), [value.type])
    return ModuleOp([FuncOp("network", kind, Region(block))])


def test_two_layers_run_on_one_array():
    rng = np.random.default_rng(8)
    x = rng.standard_normal((6, 12)).astype(np.float32)
    module = network(rng, (12, 10, 4), "relu")
    calibrate(module, x)
    real = run(module, x)
    apply(module, "spaq-analyze,spaq-quantize")
    expected = run(module, x)
    assert np.sqrt(((expected - real) ** 2).mean()) < 0.03 * np.abs(real).max()
    apply(module, ",".join(INTEGER_PASSES))
    assert np.array_equal(run(module, x), expected)
    assert sum(isinstance(op, RunOp) for op in module.walk()) == 2
    assert sum(isinstance(op, ArrayOp) for op in module.walk()) == 1


def relative_error(module: ModuleOp, x: NDArray[np.float32], real: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(run(module, x) - real) / np.linalg.norm(real))


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
def test_split_columns_go_from_layer_to_layer(activation: str):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((40, 20)).astype(np.float32)
    x[:, 3] *= 30
    module = network(rng, (20, 16, 8), activation, outliers=True)
    calibrate(module, x)
    real = run(module, x)
    single = module.clone()
    apply(single, "spaq-quantize{split=0}")
    apply(module, "spaq-quantize{split=0.3}")

    quantize, dequantize = (
        [op for op in module.walk() if isinstance(op, kind)] for kind in (QuantizeOp, DequantizeOp)
    )
    assert len(quantize) == len(dequantize) == 1, "between the layers the integers stay"
    first, second = (op for op in module.walk() if isinstance(op, MatmulOp))
    assert features(first.result) == features(second.input) > 16
    weights = defining_constant(second.weights)
    assert weights is not None
    table = next(op for op in module.walk() if isinstance(op, ActivationOp))
    assert table.result is second.input
    # Each extra output repeats a channel, and the next layer repeats that channel's weights.
    levels, following = defining_constant(first.weights), weights.array()
    assert levels is not None
    for column in range(16, features(first.result)):
        same = (levels.array()[:, :16] == levels.array()[:, [column]]).all(axis=0)
        assert (following[np.flatnonzero(same)] == following[column]).all(axis=1).any()

    error = relative_error(module, x, real)
    assert error < 0.5 * relative_error(single, x, real)
    expected = run(module, x)
    for spec in INTEGER_PASSES:
        apply(module, spec)
        assert np.array_equal(run(module, x), expected), spec


def test_a_scale_for_each_channel():
    rng = np.random.default_rng(6)
    x = rng.standard_normal((50, 20)).astype(np.float32)
    module = import_layer(rng.standard_normal((20, 12)) * 10.0 ** np.arange(-6, 6), None, None)
    calibrate(module, x)
    real = run(module, x)
    apply(module, "spaq-quantize")
    error = np.sqrt(((run(module, x) - real) ** 2).mean(axis=0)) / np.abs(real).max(axis=0)
    assert error[-2:].max() < 0.01
    # A channel far below the others is not resolved further than 127 · 127 steps of theirs.
    dequantize = next(op for op in module.walk() if isinstance(op, DequantizeOp))
    scales = np.asarray(dequantize.scales())
    assert np.allclose(scales[:-2], scales[-1] / 127, rtol=0.5)


def test_a_fit_of_ones_own_and_a_new_bias():
    rng = np.random.default_rng(7)
    x = rng.standard_normal((50, 30)).astype(np.float32)
    x[:, 2] *= 20
    module = import_layer(rng.standard_normal((30, 6)), None, "gelu")
    calibrate(module, x)
    ((matmul, constant),) = float_products(module)
    fit = Fit(
        np.ones((30, 6), np.int8), np.full(6, 0.5), np.ones((1, 6), np.int64), np.zeros((1, 6))
    )
    bias = np.linspace(-1, 1, 6)
    quantize_layer(matmul, constant, LevelSet.of("uniform", 1), fit, split=0.2, bias=bias)
    module.verify()
    expected = apply_function("gelu", x @ np.full((30, 6), 0.5) + bias)
    near = np.abs(expected) < 0.9 * np.abs(expected).max()
    assert np.abs(run(module, x) - expected)[near].max() < 0.05 * np.abs(expected).max()
