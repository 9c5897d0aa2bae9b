# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A SoC with an engine as texts: its Verilog, its firmware in the ROM, pins, and addresses."""

import importlib
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daqkf.boards.litex_log import litex
from daqkf.boards.names import LOADERS
from daqkf.dialects.errors import from_extra
from daqkf.hw_targets.config import ArrayConfig
from daqkf.support.errors import DaqkfError
from daqkf.synthesis.devices import PLATFORMS

TOP = "daqkf_soc"

CLOCK = 50e6
"""Hz: of a SoC whose clock is not named."""

SMALL, CACHED = "minimal", "standard"
"""LiteX's variants of VexRiscv: without a multiplier and caches, and with them."""

_ROM, _SRAM = 0x4000, 0x1000
"""Bytes of the memories of the firmware."""

_HEADER = (
    "// A SoC by LiteX and LiteDRAM (BSD-2-Clause), with an engine by DAQKF; not to be edited.\n\n"
)

_TREE = re.compile(r"/\*.*?\*/", re.DOTALL)
"""A comment that shows the modules, in an order of chance."""

_DATES = re.compile(r"^(?://|#).*\b20\d\d-\d\d-\d\d.*\n", re.MULTILINE)
"""Comments of LiteX that differ from day to day."""


@dataclass(frozen=True)
class SocSources:
    """What a SoC consists of beside the SystemVerilog of its engine."""

    verilog: Mapping[str, str]
    """Files of Verilog, the one of the SoC last."""
    data: Mapping[str, str]
    """Files that its memories begin with."""
    pins: str
    """Constraints of pins and clocks (LPF); empty in the simulator."""
    headers: Mapping[str, str]
    """What its firmware was compiled with, without the sources."""
    addresses: str
    """Of registers and memories, as LiteX's servers read them (CSV)."""


def simulated_soc(config: ArrayConfig, memory: bytes, cpu: str = CACHED) -> SocSources:
    """A SoC for the simulator, as on a ULX3S; see `simulated.SimulatedSoC`.

    Args:
        config: of the engine's array.
        memory: what its SDRAM holds from the start on.
        cpu: LiteX's variant of VexRiscv.

    Raises:
        DaqkfError: the array has no queue, its port does not go with the memory, this is too
            small, or a package of the extra `board` is missing.
    """
    with litex():
        from daqkf.boards.simulated import SimulatedSoC

        return _sources(lambda rom: SimulatedSoC(config, rom, memory, cpu, CLOCK))


def board_soc(
    board: str, config: ArrayConfig, clock: float = CLOCK, cpu: str = SMALL
) -> SocSources:
    """A SoC for a board: LiteX's target of it with LiteDRAM, an engine, and a console on the UART.

    The UART also is a way for a host to registers and memory (`daqkf.board`).

    Args:
        board: one of `names.LOADERS`.
        config: of the engine's array.
        clock: of all of it, in Hz.
        cpu: LiteX's variant of VexRiscv.

    Raises:
        DaqkfError: there is no SoC for such a board, or as for `simulated_soc`.
    """
    if board not in PLATFORMS:
        raise DaqkfError(f"there is no board '{board}': {', '.join(LOADERS)}")
    if board not in LOADERS:
        raise DaqkfError(
            f"no SoC for {board}: LiteX reaches it over USB alone, by a package that is on no "
            f"registry; there are SoCs for {', '.join(LOADERS)}"
        )
    module, arguments = PLATFORMS[board]
    with litex():
        from daqkf.boards.engine import add_engine

        target = importlib.import_module("litex_boards.targets." + module)

        def make(rom: Sequence[int]) -> Any:
            soc = target.BaseSoC(
                **arguments,
                sys_clk_freq=clock,
                cpu_type="vexriscv",
                cpu_variant=cpu,
                integrated_rom_size=_ROM,
                integrated_rom_init=list(rom),
                integrated_sram_size=_SRAM,
                l2_size=0,
                uart_name="crossover+uartbone",
                with_timer=False,
                timer_uptime=False,
                with_led_chaser=False,
            )
            add_engine(soc, config)
            return soc

        return _sources(make)


def _sources(make: Callable[[Sequence[int]], Any]) -> SocSources:
    """A SoC that is made twice: the firmware needs its addresses, and it has the firmware."""
    with from_extra("board"):
        from litex.build.sim import SimPlatform
        from litex.soc.integration import export

    from daqkf.boards.firmware import compile_firmware, headers

    plain = make(())
    plain.finalize()
    known = headers(plain)
    soc = make(compile_firmware(plain, known))
    with tempfile.TemporaryDirectory(prefix="daqkf-") as name:
        folder = Path(name)
        if isinstance(soc.platform, SimPlatform):
            soc.finalize()
            output = soc.platform.get_verilog(soc, name=TOP)
            (folder / f"{TOP}.v").write_text(output.main_source, encoding="utf-8")
            for path, text in output.data_files.items():
                (folder / path).write_text(text, encoding="utf-8")
        else:
            soc.build(build_dir=name, build_name=TOP, run=False)
        main = (folder / f"{TOP}.v").read_text(encoding="utf-8")
        main = _HEADER + _TREE.sub("", main[main.index(f"module {TOP}") :])
        cores = [Path(path) for path, *_ in soc.platform.sources if Path(path).is_file()]
        verilog = {
            path.name: path.read_text(encoding="utf-8") for path in cores if path.stem != TOP
        }
        pins = folder / f"{TOP}.lpf"
        return SocSources(
            verilog={**verilog, f"{TOP}.v": _DATES.sub("", main)},
            data={
                path.name: path.read_text(encoding="utf-8")
                for path in sorted(folder.glob("*.init"))
            },
            pins=pins.read_text(encoding="utf-8") if pins.is_file() else "",
            headers={name: _DATES.sub("", text) for name, text in known.items()},
            addresses=_DATES.sub(
                "", export.get_csr_csv(soc.csr_regions, soc.constants, soc.mem_regions)
            ),
        )
