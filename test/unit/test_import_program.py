# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Program images read back: as IR, as listings, and what is found wrong in them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attending_networks import Attending
from images import changed, sealed
from networks import MACHINE, MACHINES, Layers, activations_for, chained, lowered
from row_networks import Rows
from xdsl.dialects.builtin import ModuleOp, UnitAttr

from daqkf.cli.translate import main
from daqkf.dialects.dfke.attributes import DecisionAttr
from daqkf.dialects.interpreting import run
from daqkf.dialects.rpea import DispatchOp, Playable, ProgramOp
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.decision import Decision
from daqkf.hw_targets.image_format import Command, Header
from daqkf.hw_targets.words import parameter_row
from daqkf.lowering.image.decode import decode
from daqkf.lowering.image.disassemble import import_program
from daqkf.lowering.image.encode import encode, for_tiles, playable
from daqkf.lowering.image.image import ProgramImageError, Section
from daqkf.lowering.image.listing import listing
from daqkf.support.ir import make_context, module_text, parse_module

FAMILIES = {
    **MACHINES,
    "ternary": replace(MACHINE, families=("ternary",)),
    "semiring": replace(MACHINE, families=("semiring",)),
    "strassen": replace(MACHINE, families=("strassen",)),
    "narrow": replace(MACHINE, families=("multiply",), weight_bits=(4, 8)),
    "windows": replace(MACHINE, index_bits=3),
    "deltas": replace(MACHINE, families=("multiply",), index_bits=2),
    "banks": replace(MACHINE, banks=2),
    "64 bits a cycle": replace(MACHINE, banks=2, program_bits=64),
    "128 bits a cycle": replace(MACHINE, program_bits=128),
    "256 bits a cycle": replace(MACHINE, program_bits=256),
    "one element": replace(MACHINE, pes=1, program_bits=256),
}
SHAPES = {
    "kernel": (24, 5),
    "chain": (24, 11, 9),
    "rows": (24, 20, 24, 11),
    "units": (24, 40, 18, 12),
    "exponents": (24, 40, 20),
}
ROWS: Mapping[str, dict[str, Any]] = {
    "rows": {"saves": (0, 2), "adds": (1, 2), "normalizes": (1, 2)},
    "exponents": {"saves": (0,), "adds": (1,), "gates": (0,), "shares": {0: 3}},
    "units": {"saves": (0,), "adds": (1,), "gates": (0,), "softmaxes": {1: 6}, "normalizes": (2,)},
}


def layers(name: str, shape: str) -> Layers:
    made = rows(shape).layers if shape in ROWS else Layers.random(3, SHAPES[shape])
    if name == "ternary":
        return Layers([np.sign(levels) for levels in made.levels], made.shifts, made.tables)
    return made


def rows(shape: str) -> Rows:
    return Rows.random(3, SHAPES[shape], **ROWS[shape])


@cache
def loaded(name: str, shape: str) -> Playable:
    """A program for an array of this machine, by its shape.

    It is a kernel, a chain, a chain that normalises, one with all that a row unit can do, one
    that computes attention, or a dispatch of two kernels.
    """
    machine = FAMILIES[name]
    if shape == "attends":
        made = Attending.random(3, 6, 2, machine.items, 3)
        units = {"normalizes": True, "softmax": True, "residual_depth": 8, "operand_depth": 16}
        return playable(made.lowered(replace(machine, max_shift=1, **units)))[-1]
    if shape == "dispatch":
        return dispatched(name, (1, 0, 0, 1), 2)
    if shape in ROWS:
        made = replace(rows(shape), layers=layers(name, shape))
        return playable(made.module(machine))[-1]
    module = layers(name, shape).module(machine)
    return playable(lowered(chained(module) if shape == "chain" else module))[-1]


