# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What packages can be made, and the one that is asked for; importing this costs little."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daqkf.support.errors import DaqkfError, printable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from daqkf.compiler.compiled_network import CompiledNetwork
    from daqkf.compiler.design import Design
    from daqkf.packaging.package import Package


@dataclass(frozen=True)
class Purpose:
    """What a package is for; each is an option of `daqkf package`."""

    name: str
    """Of the option, without the dashes."""
    choice: str
    """What the option takes, in a word; empty if it takes nothing."""
    choices: Callable[[], list[str]]
    """What it may take."""
    help: str
    make: Callable[["Design | CompiledNetwork", str, "Asked"], "Package"]
    """Makes the package of what was compiled, for a choice."""
    asks: tuple[str, ...] = ()
    """What of `Asked` there may be."""


@dataclass(frozen=True)
class Asked:
    """What else may be asked for."""

    clock: float | None = None
    """Of the array, in MHz; None for the one that the choice usually has."""
    inputs: "Mapping[str, ArrayLike] | None" = None
    """Arrays by name, of the extents that a network is to be for; None if it leaves none open."""
    base: int | None = None
    """The address from which on memory is the array's; None for 0."""

    @property
    def given(self) -> list[str]:
        """The names of what is there."""
        return [name for name, value in vars(self).items() if value is not None]


def package(
    compiled: "Design | CompiledNetwork",
    purpose: str,
    choice: str = "",
    asked: Asked = Asked(),
) -> "Package":
    """Make the package of a layer or network.

    Args:
        compiled: what was compiled.
        purpose: one of `PURPOSES`.
        choice: what it takes, such as a board.
        asked: what else is asked for.

    Raises:
        DaqkfError: there is no such purpose or choice, it has no use for what is asked for, the
            array does not fit, or a package that an extra brings is missing.
        VerilogExportError: CIRCT failed.
    """
    check(purpose, choice, asked.given)
    return PURPOSES[purpose].make(compiled, choice, asked)


def check(purpose: str, choice: str, asks: Sequence[str]) -> None:
    """Refuse what no package is for; `asks` names what of `Asked` there is.

    Raises:
        DaqkfError: there is no such purpose or choice, or it has no use for what is asked for.
    """
    if purpose not in PURPOSES:
        raise DaqkfError(f"unknown purpose '{purpose}' (known: {', '.join(PURPOSES)})")
    found = PURPOSES[purpose]
    for name in asks:
        if name not in found.asks:
            owners = " or ".join(f"--{one.name}" for one in PURPOSES.values() if name in one.asks)
            raise DaqkfError(f"--{name} is for {owners}, not for --{purpose}")
    known = found.choices()
    if choice not in known and (choice or known):
        named = f"unknown {found.choice or 'choice'} '{choice}' for --{purpose}"
        raise DaqkfError(f"{named} (known: {', '.join(known)})")


def _vivado_boards() -> list[str]:
    from daqkf.packaging.boards import names

    return names("vivado")


def _vivado(compiled: "Design | CompiledNetwork", choice: str, asked: Asked) -> "Package":
    from daqkf.packaging.system import System
    from daqkf.packaging.vivado import vivado_package

    return vivado_package(System.of(compiled.config), choice, asked.clock, contents(compiled))


def _quartus_boards() -> list[str]:
    from daqkf.packaging.boards import names

    return [*names("quartus"), "component"]


def _quartus(compiled: "Design | CompiledNetwork", choice: str, asked: Asked) -> "Package":
    from daqkf.packaging.quartus import quartus_package
    from daqkf.packaging.system import System

    return quartus_package(System.of(compiled.config), choice, asked.clock, contents(compiled))


def _boards() -> list[str]:
    from daqkf.boards.names import LOADERS

    return list(LOADERS)


def _board(compiled: "Design | CompiledNetwork", choice: str, asked: Asked) -> "Package":
    from daqkf.packaging.open_boards import board_package

    return board_package(compiled.config, choice, asked.clock, contents(compiled))


def _core(compiled: "Design | CompiledNetwork", _choice: str, _asked: Asked) -> "Package":
    from daqkf.packaging.core_file import core_package
    from daqkf.packaging.system import System

    return core_package(System.of(compiled.config), contents(compiled))


def _ip_xact(compiled: "Design | CompiledNetwork", _choice: str, _asked: Asked) -> "Package":
    from daqkf.packaging.ip_xact import ip_xact_package
    from daqkf.packaging.system import System

    return ip_xact_package(System.of(compiled.config))


def _c(compiled: "Design | CompiledNetwork", _choice: str, asked: Asked) -> "Package":
    from daqkf.compiler.compiled_network import CompiledNetwork
    from daqkf.hosts.c_network import c_host
    from daqkf.packaging.package import Package

    if not isinstance(compiled, CompiledNetwork):
        raise DaqkfError("--c is for networks, not for a layer")
    files = c_host(compiled, asked.inputs, base=asked.base or 0)
    return Package("c", "hosts without Python", files, "in this folder: make")


def _none() -> list[str]:
    return []


def contents(compiled: "Design | CompiledNetwork") -> str:
    """What the array is of, in a line for comments: without what ends or continues a line."""
    return printable(", ".join(compiled.figures.values())).replace("\\", "/")


_CLOCK = ("clock",)

PURPOSES: Mapping[str, Purpose] = {
    purpose.name: purpose
    for purpose in (
        Purpose(
            "board", "BOARD", _boards, "a SoC by LiteX, for tools that are open,", _board, _CLOCK
        ),
        Purpose("vivado", "BOARD", _vivado_boards, "a project for Vivado", _vivado, _CLOCK),
        Purpose("quartus", "BOARD", _quartus_boards, "a project for Quartus", _quartus, _CLOCK),
        Purpose("c", "", _none, "a host in C for a network", _c, ("inputs", "base")),
        Purpose("core", "", _none, "a core for FuseSoC and edalize", _core),
        Purpose("ip-xact", "", _none, "a component of IP-XACT, IEEE 1685-2014", _ip_xact),
    )
}
"""By the name of the option, in the order of `daqkf package --help`."""
