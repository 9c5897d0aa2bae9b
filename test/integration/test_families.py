# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The family of elements is chosen, from Python and from the command line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import daqkf
from daqkf.cli.main import main
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.words import stream_word

RNG = np.random.default_rng(12)
WEIGHTS, X = RNG.standard_normal((20, 6)), RNG.standard_normal((5, 20))

OTHER_TARGET = """
[machine]
pes = 2
lanes = {lanes}
post_lanes = 1
max_shift = 1
activation_depth = 64
stream_depth = 1024
parameter_depth = 16
result_depth = 32
weight_bits = {weight_bits}
"""


def compile(**options: Any) -> daqkf.Design:
    options = {"sparsity": 0.4, "calibration": X, "target": "tiny", **options}
    return daqkf.compile(WEIGHTS, **options)


def test_every_family_computes_the_same():
    """By its golden model, which `test_array.py` holds its circuit against; mixed ones in RTL."""
    levels = dict.fromkeys((*FAMILIES, "running_sum,multiply"), 127) | {
        "ternary": "ternary",
        "ternary,multiply": "ternary",
    }
    for family, chosen in levels.items():
        golden = compile(levels=chosen).reference(X)
        design = compile(levels=chosen, family=family)
        assert design.config.families == tuple(family.split(","))
        assert np.array_equal(design.reference(X), golden), family
        if "," in family:
            assert np.array_equal(design.simulate(X, stalls=0.2), golden), family


def test_auto_takes_what_the_fabric_has():
    """DSP blocks multiply int8 cheaply; ternary weights need no multiplier."""
    design = compile(family="auto", fabric="xcup-dsp", sparsity=0.0)
    assert (design.config.families, design.config.multiplier) == (("multiply",), "packed")
    for levels in ("ternary", "binary", "uniform-1"):
        assert compile(family="auto", levels=levels).config.families == ("ternary",)
    assert compile(family="multiply").config.multiplier == "booth"
    assert compile(family="multiply", fabric="xcup-dsp").config.multiplier == "packed"


def test_a_chosen_family_is_that_of_the_next_layer():
    design = compile(family=["multiply"], fabric="xcup-dsp", cycles=60)
    other = daqkf.compile(WEIGHTS[:, :4], levels=7, target=design)
    assert other.config == design.config
    with pytest.raises(daqkf.DaqkfError, match="a design's array has its elements"):
        compile(target=design, family="dense")


@pytest.mark.slow
def test_indices_of_few_bits_compute_the_same():
    golden = compile().reference(X)
    for family, bits in (("running_sum", 3), ("multiply", 2), ("running_sum,multiply", 4)):
        design = compile(family=family, index_bits=bits)
        assert design.config.index_bits == bits
        assert np.array_equal(design.reference(X), golden), family
    assert np.array_equal(design.simulate(X, stalls=0.3), golden)
    assert compile(index_bits="auto").config.index_bits == 0  # one block RAM holds any stream


@pytest.mark.slow
def test_indices_of_a_design_are_those_of_the_next_layer():
    design = compile(family="multiply", index_bits=3)
    other = daqkf.compile(WEIGHTS[:, :4], levels=7, sparsity=0.6, target=design)
    assert other.config == design.config
    assert np.array_equal(other.simulate(X), other.reference(X))
    with pytest.raises(daqkf.DaqkfError, match="no family, fabric or index_bits with it"):
        compile(target=design, index_bits=2)


@pytest.mark.slow
def test_variants_with_indices_of_few_bits():
    design = compile(levels=["codebook-7", "ternary"], sparsity=[0.2, 0.6], index_bits=3)
    assert len(design.level_sets) == 2
    assert np.array_equal(design.simulate(X, stalls=0.2), design.reference(X))


@pytest.mark.slow
def test_variants_of_a_chosen_family():
    design = compile(family="auto", levels=["codebook-7", "ternary"], sparsity=[0.2, 0.6])
    assert len(design.level_sets) == 2
    assert np.array_equal(design.simulate(X), design.reference(X))