def dispatched(name: str, table: tuple[int, ...], shift: int) -> DispatchOp:
    """Two programs of one shape on one array, and a decision between them."""
    module = lowered(layers(name, "kernel").module(FAMILIES[name]))
    (program,) = playable(module)
    assert isinstance(program, ProgramOp)
    array = program.target()
    config = array.config.data
    depths = {
        "stream_depth": 2 * config.stream_depth,
        "parameter_depth": 2 * config.parameter_depth,
    }
    array.properties["config"] = type(array.config)(replace(config, buckets=4, **depths))
    other = program.clone()
    other.properties["sym_name"] = type(program.sym_name)("other")
    other.properties["bias"], other.properties["shift"] = program.shift, program.shift
    op = DispatchOp("both", [program, other], DecisionAttr(Decision(config.lanes, shift, table)))
    module.body.block.insert_ops_after([other, op], program)
    module.verify()
    return op


def config_of(program: Playable) -> ArrayConfig:
    return program.target().config.data


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("shape", [*SHAPES, "dispatch"])
def test_images_come_back(name: str, shape: str):
    program = loaded(name, shape)
    data = encode(program)
    module = import_program(data, program.target())
    text = module_text(module)
    again = playable(parse_module(make_context(), text, "text"))
    assert [type(op) for op in again] == [type(program)]
    assert encode(again[-1]) == data
    lines = listing(data, config_of(program)).splitlines()
    sections = decode(data, config_of(program)).sections
    rows = sum(len(s.rows) for s in sections if s.command in (Command.STREAM, Command.PARAMETERS))
    assert sum("slot" in line or "x[" in line or "+" in line for line in lines) > rows / 2


def test_a_dispatch_that_always_takes_the_same_comes_back():
    for table in ((0, 0, 0, 0), (1, 1, 1, 1)):
        for name in ("P2-T2", "dense"):
            program = dispatched(name, table, 0)
            module = import_program(encode(program), program.target())
            (again,) = playable(module)
            assert isinstance(again, DispatchOp)
            assert len(again.variants()) == 2
            assert encode(again) == encode(program)
    program = dispatched("P2-T2", (0, 0, 0, 0), 1)
    first = program.variants()[0]
    alone = DispatchOp("one", [first], DecisionAttr(Decision(2, 1, (0, 0))))
    program.parent_block().insert_ops_after([alone], program)  # pyright: ignore
    data = encode(alone)
    assert encode(playable(import_program(data, first.target()))[-1]) == data
    assert encode(playable(import_program(encode(first), first.target()))[-1]) == encode(first)


UNITS = {
    "accumulator_width": 20,
    "sum_width": 20,
    "kernels": 4,
    "residual_depth": 8,
    "normalizes": True,
}


@pytest.mark.parametrize("units", [{}, UNITS])
@pytest.mark.parametrize("flags", [{"adds"}, {"keeps"}, {"adds", "keeps"}])
def test_partial_sums_come_back(flags: set[str], units: dict[str, Any]):
    module = lowered(layers("P2-T2", "kernel").module(MACHINE))
    (program,) = playable(module)
    array = program.target()
    config = replace(array.config.data, partial_depth=8, **units)
    array.properties["config"] = type(array.config)(config)
    program.properties.update(dict.fromkeys(flags, UnitAttr()))
    data = encode(program)
    (again,) = playable(import_program(data, array))
    assert encode(again) == data
    assert flags == {"adds", "keeps"} & again.properties.keys()
    kernel = f"KERNEL features 24 outputs 5 {' '.join(sorted(flags))}"
    assert kernel in listing(data, array.config.data)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (len(Header), r"word 5 \(byte 0x14\): what fills up the header is not 0"),
        (len(Header) + 3 + 1, r"word 8 .*, KERNEL: what fills up the beat is not 0"),
        (len(Header) + 3 + 4 + 2, r"word 8 .*, KERNEL: what fills up the beat is not 0"),
        (len(Header) + 3 + 8 + 3, r"word 16 .*, KERNEL: what fills up the beat is not 0"),
        (-1, r"word \d+ .*, END: what fills up the beat is not 0"),
    ],
)
def test_what_fills_up_beats_is_0(place: int, message: str):
    program = loaded("128 bits a cycle", "kernel")
    words = np.frombuffer(encode(program), "<u4").copy()
    assert words[place] == 0
    words[place] = 1
    with pytest.raises(ProgramImageError, match=message):
        decode(sealed(words), config_of(program))


