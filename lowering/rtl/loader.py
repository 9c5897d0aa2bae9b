# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_loader`: from program images to the array's memories.

It checks the header, then follows the commands (hw_targets/image_format.py), row by row. With one
bank of memories, a word it cannot accept ends in the error state, which only a reset leaves.

With two banks it fills the one that does not run, and also checks the length and the CRC-32. An
image ends with `last`; then nothing more is taken until the array changes banks. What is left of
an image that is refused is dropped.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.fields import IMAGE_WORD_BITS
from daqkf.hw_targets.image_format import (
    IMAGE_MAGIC,
    IMAGE_VERSION,
    MAX_TILES,
    Command,
    Header,
    beat_words,
    fingerprint,
    header_padding,
)
from daqkf.hw_targets.status import ERROR_BITS, LoadError
from daqkf.lowering.hdl import crc32
from daqkf.lowering.hdl.circuit import Circuit, Signal, mux, named
from daqkf.lowering.hdl.fsm import Enumeration
from daqkf.lowering.hdl.select import index_bits
from daqkf.lowering.rtl.image_rows import place_rows
from daqkf.lowering.rtl.image_words import Cursor, Instruction, State, Word


def build_loader(config: ArrayConfig) -> Circuit:
    """The loader: one beat of an image, mostly a word, in each cycle that `valid` is high.

    It acts on one a cycle later, and `acting` says so. `begun` pulses with the first word of
    an image, `loaded` with the last one of a good one.

    With two banks, `bank` is the one that it fills, and `swap` says that the array takes it.
    Between the last word of an image and the swap, or the refusal, `ready` is low. `loaded` and
    `refused` pulse two cycles after the last word.
    """
    c = Circuit("daqkf_loader", "writes program images to the array's memories.")
    c.clock("clk")
    c.reset(c.input("rst", 1))
    word = Word.receive(c, c.input("word", config.program_bits), c.input("valid", 1))
    cursor = Cursor.declare(c, word)
    wrong = _header_errors(c, config, word, cursor)
    instruction = Instruction.decode(c, config, word, cursor)
    wrong[LoadError.COMMAND] = instruction.wrong(cursor)
    end = _End.of(c, config, word, cursor, instruction)
    if config.double_buffered:
        wrong[LoadError.LENGTH] = end.wrong(cursor)
    failure, verdict = _judge(c, config, word, cursor, wrong, end)

    last_row = place_rows(c, config, word, cursor, instruction)
    _place_kernel(c, config, word, cursor, instruction)

    nothing = cursor.at(State.COUNT) & word.empty
    cursor.drive(
        word,
        [
            (cursor.at(State.HEADER) & cursor.final_header, State.COMMAND),
            (cursor.at(State.COMMAND), State.COUNT),
            (cursor.at(State.COUNT), State.ROWS),
            (cursor.at(State.COUNT) & instruction.op.at(Command.KERNEL), State.OUTPUTS),
            (last_row | nothing | cursor.at(State.OUTPUTS), State.COMMAND),
            (end.ended, State.HEADER),
            (failure, State.FAILED),
            *([(end.last, State.HEADER)] if config.double_buffered else []),
        ],
        end.last,
    )
    if config.double_buffered:
        _show_bank(c, word, cursor, instruction, end, verdict)
    else:
        c.output("acting", word.valid)
        c.output("begun", cursor.in_header & cursor.first_header)
        c.output("loaded", word.valid & end.ended & ~failure)
        c.output("failed", cursor.at(State.FAILED))
    c.finish()
    return c


def _header_errors(
    c: Circuit, config: ArrayConfig, word: Word, cursor: Cursor
) -> dict[LoadError, Signal]:
    """Three words must match; with one bank, length and CRC are for the host's tools."""
    c.section("The header: words that must be what this array expects.")
    return {
        error: named(
            cursor.at(State.HEADER)
            & cursor.gives(word, field)
            & word.known(
                word.header(field, word.arriving_beat).ne(expected), f"not_{error.name.lower()}"
            ),
            f"wrong_{error.name.lower()}",
        )
        for error, field, expected in (
            (LoadError.MAGIC, Header.MAGIC, IMAGE_MAGIC),
            (LoadError.VERSION, Header.VERSION, IMAGE_VERSION),
            (LoadError.FINGERPRINT, Header.FINGERPRINT, fingerprint(config)),
        )
    }


@dataclass(frozen=True)
class _End:
    """Where an image ends."""

    ended: Signal
    """The count of END, which says that it does."""
    closing: Signal
    """The last word of an image arrives: with two banks, the stream says so."""
    last: Signal
    """It acts."""
    good: Signal
    """An image ends where its commands, its header and the stream say."""

    @classmethod
    def of(
        cls, c: Circuit, config: ArrayConfig, word: Word, cursor: Cursor, instruction: Instruction
    ) -> "_End":
        ended = named(cursor.at(State.COUNT) & instruction.op.at(Command.END), "ended")
        if not config.double_buffered:
            return cls(ended, *[c.const(0, 1)] * 3)
        c.section("The length: how many words of the body are left.")
        closing = c.input("last", 1) & word.arriving_valid
        last = c.delay(closing, "current_last", reset=0)
        left = c.register("left_words", IMAGE_WORD_BITS)
        length = named(cursor.in_header & cursor.gives(word, Header.LENGTH), "gives_length")
        in_body, beat = word.valid & ~cursor.at(State.HEADER), beat_words(config)
        given = word.header(Header.LENGTH, word.beat)
        left.drive(mux(length, given, left - beat), enable=length | in_body)
        # What fills up the header is part of the body, too.
        none_left = left.eq(beat + header_padding(config))
        return cls(ended, closing, last, named(ended & last & none_left, "good_end"))

    def wrong(self, cursor: Cursor) -> Signal:
        """The image ends too early or too late."""
        over = (self.ended | self.last) & ~self.good
        return named(~cursor.at(State.FAILED) & over, "wrong_length")


