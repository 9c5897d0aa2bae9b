# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""SoCs with an engine: what they are made of, before anything is simulated or placed."""

import logging
import re
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from daqkf.boards import jobs
from daqkf.boards.bitstream import _timing
from daqkf.boards.litex_log import litex
from daqkf.boards.names import LOADERS
from daqkf.boards.soc import SMALL, SocSources, board_soc, simulated_soc
from daqkf.hw_targets import load_target
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.descriptors import QueuedJob
from daqkf.hw_targets.image_format import fingerprint
from daqkf.lowering.image.queue_memory import Queue
from daqkf.runtime.tools import c_compiler
from daqkf.support.errors import DaqkfError
from daqkf.synthesis.devices import BOARDS

CONFIG = ArrayConfig(
    **vars(load_target("ulx3s").machine),
    running_sum_width=16,
    accumulator_width=22,
    sum_width=22,
)
BASE = 0x4000_1000
QUEUE = Queue(
    content=bytes(range(256)) * 20,
    base=BASE,
    descriptors=BASE + 0x1000,
    jobs=(QueuedJob(BASE, 16, BASE + 0x400, 3), QueuedJob(BASE, 16, BASE + 0x800, 0)),
)

READER = """#include <stddef.h>
#include <stdio.h>
#include "jobs.h"

int main(void) {
  static struct jobs page;
  if (fread(&page, sizeof page, 1, stdin) != 1)
    return 1;
  printf("%u %u %u %x\\n", page.magic == JOBS_MAGIC, page.state == JOBS_STATE_READY,
         page.options & JOBS_OPTION_READ_BESIDE, page.fingerprint);
  printf("%x %u %x %u\\n", page.queue, page.bytes, page.descriptors, page.jobs);
  for (unsigned number = 0; number < page.checks; ++number)
    printf("%x %x %u\\n", page.check[number].results, page.check[number].expected,
           page.check[number].bytes);
  return 0;
}
"""


def test_c_reads_a_page_as_python_writes_it(tmp_path: Path):
    done = bytes(reversed(range(256))) * 20
    memory = jobs.with_page(QUEUE, done, CONFIG, jobs.Options.READ_BESIDE)
    (tmp_path / "jobs.h").write_text(jobs.header())
    (tmp_path / "reader.c").write_text(READER)
    build = [*c_compiler(), "-std=c99", "-Wall", "-Werror", "reader.c", "-o", "reader"]
    subprocess.run(build, cwd=tmp_path, check=True)
    found = subprocess.run([tmp_path / "reader"], input=memory, capture_output=True, check=True)
    size = 3 * CONFIG.lanes
    # The content is filled up to whole pages before what is expected follows.
    expected = BASE + 0x2000
    assert found.stdout.decode().splitlines() == [
        f"1 1 1 {fingerprint(CONFIG):x}",
        f"{BASE:x} {len(QUEUE.content)} {BASE + 0x1000:x} 2",
        f"{BASE + 0x400:x} {expected:x} {size}",
    ]
    page = 0x1000
    assert memory[page:][: len(QUEUE.content)] == QUEUE.content
    assert memory[page + 0x2000 :][:size] == done[0x400:][:size]


def test_a_page_has_room_for_so_many_checks():
    many = replace(QUEUE, jobs=(QUEUE.jobs[0],) * (jobs.CHECKS + 1))
    with pytest.raises(DaqkfError, match="65 pieces of results; a page has room for 64"):
        jobs.with_page(many, bytes(8192), CONFIG)


def test_a_whole_page_is_no_longer_than_a_page():
    many = replace(QUEUE, jobs=(QUEUE.jobs[0],) * jobs.CHECKS)
    assert len(jobs.with_page(many, bytes(8192), CONFIG)) == 0x3000 + jobs.CHECKS * 24


@cache
def made(board: str, memory_bits: int = CONFIG.memory_bits) -> SocSources:
    return board_soc(board, replace(CONFIG, memory_bits=memory_bits))


