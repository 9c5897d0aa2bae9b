# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A LiteX SoC for the simulator: a processor, an engine, LiteDRAM with a model of an SDRAM."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from daqkf.boards.engine import add_engine
from daqkf.dialects.errors import from_extra
from daqkf.hw_targets.config import ArrayConfig
from daqkf.support.errors import DaqkfError

with from_extra("board"):
    import litedram.modules
    from litedram.phy.model import SDRAMPHYModel
    from litex.build.generic_platform import Pins, Subsignal
    from litex.build.io import CRG
    from litex.build.sim import SimPlatform
    from litex.gen import LiteXModule
    from litex.soc.integration.soc_core import SoCCore
    from litex.soc.interconnect.csr import CSRStorage
    from migen import Signal

_SDRAM, _BITS = "MT48LC16M16", 16

_PINS = (
    ("sys_clk", 0, Pins(1)),
    (
        *("serial", 0),
        *(Subsignal(f"source_{name}", Pins(bits)) for name, bits in (("valid", 1), ("data", 8))),
        *(Subsignal(f"sink_{name}", Pins(bits)) for name, bits in (("valid", 1), ("data", 8))),
        *(Subsignal(f"{name}_ready", Pins(1)) for name in ("source", "sink")),
    ),
    ("finish", 0, Subsignal("valid", Pins(1)), Subsignal("code", Pins(8))),
)


class _Finish(LiteXModule):
    """A register that ends the simulation: what is written is the exit code."""

    comb: Any
    sync: Any

    def __init__(self, pads: Any):
        self.code = CSRStorage(8)
        valid = Signal()
        self.sync += valid.eq(self.code.re)
        self.comb += [pads.valid.eq(valid), pads.code.eq(self.code.storage)]


class SimulatedSoC(SoCCore):
    """A SoC as on a ULX3S, with the model of its SDRAM.

    Args:
        config: of the engine's array.
        rom: the words of the firmware.
        content: what the SDRAM has from the start on.
        cpu: LiteX's variant of VexRiscv.
        clock: in Hz, which the timing of the SDRAM is of.

    Raises:
        DaqkfError: the SDRAM is too small for the content, or as `add_engine`.
    """

    def __init__(
        self,
        config: ArrayConfig,
        rom: Sequence[int],
        content: bytes,
        cpu: str,
        clock: float,
    ):
        module = getattr(litedram.modules, _SDRAM)(clock, "1:1")
        size = module.geom_settings
        most = _BITS // 8 << size.bankbits + size.rowbits + size.colbits
        if len(content) > most:
            raise DaqkfError(
                f"the jobs take {len(content):,} bytes, and the SDRAM of the SoC has {most:,}"
            )
        platform = SimPlatform("SIM", list(_PINS))
        self.crg = CRG(platform.request("sys_clk"))
        super().__init__(
            platform,
            clock,
            cpu_type="vexriscv",
            cpu_variant=cpu,
            integrated_rom_size=0x8000,
            integrated_rom_init=list(rom),
            integrated_sram_size=0x2000,
            uart_name="sim",
            ident="",
            timer_uptime=False,
        )
        words = np.frombuffer(content + bytes(-len(content) % 4), "<u4").tolist()
        self.sdrphy = SDRAMPHYModel(module, data_width=_BITS, clk_freq=clock, init=words)
        self.add_sdram("sdram", phy=self.sdrphy, module=module, l2_cache_size=0)
        add_engine(self, config)
        self.finish = _Finish(platform.request("finish"))
