# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What streams take in external memory, by the form in which they lie there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets import load_target
from daqkf.hw_targets.config import smallest_array
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.streams import kernel_beats, memory_rows
from daqkf.lowering.conversions.streams import pack_streams
from daqkf.passes.encode.channels import share_out_channels

TARGET = "wide-coded"
DEPTH = 2048
"""Rows of the activation memories, enough for MiniLM and SmolLM2."""

FORMS: Mapping[str, Mapping[str, Any]] = {
    "whole addresses": {"families": ("running_sum",), "stream_code": "plain"},
    "distances of 8 bits": {"stream_code": "plain", "index_bits": 8},
    "varint": {},
}
"""What each form of streams has in place of what the target has."""


@dataclass(frozen=True)
class StreamSize:
    """What streams take in memory."""

    bits: int
    """Of all of it: rows, padding, headers and ends."""
    words: int
    """Of the longest stream of each kernel."""


def machines() -> dict[str, Machine]:
    """The machine of each form."""
    base = replace(load_target(TARGET).machine, activation_depth=DEPTH, residual_depth=0)
    return {name: replace(base, **changes) for name, changes in FORMS.items()}


def stream_size(levels: NDArray[np.int8], machine: Machine) -> StreamSize:
    """The streams of levels [K, N] on a machine."""
    config = smallest_array(machine, DEPTH - 1)
    shares, _ = share_out_channels(levels, machine)
    own = [share.astype(np.int32) for share in shares]
    packed, lengths, _ = pack_streams(levels, own, config)
    beats = kernel_beats(config, memory_rows(packed, lengths.tolist(), config))
    return StreamSize(beats * config.memory_bits * config.memory_ports, int(lengths.max()))
