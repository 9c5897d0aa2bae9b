# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Program images → `rpea`: the inverse of `program_image.encode`, and what validates an image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, i8, i32, i64
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.dense import from_array
from daqkf.dialects.dfke.attributes import DecisionAttr
from daqkf.dialects.diagnostics import verify
from daqkf.dialects.rpea import (
    ArrayOp,
    ChainOp,
    DispatchOp,
    GatingOp,
    Kernel,
    NormalizationOp,
    Playable,
    ProgramOp,
    SoftmaxOp,
)
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.decision import Decision
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.image_format import Command, Header
from daqkf.hw_targets.numerics import (
    IDENTITY,
    MULTIPLIER_MAX,
    SHIFT_MAX,
    SHIFT_MIN,
    TABLE_SIZE,
    wrap,
)
from daqkf.hw_targets.operands import AttentionKernel
from daqkf.hw_targets.words import dispatch_row, parameter_row, stream_word, unpack_table
from daqkf.lowering.image.chain_table import chain_fields, read_features
from daqkf.lowering.image.decode import decode
from daqkf.lowering.image.encode import (
    at_addresses,
    element_rows,
    encode,
    for_tiles,
    softmax_rows,
)
from daqkf.lowering.image.image import Image, ProgramImageError, Section, byte_at

Ints = NDArray[np.int64]
Words = NDArray[np.uint32]

_WAYS = ("looked up in the table", "plain")
"""What becomes of a requantised sum, by the bit `plain`."""


@dataclass(frozen=True)
class _Part:
    """A kernel of an image: a program, or one of the row unit."""

    features: int
    channels: int
    streams: Sequence[Words]
    """Its rows by element; of the row unit, none."""
    counts: Sequence[int]
    """The outputs of each element; of the row unit, none."""
    rows: Ints
    """Of the parameter memory, by output in the order in which they are completed."""
    kept: int
    """Activations that are kept for residuals when it runs."""
    gates: bool
    """Whether it gates, if it is of the row unit; if not, whether its results are gated."""
    keys: int = 0
    """Those that share a softmax. Its parameters are here those of exponentials alone."""
    seen: tuple[int, int] = (0, 0)
    """The queries of a token, and those before the first one, of a causal softmax."""
    shares: Ints | None = None
    """Of the parameter memory, the rows of a softmax's shares, by output."""
    operands: int | None = None
    """Where those of a program that has some begin."""
    scales: bool = False
    """Whether it finds exponents that rows share, or takes them back."""
    epsilon: int = 0
    """What a normalisation adds to the squares."""
    rms: bool = False
    """Whether it divides by the root mean square."""


def import_program(data: bytes, array: ArrayOp, name: str = "program") -> ModuleOp:
    """The array and what an image says that it plays: `encode` makes the same image of it.

    The tiles that an image is for are not part of the IR; `Image.tiles` has them.

    Raises:
        ProgramImageError: an image that an array would refuse or run wrongly, or that its
            encoder would write otherwise: with rows that nothing reads, say.
    """
    array = array.clone()
    config, module = array.config.data, ModuleOp([array])
    image = decode(data, config)
    parts = _parts(image, config)
    names, saved = [name], _marked(image, "saves", config)
    together = bool(len(parts) > 1 or image.shift or saved)
    if together:
        kind = "variant" if config.dispatches else "kernel"
        names = [f"{name}_{kind}_{number}" for number in range(len(parts))]
    kernels = _kernels(image, parts, names, array)
    programs = [kernel for kernel in kernels if isinstance(kernel, ProgramOp)]
    module.body.block.add_ops(kernels)
    whole: Playable = programs[0]
    if together and config.chains:
        whole = ChainOp(name, kernels, saved, _tiles(image, config))
    elif together:
        whole = _dispatch(image, name, programs, config)
    if together:
        module.body.block.add_op(whole)
    try:
        verify(module)
        for program in programs:
            program.verify_streams()
    except VerifyException as error:
        raise ProgramImageError(str(error)) from None
    again = encode(whole)
    if image.addresses:
        again = at_addresses(again, image.addresses, config)
    _require_same(data, image, again, config)
    return module


def _marked(image: Image, field: str, config: ArrayConfig) -> list[int]:
    """The numbers of the kernels of a chain that have a field of its table set."""
    if image.chain is None:
        return []
    return np.flatnonzero(chain_fields(config, image.chain)[field]).tolist()


def _tiles(image: Image, config: ArrayConfig) -> int | None:
    """The most tiles of a sequence, if activations are sequences."""
    if not image.attends or image.chain is None:
        return None
    return int(chain_fields(config, image.chain)["stride"][AttentionKernel.VALUES])


