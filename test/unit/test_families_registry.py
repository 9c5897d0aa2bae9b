# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Each family of processing elements has all its parts; another one is added from outside."""

from dataclasses import fields, replace

import numpy as np
import pytest
from unary_family.word import FAMILY as UNARY

import daqkf
from daqkf.formal.prover import Circuit, chosen, prove
from daqkf.formal.spec import Spec, spec_of
from daqkf.hw_targets import load_target
from daqkf.hw_targets.config import smallest_array
from daqkf.hw_targets.families import FAMILIES, registered
from daqkf.hw_targets.families.descriptor import Family, StreamWord, load
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.prices import Price, load_prices, priced_fabrics
from daqkf.lowering.rtl.families import datapath_of
from daqkf.lowering.rtl.families.stage import DatapathBuilder
from daqkf.passes.encode.coding import Coding, coding_of
from daqkf.passes.encode.cost_model import rank

MACHINE = Machine(2, 4, 4, 3, 256, 4096, 256, 256)
RNG = np.random.default_rng(5)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_six_parts(name: str):
    family = FAMILIES[name]
    parts = ("word", "golden", "coding", "datapath", "price", "spec")
    assert parts == tuple(field.name for field in fields(Family))[1:7]
    config = smallest_array(replace(MACHINE, families=(name,)), 20)
    assert family.name == name
    assert isinstance(family.word, StreamWord)
    assert all(bits > 0 for bits in family.word.stored(config).values())
    words = dict.fromkeys(family.word.fields(config), np.ones(1, np.int64))
    words |= family.word.supplied(1, 1, 1)
    (*_, last) = family.golden(words, np.zeros((256, 4), np.int64), config)
    assert last.shape == (4,)
    assert isinstance(coding_of(name), Coding)
    assert isinstance(datapath_of(name), DatapathBuilder)
    assert isinstance(spec_of(name), Spec)
    for fabric in priced_fabrics():
        price = load_prices(fabric).families[name]
        assert isinstance(price, Price)
        assert price.suited(MACHINE).cells(4) > 0


def test_upper_rooms_are_named_by_the_family():
    for name, family in FAMILIES.items():
        assert family.coding == f"daqkf.passes.encode.{name}:CODING"
        assert family.datapath == f"daqkf.lowering.rtl.families.{name}:DATAPATH"
        assert family.spec == f"daqkf.formal.specs.{name}:SPEC"
        assert family.price.stem == name


def test_a_part_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="running_sum:CODING is no DatapathBuilder"):
        load(FAMILIES["running_sum"].coding, DatapathBuilder)


def test_a_name_is_taken_once():
    with (
        pytest.raises(ValueError, match="there is already a family 'dense'"),
        registered(replace(UNARY, name="dense")),
    ):
        pass
    assert FAMILIES["dense"].lockstep


def test_a_family_is_known_while_it_is_registered():
    with pytest.raises(ValueError, match="unknown family 'unary'"):
        replace(MACHINE, families=("unary",))
    with registered(UNARY):
        assert replace(MACHINE, families=("unary",)).family(1) == "unary"
        assert chosen(["unary"]) == ["unary"]
    assert "unary" not in FAMILIES


@pytest.mark.slow
def test_a_new_family_compiles_and_its_circuit_does_what_its_golden_model_does():
    """It runs a layer bit for bit as running sums do, alone and beside these, and stalls."""
    weights, x = RNG.standard_normal((20, 7)), RNG.standard_normal((9, 20))
    options = {"levels": "uniform-7", "sparsity": 0.4, "calibration": x, "target": "tiny"}
    expected = daqkf.compile(weights, **options).reference(x)
    with registered(UNARY):
        for family in ("unary", "unary,running_sum"):
            design = daqkf.compile(weights, family=family, **options)
            assert design.config.families == tuple(family.split(","))
            assert np.array_equal(design.reference(x), expected)
            assert np.array_equal(design.simulate(x, stalls=0.3), expected)
        assert "daqkf_unary_element.sv" in design.verilog_files


def test_a_new_family_is_ranked_by_its_price():
    levels = RNG.integers(-3, 4, (20, 6)).astype(np.int8)
    machine = load_target("tiny").machine
    assert rank([levels], machine, load_prices("xcup"))[0].family != "unary"
    with registered(UNARY):
        assert rank([levels], machine, load_prices("xcup"))[0].family == "unary"
        assert "unary" not in load_prices("xcup-dsp").families


def test_a_new_family_is_proved():
    pytest.importorskip("bitwuzla")
    with registered(UNARY):
        answers = list(prove(Circuit("unary"), products=((2, 2),)))
    assert {answer.verdict for answer in answers} == {"proved"}
    assert len(answers) >= 6
