# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Units of the array, each alone against a small model, with random stalls."""

import shlex
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from networks import MACHINES, Layers, config_of, lowered
from numpy.typing import NDArray
from unit_bench import Bench

from daqkf.dialects.rpea import ProgramOp
from daqkf.hw_targets import numerics
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.decision import MAX_VARIANTS, Decision
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.fan_out import late_results
from daqkf.hw_targets.image_format import Command, Header
from daqkf.hw_targets.numerics import ACTIVATION_BITS, NORMALIZED_BITS
from daqkf.hw_targets.status import LoadError
from daqkf.hw_targets.words import chain_row, dispatch_row, parameter_row
from daqkf.lowering.hdl import crc32
from daqkf.lowering.hdl.circuit import Circuit
from daqkf.lowering.image.decode import decode
from daqkf.lowering.image.encode import encode, playable
from daqkf.lowering.image.image import Image
from daqkf.lowering.rtl.chain import build_chain_unit
from daqkf.lowering.rtl.element import build_element
from daqkf.lowering.rtl.loader import build_loader
from daqkf.lowering.rtl.operands import build_fill_unit
from daqkf.lowering.rtl.post import build_post, rows_stages
from daqkf.lowering.rtl.register_file import Response, build_register_file, port_of
from daqkf.lowering.rtl.registers import REGISTERS, Access, Register, constants
from daqkf.lowering.rtl.row_gates import build_gate_unit
from daqkf.lowering.rtl.spaq_unit import DECISION_CYCLES, build_spaq_unit
from daqkf.runtime import tools
from daqkf.runtime.simulator import SimulationError

FAMILY = "running_sum"
ATTENDS = {
    "accumulator_width": 20,
    "sum_width": 20,
    "operand_depth": 32,
    "softmax": True,
    "normalizes": True,
    "kernels": 4,
}


@cache
def program() -> tuple[ArrayConfig, ProgramOp, bytes]:
    """An array of two elements and two lanes, and a program for it."""
    module = lowered(Layers.random(5, (24, 9)).module(MACHINES["P2-T2"]))
    (found,) = playable(module)
    assert isinstance(found, ProgramOp)
    return config_of(module), found, encode(found)


def image() -> Image:
    config, _, data = program()
    return decode(data, config)


def joined(words: NDArray[np.uint32]) -> int:
    """A row's words as one number."""
    return sum(int(word) << 32 * place for place, word in enumerate(words))


def packed(values: Sequence[int] | NDArray[np.int8], bits: int = 8) -> int:
    """Numbers side by side, the first in the lowest bits."""
    return sum((int(value) % (1 << bits)) << bits * n for n, value in enumerate(values))


def load(bench: Bench, words: Sequence[int], rng: np.random.Generator) -> dict[str, dict[int, int]]:
    """Give the loader an image, with pauses; what it writes, by memory and address."""
    written: dict[str, dict[int, int]] = defaultdict(dict)
    queue = list(words)
    for _ in range(3 * len(words) + 40):
        comes = bool(queue) and rng.random() < 0.7
        word = queue.pop(0) if comes else int(rng.integers(1 << 32))
        out = bench.step(word=word, valid=int(comes))
        for port, value in out.items():
            memory, _, of = port.partition("_write")
            if value and "_write" in port:
                row = out[f"{memory}_data"]
                written[memory + of][out[f"{memory}_address"]] = row
    assert not queue
    return written


