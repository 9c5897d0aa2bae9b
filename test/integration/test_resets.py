# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A reset of one cycle, at any moment, leaves nothing behind."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from networks import MACHINES, Layers, activations_for, config_of, lowered
from unit_bench import Bench

from daqkf.dialects.rpea import ProgramOp
from daqkf.lowering.image.encode import encode, playable
from daqkf.lowering.rtl.array import build_array
from daqkf.runtime.simulator import Job


def played(
    bench: Bench, words: Sequence[int], rows: Sequence[int], count: int, stop: int | None
) -> Iterator[int]:
    """The rows of results of a job without pauses; a reset of one cycle ends it at `stop`."""
    word = row = found = 0
    for cycle in range(20_000):
        if cycle == stop:
            bench.step(rst=1)
            bench.inputs["rst"] = 0
            return
        now = bench.peek(
            prog_tdata=words[min(word, len(words) - 1)],
            prog_tvalid=int(word < len(words)),
            x_tdata=rows[min(row, len(rows) - 1)],
            x_tvalid=int(word == len(words) and row < len(rows)),
            y_tready=1,
        )
        bench.step()
        word += bench.inputs["prog_tvalid"] and now["prog_tready"]
        row += bench.inputs["x_tvalid"] and now["x_tready"]
        if now["y_tvalid"]:
            found += 1
            yield now["y_tdata"]
        if found == count:
            return
    pytest.fail(f"the array is in phase {now['status_phase']} after {found} rows")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["P2-T2", "mixed", "dense"])
def test_a_reset_of_one_cycle_is_enough(name: str):
    layers = Layers.random(5, (12, 5))
    module = lowered(layers.module(MACHINES[name]))
    (program,) = playable(module)
    assert isinstance(program, ProgramOp)
    config = config_of(module)
    x = activations_for(layers, 2 * config.lanes)
    job = Job(encode(program), x, program.channels)
    assert job.image is not None
    words = [int(word) for word in np.frombuffer(job.image, "<u4")]
    rows = [int.from_bytes(row.tobytes(), "little") for row in job.beats(config.lanes)]
    count = 2 * job.outputs
    rng = np.random.default_rng(8)
    with Bench(build_array(config)) as bench:
        for moment in (*rng.integers(1, len(words) + 150, 25), None):
            stop = None if moment is None else int(moment)
            list(played(bench, words, rows, count, stop))
            found = list(played(bench, words, rows, count, None))
            tiles = np.array([list(row.to_bytes(config.lanes, "little")) for row in found])
            y = job.results(tiles.astype(np.uint8).view(np.int8).reshape(2, job.outputs, -1))
            np.testing.assert_array_equal(y, layers.expected(x))