@pytest.mark.parametrize(
    "board", ["ulx3s-85f", *(pytest.param(b, marks=pytest.mark.slow) for b in ("colorlight-i9",))]
)
def test_a_soc_of_a_board_is_always_the_same(board: str):
    soc = made(board)
    assert soc == board_soc(board, CONFIG)
    names = list(soc.verilog)
    assert names == ["VexRiscv_Min.v", "daqkf_soc.v"]
    text = soc.verilog["daqkf_soc.v"]
    assert re.search(r"\bdaqkf_system\b", text)
    for name in (*soc.verilog.values(), *soc.headers.values(), soc.addresses):
        assert not re.search(r"\b20\d\d-\d\d-\d\d\b", name)
    assert "LOCATE COMP" in soc.pins
    assert "csr_register,engine_beats" in soc.addresses
    assert "memory_region,engine," in soc.addresses
    rom = soc.data["daqkf_soc_rom.init"].split()
    assert 1000 < len(rom) < 0x4000 // 4
    assert len(np.unique(rom)) > 500


@pytest.mark.slow
def test_a_simulated_soc_differs_by_its_memory_alone():
    one, other = (simulated_soc(CONFIG, memory, SMALL) for memory in (bytes(9000), b"\1" * 9000))
    assert one.verilog == other.verilog
    assert not one.pins
    differ = {name for name, text in one.data.items() if other.data[name] != text}
    assert differ == {name for name in one.data if re.match(r"daqkf_soc_mem(_\d)?\.init", name)}


def test_jobs_have_to_fit_into_the_memory():
    with pytest.raises(
        DaqkfError, match=r"take 33,554,436 bytes, and the SDRAM of the SoC has 33,"
    ):
        simulated_soc(CONFIG, bytes((1 << 25) + 4))


def test_an_array_needs_a_queue():
    with pytest.raises(DaqkfError, match="compile for a target that has queue = true"):
        simulated_soc(replace(CONFIG, queue=False), b"")


def test_a_port_has_to_go_with_the_memory():
    with pytest.raises(DaqkfError, match="256 bits does not go with a memory that gives 16 bits"):
        simulated_soc(replace(CONFIG, memory_bits=256), b"")


@pytest.mark.slow
def test_a_memory_of_ddr3_is_trained():
    soc = made("ecpix5-85f", 128)
    assert "SDRAM_PHY_READ_LEVELING_CAPABLE" in soc.headers["generated/sdram_phy.h"]
    sizes = [len(one.data["daqkf_soc_rom.init"].split()) for one in (soc, made("ulx3s-85f"))]
    assert sizes[0] > sizes[1] + 300
    with pytest.raises(DaqkfError, match="64 bits does not go with a memory that gives 128 bits"):
        board_soc("ecpix5-85f", CONFIG)


def test_an_unknown_board_is_told_the_others():
    with pytest.raises(DaqkfError, match=r"there is no board 'nix': colorlight-i5, .*ulx3s-85f"):
        board_soc("nix", CONFIG)


def test_litex_leaves_logging_and_the_folder_as_they_were(tmp_path: Path):
    root, before = logging.getLogger(), Path.cwd()
    state = root.handlers[:], root.level, root.manager.disable
    with litex():
        import os

        root.addHandler(logging.NullHandler())
        root.setLevel(logging.DEBUG)
        os.chdir(tmp_path)
    assert (root.handlers, root.level, root.manager.disable) == state
    assert Path.cwd() == before


def test_timing_is_met_by_each_clock_or_not_at_all():
    def report(*clocks: tuple[float, float]):
        found = {
            str(number): {"achieved": achieved, "constraint": constraint}
            for number, (achieved, constraint) in enumerate(clocks)
        }
        return {"fmax": found}

    assert _timing(report((60.0, 50.0), (200.0, 100.0))) == (60e6, True)
    assert _timing(report((60.0, 50.0), (90.0, 100.0))) == (60e6, False)


def test_boards_that_litex_cannot_reach_are_refused():
    with pytest.raises(DaqkfError, match="no SoC for orangecrab-25f: LiteX reaches it over USB"):
        board_soc("orangecrab-25f", CONFIG)
    assert set(LOADERS) < set(BOARDS)