def _parts(image: Image, config: ArrayConfig) -> list[_Part]:
    """The kernels of an image, one after another in the memories.

    A program is as long as the longest stream of an element up to its end.
    """
    sizes, keys, chain = [(image.features, image.channels)], [0], dict[str, Ints]()
    if image.chain is not None:
        chain = chain_fields(config, image.chain)
        outputs, keys = chain["outputs"].tolist(), chain["keys"].tolist()
        sizes = list(zip(read_features(chain, image.features).tolist(), outputs, strict=True))
    saved, of_rows, gating, scaling = (
        _marked(image, field, config) for field in ("saves", "rows", "gates", "scales")
    )
    shortest = min(len(rows) for rows in image.streams.values())
    parts: list[_Part] = []
    begin = row = kept = 0
    while begin < shortest if image.dispatch is not None else len(parts) < len(sizes):
        number = len(parts)
        features, channels = sizes[min(number, len(sizes) - 1)]
        if number in saved:
            kept = min(features, config.residual_depth)
        if number in of_rows:
            gates = number in gating
            part = _Part(features, channels, [], [], row + np.arange(channels), kept, gates)
            if keys[number]:
                seen = int(chain["queries"][number]), int(chain["past"][number])
                part = replace(_softmax(part, row, keys[number]), seen=seen)
            if chain["normalizes"][number]:
                epsilon, rms = int(chain["epsilon"][number]), bool(chain["rms"][number])
                part = replace(part, epsilon=epsilon, rms=rms)
            slots = config.slots(channels * (2 if part.keys else 1))
        else:
            streams, counts = _streams(image, begin, features, channels, config)
            rows, slots = row + element_rows(counts, config), max(counts)
            begin += features * slots if config.lockstep else max(len(words) for words in streams)
            part = _Part(features, channels, streams, counts, rows, kept, number + 1 in gating)
            if image.attends and number in (
                AttentionKernel.SCORES,
                AttentionKernel.CONTEXT,
            ):
                part = replace(part, operands=int(chain["operands"][number]))
        parts.append(replace(part, scales=number in scaling))
        row += slots * config.parameter_stride
    return parts


def _softmax(part: _Part, row: int, keys: int) -> _Part:
    """The part as a softmax, whose parameters begin at a row."""
    _, of_shares = softmax_rows(part.channels, keys)
    exponentials, shares = (row + np.flatnonzero(of_shares == step) for step in (0, 1))
    return replace(part, rows=exponentials, keys=keys, shares=shares)


def _streams(
    image: Image, begin: int, features: int, channels: int, config: ArrayConfig
) -> tuple[list[Words], list[int]]:
    """A program's rows and its outputs by element."""
    if not config.lockstep:
        found = [_stream(image, pe, begin, features, config) for pe in range(config.pes)]
        return [rows for rows, _ in found], [count for _, count in found]
    counts = np.bincount(np.arange(channels) % config.pes, minlength=config.pes).tolist()
    end = begin + features * max(counts)
    last = end >= min(len(rows) for rows in image.streams.values())
    return [image.streams[pe][begin : None if last else end] for pe in range(config.pes)], counts


def _kernels(
    image: Image, parts: Sequence[_Part], names: Sequence[str], array: ArrayOp
) -> list[Kernel]:
    """The operations of the parts."""
    kernels: list[Kernel] = []
    exponents, gate = np.empty(0, np.int64), IDENTITY
    config, target = array.config.data, array.sym_name.data
    for number, (part, name) in enumerate(zip(parts, names, strict=True)):
        columns = _parameters(image, part, config)
        table = _table(image, number, config)
        if part.streams and part.gates:
            table, gate = IDENTITY, table
        # They stand with the results that are normalised, so in the part before.
        own, exponents = exponents, columns.pop("exponent")
        outputs, residual = columns.pop("outputs"), columns.pop("residual")
        correction = columns.pop("correction")
        if part.scales and not part.streams:
            columns["bias"] = correction
        data = {column: from_array(values, i32) for column, values in columns.items()}
        data["table"] = from_array(table, i8)
        if part.shares is not None:
            shares = _parameters(image, replace(part, rows=part.shares), config, plain=True)
            data["offset"] = data.pop("bias")
            data |= {name: from_array(shares[name], i32) for name in ("multiplier", "shift")}
            counts = {"keys": part.keys}
            if part.seen[0]:
                counts |= dict(zip(("queries", "past"), part.seen, strict=True))
            integers = {name: IntegerAttr(count, i64) for name, count in counts.items()}
            kernel = SoftmaxOp(name, target, **integers, **data)
        elif part.streams:
            kernel = ProgramOp(
                name,
                target,
                part.features,
                adds=image.adds,
                keeps=image.keeps,
                wide=image.wide and number + 1 == len(parts),
                top_k=image.top_k,
                operands_from=part.operands,
                stream=from_array(np.concatenate(part.streams).view(np.int32), i32),
                rows=from_array(np.array([len(rows) for rows in part.streams]), i32),
                outputs=from_array(outputs, i32),
                counts=from_array(np.array(part.counts), i32),
                residual=from_array(residual, i32) if residual.any() else None,
                correction=from_array(correction, i32) if part.scales else None,
                **data,
            )
        elif part.gates:
            kernel = GatingOp(
                name,
                target,
                gate=from_array(gate, i8),
                reach=IntegerAttr(config.row_exponents, i64) if part.scales else None,
                **data,
            )
        else:
            kernel = NormalizationOp(
                name, target, part.epsilon, rms=part.rms, exponent=from_array(own, i32), **data
            )
        kernels.append(kernel)
    return kernels


