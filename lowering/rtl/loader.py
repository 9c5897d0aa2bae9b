# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_loader`: plays a program image into the array's memories.

It checks the header, then follows the commands (hw_targets/layout.py), row by row. With one
bank of memories, a word it cannot accept ends in the error state, which only a reset leaves.

With two banks it fills the one that does not run, and also checks the length and the CRC-32. An
image ends with `last`; then nothing more is taken until the array changes banks. What is left of
an image that is refused is dropped.
"""

from collections.abc import Mapping
from enum import IntEnum

from daqkf.dialects.rpea import ArrayConfig
from daqkf.hw_targets.fields import IMAGE_WORD_BITS, Fields
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
from daqkf.hw_targets.status import LoadError
from daqkf.hw_targets.words import chain_row, dispatch_row, parameter_row, stream_words, table_row
from daqkf.lowering.hdl import crc32
from daqkf.lowering.hdl.circuit import Circuit, Signal, concat, mux
from daqkf.lowering.hdl.select import index_bits


class State(IntEnum):
    """What the next word is."""

    HEADER = 0
    COMMAND = 1
    COUNT = 2
    ROWS = 3
    OUTPUTS = 4
    FAILED = 5


def build_loader(config: ArrayConfig) -> Circuit:
    """The loader: one image word in each cycle that `valid` is high.

    It acts on a word a cycle later, and `acting` says so. `begun` pulses with the first word of
    an image, `loaded` with the last one of a good one.

    With two banks, `bank` is the one that it fills, and `swap` says that the array takes it.
    Between the last word of an image and the swap, or the refusal, `ready` is low. `loaded` and
    `refused` pulse two cycles after the last word.
    """
    c = Circuit("daqkf_loader")
    c.clock("clk")
    c.reset(c.input("rst", 1))
    arriving = c.input("word", IMAGE_WORD_BITS)
    word = c.delay(arriving, "current")
    arriving_valid = c.input("valid", 1)
    valid = c.delay(arriving_valid, "acting", reset=0)

    def known(condition: Signal, name: str) -> Signal:
        """What depends on a word alone is found as it arrives."""
        return c.delay(condition, name)

    empty = known(~arriving.any(), "empty")
    checked = config.double_buffered

    state = c.register("state", 3, reset=State.HEADER)
    at = {kind: state.eq(kind) for kind in State}
    index = c.register("index", index_bits(len(Header)), reset=0)
    final_header = index.eq(len(Header) - 1)

    # Header: three words must match; with one bank, length and CRC are for the host's tools.
    wrong = {
        error: at[State.HEADER]
        & index.eq(field)
        & known(arriving.ne(expected), f"not_{error.name.lower()}")
        for error, field, expected in (
            (LoadError.MAGIC, Header.MAGIC, IMAGE_MAGIC),
            (LoadError.VERSION, Header.VERSION, IMAGE_VERSION),
            (LoadError.FINGERPRINT, Header.FINGERPRINT, fingerprint(config)),
        )
    }

    # Commands: which memory, and how many rows.
    op_bits = IMAGE_WORD_BITS - COMMAND_OP_SHIFT
    op = c.register("op", op_bits)
    unit_bits = index_bits(config.pes)
    if config.dispatches:
        unit_bits = max(unit_bits, index_bits(config.zeros_width))
    unit = c.register("unit", unit_bits)
    begin = valid & at[State.COMMAND]
    op.drive(word[COMMAND_OP_SHIFT:], enable=begin)
    unit.drive(word[: unit.width], enable=begin)
    is_op = {code: op.eq(code) for code in Command}

    widest = max(stream_words(config).values(), key=lambda word: word.width)
    memories = {
        Command.STREAM: (widest, config.stream_depth),
        Command.PARAMETERS: (
            parameter_row(config),
            config.parameter_depth * config.parameter_stride,
        ),
        Command.TABLE: (table_row(config), config.table_depth),
    }
    units = {Command.STREAM: config.pes}
    if config.dispatches:
        memories[Command.DISPATCH] = dispatch_row(config), config.buckets
        units[Command.DISPATCH] = config.zeros_width
    if config.chains:
        memories[Command.CHAIN] = chain_row(config), config.kernels
    limits = {code: depth for code, (_, depth) in memories.items()}
    limits |= {Command.KERNEL: config.null_address}
    limits[Command.END] = MAX_TILES if checked else 0
    new_op, new_unit = arriving[COMMAND_OP_SHIFT:], arriving[:COMMAND_OP_SHIFT]
    most_units = c.const(1, new_unit.width)
    for code, most in units.items():
        most_units = mux(new_op.eq(code), c.const(most, new_unit.width), most_units)
    command = new_op.ule(max(limits)) & new_unit.ult(most_units)
    for code in set(range(max(limits))) - set(limits):
        command = command & new_op.ne(code)
    command = known(command, "command")
    fits = ~(is_op[Command.KERNEL] & empty)
    for code, most in limits.items():
        fits = fits & (~is_op[code] | known(arriving.ule(most), f"{code.name.lower()}_fits"))
    # N, beside which there may be flags.
    flags = {
        **({"attends": KERNEL_ATTENDS} if config.operand_depth else {}),
        **({"adds": KERNEL_ADDS, "keeps": KERNEL_KEEPS} if config.accumulates else {}),
    }
    number = arriving
    if flags:
        plain = ~sum(flags.values()) & (1 << IMAGE_WORD_BITS) - 1
        number = arriving & c.const(plain, IMAGE_WORD_BITS)
    outputs_fit = known(number.any() & number.ule(config.result_depth), "outputs_fit")
    wrong[LoadError.COMMAND] = (
        (at[State.COMMAND] & ~command)
        | (at[State.COUNT] & ~fits)
        | (at[State.OUTPUTS] & ~outputs_fit)
    )
    ended = at[State.COUNT] & is_op[Command.END]
    closing = last = ending = c.const(0, 1)
    if checked:
        closing = c.input("last", 1) & arriving_valid
        last = c.delay(closing, "current_last", reset=0)
        left_words = c.register("left_words", IMAGE_WORD_BITS)
        in_body = valid & ~at[State.HEADER]
        length = valid & at[State.HEADER] & index.eq(Header.LENGTH)
        left_words.drive(mux(length, word, left_words - 1), enable=length | in_body)
        ending = ended & last & left_words.eq(1)
        wrong[LoadError.LENGTH] = ~at[State.FAILED] & (ended | last) & ~ending
    failure = c.const(0, 1)
    error = c.register("error", 4, reset=LoadError.NONE)
    code_now = c.const(0, error.width)
    for code, condition in wrong.items():
        failure = failure | condition
        code_now = mux(condition, c.const(code, error.width), code_now)
    verdict: dict[str, Signal] = {}
    if checked:
        verdict = _verdict(c, word, valid, at, index, last, ending & ~failure)
        code_now = mux(verdict["mismatch"], c.const(LoadError.CHECKSUM, error.width), code_now)
        code_now = mux(verdict["loaded"], c.const(LoadError.NONE, error.width), code_now)
        judged = verdict["mismatch"] | verdict["loaded"]
        error.drive(code_now, enable=(valid & failure) | judged)
    else:
        error.drive(code_now, enable=valid & failure)

    # Rows: words gather in `earlier` until the row is whole.
    most_words = max(layout.words for layout, _ in memories.values())
    row_bits = IMAGE_WORD_BITS * most_words
    whole = word
    if most_words > 1:
        earlier = c.register("earlier", row_bits - IMAGE_WORD_BITS)
        whole = concat(word, earlier)
        earlier.drive(whole[IMAGE_WORD_BITS:], enable=valid)
    left = c.register("left", index_bits(max(limits.values()) + 1))
    address = c.register("address", index_bits(max(depth for _, depth in memories.values())))
    part = c.register("part", index_bits(most_words))
    row_done = c.const(0, 1)
    for code, (layout, _) in memories.items():
        row_done = row_done | (is_op[code] & part.eq(layout.words - 1))
    counted = valid & at[State.COUNT]
    writing = valid & at[State.ROWS] & row_done
    left.drive(mux(counted, word[: left.width], left - 1), enable=counted | writing)
    zero = c.const(0, address.width)
    address.drive(mux(counted, zero, address + 1), enable=counted | writing)
    part.drive(
        mux(counted | row_done, c.const(0, part.width), part + 1),
        enable=counted | (valid & at[State.ROWS]),
    )

    # A register on the way to memories, which may be far.
    row_address = c.delay(address, "row_address")
    bank = [c.input("bank", 1)] if checked else []
    for code, (layout, depth) in memories.items():
        name = code.name.lower()
        c.output(f"{name}_address", concat(*bank, row_address[: index_bits(depth)]))
        c.output(f"{name}_data", c.delay(_row(whole, layout), f"{name}_row"))
        own = writing & is_op[code]
        if code is Command.STREAM:
            for p in range(config.pes):
                write = f"stream_write{p}"
                c.output(write, c.delay(own & unit.eq(p), write, reset=0))
        else:
            c.output(f"{name}_write", c.delay(own, f"{name}_write", reset=0))

    features = c.register("features", config.address_width)
    features.drive(word[: features.width], enable=counted & is_op[Command.KERNEL])
    outputs = c.register("outputs", index_bits(config.result_depth + 1))
    outputs.drive(word[: outputs.width], enable=valid & at[State.OUTPUTS])

    for name, flag in flags.items():
        bit = word[flag.bit_length() - 1]
        c.output(name, c.delay(bit, name, enable=valid & at[State.OUTPUTS], reset=0))

    if config.dispatches:
        zero_shift = c.register("zero_shift", index_bits(config.zeros_width))
        zero_shift.drive(unit[: zero_shift.width], enable=counted & is_op[Command.DISPATCH])
        c.output("zero_shift", zero_shift)

    # Where the next word leads.
    last_row = at[State.ROWS] & row_done & left.eq(1)
    nothing = at[State.COUNT] & empty
    following: Signal = state
    for condition, to in (
        (at[State.HEADER] & final_header, State.COMMAND),
        (at[State.COMMAND], State.COUNT),
        (at[State.COUNT], State.ROWS),
        (at[State.COUNT] & is_op[Command.KERNEL], State.OUTPUTS),
        (last_row | nothing | at[State.OUTPUTS], State.COMMAND),
        (ended, State.HEADER),
        (failure, State.FAILED),
        *([(last, State.HEADER)] if checked else []),
    ):
        following = mux(condition, c.const(to, state.width), following)
    state.drive(following, enable=valid)
    index.drive(
        mux(final_header | last, c.const(0, index.width), index + 1),
        enable=(valid & at[State.HEADER]) | last,
    )

    if checked:
        tiles = c.register("tiles", index_bits(MAX_TILES + 1))
        tiles.drive(word[: tiles.width], enable=counted & is_op[Command.END])
        closed = c.register("closed", 1, reset=0)
        closed.drive(closing | (closed & ~(verdict["refused"] | c.input("swap", 1))))
        c.output("tiles", tiles)
        c.output("ready", ~closed)
        c.output("busy", ~at[State.HEADER] | index.any() | closed)
        c.output("loaded", verdict["loaded"])
        c.output("refused", verdict["refused"])
    else:
        c.output("acting", valid)
        c.output("begun", valid & at[State.HEADER] & ~index.any())
        c.output("loaded", valid & ended & ~failure)
        c.output("failed", at[State.FAILED])
    c.output("error", error)
    c.output("features", features)
    c.output("outputs", outputs)
    c.finish()
    return c


def _verdict(
    c: Circuit,
    word: Signal,
    valid: Signal,
    at: Mapping[State, Signal],
    index: Signal,
    last: Signal,
    good: Signal,
) -> dict[str, Signal]:
    """What becomes of an image, in the cycle after its last word acts.

    `good` says that this word ends the image as it should. `mismatch` is one reason of `refused`.
    """
    header = valid & at[State.HEADER]
    expected = c.delay(word, "expected", enable=header & index.eq(Header.CRC))
    crc = c.register("crc", crc32.BITS)
    initial = c.const(crc32.INITIAL, crc.width)
    crc.drive(mux(at[State.HEADER], initial, crc32.following(crc, word)), enable=valid)
    sealed = c.delay(good, "sealed", reset=0)
    matches = (~crc).eq(expected)
    return {
        "loaded": sealed & matches,
        "mismatch": sealed & ~matches,
        "refused": (sealed & ~matches) | c.delay(last & ~good, "spoilt", reset=0),
    }


def _row(whole: Signal, layout: Fields) -> Signal:
    """A row of this layout, whose last word is the highest of `whole`."""
    low = whole.width - IMAGE_WORD_BITS * layout.words
    return whole[low : low + layout.width]
