# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Programs ↔ the program image: the 32-bit words that an array is loaded with."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from daqkf.dialects.dense import to_array
from daqkf.dialects.rpea import (
    ArrayConfig,
    ChainOp,
    DispatchOp,
    GatingOp,
    Kernel,
    NormalizationOp,
    Playable,
    ProgramOp,
    SoftmaxOp,
    TiledOp,
)
from daqkf.dialects.rpea.ops import places
from daqkf.hw_targets.image_format import (
    COMMAND_OP_SHIFT,
    IMAGE_MAGIC,
    IMAGE_VERSION,
    KERNEL_ADDS,
    KERNEL_ATTENDS,
    KERNEL_KEEPS,
    MAX_TILES,
    Command,
    Header,
    fingerprint,
)
from daqkf.hw_targets.words import (
    chain_row,
    dispatch_row,
    parameter_row,
    stream_row_words,
    table_row,
)
from daqkf.lowering.image.chain_table import (
    chain_fields,
    chain_problem,
    chain_rows,
    read_features,
    wrong_rows,
)

Ints = NDArray[np.int64]
Words = NDArray[np.uint32]

MAX_UNIT = (1 << COMMAND_OP_SHIFT) - 1


class ProgramImageError(ValueError):
    """A program image that an array would refuse, or would play wrongly."""


def playable(module: ModuleOp) -> list[Playable]:
    """What a module's array can run: programs, unless they are part of something larger.

    One that adds a residual only ever is.
    """
    whole = [op for op in module.ops if isinstance(op, DispatchOp | ChainOp)]
    parts = {program for op in whole for program in parts_of(op)}
    for tiled in (op for op in module.ops if isinstance(op, TiledOp)):
        parts |= {program for group in tiled.groups() for program in group}
    programs = [
        op
        for op in module.ops
        if isinstance(op, ProgramOp) and op not in parts and op.residual is None
    ]
    return [*programs, *whole]


def parts_of(program: Playable) -> Sequence[Kernel]:
    """What is loaded together: variants, kernels of a chain, or one program alone."""
    if isinstance(program, DispatchOp):
        return program.variants()
    return program.kernels() if isinstance(program, ChainOp) else [program]


def _command(op: Command, unit: int, rows: Words) -> Iterator[Words]:
    yield np.array([(op << COMMAND_OP_SHIFT) | unit, len(rows)], np.uint32)
    yield rows.reshape(-1)


def element_rows(counts: Sequence[int] | Ints, config: ArrayConfig) -> Ints:
    """Rows `slot · stride + pe` of the outputs [N] of all elements: those of PE 0, of PE 1, …"""
    slot = np.concatenate([np.arange(count) for count in counts])
    return slot * config.parameter_stride + np.repeat(np.arange(config.pes), counts)


def softmax_rows(channels: int, keys: int) -> tuple[Ints, Ints]:
    """The outputs of a softmax's rows [2N] of parameters, and which of them are of shares.

    Those of a group's exponentials come before those of its shares.
    """
    groups = np.arange(channels).reshape(-1, 1, keys)
    outputs, shares = np.broadcast_arrays(groups, np.arange(2).reshape(1, 2, 1))
    return outputs.reshape(-1), shares.reshape(-1)


def parameter_rows(kernels: Sequence[Kernel], config: ArrayConfig) -> Words:
    """The parameter memory, packed: rows of each PE's outputs in order, or of the row unit's.

    Rows of the padding between them are zero.
    """
    parts: list[Words] = []
    for kernel, following in zip(kernels, [*kernels[1:], None], strict=True):
        fields = _softmax(kernel) if isinstance(kernel, SoftmaxOp) else _outputs(kernel, following)
        packed = parameter_row(config).pack(fields)
        program = isinstance(kernel, ProgramOp)
        counts = to_array(kernel.counts) if program else None
        place = np.arange(len(packed)) if counts is None else element_rows(counts, config)
        rows = np.zeros((kernel.slots * config.parameter_stride, packed.shape[1]), np.uint32)
        rows[place] = packed
        parts.append(rows)
    return np.concatenate(parts)


def _outputs(
    kernel: ProgramOp | NormalizationOp | GatingOp, following: Kernel | None
) -> dict[str, Ints]:
    """What the post unit needs of a kernel's outputs, in their order."""
    program = isinstance(kernel, ProgramOp)
    channels = to_array(kernel.outputs) if program else np.arange(kernel.channels)
    residual = kernel.residual if program else None
    # What normalises the results gets their exponents with them.
    exponent = following.exponent if isinstance(following, NormalizationOp) else None
    nothing = np.zeros_like(channels)
    return {
        "negated_bias": -to_array(kernel.bias)[channels].astype(np.int64),
        "multiplier": to_array(kernel.multiplier)[channels],
        "shift_minus_1": to_array(kernel.shift)[channels] - 1,
        "address": channels,
        "residual": nothing if residual is None else to_array(residual)[channels],
        "exponent": nothing if exponent is None else to_array(exponent)[channels],
        # The table is the gates'; what they let through stays as it is.
        "plain": channels % 2 if isinstance(following, GatingOp) else nothing,
    }


