# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Boards by their names, over each of the buses: LiteX's wires, PYNQ, and files that are mapped."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from driver_bench import BASE, SIZE, inputs, live, network, recorded, right
from litex.tools.litex_server import RemoteServer

import daqkf
from daqkf.cli.main import main
from daqkf.drivers.bus import BoardError, BusError
from daqkf.drivers.device import Board
from daqkf.drivers.litex import EtherboneBus, UartBus
from daqkf.drivers.mapped import MappedBus
from daqkf.hw_targets.image_format import IMAGE_MAGIC, IMAGE_VERSION, fingerprint
from daqkf.lowering.rtl.registers import MAP_VERSION, register
from daqkf.runtime.live_system import LiveSystem

REGISTERS_AT = 0x9000_0000
WHERE = f"registers={REGISTERS_AT:#x},memory={BASE:#x},size={SIZE}"


def runs(board: Board) -> bool:
    return right(network().run(inputs(), accelerator=board, check=True))


@pytest.fixture
def system() -> Iterator[LiveSystem]:
    with live() as found:
        yield found


@dataclass
class SocBus:
    """The bus of a SoC with the simulated system on it, as LiteX's servers see one."""

    system: LiveSystem
    quiet: threading.Event = field(default_factory=threading.Event)
    """Nothing answers while it is set."""
    turn: threading.Lock = field(default_factory=threading.Lock)
    """For the threads of several servers."""

    def open(self) -> None: ...

    def close(self) -> None: ...

    def read(self, address: int, length: int = 1, burst: str = "incr") -> list[int]:
        assert burst == "incr"
        while self.quiet.is_set():
            time.sleep(0.01)
        with self.turn:
            return [self._read(address + 4 * number) for number in range(length)]

    def _read(self, address: int) -> int:
        if address >= REGISTERS_AT:
            return self.system.read(address - REGISTERS_AT)
        return int.from_bytes(self.system.load(address, 4), "little")

    def write(self, address: int, words: list[int]) -> None:
        with self.turn:
            for number, word in enumerate(words):
                self._write(address + 4 * number, word)

    def _write(self, address: int, word: int) -> None:
        if address >= REGISTERS_AT:
            self.system.write(address - REGISTERS_AT, word)
        else:
            self.system.store(address, word.to_bytes(4, "little"))


def serve(bus: SocBus) -> int:
    """LiteX's server of a bus, at a port that is free."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    server = RemoteServer(bus, "localhost", port)
    server.open()
    threading.Thread(target=server._serve_thread, daemon=True).start()
    return port


def csr_csv(folder: Path) -> Path:
    """What LiteX writes of a SoC."""
    (path := folder / "csr.csv").write_text(
        "# what a SoC has\n"
        "constant,config_csr_data_width,32,,\n"
        "constant,config_bus_address_width,32,,\n"
        f"memory_region,engine,{REGISTERS_AT:#x},4096,io\n"
        f"memory_region,main_ram,{BASE - SIZE:#x},{2 * SIZE},cached\n"
    )
    return path


def test_a_network_runs_behind_a_server_of_litex(system: LiveSystem, tmp_path: Path):
    port = serve(SocBus(system))
    with daqkf.board(f"etherbone:localhost:{port},{WHERE}") as board:
        assert runs(board)
        assert board.interrupts == 0
        # Whoever else comes is told.
        other = daqkf.board(f"etherbone:localhost:{port},{WHERE}")
        with pytest.raises(BoardError, match="another process uses the board"):
            other.open()
    # The upper half of the SoC's memory is the board's.
    with daqkf.board(f"etherbone:localhost:{port},csr={csr_csv(tmp_path)}") as board:
        assert runs(board)
        assert (board.bus.base, board.bus.size) == (BASE, SIZE)


def test_the_command_line_runs_networks_on_boards(
    system: LiveSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    network().save(tmp_path / "network")
    np.savez(tmp_path / "x.npz", **inputs())
    running = ["run", str(tmp_path / "network"), str(tmp_path / "x.npz"), "--check", "-o"]
    name = f"board:etherbone:localhost:{serve(SocBus(system))},{WHERE}"
    assert main([*running, str(tmp_path / "y.npz"), "--accelerator", name]) == 0
    printed = capsys.readouterr().out
    assert "1 of 1 kernels equal, bit for bit" in printed
    assert re.search(r"^[\d,]+ bytes written to the board, 0 interrupts$", printed, re.MULTILINE)
    assert right(dict(np.load(tmp_path / "y.npz")))
    # Nothing is written of a run that fails.
    name = "board:etherbone:localhost:1,registers=0,memory=0,size=4096"
    assert main([*running, str(tmp_path / "z.npz"), "--accelerator", name]) == 1
    assert capsys.readouterr().err == "daqkf: etherbone:localhost:1: Connection refused\n"
    assert not (tmp_path / "z.npz").exists()


def test_a_server_of_litex_that_falls_silent_is_told(system: LiveSystem):
    bus = SocBus(system)
    board = daqkf.board(f"etherbone:localhost:{serve(bus)},{WHERE}")
    assert isinstance(board.bus, EtherboneBus)
    board.bus.answer = 0.3
    assert runs(board)
    bus.quiet.set()
    with pytest.raises(BusError, match="the board does not answer: no answer in time"):
        runs(board)
    bus.quiet.clear()
    # Its thread is gone with the client that it could not answer: it is started again.
    board.bus.port = serve(bus)
    assert runs(board)
    board.close()


def serve_uart(bus: SocBus, descriptor: int) -> None:
    """The other end of a UART: reads and writes of LiteX's UARTBone."""
    with os.fdopen(descriptor, "r+b", buffering=0) as port:

        def take(count: int) -> bytes:
            data = b""
            while len(data) < count:
                data += port.read(count - len(data))
            return data

        try:
            while True:
                command, count = take(2)
                address = 4 * int.from_bytes(take(4), "big")
                if command == 1:
                    words = take(4 * count)
                    bus.write(address, np.frombuffer(words, ">u4").tolist())
                elif command == 2:
                    found = bus.read(address, count)
                    port.write(np.array(found, ">u4").tobytes())
                else:
                    raise AssertionError(command)
        except OSError:
            return  # the host has closed its end