@pytest.mark.parametrize("name", ["banks", "64 bits a cycle"])
def test_tiles_are_told(name: str):
    program = loaded(name, "kernel")
    data = for_tiles(encode(program), 12, config_of(program))
    assert encode(playable(import_program(data, program.target()))[-1]) == encode(program)
    assert listing(data, config_of(program)).endswith("END after 12 tiles\n")


def test_a_listing_says_what_the_weights_are():
    """Of multipliers, every item is a weight and its row."""
    made, program = layers("mixed", "kernel"), loaded("mixed", "kernel")
    assert isinstance(program, ProgramOp)
    lines = listing(encode(program), config_of(program)).splitlines()
    start = next(n for n, line in enumerate(lines) if "STREAM of PE 1 (multiply)" in line)
    image = decode(encode(program), config_of(program))
    fields = parameter_row(config_of(program)).unpack(image.parameters)
    outputs = iter(fields["address"][1::2].tolist())
    output, found = next(outputs), np.zeros_like(made.levels[0])
    for line in lines[start + 1 : -1]:
        for term in line.split()[1:]:
            if "*" in term:
                weight, row = term.removesuffix("]").split("*x[")
                found[int(row), output] += int(weight)
        if "last" in line and "end" not in line:
            output = next(outputs)
    mine = found.any(axis=0)
    assert mine.sum() == 2
    np.testing.assert_array_equal(found[:, mine], made.levels[0][:, mine])


