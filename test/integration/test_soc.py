# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""An engine in a whole SoC in Verilator: processor, firmware, LiteDRAM, a model of an SDRAM."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import driver_bench
import numpy as np
import pytest

import daqkf
from daqkf.boards.bitstream import make_bitstream
from daqkf.boards.jobs import Options, State, with_page
from daqkf.boards.simulation import SocRun, SocSystem, run_soc
from daqkf.cli.main import main
from daqkf.compiler.rtl_files import system_files
from daqkf.lowering.image.queue_memory import Queue
from daqkf.runtime.simulator import SimulationError
from daqkf.studies.demo import LAYER, run_demo
from daqkf.synthesis.running import SynthesisError

TILES = 3


@cache
def design() -> daqkf.Design:
    rng = np.random.default_rng(5)
    weights = rng.normal(size=(40, 24))
    weights[rng.random(weights.shape) < 0.5] = 0
    return daqkf.compile(weights, calibration=rng.normal(size=(64, 40)), target="ulx3s")


@cache
def system() -> SocSystem:
    return SocSystem.of(system_files(design().config), design().config)


def activations() -> np.ndarray:
    tokens = TILES * design().config.lanes - 1
    return np.random.default_rng(6).normal(size=(tokens, 40)).astype(np.float32)


@cache
def played() -> tuple[Queue, bytes]:
    """A queue with the layer, and what memory holds when it has run."""
    own = system()
    found: list[tuple[Queue, bytes]] = []

    class Recorder(SocSystem):
        def play(self, queue: Queue) -> bytes:
            content = super(SocSystem, self).play(queue)
            found.append((queue, content))
            return content

    design().run(activations(), Recorder(**vars(own)))
    return found[0]


def run(memory: bytes, **more: str) -> SocRun:
    return run_soc(design().config, system().rtl, memory, **more)


def test_a_layer_runs_in_a_soc():
    own = system()
    y = design().run(activations(), own)
    assert np.array_equal(y, design().reference(activations()))
    (done,) = own.soc_runs
    assert "bytes of results as expected" in done.console
    assert "interrupts: 1" in done.console
    # A short queue, of which a part is the beginning.
    assert done.share > 0.7


def test_results_that_stay_in_the_cache_are_found():
    """The negative control: a processor that keeps its cache sees what was there before."""
    queue, content = played()
    done = run(with_page(queue, content, design().config, Options.KEEP_CACHED))
    assert done.state is State.WRONG
    assert "wrong result at 0x4000" in done.console


def test_a_wrong_result_is_found():
    queue, content = played()
    job = queue.jobs[-1]
    at = job.results - queue.base + job.result_rows * design().config.lanes - 1
    wrong = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    done = run(with_page(queue, wrong, design().config))
    assert done.state is State.WRONG
    assert f"wrong result at {queue.base + at:#x}" in done.console


@pytest.mark.slow
def test_programs_for_another_array_are_refused():
    queue, content = played()
    other = replace(design().config, parameter_depth=2 * design().config.parameter_depth)
    done = run(with_page(queue, content, other))
    assert done.state is State.STOPPED
    assert "the circuit is not the one that the programs are for" in done.console


@pytest.mark.slow
def test_a_soc_that_does_not_end_is_given_up():
    with pytest.raises(SimulationError, match="nothing has ended the simulation within 1000 cycl"):
        run(bytes(8192), limit=1000)


@pytest.mark.slow
def test_a_processor_that_reads_beside_leaves_most_of_the_bandwidth():
    queue, content = played()
    done = run(with_page(queue, content, design().config, Options.READ_BESIDE))
    assert done.state is State.DONE


@pytest.mark.slow
def test_a_processor_without_caches_does_as_well():
    queue, content = played()
    done = run(with_page(queue, content, design().config), cpu="minimal")
    assert done.state is State.DONE


@cache
def minilm(folder: Path) -> daqkf.Design:
    assert run_demo(folder, 8, 0.7, target="ulx3s") == 0
    return daqkf.Design.load(folder / "uniform-15")


@pytest.mark.slow
def test_a_layer_of_minilm_has_the_bandwidth_of_the_memory(
    tmp_path_factory: pytest.TempPathFactory,
):
    folder = tmp_path_factory.mktemp("demo")
    layer = minilm(folder)
    x = np.load(folder / "x.npy")[: 2 * layer.config.lanes]
    for options, share in ((Options.NONE, 0.90), (Options.READ_BESIDE, 0.85)):
        own = SocSystem.of(system_files(layer.config), layer.config)
        own.options = options
        assert np.array_equal(layer.run(x, own), layer.reference(x)), LAYER
        (done,) = own.soc_runs
        print(f"{options.name}: {done.share:.1%} of the memory's bandwidth, {done.cycles:,} cycles")
        assert done.share >= share


def test_the_command_runs_a_layer_in_a_soc(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    design().save(tmp_path / "design")
    np.save(tmp_path / "x.npy", activations())
    paths = [str(tmp_path / name) for name in ("design", "x.npy", "y.npy")]
    assert main(["simulate", *paths[:2], "-o", paths[2], "--soc"]) == 0
    printed = capsys.readouterr().out
    assert "of what the memory could give" in printed
    assert np.array_equal(np.load(paths[2]), design().reference(activations()))
    assert main(["simulate", *paths[:2], "-o", paths[2], "--soc", "--stalls", "0.5"]) == 1
    assert "--stalls is not for --soc" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_runs_a_network_in_a_soc(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    network, inputs = driver_bench.network(), driver_bench.inputs()
    network.save(tmp_path / "network")
    np.savez(tmp_path / "x.npz", **inputs)
    paths = [str(tmp_path / name) for name in ("network", "x.npz", "y.npz")]
    running = ["run", *paths[:2], "-o", paths[2], "--accelerator", "soc"]
    assert main([*running, "--check"]) == 0
    printed = capsys.readouterr().out
    assert "bytes of results as expected" in printed
    assert "of what the memory could give" in printed
    (expected,) = network.run(inputs).values()
    (found,) = np.load(paths[2]).values()
    assert np.array_equal(found, expected)
    assert main([*running, "--external-memory", "ddr3-800"]) == 1
    assert "--external-memory is for --accelerator rtl or queue" in capsys.readouterr().err


@pytest.mark.slow
def test_a_bitstream_meets_its_clock_and_is_always_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    design().save(tmp_path / "design")
    files: list[bytes] = []
    for number in range(2):
        monkeypatch.setenv("DAQKF_CACHE", str(tmp_path / f"cache{number}"))
        path = tmp_path / f"{number}.bit"
        made = ["synth", str(tmp_path / "design"), "--board", "ulx3s-85f", "--bitstream", str(path)]
        assert main(made) == 0
        files.append(path.read_bytes())
    printed = capsys.readouterr().out
    assert f"openFPGALoader --board ulx3s {tmp_path / '1.bit'}" in printed
    assert files[0] == files[1]
    assert len(files[0]) > 100_000
    with pytest.raises(SynthesisError, match="no placement of 1 meets 200 MHz on ulx3s-85f"):
        make_bitstream(design().config, "ulx3s-85f", clock=200e6, seeds=(1,))