def _softmax(kernel: SoftmaxOp) -> dict[str, Ints]:
    """What the post unit needs for exponentials and shares, which it gets in turns."""
    channels, shares = softmax_rows(kernel.channels, kernel.keys.value.data)
    offset, multiplier, shift = (
        to_array(values)[channels].astype(np.int64)
        for values in (kernel.offset, kernel.multiplier, kernel.shift)
    )
    nothing = np.zeros_like(channels)
    return {
        "negated_bias": np.where(shares, 0, -offset),
        # Twice and half of it is what it was.
        "multiplier": np.where(shares, multiplier, 2),
        "shift_minus_1": np.where(shares, shift - 1, 0),
        "address": channels,
        "residual": nothing,
        "exponent": nothing,
        "plain": shares,
    }


def dispatch_rows(
    config: ArrayConfig,
    table: Sequence[int],
    streams: NDArray[np.int64],
    slots: NDArray[np.int64],
) -> Words:
    """The decision table, packed: where the variant of each bucket begins.

    `streams` and `slots` are `ops.places`. A table shorter than the array's goes on
    with its last entry, which is what any larger count of zeros means.
    """
    variant = np.pad(np.array(table), (0, config.buckets - len(table)), "edge")
    return dispatch_row(config).pack(
        {"stream": streams[variant], "slot": slots[variant], "variant": variant}
    )


def encode(program: Playable) -> bytes:
    """The image of a program, of all variants of one or of all kernels of a chain.

    A header and a body of little-endian 32-bit words. For an array with a SPAQ unit, a
    program without variants has a table that always takes the same; for one that chains
    kernels, a program alone is a chain of one.
    """
    config = program.target().config.data
    programs = parts_of(program)
    chain = program if isinstance(program, ChainOp) else None
    values = np.concatenate(_tables(programs if chain else programs[:1])).view(np.uint8)
    body: list[Words] = [
        np.array(
            [Command.KERNEL << COMMAND_OP_SHIFT, program.features.value.data, _sizes(program)],
            np.uint32,
        ),
        *_command(Command.TABLE, 0, table_row(config).pack({"value": values})),
        *_command(Command.PARAMETERS, 0, parameter_rows(programs, config)),
    ]
    if config.dispatches:
        table, shift = (0,), 0
        if isinstance(program, DispatchOp):
            table, shift = program.decision.data.table, program.decision.data.shift
        body += _command(Command.DISPATCH, shift, dispatch_rows(config, table, *places(programs)))
    if config.chains:
        saved = chain.saved if chain else ()
        tiles = chain.tiles.value.data if chain and chain.tiles else None
        body += _command(Command.CHAIN, 0, chain_rows(config, programs, saved, tiles))
    for pe, rows in enumerate(_streams([op for op in programs if isinstance(op, ProgramOp)])):
        body += _command(Command.STREAM, pe, rows)
    body.append(np.array([Command.END << COMMAND_OP_SHIFT, 0], np.uint32))
    return _image(np.concatenate(body), config)


def _tables(kernels: Sequence[Kernel]) -> list[NDArray[np.int8]]:
    """The activation table of each; that of what is gated holds the gates."""
    following = [*kernels[1:], None]
    return [
        to_array(after.gate if isinstance(after, GatingOp) else kernel.table)
        for kernel, after in zip(kernels, following, strict=True)
    ]


def _sizes(program: Playable) -> int:
    """N, what becomes of the sums, and whether activations are sequences."""
    flags = KERNEL_ATTENDS if isinstance(program, ChainOp) and program.tiles else 0
    if isinstance(program, ProgramOp):
        flags |= KERNEL_ADDS if program.adds else 0
        flags |= KERNEL_KEEPS if program.keeps else 0
    return program.channels | flags


def for_tiles(image: bytes, tiles: int) -> bytes:
    """The image of the same program for so many tiles, after which another one takes its place.

    Raises:
        ProgramImageError: beyond 1..MAX_TILES.
    """
    if not 1 <= tiles <= MAX_TILES:
        raise ProgramImageError(f"a program for {tiles} tiles; it can be for 1..{MAX_TILES}")
    words = np.frombuffer(image, "<u4").copy()
    words[-1] = tiles
    words[Header.CRC] = zlib.crc32(words[len(Header) :].tobytes())
    return words.tobytes()