def _table(image: Image, number: int, config: ArrayConfig) -> NDArray[np.int8]:
    """The activation table of a kernel; that of variants is one for all."""
    table = unpack_table(image.table, config)
    if image.chain is not None:
        table = table[TABLE_SIZE * number : TABLE_SIZE * (number + 1)]
    if len(table) != TABLE_SIZE:
        place = byte_at(image.section(Command.TABLE).place)
        raise ProgramImageError(f"{place}, TABLE: {len(table)} rows, not {TABLE_SIZE}")
    return table


def _stream(
    image: Image, pe: int, begin: int, features: int, config: ArrayConfig
) -> tuple[Words, int]:
    """The rows of a PE's stream from one to its end, and the outputs that they complete."""
    section, family = image.section(Command.STREAM, pe), FAMILIES[config.family(pe)].word
    rows = section.rows[begin:]
    fields = stream_word(config, pe).unpack(rows)
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


def _parameters(
    image: Image, part: _Part, config: ArrayConfig, *, plain: bool = False
) -> dict[str, Ints]:
    """The outputs in order, and by channel what the parameter memory has of them.

    They are to be plain where the results are gated, or all of them.
    """
    section, row = image.section(Command.PARAMETERS), part.rows
    missing = row[row >= len(section.rows)]
    if len(missing):
        raise ProgramImageError(
            f"{byte_at(section.place)}, PARAMETERS: {len(section.rows)} rows, but there is an "
            f"output at row {missing[0]}"
        )
    if len(row) != part.channels:
        raise ProgramImageError(
            f"{byte_at(image.section(Command.KERNEL).place)}, KERNEL: {part.channels} outputs, but "
            f"the streams complete {len(row)}: {list(part.counts)} by element"
        )
    fields = parameter_row(config).unpack(section.rows[row])
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
    nothing = np.zeros_like(channels)
    _require_plain(section, part, fields, plain=plain)
    residual, exponent, correction = (
        fields.get(name, nothing) for name in ("residual", "exponent", "correction")
    )
    if residual.any() and part.channels > part.kept:
        place = int(row[(residual != 0).argmax()])
        raise ProgramImageError(
            f"{byte_at(section.word(place))}, row {place} of PARAMETERS: a residual of "
            f"{part.channels} outputs, of {part.kept} activations that are kept"
        )
    return {
        "outputs": channels,
        "residual": residual[order],
        "exponent": exponent[order],
        "correction": wrap(correction, config.sum_width)[order],
        "bias": wrap(-fields["negated_bias"], config.sum_width)[order],
        "multiplier": fields["multiplier"][order],
        "shift": shift[order],
    }


def _require_plain(
    section: Section, part: _Part, fields: Mapping[str, Ints], *, plain: bool
) -> None:
    """Check that those outputs are plain that have to be.

    Raises:
        ProgramImageError: others are.
    """
    channels, row = fields["address"], part.rows
    nothing = np.zeros_like(channels)
    due = nothing + plain if not (part.streams and part.gates) else channels % 2
    for wrong in np.flatnonzero(fields.get("plain", nothing) != due)[:1]:
        raise ProgramImageError(
            f"{byte_at(section.word(int(row[wrong])))}, row {row[wrong]} of PARAMETERS: output "
            f"{channels[wrong]} is {_WAYS[1 - due[wrong]]}, and in this chain it has to be "
            f"{_WAYS[due[wrong]]}"
        )


def _dispatch(
    image: Image, name: str, programs: Sequence[ProgramOp], config: ArrayConfig
) -> DispatchOp:
    assert image.dispatch is not None
    table = dispatch_row(config).unpack(image.dispatch)["variant"]
    unknown = np.flatnonzero(table >= len(programs))
    if len(unknown):
        section = image.section(Command.DISPATCH)
        raise ProgramImageError(
            f"{byte_at(section.word(int(unknown[0])))}, row {unknown[0]} of DISPATCH: variant "
            f"{table[unknown[0]]} of {len(programs)}"
        )
    decision = Decision(config.lanes, image.shift, tuple(table.tolist()))
    return DispatchOp(name, programs, DecisionAttr(decision))


def _require_same(data: bytes, image: Image, again: bytes, config: ArrayConfig) -> None:
    """Check that an image is what its program is encoded as."""
    if image.tiles:
        again = for_tiles(again, image.tiles, config)
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
    if section is not None and place >= section.word(0) and section.rows.size:
        row = f"row {section.row(place)} of "
    found = f"{int(words[place]):#x}" if place < len(words) else "missing"
    encoded = f"{int(expected[place]):#x}" if place < len(expected) else "nothing"
    title = "the header" if section is None else section.title
    raise ProgramImageError(
        f"{byte_at(place)}, {row}{title}: {found}, where the same program is encoded as {encoded}"
    )
