# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Fuzzers: of the readers of files, of the passes, and of the circuits.

`make fuzz MINUTES=10 SEED=1` runs all three. docs/verification.md says what they hold, and what
they have found.
"""
