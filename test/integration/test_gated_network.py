# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Gated feed-forward blocks, as Llama and its kin have them, with gates on the array."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from nn_networks import Builder, found, programs_and_integers, results, transformed
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.network import compile_network
from daqkf.dialects.nn import ElementwiseOp
from daqkf.dialects.rpea import ChainOp
from daqkf.dialects.spaq import LevelSet
from daqkf.planning import plan
from daqkf.planning.workload import Product, Rows, Workload
from daqkf.runtime.accelerators import SimulatedArray
from daqkf.support.errors import DaqkfError

TARGET = str(Path(__file__).parents[1] / "passes" / "targets" / "gates.toml")
WIDTH, HIDDEN = 12, 14


def block(function: str = "silu", bias: bool = False) -> ModuleOp:
    """`(f(x·G) · (x·U))·D`, the value first and spelled out where the function is SiLU."""
    rng = np.random.default_rng(8)
    b = Builder((40, WIDTH))
    (x,) = b.inputs
    shapes = (WIDTH, HIDDEN), (WIDTH, HIDDEN), (HIDDEN, WIDTH)
    gate, up, down = (
        (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32) for shape in shapes
    )
    # Values of different ranges.
    up *= np.geomspace(0.4, 2.5, HIDDEN, dtype=np.float32)
    down /= np.geomspace(0.4, 2.5, HIDDEN, dtype=np.float32)[:, np.newaxis]
    offset = rng.standard_normal(HIDDEN).astype(np.float32) if bias else None
    value = b.layer(x, up, offset, None)
    gates = b.layer(x, gate, None, None if function == "silu" else function)
    if function == "silu":
        gates = b.apply("mul", gates, b.apply("sigmoid", gates))
    return b.module(b.layer(b.apply("mul", value, gates), down, None, None))


def inputs(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((40, WIDTH)).astype(np.float32)


@cache
def compiled(function: str = "silu", bias: bool = False) -> CompiledNetwork:
    return compile_network(
        block(function, bias),
        calibration={"input0": inputs()},
        levels=LevelSet.of("uniform", 127),
        target=TARGET,
        split=0.1,
    )


def sized(seed: int = 0) -> NDArray[np.float32]:
    """Tokens of which most are a fraction of the largest."""
    sizes = np.random.default_rng(seed + 1).choice([0.2, 0.3, 0.5, 1.0], (40, 1)).astype(np.float32)
    return inputs(seed) * sizes


@cache
def sharing(exponents: str = "auto") -> CompiledNetwork:
    return compile_network(
        block(bias=False),
        calibration={"input0": sized()},
        levels=LevelSet.of("uniform", 127),
        target=f"{TARGET}:row_exponents=4",
        split=0.1,
        row_exponents=exponents,
    )


@pytest.mark.parametrize("function", ["silu", "gelu", "sigmoid"])
@pytest.mark.parametrize("bias", [False, True])
def test_the_pass_changes_no_result(function: str, bias: bool):
    module = block(function, bias)
    gated = transformed(module, f'nn-raise,nn-outline,nn-gate{{target="{TARGET}"}},nn-chain')
    assert not found(gated, ElementwiseOp)
    (one,), (other,) = results(gated, inputs()), results(module, inputs())
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_the_block_is_one_chain():
    network = compiled()
    (stage,) = network.stages
    assert isinstance(stage.program, ChainOp)
    assert (stage.kernels, stage.rows) == (2, {"gating": 1})
    assert network.left() == []
    assert set(network.host()) == set()
    assert network.saved() == 2 * HIDDEN + HIDDEN
    assert network.config.gates
    assert not network.config.normalizes


@pytest.mark.parametrize("function", ["silu", "gelu", "sigmoid"])
def test_outputs_are_close_to_float(function: str):
    x = inputs()
    (expected,) = results(block(function), x)
    (y,) = compiled(function).run({"input0": x}).values()
    noise = ((y - expected) ** 2).sum() / (expected**2).sum()
    assert noise < 1e-3


def test_the_programs_are_the_fast_model_bit_for_bit():
    np.testing.assert_array_equal(*programs_and_integers(compiled(bias=True), inputs(2)))


def check_rtl(network: CompiledNetwork, x: NDArray[np.float32]):
    device = SimulatedArray(network.simulated.simulator, stalls=0.3)
    fast = network.run({"input0": x})
    rtl = network.run({"input0": x}, accelerator=device, check=True)
    for name, y in fast.items():
        np.testing.assert_array_equal(rtl[name], y)


@pytest.mark.slow
def test_the_rtl_is_the_fast_model():
    check_rtl(compiled(bias=True), inputs(3))


def test_the_host_gates_where_the_target_cannot():
    network = compile_network(
        block(),
        calibration={"input0": inputs()},
        levels=LevelSet.of("uniform", 15),
        target="tiny",
    )
    assert [(row["does"], row["why"]) for row in network.left()] == [
        ("mul", "the target has no unit for it")
    ]
    assert network.host() == {"mul": 1}


def test_plans_have_the_cycles_of_gates():
    network = compiled()
    ((up, gates, down),) = (program.parts for program in Workload.of(network).programs)
    assert isinstance(up, Product)
    assert isinstance(gates, Rows)
    assert isinstance(down, Product)
    assert (up.outputs, gates.kind, gates.outputs) == (2 * down.features, "gates", down.features)
    found = plan(network, "xck26", tokens=4)
    assert found.config.gates
    assert found.pace.causes["rows"] >= gates.cycles(found.config)
    assert found.products == sum(part.features * part.outputs for part in (up, down))


def test_rows_share_exponents_where_it_pays():
    shared, static = sharing(), sharing("off")
    assert (shared.config.row_exponents, static.config.row_exponents) == (4, 0)
    x = sized(5)
    (expected,) = results(block(), x)

    def noise(network: CompiledNetwork) -> float:
        (y,) = network.run({"input0": x}).values()
        # Of small tokens, whose steps are finer; int8 results have their own noise.
        own = np.abs(expected).max(axis=1) < np.abs(expected).max() / 4
        return float(((y - expected)[own] ** 2).sum())

    assert noise(shared) < noise(static)
    programs, integers = programs_and_integers(shared, x)
    np.testing.assert_array_equal(programs, integers)
    ((_, gates, _),) = (program.parts for program in Workload.of(shared).programs)
    assert isinstance(gates, Rows)
    once = replace(gates, shares=False).cycles(shared.config)
    assert gates.cycles(shared.config) == 2 * once


def test_the_rtl_shares_exponents():
    check_rtl(sharing(), sized(3))


def test_choices_of_exponents_are_known():
    with pytest.raises(DaqkfError, match=r"unknown row_exponents 'yes' \(known: auto, on, off\)"):
        sharing("yes")
