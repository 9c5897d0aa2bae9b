# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Plans for language models, on a small one, and their cycles against simulation."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import daqkf
from daqkf.cli.main import main
from daqkf.hw_targets import load_target
from daqkf.hw_targets.config import smallest_array
from daqkf.hw_targets.memory import MemoryTiming, load_channels, load_memory
from daqkf.hw_targets.streams import is_coded
from daqkf.lowering.frontends.decoder import DecoderConfig
from daqkf.planning import plan
from daqkf.planning.decoding import DecodePlan, best_decoder, decode_pace
from daqkf.planning.workload import Product, Workload
from daqkf.studies.bench import language
from daqkf.studies.bench.device import Bench
from daqkf.studies.bench.language import Sampled, Weights, cache_bytes, layer_levels, shapes
from daqkf.studies.bench.language_layer import simulate_layer
from daqkf.studies.bench.language_speed import DENSE, Situation, others, ours
from daqkf.support.errors import DaqkfError

TINY = DecoderConfig(
    layers=3,
    width=96,
    hidden=160,
    heads=6,
    groups=2,
    features=16,
    vocabulary=700,
    epsilon=1e-5,
    context=256,
)


@pytest.fixture(autouse=True)
def _models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "MODELS", {"tiny": TINY})


@pytest.fixture(scope="module")
def sampled() -> Sampled:
    return Sampled.of(Weights("tiny", TINY, None), 0.5, 15)


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench.of("xck26", 250e6, 0.8)


def planned(sampled: Sampled, bench: Bench, **named: float) -> DecodePlan:
    cache = cache_bytes(TINY, 100, 8)
    work = sampled.decoding(cache, **named)  # pyright: ignore[reportArgumentType]
    return best_decoder(work, bench.device, bench.memory, bench.clock, bench.use)


def test_a_token_takes_all_weights_once(sampled: Sampled):
    work = sampled.decoding(0)
    layer = 96 * (96 + 2 * 32) + 96 * 96 + 96 * 320 + 160 * 96
    assert work.weights == 3 * layer + 96 * 700
    assert sampled.nonzeros == pytest.approx(0.5, abs=0.01)
    bits = sum(int(p.bits.sum()) for t in work.turns for p in t.parts if p.bits is not None)
    assert work.word_bits == bits / sum(int(p.costs.sum()) for t in work.turns for p in t.parts)
    # Outputs in several pieces are the same outputs.
    whole, pieces = (work.turns[-1].programs(most) for most in (1000, 300))
    assert [program.outputs for program in whole] == [700]
    assert sorted(program.outputs for program in pieces) == [233, 233, 234]
    assert cache_bytes(TINY, 100, 8) == 3 * 2 * 2 * 16 * 101


def test_parts_of_long_kernels_add_up(monkeypatch: pytest.MonkeyPatch):
    machine = language.coded_machine(96)
    monkeypatch.setattr(language, "coded_machine", lambda _: replace(machine, activation_depth=128))
    found = Sampled.of(Weights("tiny", TINY, None), 0.5, 15)
    down = found.turns[3]
    assert (down.name, [part.features for part in down.parts]) == ("ffn.down", [80, 80])
    runs = [run for run in found.decoding(0).runs(4096) if run.program.name == "ffn.down"]
    assert [run.program.keeps for run in runs] == [True, False]
    # The second part has its activations already.
    assert [run.results for run in runs] == [320, 0]
    assert found.config.partial_depth > 0


def test_a_plan_keeps_within_the_device(sampled: Sampled, bench: Bench):
    found = planned(sampled, bench)
    assert max(bench.device.shares(found.needs).values()) <= 0.8
    assert is_coded(found.config) and found.config.lanes == 1
    assert 0.1 < found.bandwidth <= 1
    assert found.tokens_per_second == pytest.approx(bench.clock / found.pace.cycles)
    streams = sum(int(p.bits.sum()) * t.times for t in sampled.turns for p in t.parts)  # pyright: ignore[reportOptionalMemberAccess]
    assert streams < 8 * found.pace.weight_bytes < 2 * streams + 2e5
    slower = planned(sampled, bench, host=20e-6)
    # Four kernels of three layers and the output.
    added = (slower.pace.cycles - found.pace.cycles) / bench.clock
    assert 0 < added <= 13 * 20e-6 * 1.001
    four = planned(sampled, bench, sequences=4, lanes=4)
    assert found.tokens_per_second < four.tokens_per_second < 4 * found.tokens_per_second
    assert four.pace.moved_bytes == pytest.approx(4 * found.pace.moved_bytes, rel=0.2)


def test_less_memory_is_slower(sampled: Sampled, bench: Bench):
    found = planned(sampled, bench)
    one = decode_pace(found.work, found.config, found.engines, bench.memory, bench.clock)
    assert one == found.pace
    slow = load_channels("lpddr4-2133")
    less = decode_pace(found.work, found.config, found.engines, slow, bench.clock)
    assert less.cycles > 1.3 * one.cycles
    assert less.weight_bytes == one.weight_bytes


