# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Program images as listings: every command and row, for people."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.families.descriptor import StreamWord
from daqkf.hw_targets.families.multiply import MultiplyWord
from daqkf.hw_targets.families.running_sum import RunningSumWord
from daqkf.hw_targets.families.semiring import SEMIRINGS
from daqkf.hw_targets.fields import Fields
from daqkf.hw_targets.image_format import Command, Header, fingerprint
from daqkf.hw_targets.index_coding import DELTA, INDEX, OFFSET, WINDOW
from daqkf.hw_targets.multiplication import weigh
from daqkf.hw_targets.numerics import wrap
from daqkf.hw_targets.words import (
    chain_row,
    dispatch_row,
    parameter_row,
    stream_word,
    table_values,
    unpack_table,
)
from daqkf.lowering.image.chain_table import chain_fields
from daqkf.lowering.image.decode import decode
from daqkf.lowering.image.encode import softmax_rows
from daqkf.lowering.image.image import Image, Section

Words = Mapping[str, NDArray[np.int64]]

_TABLE_COLUMNS = 16

_OF_ITEMS = (INDEX, OFFSET, WINDOW, DELTA, "complement", "negative", "weight")
"""Fields of a stream word that its items are made of."""


def listing(data: bytes, config: ArrayConfig) -> str:
    """An image as text: a line for each row, behind the word of the image where it begins.

    `x[k]` is feature k, `~` a ones' complement, `-` what is subtracted. See
    `hw_targets/families` for what an element does with it.

    Raises:
        ProgramImageError: as for `decode`.
    """
    image = decode(data, config)
    words = np.frombuffer(data, "<u4")
    lines = [f"; {len(words)} words for the array {fingerprint(config):#010x}"]
    lines += [f"{field:6}  {field.name.lower():12} {int(words[field]):#010x}" for field in Header]
    for section in image.sections:
        lines.append(f"{section.place:6}  {_heading(section, image, config)}")
        rows = _rows(section, image, config)
        lines += [f"{section.word(row):6}    {text}" for row, text in rows]
    return "\n".join(lines) + "\n"


def _heading(section: Section, image: Image, config: ArrayConfig) -> str:
    if section.command is Command.KERNEL:
        names = ("adds", "keeps", "attends", "wide", "top_k")
        said = {name: getattr(image, name) for name in names}
        flags = "".join(f" {name}" for name, flag in said.items() if flag)
        return f"KERNEL features {image.features} outputs {image.channels}{flags}"
    if section.command is Command.END:
        return f"END after {section.count or 'any number of'} tiles"
    notes = {
        Command.STREAM: f" ({config.family(section.unit)})",
        Command.DISPATCH: f" by zeros >> {section.unit}",
    }
    return f"{section.title}{notes.get(section.command, '')}, {section.count} rows"


def _rows(section: Section, image: Image, config: ArrayConfig) -> Iterator[tuple[int, str]]:
    """The rows that a section shows, and what they say."""
    if section.command is Command.TABLE:
        values = unpack_table(section.rows, config).tolist()
        for first in range(0, len(values), _TABLE_COLUMNS):
            text = " ".join(f"{value:4}" for value in values[first : first + _TABLE_COLUMNS])
            yield first // table_values(config), text
    elif section.command is Command.PARAMETERS:
        yield from enumerate(_parameters(section, image, config))
    elif section.command is Command.STREAM:
        yield from enumerate(_stream(section, config))
    elif section.command in (Command.DISPATCH, Command.CHAIN):
        dispatches = section.command is Command.DISPATCH
        layout = dispatch_row(config) if dispatches else chain_row(config)
        what = "bucket" if dispatches else "kernel"
        for row, text in enumerate(_named(layout, section.rows)):
            yield row, f"{what} {row}: {text}"


def _named(layout: Fields, rows: NDArray[np.uint32]) -> list[str]:
    """Rows by the names of their fields."""
    fields = {name: values.tolist() for name, values in layout.unpack(rows).items()}
    return [
        " ".join(f"{name} {values[row]}" for name, values in fields.items())
        for row in range(len(rows))
    ]


