# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Plans: their cycles against simulation, their resources against yosys, and the command."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import engine_resources
import numpy as np
import pytest
from networks import MACHINE, Layers, activations_for, chained, config_of, lowered

import daqkf
from daqkf.cli.main import main
from daqkf.compiler.design import Design
from daqkf.dialects.rpea import ProgramOp
from daqkf.hw_targets import load_fabric, load_target
from daqkf.hw_targets.device import load_device
from daqkf.hw_targets.engine import engine_needs
from daqkf.hw_targets.memory import IDEAL, load_memory
from daqkf.hw_targets.prediction import KernelWork, Step, program_beats, tile_cycles_of
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.encode import encode, parts_of, playable
from daqkf.lowering.rtl.array import build_array
from daqkf.planning import Plan, plan
from daqkf.planning.workload import Product, Workload
from daqkf.runtime.simulator import Job, Simulator
from daqkf.support.errors import DaqkfError

CLOCK = 250e6
NARROW = replace(MACHINE, pes=4, lanes=4, post_lanes=4, max_shift=0, items=8, banks=2)
MACHINES = {
    "from memory": replace(NARROW, memory_bits=128, stream_depth=64),
    "on chip": replace(NARROW, stream_depth=2**13),
    "on chip, wide programs": replace(NARROW, stream_depth=2**13, program_bits=128),
    "slow post unit": replace(NARROW, post_lanes=1, memory_bits=256, stream_depth=64),
    "a tree": replace(
        NARROW, pes=2, lanes=36, post_lanes=18, items=4, memory_bits=128, stream_depth=64
    ),
}
MEMORIES = ("", "ddr4-2400", "ddr3-800")


@pytest.mark.slow
@pytest.mark.parametrize("name", MACHINES)
def test_cycles_are_within_3_percent_of_simulation(name: str):
    layers = Layers.random(3, (60, 80, 50, 40))
    module = lowered(chained(layers.module(MACHINES[name])))
    config, (program,) = config_of(module), playable(module)
    steps: list[Step] = [
        KernelWork(part.features.value.data, part.channels, part.longest)
        for part in parts_of(program)
        if isinstance(part, ProgramOp)
    ]
    image = encode(program)
    if not config.memory_bits:
        beats = 8 * len(image) / config.program_bits
        assert program_beats(steps, config) == pytest.approx(beats, rel=0.25)
    array = Simulator.verilated(emit_verilog(circuit_module(build_array(config))), config)
    for memory in MEMORIES if config.memory_bits else MEMORIES[:1]:
        behind = load_memory(memory).timing(CLOCK, config) if memory else IDEAL
        totals: list[int] = []
        for tiles in (10, 40):
            x = activations_for(layers, tiles * config.lanes)
            (trace,) = array.trace([Job(image, x, program.channels)], memory=behind)
            totals.append(trace.cycles.total)
        predicted = tile_cycles_of(steps, config, behind).total
        assert predicted == pytest.approx((totals[1] - totals[0]) / 30, rel=0.03), memory


@pytest.mark.slow
@pytest.mark.parametrize("name", [*engine_resources.CHECKS][:2])
def test_resources_are_within_10_percent_of_yosys(name: str):
    """`benchmarks/engine_resources.py --check` has an engine of 256 lanes, too."""
    config, fabric = engine_resources.CHECKS[name], load_fabric("xcup")
    found, predicted = engine_resources.whole(fabric, config, True), engine_needs(config, "xcup")
    assert predicted.luts == pytest.approx(found.luts, rel=0.1)
    assert predicted.flip_flops == pytest.approx(found.flip_flops, rel=0.1)
    assert predicted.block_rams_18k == found.block_rams_18k
    assert predicted.ultra_rams == found.ultra_rams


@pytest.fixture(scope="module")
def layer() -> Design:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((96, 80)) / 10
    return daqkf.compile(
        weights,
        sparsity=0.7,
        levels="uniform-7",
        calibration=rng.standard_normal((32, 96)),
        target="wide-memory",
    )