def test_others_are_compared(sampled: Sampled, bench: Bench):
    asked = Situation(context=100, prompt=16)
    own = ours(sampled, bench, asked)
    dense, eight, four = others(own, sampled, bench, asked)
    assert dense.array == DENSE and dense.decode is not None
    assert dense.decode.config.families == ("dense",)
    assert dense.bits_per_weight >= 8 and dense.decode_rate < eight.decode_rate
    weights = sampled.decoding(0).weights
    cache = cache_bytes(TINY, 100, 8)
    assert four.bytes_per_token == weights / 2 + cache
    assert four.decode_rate == pytest.approx(bench.memory.bandwidth / four.bytes_per_token)
    assert own.prompt_rate is not None and own.first_token is not None
    assert own.prompt_rate > own.decode_rate
    assert own.first_token > 16 / own.prompt_rate


def test_coded_layers_are_planned():
    rng = np.random.default_rng(0)
    layer = daqkf.compile(
        rng.standard_normal((96, 80)),
        sparsity=0.5,
        levels="uniform-7",
        calibration=rng.standard_normal((32, 96)),
        target="wide-coded",
    )
    ((part,),) = (program.parts for program in Workload.of(layer).programs)
    assert isinstance(part, Product) and part.bits is not None
    assert part.shared(4).bits <= part.bits.sum() < 4.5 * part.shared(4).bits
    found = plan(layer, "xck26", tokens=2)
    assert is_coded(found.config) and found.config.memory_bits
    with pytest.raises(DaqkfError, match="nothing says what arrays take of 'ecp5-ordered'"):
        plan(layer, "ecp5-85k", tokens=2)


ENGINE = smallest_array(
    replace(
        load_target("wide-coded").machine,
        pes=2,
        lanes=1,
        post_lanes=1,
        residual_depth=0,
        partial_depth=512,
        result_depth=512,
        wide_results=False,
        memory_bits=64,
        program_bits=64,
        stream_depth=64,
    ),
    100,
)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddr3-800", "lpddr4-2133", "ideal"])
def test_cycles_are_within_3_percent_of_simulation(name: str):
    """Also with a kernel in two parts, whose results are equal to those of exact integers."""
    engine = replace(ENGINE, activation_depth=512)
    rng, levels = np.random.default_rng(0), {}
    for kernel, shape in {"in": (300, 160), "long": (700, 96), "out": (96, 300)}.items():
        drawn = rng.standard_normal(shape)
        levels[kernel] = np.where(abs(drawn) > 0.67, np.clip(np.rint(5 * drawn), -15, 15), 0)
        levels[kernel] = levels[kernel].astype(np.int8)
    timing = MemoryTiming(latency=24, beats=1, cycles=1)
    if name != "ideal":
        timing = load_memory(name).timing(250e6, engine)
    found = simulate_layer(levels, engine, timing)
    assert found.cycles == pytest.approx(found.predicted, rel=0.03)
    assert 0 < found.share <= 1


@pytest.mark.slow
def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    output, plot = tmp_path / "language.json", tmp_path / "language.svg"
    arguments = ["bench", "language", "--model", "tiny", "--device", "xck26", "--magnitudes", "7"]
    files = ["--json", str(output), "--plot", str(plot)]
    assert main([*arguments, "--sparsity", "0.5", "0.7", "--context", "64", *files]) == 0
    facts = json.loads(output.read_text())
    arrays = [row["array"] for row in facts["rows"]]
    assert arrays == ["dense-8", "bound-8", "bound-4", "ours", "ours"]
    assert facts["asked"]["context"] == 64
    half, less = facts["rows"][-2:]
    assert less["bits_per_weight"] < half["bits_per_weight"]
    assert half["to_bound_4"] == pytest.approx(
        half["decode_rate"] / facts["rows"][2]["decode_rate"]
    )
    assert plot.read_text().startswith("<?xml")
    assert "xck26" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "gpt"], "unknown model 'gpt' (known: "),
        (["--device", "vu9"], "unknown device 'vu9' (known: "),
        (["--sparsity", "1"], "--sparsity must be 0 or above and below 1, not 1"),
        (["--magnitudes", "0"], "--magnitudes must be 1 to 127, not 0"),
        (["--sequences", "0"], "--sequences must be 1 or more, not 0"),
        (["--for-prompts", "1"], "--for-prompts must be 0 or above and below 1, not 1"),
        (["--cache-bits", "0"], "--cache-bits must be 1 or more, not 0"),
        (["--host", "-1"], "--host must be 0 to 1,000,000 microseconds, not -1"),
        (["--use", "2"], "--use must be a share above 0 and up to 1, not 2"),
        (["--plot", "x.gif"], "x.gif: a picture is svg or png"),
        (["--toggles"], "--toggles is for daqkf bench array"),
    ],
)
def test_the_command_refuses(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["bench", "language", "--model", "tiny", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_what_is_simulated_of_drawn_weights_is_a_square_kernel():
    found = layer_levels(Weights("tiny", TINY, None), 0.5, 15)
    assert {name: levels.shape for name, levels in found.items()} == {"attention.out": (96, 96)}


def test_its_options_are_for_nothing_else(capsys: pytest.CaptureFixture[str]):
    assert main(["bench", "device", "--context", "3"]) == 1
    assert "--context is for daqkf bench language" in capsys.readouterr().err


def test_shapes_are_those_of_the_architecture():
    assert [(one.features, one.outputs) for one in shapes(TINY)] == [
        (96, 160),
        (96, 96),
        (96, 320),
        (160, 96),
        (96, 700),
    ]