def _image(body: Words, config: ArrayConfig) -> bytes:
    """A body behind its header."""
    data = body.astype("<u4").tobytes()
    header = {
        Header.MAGIC: IMAGE_MAGIC,
        Header.VERSION: IMAGE_VERSION,
        Header.FINGERPRINT: fingerprint(config),
        Header.LENGTH: len(body),
        Header.CRC: zlib.crc32(data),
    }
    return np.array([header[field] for field in Header], "<u4").tobytes() + data


def _streams(programs: Sequence[ProgramOp]) -> list[Words]:
    """The streams of each PE, a program after the other, each as long as its longest PE's."""
    parts: list[list[Words]] = []
    for number, program in enumerate(programs):
        rows = to_array(program.rows)
        streams = np.split(program.packed_stream(), np.cumsum(rows)[:-1])
        # What follows the last program is never reached, and need not be loaded.
        length = rows.max() if number + 1 < len(programs) else 0
        parts.append(
            [np.pad(stream, ((0, max(length - len(stream), 0)), (0, 0))) for stream in streams]
        )
    return [np.concatenate(streams) for streams in zip(*parts, strict=True)]


@dataclass(frozen=True)
class Section:
    """A command of an image, and what follows it."""

    command: Command
    unit: int
    count: int
    """Its second word."""
    place: int
    """The word of the image where it stands."""
    rows: Words
    """[rows, words]; of KERNEL, N."""

    @property
    def title(self) -> str:
        """What it is, for messages."""
        of = f" of PE {self.unit}" if self.command is Command.STREAM else ""
        return f"{self.command.name}{of}"

    def word(self, row: int) -> int:
        """The word of the image where a row begins."""
        return self.place + 2 + row * self.rows.shape[1]


@dataclass(frozen=True)
class Image:
    """What a program image says, by its commands."""

    features: int
    channels: int
    table: Words
    parameters: Words
    streams: dict[int, Words]
    shift: int
    """What makes a bucket of a count of zeros."""
    dispatch: Words | None
    """The decision table, for an array that has one."""
    chain: Words | None
    """The chain's table, for an array that chains kernels."""
    adds: bool
    """Whether its sums go on from partial ones."""
    keeps: bool
    """Whether its sums stay partial ones."""
    attends: bool
    """Whether its activations are sequences."""
    tiles: int
    """That the program is for, or 0 if that is any number."""
    sections: Sequence[Section]
    """Its commands, in order."""

    def section(self, command: Command, unit: int = 0) -> Section:
        """The section of a command that the image has."""
        return next(
            section
            for section in self.sections
            if section.command == command and (command is Command.DISPATCH or section.unit == unit)
        )


def byte_at(word: int) -> str:
    """Where a word of an image is, for messages."""
    return f"word {word} (byte {4 * word:#x})"


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
        (Header.FINGERPRINT, fingerprint(config), "the program is for another array"),
        (Header.LENGTH, len(body), "the program image is truncated"),
        (Header.CRC, zlib.crc32(body.tobytes()), "the program image is damaged"),
    ):
        if header[field] != expected:
            raise ProgramImageError(
                f"{message}: {field.name.lower()} {int(header[field]):#x}, not {expected:#x}"
            )
    return _decode_body(body, config)


def _sections(body: Words, config: ArrayConfig) -> list[Section]:
    """The commands of a body.

    Raises:
        ProgramImageError: the array would refuse one, or it comes twice.
    """
    # By command: the words of a row, and the limits of the count and of the unit.
    known = {
        Command.END: (0, MAX_TILES if config.double_buffered else 0, 1),
        Command.KERNEL: (1, config.null_address, 1),
        Command.STREAM: (stream_row_words(config), config.stream_depth, config.pes),
        Command.PARAMETERS: (
            parameter_row(config).words,
            config.parameter_depth * config.parameter_stride,
            1,
        ),
        Command.TABLE: (table_row(config).words, config.table_depth, 1),
    }
    if config.dispatches:
        known[Command.DISPATCH] = dispatch_row(config).words, config.buckets, MAX_UNIT + 1
    if config.chains:
        known[Command.CHAIN] = chain_row(config).words, config.kernels, 1
    position = 0
    sections: list[Section] = []
    while position + 2 <= len(body):
        first, count = int(body[position]), int(body[position + 1])
        code, unit = first >> COMMAND_OP_SHIFT, first & MAX_UNIT
        place = position + len(Header)
        if code not in known:
            raise ProgramImageError(f"{byte_at(place)} is no command: {first:#010x}")
        width, most, units = known[Command(code)]
        rows = 1 if code == Command.KERNEL else count * bool(width)
        start, end = position + 2, position + 2 + rows * width
        content = body[start:end] if end <= len(body) else body[:0]
        content = content.reshape(-1, max(width, 1))
        section = Section(Command(code), unit, count, place, content)
        where = f"{byte_at(place)}, {section.title}"
        if unit >= units:
            raise ProgramImageError(f"{where}: unit {unit}; the array has 0..{units - 1}")
        if any((old.command, old.unit) == (code, unit) for old in sections):
            raise ProgramImageError(f"{where}: a second time")
        if code == Command.END and count > most:
            raise ProgramImageError(
                f"{where}: a program for {count} tiles, on an array of one bank"
                if not most
                else f"{where}: a program for {count} tiles; at most {most}"
            )
        if end > len(body):
            raise ProgramImageError(f"{where}: the rows of command {code} run past the image")
        if count > most or (code == Command.KERNEL and not count):
            raise ProgramImageError(f"{where}: a count of {count}; the array holds {most}")
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


