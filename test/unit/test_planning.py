# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Devices, what engines take of them, and how a program's cycles grow."""

import re
from dataclasses import replace

import pytest
from networks import MACHINE

from daqkf.hw_targets.block_ram import mapped, ramb18s
from daqkf.hw_targets.config import ArrayConfig, smallest_array
from daqkf.hw_targets.device import Needs, UnknownDeviceError, device_names, load_device
from daqkf.hw_targets.engine import (
    UnknownEngineError,
    block_rams,
    engine_needs,
    instances,
    memories,
    terms,
    tree_bits,
)
from daqkf.hw_targets.fabric import fabric_names
from daqkf.hw_targets.fan_out import lane_groups, tree_latency
from daqkf.hw_targets.lut_ram import mapped_luts
from daqkf.hw_targets.memory import MemoryTiming, load_channels, load_memory
from daqkf.hw_targets.prediction import (
    LATENCY,
    MOVING,
    POLLING,
    STORING,
    KernelWork,
    RowWork,
    TileCycles,
    Turns,
    program_beats,
    tile_cycles_of,
)
from daqkf.hw_targets.streams import kernel_beats, row_bits, slot_bits
from daqkf.hw_targets.timing import (
    SHARING_CYCLES,
    SOLVING_CYCLES,
    normalization_cycles,
    softmax_cycles,
)
from daqkf.hw_targets.words import parameter_row

CONFIG = smallest_array(replace(MACHINE, pes=4, lanes=8, post_lanes=2, items=8, max_shift=0), 200)
FROM_MEMORY = replace(CONFIG, memory_bits=128, stream_depth=512)
IN_TURN = replace(FROM_MEMORY, banks=2, reads_ahead=True)


@pytest.mark.parametrize("name", device_names())
def test_a_device_has_a_fabric_and_memory(name: str):
    device = load_device(name)
    assert device.fabric in fabric_names()
    assert min(device.luts, device.flip_flops, device.block_rams_18k, device.dsps) > 0
    assert all(load_channels(memory).name == memory for memory in device.memories)


def test_the_devices_that_are_promised_are_there():
    promised = {"xcvu9p", "xcu280", "xczu7ev", "xck26", "xc7z020", "ecp5-85k"}
    assert promised <= set(device_names())
    with pytest.raises(UnknownDeviceError, match=r"unknown device 'vu9' \(known: ecp5-25k, "):
        load_device("vu9")


def test_shares_are_of_what_there_is():
    zynq = load_device("xc7z020")
    needs = Needs(luts=5320, flip_flops=0, block_rams_18k=140)
    assert zynq.shares(needs) == {"luts": 0.1, "flip_flops": 0, "block_rams_18k": 0.5, "dsps": 0}
    assert zynq.shares(replace(needs, ultra_rams=1))["ultra_rams"] == float("inf")
    assert needs * 2 + needs == needs * 3


def test_channels_are_a_memory_so_many_times():
    one, four = load_channels("ddr4-2400"), load_channels("ddr4-2400x4")
    assert (one.number, four.number, four.name) == (1, 4, "ddr4-2400x4")
    assert four.bandwidth == 4 * one.bandwidth < 4 * load_memory("ddr4-2400").bandwidth
    # Two ports share them evenly, eight have half a channel each.
    assert four.behind(2).bandwidth == 2 * one.device.bandwidth
    assert four.behind(8).bandwidth == one.device.bandwidth / 2
    for text, message in (
        ("ddr9x2", r"unknown memory 'ddr9' \(known: "),
        ("ddr4-2400x0", "'ddr4-2400x0' has no channels"),
        ("x4", "unknown memory 'x4'"),
    ):
        with pytest.raises(ValueError, match=message):
            load_channels(text)


def test_a_memory_with_two_reads_has_narrower_blocks():
    assert ramb18s(1024, 72) == 4
    assert mapped(512, 72).halves == 2
    assert mapped(512, 72, ports=2).halves == 4
    assert mapped(1024, 72, ports=2).halves == 4
    # Several blocks deep if that takes fewer of them; the address then chooses among them.
    assert mapped(16384, 95) == mapped(16384, 95, whole=True)
    assert (mapped(16384, 95).halves, mapped(16384, 95).deep) == (88, 4)
    assert mapped(512, 72, whole=False).halves == 2
    assert mapped(2048, 36).halves == mapped(2048, 36, whole=False).halves == 4


