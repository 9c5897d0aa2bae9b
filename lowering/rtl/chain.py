# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_chain`: which kernel of a chain runs, and how its results reach the next one.

Once a kernel has written all its results, they move from the result memory to the activation
memories, one row a cycle; then the next kernel starts. The results of the tile before use the
same way out, and go first.
"""

from daqkf.dialects.rpea import ArrayConfig
from daqkf.lowering.circuit import Circuit, concat, mux
from daqkf.lowering.rtl.pipeline import delayed
from daqkf.lowering.rtl.select import index_bits, unpack

SETTLING = 2
"""Cycles from the last row that is read to the next kernel's row of the table."""


def build_chain_unit(config: ArrayConfig) -> Circuit:
    """The unit of an array whose chain's table has more than one row.

    `ran` pulses when a kernel has written its results, `free` says that no others are leaving.
    In a cycle with `read` the result row `source` is read, in the next one, with `write`, it
    goes to the activations' row `target`. `next` pulses when the next kernel may start.
    """
    c = Circuit("daqkf_chain")
    c.clock("clk")
    rst = c.input("rst", 1)
    c.reset(rst)
    ran, free = c.input("ran", 1), c.input("free", 1)
    bits = index_bits(config.kernels)
    table = c.memory(
        "table", config.banks * config.kernels, config.chain_row.width, style="distributed"
    )
    table.write(
        c.input("chain_address", index_bits(config.banks * config.kernels)),
        c.input("chain_data", config.chain_row.width),
        c.input("chain_write", 1),
    )
    kernel = c.register("kernel", bits, reset=0)
    place = concat(c.input("bank", 1), kernel) if config.double_buffered else kernel
    row = unpack(config.chain_row, table.read(place, c.const(1, 1), "row"))

    following = c.wire("following", 1)
    chaining = c.register("chaining", 1, reset=0)
    chaining.drive((ran & ~row["last"]) | (chaining & ~following))
    moved = c.register("moved", 1, reset=0)
    reading = chaining & free & ~moved
    source = c.register("source", row["outputs"].width, reset=0, clear=rst | following)
    source.drive(source + 1, enable=reading)
    final = reading & (source + 1).eq(row["outputs"])
    moved.drive((final | moved) & ~following)
    following.drive(chaining & delayed(c, moved, "settled", SETTLING, reset=0))
    rewind = ran & row["last"]
    kernel.drive(mux(rewind, c.const(0, bits), kernel + 1), enable=final | rewind)

    c.output("kernel", kernel)
    c.output("stream_start", row["stream"])
    c.output("slot_start", row["slot"])
    for name in sorted(row.keys() - {"stream", "slot"}):
        c.output(name, row[name])
    c.output("next", following)
    c.output("source", source[: index_bits(config.result_depth)])
    c.output("read", reading)
    target = source.zext(max(source.width, config.address_width))[: config.address_width]
    c.output("target", c.delay(target, "target"))
    c.output("write", c.delay(reading, "writing", reset=0))
    c.finish()
    return c
