# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What `daqkf bench array` measures and how it compares, on a small layer."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import StringAttr
from xdsl.dialects.func import FuncOp

from daqkf.compiler.layer import compile_layer
from daqkf.hw_targets import Counts, load_target
from daqkf.runtime.simulator import Simulator
from daqkf.studies.bench import array, command
from daqkf.studies.bench.array import LAYER, Contender, Measurement, compile_workload, measure
from daqkf.studies.bench.workload import Workload
from daqkf.studies.minilm.model import MiniLM
from daqkf.support.errors import DaqkfError
from daqkf.support.ir import module_text
from daqkf.synthesis import Placement, Resources, synthesize

RNG = np.random.default_rng(3)
TINY = load_target("tiny").machine
X = RNG.standard_normal((2, 20)).astype(np.float32)


@pytest.fixture(scope="module")
def workload() -> Workload:
    """One layer of 20 features and 6 outputs in the place of MiniLM's."""
    design = compile_layer(
        RNG.standard_normal((20, 6)), sparsity=0.5, calibration=X, levels="int8", target="tiny"
    )
    module = design.golden.clone()
    (function,) = (op for op in module.ops if isinstance(op, FuncOp))
    function.sym_name = StringAttr(LAYER)
    return Workload(0.5, None, 1.0, {}, module_text(module))


def measured(contender: str, cells: int, cycles: int) -> Measurement:
    counts = Counts(cells, cells, 0, 0, 0, 0, 0)
    resources = Resources("xcup", "daqkf_array", counts, {}, {}, None)
    return Measurement(
        contender=contender,
        fabric="xcup",
        sparsity=0.5,
        cosine=1.0,
        cycles=cycles,
        load_cycles=60,
        layer_cycles=cycles // 2,
        simulated_cycles=cycles,
        simulated_period=cycles + 60,
        resources=resources,
        placement=None,
        toggles=None,
    )


def test_a_workload_is_compiled_for_one_array(workload: Workload):
    found = compile_workload(workload, replace(TINY, items=4), X)
    assert found.config.items == 4
    assert found.cycles.keys() == {LAYER}
    assert found.x.dtype == np.int8


@pytest.mark.slow
def test_a_contender_is_held_against_its_golden_model(
    workload: Workload, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(array, "load_workload", lambda *_: workload)
    monkeypatch.setattr(MiniLM, "load", _OneLayer)
    contender = Contender("two items", TINY, tuned=False)

    def run(fabrics: tuple[str, ...] = (), seeds: tuple[int, ...] = ()) -> list[Measurement]:
        return measure(
            contender,
            0.5,
            fabrics,
            accuracy=0.99,
            seeds=seeds,
            count_toggles=False,
            progress=lambda stage: None,
        )

    assert run() == []
    (row,) = run(("xcup",))
    assert row.resources.counts.logic_cells > 100
    assert row.cycles == row.layer_cycles <= row.simulated_cycles
    assert row.simulated_period == row.simulated_cycles + row.load_cycles
    assert row.placement is None

    def place(files: dict[str, str], top: str, fabric: str, **options: Any) -> Resources:
        if not options.get("place"):
            return synthesize(files, top, fabric)
        depth = array.CLOCK_DEPTHS["stream_depth"]
        assert any(f"stream[0:{depth - 1}]" in text for text in files.values())
        (seed,) = options["seeds"]
        placement = Placement(fabric, seed, 100.0, {seed: 100.0}, {})
        return replace(row.resources, placement=placement)

    monkeypatch.setattr(array, "synthesize", place)
    (placed,) = run(("ecp5",), (2,))
    assert placed.placement == Placement("ecp5", 2, 100.0, {2: 100.0}, {})
    assert placed.work_per_cell() == pytest.approx(
        1e8 / (placed.cycles * placed.resources.counts.logic_cells)
    )

    trace = Simulator.trace
    monkeypatch.setattr(
        Simulator,
        "trace",
        lambda *arguments: [replace(found, y=found.y ^ 1) for found in trace(*arguments)],
    )
    with pytest.raises(DaqkfError, match="computes something else"):
        run()


class _OneLayer:
    def activations(self, name: str, sentences: list[str]) -> np.ndarray:
        assert name == LAYER
        assert len(sentences) == array.SENTENCES
        return X


def test_work_is_compared_at_the_same_sparsity():
    base, ours = measured("dense", 1000, 600), measured("ours", 500, 100)
    other = replace(base, sparsity=0.9, cycles=1)
    rows = [other, base, ours]
    assert command._ratios(ours, rows)["to_baseline"]["work_per_lut"] == pytest.approx(12)
    assert command._ratios(ours, rows)["to_baseline"]["layer_work_per_lut"] == pytest.approx(12)
    loaded = command._ratios(ours, rows)["to_baseline"]["loaded_work_per_lut"]
    assert loaded == pytest.approx(2 * 660 / 160)
    assert command._ratios(ours, [ours]) == {}
    assert command.table("xcup", rows).row_count == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsities": [1.0]}, "--sparsity must be"),
        ({"accuracy": 0.2}, "--accuracy must be"),
        ({"only": ["no-such"]}, "unknown array 'no-such'"),
        ({"seeds": [1]}, "--place is for"),
    ],
)
def test_bad_options_are_refused_before_any_work(options: dict, message: str):
    asked = {
        "sparsities": [0.5],
        "fabrics": ["xcup"],
        "only": [],
        "accuracy": 0.99,
        "seeds": [],
        "count_toggles": False,
    }
    with pytest.raises(DaqkfError, match=message):
        command.run_bench(None, **asked | options)