def test_block_ram_is_that_of_the_memories():
    halves, ultra = block_rams(CONFIG, "xcup")
    assert ultra == 0
    activations = next(one for one in memories(CONFIG) if one.ports == 2)
    assert (activations.number, activations.width) == (4 * 4, 64)
    moved = replace(CONFIG, activation_memory="ultra", result_memory="ultra")
    own = activations.number * mapped(activations.depth, 64, ports=2).halves
    results = mapped(2 * CONFIG.result_depth, 64).halves
    assert block_rams(moved, "xcup") == (halves - own - results, activations.number + 1)
    coded = replace(FROM_MEMORY, families=("ordered_sum",), stream_code="varint")
    deep = replace(coded, stream_depth=4096)
    fifos = 4 * mapped(4096, slot_bits(deep) + 1).halves
    assert 72 < slot_bits(deep) < 2 * 72
    halves, _ = block_rams(deep, "xcup")
    assert block_rams(replace(deep, stream_memory="ultra"), "xcup") == (halves - fifos, 2 * 4)


def test_memories_of_luts_are_that_many():
    """As yosys maps memories of 56 bits of so many rows, on xcup."""
    found = {depth: mapped_luts(depth, 56) for depth in (64, 128, 384, 512, 1024)}
    storing = {depth: one.storing for depth, one in found.items()}
    assert storing == {depth: 8 * depth // 8 for depth in found}
    assert (found[64].choosing, mapped_luts(512, 32).storing) == (0, 320)
    for depth, choosing in {128: 58, 384: 118, 512: 176, 1024: 339}.items():
        assert found[depth].luts == pytest.approx(8 * depth // 8 + choosing, rel=0.04)


def test_what_is_made_of_luts_takes_no_block_ram():
    partial = replace(CONFIG, partial_depth=256)
    before = engine_needs(partial, "xcup")
    for name, memory in (
        ("result_memory", mapped(2 * CONFIG.result_depth, 64)),
        ("partial_memory", mapped(256 << 2, 2 * CONFIG.sum_width)),
    ):
        needs = engine_needs(replace(partial, **{name: "distributed"}), "xcup")
        assert before.block_rams_18k - needs.block_rams_18k == memory.halves
        assert 0 < needs.lut_rams <= needs.luts - before.luts
        assert before.lut_rams == 0
    # Each read of an element has a memory of its own.
    apart = replace(partial, activation_memory="distributed")
    found = [one for one in memories(apart) if one.style == "distributed"]
    assert [(one.number, one.ports, one.width) for one in found] == [(4 * 8, 1, 64)]
    assert engine_needs(apart, "xcup").lut_rams == 4 * 8 * mapped_luts(256, 64).storing
    with pytest.raises(UnknownEngineError, match="memories take that are LUTs of 'ecp5'"):
        engine_needs(apart, "ecp5")
    with pytest.raises(ValueError, match="unknown table_memory 'flash'"):
        replace(partial, table_memory="flash")


def test_elements_in_dsp_blocks_have_two_lanes_in_each():
    packed = replace(
        FROM_MEMORY,
        multiplier="packed",
        accumulator_width=FROM_MEMORY.sum_width,
        families=("multiply",),
    )
    dense = replace(packed, families=("dense",))
    for config in (packed, dense):
        assert instances(config)["packed_lanes"] == engine_needs(config, "xcup").dsps == 16
        assert set(instances(config)) == set(terms(config))
    # Elements in step share one memory of activations, and others have one each.
    found = {(one.module, one.number, one.width) for one in memories(packed) + memories(dense)}
    assert {("multiply_element", 4, packed.row_bits), ("lockstep", 1, dense.row_bits)} <= found
    with pytest.raises(UnknownEngineError, match="nothing says what arrays take of 'ecp5-dsp'"):
        engine_needs(dense, "ecp5")


def test_elements_of_coded_streams_have_a_decoder_and_its_slots():
    ordered = replace(FROM_MEMORY, families=("ordered_sum",))
    coded = replace(ordered, stream_code="varint")
    for config in (ordered, coded):
        assert set(instances(config)) == set(terms(config))
        assert instances(config)["lane"] == 32
    assert instances(coded)["stream_decoder"] == 4 and not instances(ordered)["stream_decoder"]
    # A slot has a mark of a kernel's last one. Elements have no FIFO of words then.
    assert slot_bits(coded) + 1 == memories(coded)[0].width != memories(ordered)[0].width
    assert terms(coded)["element"]["fifo"] == 0 < terms(ordered)["element"]["fifo"]
    more = engine_needs(coded, "xcup").luts - engine_needs(ordered, "xcup").luts
    assert 4 * 800 < more < 4 * 1300
    assert (
        engine_needs(replace(ordered, index_bits=7), "xcup").luts
        > engine_needs(ordered, "xcup").luts
    )
    with pytest.raises(UnknownEngineError, match="nothing says what arrays take of 'ecp5-ordered'"):
        engine_needs(coded, "ecp5")


def test_logic_is_so_much_for_each_instance():
    """More elements and lanes take what these take, and what chooses among them."""
    one, two = engine_needs(CONFIG, "xcup"), engine_needs(replace(CONFIG, pes=8), "xcup")
    assert 1.7 * one.luts < two.luts < 2 * one.luts
    assert instances(CONFIG)["lane"] == 32
    assert set(instances(CONFIG)) == set(terms(CONFIG))
    assert instances(FROM_MEMORY)["stream_reader"] == 1
    assert engine_needs(FROM_MEMORY, "xcup").luts > one.luts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"families": ("multiply",)}, "only arrays of ordered_sum elements"),
        ({"index_bits": 4}, "of running_sum elements with whole addresses"),
        ({"buckets": 2}, "operand memories or variants"),
    ],
)
def test_other_engines_are_not_known(changes: dict[str, object], message: str):
    with pytest.raises(UnknownEngineError, match=message):
        engine_needs(replace(CONFIG, **changes), "xcup")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UnknownEngineError, match=re.escape("take of 'virtex'")):
        engine_needs(CONFIG, "virtex")


