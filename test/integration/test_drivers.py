# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Drivers in Python: networks on simulated boards, and what goes wrong with boards."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from driver_bench import BASE, SIZE, Troubled, inputs, live, network, recorded, right

from daqkf.drivers.bus import BoardError, BusError
from daqkf.drivers.device import Board
from daqkf.drivers.simulated import SimulatedBus
from daqkf.lowering.rtl.registers import register
from daqkf.runtime.live_system import LiveSystem
from daqkf.runtime.simulator import Job, SimulationError


@pytest.fixture
def system() -> Iterator[LiveSystem]:
    with live() as found:
        yield found


@pytest.fixture
def bus(system: LiveSystem) -> Troubled:
    return Troubled(system)


@pytest.fixture
def board(bus: Troubled) -> Board:
    return Board(bus)


def runs(board: Board) -> bool:
    return right(network().run(inputs(), accelerator=board, check=True))


def test_a_network_runs_on_a_board(board: Board):
    assert runs(board)
    assert board.interrupts == 1
    # All of the queue is written once; then only what the device or another queue has changed.
    queue, _ = recorded()
    assert board.stored >= len(queue.content)
    first = board.stored
    assert runs(board)
    assert 0 < board.stored - first < first
    counters = board.counters(clear=True)
    assert counters["tiles"] == 2 * 18
    assert counters["cycles"] > counters["busy"] > 0
    assert board.counters()["tiles"] == 0


def test_memory_is_that_of_the_simulated_queue(board: Board):
    queue, expected = recorded()
    assert board.play(queue) == expected


def test_jobs_run_one_by_one(board: Board):
    stage = network().stages[0]
    x = np.random.default_rng(7).integers(-20, 20, (5, 12), dtype=np.int8)
    ((job,),) = stage.jobs(x, ())
    with pytest.raises(BoardError, match="say for which array"):
        board.run([job])
    board.for_array(network().config)
    (y,) = board.run([job])
    (expected,) = network().system.run([job])
    np.testing.assert_array_equal(y, expected)
    with pytest.raises(ValueError, match="needs its own program"):
        board.run([Job(None, x, 3)])


def test_a_host_without_interrupts_polls(system: LiveSystem):
    board = Board(SimulatedBus(system, interrupts=False))
    assert runs(board)
    assert board.interrupts == 0


def test_lost_interrupts_do_not_matter(bus: Troubled, board: Board):
    bus.deaf = True
    assert runs(board)
    assert board.interrupts == 0


def test_a_circuit_of_other_programs_is_told(bus: Troubled, board: Board):
    other = replace(network().config, result_depth=64)
    with pytest.raises(BoardError, match=r"fingerprint 0x.*, and the programs are for 0x.*bitstr"):
        board.for_array(other)
    assert runs(board)


def test_a_program_of_another_circuit_is_told(board: Board):
    queue, expected = recorded()
    content = bytearray(queue.content)
    content[queue.jobs[0].program - queue.base + 8] ^= 1
    with pytest.raises(BoardError, match="load the bitstream that was made with them"):
        board.play(replace(queue, content=bytes(content)))
    content[queue.jobs[0].program - queue.base] ^= 1
    with pytest.raises(BoardError, match="job 0 has no program image"):
        board.play(replace(queue, content=bytes(content)))
    assert board.play(queue) == expected


def test_a_cable_that_is_pulled_is_told_and_the_next_run_is_right(bus: Troubled, board: Board):
    assert runs(board)
    first, opened = bus.accesses, bus.opened
    for share in (0.0, 0.1, 0.2, 0.4):
        bus.pulled_after = bus.accesses + int(share * first)
        with pytest.raises(BusError, match="the simulated board: nothing answers"):
            runs(board)
        bus.pulled_after = None
        assert runs(board)
        opened += 1
        assert bus.opened == opened