@pytest.fixture
def uart(system: LiveSystem) -> Iterator[tuple[SocBus, Path]]:
    """A bus, and the port that reaches it."""
    bus = SocBus(system)
    own, other = os.openpty()
    tty.setraw(other)
    threading.Thread(target=serve_uart, args=(bus, own), daemon=True).start()
    yield bus, Path(os.ttyname(other))
    bus.quiet.clear()
    os.close(other)


def test_a_network_runs_behind_a_uart(uart: tuple[SocBus, Path]):
    bus, port = uart
    board = daqkf.board(f"uart:{port},{WHERE},baud=3000000")
    assert isinstance(board.bus, UartBus)
    assert runs(board)
    board.bus.answer = 0.3
    board.close()
    assert runs(board)
    bus.quiet.set()
    with pytest.raises(BusError, match=f"uart:{port}: the board does not answer: no answer in ti"):
        runs(board)
    bus.quiet.clear()
    time.sleep(0.1)
    assert runs(board)
    board.close()


# ---- PYNQ


class Words:
    """Registers as PYNQ's MMIO shows them."""

    def __init__(self, system: LiveSystem):
        self.system = system

    def __getitem__(self, index: int) -> np.uint32:
        return np.uint32(self.system.read(4 * index))

    def __setitem__(self, index: int, word: np.uint32) -> None:
        self.system.write(4 * index, int(word))


class Buffer(np.ndarray):
    """A buffer of PYNQ: the device sees what was flushed, and the host what it has not cached."""

    system: LiveSystem
    device_address: int
    freed: bool

    def __array_finalize__(self, whole: Any) -> None:
        if isinstance(whole, Buffer) and hasattr(whole, "system"):
            self.system = whole.system
            offset = self.ctypes.data - whole.ctypes.data
            self.device_address = whole.device_address + offset

    def flush(self) -> None:
        self.system.store(self.device_address, self.tobytes())

    def invalidate(self) -> None:
        self[:] = np.frombuffer(self.system.load(self.device_address, self.nbytes), np.uint8)

    def freebuffer(self) -> None:
        self.freed = True


