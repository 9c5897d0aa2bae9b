# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The dense code of streams: what is coded comes back, in NumPy and in the decoder's circuit."""

import runpy
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from test_memory_streams import jobs, networks, simulator
from unit_bench import Bench

import daqkf
from daqkf.hw_targets import varint
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.families.descriptor import Words
from daqkf.hw_targets.streams import checksum, coded, slot_bits
from daqkf.hw_targets.words import stream_words
from daqkf.lowering.image.decode import decode
from daqkf.lowering.image.encode import split_image
from daqkf.lowering.image.image import ProgramImageError
from daqkf.lowering.rtl.stream_decoder import build_stream_decoder
from daqkf.passes.encode.coding import coding_of
from daqkf.runtime.simulator import Job, SimulationError
from daqkf.studies.minilm.model import MiniLM

CONFIG = ArrayConfig(
    pes=1,
    lanes=1,
    post_lanes=1,
    max_shift=0,
    activation_depth=512,
    stream_depth=8,
    parameter_depth=64,
    result_depth=64,
    items=8,
    families=("ordered_sum",),
    memory_bits=64,
    stream_code="varint",
    running_sum_width=17,
    accumulator_width=24,
    sum_width=24,
)


def words_of(levels: NDArray[np.int8], config: ArrayConfig) -> Words:
    """The words of levels [K, N], as they are in the stream of one PE."""
    fields = dict(coding_of("ordered_sum").stream(levels, config).fields)
    count = len(fields["last"])
    fields["end"] = (np.arange(count) == count - 1).astype(np.int64)
    del fields["shift"]
    return dict(FAMILIES["ordered_sum"].word.encoded(fields, config))


def assert_comes_back(levels: NDArray[np.int8], config: ArrayConfig) -> int:
    """Code and decode; the bits."""
    words = words_of(levels, config)
    bits = varint.encode(words, config)
    noise = np.random.default_rng(1).integers(0, 2, 200).astype(np.uint8)
    found = varint.decode(np.append(bits, noise), config)
    for name, values in words.items():
        np.testing.assert_array_equal(found[name], values, name)
    of_outputs = varint.output_bits(words, config)
    assert of_outputs.shape == (levels.shape[1],)
    assert of_outputs.sum() == len(bits) and of_outputs.min() > 0
    return len(bits)


@pytest.mark.parametrize("items", [2, 4, 8])
def test_all_small_outputs_come_back(items: int):
    """All outputs of seven weights of magnitudes 0, 1 and 3 with any signs."""
    columns = np.array(list(product((0, 1, -1, 3, -3), repeat=5)), np.int8).T
    every = np.concatenate([columns, columns[::-1][:2]])
    assert_comes_back(every, replace(CONFIG, items=items, activation_depth=8))


@given(
    st.data(),
    st.sampled_from((2, 4, 8)),
    st.sampled_from((4, 7, 9, 11, 13)),
    st.integers(1, 60),
)
def test_any_levels_come_back(data: st.DataObject, items: int, address: int, stride: int):
    """Also those of many zeros, whose gaps take null items."""
    shape = st.tuples(st.integers(1, (1 << address) - 1), st.integers(1, 3))
    sparse = st.one_of(st.just(0), st.integers(-3, 3), st.integers(-127, 127))
    levels = data.draw(hnp.arrays(np.int8, shape, elements=sparse, fill=st.integers(-1, 1)))
    kept = np.where(np.arange(len(levels))[:, np.newaxis] % stride, 0, levels)
    config = replace(CONFIG, items=items, activation_depth=1 << address)
    bits = assert_comes_back(kept.astype(np.int8), config)
    if items == 8 and address > 7:
        # So a target needs no choice for each kernel.
        whole = stream_words(config)["ordered_sum"].width * len(words_of(kept, config)["end"])
        assert bits <= whole + 6 * (varint.LEADING + varint.TRAILING)