@pytest.mark.parametrize(
    ("shape", "command", "row", "fields", "message"),
    [
        ("kernel", Command.STREAM, 3, {"index0": 25}, "row 3 of STREAM of PE 0: index0 reads"),
        ("kernel", Command.STREAM, 0, {"last": 1}, "KERNEL: 5 outputs, but the streams complete 6"),
        (
            "kernel",
            Command.STREAM,
            -1,
            {"end": 0},
            "none of the 27 rows from row 0",
        ),
        ("kernel", Command.STREAM, 5, {"end": 1}, "KERNEL: 5 outputs, but the streams complete"),
        ("kernel", Command.PARAMETERS, 1, {"address": 0}, "row 1 of PARAMETERS: output 0 of 5 c"),
        ("kernel", Command.PARAMETERS, 0, {"address": 7}, "of PARAMETERS: output"),
        (
            "kernel",
            Command.PARAMETERS,
            2,
            {"multiplier": 0},
            "a multiplier of 0, not 1..65535",
        ),
        ("kernel", Command.PARAMETERS, 4, {"address": 1}, "row 4 of PARAMETERS: .* is encoded as"),
        (
            "kernel",
            Command.PARAMETERS,
            0,
            {"shift_minus_1": 63},
            "a shift of 64, not 1..47",
        ),
        (
            "chain",
            Command.CHAIN,
            1,
            {"stream": 3},
            "row 1 of CHAIN: .* is encoded as",
        ),
        ("chain", Command.CHAIN, 1, {"slot": 0}, "row 1 of CHAIN: .* is encoded as"),
        # Rows 0 to 19 are a program's, 20 to 43 another's, 44 to 67 of a normalisation.
        ("rows", Command.CHAIN, 2, {"stream": 3}, "row 2 of CHAIN: .* is encoded as"),
        ("rows", Command.CHAIN, 2, {"slot": 3}, "row 2 of CHAIN: .* is encoded as"),
        (
            "rows",
            Command.CHAIN,
            0,
            {"saves": 0},
            "row 20 of PARAMETERS: a residual of 24 outputs, of 0 activations that are kept",
        ),
        ("rows", Command.PARAMETERS, 3, {"exponent": 1}, "row 3 of PARAMETERS: .* is encoded as"),
        ("rows", Command.PARAMETERS, 44, {"exponent": 1}, "row 44 of PARAMETERS: .* is encoded as"),
        ("rows", Command.PARAMETERS, 44, {"residual": 1}, "row 44 of PARAMETERS: .* is encoded as"),
        ("rows", Command.PARAMETERS, 44, {"address": 1}, "row 44 of PARAMETERS: output 1 of 24"),
        ("rows", Command.PARAMETERS, 67, {"multiplier": 0}, "row 67 of PARAMETERS: a multiplier"),
        # Rows 0 to 39 are gated, 40 to 59 are of the gating, 60 to 77 are scores, 78 to 113 are of
        # the softmax: 6 rows of exponentials, 6 of shares, and so on.
        (
            "units",
            Command.PARAMETERS,
            0,
            {"plain": 1},
            "row 0 of PARAMETERS: output 8 is plain, and in this chain it has to be looked up",
        ),
        (
            "units",
            Command.PARAMETERS,
            1,
            {"plain": 0},
            "row 1 of PARAMETERS: output 31 is looked up in the table, and .* has to be plain",
        ),
        ("units", Command.PARAMETERS, 41, {"plain": 1}, "row 41 of PARAMETERS: output 1 is plain"),
        ("units", Command.PARAMETERS, 60, {"plain": 1}, "row 60 of PARAMETERS: output 16 is plain"),
        ("units", Command.PARAMETERS, 78, {"plain": 1}, "row 78 of PARAMETERS: output 0 is plain"),
        ("units", Command.PARAMETERS, 84, {"plain": 0}, "row 84 of PARAMETERS: output 0 is looked"),
        ("units", Command.PARAMETERS, 78, {"multiplier": 3}, "row 78 .* is encoded as"),
        ("units", Command.PARAMETERS, 78, {"shift_minus_1": 1}, "row 78 .* is encoded as"),
        ("units", Command.PARAMETERS, 84, {"negated_bias": 1}, "row 84 .* is encoded as"),
        ("units", Command.PARAMETERS, 84, {"address": 1}, "row 84 .*: output 1 of 18 comes twice"),
        ("units", Command.PARAMETERS, 90, {"multiplier": 0}, "row 90 .*: a multiplier of 0"),
        ("units", Command.PARAMETERS, 96, {"multiplier": 0}, "row 96 .*: a multiplier of 0"),
        ("units", Command.PARAMETERS, 78, {"residual": 1}, "row 78 .* is encoded as"),
        # Rows 0 to 39 are gated, 40 to 59 are of the gating, whose biases are corrections.
        ("exponents", Command.PARAMETERS, 40, {"negated_bias": 1}, "row 40 .* is encoded as"),
        ("exponents", Command.PARAMETERS, 3, {"correction": 1}, "row 3 .* is encoded as"),
        ("units", Command.CHAIN, 3, {"keys": 9}, "row 84 of PARAMETERS: output 0 of 18 comes twi"),
        ("units", Command.TABLE, 3 * 256, {"value": 128}, "rpea.softmax: exponentials must"),
        ("dispatch", Command.DISPATCH, 2, {"slot": 1}, "row 2 of DISPATCH: .* is encoded as"),
        (
            "dispatch",
            Command.DISPATCH,
            0,
            {"variant": 5},
            "row 0 of DISPATCH: variant 5 of 2",
        ),
    ],
)
def test_what_is_wrong_is_named(
    shape: str, command: Command, row: int, fields: dict[str, int], message: str
):
    program = loaded("P2-T2", shape)
    section = decode(encode(program), config_of(program)).section(command)
    data = changed(program, command, row % len(section.rows), **fields)
    decode(data, config_of(program))
    with pytest.raises(ProgramImageError, match=rf"^(word \d+ \(byte 0x.*|){message}"):
        import_program(data, program.target())


