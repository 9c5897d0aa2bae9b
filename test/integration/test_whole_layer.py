# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A transformer's encoder layer that does not leave the array."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from nn_networks import Builder, found, results
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp, i64
from xdsl.ir import SSAValue

from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.formats import load_network
from daqkf.compiler.network import compile_network
from daqkf.dialects.dense import from_array
from daqkf.dialects.nn import (
    AttentionOp,
    ConstantOp,
    LayerNormOp,
    LinearOp,
    ReshapeOp,
    SoftmaxOp,
    TransposeOp,
)
from daqkf.dialects.nn.base import shape_of
from daqkf.dialects.rpea import ChainOp
from daqkf.dialects.spaq import LevelSet
from daqkf.runtime.accelerators import SimulatedArray
from daqkf.studies.minilm.export_onnx import export_minilm
from daqkf.studies.minilm.model import MiniLM, load_calibration, load_sentences
from daqkf.support.errors import DaqkfError

TARGET = str(Path(__file__).parents[1] / "passes" / "targets" / "sequences.toml")
BATCH, TOKENS, FEATURES, HEADS, WIDTH, INNER = 3, 9, 12, 2, 8, 20
PADDED = -1e30


class Layer(Builder):
    """The parts of an encoder's layer."""

    def __init__(self):
        super().__init__((BATCH, TOKENS, FEATURES), (BATCH, 1, 1, TOKENS))
        self.rng = np.random.default_rng(8)

    def weights(self, *shape: int) -> NDArray[np.float32]:
        return (self.rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)

    def shaped(self, value: SSAValue, *extents: int) -> SSAValue:
        shape = self.add(ConstantOp(from_array(np.array(extents), i64)))
        like = self.tensor(extents)
        return self.add(ReshapeOp(value, shape, like))

    def turned(self, value: SSAValue, *axes: int) -> SSAValue:
        shape = shape_of(value) or ()
        return self.add(TransposeOp(value, axes, self.tensor([shape[axis] for axis in axes])))

    def by_head(self, x: SSAValue, *axes: int) -> SSAValue:
        """A projection, as [B, H, …]."""
        bias = self.rng.standard_normal(HEADS * WIDTH).astype(np.float32) / 4
        value = self.layer(x, 1.5 * self.weights(FEATURES, HEADS * WIDTH), bias, None)
        return self.turned(self.shaped(value, BATCH, TOKENS, HEADS, WIDTH), *axes)

    def normalized(self, value: SSAValue, residual: SSAValue) -> SSAValue:
        gamma = self.constant(self.rng.uniform(0.5, 2.0, FEATURES))
        beta = self.constant(self.rng.standard_normal(FEATURES) / 4)
        return self.add(LayerNormOp(self.apply("add", value, residual), gamma, beta, 1e-12))

    def block(self, x: SSAValue, mask: SSAValue) -> SSAValue:
        queries = self.by_head(x, 0, 2, 1, 3)
        keys = self.by_head(x, 0, 2, 3, 1)
        values = self.by_head(x, 0, 2, 1, 3)
        scores = self.apply("mul", self.matmul(queries, keys), WIDTH**-0.5)
        shares = self.add(SoftmaxOp(self.apply("add", scores, mask), -1))
        context = self.turned(self.matmul(shares, values), 0, 2, 1, 3)
        whole = self.shaped(context, BATCH, TOKENS, HEADS * WIDTH)
        y = self.layer(whole, self.weights(HEADS * WIDTH, FEATURES), None, None)
        y = self.normalized(y, x)
        inner = self.layer(y, self.weights(FEATURES, INNER), None, "gelu")
        return self.normalized(self.layer(inner, self.weights(INNER, FEATURES), None, None), y)


def encoder(layers: int = 1) -> ModuleOp:
    b = Layer()
    x, mask = b.inputs
    for _ in range(layers):
        x = b.block(x, mask)
    return b.module(x)