def _decode_body(body: Words, config: ArrayConfig) -> Image:
    found = _sections(body, config)
    sections = {(section.command, section.unit): section.rows for section in found}
    kernel = next((section for section in found if section.command == Command.KERNEL), None)
    if kernel is None:
        raise ProgramImageError("the program image lacks KERNEL")
    flags = KERNEL_ADDS | KERNEL_KEEPS if config.accumulates else 0
    flags |= KERNEL_ATTENDS if config.operand_depth else 0
    outputs = int(kernel.rows[0, 0])
    sizes = kernel.count, outputs & ~flags
    adds, keeps, attends = (
        bool(outputs & flags & flag) for flag in (KERNEL_ADDS, KERNEL_KEEPS, KERNEL_ATTENDS)
    )
    if not 0 < sizes[1] <= config.result_depth:
        raise ProgramImageError(
            f"{byte_at(kernel.word(0))}: {sizes[1]} outputs; the array holds "
            f"1..{config.result_depth}"
        )
    streams = {unit: rows for (code, unit), rows in sections.items() if code == Command.STREAM}
    if sorted(streams) != list(range(config.pes)):
        raise ProgramImageError(f"the program image lacks a stream for each of {config.pes} PEs")
    try:
        table, parameters = sections[Command.TABLE, 0], sections[Command.PARAMETERS, 0]
    except KeyError as error:
        raise ProgramImageError(f"the program image lacks {error.args[0][0].name}") from None
    shift, dispatch = 0, None
    if config.dispatches:
        shift, dispatch = _decode_dispatch(config, sections, parameters, streams)
    chain = None
    if config.chains:
        section = next((section for section in found if section.command == Command.CHAIN), None)
        chain = _decode_chain(config, sizes, section, parameters, streams, attends)
    return Image(
        *sizes,
        table,
        parameters,
        streams,
        shift,
        dispatch,
        chain,
        adds,
        keeps,
        attends,
        found[-1].count,
        found,
    )


def _decode_chain(
    config: ArrayConfig,
    sizes: tuple[int, int],
    section: Section | None,
    parameters: Words,
    streams: dict[int, Words],
    attends: bool,
) -> Words:
    """The chain's table: it ends, its shapes follow, and its kernels begin inside what is loaded.

    Raises:
        ProgramImageError: anything of this fails.
    """
    if section is None or not section.count:
        raise ProgramImageError(
            f"the program image needs a chain of 1..{config.kernels} kernels, and has 0"
        )
    rows = chain_fields(config, section.rows)
    begins = {"stream": rows["stream"] * (1 - rows["rows"]), "slot": rows["slot"]}
    _require_loaded("kernel", begins, config, parameters, streams)
    if problem := chain_problem(rows, sizes, attends, config):
        raise ProgramImageError(problem)
    features = read_features(rows, sizes[0])
    for kernel in np.flatnonzero(rows["rows"]).tolist():
        if wrong := wrong_rows(rows, kernel, int(features[kernel])):
            place = byte_at(section.word(kernel))
            raise ProgramImageError(f"{place}, row {kernel} of CHAIN: kernel {kernel} {wrong}")
    return section.rows


def _require_loaded(
    what: str,
    rows: Mapping[str, NDArray[np.int64]],
    config: ArrayConfig,
    parameters: Words,
    streams: Mapping[int, Words],
) -> None:
    """Check that what begins at the rows' `stream` and `slot` is in the image."""
    loaded = {
        "stream": min(len(stream) for stream in streams.values()),
        "slot": len(parameters) // config.parameter_stride,
    }
    for name, limit in loaded.items():
        outside = np.flatnonzero(rows[name] >= limit)
        if len(outside):
            raise ProgramImageError(
                f"{what} {outside[0]} begins at {name} {rows[name][outside[0]]}, beyond the "
                f"{limit} of the image"
            )


def _decode_dispatch(
    config: ArrayConfig,
    sections: dict[tuple[Command, int], Words],
    parameters: Words,
    streams: dict[int, Words],
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
    _require_loaded("bucket", rows, config, parameters, streams)
    return shift, table
