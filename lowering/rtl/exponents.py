# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The exponents that results of a token share: found in one pass, taken back by the next kernel.

    results of the first pass → magnitude → OR of all outputs → exponent → shift of sums

A kernel of the row unit whose results share exponents has its rows streamed twice. While the chain
unit is `seeking`, the first time, results are not stored; of each lane their magnitudes are joined
by an OR, whose length is that of the largest one. The second time sums are shifted by what is left
of the reach, and those of the next kernel by the exponent itself (`numerics.requantize_rows`).
"""

from collections.abc import Sequence

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.hw_targets.timing import SHIFTING_CYCLES
from daqkf.lowering.hdl.circuit import Circuit, Register, Signal, Wire, concat, mux, named
from daqkf.lowering.hdl.select import choose, index_bits


def stages(config: ArrayConfig) -> int:
    """Cycles from the sums of lanes to those that are shifted: the correction, and the shift."""
    return SHIFTING_CYCLES if config.row_exponents else 0


class Exponents:
    """Rings of the joined magnitudes, a lane's groups one after another, and the shifts of sums."""

    def __init__(self, c: Circuit, config: ArrayConfig, moved: Signal, streaming: Signal):
        """`moved` says that a group of sums is there in this cycle; the rings go on behind it.

        The ports `seeking`, and `seeks`, which pulses before, and `scales`, which says that the
        kernel has exponents to find or to take back, are the chain unit's.
        """
        c.section("The exponents of rows: joined magnitudes, group by group.")
        self._c, self._reach = c, config.row_exponents
        self._seeking, scales = c.input("seeking", 1), c.input("scales", 1)
        self._finer = named(scales & streaming & ~self._seeking, "makes_finer")
        self._coarser = named(scales & ~streaming, "makes_coarser")
        found = c.wire("magnitudes_found", 1)
        self._found: Wire = found
        self._joined = [c.wire(f"joined{v}", self._reach) for v in range(config.post_lanes)]
        advance = named(mux(self._seeking, found, moved), "exponents_advance")
        begins, groups = c.input("seeks", 1), config.lanes // config.post_lanes
        self._heads: list[Signal] = []
        for v, joined in enumerate(self._joined):
            ring: list[Register] = [
                c.register(f"magnitudes{v}_{n}", self._reach, reset=0, clear=begins)
                for n in range(groups)
            ]
            head = mux(self._seeking, joined, ring[-1])
            for register, before in zip(ring, [head, *ring], strict=False):
                register.drive(before, enable=advance)
            self._heads.append(ring[-1])

    def shift(self, lanes: Sequence[Signal], correction: Signal) -> list[Signal]:
        """The corrected sums of the group that is there, shifted, `stages` later."""
        c = self._c
        c.section("Sums, corrected and shifted by the exponent of their token.")
        shifted: list[Signal] = []
        for v, (lane, head) in enumerate(zip(lanes, self._heads, strict=True)):
            amount = c.delay(self._amount(head), f"row_shift{v}")
            corrected = c.delay(lane.sext(correction.width) + correction, f"corrected{v}")
            options = [_left(c, corrected, bits) for bits in range(self._reach + 1)]
            shifted.append(c.delay(choose(amount, options), f"scaled{v}"))
        return shifted

    def join(self, values: Sequence[Signal], valid: Signal) -> None:
        """Join what leaves the post unit, if it is `valid`, to the magnitudes of its lanes."""
        self._c.section("The magnitudes of results, of which only the highest bits count.")
        self._found.drive(valid)
        for v, (value, head, joined) in enumerate(
            zip(values, self._heads, self._joined, strict=True)
        ):
            low, reach = ACTIVATION_BITS - 1 - self._reach, self._reach
            high, sign = value[low:], value[ACTIVATION_BITS - 1]
            # The carry of -value into its highest bits.
            carry = ~value[:low].any() if low else self._c.const(1, 1)
            negative = ~high + carry.zext(high.width)
            magnitude = named(mux(sign, negative, high), f"magnitude{v}")
            # Of -128, the highest bit stands for that of 127.
            most = magnitude[reach] | magnitude[reach - 1]
            rest = [magnitude[: reach - 1]] if reach > 1 else []
            joined.drive(head | concat(most, *rest))

    def _amount(self, head: Signal) -> Signal:
        """Bits by which sums are shifted: the exponent, or what it leaves of the reach, or none."""
        c, bits = self._c, index_bits(self._reach + 1)
        exponent, finer = c.const(0, bits), c.const(self._reach, bits)
        for place in range(self._reach):
            exponent = mux(head[place], c.const(place + 1, bits), exponent)
            finer = mux(head[place], c.const(self._reach - place - 1, bits), finer)
        return (exponent & self._coarser.replicate(bits)) | (finer & self._finer.replicate(bits))


def _left(c: Circuit, value: Signal, bits: int) -> Signal:
    """The value times 2^bits, of the same width."""
    return concat(value[: value.width - bits], c.const(0, bits)) if bits else value
