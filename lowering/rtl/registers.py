# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The registers of `daqkf_system`: the one definition of its map.

The AXI4-Lite slave (`register_file.py`), and the C header, the Python constants and the table in
`docs/registers.md` (`register_map.py`) are all made of `REGISTERS`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.decision import MAX_VARIANTS, VARIANT_BITS
from daqkf.hw_targets.descriptors import COUNT_BITS, QUEUE_ERROR_BITS, SIZE_BITS
from daqkf.hw_targets.image_format import IMAGE_MAGIC, IMAGE_VERSION, fingerprint
from daqkf.hw_targets.words import ADDRESS_BITS as MEMORY_ADDRESS_BITS

REGISTER_BITS = 32
REGISTER_BYTES = REGISTER_BITS // 8

ADDRESS_BITS = 12
"""Of a byte address: the slave takes 4 KiB."""

MAP_VERSION = 1
"""Counts up with each change of the map that a driver has to know."""


class Access(Enum):
    """What a bus can do with a field."""

    CONSTANT = "constant"
    """Reads as what the array is."""
    READ_ONLY = "read only"
    """Reads as the hardware says."""
    READ_WRITE = "read, write"
    """Reads as it was written, and tells the hardware."""
    SCRATCH = "read, write, no effect"
    """Reads as it was written, and that is all."""
    CLEAR = "read, write 1 to clear"
    """Set by the hardware, cleared by a 1."""
    STROBE = "write 1 to trigger"
    """A 1 acts once; reads as 0."""


@dataclass(frozen=True)
class Field:
    """Some bits of a register."""

    name: str
    low: int
    width: int
    access: Access
    description: str
    reset: int = 0
    queue: bool = False
    """Only in systems that have a queue."""

    @property
    def mask(self) -> int:
        """The field's bits, in place."""
        return ((1 << self.width) - 1) << self.low

    def get(self, word: int) -> int:
        """The field's value in a register's word."""
        return (word & self.mask) >> self.low


@dataclass(frozen=True)
class Register:
    """A 32-bit word of the map; bits outside its fields read as 0 and ignore writes."""

    name: str
    address: int
    description: str
    fields: tuple[Field, ...]
    variant: int | None = None
    """Only in arrays whose SPAQ unit can pick this variant."""
    queue: bool = False
    """Only in systems that have a queue."""

    @property
    def writable(self) -> bool:
        """Whether a write is no error."""
        return any(field.access not in (Access.CONSTANT, Access.READ_ONLY) for field in self.fields)

    @property
    def reset(self) -> int:
        """The word after a reset, apart from constants and what the hardware says."""
        return sum(field.reset << field.low for field in self.fields)

    def field(self, name: str) -> Field:
        """The field of this name.

        Raises:
            KeyError: there is none.
        """
        found = {field.name: field for field in self.fields}
        return found[name]


def variants_of(config: ArrayConfig) -> int:
    """How many variants an array can tell apart; 0 without a SPAQ unit."""
    return min(config.buckets, MAX_VARIANTS) if config.dispatches else 0


def constants(config: ArrayConfig) -> dict[str, int]:
    """The values of `Access.CONSTANT` fields, by `register_field`."""
    return {
        "id_magic": IMAGE_MAGIC,
        "version_map": MAP_VERSION,
        "version_image": IMAGE_VERSION,
        "fingerprint_crc": fingerprint(config),
        "size_pes": config.pes,
        "size_lanes": config.lanes,
        "max_features_count": config.most_features,
        "max_outputs_count": config.result_depth,
        "capability_variants": variants_of(config),
        "capability_kernels": config.kernels,
        "capability_queue": int(config.queue),
    }


def registers_of(config: ArrayConfig) -> tuple[Register, ...]:
    """The registers that the system of this array has."""
    count = variants_of(config)
    return tuple(
        replace(entry, fields=fields_of(entry, config))
        for entry in REGISTERS
        if (entry.variant is None or entry.variant < count) and config.queue >= entry.queue
    )


