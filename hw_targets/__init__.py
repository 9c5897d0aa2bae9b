# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Facts about devices and arrays, as data."""

from daqkf.hw_targets.target import Target, UnknownTargetError, load_target, target_names

__all__ = ["Target", "UnknownTargetError", "load_target", "target_names"]