@pytest.fixture(scope="module")
def folder(layer: Design, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "layer"
    layer.save(path)
    return path


@pytest.fixture(scope="module")
def planned(layer: Design) -> Plan:
    return plan(layer, "xc7z020", tokens=4)


def test_a_plan_keeps_within_the_device(planned: Plan):
    assert planned.memory.name == "ddr3-1066"
    assert 0.3 < max(planned.shares.values()) <= 1
    assert max(load_device("xc7z020").shares(planned.needs).values()) <= 0.8
    assert planned.engines * planned.config.lanes < 8
    assert planned.tokens_per_second == pytest.approx(4 / planned.latency)
    assert planned.rate < planned.peak
    assert sum(planned.pace.causes.values()) == pytest.approx(planned.pace.cycles)


def test_what_is_planned_is_what_was_compiled(layer: Design):
    work = Workload.of(layer)
    ((product,),) = (program.parts for program in work.programs)
    assert isinstance(product, Product)
    assert (product.features, product.outputs) == (work.programs[0].features, 80)
    # As many words as its own array takes, shared out as well as there.
    share = product.shared(layer.config.pes)
    assert share.words == pytest.approx(max(layer.summary()["stream_words"]), rel=0.02)
    assert share.outputs == pytest.approx(80 / layer.config.pes, abs=4)
    assert work.words == product.shared(1).words


def test_more_room_and_more_memory_never_slow_a_plan_down(layer: Design, planned: Plan):
    less = plan(layer, "xc7z020", tokens=4, use=0.3)
    assert less.tokens_per_second < planned.tokens_per_second
    assert planned.tokens_per_second <= plan(layer, "xck26", tokens=4).tokens_per_second
    quick = plan(layer, "xc7z020", tokens=4, objective="latency", use=0.3)
    assert quick.alone.cycles < less.alone.cycles
    assert quick.tokens_per_second <= less.tokens_per_second


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"device": "vu9"}, r"unknown device 'vu9' \(known: ecp5-25k, "),
        ({"memory": "ddr9x2"}, r"unknown memory 'ddr9' \(known: "),
        ({"tokens": 0}, "plans are for 1 token or more, not 0"),
        ({"use": 1.5}, "use must be a share above 0 and up to 1, not 1.5"),
        ({"use": 1e-4}, r"no engine for this network fits 0% of xc7z020"),
        ({"clock": 0.0}, "a clock must be above 0, not 0 MHz"),
        ({"objective": "beauty"}, r"unknown objective 'beauty' \(known: throughput, latency\)"),
    ],
)
def test_what_cannot_be_planned_is_said(layer: Design, named: dict[str, object], message: str):
    arguments = {"device": "xc7z020"} | named
    with pytest.raises(DaqkfError, match=message):
        plan(layer, **arguments)  # pyright: ignore[reportArgumentType]


def test_a_queue_is_no_part_of_the_engine(tmp_path: Path):
    target = tmp_path / "queue.toml"
    entries = asdict(replace(load_target("wide-memory").machine, queue=True))
    lines = (f"{name} = {json.dumps(value)}" for name, value in entries.items())
    target.write_text("\n".join(['description = ""', "[machine]", *lines]))
    weights = np.random.default_rng(0).standard_normal((20, 12))
    queued = daqkf.compile(weights, calibration=np.eye(20), target=str(target))
    assert queued.config.queue
    found = plan(queued, "xc7z020", tokens=4)
    assert not found.config.queue


def test_other_elements_are_not_planned():
    weights = np.arange(-8, 8, dtype=np.int8).reshape(4, 4)
    with pytest.raises(DaqkfError, match="elements, not for multiply"):
        plan(daqkf.compile(weights, family="multiply", calibration=np.eye(4)), "xck26")


def test_the_command_prints_and_writes(
    folder: Path, planned: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    outputs = tmp_path / "plan.json", tmp_path / "plan.svg"
    options = ["--device", "xc7z020", "--tokens", "4", "--json", str(outputs[0])]
    assert main(["plan", str(folder), *options, "--plot", str(outputs[1])]) == 0
    assert json.loads(outputs[0].read_text()) == json.loads(json.dumps(planned.facts()))
    assert outputs[1].read_text().startswith("<?xml")
    printed = capsys.readouterr().out
    assert f"{planned.tokens_per_second:,.0f}" in printed
    assert "GB/s of ddr3-1066" in printed


def test_the_tables_fit_80_columns(planned: Plan):
    from daqkf.support.tables import table_text

    for table in planned.tables():
        assert max(map(len, table_text(table, 80).splitlines())) <= 80


def refused(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["plan", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--device", "vu9"], "unknown device 'vu9' (known: "),
        (["--memory", "ddr9"], "unknown memory 'ddr9' (known: "),
        (["--json", "no.json/x"], "no.json"),
        (["--plot", "roof.gif"], "roof.gif: a roofline is svg or png"),
        (["--sparsity", "0.5"], "--sparsity is for what is compiled; "),
    ],
)
def test_the_command_refuses(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changed: list[str],
    message: str,
):
    monkeypatch.chdir(tmp_path)
    Path("no.json").touch()
    assert message in refused([str(folder), "--device", "xck26", *changed], capsys)


def test_files_are_looked_at_before_anything_is_compiled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    weights = tmp_path / "w.npy"
    weights.write_bytes(b"no array")
    assert "unknown device" in refused([str(weights), "--device", "none"], capsys)
    missing = str(tmp_path / "absent.npy")
    assert missing in refused([missing, "--device", "xck26"], capsys)


def test_weights_are_compiled_first(tmp_path: Path):
    weights, samples = tmp_path / "w.npy", tmp_path / "x.npy"
    rng = np.random.default_rng(1)
    np.save(weights, rng.standard_normal((20, 12)))
    np.save(samples, rng.standard_normal((16, 20)))
    options = ["--device", "ecp5-85k", "--tokens", "4", "--calibration", str(samples)]
    assert main(["plan", str(weights), *options, "--json", str(tmp_path / "p.json")]) == 0
    facts = json.loads((tmp_path / "p.json").read_text())
    assert facts["device"] == "ecp5-85k"
    assert facts["engines_by_memory"] == {"block": facts["engines"]}
    assert max(facts["shares"].values()) <= 1
