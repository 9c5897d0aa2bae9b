# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Packed rows, array configurations and program images."""

import dataclasses
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daqkf.dialects.rpea import ConfigAttr, DispatchOp, ProgramOp
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.fields import Fields
from daqkf.hw_targets.image_format import Command, Header, fingerprint
from daqkf.hw_targets.words import dispatch_row, parameter_row
from daqkf.lowering.image.decode import decode
from daqkf.lowering.image.encode import encode
from daqkf.lowering.image.image import ProgramImageError
from daqkf.support.ir import make_context, parse_module

CONFIG = ArrayConfig(
    pes=2,
    lanes=2,
    post_lanes=1,
    max_shift=1,
    activation_depth=4,
    stream_depth=4,
    parameter_depth=2,
    result_depth=2,
    running_sum_width=9,
    accumulator_width=10,
    sum_width=11,
)


def array(config: ArrayConfig) -> str:
    return f"rpea.array @array {ConfigAttr(config)}".replace("#rpea.config", "")


PROGRAM = f"""
{array(CONFIG)}
rpea.program @program on @array features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[1, 0]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[-7, 1]> : tensor<2xi32> multiplier dense<[9, 8]> : tensor<2xi32>
  shift dense<[3, 47]> : tensor<2xi32> table dense<5> : tensor<256xi8>
"""


@pytest.fixture(scope="module")
def program() -> ProgramOp:
    module = parse_module(make_context(), PROGRAM, "test")
    return next(op for op in module.ops if isinstance(op, ProgramOp))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.data())
