# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Make program images in which something is changed."""

import zlib

import numpy as np

from daqkf.dialects.rpea import Playable
from daqkf.hw_targets.image_format import Command, Header
from daqkf.hw_targets.words import chain_row, dispatch_row, parameter_row, stream_word, table_row
from daqkf.lowering.image.decode import decode
from daqkf.lowering.image.encode import encode


def sealed(words: np.ndarray) -> bytes:
    """An image whose header has the length and the CRC of its body."""
    body = words[len(Header) :].tobytes()
    words[Header.LENGTH], words[Header.CRC] = len(body) // 4, zlib.crc32(body)
    return words.tobytes()


def changed(program: Playable, command: Command, row: int, unit: int = 0, **fields: int) -> bytes:
    """The image of a program, with other values for some fields of a row."""
    config, data = program.target().config.data, encode(program)
    section = decode(data, config).section(command, unit)
    layout = {
        Command.STREAM: stream_word(config, unit),
        Command.PARAMETERS: parameter_row(config),
        Command.TABLE: table_row(config),
        Command.DISPATCH: dispatch_row(config),
        Command.CHAIN: chain_row(config),
    }[command]
    values = layout.unpack(section.rows[row : row + 1])
    values |= {name: np.array([value]) for name, value in fields.items()}
    words = np.frombuffer(data, "<u4").copy()
    words[section.word(row) : section.word(row) + layout.words] = layout.pack(values)[0]
    return sealed(words)