def test_the_loader_writes_each_row_to_its_memory():
    config, found, data = program()
    words = [int(word) for word in np.frombuffer(data, "<u4")]
    names = {Command.PARAMETERS: "parameters", Command.TABLE: "table"}
    expected = {
        (f"stream{entry.unit}" if entry.command is Command.STREAM else names[entry.command]): {
            row: joined(words) for row, words in enumerate(entry.rows)
        }
        for entry in image().sections
        if entry.command in (Command.STREAM, *names)
    }
    with Bench(build_loader(config)) as bench:
        rng = np.random.default_rng(1)
        for _ in range(2):
            assert load(bench, words, rng) == expected
            out = bench.peek()
            assert (out["features"], out["outputs"]) == (24, found.channels)
            assert (out["failed"], out["error"]) == (0, LoadError.NONE)
        wrong = [*words]
        wrong[Header.FINGERPRINT] ^= 1
        assert not load(bench, wrong, rng)
        assert (bench.peek()["failed"], bench.peek()["error"]) == (1, LoadError.FINGERPRINT)


def test_an_element_sums_what_its_stream_says():
    """Twice, with other activations the second time."""
    config, found, _ = program()
    rng = np.random.default_rng(0)
    golden = FAMILIES[FAMILY].golden
    width = config.accumulator_width
    with Bench(build_element(config, FAMILY)) as bench:
        for row, words in enumerate(image().streams[0]):
            bench.step(stream_address=row, stream_data=joined(words), stream_write=1)
        bench.step(stream_write=0)
        for _ in range(2):
            x = rng.integers(-128, 128, (config.activation_depth, config.lanes)).astype(np.int8)
            x[config.null_address] = 0
            for address, row in enumerate(x):
                data = packed(row)
                bench.step(activation_address=address, activation_data=data, activation_write=1)
            bench.step(activation_write=0)
            bench.step(start=1)
            bench.inputs["start"] = 0
            for total in golden(next(iter(found.streams())), x.astype(np.int64), config):
                for _ in range(200):
                    if bench.peek()["full"] and rng.random() < 0.5:
                        break
                    bench.step(take=0)
                assert bench.peek()["full"]
                sums = [bench.step(group=lane)["sums"] for lane in range(config.lanes - 1)]
                sums.append(bench.step(group=config.lanes - 1, take=1)["sums"])
                bench.inputs["take"] = 0
                assert sums == [int(value) % (1 << width) for value in total]
            assert not any(bench.step()["full"] for _ in range(50))


def test_the_post_unit_makes_results_of_sums():
    config, _, _ = program()
    rng = np.random.default_rng(3)
    layout, outputs = parameter_row(config), 7
    table = rng.permutation(256).astype(np.uint8).view(np.int8)
    bias = rng.integers(-500, 500, outputs)
    multiplier, shift = rng.integers(1, 1 << 16, outputs), rng.integers(8, 30, outputs)
    sums = rng.integers(-2000, 2000, (config.lanes, outputs))
    rows = layout.pack(
        {
            "negated_bias": -bias,
            "multiplier": multiplier,
            "shift_minus_1": shift - 1,
            "address": np.arange(outputs),
        }
    )
    levels = numerics.requantize(sums + bias, multiplier, shift)
    expected = {n: packed(row) for n, row in enumerate(numerics.look_up(table, levels).T)}
    pending = [list(range(p, outputs, config.pes)) for p in range(config.pes)]
    found: dict[int, int] = {}
    with Bench(build_post(config)) as bench:
        for n, words in enumerate(rows):
            slot, p = divmod(n, config.pes)
            bench.step(
                parameters_address=slot * config.parameter_stride + p,
                parameters_data=joined(words),
                parameters_write=1,
            )
        bench.step(parameters_write=0)
        for address, value in enumerate(table):
            bench.step(table_address=address, table_data=int(value) % 256, table_write=1)
        bench.step(table_write=0, start=1)
        bench.inputs["start"] = 0
        full = [False] * config.pes
        for _ in range(200):
            full = [
                held or (bool(pending[p]) and rng.random() < 0.2) for p, held in enumerate(full)
            ]
            group = bench.peek()["group"]
            of = {
                f"sums{p}": int(sums[group, queue[0]]) % (1 << config.accumulator_width)
                for p, queue in enumerate(pending)
                if queue
            }
            out = bench.step(**{f"full{p}": int(held) for p, held in enumerate(full)}, **of)
            for p in range(config.pes):
                if out[f"take{p}"]:
                    assert full[p]
                    full[p] = False
                    pending[p].pop(0)
            if out["result_write"]:
                found[out["result_address"]] = out["result_data"]
    assert found == expected


