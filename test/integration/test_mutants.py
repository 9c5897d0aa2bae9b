# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What `make mutants` plants: faults of circuits that a run selects, and of sources."""

import ast
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from unit_bench import HARNESS

from daqkf.lowering.hdl.circuit import Circuit, circuit_module, mux
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.runtime.simulator import verilate

sys.path.append(str(Path(__file__).parents[1] / "mutation"))

import circuit_mutants
import source_mutants


def counter() -> Circuit:
    """Counts up or down while it is enabled, and stops at 12."""
    c = Circuit("counter")
    c.clock("clk")
    c.reset(c.input("rst", 1))
    enable, down = c.input("enable", 1), c.input("down", 1)
    count = c.register("count", 4, reset=3)
    step = mux(down, count - 1, count + 1)
    count.drive(step, enable=enable & count.ult(12))
    c.output("value", count)
    c.finish()
    return c


def test_every_kind_of_fault_is_planted_once_for_each_place():
    (module,) = circuit_module(counter()).ops
    found = list(circuit_mutants.faults(module))
    kinds = {fault.kind for fault in found}
    assert {
        "subtracts instead of adding",
        "adds instead of subtracting",
        "the arms of a multiplexer swapped",
        "or in place of and",
        "another comparison",
        "a constant one higher",
        "a register without its enable",
        "a register without its reset",
        "a reset to another value",
    } <= kinds
    assert len({(fault.kind, fault.place) for fault in found}) == len(found)
    chosen = circuit_mutants.sample(1, 5, found)
    assert chosen == circuit_mutants.sample(1, 5, found)
    assert len({fault.kind for fault in chosen}) > 2
    circuit_mutants.with_faults(circuit_module(counter()), dict(enumerate(found, 1))).verify()


@pytest.mark.slow
def test_a_run_selects_its_fault(tmp_path: Path):
    """With 0 nothing has changed; each fault is seen at the output of one of the sequences."""
    circuit = counter()
    (module,) = circuit_module(circuit).ops
    found = list(circuit_mutants.faults(module))
    files: Mapping[str, str] = emit_verilog(
        circuit_mutants.with_faults(circuit_module(counter()), dict(enumerate(found, 1)))
    )
    selected = tmp_path / "selected"
    text = circuit_mutants.selector_text(selected)
    inputs = ["rst", "enable", "down"]
    harness = HARNESS.format(
        model="Vcounter",
        clock="clk",
        reads="\n".join(f'std::scanf("%llx", &value); unit.{name} = value;' for name in inputs),
        form="%llx",
        writes=", (unsigned long long)unit.value",
    )
    sources = {"harness.cpp": harness, **files, f"{circuit_mutants.SELECTOR}.sv": text}
    binary = verilate(sources, "counter")
    steps = [
        (1, 0, 0),
        *[(0, n % 3 != 1, n < 2) for n in range(22)],
        (1, 1, 0),
        (0, 1, 0),
        (0, 0, 0),
    ]

    def outputs(number: int) -> list[int]:
        selected.write_text(f"{number}\n")
        given = "".join(f"1 {rst:x} {int(on):x} {int(down):x}\n" for rst, on, down in steps)
        run = subprocess.run([binary, "1"], input=given, capture_output=True, text=True, check=True)
        return [int(word, 16) for word in run.stdout.split()][1:]

    count, expected = 3, []
    for rst, on, down in steps[1:]:
        expected.append(count)
        if rst:
            count = 3
        elif on and count < 12:
            count += -1 if down else 1
    assert outputs(0) == expected
    seen = [outputs(number) != expected for number in range(1, len(found) + 1)]
    # Some faults need a longer sequence to be seen.
    assert sum(seen) >= 0.8 * len(found)


def test_a_mutant_of_a_source_differs_in_one_place():
    file = "hw_targets/numerics.py"
    original = ast.dump(ast.parse((source_mutants.ROOT / file).read_text()))
    chosen = source_mutants.sample(3, 12, [file])
    assert chosen == source_mutants.sample(3, 12, [file])
    assert len({mutant.function for mutant in chosen}) == len(chosen)
    for mutant in chosen:
        tree = mutant.tree()
        assert ast.dump(tree) != original, mutant
        compile(tree, file, "exec")