def cut(program: Playable, section: Section) -> np.ndarray:
    """The words of an image without a section."""
    words = np.frombuffer(encode(program), "<u4")
    end = section.place + 2 + section.rows.size
    return np.delete(words, slice(section.place, end))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (Command.END, "the program image has no end"),
        (Command.KERNEL, "the program image lacks KERNEL"),
        (Command.TABLE, "the program image lacks TABLE"),
        (Command.PARAMETERS, "the program image lacks PARAMETERS"),
        (Command.STREAM, "the program image lacks a stream for each of 2 PEs"),
    ],
)
def test_every_command_is_needed(command: Command, message: str):
    program = loaded("P2-T2", "kernel")
    section = decode(encode(program), config_of(program)).section(command)
    with pytest.raises(ProgramImageError, match=message):
        import_program(sealed(cut(program, section)), program.target())


def test_sizes_are_those_of_the_memories():
    program = loaded("P2-T2", "kernel")
    data, config = encode(program), config_of(program)
    image = decode(data, config)
    kernel = image.section(Command.KERNEL).place
    stream, table = image.section(Command.STREAM).place, image.section(Command.TABLE)
    for word, value, message in (
        (kernel + 1, 0, "KERNEL: a count of 0; the array holds 31"),
        (kernel + 1, 32, "KERNEL: a count of 32; the array holds 31"),
        (kernel + 2, 9, "9 outputs; the array holds 1..8"),
        (stream, 0x1000_0002, "STREAM of PE 2: unit 2; the array has 0..1"),
        (table.word(3), 0x1FF, "row 3 of TABLE: 0x1ff, where the same program is encoded as 0xff"),
    ):
        words = np.frombuffer(data, "<u4").copy()
        words[word] = value
        with pytest.raises(ProgramImageError, match=message):
            import_program(sealed(words), program.target())
    words = np.delete(np.frombuffer(data, "<u4"), slice(table.word(0), table.word(6)))
    words[table.place + 1] -= 6
    with pytest.raises(ProgramImageError, match="TABLE: 250 rows, not 256"):
        import_program(sealed(words), program.target())


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("P2-T2", "kernel"),
        ("P2-T2", "chain"),
        ("P2-T2", "dispatch"),
        ("mixed", "dispatch"),
        ("dense", "chain"),
        ("P2-T2", "rows"),
        ("P2-T2", "attends"),
        *(
            pytest.param(name, shape, marks=pytest.mark.slow)
            for name, shape in (
                ("dense", "rows"),
                ("strassen", "kernel"),
                ("windows", "kernel"),
                ("deltas", "kernel"),
                ("banks", "kernel"),
            )
        ),
    ],
)
def test_flipped_bytes_are_found_or_make_another_good_program(name: str, shape: str):
    """With the CRC of what they make; half of them next to the commands."""
    program = loaded(name, shape)
    data, array = encode(program), program.target()
    rng = np.random.default_rng(11)
    starts = [4 * section.place for section in decode(data, config_of(program)).sections]
    places = rng.integers(4 * len(Header), len(data), 40).tolist()
    places += [min(int(rng.choice(starts) + rng.integers(0, 20)), len(data) - 1) for _ in range(40)]
    refused = 0
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= int(rng.integers(1, 256))
        with pytest.raises(ProgramImageError, match="damaged"):
            import_program(bytes(damaged), array)
        again = sealed(np.frombuffer(bytes(damaged), "<u4").copy())
        try:
            module = import_program(again, array)
        except ProgramImageError:
            refused += 1
            continue
        image = decode(again, config_of(program))
        encoded = encode(playable(module)[-1])
        expected = for_tiles(encoded, image.tiles, config_of(program)) if image.tiles else encoded
        assert expected == again
        listing(again, config_of(program))
    assert refused > 20