def _parameters(section: Section, image: Image, config: ArrayConfig) -> Iterator[str]:
    fields = parameter_row(config).unpack(section.rows)
    bias = wrap(-fields["negated_bias"], config.sum_width).tolist()
    corrections = wrap(fields.get("correction", 0 * fields["address"]), config.sum_width).tolist()
    working = _working(image, config)
    for row, words in enumerate(section.rows):
        slot, pe = divmod(row, config.parameter_stride)
        where, term = working.get(row, (f"PE {pe}", "sum"))
        text = "unused"
        if words.any():
            output, sign = fields["address"][row], "-" if bias[row] < 0 else "+"
            if correction := corrections[row]:
                term = f"({term} {'-' if correction < 0 else '+'} {abs(correction)}) << exponent"
            terms = f"{term} {sign} {abs(bias[row])}"
            if residual := fields.get("residual", {row: 0})[row]:
                terms += f" + kept {output} * {residual}"
            text = (
                f"output {output} = ({terms}) * {fields['multiplier'][row]} >> "
                f"{fields['shift_minus_1'][row] + 1}"
            )
            if exponent := fields.get("exponent", {row: 0})[row]:
                text += f", exponent {exponent}"
            if fields.get("plain", {row: 0})[row]:
                text += ", plain"
        yield f"slot {slot} of {where}: {text}"


def _working(image: Image, config: ArrayConfig) -> dict[int, tuple[str, str]]:
    """The rows in slots of the row unit: of what they are, and what they get."""
    found: dict[int, tuple[str, str]] = {}
    if image.chain is None:
        return found
    chain, stride = chain_fields(config, image.chain), config.parameter_stride
    for kernel in np.flatnonzero(chain["rows"]).tolist():
        slot, count, gates, keys = (
            int(chain[name][kernel]) for name in ("slot", "outputs", "gates", "keys")
        )
        if keys:
            where, rows = "a softmax", zip(*softmax_rows(count, keys), strict=True)
            terms = [f"e[{n}] / sum" if share else f"x[{n}] - max" for n, share in rows]
        elif gates:
            where, terms = "a gating", [f"x[{2 * n}] * x[{2 * n + 1}]" for n in range(count)]
        else:
            where = "an RMS normalisation" if chain["rms"][kernel] else "a normalisation"
            terms = ["z"] * count
        terms += [""] * (config.slots(len(terms)) * stride - len(terms))
        found |= {slot * stride + row: (where, term) for row, term in enumerate(terms)}
    return found


def _stream(section: Section, config: ArrayConfig) -> Iterator[str]:
    """The items of each word, then its other fields but for zeros."""
    family = FAMILIES[config.family(section.unit)].word
    layout = stream_word(config, section.unit)
    stored = layout.unpack(section.rows)
    columns = _items(family, family.played(stored, config), config)
    for name, bits in layout.widths.items():
        if name == "semiring":
            columns.append([SEMIRINGS[code].value for code in stored[name].tolist()])
        elif bits > 1 and not name.startswith(_OF_ITEMS):
            values = wrap(stored[name], bits) if name in family.signed else stored[name]
            columns.append([f"{name} {value}" if value else "" for value in values.tolist()])
        elif not name.startswith(_OF_ITEMS):
            columns.append([name if value else "" for value in stored[name].tolist()])
    for row in zip(*columns, strict=True):
        yield " ".join(filter(None, row)) or "no item"


def _items(family: StreamWord, words: Words, config: ArrayConfig) -> list[list[str]]:
    """By item, what each word says of it; nothing of a null item."""
    if isinstance(family, MultiplyWord):
        factors, _ = weigh(words, family.weight_bits(config), config.multiplier)
        texts = []
        for item, factor in enumerate(factors):
            row = words.get(f"index{item}")
            # Words without addresses have the weights of one feature after the other.
            names = [""] * len(factor) if row is None else [f"*x[{k}]" for k in row.tolist()]
            pairs = zip(factor.tolist(), names, strict=True)
            texts.append([f"{w:+}{name}" if w or not name else "" for w, name in pairs])
        return texts
    texts = []
    for item, name in enumerate(family.addresses(config)):
        sign = "-" if isinstance(family, RunningSumWord) and item % 2 else "+"
        none = np.zeros_like(words[name])
        inverted = words.get(f"complement{item}", words.get(f"negative{item}", none))
        texts.append(
            [
                "" if row == config.null_address else f"{sign}{'~' * flag}x[{row}]"
                for row, flag in zip(words[name].tolist(), inverted.tolist(), strict=True)
            ]
        )
    return texts
