# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Networks whose residuals and normalisations are the array's."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from nn_networks import Builder, found, programs_and_integers, results, transformed
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.network import compile_network
from daqkf.dialects.interpreting import entry
from daqkf.dialects.nn import LayerNormOp, RmsNormOp
from daqkf.dialects.rpea import ChainOp, NormalizationOp
from daqkf.dialects.spaq import GatherOp, LevelSet
from daqkf.hw_targets import load_target
from daqkf.hw_targets.timing import normalization_cycles
from daqkf.runtime.accelerators import SimulatedArray

TARGET = str(Path(__file__).parents[1] / "passes" / "targets" / "rows.toml")
WIDTH, HIDDEN = 10, 16
EPSILON = 1e-5


def tail(*, second: bool = True) -> ModuleOp:
    """What follows the attention in an encoder's layer: of its context and of the layer's input."""
    rng = np.random.default_rng(5)
    b = Builder((40, HIDDEN), (40, WIDTH))
    context, x = b.inputs

    def weights(*shape: int) -> NDArray[np.float32]:
        return (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)

    def normalized(value: SSAValue, residual: SSAValue, signed: int) -> SSAValue:
        # A sign of γ is the host's, and ends a chain.
        signs = np.where(np.arange(WIDTH) == signed, -1, 1)
        gamma = b.constant(rng.uniform(0.5, 2.0, WIDTH) * signs)
        beta = b.constant(rng.standard_normal(WIDTH) / 4)
        return b.add(LayerNormOp(b.apply("add", value, residual), gamma, beta, 1e-12))

    bias = rng.standard_normal(WIDTH).astype(np.float32)
    y = normalized(b.layer(context, weights(HIDDEN, WIDTH), bias, None), x, -1)
    if second:
        inner = b.layer(y, weights(WIDTH, HIDDEN), None, "gelu")
        y = normalized(b.layer(inner, weights(HIDDEN, WIDTH), bias, None), y, 2)
    return b.module(y)


def block() -> ModuleOp:
    """A feed-forward block: what is added is what the chain reads."""
    rng = np.random.default_rng(6)
    b = Builder((40, WIDTH))
    (x,) = b.inputs
    shapes = (WIDTH, HIDDEN), (HIDDEN, WIDTH)
    up, down = (rng.standard_normal(shape).astype(np.float32) / 4 for shape in shapes)
    inner = b.layer(b.layer(x, up, None, "relu"), down, None, None)
    ones, zeros = b.constant(np.ones(WIDTH)), b.constant(np.zeros(WIDTH))
    return b.module(b.add(LayerNormOp(b.apply("add", x, inner), ones, zeros, 1e-5)))


def decoder_tail() -> ModuleOp:
    """What follows the attention in a small decoder of text: its projection and the residual,
    normalised by the root mean square, and a layer behind. Their squares are as small as ε."""
    rng = np.random.default_rng(7)
    b = Builder((40, HIDDEN), (40, WIDTH))
    context, x = b.inputs
    shapes = (HIDDEN, WIDTH), (WIDTH, HIDDEN)
    out, up = (rng.standard_normal(shape).astype(np.float32) / 4 for shape in shapes)
    gamma = b.constant(rng.uniform(0.5, 2.0, WIDTH))
    hidden = b.apply("add", x, b.layer(context, out, None, None))
    return b.module(b.layer(b.add(RmsNormOp(hidden, gamma, EPSILON)), up, None, None))


def decoder_inputs() -> dict[str, NDArray[np.float32]]:
    rows = inputs(1)
    # Rows of different magnitudes, and a mean, which is not subtracted.
    size = np.geomspace(1, 8, 40, dtype=np.float32)[:, np.newaxis]
    return {name: ((x + 0.5) * size / 2000).astype(np.float32) for name, x in rows.items()}