def test_a_job_that_does_not_end_is_told_and_the_next_run_is_right(system: LiveSystem):
    board = Board(SimulatedBus(system, interrupts=False), timeout=1e-9)
    with pytest.raises(BoardError, match=r"job \d of 25 did not end in 1e-09 s"):
        runs(board)
    board.timeout = 60
    assert runs(board)


def test_two_owners_are_told(bus: Troubled, system: LiveSystem, board: Board):
    """A second host resets the board while the first one waits."""
    control = register("control")
    reset = control.field("soft_reset").mask
    bus.at_wait = [lambda: system.write(control.address, reset)]
    with pytest.raises(BoardError, match="somebody else has reset the board"):
        runs(board)

    def take_over() -> None:
        system.write(control.address, reset)
        system.write(register("queue_base_low").address, 0)

    bus.at_wait = [take_over]
    with pytest.raises(BoardError, match="somebody else uses the board"):
        runs(board)
    assert runs(board)


def test_memory_that_is_too_small_is_told():
    queue, _ = recorded()
    with live(4096) as system:
        board = Board(SimulatedBus(system))
        with pytest.raises(BoardError, match=r"needs [\d,]+ bytes .* has 4,096 from 0x40000000"):
            board.play(queue)


def test_memory_errors_are_told_and_the_next_run_is_right(board: Board, system: LiveSystem):
    queue, expected = recorded()
    for place, name in ((queue.descriptors, "read"), (queue.jobs[-1].results, "write")):
        system.tell(f"faults {place:x} 40")
        with pytest.raises(BoardError, match=rf"stopped in job \d+ with error {name}"):
            board.play(queue)
        system.tell("faults 0 0")
        assert board.play(queue) == expected


def test_memory_that_does_not_answer_is_told_and_the_next_run_is_right(
    board: Board, system: LiveSystem
):
    queue, expected = recorded()
    system.tell("dead 1")
    with pytest.raises(BoardError, match="stopped in job 0 with error timeout"):
        board.play(queue)
    system.tell("dead 0")
    assert board.play(queue) == expected


def test_results_beyond_the_queue_are_refused(board: Board):
    queue, _ = recorded()
    *others, last = queue.jobs
    far = replace(last, results=BASE + SIZE)
    with pytest.raises(BoardError, match="are not in the queue's own memory"):
        board.play(replace(queue, jobs=(*others, far)))


def test_an_interrupted_host_leaves_a_board_that_is_right(bus: Troubled, board: Board):
    def interrupt() -> None:
        raise KeyboardInterrupt

    bus.at_wait = [interrupt]
    with pytest.raises(KeyboardInterrupt):
        runs(board)
    assert runs(board)


def test_a_simulation_that_ends_is_told(board: Board, system: LiveSystem):
    board.open()
    with pytest.raises(SimulationError, match="there is no such memory"):
        system.load(BASE + SIZE, 64)
    with pytest.raises(BusError, match="the simulated board: "):
        board.counters()


def test_what_is_no_daqkf_system_is_told(bus: Troubled, board: Board, monkeypatch):
    words = {register("id").address: 0xFFFFFFFF}
    read = Troubled.read
    monkeypatch.setattr(Troubled, "read", lambda bus, offset: words.get(offset, read(bus, offset)))
    with pytest.raises(BoardError, match=r"no DAQKF system is there .*0xffffffff"):
        board.open()
    words = {register("version").address: 0x10001}
    with pytest.raises(BoardError, match="its program images have version 1, not"):
        board.open()
    words = {register("version").address: 2}
    with pytest.raises(BoardError, match="its registers have version 2, not"):
        board.open()
    words = {register("capability").address: 0}
    with pytest.raises(BoardError, match="no queue; compile for a target with queue = true"):
        board.open()
    words = {register("scratch").address: 0}
    with pytest.raises(BusError, match="a register that was written 0x5aa5c33c reads 0x0"):
        board.open()
    words = {}
    board.open()
