# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What an array says of itself while it runs: the values of its status ports."""

from enum import IntEnum


class Phase(IntEnum):
    """What the array is doing: its port `status_phase`."""

    EMPTY = 0
    LOADING_PROGRAM = 1
    READY = 2
    LOADING_ACTIVATIONS = 3
    RUNNING = 4
    STORING = 5
    CHAINING = 6
    """Results of a kernel become the activations of the next one."""
    ERROR = 7


ERROR_BITS = 4
"""Bits of the port `status_error`."""


class LoadError(IntEnum):
    """Why the array refused a program, or cannot read one: its port `status_error`."""

    NONE = 0
    MAGIC = 1
    VERSION = 2
    FINGERPRINT = 3
    COMMAND = 4
    LENGTH = 5
    """It ended before its header's length, or went on. Only seen by arrays of two banks."""
    CHECKSUM = 6
    """Its words are not those of its header's CRC-32. Only seen by arrays of two banks."""
    MEMORY = 7
    """External memory answered with an error. Only seen by arrays with memory ports, as are the
    two that follow."""
    TIMEOUT = 8
    """External memory did not answer."""
    STREAM = 9
    """The streams in external memory have no rows, end too early, or go on beyond their last
    beat."""