def tile(words: int, outputs: int, config: ArrayConfig = CONFIG):
    return tile_cycles_of([KernelWork(100, outputs, words)], config)


def test_a_tile_arrives_and_runs():
    arrives = 100 + STORING + LATENCY
    causes = tile(1000, 20).causes()
    assert causes == {"lanes": 1000, "post": 0, "memory": 0, "rows": 0, "moving": arrives}
    # The post unit takes an output of eight lanes in four cycles.
    bound = tile(1000, 300)
    assert (bound.lanes, bound.post) == (1000, 4 * 300 + POLLING - 1000)
    # Results leave while the next tile runs, if there is time.
    assert tile(10, 1).total == 100 + STORING + LATENCY + 10
    assert tile_cycles_of([KernelWork(1, 500, 10)], replace(CONFIG, post_lanes=8)).total >= 500


def test_rows_move_between_kernels_unless_the_row_unit_reads_them():
    first, second = KernelWork(100, 50, 1000), KernelWork(50, 20, 400)
    alone = [tile_cycles_of([one], CONFIG) for one in (first, second)]
    both = tile_cycles_of([first, second], CONFIG)
    assert both.total == sum(one.total for one in alone) + MOVING - STORING
    rows = tile_cycles_of([first, RowWork(700, 50)], CONFIG)
    assert rows.total == alone[0].total + 700


def test_memory_is_waited_for_as_far_as_fifos_are_not_ahead():
    work = KernelWork(100, 20, 3000)
    beats = kernel_beats(FROM_MEMORY, 3000)
    assert row_bits(FROM_MEMORY) > 128
    bound = tile_cycles_of([work], FROM_MEMORY)
    assert (bound.beats, bound.total) == (beats, pytest.approx(beats, rel=0.001))
    half = tile_cycles_of([work], FROM_MEMORY, MemoryTiming(latency=0, beats=1, cycles=2))
    assert half.total == pytest.approx(2 * beats, rel=0.001)
    rests = tile_cycles_of([work], FROM_MEMORY, MemoryTiming(0, 1, 1, interval=100, pause=10))
    assert rests.total == pytest.approx(beats / 0.9, rel=0.003)
    wide = replace(FROM_MEMORY, memory_bits=512)
    assert tile_cycles_of([work], wide).total == tile(3000, 20).total


def in_turn(
    config: ArrayConfig, memory: MemoryTiming, results: int = 0, host: float = 0
) -> TileCycles:
    """Cycles of a program behind others like it."""
    turns, work = Turns(config, memory), KernelWork(100, 20, 3000)
    for _ in range(3):
        turns.take(work, results, host)
    return turns.take(work, results, host)


