# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Signals that travel along a pipeline."""

from daqkf.lowering.hdl.circuit import Circuit, Signal


def delayed(
    c: Circuit,
    signal: Signal,
    name: str,
    stages: int,
    *,
    enable: Signal | None = None,
    reset: int | None = None,
) -> Signal:
    """The signal so many stages later; the registers are `name1`, `name2`, …"""
    for stage in range(stages):
        signal = c.delay(signal, f"{name}{stage + 1}", enable=enable, reset=reset)
    return signal