def fields_of(entry: Register, config: ArrayConfig) -> tuple[Field, ...]:
    """The fields of a register that the system of this array has."""
    return tuple(field for field in entry.fields if config.queue >= field.queue)


def register(name: str) -> Register:
    """The register of this name.

    Raises:
        KeyError: there is none.
    """
    return _BY_NAME[name]


@dataclass(frozen=True)
class Counter:
    """A performance counter, which counts on while its last snapshot is read. It wraps."""

    name: str
    width: int
    description: str
    variant: int | None = None

    def registers(self, address: int) -> Iterator[Register]:
        """Its words, the least significant first."""
        parts = ("low", "high") if self.width > REGISTER_BITS else ("",)
        for index, part in enumerate(parts):
            name = f"{self.name}_{part}" if part else self.name
            bits = f", bits {REGISTER_BITS * index + 31} … {REGISTER_BITS * index}" if part else ""
            field = Field("count", 0, REGISTER_BITS, Access.READ_ONLY, "at the last snapshot")
            yield Register(
                name,
                address + REGISTER_BYTES * index,
                f"{self.description}{bits}",
                (field,),
                self.variant,
            )


COUNTERS = (
    Counter("cycles", 64, "clock cycles"),
    Counter("busy", 64, "cycles in which the array runs or is between two kernels of a chain"),
    Counter("y_stalled", 64, "cycles in which a beat of results is offered and not taken"),
    Counter("x_stalled", 64, "cycles in which a beat of activations is offered and not taken"),
    Counter("x_starved", 64, "cycles in which the array waits for a beat of activations"),
    Counter("tiles", 64, "tiles whose last result has been taken"),
    Counter("zeros", 64, "zero bytes among the activations that arrived, of all lanes"),
    *(
        Counter(f"variant_tiles_{number}", 32, f"tiles that took variant {number}", number)
        for number in range(MAX_VARIANTS)
    ),
)
_COUNTERS_ADDRESS = 0x40

_EVENTS = {
    "tile_done": "the last result of a tile was taken",
    "program_loaded": "a program has been loaded whole",
    "program_refused": "the array refused a program; `status.error` says why",
    "x_tlast_wrong": "`s_axis_x_tlast` was missing at a tile's last beat, or came before it",
    "memory_failed": "streams could not be read from external memory; `status.error` says why, and "
    "a `soft_reset` goes on",
}
_QUEUE_EVENTS = {
    "queue_done": "a job of the queue whose flags ask for an interrupt has its results in memory",
    "queue_failed": "the queue has stopped; `queue_status.error` says why, a `soft_reset` goes on",
}
_QUEUE_ADDRESS = 0xC0


def _event_fields(access: Access) -> tuple[Field, ...]:
    return tuple(
        Field(name, bit, 1, access, text, queue=name in _QUEUE_EVENTS)
        for bit, (name, text) in enumerate((_EVENTS | _QUEUE_EVENTS).items())
    )


def _queue_registers() -> Iterator[Register]:
    """Those of a queue: where it is, what there is to do in it, and what has been done."""
    read_write, read_only = Access.READ_WRITE, Access.READ_ONLY
    high = MEMORY_ADDRESS_BITS - REGISTER_BITS
    words: list[tuple[str, str, tuple[Field, ...]]] = [
        (
            "queue_base_low",
            "where the queue's descriptors are, bits 31 … 0",
            (Field("address", 0, 32, read_write, "a multiple of 64"),),
        ),
        (
            "queue_base_high",
            f"where they are, bits {MEMORY_ADDRESS_BITS - 1} … 32",
            (Field("address", 0, high, read_write, "of a byte"),),
        ),
        (
            "queue_size",
            "how many descriptors there are",
            (Field("count", 0, SIZE_BITS, read_write, "behind the last one comes the first"),),
        ),
        (
            "queue_doorbell",
            "says that there are jobs; after a soft reset, they are counted from 0 again",
            (
                Field("tail", 0, COUNT_BITS, read_write, "jobs so far, modulo twice `queue_size`"),
                Field(
                    "ring", 31, 1, Access.STROBE, "look at `tail`, `queue_base` and `queue_size`"
                ),
            ),
        ),
        (
            "queue_status",
            "what the queue is doing (hardware-interface.md has the errors)",
            (
                Field(
                    "head", 0, COUNT_BITS, read_only, "jobs done so far, modulo twice `queue_size`"
                ),
                Field("error", 16, QUEUE_ERROR_BITS, read_only, "why the queue has stopped, or 0"),
                Field("active", 31, 1, read_only, "there are jobs that are not done"),
            ),
        ),
    ]
    for index, (name, description, fields) in enumerate(words):
        address = _QUEUE_ADDRESS + REGISTER_BYTES * index
        yield Register(name, address, description, fields, queue=True)


