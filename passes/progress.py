# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How long work says what it is doing; `daqkf.support.console.showing` shows it."""

from collections.abc import Callable

Progress = Callable[[str], None]
"""Told of each step by its name."""
