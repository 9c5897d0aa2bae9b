# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Families are ranked by what they take, and declined where they lose."""

from dataclasses import replace

import numpy as np
import pytest

from daqkf.hw_targets import UnknownFabricError
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.prices import Price, Prices, load_prices, priced_fabrics
from daqkf.passes.dfke_schedule import schedule, schedule_cycles
from daqkf.passes.encode.cost_model import Elements, rank

MACHINE = Machine(2, 4, 4, 3, 256, 4096, 256, 256)


def levels(density: float, largest: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    values = rng.integers(1, largest + 1, (128, 24)) * rng.choice([-1, 1], (128, 24))
    return (values * (rng.random((128, 24)) < density)).astype(np.int8)


def prices(dsp_cells: float) -> Prices:
    families = {"running_sum": Price(100, 50, 0), "strassen": Price(100, 60, 3.5)}
    return Prices("sand", dsp_cells, families)


def test_cycles_and_areas_are_those_of_the_schedules():
    matrices = [levels(1.0, 127), levels(0.3, 7)]
    best, other = rank(matrices, MACHINE, prices(10))
    assert best.price <= other.price
    for estimate in (best, other):
        machine = Elements.of(estimate.family).on(MACHINE)
        assert estimate.cycles == sum(schedule_cycles(schedule(m, machine)) for m in matrices)
    strassen = best if best.family == "strassen" else other
    shared = replace(prices(10).families["running_sum"], shared_cells=40)
    assert Prices("sand", 0, {"running_sum": shared}).area("running_sum", 2, 4) == 640
    assert (strassen.cells, strassen.dsps, strassen.area) == (680, 28, 960)


@pytest.mark.parametrize(
    ("density", "largest", "dsp_cells", "best"),
    [
        (1.0, 127, 20, "strassen"),
        (1.0, 127, 200, "running_sum"),
        (0.3, 1, 20, "running_sum"),
    ],
)
def test_strassen_is_declined_where_it_loses(
    density: float, largest: int, dsp_cells: float, best: str
):
    """It wins on dense int8 if DSP blocks are cheap, but neither if dear nor on few items."""
    assert rank([levels(density, largest)], MACHINE, prices(dsp_cells))[0].family == best


def test_auto_is_the_first():
    matrices = [levels(0.3, 7)]
    best = rank(matrices, MACHINE, load_prices("xcup"))[0].family
    assert Elements.of("auto", "xcup").on(MACHINE, matrices).families == (best,)


def test_strassen_is_declined_in_logic_cells():
    for density in (1.0, 0.3):
        for largest in (127, 7):
            order = rank([levels(density, largest)], MACHINE, load_prices("xcup"))
            assert order[0].family != "strassen"


def test_multipliers_are_ranked():
    """All weights in step are cheapest in a large array, non-zeros if there are few of them."""
    large = replace(MACHINE, pes=16)
    for fabric, multiplier in (("xcup", "booth"), ("xcup-dsp", "packed")):
        auto = Elements.of("auto", fabric)
        for density, family in ((1.0, "dense"), (0.5, "multiply")):
            machine = auto.on(large, [levels(density, 127)[:24]])
            assert (machine.families, machine.multiplier) == ((family,), multiplier)
        order = rank([levels(1.0, 127)], large, load_prices(fabric))
        assert "semiring" not in [estimate.family for estimate in order]
    odd = Machine(2, 3, 1, 3, 256, 4096, 256, 256)
    order = rank([levels(1.0, 7)], odd, load_prices("xcup-dsp"))
    assert [estimate.family for estimate in order] == ["running_sum", "ordered_sum"]


def test_modes_have_their_own_price():
    modes = replace(MACHINE, weight_bits=(4, 8))
    assert Elements.of("multiply", "xcup-dsp").on(modes).multiplier == "dsp"
    kernels, xcup = [levels(0.5, 20)], load_prices("xcup")
    (one,), (either,) = (rank(kernels, m, xcup, ["multiply"]) for m in (MACHINE, modes))
    assert either.cells > one.cells and either.cycles < one.cycles


def test_families_that_cannot_run_are_left_out():
    odd = Machine(2, 3, 1, 3, 256, 4096, 256, 256)
    assert "strassen" not in [e.family for e in rank([levels(1.0, 7)], odd, prices(0))]
    with pytest.raises(ValueError, match="no family fits: a strassen element pairs its lanes"):
        rank([levels(1.0, 7)], odd, prices(0), ["strassen"])
    with pytest.raises(ValueError, match="fabric 'sand' has no price for 'abacus'"):
        rank([levels(1.0, 7)], MACHINE, prices(0), ["abacus"])


def test_a_price_grows_with_the_words():
    price = Price(10, 20, 0, element_item_cells=1, lane_item_cells=2, lane_shift_cells=4)
    plain, wide = replace(MACHINE, items=2, max_shift=0), replace(MACHINE, items=8, max_shift=3)
    assert price.suited(plain).cells(8) == 12 + 8 * 24
    assert price.suited(wide).cells(8) == 18 + 8 * 44
    assert price.suited(wide).suited(plain) == price.suited(wide)


def test_prices_are_of_known_families():
    for fabric in priced_fabrics():
        found = load_prices(fabric)
        assert set(found.families) <= set(FAMILIES)
        assert all(price.cells(8) > 0 and price.dsps(8) >= 0 for price in found.families.values())
    with pytest.raises(UnknownFabricError, match="no prices for fabric 'sand'"):
        load_prices("sand")


def test_the_fullest_pe_must_have_room():
    machine = replace(MACHINE, parameter_depth=2)
    with pytest.raises(ValueError, match="3 outputs of a PE; the target holds at most 2"):
        schedule(np.ones((4, 2 * machine.pes + 1), np.int8), machine)
