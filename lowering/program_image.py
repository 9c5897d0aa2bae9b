# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`rpea.program` ↔ the program image: the 32-bit words that an array is loaded with."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.dense import to_array
from daqkf.dialects.rpea import ArrayConfig, ProgramOp
from daqkf.dialects.rpea.layout import (
    COMMAND_OP_SHIFT,
    IMAGE_MAGIC,
    IMAGE_VERSION,
    Command,
    Header,
)

Words = NDArray[np.uint32]


class ProgramImageError(ValueError):
    """A program image that an array would refuse, or would play wrongly."""


def _command(op: Command, unit: int, rows: Words) -> Iterator[Words]:
    yield np.array([(op << COMMAND_OP_SHIFT) | unit, len(rows)], np.uint32)
    yield rows.reshape(-1)


def parameter_rows(program: ProgramOp, config: ArrayConfig) -> Words:
    """The parameter memory, packed: row `slot · stride + pe` for each PE's outputs in order.

    Rows of the padding between PEs are zero.
    """
    counts = to_array(program.counts)
    channels = to_array(program.outputs)
    slots = int(counts.max())
    slot = np.concatenate([np.arange(count) for count in counts])
    row = slot * config.parameter_stride + np.repeat(np.arange(config.pes), counts)
    packed = config.parameter_row.pack(
        {
            "bias": to_array(program.bias)[channels],
            "multiplier": to_array(program.multiplier)[channels],
            "shift_minus_1": to_array(program.shift)[channels] - 1,
            "address": channels,
        }
    )
    rows = np.zeros((slots * config.parameter_stride, packed.shape[1]), np.uint32)
    rows[row] = packed
    return rows


def encode(program: ProgramOp) -> bytes:
    """The image of a program for its array: header and body, little-endian 32-bit words."""
    config = program.target().config.data
    table = config.table_row.pack({"value": to_array(program.table).view(np.uint8)})
    streams = np.split(program.packed_stream(), np.cumsum(to_array(program.rows))[:-1])
    body: list[Words] = [
        np.array(
            [
                Command.KERNEL << COMMAND_OP_SHIFT,
                program.features.value.data,
                program.channels,
            ],
            np.uint32,
        ),
        *_command(Command.TABLE, 0, table),
        *_command(Command.PARAMETERS, 0, parameter_rows(program, config)),
    ]
    for pe, rows in enumerate(streams):
        body += _command(Command.STREAM, pe, rows)
    body.append(np.array([Command.END << COMMAND_OP_SHIFT, 0], np.uint32))
    data = np.concatenate(body).astype("<u4").tobytes()
    header = dict(
        zip(
            Header,
            (IMAGE_MAGIC, IMAGE_VERSION, config.fingerprint, len(data) // 4, zlib.crc32(data)),
            strict=True,
        )
    )
    return np.array([header[field] for field in Header], "<u4").tobytes() + data


@dataclass(frozen=True)
class Image:
    """What a program image says, by its commands."""

    features: int
    channels: int
    table: Words
    parameters: Words
    streams: dict[int, Words]


def decode(data: bytes, config: ArrayConfig) -> Image:
    """Read an image back, checking everything that can be checked.

    Raises:
        ProgramImageError: truncated, damaged, for another array, or malformed.
    """
    header_bytes = 4 * len(Header)
    if len(data) < header_bytes or len(data) % 4:
        raise ProgramImageError(f"a program image of {len(data)} bytes is truncated")
    words = np.frombuffer(data, "<u4")
    header, body = words[: len(Header)], words[len(Header) :]
    for field, expected, message in (
        (Header.MAGIC, IMAGE_MAGIC, "not a DAQKF program image"),
        (Header.VERSION, IMAGE_VERSION, "a program image of another version"),
        (Header.FINGERPRINT, config.fingerprint, "the program is for another array"),
        (Header.LENGTH, len(body), "the program image is truncated"),
        (Header.CRC, zlib.crc32(body.tobytes()), "the program image is damaged"),
    ):
        if header[field] != expected:
            raise ProgramImageError(
                f"{message}: {field.name.lower()} {int(header[field]):#x}, not {expected:#x}"
            )
    return _decode_body(body, config)


def _decode_body(body: Words, config: ArrayConfig) -> Image:
    widths = {
        Command.STREAM: config.stream_word.words,
        Command.PARAMETERS: config.parameter_row.words,
        Command.TABLE: config.table_row.words,
    }
    position = 0
    sections: dict[tuple[Command, int], Words] = {}
    sizes: tuple[int, int] | None = None
    while position + 2 <= len(body):
        first, count = int(body[position]), int(body[position + 1])
        code, unit = first >> COMMAND_OP_SHIFT, first & ((1 << COMMAND_OP_SHIFT) - 1)
        position += 2
        if code == Command.END:
            break
        if code == Command.KERNEL and position < len(body):
            sizes = count, int(body[position])
            position += 1
        elif code in widths:
            width = widths[Command(code)]
            rows = body[position : position + count * width]
            if len(rows) != count * width:
                raise ProgramImageError(f"the rows of command {code} run past the image")
            sections[Command(code), unit] = rows.reshape(count, width)
            position += len(rows)
        else:
            raise ProgramImageError(f"word {position - 2} is no command: {first:#010x}")
    else:
        raise ProgramImageError("the program image has no end")
    if position != len(body) or sizes is None:
        raise ProgramImageError("the program image lacks its kernel, or goes on past its end")
    streams = {unit: rows for (code, unit), rows in sections.items() if code == Command.STREAM}
    if sorted(streams) != list(range(config.pes)):
        raise ProgramImageError(f"the program image lacks a stream for each of {config.pes} PEs")
    try:
        table, parameters = sections[Command.TABLE, 0], sections[Command.PARAMETERS, 0]
    except KeyError as error:
        raise ProgramImageError(f"the program image lacks {error.args[0][0].name}") from None
    return Image(*sizes, table, parameters, streams)
