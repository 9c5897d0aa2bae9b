# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Attention whose scores, softmax and results are the array's."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nn_networks import Builder, found, results, transformed
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.network import compile_network
from daqkf.compiler.products import attention_image
from daqkf.dialects.nn import AttentionOp, MatmulOp, ProductOp, SoftmaxOp
from daqkf.dialects.nn.base import HOST
from daqkf.dialects.rpea import ArrayOp, ChainOp
from daqkf.dialects.rpea.interpreter import run_chain
from daqkf.dialects.spaq import LevelSet
from daqkf.hw_targets import load_target
from daqkf.hw_targets.timing import softmax_cycles
from daqkf.lowering.image.disassemble import import_program
from daqkf.lowering.image.encode import playable
from daqkf.passes.nn_attention import quantize_attention
from daqkf.runtime.accelerators import SimulatedArray
from daqkf.support.errors import DaqkfError

TARGET = str(Path(__file__).parents[1] / "passes" / "targets" / "attends.toml")
BATCH, HEADS, QUERIES, WIDTH, KEYS = 2, 3, 5, 4, 7


def attention(*, mask: bool = True, scale: str = "mul", swapped: bool = False) -> ModuleOp:
    """`softmax(q·k·scale + mask)·v`."""
    shapes = [
        (BATCH, HEADS, QUERIES, WIDTH),
        (BATCH, HEADS, WIDTH, KEYS),
        (BATCH, HEADS, KEYS, WIDTH),
        *([(BATCH, 1, 1, KEYS)] if mask else []),
    ]
    b = Builder(*shapes)
    queries, keys, values, *masks = b.inputs
    scores = b.matmul(queries, keys)
    if scale:
        scores = b.apply(scale, scores, {"mul": 0.5, "div": 2.0}[scale])
    for added in masks:
        scores = b.apply("add", added, scores) if swapped else b.apply("add", scores, added)
    return b.module(b.matmul(b.add(SoftmaxOp(scores, -1)), values))


def inputs(seed: int = 0, *, mask: bool = True) -> dict[str, NDArray[np.float32]]:
    """Heads differ in their ranges; the second sequence has two keys less."""
    rng = np.random.default_rng(seed)
    factors = np.geomspace(0.5, 2, HEADS)[:, np.newaxis, np.newaxis]
    queries = 2 * rng.standard_normal((BATCH, HEADS, QUERIES, WIDTH))
    keys, values = (
        factors * rng.standard_normal((BATCH, HEADS, *shape))
        for shape in ((WIDTH, KEYS), (KEYS, WIDTH))
    )
    masks = np.zeros((BATCH, 1, 1, KEYS))
    masks[1, ..., -2:] = np.finfo(np.float32).min
    every = [queries, keys, values, *([masks] if mask else [])]
    return {f"input{n}": x.astype(np.float32) for n, x in enumerate(every)}


@cache
def compiled(levels: int = 127) -> CompiledNetwork:
    return compile_network(
        attention(),
        calibration=inputs(),
        levels=LevelSet.of("uniform", 127),
        target=TARGET,
        products=True,
        attention_levels=levels,
        host_cycles=100.0,
    )


def op_of(network: CompiledNetwork) -> AttentionOp:
    (op,) = found(network.network, AttentionOp)
    assert isinstance(op, AttentionOp)
    return op


def noise(y: NDArray[Any], expected: NDArray[Any]) -> float:
    return float(((y - expected) ** 2).sum() / (expected**2).sum())


@pytest.mark.parametrize(
    "options",
    [
        {"mask": True},
        {"mask": False},
        {"scale": "div", "swapped": True},
        {"scale": "", "mask": False},
    ],
)
def test_attention_in_int8_is_close_to_float(options: dict[str, Any]):
    module, x = attention(**options), inputs(mask=options.get("mask", True))
    quantised = module.clone()
    assert quantize_attention(quantised, x, load_target(TARGET).machine, 100.0) == 1
    quantised.verify()
    assert not found(quantised, MatmulOp, SoftmaxOp)
    (y,), (expected,) = results(quantised, *x.values()), results(module, *x.values())
    assert noise(y, expected) < 2e-3


@pytest.mark.parametrize(("levels", "most"), [(7, 5e-2), (31, 4e-3), (127, 5e-4)])
def test_more_levels_are_closer(levels: int, most: float):
    x = inputs()
    (expected,) = results(attention(), *x.values())
    (y,) = compiled(levels).run(x).values()
    assert most / 10 < noise(y, expected) < most


def test_masked_keys_say_nothing():
    x, other = inputs(), inputs()
    for name, axis in (("input1", 3), ("input2", 2)):
        np.moveaxis(other[name], axis, 0)[-2:, 1] = 50
    (y,), (same,) = (compiled().run(each).values() for each in (x, other))
    np.testing.assert_array_equal(y, same)
    # And where nothing is masked they do.
    (third,) = compiled().run({**other, "input3": 0 * x["input3"]}).values()
    assert (third[1] != y[1]).any()


