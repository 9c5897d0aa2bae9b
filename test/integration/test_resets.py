# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A reset of one cycle, at any moment, leaves nothing behind."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from networks import MACHINES, Layers, activations_for, config_of, lowered
from unit_bench import Bench

from daqkf.dialects.rpea import ProgramOp
from daqkf.lowering.image.encode import encode, playable, split_image
from daqkf.lowering.rtl.array import build_array
from daqkf.runtime.simulator import Job

LATENCY = 40
"""Of external memory, in cycles."""


class Memory:
    """External memory behind a port, which a reset of the array does not reach."""

    def __init__(self, content: bytes, beat: int):
        self._content, self._beat = content, beat
        self._due: deque[tuple[int, int]] = deque()
        self._now = 0

    def offers(self) -> dict[str, int]:
        """The inputs of the port in a cycle."""
        valid = bool(self._due) and self._due[0][0] <= self._now
        place = self._due[0][1] if valid else 0
        data = int.from_bytes(self._content[place : place + self._beat], "little")
        inputs = {"rdata": data, "rvalid": int(valid), "rresp": 0, "arready": 1}
        return {f"mem0_{name}": value for name, value in inputs.items()}

    def takes(self, outputs: Mapping[str, int]) -> None:
        """What the port asks for and takes in that cycle."""
        if outputs["mem0_rready"] and self._due and self._due[0][0] <= self._now:
            self._due.popleft()
        if outputs["mem0_arvalid"]:
            first = outputs["mem0_araddr"]
            for beat in range(outputs["mem0_arlen"] + 1):
                self._due.append((self._now + LATENCY, first + beat * self._beat))
        self._now += 1


def played(
    bench: Bench,
    words: Sequence[int],
    rows: Sequence[int],
    count: int,
    stop: int | None,
    memory: Memory | None,
) -> Iterator[int]:
    """The rows of results of a job without pauses; a reset of one cycle ends it at `stop`."""
    word = row = found = 0
    for cycle in range(20_000):
        now = bench.peek(
            rst=int(cycle == stop),
            **(memory.offers() if memory else {}),
            prog_tdata=words[min(word, len(words) - 1)],
            prog_tvalid=int(word < len(words)),
            x_tdata=rows[min(row, len(rows) - 1)],
            x_tvalid=int(word == len(words) and row < len(rows)),
            y_tready=1,
        )
        bench.step()
        if memory:
            memory.takes(now)
        if cycle == stop:
            bench.inputs["rst"] = 0
            return
        word += bench.inputs["prog_tvalid"] and now["prog_tready"]
        row += bench.inputs["x_tvalid"] and now["x_tready"]
        if now["y_tvalid"]:
            found += 1
            yield now["y_tdata"]
        if found == count:
            return
    pytest.fail(f"the array is in phase {now['status_phase']} after {found} rows")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["P2-T2", "mixed", "dense", "memory"])
def test_a_reset_of_one_cycle_is_enough(name: str):
    layers = Layers.random(5, (12, 5))
    machines = MACHINES | {"memory": replace(MACHINES["P2-T2"], memory_bits=64, stream_depth=8)}
    module = lowered(layers.module(machines[name]))
    (program,) = playable(module)
    assert isinstance(program, ProgramOp)
    config = config_of(module)
    x = activations_for(layers, 2 * config.lanes)
    job = Job(encode(program), x, program.channels)
    assert job.image is not None
    loaded, outside = split_image(job.image)
    memory = Memory(outside, config.memory_bits // 8) if config.memory_bits else None
    words = [int(word) for word in np.frombuffer(loaded, "<u4")]
    rows = [int.from_bytes(row.tobytes(), "little") for row in job.beats(config.lanes)]
    count = 2 * job.outputs
    rng = np.random.default_rng(8)
    with Bench(build_array(config)) as bench:
        if memory:
            bench.step(rst=1, memory_rst=1)
            bench.inputs["memory_rst"] = 0
        for moment in (*rng.integers(1, len(words) + 150, 25), None):
            stop = None if moment is None else int(moment)
            list(played(bench, words, rows, count, stop, memory))
            found = list(played(bench, words, rows, count, None, memory))
            tiles = np.array([list(row.to_bytes(config.lanes, "little")) for row in found])
            y = job.results(tiles.astype(np.uint8).view(np.int8).reshape(2, job.outputs, -1))
            np.testing.assert_array_equal(y, layers.expected(x))
