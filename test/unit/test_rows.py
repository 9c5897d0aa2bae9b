# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Residuals and kernels of the row unit: the golden model, and where the image has what."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from images import changed, sealed
from networks import MACHINE, MACHINES, activations_for
from row_networks import Rows
from xdsl.dialects.func import FuncOp

from daqkf.dialects.dense import to_array
from daqkf.dialects.interpreting import run
from daqkf.dialects.rpea import ChainOp, NormalizationOp, ProgramOp
from daqkf.hw_targets.image_format import KERNEL_WIDE, Command
from daqkf.hw_targets.numerics import NORMALIZED_FEATURES
from daqkf.hw_targets.words import chain_row, parameter_row
from daqkf.lowering.image.chain_table import chain_fields
from daqkf.lowering.image.decode import decode
from daqkf.lowering.image.disassemble import import_program
from daqkf.lowering.image.encode import encode, playable
from daqkf.lowering.image.image import ProgramImageError

CASES: Mapping[str, tuple[Sequence[int], dict[str, Any]]] = {
    "residual": ((24, 40, 20), {"saves": [0], "adds": [1]}),
    "own residual": ((24, 9), {"saves": [0], "adds": [0]}),
    "normalisation": ((24, 40, 9), {"normalizes": [0]}),
    "normalisation last": ((24, 13), {"normalizes": [0]}),
    "block": ((24, 20, 24, 40, 24), {"saves": [0, 2], "adds": [1, 3], "normalizes": [1, 3]}),
    "another save": ((24, 20, 11, 9), {"saves": [0, 1], "adds": [0, 1, 2], "normalizes": [0]}),
    "gating": ((24, 40, 9), {"gates": [0]}),
    "gating last": ((24, 13, 26), {"saves": [0], "adds": [0], "gates": [1]}),
    "exponents": (
        (24, 40, 20, 24),
        {"saves": [0], "adds": [1], "gates": [0, 1], "shares": {0: 3, 1: 3}},
    ),
    "wide": ((24, 40, 9), {"saves": [0], "adds": [1], "wide": True}),
    "wide exponents": ((24, 40, 9), {"gates": [0], "shares": {0: 3}, "wide": True}),
    "softmax": ((24, 30, 9), {"softmaxes": {0: 6}}),
    "softmax last": ((24, 20), {"softmaxes": {0: 20}}),
    # What follows is the same for all tokens, but for the residual.
    "softmax of one": ((24, 13, 9), {"saves": [0], "adds": [1], "softmaxes": {0: 1}}),
    "causal": ((24, 30, 9), {"softmaxes": {0: 6}, "causal": (2, 4)}),
    "causal last": ((24, 20), {"softmaxes": {0: 20}, "causal": (1, 11)}),
    "all": (
        (24, 32, 24, 20, 40, 24),
        {"saves": [0], "adds": [1], "gates": [0, 3], "normalizes": [1, 4], "softmaxes": {2: 5}},
    ),
}


def rows(case: str) -> Rows:
    shape, options = CASES[case]
    return Rows.random(5, shape, **options)


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("case", CASES)
def test_the_golden_model_is_the_formulas(case: str, name: str):
    made = rows(case)
    x = activations_for(made.layers, 9)
    y = run(made.module(MACHINES[name]), x)
    np.testing.assert_array_equal(y, made.expected(x))
    # Tokens and channels differ, so a test of equality means something.
    assert len(np.unique(y)) > y.size // 8


def chain(case: str, name: str = "P2-T2") -> ChainOp:
    (op,) = playable(rows(case).module(MACHINES[name]))
    assert isinstance(op, ChainOp)
    return op


@pytest.mark.parametrize("name", ["P2-T2", "dense"])
@pytest.mark.parametrize("case", CASES)
def test_images_come_back_with_what_they_save(case: str, name: str):
    op = chain(case, name)
    (again,) = playable(import_program(encode(op), op.target()))
    assert isinstance(again, ChainOp)
    assert again.saved == op.saved
    assert [type(kernel) for kernel in again.kernels()] == [type(k) for k in op.kernels()]
    assert encode(again) == encode(op)


