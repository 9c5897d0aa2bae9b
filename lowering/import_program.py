# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Program images → `rpea`: the inverse of `program_image.encode`, and what validates an image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp, i8, i32
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.dense import from_array
from daqkf.dialects.dfke.attributes import DecisionAttr
from daqkf.dialects.dfke.decision import Decision
from daqkf.dialects.rpea import ArrayConfig, ArrayOp, ChainOp, DispatchOp, Playable, ProgramOp
from daqkf.dialects.rpea.families import FAMILIES
from daqkf.dialects.rpea.layout import Command, Header
from daqkf.dialects.spaq.numerics import MULTIPLIER_MAX, SHIFT_MAX, SHIFT_MIN, TABLE_SIZE, wrap
from daqkf.lowering.program_image import (
    Image,
    ProgramImageError,
    byte_at,
    decode,
    encode,
    for_tiles,
)

Ints = NDArray[np.int64]
Words = NDArray[np.uint32]


@dataclass(frozen=True)
class _Part:
    """A program of an image."""

    features: int
    channels: int
    streams: Sequence[Words]
    """Its rows by element."""
    counts: Sequence[int]
    """The outputs of each element."""
    slot: int
    """Where its parameters begin."""


def import_program(data: bytes, array: ArrayOp, name: str = "program") -> ModuleOp:
    """The array and what an image says that it plays: `encode` makes the same image of it.

    The tiles that an image is for are not part of the IR; `Image.tiles` has them.

    Raises:
        ProgramImageError: an image that an array would refuse or play wrongly, or that its
            encoder would write otherwise: with rows that nothing reads, say.
    """
    array = array.clone()
    config, module = array.config.data, ModuleOp([array])
    image = decode(data, config)
    parts = _parts(image, config)
    names = [name]
    if len(parts) > 1 or image.shift:
        kind = "variant" if config.dispatches else "kernel"
        names = [f"{name}_{kind}_{number}" for number in range(len(parts))]
    programs = [
        _program(image, part, number, names[number], array) for number, part in enumerate(parts)
    ]
    module.body.block.add_ops(programs)
    whole: Playable = programs[0]
    if config.chains and len(parts) > 1:
        whole = ChainOp(name, programs)
    elif len(parts) > 1 or image.shift:
        whole = _dispatch(image, name, programs, config)
    if whole is not programs[0]:
        module.body.block.add_op(whole)
    try:
        module.verify()
    except VerifyException as error:
        raise ProgramImageError(str(error)) from None
    _require_same(data, image, encode(whole))
    return module


def _parts(image: Image, config: ArrayConfig) -> list[_Part]:
    """The programs of an image, one after another in the memories.

    Each is as long as the longest stream of an element up to its end.
    """
    sizes = [(image.features, image.channels)]
    if image.chain is not None:
        outputs = config.chain_row.unpack(image.chain)["outputs"].tolist()
        sizes = list(zip([image.features, *outputs[:-1]], outputs, strict=True))
    shortest = min(len(rows) for rows in image.streams.values())
    parts: list[_Part] = []
    begin = slot = 0
    while begin < shortest if image.dispatch is not None else len(parts) < len(sizes):
        features, channels = sizes[min(len(parts), len(sizes) - 1)]
        if config.lockstep:
            counts = np.bincount(np.arange(channels) % config.pes, minlength=config.pes).tolist()
            length = features * max(counts)
            end = begin + length if begin + length < shortest else None
            streams = [image.streams[pe][begin:end] for pe in range(config.pes)]
        else:
            found = [_stream(image, pe, begin, features, config) for pe in range(config.pes)]
            streams, counts = [rows for rows, _ in found], [count for _, count in found]
            length = max(len(rows) for rows in streams)
        parts.append(_Part(features, channels, streams, counts, slot))
        begin, slot = begin + length, slot + max(counts)
    return parts


def _program(image: Image, part: _Part, number: int, name: str, array: ArrayOp) -> ProgramOp:
    columns = _parameters(image, part, array.config.data)
    table = image.table[:, 0].astype(np.uint8).view(np.int8)
    if image.chain is not None:
        table = table[TABLE_SIZE * number : TABLE_SIZE * (number + 1)]
    if len(table) != TABLE_SIZE:
        place = byte_at(image.section(Command.TABLE).place)
        raise ProgramImageError(f"{place}, TABLE: {len(table)} rows, not {TABLE_SIZE}")
    return ProgramOp(
        name,
        array.sym_name.data,
        part.features,
        adds=image.adds,
        keeps=image.keeps,
        stream=from_array(np.concatenate(part.streams).view(np.int32), i32),
        rows=from_array(np.array([len(rows) for rows in part.streams]), i32),
        counts=from_array(np.array(part.counts), i32),
        table=from_array(table, i8),
        **{column: from_array(values, i32) for column, values in columns.items()},
    )