@pytest.mark.parametrize(("zeros", "most"), [(0.5, 7), (0.7, 7), (0.5, 15), (0.7, 15)])
def test_bits_are_within_a_sixth_of_the_entropy(zeros: float, most: int):
    """About; of weights that are normally distributed. docs/streams.md has those of networks."""
    weights = np.random.default_rng(2).standard_normal((1024, 40))
    magnitude = np.abs(weights)
    least = np.quantile(magnitude, zeros)
    levels = np.clip(np.round(magnitude * most / 3), 1, most) * (magnitude > least)
    levels = (np.sign(weights) * levels).astype(np.int8)
    _, counts = np.unique(levels, return_counts=True)
    share = counts / levels.size
    entropy = -(share * np.log2(share)).sum() * levels.size
    bits = assert_comes_back(levels, replace(CONFIG, activation_depth=2048))
    assert entropy < bits < 1.17 * entropy


def test_the_benchmark_measures_a_matrix_of_minilm(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """`benchmarks/stream_codes.py`, of which docs/streams.md has the figures."""
    path = Path(__file__).parents[2] / "benchmarks" / "stream_codes.py"
    line = "--model minilm --layers 0 --matrices 1 --magnitudes 7 --sparsity 0.7"
    monkeypatch.setattr("sys.argv", [str(path), *line.split()])
    runpy.run_path(str(path), run_name="__main__")
    rows = [line.split("│")[4:-1] for line in capsys.readouterr().out.splitlines() if "70%" in line]
    found = {name.strip(): [float(each) for each in numbers] for name, *numbers in rows}
    whole, near, dense = (
        found[name] for name in ("whole addresses", "distances of 8 bits", "varint")
    )
    assert whole[2] == 1 and 2 < dense[0] < near[0] < whole[0]
    assert 1 < dense[1] < 1.15


def changed(words: Words, **values: tuple[int, int]) -> Words:
    """The words with other values of some fields, each of one word."""
    found = {name: value.copy() for name, value in words.items()}
    for name, (word, value) in values.items():
        found[name][word] = value
    return found


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"step": (0, 1)}, "an output that begins with a step, word 0"),
        ({"index0": (0, 20)}, "rows that the code does not have, of the run at word 0"),
        ({"index1": (1, 1)}, "rows that the code does not have, of the run at word 1"),
        ({"index0": (2, 3)}, "an output's last word with items, word 2"),
        ({"step": (2, 0)}, "an output that ends without a step, word 2"),
        ({"end": (0, 1)}, "a stream with other than one end"),
    ],
)
def test_words_that_are_none_are_refused(values: dict[str, tuple[int, int]], message: str):
    levels = np.zeros((40, 1), np.int8)
    levels[[3, 9]], levels[[2, 30]] = 2, 1
    with pytest.raises(ValueError, match=message):
        varint.encode(changed(words_of(levels, CONFIG), **values), CONFIG)