def test_parameters_stand_where_the_circuit_reads_them():
    """Those of a normalisation one after another, but its exponents with the results before."""
    op = chain("block", "P3-T5-V5")
    config = op.target().config.data
    image = decode(encode(op), config)
    assert image.chain is not None
    fields, table = (
        parameter_row(config).unpack(image.parameters),
        chain_fields(config, image.chain),
    )
    assert table["normalizes"].tolist() == [0, 0, 1, 0, 0, 1]
    assert table["saves"].tolist() == [1, 0, 0, 1, 0, 0]
    ends = [*(table["slot"] * config.parameter_stride).tolist(), len(image.parameters)]
    for number, kernel in enumerate(op.kernels()):
        part = {name: v[ends[number] : ends[number + 1]] for name, v in fields.items()}
        used = part["multiplier"] > 0
        address = part["address"][used]
        if isinstance(kernel, NormalizationOp):
            np.testing.assert_array_equal(used, np.arange(len(used)) < kernel.channels)
            np.testing.assert_array_equal(address, np.arange(kernel.channels))
            assert not part["residual"].any()
            assert not part["exponent"].any()
            continue
        following, nothing = op.kernels()[number + 1], np.zeros(kernel.channels)
        residual = nothing if kernel.residual is None else to_array(kernel.residual)
        normalized = isinstance(following, NormalizationOp)
        exponent = to_array(following.exponent) if normalized else nothing
        np.testing.assert_array_equal(part["residual"][used], residual[address])
        np.testing.assert_array_equal(part["exponent"][used], exponent[address])


def test_gates_and_shares_stand_where_the_circuit_reads_them():
    """The gates' table with the results that are gated; a softmax's parameters group by group."""
    made, op = rows("all"), chain("all", "P3-T5-V5")
    config = op.target().config.data
    image = decode(encode(op), config)
    assert image.chain is not None
    fields, table = (
        parameter_row(config).unpack(image.parameters),
        chain_fields(config, image.chain),
    )
    assert table["gates"].tolist() == [0, 1, 0, 0, 0, 0, 0, 1, 0, 0]
    assert table["normalizes"].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 1]
    assert table["keys"].tolist() == [0, 0, 0, 0, 0, 5, 0, 0, 0, 0]
    pages = image.table[:, 0].astype(np.uint8).view(np.int8).reshape(-1, 256)
    for number, values in (
        (0, made.gatings[0].gate),
        (1, made.gatings[0].table),
        (4, made.layers.tables[2]),
        (5, made.softmaxes[2].table),
        (6, made.gatings[3].gate),
    ):
        np.testing.assert_array_equal(pages[number], values)
    begins = [*(table["slot"] * config.parameter_stride).tolist(), len(image.parameters)]
    parts = [{name: v[begin:end] for name, v in fields.items()} for begin, end in pairwise(begins)]
    for number, part in enumerate(parts):
        address = part["address"][part["multiplier"] > 0]
        if number != 5:
            gated = number in (0, 6)
            plain = part["plain"][part["multiplier"] > 0]
            np.testing.assert_array_equal(plain, address % 2 if gated else 0 * address)
    softmax, attend = parts[5], made.softmaxes[2]
    groups = [(start, share) for start in range(0, 20, 5) for share in (0, 1)]
    for begin, (start, share) in zip(range(0, 40, 5), groups, strict=True):
        own, group = slice(begin, begin + 5), slice(start, start + 5)
        found = {name: values[own].tolist() for name, values in softmax.items()}
        assert found["address"] == list(range(start, start + 5))
        assert found["plain"] == [share] * 5
        offset = [] if share else attend.offset[group].tolist()
        wrapped = [-value % (1 << config.sum_width) for value in offset]
        assert found["negated_bias"] == (wrapped or [0] * 5)
        multiplier, shift = attend.multiplier[group].tolist(), attend.shift[group].tolist()
        assert found["multiplier"] == (multiplier if share else [2] * 5)
        assert found["shift_minus_1"] == ([s - 1 for s in shift] if share else [0] * 5)


@pytest.mark.parametrize(
    ("case", "row", "fields", "message"),
    [
        ("block", 0, {"normalizes": 1}, "normalises what no program before it has computed"),
        ("block", 1, {"normalizes": 1}, "normalises 20 features as 24"),
        ("block", 2, {"saves": 1}, "saves activations, and has none"),
        ("block", 3, {"normalizes": 1}, "normalises what no program before it has computed"),
        ("all", 0, {"gates": 1}, "gates what no program before it has computed"),
        ("all", 2, {"gates": 1}, "gates what no program before it has computed"),
        ("all", 4, {"keys": 5}, "takes the softmax of what no program before it has computed"),
        ("all", 1, {"saves": 1}, "saves activations, and has none"),
        ("all", 5, {"saves": 1}, "saves activations, and has none"),
        ("all", 1, {"normalizes": 1}, "normalises and gates results at once"),
        ("all", 5, {"gates": 1}, "gates and takes the softmax of results at once"),
        ("all", 1, {"gates": 0, "keys": 4}, "takes the softmax of 32 features as 16"),
        ("all", 5, {"gates": 1, "keys": 0}, "gates 20 features as 20"),
        ("all", 5, {"keys": 3}, "takes the softmax of 20 features in groups of 3 keys"),
        ("all", 5, {"keys": 21}, "takes the softmax of 20 features in groups of 21 keys"),
    ],
)
def test_a_bad_chain_is_refused(case: str, row: int, fields: dict[str, int], message: str):
    op = chain(case)
    place = decode(encode(op), config := op.target().config.data).section(Command.CHAIN).word(row)
    data = changed(op, Command.CHAIN, row, **fields)
    expected = rf"^word {place} \(.*, row {row} of CHAIN: kernel {row} {message}"
    with pytest.raises(ProgramImageError, match=expected):
        decode(data, config)


