# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operand memories: how words are gated by what is in them, and `daqkf_fill`, which fills them.

`hw_targets/operands.py` says what they mean. An item whose operand's bit is not set reads the
row of zeros, so a gate is a bit of each address, whatever the number of lanes.
"""

from collections.abc import Mapping

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.hw_targets.operands import OPERAND_BITS
from daqkf.lowering.hdl.circuit import Circuit, Signal, concat, mux, named
from daqkf.lowering.hdl.pipeline import delayed
from daqkf.lowering.hdl.select import choose, index_bits

Word = Mapping[str, Signal]

_READING = 2
"""Cycles from a word to its operands' bits: the memory, and the choice among what it gives."""


def gate(
    c: Circuit, config: ArrayConfig, word: Word, valid: Signal, start: Signal, enable: Signal
) -> tuple[dict[str, Signal], Signal]:
    """A word with the null address for items whose operand's bit is not set; and `valid`.

    It comes out three cycles later. The registers at the end are the addresses.
    """
    depth, items = config.operand_depth, config.items
    bits = index_bits(depth)
    begin = c.input("operand_start", bits)
    first, following = c.register("first_operand", bits), c.register("next_operand", bits)
    bit = c.register("operand_bit", index_bits(OPERAND_BITS), reset=OPERAND_BITS - 1)
    place = mux(word["double"], first, following)
    own = bit - word["double"].zext(bit.width)
    beyond = place + 1
    step, gated = enable & valid, word["gated"]
    following.drive(mux(start, begin, beyond), enable=start | (step & gated))
    first.drive(
        mux(start, begin, mux(gated, beyond, following)), enable=start | (step & word["last"])
    )
    fresh = start | word["last"]
    bit.drive(
        mux(fresh, c.const(OPERAND_BITS - 1, bit.width), own),
        enable=start | (step & (gated | word["last"])),
    )

    memory = c.memory("operands", depth, ACTIVATION_BITS * items)
    memory.write(
        c.input("operand_address", bits),
        c.input("operand_data", memory.width),
        c.input("operand_write", 1),
    )
    row = memory.read(place, enable, "operand_row")
    own = c.delay(own, "row_bit", enable=enable)
    joins: list[Signal] = []
    for item in range(items):
        operand = row[ACTIVATION_BITS * item : ACTIVATION_BITS * (item + 1)]
        chosen = choose(own, [operand[n] for n in range(OPERAND_BITS)])
        joins.append(c.delay(chosen, f"joins{item}", enable=enable))

    late = {
        name: delayed(c, signal, f"ungated_{name}", _READING, enable=enable)
        for name, signal in word.items()
        if name != "end"
    }
    gated = late.pop("gated")
    found: dict[str, Signal] = {}
    for name, signal in late.items():
        if not name.startswith("index"):
            found[name] = c.delay(signal, f"gated_{name}", enable=enable)
            continue
        absent = gated & ~joins[int(name.removeprefix("index"))]
        address = c.register(
            f"gated_{name}", signal.width, reset=config.null_address, clear=enable & absent
        )
        address.drive(signal, enable=enable)
        found[name] = address
    return found, delayed(c, valid, "gated_valid", _READING + 1, enable=enable, reset=0)


def build_fill_unit(config: ArrayConfig) -> Circuit:
    """The unit between the results and the operand memories.

    `begins` pulses before the rows of a kernel, which says by `tokens` whether its operand words
    have tokens or features side by side, and where they are; `write` comes with a row. Rows of
    features come once for each token that a PE has of a tile, of which `round` is the number.
    """
    c = Circuit("daqkf_fill", "fills the operand memories.")
    c.clock("clk")
    c.reset(c.input("rst", 1))
    bits = index_bits(config.operand_depth)
    begins, tokens = c.input("begins", 1), c.input("tokens", 1)
    operands, tile = c.input("operands", bits), c.input("tile", config.tokens_width)
    stride = c.input("stride", bits)
    write, row = c.input("write", 1), c.input("row", config.row_bits)
    pes, items = config.pes, config.items
    rounds = config.lanes // pes
    turn_bits = max(index_bits(pes), index_bits(items))

    c.section("Which operand a row is for, and where its word stands.")
    turn = c.register("turn", turn_bits, reset=0)
    turn.drive(mux(begins, c.const(0, turn_bits), turn + 1), enable=begins | write)
    pe = turn[: index_bits(pes)] if pes > 1 else c.const(0, 1)
    whole = turn[: index_bits(items)].all()
    around = pe.eq(pes - 1)
    ends = named(mux(tokens, around, whole), "word_ends")

    # Words of features go on where those of the tile before ended.
    place, reached = c.register("place", bits), c.register("reached", bits)
    following = place + mux(tokens, stride, c.const(1, bits))
    moves = named(write & ends, "word_moves")
    wide = max(bits, tile.width)
    of_tokens = (operands.zext(wide) + tile.zext(wide))[:bits]
    opening = mux(tokens, of_tokens, mux(tile.any(), reached, operands))
    place.drive(mux(begins, opening, following), enable=begins | moves)
    reached.drive(following, enable=moves & ~tokens)

    c.section("Operand words: tokens come as a whole, features gather.")
    # Features gather until a word is whole; tokens are one as they come.
    part = c.input("round", index_bits(rounds)) if rounds > 1 else None
    values = [
        row[ACTIVATION_BITS * lane : ACTIVATION_BITS * (lane + 1)] for lane in range(config.lanes)
    ]
    for p in range(pes):
        gathered = c.register(f"gathered{p}", config.row_bits)
        mine = [values[pes * r + p] for r in range(rounds)]
        value = mine[0] if part is None else choose(part, mine)
        shifted = concat(value, gathered[ACTIVATION_BITS:])
        gathered.drive(mux(tokens, row, shifted), enable=write)
        c.output(f"data{p}", gathered)
        own = mux(tokens, pe.eq(p) if pes > 1 else c.const(1, 1), whole)
        c.output(f"write{p}", c.delay(write & own, f"writing{p}", reset=0))
    c.output("address", c.delay(place, "address"))
    c.finish()
    return c