def _registers() -> Iterator[Register]:
    constant, read_only = Access.CONSTANT, Access.READ_ONLY
    words: list[tuple[str, str, tuple[Field, ...]]] = [
        (
            "id",
            "says that this is a DAQKF system",
            (Field("magic", 0, 32, constant, "the bytes `DQKF`"),),
        ),
        (
            "version",
            "what a driver has to be made for",
            (
                Field("map", 0, 16, constant, "of this map"),
                Field("image", 16, 16, constant, "of program images"),
            ),
        ),
        (
            "fingerprint",
            "of the array; the one in the header of its programs",
            (Field("crc", 0, 32, constant, "CRC-32 of the array's configuration"),),
        ),
        (
            "size",
            "size of the array",
            (
                Field("pes", 0, 16, constant, "processing elements"),
                Field("lanes", 16, 16, constant, "tokens of a tile, bytes of a beat"),
            ),
        ),
        (
            "max_features",
            "beats of activations that a tile can have",
            (Field("count", 0, 32, constant, "the largest K of a program"),),
        ),
        (
            "max_outputs",
            "beats of results that a tile can have",
            (Field("count", 0, 32, constant, "the largest N of a program"),),
        ),
        (
            "capability",
            "what the array has",
            (
                Field("variants", 0, 8, constant, "that it can tell apart; 0: no SPAQ unit"),
                Field("kernels", 8, 8, constant, "that can follow one another; 1: no chains"),
                Field("queue", 16, 1, constant, "jobs come from a queue in external memory"),
            ),
        ),
        (
            "control",
            "acts on the array and the counters",
            (
                Field(
                    "soft_reset",
                    0,
                    1,
                    Access.STROBE,
                    "reset the array: its program, activations and results are lost",
                ),
                Field("snapshot", 1, 1, Access.STROBE, "copy all counters in one cycle"),
                Field(
                    "clear",
                    2,
                    1,
                    Access.STROBE,
                    "set all counters to 0; with `snapshot` no event is lost between the two",
                ),
            ),
        ),
        (
            "status",
            "what the array is doing (hardware-interface.md has the values)",
            (
                Field("phase", 0, 3, read_only, "`status_phase`"),
                Field("error", 4, 4, read_only, "`status_error`"),
                Field("variant", 8, VARIANT_BITS, read_only, "`status_variant`"),
            ),
        ),
        (
            "interrupt_enable",
            "events that hold `irq` high until they are cleared",
            _event_fields(Access.READ_WRITE),
        ),
        (
            "interrupt_status",
            "events since they were last cleared, enabled or not",
            _event_fields(Access.CLEAR),
        ),
        (
            "scratch",
            "for trying out the bus",
            (Field("value", 0, 32, Access.SCRATCH, "the last word written"),),
        ),
    ]
    for index, (name, description, fields) in enumerate(words):
        yield Register(name, REGISTER_BYTES * index, description, fields)
    address = _COUNTERS_ADDRESS
    for counter in COUNTERS:
        for entry in counter.registers(address):
            yield entry
            address += REGISTER_BYTES
    yield from _queue_registers()


REGISTERS: tuple[Register, ...] = tuple(_registers())
"""The whole map, by address."""

_BY_NAME = {entry.name: entry for entry in REGISTERS}
