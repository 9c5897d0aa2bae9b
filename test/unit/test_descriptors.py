# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Descriptors of a queue, and the machines and systems that can have one."""

from dataclasses import replace

import numpy as np
import pytest

from daqkf.hw_targets.config import smallest_array
from daqkf.hw_targets.descriptors import (
    DESCRIPTOR,
    DESCRIPTOR_BYTES,
    JobFlags,
    QueuedJob,
    pack_descriptors,
    unpack_descriptors,
)
from daqkf.hw_targets.image_format import fingerprint
from daqkf.hw_targets.target import load_target
from daqkf.lowering.rtl.registers import REGISTERS, constants, registers_of

MACHINE = replace(load_target("tiny").machine, memory_bits=64, banks=2)
JOBS = [
    QueuedJob(
        activations=64,
        activation_rows=3,
        results=128 << 30,
        result_rows=(1 << 28) - 1,
        program=(1 << 40) - 64,
        program_words=99,
        flags=JobFlags.INTERRUPT | JobFlags.INDEPENDENT,
    ),
    QueuedJob(activations=0, activation_rows=1, results=64, result_rows=0),
]


def test_descriptors_come_back():
    data = pack_descriptors(JOBS)
    assert len(data) == len(JOBS) * DESCRIPTOR_BYTES
    assert unpack_descriptors(data) == JOBS


def test_a_descriptor_is_what_the_document_says():
    words = np.frombuffer(pack_descriptors(JOBS[:1]), "<u4").tolist()
    low = (1 << 32) - 64
    assert words[:10] == [low, 255, 64, 0, 0, 32, 99, 3, (1 << 28) - 1, 3]
    assert words[10:] == [0] * 6
    # Each field is in one beat of the narrowest port.
    for name, place in DESCRIPTOR.offsets.items():
        assert place // 64 == (place + DESCRIPTOR.widths[name] - 1) // 64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"program": 32}, "program at 0x20; addresses are multiples of 64 below 2\\^40"),
        ({"results": 1 << 40}, "results at 0x10000000000"),
        ({"activations": -64}, "activations at -0x40"),
        ({"activation_rows": 0}, "activation_rows cannot be 0; it is at least 1"),
        ({"result_rows": 1 << 28}, "result_rows cannot be 268435456; .* below 2\\^28"),
        ({"program_words": -1}, "program_words cannot be -1"),
    ],
)
def test_jobs_that_cannot_be_are_named(changes: dict[str, int], message: str):
    with pytest.raises(ValueError, match=message):
        replace(JOBS[0], **changes)  # pyright: ignore[reportArgumentType]


def test_descriptors_that_cannot_be_are_named():
    data = pack_descriptors(JOBS)
    with pytest.raises(ValueError, match="127 bytes are no descriptors of 64"):
        unpack_descriptors(data[:-1])
    wrong = bytearray(data)
    wrong[DESCRIPTOR_BYTES + 4 * 9 + 3] = 1
    with pytest.raises(ValueError, match="descriptor 1 has bits in flags_reserved"):
        unpack_descriptors(bytes(wrong))


def test_a_queue_needs_memory_two_banks_and_whole_rows():
    assert replace(MACHINE, queue=True).queue
    for changes in ({"memory_bits": 0}, {"banks": 1}):
        with pytest.raises(ValueError, match="a queue needs a port to external memory"):
            replace(MACHINE, queue=True, **changes)
    with pytest.raises(ValueError, match="a power of two of bytes, not of 12 lanes"):
        replace(MACHINE, queue=True, lanes=12)


def test_an_image_is_for_arrays_with_and_without_a_queue():
    config = smallest_array(MACHINE, 40)
    assert fingerprint(config) == fingerprint(replace(config, queue=True))


def test_only_a_system_with_a_queue_has_its_registers():
    config = smallest_array(MACHINE, 40)
    queued = replace(config, queue=True)
    without, with_one = ({e.name: e for e in registers_of(c)} for c in (config, queued))
    assert with_one.keys() - without.keys() == {e.name for e in REGISTERS if e.queue}
    for name in ("interrupt_enable", "interrupt_status"):
        more = {f.name for f in with_one[name].fields} - {f.name for f in without[name].fields}
        assert more == {"queue_done", "queue_failed"}
    assert [constants(c)["capability_queue"] for c in (config, queued)] == [0, 1]