def inputs(seed: int = 0, lengths: tuple[int, ...] = (9, 4, 6)) -> dict[str, NDArray[np.float32]]:
    """Sequences of these lengths, the second one with its padding in front."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((BATCH, TOKENS, FEATURES)).astype(np.float32)
    mask = np.zeros((BATCH, 1, 1, TOKENS), np.float32)
    for number, length in enumerate(lengths):
        mask[number, 0, 0, length:] = PADDED
    mask[1] = mask[1, ..., ::-1]
    return {"input0": x, "input1": mask}


def compiled_for(
    calibration: dict[str, NDArray[np.float32]],
    layers: int = 1,
    target: str = TARGET,
    max_tokens: int | None = None,
) -> CompiledNetwork:
    return compile_network(
        encoder(layers),
        calibration=calibration,
        levels=LevelSet.of("uniform", 127),
        target=target,
        host_cycles=1000.0,
        products=True,
        max_tokens=max_tokens,
        second_order=False,
    )


@cache
def compiled(layers: int = 1) -> CompiledNetwork:
    return compiled_for(inputs(), layers)


def there(x: dict[str, NDArray[np.float32]]) -> NDArray[np.bool_]:
    return x["input1"][:, 0, 0] == 0


@pytest.mark.parametrize("layers", [1, 2])
def test_a_layer_is_one_program(layers: int):
    network = compiled(layers)
    assert len(network.stages) == layers
    for stage in network.stages:
        assert isinstance(stage.program, ChainOp)
        assert stage.program.tokens == 12
        assert stage.rows == {"softmax": 1, "normalization": 2}
        assert (stage.features, stage.outputs) == (2 * FEATURES, FEATURES)
    assert network.host() == {}
    assert network.left() == []
    # Keys, values and queries leave without it, and so on; the layer's input would go in once.
    inside = 3 * HEADS * WIDTH + HEADS * WIDTH + FEATURES + FEATURES + INNER + INNER
    assert network.saved() == layers * (inside - FEATURES)


def test_it_is_near_the_float_network():
    x = inputs(2)
    (expected,), (y,) = results(encoder(), *x.values()), compiled().run(x).values()
    counted = there(x)
    noise = np.sum((y - expected)[counted] ** 2) / np.sum(expected[counted] ** 2)
    assert noise < 0.01


def test_tokens_see_one_another():
    x, other = inputs(2), inputs(2)
    # The first tokens stay as they are.
    other["input0"][:, 1:] = inputs(6)["input0"][:, 1:]
    (expected,), (y,) = results(encoder(), *other.values()), compiled().run(other).values()
    (before,) = results(encoder(), *x.values())
    first = np.s_[::2, 0]  # The second sequence has its padding there.
    moved = np.sum((expected - before)[first] ** 2)
    assert np.sum((y - expected)[first] ** 2) < moved / 20


def test_tokens_that_are_not_there_do_not_matter():
    x = inputs(3)
    (y,) = compiled().run(x).values()
    other = {**x, "input0": np.where(there(x)[..., np.newaxis], x["input0"], 77.0)}
    (same,) = compiled().run({**other, "input0": other["input0"].astype(np.float32)}).values()
    np.testing.assert_array_equal(y, same)
    assert not y[~there(x)].any()
    assert y[there(x)].any(axis=1).all()


@pytest.mark.parametrize("stalls", [0.0, 0.3])
def test_the_rtl_is_the_fast_model_bit_for_bit(stalls: float):
    network, x = compiled(2), inputs(4)
    device = SimulatedArray(network.simulated.simulator, stalls=stalls)
    (y,) = network.run(x, accelerator=device, check=True).values()
    np.testing.assert_array_equal(y, next(iter(network.run(x).values())))


def test_saved_and_loaded(tmp_path: Path):
    network, x = compiled(), inputs(5)
    network.save(tmp_path)
    again = CompiledNetwork.load(tmp_path)
    np.testing.assert_array_equal(*(list(each.run(x).values()) for each in (network, again)))


def test_longer_sequences_are_for_max_tokens():
    short = {name: value.copy() for name, value in inputs(0, (5, 4, 5)).items()}
    network = compiled_for(short)
    network.run(short)
    with pytest.raises(DaqkfError, match=r"a sequence of 9 tokens; it is for 1\.\.5"):
        network.run(inputs())
    wide = compiled_for(inputs(), max_tokens=16)
    assert isinstance(wide.stages[0].program, ChainOp)
    assert wide.stages[0].program.tokens == 16


def test_a_soft_mask_is_refused():
    x = inputs()
    x["input1"] = np.where(there(x)[:, np.newaxis, np.newaxis], 0, -1).astype(np.float32)
    with pytest.raises(DaqkfError, match="a mask of sequences is 0 or at most -10000"):
        compiled().run(x)


def test_targets_without_operand_memories_attend_as_before():
    target = str(Path(TARGET).with_name("attends.toml"))
    network = compiled_for(inputs(), target=target)
    assert len(found(network.network, AttentionOp)) == 1
    assert all(call.mask is None for call in found(network.network, LinearOp))


@pytest.mark.slow
def test_a_layer_of_minilm_does_not_leave_the_array(tmp_path: Path):
    model, path = MiniLM.load(), tmp_path / "layer.onnx"
    path.write_bytes(export_minilm(model, layers=1).SerializeToString())
    calibration, x = (
        dict(zip(("input_ids", "attention_mask"), model.tokenize(sentences), strict=True))
        for sentences in (load_calibration()[:40], load_sentences()[:3])
    )
    network = compile_network(
        path,
        calibration=calibration,
        levels=LevelSet.of("uniform", 15),
        target="wide-norm",
        products=True,
    )
    (stage,) = network.stages
    assert (stage.features, stage.outputs) == (768, 384)
    assert network.host()["layer_norm"] == 1  # The embeddings'.
    (y,) = network.run(x, accelerator="rtl", check=True).values()
    module = load_network(path)
    (expected,) = results(module, *x.values())
    counted = x["attention_mask"] > 0
    noise = np.sum((y - expected)[counted] ** 2) / np.sum(expected[counted] ** 2)
    assert noise < 0.02
