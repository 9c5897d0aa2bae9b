# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Program images → their commands, with everything checked that can be without running them."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.fields import IMAGE_WORD_BITS
from daqkf.hw_targets.image_format import (
    COMMAND_OP_SHIFT,
    IMAGE_MAGIC,
    IMAGE_VERSION,
    KERNEL_ADDS,
    KERNEL_ATTENDS,
    KERNEL_KEEPS,
    KERNEL_TOP_K,
    KERNEL_WIDE,
    MAX_TILES,
    Command,
    Header,
    beat_words,
    fingerprint,
    header_padding,
)
from daqkf.hw_targets.results import result_rows
from daqkf.hw_targets.streams import is_coded, port_pes, row_bits, unpack_rows
from daqkf.hw_targets.words import (
    chain_row,
    dispatch_row,
    memory_row,
    parameter_row,
    parameters_together,
    stream_row_words,
    table_row,
    table_rows,
)
from daqkf.lowering.image.chain_table import (
    chain_fields,
    chain_problem,
    read_features,
    wrong_rows,
)
from daqkf.lowering.image.image import Image, ProgramImageError, Section, Words, byte_at

MAX_UNIT = (1 << COMMAND_OP_SHIFT) - 1


def decode(data: bytes, config: ArrayConfig) -> Image:
    """Read an image back, checking everything that can be checked.

    Raises:
        ProgramImageError: truncated, damaged, for another array, or malformed.
    """
    header_bytes = 4 * len(Header)
    if len(data) < header_bytes or len(data) % 4:
        raise ProgramImageError(f"a program image of {len(data)} bytes is truncated")
    words = np.frombuffer(data, "<u4")
    header, body, outside = words[: len(Header)], words[len(Header) :], words[:0]
    if config.memory_bits:
        length = min(int(header[Header.LENGTH]), len(body))
        body, outside = body[:length], body[length:]
    for field, expected, message in (
        (Header.MAGIC, IMAGE_MAGIC, "not a DAQKF program image"),
        (Header.VERSION, IMAGE_VERSION, "a program image of another version"),
        (Header.FINGERPRINT, fingerprint(config), "the program is for another array"),
        (Header.LENGTH, len(body), "the program image is truncated"),
        (Header.CRC, zlib.crc32(body.tobytes()), "the program image is damaged"),
    ):
        if header[field] != expected:
            raise ProgramImageError(
                f"{message}: {field.name.lower()} {int(header[field]):#x}, not {expected:#x}"
            )
    return _decode_body(body, outside, config)


def _commands(config: ArrayConfig) -> dict[Command, tuple[int, int, int]]:
    """The words of a row of each command, and the limits of its count and of its unit."""
    known = {
        Command.END: (0, MAX_TILES if config.double_buffered else 0, 1),
        Command.KERNEL: (1, config.most_features, 1),
        Command.PARAMETERS: (
            parameter_row(config).words,
            config.parameter_depth * config.parameter_stride // parameters_together(config),
            1,
        ),
        Command.TABLE: (table_row(config).words, table_rows(config), 1),
    }
    if config.memory_bits:
        known[Command.MEMORY] = memory_row(config).words, 1, config.memory_ports
    else:
        known[Command.STREAM] = stream_row_words(config), config.stream_depth, config.pes
    if config.dispatches:
        known[Command.DISPATCH] = dispatch_row(config).words, config.buckets, MAX_UNIT + 1
    if config.chains:
        known[Command.CHAIN] = chain_row(config).words, config.kernels, 1
    return known