def test_fifos_bridge_what_lies_between_two_programs():
    fast = MemoryTiming(latency=0, beats=1, cycles=1)
    alone, after, hosted = (
        in_turn(IN_TURN, fast, results, host) for results, host in ((0, 0), (50, 0), (50, 40))
    )
    assert after.moving - alone.moving == 50 + MOVING
    assert hosted.moving - after.moving == 40
    # Memory binds: what comes meanwhile is there when the elements begin.
    assert alone.total == pytest.approx(after.total) == pytest.approx(hosted.total)
    assert alone.beats == kernel_beats(IN_TURN, 3000)
    late = in_turn(IN_TURN, replace(fast, latency=30))
    assert late.total == pytest.approx(alone.total + 30)
    # FIFOs of few words are full soon.
    shallow = replace(IN_TURN, stream_depth=8)
    less, more = (in_turn(shallow, fast, 50, host) for host in (0, 400))
    assert more.total - less.total == 400


def test_readers_that_do_not_read_ahead_begin_late():
    """What they have read of a program's own streams is dropped when another one begins."""
    fast = MemoryTiming(latency=0, beats=1, cycles=1)
    config = replace(IN_TURN, pes=16, memory_bits=512)
    ahead, late = (in_turn(each, fast) for each in (config, replace(config, reads_ahead=False)))
    assert late.total - ahead.total > 50
    with pytest.raises(ValueError, match="reads_ahead is for arrays that do not pick among"):
        replace(config, buckets=2)


def test_rows_of_memory_are_those_that_are_known():
    known = KernelWork(100, 20, 3000, stream_rows=700)
    assert known.beats(FROM_MEMORY) == kernel_beats(FROM_MEMORY, 700)
    assert KernelWork(100, 20, 3000).beats(FROM_MEMORY) == kernel_beats(FROM_MEMORY, 3000)


def test_programs_without_streams_are_short():
    steps = [KernelWork(100, 20, 3000)]
    whole, short = program_beats(steps, CONFIG), program_beats(steps, FROM_MEMORY)
    assert whole - short == 4 * 3000 * 3


def test_wide_programs_have_a_row_in_a_beat():
    steps = [KernelWork(100, 20, 3000)]
    narrow, wide = (replace(FROM_MEMORY, program_bits=bits) for bits in (32, 128))
    words = parameter_row(CONFIG).words
    assert words > 1
    # One value of the table in a word, or four.
    assert program_beats(steps, narrow) == 256 + 20 * words
    assert program_beats(steps, wide) == 64 + 20
    assert program_beats(steps, replace(wide, program_bits=256)) == 64 + 20 // 2
    # Slots have a row for each element, up to a power of two of them.
    assert program_beats(steps, replace(wide, pes=3)) == 64 + 4 * 7
    on_chip = replace(CONFIG, program_bits=128)
    assert program_beats(steps, on_chip) - program_beats(steps, wide) == 4 * 3000


def test_solvers_take_turns_with_fewer_tokens():
    wide = replace(CONFIG, lanes=8, post_lanes=4)
    saved = normalization_cycles(wide, 50) - normalization_cycles(replace(wide, row_solvers=4), 50)
    assert saved == (8 - 2) * SOLVING_CYCLES
    saved = softmax_cycles(wide, 30, 10) - softmax_cycles(replace(wide, row_solvers=2), 30, 10)
    assert saved == 3 * (8 - 4) * SHARING_CYCLES
    with pytest.raises(ValueError, match="row_solvers 3 do not divide 4 post_lanes"):
        replace(wide, row_solvers=3)
    with pytest.raises(ValueError, match="program_bits must be one of 32, 64, 128, 256, not 96"):
        replace(wide, program_bits=96)


def test_a_tree_to_many_lanes_is_counted():
    """It takes three cycles more, registers, and block RAM as one memory of all lanes does."""
    work = [KernelWork(100, 30, 500)]
    few, many = replace(CONFIG, lanes=32, post_lanes=8), replace(CONFIG, lanes=36, post_lanes=9)
    totals = [tile_cycles_of(work, config).total for config in (few, many)]
    assert totals[1] - totals[0] == tree_latency(many) - tree_latency(few) == 3
    assert tree_bits(few) == 0 < tree_bits(many) < tree_bits(replace(many, lanes=64, post_lanes=8))
    whole = replace(many, lanes=72, post_lanes=9)
    assert (
        len([m for m in memories(whole) if m.ports == 2])
        == len(lane_groups(whole, "running_sum"))
        == 4
    )
    assert sum(m.width for m in memories(whole) if m.ports == 2) == whole.row_bits