def _stream(
    image: Image, pe: int, begin: int, features: int, config: ArrayConfig
) -> tuple[Words, int]:
    """The rows of a PE's stream from one to its end, and the outputs that they complete."""
    section, family = image.section(Command.STREAM, pe), FAMILIES[config.family(pe)]
    rows = section.rows[begin:]
    fields = config.stream_word(pe).unpack(rows)
    ends = np.flatnonzero(fields["end"])
    if not len(ends):
        raise ProgramImageError(
            f"{byte_at(section.word(begin))}, {section.title}: none of the {len(rows)} rows from "
            f"row {begin} on carries the end of a stream"
        )
    length = int(ends[0]) + 1
    words = family.played({name: values[:length] for name, values in fields.items()}, config)
    for name in family.addresses(config):
        outside = (words[name] >= features) & (words[name] != config.null_address)
        if outside.any():
            row = int(outside.argmax())
            raise ProgramImageError(
                f"{byte_at(section.word(begin + row))}, row {begin + row} of {section.title}: "
                f"{name} reads feature {words[name][row]} of {features}"
            )
    return rows[:length], family.completed(words)


def _parameters(image: Image, part: _Part, config: ArrayConfig) -> dict[str, Ints]:
    """The outputs in order, and by channel what the parameter memory has of them."""
    section = image.section(Command.PARAMETERS)
    row = np.concatenate(
        [
            (part.slot + np.arange(count)) * config.parameter_stride + pe
            for pe, count in enumerate(part.counts)
        ]
    )
    missing = row[row >= len(section.rows)]
    if len(missing):
        raise ProgramImageError(
            f"{byte_at(section.place)}, PARAMETERS: {len(section.rows)} rows, but PE "
            f"{missing[0] % config.parameter_stride} has an output at row {missing[0]}"
        )
    if len(row) != part.channels:
        raise ProgramImageError(
            f"{byte_at(image.section(Command.KERNEL).place)}, KERNEL: {part.channels} outputs, but "
            f"the streams complete {len(row)}: {list(part.counts)} by element"
        )
    fields = config.parameter_row.unpack(section.rows[row])
    channels = fields["address"]
    order = np.argsort(channels, kind="stable")
    wrong = np.flatnonzero(channels[order] != np.arange(len(order)))
    if len(wrong):
        place = int(row[order[wrong[0]]])
        raise ProgramImageError(
            f"{byte_at(section.word(place))}, row {place} of PARAMETERS: output "
            f"{channels[order[wrong[0]]]} of {part.channels} comes twice, or is none"
        )
    shift = fields["shift_minus_1"] + 1
    for name, values, low, high in (
        ("multiplier", fields["multiplier"], 1, MULTIPLIER_MAX),
        ("shift", shift, SHIFT_MIN, SHIFT_MAX),
    ):
        for wrong in np.flatnonzero((values < low) | (values > high)):
            raise ProgramImageError(
                f"{byte_at(section.word(int(row[wrong])))}, row {row[wrong]} of PARAMETERS: a "
                f"{name} of {values[wrong]}, not {low}..{high}"
            )
    return {
        "outputs": channels,
        "bias": wrap(-fields["negated_bias"], config.sum_width)[order],
        "multiplier": fields["multiplier"][order],
        "shift": shift[order],
    }


def _dispatch(
    image: Image, name: str, programs: Sequence[ProgramOp], config: ArrayConfig
) -> DispatchOp:
    assert image.dispatch is not None
    table = config.dispatch_row.unpack(image.dispatch)["variant"]
    unknown = np.flatnonzero(table >= len(programs))
    if len(unknown):
        section = image.section(Command.DISPATCH)
        raise ProgramImageError(
            f"{byte_at(section.word(int(unknown[0])))}, row {unknown[0]} of DISPATCH: variant "
            f"{table[unknown[0]]} of {len(programs)}"
        )
    decision = Decision(config.lanes, image.shift, tuple(table.tolist()))
    return DispatchOp(name, programs, DecisionAttr(decision))


def _require_same(data: bytes, image: Image, again: bytes) -> None:
    """Check that an image is what its program is encoded as."""
    if image.tiles:
        again = for_tiles(again, image.tiles)
    words, expected = np.frombuffer(data, "<u4"), np.frombuffer(again, "<u4")
    length = min(len(words), len(expected))
    # A body that differs also has another CRC.
    body = slice(len(Header), length)
    different = np.flatnonzero(words[body] != expected[body]) + len(Header)
    if not len(different) and len(words) == len(expected):
        return
    place = int(different[0]) if len(different) else length
    section = next((s for s in reversed(image.sections) if s.place <= place), None)
    row = ""
    if section is not None and place >= section.place + 2 and section.rows.size:
        row = f"row {(place - section.place - 2) // section.rows.shape[1]} of "
    found = f"{int(words[place]):#x}" if place < len(words) else "missing"
    encoded = f"{int(expected[place]):#x}" if place < len(expected) else "nothing"
    title = "the header" if section is None else section.title
    raise ProgramImageError(
        f"{byte_at(place)}, {row}{title}: {found}, where the same program is encoded as {encoded}"
    )
