# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The boards that there are SoCs for; importing this costs nothing."""

from collections.abc import Mapping
from pathlib import Path

LOADERS: Mapping[str, str] = {
    "colorlight-i5": "colorlight-i5",
    "colorlight-i9": "colorlight-i9",
    "ecpix5-45f": "ecpix5",
    "ecpix5-85f": "ecpix5",
    "ulx3s-12f": "ulx3s",
    "ulx3s-25f": "ulx3s",
    "ulx3s-45f": "ulx3s",
    "ulx3s-85f": "ulx3s",
}
"""By the name of the board, what openFPGALoader calls it."""

FIRMWARE = Path(__file__).with_name("firmware")
"""The sources of the firmware, in C and assembler."""
