# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The configuration of an array, as data: everything that shapes the generated circuit."""

from dataclasses import asdict, dataclass, replace

from daqkf.hw_targets.decision import MAX_BUCKETS
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.machine import UNITS, Machine
from daqkf.hw_targets.numerics import (
    ACCUMULATOR_MAX_BITS,
    ACTIVATION_BITS,
    NORMALIZED_BITS,
    NORMALIZED_FEATURES,
    TABLE_SIZE,
    epsilon_limit,
)

MAX_KERNELS = 16
"""The most kernels of a chain."""


def epsilon_bits(depth: int) -> int:
    """Bits of the largest epsilon of a normalisation of as many features as results have rows."""
    return (epsilon_limit(min(NORMALIZED_FEATURES, depth)) - 1).bit_length()


MIN_FIFO_DEPTH = 8
"""Words of the smallest FIFO between a memory port and an element."""

FIFO_SLACK = 3
"""Words that a FIFO still has room for when it first says that it is full: so many may be written
until the reader of the memory port knows."""


@dataclass(frozen=True)
class ArrayConfig(Machine):
    """Everything that shapes the generated circuit; two arrays of one config are one circuit.

    Raises:
        ValueError: as for a machine, widths that shrink or exceed 32 bits, or counts of buckets
            or kernels that are not powers of two within their limits.
    """

    running_sum_width: int
    """Bits of a lane's running sum R."""
    accumulator_width: int
    """Bits of a lane's accumulator A."""
    sum_width: int
    """Bits of A + bias."""
    buckets: int = 1
    """Rows of the SPAQ unit's decision table. With 1 there is no unit and nothing to decide."""
    kernels: int = 1
    """Kernels that can follow one another on the array. With 1 nothing is chained."""
    rms_norms: bool = False
    """Whether the row unit normalises by the root mean square, too, without a mean."""
    epsilon_width: int = 0
    """Bits of what the row unit adds to the squares that it normalises by; 0: it adds nothing."""

    def __post_init__(self):
        super().__post_init__()
        if self.running_sum_width <= ACTIVATION_BITS:
            raise ValueError("the running sum must be wider than an activation")
        if not self.running_sum_width <= self.accumulator_width <= self.sum_width:
            raise ValueError("widths must not shrink from running sum to accumulator to sum")
        if self.accumulator_width < self.sum_width and any(
            FAMILIES[name].modular for name in self.families
        ):
            raise ValueError(
                f"accumulators of {self.accumulator_width} bits; these families need all "
                f"{self.sum_width} of a sum"
            )
        if self.sum_width > ACCUMULATOR_MAX_BITS:
            raise ValueError(f"sums of {self.sum_width} bits; at most {ACCUMULATOR_MAX_BITS}")
        if self.buckets > MAX_BUCKETS or self.buckets & (self.buckets - 1):
            raise ValueError(
                f"buckets must be a power of two, 1..{MAX_BUCKETS}, not {self.buckets}"
            )
        if not 1 <= self.kernels <= MAX_KERNELS or self.kernels & (self.kernels - 1):
            raise ValueError(
                f"kernels must be a power of two, 1..{MAX_KERNELS}, not {self.kernels}"
            )
        if self.dispatches and self.chains:
            raise ValueError("an array picks among variants or chains kernels, not both")
        if self.features_together > 1 and (self.chains or self.dispatches):
            raise ValueError(
                f"beats of {self.features_together} features are for arrays that neither chain "
                "kernels nor pick among variants"
            )
        if self.reads_ahead and self.dispatches:
            raise ValueError("reads_ahead is for arrays that do not pick among variants")
        if (self.residual_depth or self.has_rows) and not self.chains:
            raise ValueError("residuals and row units are for arrays that chain kernels")
        if (self.rms_norms or self.epsilon_width) and not self.normalizes:
            raise ValueError("root mean squares and epsilons are for arrays that normalise")
        if self.epsilon_width > (most := epsilon_bits(self.result_depth)):
            raise ValueError(f"epsilons of {self.epsilon_width} bits; at most {most}")
        if self.memory_bits and self.stream_depth < MIN_FIFO_DEPTH:
            raise ValueError(f"FIFOs of {self.stream_depth} words; at least {MIN_FIFO_DEPTH}")
        if self.has_rows and self.accumulator_width < NORMALIZED_BITS:
            raise ValueError(
                f"accumulators of {self.accumulator_width} bits; what a row unit gives has "
                f"{NORMALIZED_BITS}"
            )

    @property
    def row_bits(self) -> int:
        """Bits of an activation or result row: one int8 for each lane, lane 0 lowest."""
        return ACTIVATION_BITS * self.lanes

    @property
    def beat_bits(self) -> int:
        """Bits of a beat of activations or of results, and of a row of the activation memories."""
        return self.row_bits * self.features_together

    @property
    def place_width(self) -> int:
        """Bits of the place of a feature within a row of the activation memories."""
        return self.features_together.bit_length() - 1

    @property
    def row_address_width(self) -> int:
        """Bits of the address of such a row."""
        return self.address_width - self.place_width

    @property
    def table_depth(self) -> int:
        """Rows of the activation tables, one after another."""
        return TABLE_SIZE * self.kernels

    @property
    def dispatches(self) -> bool:
        """Whether the array has a SPAQ unit, which picks each tile's variant."""
        return self.buckets > 1

    @property
    def chains(self) -> bool:
        """Whether kernels follow one another on the array."""
        return self.kernels > 1

    @property
    def relocates(self) -> bool:
        """Whether what runs does not always begin at address 0 of the memories."""
        return self.dispatches or self.chains or self.double_buffered

    @property
    def has_rows(self) -> bool:
        """Whether the array has a row unit, which works on the results of a kernel."""
        return any(getattr(self, name) for name in UNITS)

    @property
    def hides_keys(self) -> bool:
        """Whether some keys of a softmax may not be there for a token."""
        return self.causal or self.operand_depth > 0

    @property
    def tokens_width(self) -> int:
        """Bits of the tokens of a sequence, in the row before its activations."""
        return self.result_depth.bit_length()

    @property
    def accumulates(self) -> bool:
        """Whether sums can go on in another program."""
        return self.partial_depth > 0

    @property
    def double_buffered(self) -> bool:
        """Whether a program is loaded while another one runs."""
        return self.banks > 1

    @property
    def zeros_width(self) -> int:
        """Bits of a count of a tile's zeros; a decision's shift is below it."""
        return (self.lanes * self.null_address).bit_length()


def memory_depth(rows: int) -> int:
    """Rows of a memory for so many: a power of two above 1, as block RAM has them anyway."""
    return 1 << max(rows - 1, 1).bit_length()


def activation_rows(features: int, machine: Machine) -> int:
    """The smallest `activation_depth` for so many features of a machine, and a row of zeros."""
    together = machine.features_together
    rows = 1 << machine.tile_beats(features).bit_length()
    # Indices of so many bits are for longer addresses.
    return max(rows * together, 2 << machine.index_bits)


def smallest_array(machine: Machine, features: int) -> ArrayConfig:
    """An array of the machine with words for so many features, and sums as wide as any."""
    depth = activation_rows(features, machine)
    return ArrayConfig(
        **asdict(replace(machine, activation_depth=depth)),
        running_sum_width=ACTIVATION_BITS + 1,
        accumulator_width=ACCUMULATOR_MAX_BITS,
        sum_width=ACCUMULATOR_MAX_BITS,
    )
