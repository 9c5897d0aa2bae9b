# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The map of registers: it is sound, and everything made of it says the same."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daqkf.hw_targets.config import smallest_array
from daqkf.hw_targets.image_format import fingerprint
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.status import LoadError, Phase
from daqkf.lowering.rtl.register_map import c_header, markdown_table, python_constants
from daqkf.lowering.rtl.registers import (
    ADDRESS_BITS,
    REGISTER_BITS,
    REGISTER_BYTES,
    REGISTERS,
    Access,
    constants,
    register,
    registers_of,
    variants_of,
)
from daqkf.runtime import tools

ROOT = Path(__file__).parents[2]
MACHINE = Machine(
    pes=2,
    lanes=2,
    post_lanes=1,
    max_shift=1,
    activation_depth=256,
    stream_depth=256,
    parameter_depth=256,
    result_depth=256,
)
CONFIG = smallest_array(MACHINE, 100)


def test_addresses_and_bits_do_not_meet():
    addresses = [entry.address for entry in REGISTERS]
    assert addresses == sorted(set(addresses))
    assert all(address % REGISTER_BYTES == 0 for address in addresses)
    assert addresses[-1] + REGISTER_BYTES <= 1 << ADDRESS_BITS
    assert len({entry.name for entry in REGISTERS}) == len(REGISTERS)
    for entry in REGISTERS:
        taken = 0
        for field in entry.fields:
            assert field.mask < 1 << REGISTER_BITS
            assert not taken & field.mask, entry.name
            assert field.reset < 1 << field.width
            taken |= field.mask


def test_fields_hold_what_they_are_for():
    status = register("status")
    for name, values in (("phase", Phase), ("error", LoadError)):
        assert max(values) < 1 << status.field(name).width
    word = (Phase.ERROR << 0) | (LoadError.COMMAND << 4) | (5 << 8)
    assert [field.get(word) for field in status.fields] == [Phase.ERROR, LoadError.COMMAND, 5]
    assert not status.writable
    assert register("control").writable


def test_every_constant_of_an_array_fits():
    widths = {
        f"{entry.name}_{field.name}": field.width
        for entry in REGISTERS
        for field in entry.fields
        if field.access is Access.CONSTANT
    }
    values = constants(CONFIG)
    assert values.keys() == widths.keys()
    assert all(value < 1 << widths[name] for name, value in values.items())
    assert values["fingerprint_crc"] == fingerprint(CONFIG)


@pytest.mark.parametrize(("buckets", "count"), [(1, 0), (4, 4), (64, 16)])
def test_an_array_has_counters_for_the_variants_that_it_can_tell_apart(buckets: int, count: int):
    config = replace(CONFIG, buckets=buckets)
    assert variants_of(config) == count
    kept = registers_of(config)
    assert sum(entry.variant is not None for entry in kept) == count
    every = {entry.name for entry in REGISTERS if entry.variant is None and not entry.queue}
    assert every <= {entry.name for entry in kept}


def test_c_and_python_say_the_same(tmp_path: Path):
    scope: dict[str, Any] = {}
    exec(python_constants(), scope)
    names = {name: value for name, value in scope.items() if name.isupper()}
    assert names["CONTROL_OFFSET"] == register("control").address
    assert names["INTERRUPT_STATUS_X_TLAST_WRONG_MASK"] == 1 << 3
    assert names["STATUS_PHASE_ERROR"] == Phase.ERROR
    assert (names["DESCRIPTOR_RESULTS_OFFSET"], names["DESCRIPTOR_FLAGS_OFFSET"]) == (16, 36)
    assert names["DESCRIPTOR_FLAGS_INDEPENDENT"] == 2
    (tmp_path / "daqkf_registers.h").write_text(c_header())
    checks = "".join(
        f'static_assert(DAQKF_{name} == {value}u, "{name}");\n' for name, value in names.items()
    )
    source = tmp_path / "check.cpp"
    source.write_text(f'#include "daqkf_registers.h"\n#include "daqkf_registers.h"\n{checks}')
    command = [*tools.cxx_compiler(), "-std=c++17", "-Wall", "-Werror", "-fsyntax-only", source]
    run = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert len(re.findall("^#define DAQKF_", c_header(), re.MULTILINE)) == len(names) + 1


def test_the_document_has_the_table():
    text = (ROOT / "docs" / "registers.md").read_text()
    table = markdown_table()
    assert text.endswith(f"\n\n{table}"), (
        "docs/registers.md is not of this map: daqkf-translate --to register-table"
    )
    for entry in REGISTERS:
        assert f"| {entry.address:#05x} | `{entry.name}` |" in table
