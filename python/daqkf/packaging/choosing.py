# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What packages can be made, and the one that is asked for; importing this costs little."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daqkf.support.errors import DaqkfError, printable

if TYPE_CHECKING:
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
    make: Callable[["Design | CompiledNetwork", str, float | None], "Package"]
    """Makes the package of what was compiled, for a choice, at a clock in MHz or the usual one."""


def package(
    compiled: "Design | CompiledNetwork",
    purpose: str,
    choice: str = "",
    *,
    clock: float | None = None,
) -> "Package":
    """Make the package of a layer or network.

    Args:
        compiled: what was compiled.
        purpose: one of `PURPOSES`.
        choice: what it takes, such as a board.
        clock: of the array, in MHz; None for the one that the choice usually has.

    Raises:
        DaqkfError: there is no such purpose or choice, a clock where there is none, the array does
            not fit, or a package that an extra brings is missing.
        VerilogExportError: CIRCT failed.
    """
    check(purpose, choice, clock)
    return PURPOSES[purpose].make(compiled, choice, clock)


def check(purpose: str, choice: str, clock: float | None) -> None:
    """Refuse what no package is for; the arguments are those of `package`.

    Raises:
        DaqkfError: there is no such purpose or choice, or a clock where there is none.
    """
    if purpose not in PURPOSES:
        raise DaqkfError(f"unknown purpose '{purpose}' (known: {', '.join(PURPOSES)})")
    found = PURPOSES[purpose]
    if clock is not None and not found.choice:
        raise DaqkfError(f"--clock is for a board, and --{purpose} is for none")
    known = found.choices()
    if choice not in known and (choice or known):
        named = f"unknown {found.choice or 'choice'} '{choice}' for --{purpose}"
        raise DaqkfError(f"{named} (known: {', '.join(known)})")


def _vivado_boards() -> list[str]:
    from daqkf.packaging.boards import names

    return names("vivado")


def _vivado(compiled: "Design | CompiledNetwork", choice: str, clock: float | None) -> "Package":
    from daqkf.packaging.system import System
    from daqkf.packaging.vivado import vivado_package

    return vivado_package(System.of(compiled.config), choice, clock, contents(compiled))


def _quartus_boards() -> list[str]:
    from daqkf.packaging.boards import names

    return [*names("quartus"), "component"]


def _quartus(compiled: "Design | CompiledNetwork", choice: str, clock: float | None) -> "Package":
    from daqkf.packaging.quartus import quartus_package
    from daqkf.packaging.system import System

    return quartus_package(System.of(compiled.config), choice, clock, contents(compiled))


def _boards() -> list[str]:
    from daqkf.boards.soc import LOADERS

    return list(LOADERS)


def _board(compiled: "Design | CompiledNetwork", choice: str, clock: float | None) -> "Package":
    from daqkf.packaging.open_boards import board_package

    return board_package(compiled.config, choice, clock, contents(compiled))


def _core(compiled: "Design | CompiledNetwork", _choice: str, _clock: float | None) -> "Package":
    from daqkf.packaging.core_file import core_package
    from daqkf.packaging.system import System

    return core_package(System.of(compiled.config), contents(compiled))


def _ip_xact(compiled: "Design | CompiledNetwork", _choice: str, _clock: float | None) -> "Package":
    from daqkf.packaging.ip_xact import ip_xact_package
    from daqkf.packaging.system import System

    return ip_xact_package(System.of(compiled.config))


def _none() -> list[str]:
    return []


def contents(compiled: "Design | CompiledNetwork") -> str:
    """What the array is of, in a line for comments: without what ends or continues a line."""
    return printable(", ".join(compiled.figures.values())).replace("\\", "/")


PURPOSES: Mapping[str, Purpose] = {
    purpose.name: purpose
    for purpose in (
        Purpose("board", "BOARD", _boards, "a SoC by LiteX, for tools that are open,", _board),
        Purpose("vivado", "BOARD", _vivado_boards, "a project for Vivado", _vivado),
        Purpose("quartus", "BOARD", _quartus_boards, "a project for Quartus", _quartus),
        Purpose("core", "", _none, "a core for FuseSoC and edalize", _core),
        Purpose("ip-xact", "", _none, "a component of IP-XACT, IEEE 1685-2014", _ip_xact),
    )
}
"""By the name of the option, in the order of `daqkf package --help`."""