def test_the_ir_of_an_image_computes_what_its_layer_did():
    made, program = layers("P2-T2", "chain"), loaded("P2-T2", "chain")
    module = import_program(encode(program), program.target(), name=program.sym_name.data)
    original = lowered(chained(made.module(FAMILIES["P2-T2"])))
    parts = {op.sym_name.data: op for op in module.ops if isinstance(op, ProgramOp)}
    for op in [op for op in original.ops if isinstance(op, ProgramOp)]:
        op.properties.update(parts[op.sym_name.data].properties)
    x = activations_for(made, 4)
    np.testing.assert_array_equal(run(original, x), made.expected(x))


def test_the_command_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    program = loaded("P2-T2", "kernel")
    (tmp_path / "programs").mkdir()
    image, facts = tmp_path / "programs" / "p.bin", tmp_path / "network.json"
    image.write_bytes(encode(program))
    facts.write_text(json.dumps({"array": asdict(config_of(program))}))
    array = tmp_path / "array.mlir"
    module = program.parent_op()
    assert isinstance(module, ModuleOp)
    array.write_text(module_text(module))
    for options in ([], ["--array", str(array)], ["--array", str(tmp_path)]):
        assert main(["--validate", str(image), *options]) == 0
        assert "24 features, 5 outputs, for any number of tiles" in capsys.readouterr().out
    bad = tmp_path / "bad.bin"
    bad.write_bytes(changed(program, Command.STREAM, 3, index0=25))
    binary, out = str(bad), str(tmp_path / "out")
    for arguments, message in (
        (["--validate", binary], f"{bad}: word 285 (byte 0x474), row 3 of STREAM of PE 0: index0"),
        (["--disassemble", binary, "-o", out], f"{bad}: word 285"),
        (["--disassemble", binary, "--to", "program"], "translates to mlir or listing, not to pro"),
        (["--validate", binary, "--to", "mlir"], "--validate translates to nothing"),
        (["--validate", binary, "x.mlir"], "an image is read by itself: no other input"),
        (["--array", binary, "--to", "mlir"], "--array is for --disassemble and --validate"),
        (["--validate", binary, "--array", binary], f"{bad}: not text"),
        (["--validate", str(tmp_path / "none")], "none: No such file or directory"),
        (["--validate", binary, "--array", str(tmp_path / "no")], "no: No such file or directory"),
    ):
        assert main(arguments) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("daqkf-translate: ")
        assert message in line
    assert not Path(out).exists()
    array.write_text("func.func @nothing() {\n  func.return\n}\n")
    assert main(["--validate", str(image), "--array", str(array)]) == 1
    assert "expected one rpea.array in the module, not 0" in capsys.readouterr().err
    good = asdict(config_of(program))
    for text, message in (
        ("{", "not JSON: Expecting property name"),
        ("[]", "must be an object, not a list"),
        ("[" * 100_000, "nested too deeply"),
        ("{}", "lacks 'array'"),
        ('{"array": 3}', "'array' must be an object, not an integer"),
        ('{"array": {"pes": 2}}', "lacks 'array.lanes'"),
        ({"array": good | {"pes": "two"}}, "'array.pes' must be an integer, not a text"),
        ({"array": good | {"pes": True}}, "'array.pes' must be an integer, not true or false"),
        ({"array": good | {"families": [1]}}, "'array.families.0' must be a text, not an integer"),
        ({"array": good | {"size": 1}}, "does not know 'array.size'"),
        ({"array": good | {"banks": 9}}, "'array': banks must be 1 or 2, not 9"),
    ):
        facts.write_text(text if isinstance(text, str) else json.dumps(text))
        assert main(["--validate", str(image)]) == 1
        assert f"{facts}: {message}" in capsys.readouterr().err
    facts.unlink()
    assert main(["--validate", str(image)]) == 1
    assert "programs: has no design.json or network.json; say --array" in capsys.readouterr().err