def test_fields_come_back(widths: list[int], data: st.DataObject):
    layout = Fields({f"f{i}": width for i, width in enumerate(widths)})
    assert layout.width == sum(widths)
    values = {
        name: np.array(
            data.draw(st.lists(st.integers(0, 2**width - 1), min_size=3, max_size=3)), np.int64
        )
        for name, width in layout.widths.items()
    }
    words = layout.pack(values)
    assert words.shape == (3, -(-sum(widths) // 32))
    back = layout.unpack(words)
    assert all(np.array_equal(back[name], values[name]) for name in values)
    # The first field is lowest: as one big integer, the row is what the offsets say.
    whole = sum(int(word) << (32 * i) for i, word in enumerate(words[0]))
    assert whole == sum(int(values[n][0]) << layout.offsets[n] for n in values)


def test_fields_refuse_what_does_not_fit():
    layout = Fields({"a": 3})
    assert layout.pack({"a": np.array([-4, 7])}).tolist() == [[4], [7]]
    for value in (8, -5):
        with pytest.raises(ValueError, match="a does not fit 3 bits"):
            layout.pack({"a": np.array([value])})


def test_fingerprints_tell_configs_apart():
    wider = dataclasses.replace(CONFIG, sum_width=12)
    assert fingerprint(CONFIG) == fingerprint(dataclasses.replace(CONFIG))
    assert fingerprint(wider) != fingerprint(CONFIG)


def test_image_comes_back(program: ProgramOp):
    image = decode(encode(program), CONFIG)
    assert (image.features, image.channels) == (2, 2)
    assert image.table.tolist() == [[5]] * 256
    assert [image.streams[pe].tolist() for pe in (0, 1)] == [[[911]], [[975]]]
    rows = parameter_row(CONFIG).unpack(image.parameters)
    assert rows["address"].tolist() == [1, 0]
    assert rows["negated_bias"].tolist() == [2**11 - 1, 7]
    assert rows["multiplier"].tolist() == [8, 9]
    assert rows["shift_minus_1"].tolist() == [46, 2]


def _change(data: bytes, word: int, value: int, *, seal: bool = False) -> bytes:
    """Replace a word; with `seal`, correct the length and the CRC afterwards."""
    words = np.frombuffer(data, "<u4").copy()
    words[word] = value
    if seal:
        body = words[len(Header) :].tobytes()
        words[Header.LENGTH], words[Header.CRC] = len(body) // 4, zlib.crc32(body)
    return words.tobytes()


@pytest.mark.parametrize(
    ("word", "value", "message"),
    [
        (Header.MAGIC, 0, "not a DAQKF program image: magic 0x0"),
        (Header.VERSION, 9, "another version: version 0x9, not 0x8"),
        (Header.FINGERPRINT, 1, "the program is for another array: fingerprint 0x1"),
        (Header.LENGTH, 3, "truncated: length 0x3"),
        (len(Header) + 1, 3, "the program image is damaged: crc"),
    ],
)
def test_damaged_images_are_refused(program: ProgramOp, word: int, value: int, message: str):
    with pytest.raises(ProgramImageError, match=message):
        decode(_change(encode(program), word, value), CONFIG)


@pytest.mark.parametrize(
    ("word", "value", "message"),
    [
        (0, 0x7000_0000, r"word 5 \(byte 0x14\) is no command: 0x70000000"),
        (3, 0x3000_0001, r"word 8 \(byte 0x20\), TABLE: unit 1; the array has 0..0"),
        (4, 5000, "the rows of command 3 run past the image"),
        (-2, 0x1000_0000, r"STREAM of PE 0: a second time"),
        (-5, 0x1000_0000, "STREAM of PE 0: a second time"),
    ],
)
def test_malformed_bodies_are_refused(program: ProgramOp, word: int, value: int, message: str):
    data = encode(program)
    place = word + (len(Header) if word >= 0 else len(data) // 4)
    with pytest.raises(ProgramImageError, match=message):
        decode(_change(data, place, value, seal=True), CONFIG)


@pytest.mark.parametrize("length", [0, 3, 16, 20, 400])
def test_truncated_images_are_refused(program: ProgramOp, length: int):
    with pytest.raises(ProgramImageError, match="truncated"):
        decode(encode(program)[:length], CONFIG)


PICKING = dataclasses.replace(CONFIG, stream_depth=8, parameter_depth=8, buckets=4)
"""An array with a SPAQ unit. A decision of two buckets leaves two of its rows to the last."""

DISPATCH = f"""
{array(PICKING)}
rpea.program @a on @array features 2
  stream dense<[[143], [911], [975]]> : tensor<3x1xi32> rows dense<[2, 1]> : tensor<2xi32>
  outputs dense<[0, 1]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[1, 2]> : tensor<2xi32> multiplier dense<3> : tensor<2xi32>
  shift dense<4> : tensor<2xi32> table dense<5> : tensor<256xi8>
rpea.program @b on @array features 2
  stream dense<[[911], [975]]> : tensor<2x1xi32> rows dense<1> : tensor<2xi32>
  outputs dense<[1, 0]> : tensor<2xi32> counts dense<1> : tensor<2xi32>
  bias dense<[6, 7]> : tensor<2xi32> multiplier dense<8> : tensor<2xi32>
  shift dense<9> : tensor<2xi32> table dense<5> : tensor<256xi8>
rpea.dispatch @both of [@a, @b] by <lanes = 2, shift = 1, table = [1, 0]>
"""


@pytest.fixture(scope="module")
def dispatch() -> DispatchOp:
    module = parse_module(make_context(), DISPATCH, "test")
    return next(op for op in module.ops if isinstance(op, DispatchOp))


def test_variants_stand_one_after_another(dispatch: DispatchOp):
    image = decode(encode(dispatch), PICKING)
    assert image.shift == 1
    assert image.dispatch is not None
    rows = dispatch_row(PICKING).unpack(image.dispatch)
    assert rows["variant"].tolist() == [1, 0, 0, 0]
    # Variant 1 begins behind the longer stream of variant 0, on both PEs.
    assert rows["stream"].tolist() == [2, 0, 0, 0]
    assert rows["slot"].tolist() == [1, 0, 0, 0]
    assert [image.streams[pe][:, 0].tolist() for pe in (0, 1)] == [[143, 911, 911], [975, 0, 975]]
    parameters = parameter_row(PICKING).unpack(image.parameters)
    assert (2**11 - parameters["negated_bias"]).tolist() == [1, 2, 7, 6]
    assert parameters["address"].tolist() == [0, 1, 1, 0]


def test_a_program_alone_runs_on_an_array_that_picks(dispatch: DispatchOp):
    image = decode(encode(dispatch.variants()[1]), PICKING)
    assert image.shift == 0
    assert image.dispatch is not None
    assert not image.dispatch.any()


@pytest.mark.parametrize(
    ("word", "value", "message"),
    [
        (0, Command.DISPATCH << 28 | 3, "4 buckets with a shift of 3; the array has 4, and shifts"),
        (2, 3, "bucket 0 begins at stream 3, beyond the 3 of the image"),
        (3, 2 << 3, "bucket 1 begins at slot 2, beyond the 2 of the image"),
    ],
)
def test_bad_decisions_are_refused(dispatch: DispatchOp, word: int, value: int, message: str):
    data = encode(dispatch)
    words = np.frombuffer(data, "<u4")
    (place,) = np.flatnonzero(words == (Command.DISPATCH << 28 | 1))
    with pytest.raises(ProgramImageError, match=message):
        decode(_change(data, int(place) + word, value, seal=True), PICKING)


def test_an_image_without_its_decision_is_refused(dispatch: DispatchOp):
    words = np.frombuffer(encode(dispatch), "<u4")
    (place,) = np.flatnonzero(words == (Command.DISPATCH << 28 | 1))
    data = np.delete(words, slice(int(place), int(place) + 6)).tobytes()
    with pytest.raises(ProgramImageError, match="has 0 decision tables, not one"):
        decode(_change(data, Header.MAGIC, int(words[0]), seal=True), PICKING)
