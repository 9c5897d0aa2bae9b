# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Names of boards, and the buses that they stand for."""

from pathlib import Path

import numpy as np
import pytest

import daqkf
from daqkf.cli.main import main
from daqkf.drivers.bus import Bus
from daqkf.drivers.device import results_of
from daqkf.drivers.litex import EtherboneBus, Places, UartBus
from daqkf.drivers.mapped import MEM, MappedBus
from daqkf.drivers.owner import lock_name
from daqkf.drivers.pynq_overlay import SIZE, PynqBus
from daqkf.hw_targets.descriptors import QueuedJob

NAMES: dict[str, Bus] = {
    "uio:/dev/uio0": MappedBus(Path("/dev/uio0"), Path("/dev/udmabuf0")),
    "uio:/dev/uio1,memory=/dev/mem,address=0x7000_0000,size=0x100000": MappedBus(
        Path("/dev/uio1"), MEM, address=0x70000000, room=1 << 20
    ),
    "mem:0xA0000000,memory=/dev/udmabuf1": MappedBus(
        MEM, Path("/dev/udmabuf1"), registers=0xA0000000, interrupts=False
    ),
    "mem:16,address=4096,size=4096": MappedBus(
        MEM, MEM, registers=16, address=4096, room=4096, interrupts=False
    ),
    "pynq:a/overlay.bit": PynqBus(Path("a/overlay.bit"), SIZE),
    "pynq:o.bit,size=4096,ip=engine": PynqBus(Path("o.bit"), 4096, "engine"),
    "uart:/dev/ttyUSB1,csr=csr.csv,baud=1000000": UartBus(
        "uart:/dev/ttyUSB1",
        Places(Path("csr.csv")),
        port=Path("/dev/ttyUSB1"),
        baud=1_000_000,
        reads=128,
        writes=128,
    ),
    "etherbone:::1:1234,registers=0x90000000,memory=0x40000000,size=8192,address=0": EtherboneBus(
        "etherbone:::1:1234", Places(None, 0x90000000, 0x40000000, 8192, 0), host="::1", port=1234
    ),
    "etherbone:[::1]:1234": EtherboneBus("etherbone:[::1]:1234", Places(), host="::1", port=1234),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_stand_for_buses(name: str):
    board = daqkf.board(name)
    assert board.bus == NAMES[name]
    assert board.timeout == 10
    assert daqkf.board(f"{name},timeout=2.5").timeout == 2.5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "'' is no board's name (known: uio:/dev/uio0, mem:0xA0000000, pynq:overlay.bit, "),
        ("ulx3s", "'ulx3s' is no board's name"),
        ("uio:", "'uio:' is no board's name"),
        ("usb:/dev/ttyUSB1", "is no board's name"),
        ("uart:/dev/ttyUSB1,speed=3", "'speed=3' is no option of uart (known: csr=, registers=, "),
        ("uart:/dev/ttyUSB1,csr", "'csr' is no option of uart"),
        ("uart:/dev/ttyUSB1,csr=", "'csr=' is no option of uart"),
        ("uart:/dev/ttyUSB1,baud=1,baud=2", "baud= is given twice"),
        ("uart:/dev/ttyUSB1,baud=fast", "baud= is a number, not 'fast'"),
        ("uart:/dev/ttyUSB1,baud=0", "baud= is above 0"),
        ("uart:/dev/ttyUSB1,memory=100", "memory= is a multiple of 4096 from 0 to 0xffffffff, not"),
        ("uart:/dev/ttyUSB1,registers=0x100000000", "registers= is a multiple of 4 from 0 to"),
        (
            "uio:/dev/uio0,address=0x10000000000",
            "address= is a multiple of 4096 from 0 to 0xfffffff",
        ),
        ("uio:/dev/uio0,size=0", "size= is above 0"),
        ("uio:/dev/uio0,timeout=0", "timeout= is a number of seconds, not '0'"),
        ("uio:/dev/uio0,timeout=nan", "timeout= is a number of seconds, not 'nan'"),
        ("uio:/dev/uio0,timeout=inf", "timeout= is a number of seconds"),
        ("mem:/dev/mem", "registers= is a number, not '/dev/mem'"),
        ("etherbone:localhost", "etherbone:HOST:PORT has a host and a port below 65536"),
        ("etherbone::1234", "etherbone:HOST:PORT has a host"),
        ("etherbone:localhost:65536", "etherbone:HOST:PORT has a host"),
        ("etherbone:localhost:http", "etherbone:HOST:PORT has a host"),
    ],
)
def test_bad_names_are_told(name: str, message: str):
    with pytest.raises(daqkf.DaqkfError) as found:
        daqkf.board(name)
    assert message in str(found.value)
    assert "\n" not in str(found.value)


def test_the_command_line_tells_bad_boards(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    np.savez(inputs := tmp_path / "x.npz", x=np.zeros(3))
    running = ["run", str(tmp_path), str(inputs), "-o", str(tmp_path / "y.npz"), "--accelerator"]
    assert main([*running, "board:ulx3s"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("daqkf: 'ulx3s' is no board's name")
    assert error.count("\n") == 1
    with pytest.raises(SystemExit):
        main([*running, "gpu"])
    message = "unknown accelerator 'gpu' (known: fast, rtl, queue, soc, board:NAME)"
    assert message in capsys.readouterr().err
    assert not (tmp_path / "y.npz").exists()


def test_a_board_without_a_file_has_one_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import os

    monkeypatch.setenv("DAQKF_CACHE", str(tmp_path))
    first = lock_name("etherbone:../../etc:1")
    with pytest.raises(daqkf.DaqkfError, match="another process uses the board"):
        lock_name("etherbone:../../etc:1")
    os.close(lock_name("etherbone:localhost:1"))
    os.close(first)
    os.close(lock_name("etherbone:../../etc:1"))
    assert {path.parent for path in tmp_path.rglob("*.lock")} == {tmp_path / "boards"}


def test_results_are_read_in_whole_blocks():
    def job(results: int, rows: int) -> QueuedJob:
        return QueuedJob(activations=0, activation_rows=1, results=results, result_rows=rows)

    jobs = [job(0x200, 10), job(0x100, 8), job(0x40, 16), job(0x80, 16), job(0, 0)]
    assert results_of(jobs, 8) == [(0x40, 0x140), (0x200, 0x280)]
    assert results_of([job(0x40, 100), job(0x80, 1)], 8) == [(0x40, 0x380)]
    assert results_of([], 8) == []
