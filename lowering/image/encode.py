# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Programs → the program image: the 32-bit words that an array is loaded with."""

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from daqkf.dialects.dense import to_array
from daqkf.dialects.rpea import (
    ChainOp,
    DispatchOp,
    GatingOp,
    Kernel,
    NormalizationOp,
    Playable,
    ProgramOp,
    SoftmaxOp,
    TiledOp,
    is_wide,
)
from daqkf.dialects.rpea.ops import places
from daqkf.hw_targets.config import ArrayConfig
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
from daqkf.hw_targets.streams import ALIGNMENT, coded, is_coded, pack_rows, port_pes
from daqkf.hw_targets.words import (
    ADDRESS_BITS,
    dispatch_row,
    join_parameters,
    memory_row,
    pack_table,
    parameter_row,
)
from daqkf.lowering.image.chain_table import chain_rows
from daqkf.lowering.image.image import ProgramImageError, Words

Ints = NDArray[np.int64]


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


def _command(
    op: Command, unit: int, rows: Words, config: ArrayConfig, count: int | None = None
) -> Iterator[Words]:
    """A command in beats; `count` is its second word, if not that of the rows."""
    count = len(rows) if count is None else count
    for part in (np.array([[(op << COMMAND_OP_SHIFT) | unit], [count]], np.uint32), rows):
        yield np.pad(part, ((0, 0), (0, -part.shape[1] % beat_words(config)))).reshape(-1)


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
    # Sums that rows' exponents shift have what comes before it, and gated ones have nothing else.
    shares = isinstance(kernel, GatingOp) and kernel.reach is not None
    correction = kernel.bias if shares else kernel.correction if program else None
    # What normalises the results gets their exponents with them.
    exponent = following.exponent if isinstance(following, NormalizationOp) else None
    nothing = np.zeros_like(channels)
    return {
        "negated_bias": nothing if shares else -to_array(kernel.bias)[channels].astype(np.int64),
        "multiplier": to_array(kernel.multiplier)[channels],
        "shift_minus_1": to_array(kernel.shift)[channels] - 1,
        "address": channels,
        "residual": nothing if residual is None else to_array(residual)[channels],
        "exponent": nothing if exponent is None else to_array(exponent)[channels],
        # The table is the gates'; what they let through stays as it is.
        "plain": channels % 2 if isinstance(following, GatingOp) else nothing,
        "correction": nothing if correction is None else to_array(correction)[channels],
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
        "correction": nothing,
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
    values = np.concatenate(_tables(programs if chain else programs[:1]))
    parameters = join_parameters(parameter_rows(programs, config), config)
    sizes, features = np.array([[_sizes(program)]], np.uint32), program.features.value.data
    body: list[Words] = [
        np.zeros(header_padding(config), np.uint32),
        *_command(Command.KERNEL, 0, sizes, config, count=features),
        *_command(Command.TABLE, 0, pack_table(values, config), config),
        *_command(Command.PARAMETERS, 0, parameters, config),
    ]
    if config.dispatches:
        table, shift = (0,), 0
        if isinstance(program, DispatchOp):
            table, shift = program.decision.data.table, program.decision.data.shift
        rows = dispatch_rows(config, table, *places(programs, config))
        body += _command(Command.DISPATCH, shift, rows, config)
    if config.chains:
        saved = chain.saved if chain else ()
        tiles = chain.tiles.value.data if chain and chain.tiles else None
        body += _command(Command.CHAIN, 0, chain_rows(config, programs, saved, tiles), config)
    streamed = [op for op in programs if isinstance(op, ProgramOp)]
    outside: list[bytes] = []
    if config.memory_bits:
        outside = [_beats(streamed, port, config) for port in range(config.memory_ports)]
        for port, data in enumerate(outside):
            body += _command(Command.MEMORY, port, place_beats(data, 0, config), config)
    else:
        for pe, rows in enumerate(_streams(streamed)):
            body += _command(Command.STREAM, pe, rows, config)
    body += _command(Command.END, 0, np.zeros((0, 1), np.uint32), config)
    return _image(np.concatenate(body), config) + b"".join(outside)


def _tables(kernels: Sequence[Kernel]) -> list[NDArray[np.int8]]:
    """The activation table of each; that of what is gated holds the gates."""
    following = [*kernels[1:], None]
    return [
        to_array(after.gate if isinstance(after, GatingOp) else kernel.table)
        for kernel, after in zip(kernels, following, strict=True)
    ]


def _sizes(program: Playable) -> int:
    """N, what becomes of the sums, and whether activations are sequences and results wide, or the
    largest."""
    flags = KERNEL_ATTENDS if isinstance(program, ChainOp) and program.tiles else 0
    flags |= KERNEL_WIDE if is_wide(program) else 0
    if isinstance(program, ProgramOp):
        flags |= KERNEL_ADDS if program.adds else 0
        flags |= KERNEL_KEEPS if program.keeps else 0
        flags |= KERNEL_TOP_K if program.top_k else 0
    return program.channels | flags


def place_beats(beats: bytes, address: int, config: ArrayConfig) -> Words:
    """The row of MEMORY [1, words] of a port whose streams are at this address."""
    fields = {
        "address": np.array([address]),
        "beats": np.array([8 * len(beats) // config.memory_bits]),
    }
    return memory_row(config).pack(fields)


def _beats(programs: Sequence[ProgramOp], port: int, config: ArrayConfig) -> bytes:
    """What external memory holds of the streams of a port's PEs, a program after the other."""
    first, parts = port * port_pes(config), list[bytes]()
    for program in programs:
        rows = to_array(program.rows)
        streams = np.split(program.packed_stream(), np.cumsum(rows)[:-1])
        own = streams[first : first + port_pes(config)]
        if is_coded(config):
            own = [coded(words, pe, config) for pe, words in enumerate(own, first)]
        parts.append(pack_rows(own, program.memory_rows(config), config))
    return b"".join(parts)


def split_image(image: bytes) -> tuple[bytes, bytes]:
    """What an array is loaded with, and what external memory has to hold."""
    length = np.frombuffer(image, "<u4", len(Header))[Header.LENGTH]
    end = 4 * (len(Header) + int(length))
    return image[:end], image[end:]


def for_tiles(image: bytes, tiles: int, config: ArrayConfig) -> bytes:
    """The image of the same program for so many tiles, after which another one takes its place.

    Raises:
        ProgramImageError: beyond 1..MAX_TILES.
    """
    if not 1 <= tiles <= MAX_TILES:
        raise ProgramImageError(f"a program for {tiles} tiles; it can be for 1..{MAX_TILES}")
    loaded, outside = split_image(image)
    words = np.frombuffer(loaded, "<u4").copy()
    words[-beat_words(config)] = tiles
    return _sealed(words) + outside


def for_top_k(image: bytes, config: ArrayConfig) -> bytes:
    """The image of the same program, which gives only the largest of its wide results.

    Raises:
        ProgramImageError: the array gives all of them alone, or they are not wide, or too few.
    """
    loaded, outside = split_image(image)
    words = np.frombuffer(loaded, "<u4").copy()
    # KERNEL is the first command, and its row is behind the two words of that.
    place = len(Header) + header_padding(config) + 2 * beat_words(config)
    outputs = int(words[place]) & (KERNEL_TOP_K - 1)
    if not config.top_k or not words[place] & KERNEL_WIDE or outputs < config.top_k:
        raise ProgramImageError(
            f"the {config.top_k} largest of {outputs} results: it takes an array with top_k, and "
            "at least as many wide results"
        )
    words[place] |= KERNEL_TOP_K
    return _sealed(words) + outside


def at_addresses(image: bytes, addresses: Sequence[int], config: ArrayConfig) -> bytes:
    """The image of the same program whose streams are at these byte addresses, port by port.

    Raises:
        ProgramImageError: an address is no multiple of `streams.ALIGNMENT`, or too large.
    """
    loaded, outside = split_image(image)
    words, row = np.frombuffer(loaded, "<u4").copy(), memory_row(config)
    # The commands of all ports stand before END.
    head, beat = 2 * beat_words(config), beat_words(config)
    pitch = head + -(-row.words // beat) * beat
    place = len(words) - head - len(addresses) * pitch
    for address in addresses:
        if address % ALIGNMENT or not 0 <= address < 1 << ADDRESS_BITS:
            raise ProgramImageError(
                f"streams at {address:#x}; addresses are multiples of {ALIGNMENT} below "
                f"2^{ADDRESS_BITS}"
            )
        own = words[place + head : place + head + row.words]
        fields = row.unpack(own[np.newaxis]) | {"address": np.array([address])}
        own[:] = row.pack(fields)[0]
        place += pitch
    return _sealed(words) + outside


def _sealed(words: Words) -> bytes:
    """An image whose header has the CRC of its body."""
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