@pytest.mark.slow
def test_a_network_of_a_chosen_family(tmp_path: Path):
    path = tmp_path / "layer.npz"
    np.savez(path, weights=WEIGHTS)

    def network(**named: Any) -> daqkf.CompiledNetwork:
        return daqkf.compile(path, levels=7, sparsity=0.6, target="tiny", **named)

    coded = network(family="multiply", index_bits=2)
    assert coded.config.index_bits == 2
    facts = coded.summary()
    assert facts["bits_per_weight"]["bound"] < facts["bits_per_weight"]["stream"]
    chosen, other = network(family="auto", fabric="xcup-dsp"), network(family="dense")
    assert chosen.config.families != ("dense",)
    assert chosen.cycles < other.cycles
    x = dict.fromkeys(chosen.inputs, X)
    (y,), (simulated,) = (
        chosen.run(x, accelerator=accelerator).values() for accelerator in ("fast", "rtl")
    )
    assert np.array_equal(y, simulated)


COMPILE = ("compile", "w.npy", "--calibration", "x.npy", "-o", "out")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    np.save(tmp_path / "w.npy", WEIGHTS)
    np.save(tmp_path / "x.npy", X)
    for lanes, weight_bits in ((3, [8]), (2, [4])):
        text = OTHER_TARGET.format(lanes=lanes, weight_bits=weight_bits)
        (tmp_path / f"lanes{lanes}.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_family_on_the_command_line(files: Path, capsys: pytest.CaptureFixture[str]):
    assert main([*COMPILE, "--target", "tiny", "--family", "running_sum,strassen"]) == 0
    assert "on the longest of 2 PEs (running_sum, strassen)" in " ".join(
        capsys.readouterr().err.split()
    )
    assert daqkf.Design.load(files / "out").config.families == ("running_sum", "strassen")


def test_what_streams_take_is_printed(files: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ("--target", "tiny", "--family", "multiply", "--index-bits", "3")
    assert main([*COMPILE, *arguments, "--sparsity", "0.5"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    facts = json.loads((files / "out" / "design.json").read_text())
    bits, config = facts["bits_per_weight"], daqkf.Design.load(files / "out").config
    assert f"streams: {bits['stream']:.2f} bits per non-zero weight (a bitmap " in said
    assert f"the entropy bound {bits['bound']:.2f}), {facts['stream_ramb36']:g} RAMB36" in said
    assert config.index_bits == 3
    width = 3 + 8 + 2
    assert stream_word(config, 0).width == width
    nonzeros = np.count_nonzero(daqkf.Design.load(files / "out").weight_levels)
    assert bits["stream"] == pytest.approx(sum(facts["stream_words"]) * width / nonzeros, abs=1e-3)
    assert bits["bound"] < bits["bitmap"] < bits["csr"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--family", "abacus"], "unknown family 'abacus' of processing elements (known: "),
        (["--family", "multiply,abacus"], "unknown family 'abacus'"),
        (["--family", "auto,multiply"], "unknown family 'auto'"),
        (["--family", "dense,multiply"], "dense elements share an array with no other family"),
        (["--family", "multiply,dense"], "dense elements share an array with no other family"),
        (["--family", "semiring,multiply,strassen"], "3 families for 2 PEs"),
        (["--family", "strassen", "--target", "lanes3.toml"], "pairs its lanes, and 3 are odd"),
        (["--family", "ternary"], "a ternary element holds up to 1"),
        (["--family", "multiply", "--target", "lanes2.toml"], "a multiply element holds up to 7"),
        (["--family", "auto", "--fabric", "sand"], "no prices for fabric 'sand'"),
        (["--fabric", "xcup"], "fabric 'xcup' is for a family, and none is given"),
        (["--family", "multiply", "--pareto"], "it takes no --family"),
        (["--index-bits", "0", "--pareto"], "it takes no --family or --index-bits"),
        (["--index-bits", "6"], "index_bits must be 2..5 for addresses of 6 bits, not 6"),
        (["--index-bits", "few"], "index_bits must be a number or auto, not 'few'"),
        (["--index-bits", "2", "--family", "dense"], "dense elements have no index_bits"),
    ],
)
def test_the_command_line_names_what_is_wrong(
    files: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
):
    target = [] if "--target" in arguments else ["--target", "tiny"]
    assert main([*COMPILE, *target, *arguments]) == 1
    said = capsys.readouterr()
    (line,) = [line for line in said.err.splitlines() if line.startswith("daqkf: ")]
    assert message in line
    assert not (files / "out").exists()


def test_an_unknown_family_of_minilm_is_refused_at_once(capsys: pytest.CaptureFixture[str]):
    assert main(["compile", "minilm", "--family", "abacus", "-o", "nowhere"]) == 1
    assert "daqkf: unknown family 'abacus'" in capsys.readouterr().err