@pytest.mark.parametrize("row", range(5))
def test_exponents_are_taken_back_by_the_kernel_behind(row: int):
    op = chain("exponents")
    config = op.target().config.data
    image = decode(encode(op), config)
    assert image.chain is not None
    scales = chain_fields(config, image.chain)["scales"].tolist()
    assert scales == [0, 1, 1, 1, 1]
    data = changed(op, Command.CHAIN, row, scales=1 - scales[row])
    with pytest.raises(ProgramImageError, match="than those behind rows that share exponents"):
        decode(data, config)


def test_the_row_unit_gives_no_wide_results():
    made = rows("normalisation last")
    config = replace(made.config(MACHINE), wide_results=True, result_depth=32)
    (op,) = playable(made.module(MACHINE, config))
    words = np.frombuffer(encode(op), "<u4").copy()
    words[decode(words.tobytes(), config).section(Command.KERNEL).word(0)] |= KERNEL_WIDE
    with pytest.raises(ProgramImageError, match=r"last kernel .* has no wide results"):
        decode(sealed(words), config)


@pytest.mark.parametrize("verb", ["normalises", "takes the softmax of"])
def test_so_many_go_together_and_not_more(verb: str):
    most = NORMALIZED_FEATURES
    machine = replace(MACHINE, parameter_depth=2 * most, result_depth=2 * most)
    options = {"normalizes": [0]} if verb == "normalises" else {"softmaxes": {0: most}}
    made = Rows.random(1, (3, most), **options)
    config = replace(made.config(machine), result_depth=2 * most)
    module = made.module(machine, config)
    x = activations_for(made.layers, 2)
    np.testing.assert_array_equal(run(module, x), made.expected(x))
    (op,) = playable(module)
    words = np.frombuffer(encode(op), "<u4").copy()
    image = decode(words.tobytes(), config)
    section = image.section(Command.CHAIN)
    rows = chain_row(config).unpack(section.rows)
    rows["outputs"] += 1
    if "keys" in rows:
        rows["keys"][1] += 1
    words[section.word(0) : section.word(2)] = chain_row(config).pack(rows).reshape(-1)
    words[image.section(Command.KERNEL).word(0)] += 1
    with pytest.raises(ProgramImageError, match=f"kernel 1 {verb} 2049 features; at most 2048"):
        decode(sealed(words), config)


def test_a_residual_is_played_in_chains_alone():
    module = rows("residual").module(MACHINE)
    (op,) = playable(module)
    module.body.block.erase_op(next(op for op in module.ops if isinstance(op, FuncOp)))
    module.body.block.erase_op(op)
    assert [program.residual for program in playable(module) if isinstance(program, ProgramOp)] == [
        None
    ]


def test_only_arrays_with_the_units_have_the_bits():
    with_residual, normalizing, gating, attending, sharing = (
        rows(case).config(MACHINE)
        for case in ("residual", "normalisation", "gating", "softmax", "exponents")
    )
    for config, parameters, chained in (
        (with_residual, {"residual"}, {"saves"}),
        (normalizing, {"exponent"}, {"normalizes"}),
        (gating, {"plain"}, {"gates"}),
        (attending, {"exponent", "plain"}, {"normalizes", "keys"}),
        (sharing, {"residual", "plain", "correction"}, {"saves", "gates", "scales"}),
        (replace(normalizing, normalizes=False), set[str](), set[str]()),
    ):
        widths = parameter_row(config).widths
        known = {"residual", "exponent", "plain", "correction"}
        assert known & widths.keys() == parameters
        fields = {"saves", "normalizes", "gates", "keys", "scales"}
        assert fields & chain_row(config).widths.keys() == chained


@pytest.mark.parametrize(
    ("row", "fields"), [(0, {"queries": 2}), (0, {"past": 2}), (1, {"queries": 0})]
)
def test_queries_of_what_is_no_causal_softmax_are_refused(row: int, fields: dict[str, int]):
    op = chain("causal")
    data = changed(op, Command.CHAIN, row, **fields)
    with pytest.raises(ProgramImageError, match=r"queries of a kernel .* is no causal softmax"):
        decode(data, op.target().config.data)