def test_the_spaq_unit_decides_by_the_zeros():
    decide_by_the_zeros(replace(program()[0], buckets=8))


def decide_by_the_zeros(config: ArrayConfig):
    """Tiles of few zeros and of many, with pauses, some of them after a reset."""
    rng, buckets = np.random.default_rng(4), config.buckets
    rows = {
        "stream": rng.integers(0, config.stream_depth, buckets),
        "slot": rng.integers(0, config.parameter_depth, buckets),
        "variant": rng.permutation(buckets) % MAX_VARIANTS,
    }
    decision = Decision(config.lanes, 2, tuple(int(v) for v in rows["variant"]))
    all_of_them = 24 * config.lanes
    counts = (0, (1 << decision.shift) - 1, *(all_of_them * part // 16 for part in (3, 8, 14, 16)))
    with Bench(build_spaq_unit(config)) as bench:
        for bucket, words in enumerate(dispatch_row(config).pack(rows)):
            bench.step(dispatch_address=bucket, dispatch_data=joined(words), dispatch_write=1)
        bench.step(dispatch_address=0, dispatch_data=0, dispatch_write=0, zero_shift=decision.shift)
        for zeros, stop in [(count, None) for count in counts] + [
            (count, stop) for stop in range(3) for count in counts[:2]
        ]:
            if stop is not None:
                # A reset ends a tile; what was counted of it is no part of the next one.
                for cycle in range(6):
                    bench.step(beat=int(cycle < 6 - stop), row=0)
                bench.step(beat=0, rst=1)
                bench.step(rst=0)
            x = rng.integers(1, 128, (config.lanes, 24)).astype(np.int8)
            x.reshape(-1)[rng.permutation(x.size)[:zeros]] = 0
            for column in x.T:
                while rng.random() < 0.4:
                    bench.step(beat=0)
                bench.step(beat=1, row=packed(column))
            for _ in range(DECISION_CYCLES):
                bench.step(beat=0, row=0)
            (bucket,) = decision.buckets(decision.zeros(x))
            out = bench.step(start=1)
            assert out["stream_start"] == rows["stream"][bucket]
            assert out["slot_start"] == rows["slot"][bucket]
            assert bench.step(start=0)["variant"] == rows["variant"][bucket]
            # It stays while the activations of the next tile arrive.
            for _ in range(4):
                bench.step(beat=1, row=int(rng.integers(1, 1 << 16)))
            assert bench.peek(beat=0)["variant"] == rows["variant"][bucket]
            bench.step(start=1)
            bench.step(start=0)


@pytest.mark.slow
def test_the_chain_unit_moves_the_rows_of_each_kernel():
    config = replace(program()[0], kernels=4)
    rng = np.random.default_rng(5)
    outputs = [5, 1, 9]
    rows = {
        "stream": rng.integers(0, config.stream_depth, 3),
        "slot": rng.integers(0, config.parameter_depth, 3),
        "outputs": np.array(outputs),
        "last": np.array([0, 0, 1]),
    }
    with Bench(build_chain_unit(config)) as bench:
        for kernel, words in enumerate(chain_row(config).pack(rows)):
            bench.step(chain_address=kernel, chain_data=joined(words), chain_write=1)
        bench.step(chain_write=0)
        bench.step()
        for kernel in [0, 1, 2] * 2:
            out = bench.peek()
            assert (out["kernel"], out["outputs"]) == (kernel, outputs[kernel])
            assert out["stream_start"] == rows["stream"][kernel]
            assert out["slot_start"] == rows["slot"][kernel]
            bench.step(ran=1)
            read: list[int] = []
            written: list[int] = []
            begun = False
            for _ in range(60):
                free = int(rng.random() < 0.6)
                out = bench.step(ran=0, free=free)
                assert free or not out["read"]
                read += [out["source"]] * out["read"]
                written += [out["target"]] * out["write"]
                if out["next"]:
                    assert not begun and len(written) == outputs[kernel]
                    begun = True
            expected = [] if rows["last"][kernel] else list(range(outputs[kernel]))
            assert (read, written, begun) == (expected, expected, bool(expected))


@pytest.mark.slow
def test_the_fill_unit_gathers_operand_words():
    """Of 4 lanes, 2 elements and 4 items: features of each second token, and tokens of features."""
    config = replace(program()[0], lanes=4, post_lanes=2, items=4, **ATTENDS)
    rng = np.random.default_rng(6)
    pes, items, lanes = config.pes, config.items, config.lanes
    x = rng.integers(-128, 128, (8, lanes)).astype(np.int8)
    with Bench(build_fill_unit(config)) as bench:

        def fill(rows: Sequence[tuple[int, int]], **control: int) -> dict[tuple[int, int], int]:
            """Write rows and their round, with pauses; the words, by element and address."""
            bench.step(begins=1, **control)
            bench.inputs["begins"] = 0
            found: dict[tuple[int, int], int] = {}
            queue = list(rows)
            while queue or bench.inputs["write"]:
                comes = bool(queue) and rng.random() < 0.6
                row, turn = queue.pop(0) if comes else (0, 0)
                bench.step(row=row, round=turn, write=int(comes))
                out = bench.peek(write=0)
                for p in range(pes):
                    if out[f"write{p}"]:
                        assert (p, out["address"]) not in found, "a word is written once"
                        found[p, out["address"]] = out[f"data{p}"]
            return found

        # A word has a feature of each of `lanes` tokens; the elements take them in turns.
        tokens = [(packed(row), 0) for row in x]
        expected = {(n % pes, 3 + 2 + 4 * (n // pes)): packed(row) for n, row in enumerate(x)}
        assert fill(tokens, tokens=1, operands=3, tile=2, stride=4) == expected
        # A word has so many features of one token; an element has each second token.
        features = [(packed(row), turn) for turn in range(lanes // pes) for row in x]
        count = len(x) // items
        words = {
            (p, turn * count + word): packed(x[items * word : items * (word + 1), pes * turn + p])
            for p in range(pes)
            for turn in range(lanes // pes)
            for word in range(count)
        }
        # Those of a later tile go on where the tile before ended.
        for tile in range(3):
            first = 5 + tile * (lanes // pes) * count
            expected = {(p, first + place): word for (p, place), word in words.items()}
            assert fill(features, tokens=0, operands=5, tile=tile, stride=0) == expected


def test_the_crc_is_zlib_s():
    c = Circuit("daqkf_crc", "the CRC-32 of words.")
    c.clock("clk")
    c.reset(c.input("rst", 1))
    register = c.register("crc", crc32.BITS, reset=crc32.INITIAL)
    word = c.input("word", crc32.BITS)
    register.drive(crc32.following(register, word), enable=c.input("valid", 1))
    c.output("sum", ~register)
    c.finish()
    rng = np.random.default_rng(7)
    words = rng.integers(0, 1 << 32, 60, np.uint32)
    with Bench(c) as bench:
        for count, word in enumerate(words):
            assert bench.step(word=word, valid=1)["sum"] == zlib.crc32(words[:count].tobytes())
            while rng.random() < 0.3:
                bench.step(word=int(rng.integers(1 << 32)), valid=0)


@pytest.mark.slow
def test_simulators_are_built_whatever_folders_and_compilers_are_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """GNU make takes no folder with a space in its name, and `CXX` may be more than a program."""
    monkeypatch.setenv("DAQKF_CACHE", str(tmp_path / "a cache"))
    monkeypatch.setenv("CXX", shlex.join(["env", *tools.cxx_compiler()]))
    test_the_crc_is_zlib_s()
    assert list((tmp_path / "a cache" / "simulators").glob("*/simulator"))


def test_a_folder_in_which_make_can_not_build_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (folder := tmp_path / "a folder").mkdir()
    monkeypatch.setenv("DAQKF_CACHE", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with pytest.raises(SimulationError, match="set TMPDIR to another folder"):
        test_the_crc_is_zlib_s()


@pytest.mark.parametrize(
    ("lanes", "post_lanes"), [(4, 2), pytest.param(36, 12, marks=pytest.mark.slow)]
)
def test_the_gate_unit_multiplies_each_second_row_by_the_one_before(lanes: int, post_lanes: int):
    widths = {"accumulator_width": 20, "sum_width": 20}
    shape = {"lanes": lanes, "post_lanes": post_lanes}
    config = replace(program()[0], kernels=4, gates=True, **shape, **widths)
    rng = np.random.default_rng(8)
    groups, together = config.lanes // config.post_lanes, config.post_lanes
    late = rows_stages(config)
    with Bench(build_gate_unit(config)) as bench:
        for outputs in (1, 6):
            x = rng.integers(-128, 128, (2 * outputs, config.lanes))
            x[:2] = -128
            products = (x[::2] * x[1::2]).reshape(outputs * groups, together)
            expected = [packed(row, NORMALIZED_BITS) for row in products]
            assert not any(bench.step()[name] for name in ("wants", "streaming", "valid"))
            assert bench.peek(row_start=1)["streams"]
            bench.step()
            bench.inputs["row_start"] = 0
            queue = [packed(row, ACTIVATION_BITS) for row in x]
            arriving: dict[int, int] = {}
            due: list[int] = []
            found: list[int] = []
            for cycle in range(40 * outputs + 2 * late):
                if cycle in arriving:
                    bench.inputs["row"] = arriving.pop(cycle)
                out = bench.peek(read=0)
                assert out["streaming"]
                if out["valid"]:
                    due.append(cycle + late)
                if cycle in due:
                    found.append(out["sums"])
                if out["wants"] and queue and rng.random() < 0.6:
                    # The result memory gives the row later, and holds it.
                    arriving[cycle + 1 + late_results(config)] = queue.pop(0)
                    bench.step(read=1)
                else:
                    bench.step(read=0)
            assert not queue and found == expected
            bench.step(ran=1, read=0)
            bench.inputs["ran"] = 0
            assert not bench.peek()["streaming"]


class Map:
    """What is in the registers behind the slave."""

    def __init__(self, registers: Sequence[Register], values: Mapping[str, int]):
        self.fields = [
            (entry, field, port_of(entry, field)) for entry in registers for field in entry.fields
        ]
        self.values = {name: values.get(name, field.reset) for _, field, name in self.fields}

    def hardware(self, rng: np.random.Generator) -> dict[str, int]:
        """Random inputs for fields that the hardware says or sets."""
        found: dict[str, int] = {}
        for _, field, name in self.fields:
            if field.access is Access.READ_ONLY:
                found[name] = int(rng.integers(1 << field.width))
            if field.access is Access.CLEAR:
                found[f"{name}_set"] = int(rng.random() < 0.1)
        return found

    def read(self, address: int, hardware: Mapping[str, int]) -> tuple[Response, int]:
        """The response to a read, and the word."""
        values = {**self.values, **hardware}
        found = [
            (field, values[name]) for entry, field, name in self.fields if entry.address == address
        ]
        word = sum(v << field.low for field, v in found if field.access is not Access.STROBE)
        return (Response.OKAY if found else Response.SLVERR), word

    def pass_cycle(
        self, hardware: Mapping[str, int], address: int, data: int, mask: int
    ) -> Response:
        """Go on by a cycle, in which some bits of a word may be written; the response to that."""
        response = Response.SLVERR
        for entry, field, name in self.fields:
            bits = field.get(mask) if entry.address == address else 0
            new, old = field.get(data) & bits, self.values[name]
            match field.access:
                case Access.CONSTANT | Access.READ_ONLY:
                    continue
                case Access.READ_WRITE | Access.SCRATCH:
                    self.values[name] = (old & ~bits) | new
                case Access.CLEAR:
                    self.values[name] = hardware[f"{name}_set"] | (old & ~new)
                case Access.STROBE:
                    self.values[name] = new
            if entry.address == address:
                response = Response.OKAY
        return response

    def shown(self) -> dict[str, int]:
        """The outputs that tell the hardware."""
        kinds = (Access.READ_WRITE, Access.CLEAR, Access.STROBE)
        return {
            f"{name}_value": self.values[name]
            for _, field, name in self.fields
            if field.access in kinds
        }


def test_the_register_file_answers_its_bus():
    """Reads and writes one after another, with pauses in each channel and events in between."""
    registers = [entry for entry in REGISTERS if entry.address <= 0x44]
    values = constants(program()[0])
    with Bench(build_register_file(registers, values)) as bench:
        answer_as_the_map_says(bench, registers, values, np.random.default_rng(9))


def answer_as_the_map_says(
    bench: Bench,
    registers: Sequence[Register],
    values: Mapping[str, int],
    rng: np.random.Generator,
):
    """Random transfers on a bus that has just been reset, against `Map`."""
    held = Map(registers, values)
    # A tenth of the addresses has no register.
    absent = [0xFFC] * (1 + len(registers) // 10)
    addresses = [*(entry.address for entry in registers), *absent]
    earlier = dict.fromkeys(held.hardware(rng), 0)
    answers: set[tuple[bool, Response]] = set()
    for _ in range(400):
        writes = bool(rng.random() < 0.6)
        address, data = int(rng.choice(addresses)), int(rng.integers(1 << 32))
        strobes = int(rng.integers(16))
        mask = sum(0xFF << 8 * byte for byte in range(4) if strobes >> byte & 1)
        channels = {"aw": {"awaddr": address}, "w": {"wdata": data, "wstrb": strobes}}
        if not writes:
            channels = {"ar": {"araddr": address}}
        back = "b" if writes else "r"
        waiting, offered = set(channels), set[str]()
        answer: tuple[Response, int] | None = None
        for _ in range(100):
            offered |= {name for name in waiting if rng.random() < 0.4}
            bus = {f"{back}ready": int(rng.random() < 0.4)}
            for name, payload in channels.items():
                bus[f"{name}valid"] = int(name in offered)
                if name in offered:
                    bus |= payload
            hardware = held.hardware(rng)
            out = bench.step(**bus, **hardware)
            # What a cycle shows happened in the one before.
            if out[f"{back}valid"] and not answer:
                if writes:
                    answer = held.pass_cycle(earlier, address, data, mask), 0
                else:
                    answer = held.read(address, earlier)
                    held.pass_cycle(earlier, -1, 0, 0)
            else:
                held.pass_cycle(earlier, -1, 0, 0)
            earlier = hardware
            assert {name: out[name] for name in held.shown()} == held.shown()
            sent = {name for name in offered if out[f"{name}ready"]}
            waiting, offered = waiting - sent, offered - sent
            if answer:
                assert not waiting
                assert (out[f"{back}resp"], 0 if writes else out["rdata"]) == answer
                if bus[f"{back}ready"]:
                    break
        else:
            pytest.fail("a transfer was not answered")
        assert answer
        answers.add((writes, answer[0]))
        bench.inputs |= dict.fromkeys(["awvalid", "wvalid", "arvalid", "bready", "rready"], 0)
    assert len(answers) == 4