def test_a_soft_mask_is_added():
    x = inputs()
    x["input3"] = np.random.default_rng(4).uniform(-3, 0, x["input3"].shape).astype(np.float32)
    (y,), (expected,) = compiled().run(x).values(), results(attention(), *x.values())
    (unmasked,) = results(attention(), *{**x, "input3": 0 * x["input3"]}.values())
    assert noise(y, expected) < 1e-2 < noise(y, unmasked) / 5


@pytest.mark.parametrize("levels", [31, 127])
def test_the_program_is_the_exact_integers(levels: int):
    network, x = compiled(levels), inputs(1)
    op = op_of(network)
    keys, values, mask = x["input1"][1], x["input2"][1], x["input3"][1, 0]
    operands = op.operands_of(keys, values, np.broadcast_to(mask, (HEADS, KEYS)))
    queries = np.random.default_rng(2).integers(-128, 128, (9, HEADS * WIDTH)).astype(np.int8)
    machine = load_target(TARGET).machine
    image = attention_image(op, operands, network.config, machine)
    array = next(found for found in network.arrays.ops if isinstance(found, ArrayOp))
    (chain,) = playable(import_program(image, array))
    assert isinstance(chain, ChainOp)
    y = run_chain(chain, queries)
    np.testing.assert_array_equal(y, op.integers(queries, operands))
    assert len(np.unique(y)) > 50


@pytest.mark.slow
@pytest.mark.parametrize("stalls", [0.0, 0.3])
def test_the_rtl_is_the_fast_model_bit_for_bit(stalls: float):
    network, x = compiled(), inputs(3)
    device = SimulatedArray(network.simulated.simulator, stalls=stalls)
    (y,) = network.run(x, accelerator=device, check=True).values()
    np.testing.assert_array_equal(y, next(iter(network.run(x).values())))


def test_shorter_sequences_fit_and_longer_ones_do_not():
    network = compiled()
    config, op, machine = network.config, op_of(network), load_target(TARGET).machine
    rng = np.random.default_rng(5)
    for keys, fits in ((1, True), (KEYS, True), (4 * KEYS, False)):
        operands = op.operands_of(
            rng.standard_normal((HEADS, WIDTH, keys)).astype(np.float32),
            rng.standard_normal((HEADS, keys, WIDTH)).astype(np.float32),
            None,
        )
        if fits:
            attention_image(op, operands, config, machine)
            continue
        with pytest.raises(ValueError, match="84 outputs; the target holds at most 64"):
            attention_image(op, operands, config, machine)


def test_what_stays_with_the_host_says_why():
    machine = load_target(TARGET).machine
    cycles = softmax_cycles(machine, HEADS * KEYS, KEYS)
    for target, host_cycles, why in (
        ("generic", 4.0, "the target has no unit for it"),
        (TARGET, 1.0, f"{cycles} cycles a tile, the host's {HEADS * KEYS * 2}"),
    ):
        module = attention()
        assert quantize_attention(module, inputs(), load_target(target).machine, host_cycles) == 0
        (softmax,) = found(module, SoftmaxOp)
        assert softmax.attributes[HOST].data == why


def test_products_alone_where_the_softmax_is_the_hosts():
    network = compile_network(
        attention(),
        calibration=inputs(),
        levels=LevelSet.of("uniform", 127),
        target="tiny",
        products=True,
    )
    assert len(found(network.network, ProductOp)) == 2
    assert [row["does"] for row in network.left()] == ["softmax"]


def test_a_mask_for_each_query_is_the_hosts():
    b = Builder((1, 1, 4, 2), (1, 1, 2, 4), (1, 1, 4, 2))
    queries, keys, values = b.inputs
    causal = np.where(np.tri(4), 0, -1e30)[np.newaxis, np.newaxis]
    scores = b.apply("add", b.matmul(queries, keys), b.constant(causal))
    module = b.module(b.matmul(b.add(SoftmaxOp(scores, -1)), values))
    assert quantize_attention(module, {}, load_target(TARGET).machine) == 0
    (softmax,) = found(module, SoftmaxOp)
    assert "the same for all queries" in softmax.attributes[HOST].data


def test_samples_that_are_not_finite_are_named():
    x = inputs()
    x["input2"][0, 0, 0, 0] = np.inf
    with pytest.raises(ValueError, match=r"nn\.softmax reads or gives values that are not finite"):
        quantize_attention(attention(), x, load_target(TARGET).machine, 100.0)


def test_levels_beyond_int8_are_refused():
    with pytest.raises(DaqkfError, match=r"levels must be 1\.\.127, not 128"):
        compiled(128)


def test_the_pass_is_the_function(tmp_path: Path):
    np.savez(tmp_path / "x.npz", **inputs())
    spec = f'nn-attention{{samples="{tmp_path / "x.npz"}" target="{TARGET}" host-cycles=100.0}}'
    other = attention()
    quantize_attention(other, inputs(), load_target(TARGET).machine, 100.0)
    assert transformed(attention(), spec).is_structurally_equivalent(other)