@pytest.fixture
def pynq(system: LiveSystem, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The part of PYNQ that the driver calls, on the simulated system."""

    def allocate(shape: tuple[int], dtype: type) -> Buffer:
        if shape[0] > SIZE:
            raise RuntimeError("Failed to allocate Memory!")
        buffer = np.full(shape, 0xAA, dtype).view(Buffer)
        buffer.system, buffer.device_address = system, BASE
        return buffer

    ips = {
        "axi_intc_0": {"phys_addr": 0, "addr_range": 4096, "type": "xilinx.com:ip:axi_intc:4.1"},
        "engine": {"phys_addr": 4096, "addr_range": 4096, "type": "daqkf:daqkf:daqkf_system:1.0"},
    }
    fake = SimpleNamespace(
        ips=ips,
        Overlay=lambda path: SimpleNamespace(ip_dict=ips),
        MMIO=lambda place, size: SimpleNamespace(array=Words(system)),
        allocate=allocate,
    )
    monkeypatch.setitem(sys.modules, "pynq", fake)  # pyright: ignore[reportArgumentType]
    return fake


def test_a_network_runs_on_a_board_with_pynq(pynq: SimpleNamespace, tmp_path: Path):
    (overlay := tmp_path / "overlay.bit").write_bytes(b"bits")
    with daqkf.board(f"pynq:{overlay},size={SIZE}") as board:
        assert runs(board)
        assert runs(board)
    with (
        pytest.raises(BoardError, match="16,777,216 bytes of memory cannot be allocated"),
        daqkf.board(f"pynq:{overlay}") as board,
    ):
        board.open()
    with pytest.raises(BoardError, match=r"no IP 'dma' \(known: axi_intc_0, engine\)"):
        daqkf.board(f"pynq:{overlay},ip=dma").open()
    del pynq.ips["engine"]
    with pytest.raises(BoardError, match=r"no daqkf_system in the overlay \(its IPs: axi_intc_0"):
        daqkf.board(f"pynq:{overlay}").open()
    with pytest.raises(BoardError, match=r"nowhere.bit: No such file"):
        daqkf.board("pynq:nowhere.bit").open()


def test_a_host_without_pynq_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pynq", None)
    with pytest.raises(BoardError, match=r"^pynq is missing: it comes with the images of PYNQ"):
        daqkf.board("pynq:overlay.bit").open()


# ---- UIO: files in place of devices, which hold what is written


@dataclass
class Files:
    """Registers and memory that nothing moves in."""

    folder: Path

    @property
    def registers(self) -> Path:
        return self.folder / "uio0"

    @property
    def memory(self) -> Path:
        return self.folder / "udmabuf0"

    def set(self, **words: int) -> None:
        with self.registers.open("r+b") as file:
            for name, word in words.items():
                file.seek(register(name).address)
                file.write(word.to_bytes(4, "little"))

    def get(self, name: str) -> int:
        place = register(name).address
        return int.from_bytes(self.registers.read_bytes()[place : place + 4], "little")

    @property
    def name(self) -> str:
        return f"uio:{self.registers},memory={self.memory},address={BASE:#x},size={SIZE}"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    found = Files(tmp_path)
    found.registers.write_bytes(bytes(4096))
    found.memory.write_bytes(bytes(SIZE))
    config = network().config
    found.set(
        id=IMAGE_MAGIC,
        version=MAP_VERSION | IMAGE_VERSION << 16,
        fingerprint=fingerprint(config),
        size=config.pes | config.lanes << 16,
        capability=1 << 16,
    )
    return found


def test_mapped_registers_and_memory_are_those_of_the_device(files: Files):
    queue, _ = recorded()
    files.set(queue_status=len(queue.jobs))
    with daqkf.board(files.name) as board:
        assert isinstance(board.bus, MappedBus)
        # The device is done before it has begun, so memory holds what the host has written.
        assert board.play(queue) == queue.content
        assert files.memory.read_bytes()[: len(queue.content)] == queue.content
        assert files.get("queue_base_low") == queue.descriptors
        assert files.get("queue_size") == len(queue.jobs)
        assert files.get("queue_doorbell") == 1 << 31 | len(queue.jobs)
        assert files.get("interrupt_enable") == 0b1100000
        active = register("queue_status").field("active").mask
        files.set(queue_status=active)
        board.timeout, board.bus.interrupts = 0.05, False
        with pytest.raises(BoardError, match=r"job 0 of 25 did not end in 0.05 s"):
            board.play(queue)
        assert files.get("interrupt_enable") == 0


def test_interrupts_of_uio_are_allowed_and_counted(files: Files):
    with daqkf.board(files.name) as board:
        board.open()
        bus = board.bus
        assert isinstance(bus, MappedBus)
        assert bus.interrupts
        kernel, file = (end.detach() for end in socket.socketpair())
        opened, bus._file = bus._file, file
        assert not bus.wait(0.01)
        os.write(kernel, (1).to_bytes(4, "little"))
        assert bus.wait(10)
        assert os.read(kernel, 8) == 2 * (1).to_bytes(4, "little")
        os.close(kernel)
        assert not bus.wait(0.01)
        os.close(file)
        bus._file = opened


OWNER = (
    "import sys, daqkf\nwith daqkf.board(sys.argv[1]) as board:\n    board.open(); print(); input()"
)


def test_two_processes_cannot_have_a_board(files: Files):
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, files.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdin is not None
        owner.stdout.readline()
        with pytest.raises(BoardError, match="uio0: another process uses the board"):
            daqkf.board(files.name).open()
        owner.stdin.write(b"\n")
    with daqkf.board(files.name) as board:
        board.open()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("uio:{folder}/nothing", "nothing: No such file or directory"),
        ("uio:{uio}", "udmabuf0: the kernel knows no such u-dma-buf device; say where"),
        ("uio:{uio},memory={memory},address=0,size=0x20000", "it has 65,536 bytes, not 131,072"),
        ("uio:{uio},memory=/dev/mem", "say where memory is, with address= and size="),
        (
            "uio:{uio},registers=4,memory={memory},address=0,size=4096",
            "it has 4,096 bytes, not 4,1",
        ),
        ("uart:{folder}/tty,csr=csr.csv", "csr.csv: No such file or directory"),
        ("uart:{folder}/tty", "tty: No such file or directory"),
        ("uart:{uio}", "Could not configure port|Inappropriate ioctl"),
        ("etherbone:localhost:1", "Connection refused"),
    ],
)
def test_what_cannot_be_opened_is_told(name: str, message: str, files: Files):
    name = name.format(folder=files.folder, uio=files.registers, memory=files.memory)
    with pytest.raises(BoardError, match=message):
        daqkf.board(name).open()


def test_a_soc_without_the_engine_is_told(system: LiveSystem, tmp_path: Path):
    port, path = serve(SocBus(system)), csr_csv(tmp_path)
    path.write_text(path.read_text().replace("engine", "ethmac"))
    name = f"etherbone:localhost:{port}"
    with pytest.raises(BoardError, match=r"no memory region 'engine' \(known: ethmac, main_ram\)"):
        daqkf.board(f"{name},csr={path}").open()
    path.write_text("memory_region,engine\n")
    with pytest.raises(BoardError, match=r"csr.csv: "):
        daqkf.board(f"{name},csr={path}").open()
    with pytest.raises(BoardError, match="say where things are: csr="):
        daqkf.board(name).open()
    with pytest.raises(BoardError, match="say how many bytes of memory there are"):
        daqkf.board(f"{name},registers=0,memory=0").open()


C_OWNER = """#include "daqkf_uio.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
  static struct daqkf_uio uio;
  const struct daqkf_uio_place place = {argv[1], 0, argv[2], 0x40000000, 0x10000, argc > 4};
  const enum daqkf_result result =
      daqkf_uio_open(&uio, &place, (uint32_t)strtoul(argv[3], NULL, 16));
  printf("%s%s%s\\n", daqkf_message(result), result == DAQKF_ERROR_SYSTEM ? ": " : "",
         result == DAQKF_ERROR_SYSTEM ? strerror(errno) : "");
  if (result != DAQKF_OK)
    return 1;
  uint32_t words[64];
  for (unsigned index = 0; index < 64; ++index)
    words[index] = index;
  const struct daqkf_queue queue = {0x40000000, words, sizeof(words), 0x40000000, 3};
  uio.device.timeout_microseconds = 20000;
  printf("%s\\n", daqkf_message(daqkf_play(&uio.device, &queue)));
  daqkf_uio_close(&uio);
  return 0;
}
"""


def test_the_driver_in_c_maps_the_same_files(files: Files, tmp_path: Path):
    from daqkf.drivers.c_library import c_library
    from daqkf.runtime import tools

    for name, text in (c_library(linux=True) | {"owner.c": C_OWNER}).items():
        (tmp_path / name).write_text(text)
    command = [*tools.c_compiler(), "-std=c99", "-Wall", "-Wextra", "-Werror", "owner.c"]
    command += ["daqkf.c", "daqkf_uio.c", "-o", "owner"]
    subprocess.run(command, cwd=tmp_path, check=True)
    mark = fingerprint(network().config)

    def owner(*more: str, memory: Path = files.memory, expected: int = mark) -> list[str]:
        words = [tmp_path / "owner", files.registers, memory, f"{expected:x}", *more]
        return subprocess.run(words, capture_output=True, text=True).stdout.splitlines()

    files.set(queue_status=3)
    assert owner() == owner("interrupts") == ["done", "done"]
    assert files.memory.read_bytes()[:256] == np.arange(64, dtype="<u4").tobytes()
    assert files.get("queue_doorbell") == 1 << 31 | 3
    files.set(queue_status=1 << 31)
    assert owner() == owner("interrupts") == ["done", "no job ended in time"]
    files.set(queue_status=0)
    assert owner() == ["done", "somebody else has reset the device or uses it"]
    assert owner(expected=mark ^ 1)[0].startswith("the circuit is not the one")
    assert owner(memory=tmp_path / "none") == [
        "the operating system refused: No such file or directory"
    ]
    (small := tmp_path / "small").write_bytes(bytes(64))
    assert owner(memory=small) == ["the operating system refused: No such device or address"]
    with daqkf.board(files.name) as board:
        board.open()
        assert owner() == ["somebody else has opened the device"]
    files.set(id=0)
    assert owner() == ["no DAQKF system is at this address"]
