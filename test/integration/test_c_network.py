# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Networks as programs in C: they run on the simulated system, and give what Python gives."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import driver_bench
import numpy as np
import pytest
import test_queued_network
from nn_networks import Builder
from numpy.typing import NDArray
from test_whole_layer import inputs, there
from xdsl.dialects.builtin import DYNAMIC_INDEX

from daqkf.cli.main import main
from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.network import compile_network
from daqkf.dialects.spaq import LevelSet
from daqkf.hosts.c_network import c_host
from daqkf.runtime import tools
from daqkf.runtime.live_system import LiveSystem
from daqkf.studies.minilm.export_onnx import export_minilm
from daqkf.studies.minilm.model import MiniLM, load_calibration, load_sentences
from daqkf.support.errors import DaqkfError

HOST = Path(__file__).parents[1] / "c_driver"
FLAGS = ["-std=c99", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"]
FLAGS += ["-fsanitize=undefined", "-fno-sanitize-recover=all"]
BASE, SIZE = 0x5000_0000, 1 << 20


def run(
    network: CompiledNetwork,
    folder: Path,
    x: Mapping[str, NDArray[np.generic]],
    size: int = SIZE,
) -> tuple[int, str, list[bytes]]:
    """What a host that was built here gives on the simulated system: code, error, outputs."""
    names = [f"x{number}.raw" for number in range(len(x))]
    for name, array in zip(names, x.values(), strict=True):
        array.tofile(folder / name)
    names += [f"y{number}.raw" for number in range(len(network.outputs))]
    before, network.system.base = network.system.base, BASE
    with LiveSystem(network.system, size) as system:
        network.system.base = before
        done = subprocess.run(
            [folder / "network", "200", f"{size:x}", "network.bin", *names],
            cwd=folder,
            stdin=system.fileno(),
            stdout=system.fileno(),
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    outputs = [path.read_bytes() for path in sorted(folder.glob("y*.raw"))]
    return done.returncode, done.stderr, outputs


def build(folder: Path) -> None:
    """Build a host for the simulated system, which is in the place of a device of Linux."""
    sources = [path.name for path in folder.glob("*.c") if path.name != "daqkf_uio.c"]
    command = [*tools.c_compiler(), *FLAGS, f"-I{HOST}", "-I.", str(HOST / "pipe_uio.c")]
    subprocess.run([*command, *sources, "-o", "network", "-lm"], cwd=folder, check=True)


def written(network: CompiledNetwork, folder: Path, x: Mapping[str, NDArray[np.generic]]) -> None:
    for name, data in c_host(network, x, base=BASE).items():
        (folder / name).write_bytes(data)
    build(folder)


def test_an_encoder_runs_without_python(tmp_path: Path):
    """Sequences of any lengths up to those of the example, one of them empty."""
    network, x = test_queued_network.network(), inputs(2)
    written(network, tmp_path, x)
    other = inputs(4, test_queued_network.LENGTHS)
    other["input1"][1] = other["input1"].min()
    code, error, (y,) = run(network, tmp_path, other)
    assert (code, error) == (0, "")
    (expected,) = network.run(other).values()
    np.testing.assert_array_equal(np.frombuffer(y, np.float32).reshape(expected.shape), expected)
    assert not expected[1].any()
    assert there(other)[0].any()


def test_a_kernel_that_is_several_programs_is_told(tmp_path: Path):
    network = driver_bench.network()
    with pytest.raises(DaqkfError, match="it is several programs, and hosts in C run kernels of"):
        c_host(network, driver_bench.inputs())


TARGET = (
    driver_bench.SMALL.replace("lanes = 4", "lanes = 8")
    .replace("result_depth = 32", "result_depth = 64\nwide_results = true")
    .replace("activation_depth = 32", "activation_depth = 64")
)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[CompiledNetwork, Path]:
    """A network with operations of the host around and between kernels, saved to a folder."""
    folder = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(9)
    b = Builder((10, 12), (12,))
    x, bias = b.inputs
    # A feature of large range is split.
    value = b.apply("mul", x, b.constant(np.r_[np.ones(11), 40]))
    value = b.apply("max", b.apply("add", value, bias), b.constant(np.full(1, -2.0)))
    weights = (rng.standard_normal((12, 9)) / 4).astype(np.float32)
    value = b.layer(value, weights, rng.standard_normal(9).astype(np.float32), "relu")
    value = b.apply("sub", b.apply("mul", value, value), b.apply("neg", value))
    other = (rng.standard_normal((9, 5)) / 3).astype(np.float32)
    module = b.module(b.layer(value, other, None, None))
    (folder / "small.toml").write_text(TARGET)
    network = compile_network(
        module,
        calibration=example(),
        levels=LevelSet.of("uniform", 15),
        target=str(folder / "small.toml"),
        split=0.2,
    )
    network.save(folder / "saved")
    return network, folder / "saved"


def example(seed: int = 3) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    shapes = {"input0": (10, 12), "input1": (12,)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def test_the_host_computes_between_kernels(mixed: tuple[CompiledNetwork, Path], tmp_path: Path):
    network, folder = mixed
    output = tmp_path / "host"
    assert main(["package", str(folder), "--c", "--base", hex(BASE), "-o", str(output)]) == 0
    # The extents of the inputs are those of its types, and nothing depends on what they are.
    written = c_host(network, example(), base=BASE)
    assert {path.name for path in output.iterdir()} == {*written, "package.json"}
    assert all((output / name).read_bytes() == data for name, data in written.items())
    tmp_path = output
    build(tmp_path)
    x = example(4)
    assert len(network.kernels) == 2
    assert b"kernel0_in_split" in (tmp_path / "network.c").read_bytes()
    code, error, (y,) = run(network, tmp_path, x)
    assert (code, error) == (0, "")
    (expected,) = network.run(x, accelerator="queue", check=True).values()
    np.testing.assert_array_equal(np.frombuffer(y, np.float32).reshape(expected.shape), expected)


def test_what_goes_wrong_is_told(mixed: tuple[CompiledNetwork, Path], tmp_path: Path):
    network, _ = mixed
    written(network, tmp_path, example())
    short = example() | {"input1": np.zeros(11, np.float32)}
    code, error, _ = run(network, tmp_path, short)
    assert (code, error) == (1, "network: x1.raw: it has not as many bytes as the array\n")
    code, error, _ = run(network, tmp_path, example(), size=4096)
    assert code == 1
    assert "the memory of the device is too small" in error
    text = (tmp_path / "network.h").read_text()
    place = text.index("NETWORK_FINGERPRINT 0x") + len("NETWORK_FINGERPRINT 0x")
    (tmp_path / "network.h").write_text(f"{text[:place]}1{text[place + 1 :]}")
    build(tmp_path)
    code, error, outputs = run(network, tmp_path, example())
    assert code == 1
    assert "the circuit is not the one that the programs are for" in error
    assert outputs == []


def test_what_has_no_c_is_told(mixed: tuple[CompiledNetwork, Path]):
    network, _ = mixed
    with pytest.raises(DaqkfError, match="the network's inputs are input0, input1"):
        c_host(network, {"x": np.zeros(3)})
    with pytest.raises(DaqkfError, match=r"an array of shape \(3,\) is not a"):
        c_host(network, example() | {"input0": np.zeros(3, np.float32)})
    with pytest.raises(DaqkfError, match="memory at 0x1; it begins at a multiple of 4096"):
        c_host(network, example(), base=1)


def test_names_cannot_leave_their_comments(mixed: tuple[CompiledNetwork, Path]):
    from daqkf.hosts.c_network import _comment

    assert _comment("a*/ int x;\n\\") == "a* / int x;/x0a/"


def test_open_extents_need_an_example():
    stub = SimpleNamespace(
        network=Builder((DYNAMIC_INDEX, 4)).module(), inputs=["tokens"], outputs=[], config=None
    )
    with pytest.raises(DaqkfError, match="the input 'tokens' may have several shapes"):
        c_host(cast(CompiledNetwork, stub))


@pytest.mark.slow
def test_a_layer_of_minilm_runs_without_python(tmp_path: Path):
    """From token numbers to hidden states: embeddings by the host, and all of the layer by the
    device."""
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
        target="wide-queue",
        products=True,
    )
    (folder := tmp_path / "host").mkdir()
    written(network, folder, x)
    code, error, (y,) = run(network, folder, x, size=1 << 23)
    assert (code, error) == (0, "")
    (expected,) = network.run(x).values()
    found = np.frombuffer(y, np.float32).reshape(expected.shape)
    # A mean of floats may differ in its last bit, which may make another integer of one at a half.
    assert np.mean(found != expected) < 1e-3
    assert np.linalg.norm(found - expected) < 1e-2 * np.linalg.norm(expected)
