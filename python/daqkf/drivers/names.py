# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What a board is called, such as `uart:/dev/ttyUSB1,csr=csr.csv`, and what it stands for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path

from daqkf.drivers.bus import BoardError, Bus
from daqkf.drivers.device import TIMEOUT, Board
from daqkf.drivers.litex import BAUD, EtherboneBus, Places, UartBus
from daqkf.drivers.mapped import MEM, MappedBus
from daqkf.drivers.pynq_overlay import SIZE, PynqBus
from daqkf.hw_targets.streams import ALIGNMENT
from daqkf.hw_targets.words import ADDRESS_BITS
from daqkf.lowering.rtl.registers import REGISTER_BYTES
from daqkf.support.errors import shortened

UDMABUF = "/dev/udmabuf0"


@dataclass(frozen=True)
class Options:
    """What follows a board's place: `NAME=VALUE`, with commas between."""

    board: str
    given: Mapping[str, str]

    def text(self, name: str, default: str) -> str:
        """A text."""
        return self.given.get(name, default)

    def number(self, name: str, most: int, multiple: int = 1) -> int | None:
        """A number in any base of Python's literals, if it is given.

        Raises:
            BoardError: it is none, or too large, or no such multiple.
        """
        if name not in self.given:
            return None
        text = self.given[name]
        try:
            value = int(text, 0)
        except ValueError:
            raise BoardError(f"{self.board}: {name}= is a number, not {shortened(text)}") from None
        if not 0 <= value <= most or value % multiple:
            what = f"a multiple of {multiple} " if multiple > 1 else ""
            raise BoardError(f"{self.board}: {name}= is {what}from 0 to {most:#x}, not {text}")
        return value

    def address(self, name: str) -> int | None:
        """Where memory begins, as the device sees it."""
        return self.number(name, (1 << ADDRESS_BITS) - ALIGNMENT, ALIGNMENT)

    def bytes(self) -> int | None:
        """How much memory there is."""
        found = self.number("size", 1 << ADDRESS_BITS, ALIGNMENT)
        if found == 0:
            raise BoardError(f"{self.board}: size= is above 0")
        return found


def _uio(place: str, options: Options) -> Bus:
    return MappedBus(
        Path(place),
        Path(options.text("memory", UDMABUF)),
        options.number("registers", 1 << 32, REGISTER_BYTES) or 0,
        options.address("address"),
        options.bytes(),
    )


def _mem(place: str, options: Options) -> Bus:
    registers = Options(options.board, {"registers": place}).number(
        "registers", 1 << 48, REGISTER_BYTES
    )
    assert registers is not None
    return MappedBus(
        MEM,
        Path(options.text("memory", str(MEM))),
        registers,
        options.address("address"),
        options.bytes(),
        interrupts=False,
    )


def _pynq(place: str, options: Options) -> Bus:
    return PynqBus(Path(place), options.bytes() or SIZE, options.given.get("ip"))


def _places(options: Options) -> Places:
    csr = options.given.get("csr")
    return Places(
        None if csr is None else Path(csr),
        options.number("registers", (1 << 32) - 1, REGISTER_BYTES),
        options.number("memory", (1 << 32) - 1, ALIGNMENT),
        options.bytes(),
        options.address("address"),
    )


def _uart(place: str, options: Options) -> Bus:
    baud = options.number("baud", 1 << 32)
    if baud == 0:
        raise BoardError(f"{options.board}: baud= is above 0")
    port = Path(place)
    # LiteX's UART takes words of memory one burst of 8 after another.
    return UartBus(
        f"uart:{place}", _places(options), port=port, baud=baud or BAUD, reads=128, writes=128
    )


def _etherbone(place: str, options: Options) -> Bus:
    host, colon, port = place.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise BoardError(f"{options.board}: etherbone:HOST:PORT has a host and a port below 65536")
    return EtherboneBus(
        f"etherbone:{place}", _places(options), host=host.strip("[]"), port=int(port)
    )


@dataclass(frozen=True)
class Kind:
    """A way to a board."""

    bus: Callable[[str, Options], Bus]
    form: str
    """What its names look like."""
    options: tuple[str, ...]


_LITEX = ("csr", "registers", "memory", "size", "address")
KINDS: Mapping[str, Kind] = {
    "uio": Kind(_uio, "uio:/dev/uio0", ("memory", "registers", "address", "size", "timeout")),
    "mem": Kind(_mem, "mem:0xA0000000", ("memory", "address", "size", "timeout")),
    "pynq": Kind(_pynq, "pynq:overlay.bit", ("size", "ip", "timeout")),
    "uart": Kind(_uart, "uart:/dev/ttyUSB1", (*_LITEX, "baud", "timeout")),
    "etherbone": Kind(_etherbone, "etherbone:HOST:PORT", (*_LITEX, "timeout")),
}
"""By what a board's name begins with."""


def board(name: str) -> Board:
    """A board, for `network.run(inputs, accelerator=daqkf.board(name))`.

    It is reached when it is used first. Paths in a name have no commas.

    Args:
        name: where the board is, and options with commas between:
            `uio:/dev/uio0`, registers of Linux's UIO, with its interrupts; `memory=` is a device of
            u-dma-buf (/dev/udmabuf0 if nothing else is said) or /dev/mem with `address=` and
            `size=`;
            `mem:ADDRESS`, registers in /dev/mem, with memory as for uio, but by default there, too;
            `pynq:FILE.bit`, an overlay of PYNQ, with `size=` of its buffer and the name `ip=` of
            the system in it;
            `uart:/dev/ttyUSB1`, a LiteX SoC behind a UART with `baud=`, with `csr=` its csr.csv, or
            `registers=`, `memory=` and `size=`; `address=` is what the device calls the memory;
            `etherbone:HOST:PORT`, the same behind LiteX's server.
            All have `timeout=`, the seconds in which a job has to end (10).

    Raises:
        BoardError: a name that is none of these.
    """
    kind, colon, rest = name.partition(":")
    place, *texts = rest.split(",")
    if kind not in KINDS or not colon or not place:
        known = ", ".join(kind.form for kind in KINDS.values())
        raise BoardError(f"{shortened(name)} is no board's name (known: {known})")
    given: dict[str, str] = {}
    for text in texts:
        option, equals, value = text.partition("=")
        if option not in KINDS[kind].options or not equals or not value:
            known = ", ".join(f"{option}=" for option in KINDS[kind].options)
            raise BoardError(f"{name}: {shortened(text)} is no option of {kind} (known: {known})")
        if option in given:
            raise BoardError(f"{name}: {option}= is given twice")
        given[option] = value
    options = Options(name, given)
    return Board(KINDS[kind].bus(place, options), timeout=_timeout(options))


def _timeout(options: Options) -> float:
    text = options.text("timeout", str(TIMEOUT))
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < inf:
        raise BoardError(f"{options.board}: timeout= is a number of seconds, not {shortened(text)}")
    return value