def test_a_cut_code_is_refused():
    bits = varint.encode(words_of(np.ones((20, 3), np.int8), CONFIG), CONFIG)
    with pytest.raises(ValueError, match="ends before its last word"):
        varint.decode(bits[: len(bits) // 2], CONFIG)


def kernels(rng: np.random.Generator, config: ArrayConfig, count: int) -> list[NDArray[np.int8]]:
    """Levels of any share of zeros."""
    found: list[NDArray[np.int8]] = []
    for _ in range(count):
        shape = int(rng.integers(1, config.null_address)), int(rng.integers(1, 5))
        levels = rng.integers(-7, 8, shape) * (rng.random(shape) < rng.random())
        found.append(levels.astype(np.int8))
    return found


def slots_of(levels: NDArray[np.int8], config: ArrayConfig, more: int = 0) -> list[int]:
    """The slots of a kernel, with some that only make it longer."""
    packed = stream_words(config)["ordered_sum"].pack(words_of(levels, config))
    rows = coded(packed, 0, config)
    found = [sum(int(word) << 32 * n for n, word in enumerate(row)) for row in rows]
    return marked([*found, *[0] * more], config)


def marked(slots: list[int], config: ArrayConfig) -> list[int]:
    """The slots with the mark of the last one."""
    return [*slots[:-1], slots[-1] | 1 << slot_bits(config)]


def decoded(
    bench: Bench, slots: list[int], rng: np.random.Generator, patience: int = 100
) -> Iterator[dict[str, int]]:
    """The words that the circuit makes of slots, until none comes for some cycles."""
    idle, pace = 0, rng.choice([0.3, 0.8, 1.0], 2)
    while idle < patience:
        state = bench.peek(take=0, stream_write=0)
        writes = bool(slots) and not state["full"] and rng.random() < pace[0]
        takes = bool(state["valid"]) and rng.random() < pace[1]
        idle = 0 if state["valid"] or writes else idle + 1
        data = slots.pop(0) if writes else 0
        bench.step(take=int(takes), stream_write=int(writes), stream_data=data)
        if takes:
            prefix = "word_"
            yield {name.removeprefix(prefix): state[name] for name in state if prefix in name}
        if state["fault"]:
            return


def assert_words(found: list[dict[str, int]], words: Words, config: ArrayConfig) -> None:
    """The circuit's words are those; a null item's sign is anything."""
    assert len(found) == len(words["end"])
    for name, values in words.items():
        of_circuit = np.array([word[name] for word in found])
        if name.startswith("negative"):
            item = words[f"index{name.removeprefix('negative')}"]
            values, of_circuit = (
                np.where(item == config.null_address, 0, array) for array in (values, of_circuit)
            )
        np.testing.assert_array_equal(of_circuit, values, name)


@cache
def decoder(items: int, address: int) -> tuple[ArrayConfig, Bench]:
    config = replace(CONFIG, items=items, activation_depth=1 << address)
    return config, Bench(build_stream_decoder(config))


SIZES = [(8, 9), *(pytest.param(*size, marks=pytest.mark.slow) for size in ((2, 6), (4, 12)))]


@pytest.mark.parametrize(("items", "address"), SIZES)
def test_the_circuit_decodes_kernel_after_kernel(items: int, address: int):
    """With stalls on both sides, and kernels whose slots go on behind their end."""
    config, bench = decoder(items, address)
    rng = np.random.default_rng(3)
    for _ in range(3):
        chosen = kernels(rng, config, 3)
        slots = [slot for k in chosen for slot in slots_of(k, config, int(rng.integers(0, 3)))]
        found = list(decoded(bench, slots, rng))
        for levels in chosen:
            words = words_of(levels, config)
            count = len(words["end"])
            assert_words(found[:count], words, config)
            del found[:count]
        assert not found


def test_the_circuit_gives_a_word_a_cycle():
    config, bench = decoder(8, 9)
    levels = (np.random.default_rng(4).integers(-3, 4, (500, 30))).astype(np.int8)
    slots = slots_of(levels, config)
    words, cycles = len(words_of(levels, config)["end"]), 0
    found = 0
    while found < words:
        state = bench.peek(take=1, stream_write=0)
        writes = bool(slots) and not state["full"]
        found += state["valid"]
        bench.step(take=1, stream_write=int(writes), stream_data=slots.pop(0) if writes else 0)
        cycles += 1
    # A run that ends with a full word takes a cycle more.
    assert cycles < 1.05 * words + 40


def test_a_damaged_code_ends_in_a_fault_or_an_end():
    """Whatever the slots are, the circuit takes all of them; after a reset it decodes again."""
    config, bench = decoder(8, 9)
    rng = np.random.default_rng(5)
    faults = 0
    for number in range(12):
        levels = kernels(rng, config, 1)[0]
        slots = slots_of(levels, config)
        if number % 3 == 0:
            slots = marked(slots[: max(1, len(slots) // 2)], config)
        elif number % 3 == 1:
            place = int(rng.integers(len(slots)))
            slots[place] ^= 1 << int(rng.integers(slot_bits(config)))
        else:
            noise = [int.from_bytes(rng.bytes(slot_bits(config) // 8)) for _ in slots]
            slots = marked(noise, config)
        found = list(decoded(bench, slots, rng))
        state = bench.peek(take=0, stream_write=0)
        faults += state["fault"]
        assert state["fault"] or (found and found[-1]["end"])
        bench.step(rst=1, take=0, stream_write=0)
        bench.inputs["rst"] = 0
        words = words_of(levels, config)
        assert_words(list(decoded(bench, slots_of(levels, config), rng)), words, config)
    assert faults >= 4


def test_every_wrong_bit_changes_the_checksum():
    beats = np.random.default_rng(6).bytes(12 * CONFIG.memory_bits // 8)
    known = checksum(7, beats, CONFIG)
    assert checksum(8, beats, CONFIG) != known
    for bit in range(8 * len(beats)):
        wrong = bytearray(beats)
        wrong[bit // 8] ^= 1 << bit % 8
        assert checksum(7, bytes(wrong), CONFIG) != known


@pytest.mark.parametrize(
    "fault",
    ["bit", "cut", *(pytest.param(n, marks=pytest.mark.slow) for n in ("rows", "checksum"))],
)
def test_a_damaged_stream_ends_in_an_error_and_the_next_job_is_right(fault: str):
    config, _ = networks("coded")
    made, expected = jobs("coded")
    image = made[0].image
    assert image is not None
    loaded, outside = split_image(image)
    words = np.frombuffer(outside, "<u4").copy()
    if fault == "bit":
        words[8] ^= 1 << 17
    elif fault == "cut":
        words[4 * 4 : 4 * 8] = 0
    elif fault == "rows":
        words[0] += 1
    else:
        words[1] ^= 1
    damaged = loaded + words.tobytes()
    with pytest.raises(ProgramImageError, match=r"is damaged|a kernel of"):
        decode(damaged, config)
    with pytest.raises(SimulationError, match="error stream"):
        simulator("coded").trace([Job(damaged, made[0].x, made[0].outputs)])
    (trace,) = simulator("coded").trace([made[0]])
    np.testing.assert_array_equal(trace.y, expected[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stream_code": "huffman"}, r"unknown stream_code 'huffman' \(known: plain, varint"),
        ({"memory_bits": 0}, "varint streams come from memory, memory_bits > 0"),
        ({"families": ("running_sum",)}, "varint streams are those of ordered_sum elements"),
        ({"items": 1}, "with words of 2 items or more"),
        ({"max_shift": 1}, "steps of one level, max_shift = 0"),
        ({"index_bits": 4}, "whole addresses, index_bits = 0"),
        ({"stream_code": "plain", "operand_depth": 4, "softmax": True, "normalizes": True},
         "ordered_sum words cannot be gated"),
    ],
)  # fmt: skip
def test_machines_without_such_a_code_are_named(changes: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
def test_a_layer_of_minilm_streams_coded_bit_for_bit():
    """With its own weights and activations, behind a memory that pauses and one that stalls."""
    model = MiniLM.load()
    ids, mask = model.tokenize(["A decoder stands behind the FIFO of each element.", "Yes."])
    layer = "layer.0.attention.query"
    x = model.forward(ids, mask, capture=[layer]).captured[layer][:16]
    weights, bias = model.linear(layer)
    design = daqkf.compile(
        weights,
        bias=bias,
        sparsity=0.5,
        levels="uniform-15",
        calibration=x,
        target="wide-coded",
    )
    bits = design.summary()["bits_per_weight"]
    assert bits["stream"] < 1.16 * bits["entropy"]
    expected = design.reference(x)
    for memory, stalls in ((None, 0.3), ("ddr4-2400", 0.0)):
        measured = design.measure(x, memory=memory, clock=250e6, stalls=stalls)
        np.testing.assert_array_equal(measured.y, expected)