def _sections(body: Words, config: ArrayConfig) -> list[Section]:
    """The commands of a body.

    Raises:
        ProgramImageError: the array would refuse one, or it comes twice.
    """
    known, beat = _commands(config), beat_words(config)
    position = header_padding(config)
    if body[:position].any():
        raise ProgramImageError(f"{byte_at(len(Header))}: what fills up the header is not 0")
    sections: list[Section] = []
    while position + 2 * beat <= len(body):
        first, count = int(body[position]), int(body[position + beat])
        code, unit = first >> COMMAND_OP_SHIFT, first & MAX_UNIT
        place = position + len(Header)
        if code not in known:
            raise ProgramImageError(f"{byte_at(place)} is no command: {first:#010x}")
        width, most, units = known[Command(code)]
        together = parameters_together(config) if code == Command.PARAMETERS else 1
        rows = 1 if code == Command.KERNEL else count * bool(width) * together
        each = beat // together
        start, pitch = position + 2 * beat, -(-width // each) * each
        end = start + rows * pitch
        content = body[start:end] if end <= len(body) else body[:0]
        content = content.reshape(-1, max(pitch, 1))
        section = Section(
            Command(code),
            unit,
            count,
            place,
            content[:, : max(width, 1)],
            beat=beat,
            together=together,
        )
        _require_filled(body, position, content[:, max(width, 1) :], section)
        again = any((old.command, old.unit) == (code, unit) for old in sections)
        if problem := _problem(section, again, end <= len(body), most, units):
            raise ProgramImageError(f"{byte_at(place)}, {section.title}: {problem}")
        sections.append(section)
        position = end
        if code == Command.END:
            break
    else:
        raise ProgramImageError("the program image has no end")
    if position != len(body):
        raise ProgramImageError(
            f"{byte_at(position + len(Header))}: the program image goes on past its end"
        )
    return sections


def _require_filled(body: Words, position: int, filling: Words, section: Section) -> None:
    """Check that what fills up the beats of a command and of its rows is 0.

    Raises:
        ProgramImageError: some of it is not.
    """
    beat = section.beat
    head = body[position : position + 2 * beat].reshape(2, beat)[:, 1:]
    if head.any():
        wrong = section.place
    elif filling.any():
        wrong = section.word(int(np.flatnonzero(filling.any(axis=1))[0]))
    else:
        return
    raise ProgramImageError(f"{byte_at(wrong)}, {section.title}: what fills up the beat is not 0")


def _problem(section: Section, again: bool, inside: bool, most: int, units: int) -> str | None:
    """Why the array would refuse a command, if so."""
    count, command = section.count, section.command
    if section.unit >= units:
        return f"unit {section.unit}; the array has 0..{units - 1}"
    if again:
        return "a second time"
    if command == Command.END and count > most:
        if not most:
            return f"a program for {count} tiles, on an array of one bank"
        return f"a program for {count} tiles; at most {most}"
    if not inside:
        return f"the rows of command {command.value} run past the image"
    if count > most or (command == Command.KERNEL and not count):
        return f"a count of {count}; the array holds {most}"
    return None


def _outside(
    found: Sequence[Section], outside: Words, start: int, config: ArrayConfig
) -> list[Section]:
    """The streams of all PEs that are in external memory, as if the image had a section of each.

    `start` is the word of the image where they begin.

    Raises:
        ProgramImageError: a port has none, or they are not those that MEMORY says.
    """
    position, streams = 0, list[tuple[int, Sequence[_Kernel]]]()
    for port in range(config.memory_ports):
        section = next((s for s in found if s.command is Command.MEMORY and s.unit == port), None)
        if section is None or not section.count:
            raise ProgramImageError(f"the program image lacks MEMORY of port {port}")
        fields = {name: int(v[0]) for name, v in memory_row(config).unpack(section.rows).items()}
        length = fields["beats"] * config.memory_bits // IMAGE_WORD_BITS
        own = outside[position : position + length]
        if len(own) != length:
            raise ProgramImageError(
                f"{byte_at(section.word(0))}, {section.title}: the {4 * len(own)} bytes of streams "
                f"behind the body are not the {fields['beats']} beats that it says"
            )
        place = start + position
        streams.append((place, _port(own.tobytes(), port, place, config)))
        position += length
    if position != len(outside):
        place = byte_at(start + position)
        raise ProgramImageError(f"{place}: the program image goes on past its streams")
    return _stream_sections(streams, config)


@dataclass(frozen=True)
class _Kernel:
    """The streams of a kernel on a memory port."""

    place: int
    """The word of the image where its rows begin."""
    streams: Sequence[Words]
    """Of each of the port's PEs."""

    @property
    def longest(self) -> int:
        """Words of the longest stream."""
        return max(map(len, self.streams))


def _port(data: bytes, port: int, place: int, config: ArrayConfig) -> list[_Kernel]:
    """The kernels behind a memory port, one after another.

    Raises:
        ProgramImageError: a kernel goes on past the end.
    """
    beat, begin = 8 * len(data) // config.memory_bits, 0
    found: list[_Kernel] = []
    while begin < beat:
        try:
            streams, following = unpack_rows(data, begin, config)
        except ValueError as error:
            raise ProgramImageError(f"{byte_at(place)}, memory port {port}: {error}") from None
        first = place + (begin + 1) * config.memory_bits // IMAGE_WORD_BITS
        found.append(_Kernel(first, streams))
        begin = following
    if not found:
        raise ProgramImageError(f"{byte_at(place)}, memory port {port}: no streams")
    return found


def _stream_sections(
    ports: Sequence[tuple[int, Sequence[_Kernel]]], config: ArrayConfig
) -> list[Section]:
    """The streams of all PEs as sections, from the word of the image and the kernels of each port.

    Kernels are as long for all PEs: behind the words of a stream there are words of zeros.
    """
    kernels = min(len(found) for _, found in ports)
    longest = [max(found[n].longest for _, found in ports) for n in range(kernels)]
    # A word of a code has no place of its own, but its kernel has.
    pitch = 0 if is_coded(config) else row_bits(config) // IMAGE_WORD_BITS
    sections: list[Section] = []
    for port, (begin, found) in enumerate(ports):
        for number in range(port_pes(config)):
            parts = [
                np.pad(kernel.streams[number], ((0, rows - len(kernel.streams[number])), (0, 0)))
                for kernel, rows in zip(found, longest, strict=False)
            ]
            places = [
                kernel.place + pitch * np.arange(rows)
                for kernel, rows in zip(found, longest, strict=False)
            ]
            words, rows = np.concatenate(parts), np.concatenate(places)
            pe = port * port_pes(config) + number
            sections.append(Section(Command.STREAM, pe, len(rows), begin, words, rows))
    return sections


def _decode_body(body: Words, outside: Words, config: ArrayConfig) -> Image:
    found = _sections(body, config)
    tiles = found[-1].count
    if config.memory_bits:
        found += _outside(found, outside, len(Header) + len(body), config)
    sections = {(section.command, section.unit): section.rows for section in found}
    kernel = next((section for section in found if section.command == Command.KERNEL), None)
    if kernel is None:
        raise ProgramImageError("the program image lacks KERNEL")
    outputs, flags = _outputs(kernel, config)
    sizes = kernel.count, outputs
    streams = {unit: rows for (code, unit), rows in sections.items() if code == Command.STREAM}
    if sorted(streams) != list(range(config.pes)):
        raise ProgramImageError(f"the program image lacks a stream for each of {config.pes} PEs")
    try:
        table, parameters = sections[Command.TABLE, 0], sections[Command.PARAMETERS, 0]
    except KeyError as error:
        raise ProgramImageError(f"the program image lacks {error.args[0][0].name}") from None
    ends = {
        "stream": _stream_end(sections, config),
        "slot": len(parameters) // config.parameter_stride,
    }
    shift, dispatch = 0, None
    if config.dispatches:
        shift, dispatch = _decode_dispatch(config, sections, ends)
    chain = None
    if config.chains:
        section = next((section for section in found if section.command == Command.CHAIN), None)
        chain = _decode_chain(config, sizes, section, ends, flags)
    return Image(
        *sizes,
        table,
        parameters,
        streams,
        shift,
        dispatch,
        chain,
        *flags,
        tiles,
        found,
        [
            int(memory_row(config).unpack(section.rows)["address"][0])
            for section in found
            if section.command is Command.MEMORY
        ],
    )


class _Flags(NamedTuple):
    """What the row of KERNEL says of a program, beside N."""

    adds: bool
    keeps: bool
    attends: bool
    wide: bool
    top_k: bool


def _outputs(kernel: Section, config: ArrayConfig) -> tuple[int, _Flags]:
    """N, and what its row says beside it.

    Raises:
        ProgramImageError: the array has no room for so many, or not so many largest ones.
    """
    known = KERNEL_ADDS | KERNEL_KEEPS if config.accumulates else 0
    known |= KERNEL_ATTENDS if config.operand_depth else 0
    known |= KERNEL_WIDE if config.wide_results else 0
    known |= KERNEL_TOP_K if config.top_k else 0
    said = int(kernel.rows[0, 0])
    outputs = said & ~known
    bits = KERNEL_ADDS, KERNEL_KEEPS, KERNEL_ATTENDS, KERNEL_WIDE, KERNEL_TOP_K
    flags = _Flags(*(bool(said & known & bit) for bit in bits))
    most = config.result_depth // result_rows(1, flags.wide)
    if not 0 < outputs <= most:
        raise ProgramImageError(
            f"{byte_at(kernel.word(0))}: {outputs} {'wide ' * flags.wide}outputs; the array holds "
            f"1..{most}"
        )
    if flags.top_k and not (flags.wide and outputs >= config.top_k):
        raise ProgramImageError(
            f"{byte_at(kernel.word(0))}: the {config.top_k} largest of {outputs} "
            f"{'wide ' * flags.wide}outputs; they have to be wide, and as many"
        )
    return outputs, flags


def _decode_chain(
    config: ArrayConfig,
    sizes: tuple[int, int],
    section: Section | None,
    ends: Mapping[str, int],
    flags: _Flags,
) -> Words:
    """The chain's table: it ends, its shapes follow, its kernels begin inside what is loaded, and
    only a program has wide results.

    Raises:
        ProgramImageError: anything of this fails.
    """
    if section is None or not section.count:
        raise ProgramImageError(
            f"the program image needs a chain of 1..{config.kernels} kernels, and has 0"
        )
    rows = chain_fields(config, section.rows)
    begins = {"stream": rows["stream"] * (1 - rows["rows"]), "slot": rows["slot"]}
    _require_loaded("kernel", begins, ends)
    if problem := chain_problem(rows, sizes, flags.attends, config):
        raise ProgramImageError(problem)
    if flags.wide and rows["rows"][-1]:
        raise ProgramImageError("the last kernel of the program image's chain has no wide results")
    features = read_features(rows, sizes[0])
    for kernel in np.flatnonzero(rows["rows"]).tolist():
        if wrong := wrong_rows(rows, kernel, int(features[kernel])):
            place = byte_at(section.word(kernel))
            raise ProgramImageError(f"{place}, row {kernel} of CHAIN: kernel {kernel} {wrong}")
    return section.rows


def _stream_end(sections: Mapping[tuple[Command, int], Words], config: ArrayConfig) -> int:
    """Where the streams end: in words, or in beats of those in external memory."""
    if not config.memory_bits:
        return min(len(sections[Command.STREAM, pe]) for pe in range(config.pes))
    rows = [sections[Command.MEMORY, port] for port in range(config.memory_ports)]
    return min(int(memory_row(config).unpack(row)["beats"][0]) for row in rows)


def _require_loaded(
    what: str, rows: Mapping[str, NDArray[np.int64]], ends: Mapping[str, int]
) -> None:
    """Check that what begins at the rows' `stream` and `slot` is in the image."""
    for name, limit in ends.items():
        outside = np.flatnonzero(rows[name] >= limit)
        if len(outside):
            raise ProgramImageError(
                f"{what} {outside[0]} begins at {name} {rows[name][outside[0]]}, beyond the "
                f"{limit} of the image"
            )


def _decode_dispatch(
    config: ArrayConfig,
    sections: dict[tuple[Command, int], Words],
    ends: Mapping[str, int],
) -> tuple[int, Words]:
    """The shift and the decision table, whose variants must begin inside what is loaded."""
    tables = {unit: rows for (code, unit), rows in sections.items() if code == Command.DISPATCH}
    if len(tables) != 1:
        raise ProgramImageError(f"the program image has {len(tables)} decision tables, not one")
    ((shift, table),) = tables.items()
    if shift >= config.zeros_width or len(table) != config.buckets:
        raise ProgramImageError(
            f"a decision of {len(table)} buckets with a shift of {shift}; the array has "
            f"{config.buckets}, and shifts below {config.zeros_width}"
        )
    rows = dispatch_row(config).unpack(table)
    _require_loaded("bucket", rows, ends)
    return shift, table