def _judge(
    c: Circuit,
    config: ArrayConfig,
    word: Word,
    cursor: Cursor,
    wrong: Mapping[LoadError, Signal],
    end: _End,
) -> tuple[Signal, Mapping[str, Signal]]:
    """The error's register and port; whether the word that acts is wrong, and the verdict."""
    checked = LoadError.LENGTH in wrong
    failure = c.const(0, 1)
    for condition in wrong.values():
        failure = failure | condition
    failure = named(failure, "failure")
    verdict = {}
    if checked:
        verdict = _verdict(c, config, word, cursor, end.last, end.good & ~failure)
    c.section("Why an image was refused.")
    errors = Enumeration(c, LoadError, width=ERROR_BITS, prefix="ERROR_")
    error = c.register("error", errors.width, reset=errors[LoadError.NONE])
    code = errors[LoadError.NONE]
    for kind, condition in wrong.items():
        code = mux(condition, errors[kind], code)
    changes = word.valid & failure
    if checked:
        code = mux(verdict["mismatch"], errors[LoadError.CHECKSUM], code)
        code = mux(verdict["loaded"], errors[LoadError.NONE], code)
        changes = changes | verdict["mismatch"] | verdict["loaded"]
    error.drive(code, enable=changes)
    c.output("error", error)
    return failure, verdict


def _verdict(
    c: Circuit, config: ArrayConfig, word: Word, cursor: Cursor, last: Signal, good: Signal
) -> Mapping[str, Signal]:
    """What becomes of an image, in the cycle after its last word acts.

    `good` says that this word ends the image as it should. `mismatch` is one reason of `refused`.
    """
    c.section("The CRC-32 of the body, and the one that the header gave.")
    gives_crc = cursor.in_header & cursor.gives(word, Header.CRC)
    given = word.header(Header.CRC, word.beat)
    expected = c.delay(given, "expected", enable=gives_crc)
    crc, initial = c.register("crc", crc32.BITS), crc32.INITIAL
    for _ in range(header_padding(config)):
        initial = crc32.advance(initial)
    initial = c.const(initial, crc.width)
    following = mux(cursor.at(State.HEADER), initial, crc32.following(crc, word.beat))
    crc.drive(following, enable=word.valid)
    sealed = c.delay(good, "sealed", reset=0)
    matches = named((~crc).eq(expected), "crc_matches")
    mismatch = named(sealed & ~matches, "mismatch")
    return {
        "loaded": named(sealed & matches, "image_loaded"),
        "mismatch": mismatch,
        "refused": named(mismatch | c.delay(last & ~good, "spoilt", reset=0), "image_refused"),
    }


def _place_kernel(
    c: Circuit, config: ArrayConfig, word: Word, cursor: Cursor, instruction: Instruction
) -> None:
    """The ports of K and N and of what else commands say without rows of a memory."""
    c.section("The kernel: its features K, its outputs N and its flags.")
    features = c.register("features", config.address_width)
    kernel = cursor.counted & instruction.op.at(Command.KERNEL)
    features.drive(word.current[: features.width], enable=kernel)
    said = word.valid & cursor.at(State.OUTPUTS)
    outputs = c.register("outputs", index_bits(config.result_depth + 1))
    outputs.drive(word.current[: outputs.width], enable=said)
    c.output("features", features)
    c.output("outputs", outputs)
    for name, flag in instruction.flags.items():
        bit = word.current[flag.bit_length() - 1]
        c.output(name, c.delay(bit, name, enable=said, reset=0))
    if config.dispatches:
        zero_shift = c.register("zero_shift", index_bits(config.zeros_width))
        zero_shift.drive(
            instruction.unit[: zero_shift.width],
            enable=cursor.counted & instruction.op.at(Command.DISPATCH),
        )
        c.output("zero_shift", zero_shift)


def _show_bank(
    c: Circuit,
    word: Word,
    cursor: Cursor,
    instruction: Instruction,
    end: _End,
    verdict: Mapping[str, Signal],
) -> None:
    """The ports of a loader that fills one bank while the other one runs."""
    c.section("The bank that is filled: it stays closed from the last word to the swap.")
    tiles = c.register("tiles", index_bits(MAX_TILES + 1))
    whole = cursor.counted & instruction.op.at(Command.END)
    tiles.drive(word.current[: tiles.width], enable=whole)
    closed = c.register("closed", 1, reset=0)
    closed.drive(end.closing | (closed & ~(verdict["refused"] | c.input("swap", 1))))
    c.output("tiles", tiles)
    c.output("ready", ~closed)
    c.output("busy", ~cursor.at(State.HEADER) | ~cursor.first_header | closed)
    c.output("loaded", verdict["loaded"])
    c.output("refused", verdict["refused"])
