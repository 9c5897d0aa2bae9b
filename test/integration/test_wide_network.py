# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Networks whose kernels give the host int16."""

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from test_compiled_network import encoder, expected, inputs, noise

import daqkf
from daqkf.cli.main import main
from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.runtime.accelerators import SimulatedArray

TARGET = "tiny:wide_results=true"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "encoder.onnx"
    onnx.save(encoder(), path)
    return path


@cache
def compiled(path: Path, names: str | None) -> CompiledNetwork:
    return daqkf.compile(
        str(path),
        calibration=inputs(40),
        target=TARGET,
        fuse=False,
        scale_rows=True,
        wide_results=names,
    )


def test_what_rounding_cost_is_there_again(model: Path):
    """Of 42.9 dB to 47.2: products round what they read alone."""
    x = inputs()
    reference = expected(model, x)
    narrow, wide = (compiled(model, names).run(x)["y"] for names in (None, "*"))
    assert noise(wide, reference) < noise(narrow, reference) / 2
    assert {stage.wide for stage in compiled(model, None).stages} == {False}
    assert {stage.wide for stage in compiled(model, "*").stages} == {True}


def test_kernels_are_chosen_by_name(model: Path):
    network = compiled(model, "ffn.down,out*")
    found = {stage.name: stage.outputs for stage in network.stages}
    width = network.kernels["ffn.down"].function_type.outputs.data[0].get_shape()[1]
    assert (found["ffn.down"], found["output"], found["query"]) == (2 * width, 2 * width, width)
    traffic = {row["name"]: row["out"] for row in network.traffic()}
    assert traffic == found


@pytest.mark.slow
def test_the_rtl_is_the_fast_model_bit_for_bit(model: Path):
    """Also at the end of a chain, on the same array."""
    network = daqkf.compile(
        str(model), calibration=inputs(40), target=TARGET, wide_results=["*"], split=0.0
    )
    assert [(stage.kernels > 1, stage.wide) for stage in network.stages] == [
        (False, True),
        (False, True),
        (True, True),
    ]
    array = SimulatedArray(network.simulated.simulator, stalls=0.2, seed=3)
    y = network.run(inputs(2, 3), accelerator=array, check=True)["y"]
    np.testing.assert_array_equal(y, network.run(inputs(2, 3))["y"])


def test_a_folder_is_the_network(model: Path, tmp_path: Path):
    network = compiled(model, "*")
    network.save(tmp_path / "net")
    loaded = CompiledNetwork.load(tmp_path / "net")
    np.testing.assert_array_equal(loaded.run(inputs())["y"], network.run(inputs())["y"])
    assert [stage.images for stage in loaded.stages] == [stage.images for stage in network.stages]


def test_a_kernel_with_a_table_stays_as_it_is(model: Path):
    """GELU is part of the kernel where rows are not scaled."""
    network = daqkf.compile(
        str(model), calibration=inputs(40), target=TARGET, fuse=False, wide_results=["*"]
    )
    found = {stage.name: stage.wide for stage in network.stages}
    assert not found["ffn.up"] and found["ffn.down"]


def test_what_cannot_be_is_named(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(daqkf.DaqkfError, match=r"no kernel is called 'ffn\.middle'"):
        compiled(model, "ffn.down,ffn.middle")
    with pytest.raises(daqkf.DaqkfError, match="target 'tiny' gives no wide_results"):
        daqkf.compile(str(model), calibration=inputs(4), target="tiny", wide_results="*")
    np.save(tmp_path / "w.npy", np.ones((4, 4), np.float32))
    folder = str(tmp_path / "net")
    assert main(["compile", str(tmp_path / "w.npy"), "-o", folder, "--wide-results", "*"]) == 1
    assert "--wide-results are for networks" in capsys.readouterr().err


def test_the_command_line(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    np.savez(tmp_path / "calibration.npz", **inputs(40))  # pyright: ignore[reportArgumentType]
    arguments = ["compile", str(model), "--target", TARGET, "-o", str(tmp_path / "net")]
    arguments += ["--calibration", str(tmp_path / "calibration.npz"), "--scale-rows", "--no-fuse"]
    assert main([*arguments, "--wide-results", "*"]) == 0
    assert "bytes a token" in capsys.readouterr().out
    loaded = CompiledNetwork.load(tmp_path / "net")
    x = inputs()
    np.testing.assert_array_equal(loaded.run(x)["y"], compiled(model, "*").run(x)["y"])
