# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Drivers of boards: in Python here, in C in `c/`.

`names.board` gives what a name stands for, a `device.Board` over one of the buses: `mapped.py`,
`pynq_overlay.py`, `litex.py`, or `simulated.py`.
"""
