# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Compilations for a device, whose engine the planner chooses."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from nn_networks import Builder
from xdsl.dialects.builtin import ModuleOp

import daqkf
from daqkf.cli.main import main
from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.design import Design
from daqkf.hw_targets import load_target
from daqkf.hw_targets.device import load_device
from daqkf.hw_targets.engine import engine_needs
from daqkf.planning import plan
from daqkf.planning.fitting import target_of
from daqkf.support.errors import DaqkfError

RNG = np.random.default_rng(6)
WEIGHTS = RNG.standard_normal((40, 24)) / 6
X = RNG.standard_normal((32, 40)).astype(np.float32)
DEVICE = "xc7z020"


def compiled(**named: object) -> Design:
    return daqkf.compile(  # pyright: ignore[reportCallIssue, reportUnknownVariableType]
        WEIGHTS,
        calibration=X,
        levels="uniform-7",
        **named,  # pyright: ignore[reportArgumentType]
    )


@pytest.fixture(scope="module")
def layer() -> Design:
    return compiled(target="wide-memory")


def two_layers() -> ModuleOp:
    rng = np.random.default_rng(7)
    b = Builder((8, 40))
    (x,) = b.inputs
    for features, outputs in ((40, 32), (32, 24)):
        weights = (rng.standard_normal((features, outputs)) / 6).astype(np.float32)
        x = b.layer(x, weights, None, "relu")
    return b.module(x)


def same_engine(found: Design | CompiledNetwork, base: Design | CompiledNetwork) -> None:
    """What was compiled is for the engine that was planned, and fits the device as often."""
    planned = plan(base, DEVICE, tokens=4)
    config = planned.config
    assert found.target == target_of(planned, base)
    machine = load_target(found.target).machine
    for name in ("pes", "lanes", "post_lanes", "memory_bits", "memory_ports", "activation_memory"):
        assert getattr(found.config, name) == getattr(config, name) == getattr(machine, name)
    assert (config.pes, config.lanes) != (base.config.pes, base.config.lanes)
    needs = engine_needs(found.config, "xcup") * planned.engines
    assert max(load_device(DEVICE).shares(needs).values()) <= planned.use


def test_a_layer_is_compiled_for_the_planned_engine(layer: Design):
    found = compiled(device=DEVICE, tokens=4)
    same_engine(found, layer)
    np.testing.assert_array_equal(found.reference(X), layer.reference(X))


def test_a_network_keeps_its_integers_on_the_planned_engine():
    source, calibration = two_layers(), {"input0": X[:8]}
    network = daqkf.compile(source, calibration=calibration, target="wide-memory")
    found = daqkf.compile(source, calibration=calibration, device=DEVICE, tokens=4)
    same_engine(found, network)
    assert len(found.stages) == len(network.stages) == 1
    (own,), (other,) = (each.run(calibration).values() for each in (found, network))
    np.testing.assert_array_equal(own, other)


@pytest.mark.slow
def test_the_planned_engine_computes_the_same_in_rtl():
    calibration = {"input0": X[:8]}
    found = daqkf.compile(two_layers(), calibration=calibration, device=DEVICE, tokens=4)
    found.run(calibration, accelerator="rtl", check=True)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"device": "vu9"}, r"unknown device 'vu9' \(known: ecp5-25k, "),
        ({"device": DEVICE, "memory": "ddr9"}, "unknown memory 'ddr9'"),
        ({"device": DEVICE, "tokens": 0}, "plans are for 1 token or more, not 0"),
        ({"memory": "ddr4-2400"}, "memory is what a device is planned with: it needs a device"),
        ({"tokens": 4}, "tokens is what a device is planned with: it needs a device"),
        ({"device": DEVICE, "index_bits": "auto"}, "whole addresses: no index_bits with it"),
        ({"device": DEVICE, "family": "multiply"}, "have running_sum elements, not multiply"),
    ],
)
def test_what_no_device_can_be_is_said(named: dict[str, object], message: str):
    with pytest.raises(DaqkfError, match=message):
        compiled(**named)


def test_a_design_and_a_device_are_two_arrays(layer: Design):
    with pytest.raises(DaqkfError, match="give it as the target, or a device, not both"):
        compiled(target=layer, device=DEVICE)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("device")
    np.save(folder / "w.npy", WEIGHTS)
    np.save(folder / "x.npy", X)
    return folder


def run(files: Path, *options: str) -> int:
    inputs = [str(files / "w.npy"), "--calibration", str(files / "x.npy"), "--levels", "uniform-7"]
    return main(["compile", *inputs, *options])


def test_the_command_compiles_for_a_device(
    files: Path, layer: Design, capsys: pytest.CaptureFixture[str]
):
    output = files / "layer"
    assert run(files, "--device", DEVICE, "--tokens", "4", "-o", str(output)) == 0
    printed = capsys.readouterr()
    assert "tokens/s at 250 MHz" in printed.out
    assert "at 250 MHz: " in printed.err
    again = Design.load(output)
    same_engine(again, layer)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "vu9", "-o", "no"], "unknown device 'vu9' (known: ecp5-25k, "),
        (["--tokens", "8", "-o", "no"], "--tokens is for --device"),
        (["--external-memory", "ddr4-2400", "-o", "no"], "--external-memory is for --device"),
        (["--device", DEVICE, "--pareto"], "--pareto is for a target; it takes no --device"),
        (["--target", "wide:pes=x", "-o", "no"], "[machine] 'pes' must be an integer"),
    ],
)
def test_the_command_refuses(
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: Sequence[str],
    message: str,
):
    monkeypatch.chdir(files)
    assert run(files, *options) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("no").exists()