def inputs(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((40, WIDTH))
    # Channels of a large range, as transformers have them.
    x[:, 3] *= 6
    context = rng.standard_normal((40, HIDDEN))
    return {"input0": context.astype(np.float32), "input1": x.astype(np.float32)}


@cache
def compiled(second: bool = True, host_cycles: float = 100.0) -> CompiledNetwork:
    return compile_network(
        tail(second=second),
        calibration=inputs(),
        levels=LevelSet.of("uniform", 127),
        target=TARGET,
        split=0.1,
        host_cycles=host_cycles,
    )


@cache
def compiled_decoder() -> CompiledNetwork:
    return compile_network(
        decoder_tail(),
        calibration=decoder_inputs(),
        levels=LevelSet.of("uniform", 127),
        target=TARGET,
        split=0.1,
        host_cycles=100.0,
    )


@pytest.mark.parametrize(
    "module", [tail(), block(), decoder_tail()], ids=["tail", "block", "decoder"]
)
def test_the_pass_changes_no_result(module: ModuleOp):
    spec = f'nn-outline,nn-chain,nn-normalize{{target="{TARGET}" host-cycles=100.0}},nn-chain'
    x = inputs() if len(entry(module).args) == 2 else {"input0": inputs()["input1"]}
    normalized = transformed(module, spec)
    assert not found(normalized, LayerNormOp, RmsNormOp)
    for one, other in zip(
        results(normalized, *x.values()), results(module, *x.values()), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_the_tail_is_one_chain():
    network = compiled()
    (stage,) = network.stages
    assert isinstance(stage.program, ChainOp)
    assert (stage.kernels, stage.rows) == (3, {"normalization": 2})
    assert stage.program.saved == (0, 2)
    # One column of the context has an extra one.
    assert stage.features == WIDTH + HIDDEN + 1
    # The results of the first two kernels stay, one with an extra column, but the layer's input
    # comes along.
    assert network.saved() == 2 * (WIDTH + HIDDEN + 1) - WIDTH
    assert network.host() == {"concat": 1, "mul": 1}


@pytest.mark.parametrize("second", [True, False])
def test_the_fast_model_is_close_to_float(second: bool):
    x = inputs()
    (expected,) = results(tail(second=second), *x.values())
    (y,) = compiled(second).run(x).values()
    assert ((y - expected) ** 2).sum() / (expected**2).sum() < 1e-3


def test_a_projection_its_residual_and_its_rms_norm_are_one_chain():
    network = compiled_decoder()
    (stage,) = network.stages
    assert isinstance(stage.program, ChainOp)
    assert (stage.kernels, stage.rows) == (2, {"normalization": 1})
    assert network.host() == {"concat": 1}
    norm = stage.program.kernels()[1]
    assert isinstance(norm, NormalizationOp)
    assert norm.rms is not None
    assert norm.added.bit_length() == network.config.epsilon_width > 0
    assert network.config.rms_norms


def test_an_rms_norm_is_close_to_float():
    network, x = compiled_decoder(), decoder_inputs()
    (expected,) = results(decoder_tail(), *x.values())
    (y,) = network.run(x).values()
    assert ((y - expected) ** 2).sum() / (expected**2).sum() < 1e-3
    rows = np.concatenate([x["input1"], x["input0"]], axis=1)
    np.testing.assert_array_equal(*programs_and_integers(network, rows))


@pytest.mark.slow
@pytest.mark.parametrize("stalls", [0.0, 0.3])
def test_the_rtl_of_an_rms_norm_is_the_fast_model_bit_for_bit(stalls: float):
    network, x = compiled_decoder(), decoder_inputs()
    array = SimulatedArray(network.simulated.simulator, stalls=stalls)
    (y,) = network.run(x, accelerator=array, check=True).values()
    np.testing.assert_array_equal(y, next(iter(network.run(x).values())))


@pytest.mark.parametrize("second", [True, False])
def test_the_programs_are_the_fast_model_bit_for_bit(second: bool):
    x = inputs()
    rows = np.concatenate([x["input1"], x["input0"]], axis=1)
    np.testing.assert_array_equal(*programs_and_integers(compiled(second), rows))


def test_extra_columns_behind_a_normalisation_take_no_room():
    network = compiled()
    (gather,) = found(network.network, GatherOp)
    assert isinstance(gather, GatherOp)
    # A feature that reaches further is read again, and stands in one row all the same.
    assert len(gather.array()) == WIDTH + 1
    (stage,) = network.stages
    assert isinstance(stage.program, ChainOp)
    assert stage.program.kernels()[2].features.value.data == WIDTH


@pytest.mark.slow
@pytest.mark.parametrize("stalls", [0.0, 0.3])
def test_the_rtl_is_the_fast_model_bit_for_bit(stalls: float):
    network, x = compiled(), inputs()
    array = SimulatedArray(network.simulated.simulator, stalls=stalls)
    (y,) = network.run(x, accelerator=array, check=True).values()
    np.testing.assert_array_equal(y, next(iter(network.run(x).values())))


@pytest.mark.slow
def test_what_a_chain_reads_is_added_behind_it():
    x = {"input0": inputs()["input1"]}
    network = compile_network(
        block(),
        calibration=x,
        levels=LevelSet.of("uniform", 127),
        target=TARGET,
        split=0.1,
        host_cycles=100.0,
    )
    (stage,) = network.stages
    assert isinstance(stage.program, ChainOp)
    assert (stage.features, stage.outputs, stage.program.saved) == (WIDTH, WIDTH, (0,))
    (y,) = network.run(x, accelerator="rtl", check=True).values()
    (expected,) = results(block(), *x.values())
    assert ((y - expected) ** 2).sum() / (expected**2).sum() < 1e-3


def test_the_host_normalises_where_that_is_faster():
    network = compiled(host_cycles=0.5)
    assert network.host() == {"add": 2, "layer_norm": 2}
    # The first one takes in what is added, too.
    cycles = normalization_cycles(load_target(TARGET).machine, WIDTH)
    assert [row["why"] for row in network.left()] == [
        f"{count} cycles a tile, the host's 10" for count in (cycles + WIDTH, cycles)
    ]
    assert not network.config.normalizes


def test_a_folder_is_the_network(tmp_path: Path):
    network = compiled()
    network.save(tmp_path)
    loaded = CompiledNetwork.load(tmp_path)
    assert loaded.summary() == network.summary()
    for one, other in zip(loaded.stages, network.stages, strict=True):
        assert one.images == other.images
