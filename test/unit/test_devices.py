# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""ECP5 parts as nextpnr-ecp5 takes them, and the boards that have one."""

import re
from dataclasses import replace

import pytest

from daqkf.dialects.errors import DaqkfError
from daqkf.hw_targets import Counts
from daqkf.synthesis.devices import BOARDS, DIES, PARTS, Part, load_board


@pytest.mark.parametrize(
    ("part", "options"),
    [
        ("LFE5U-85F-6BG381C", "--85k --package CABGA381 --speed 6"),
        ("LFE5U-25F-8MG285C", "--25k --package CSFBGA285 --speed 8"),
        ("LFE5UM5G-45F-8BG554I", "--um5g-45k --package CABGA554 --speed 8"),
        ("LFE5UM-85F-7BG756C", "--um-85k --package CABGA756 --speed 7"),
    ],
)
def test_a_part_says_what_nextpnr_asks_for(part: str, options: str):
    assert " ".join(Part.of(part).options) == options


@pytest.mark.parametrize("part", ["LFE5U-85F", "LFE5U-99F-6BG381C", "xc7a35t", ""])
def test_other_parts_are_refused(part: str):
    with pytest.raises(DaqkfError, match=re.escape(f"'{part}' is no ECP5 part")):
        Part.of(part)


def test_boards_have_parts_and_oscillators():
    boards = {name: load_board(name) for name in BOARDS}
    assert boards["ulx3s-85f"].part.die == DIES["85"]
    assert boards["ulx3s-85f"].clock_mhz == 25
    assert boards["orangecrab-25f"].clock_mhz == pytest.approx(48)
    for name, board in boards.items():
        size = re.search(r"-(\d+)f$", name)
        assert size is None or board.part.die == DIES[size[1]], name
    with pytest.raises(DaqkfError, match="there is no board 'pynq': colorlight-i5, "):
        load_board("pynq")


def test_a_device_keeps_a_tenth_of_logic_and_memories_free():
    part = PARTS[0]
    zero = Counts(*(0 for _ in Counts.__dataclass_fields__))
    full = replace(zero, logic_cells=part.die.luts)
    assert part.holds(replace(zero, logic_cells=int(0.9 * part.die.luts)))
    assert not part.holds(full)
    assert part.shares(full)["logic cells"] == 1
    assert part.holds(replace(zero, dsps=part.die.dsps))
    assert not part.holds(replace(zero, dsps=part.die.dsps + 1))
