# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Facts about devices and arrays, as data."""

from daqkf.hw_targets.fabric import Counts, Fabric, UnknownFabricError, fabric_names, load_fabric
from daqkf.hw_targets.target import Target, UnknownTargetError, load_target, target_names

__all__ = [
    "Counts",
    "Fabric",
    "Target",
    "UnknownFabricError",
    "UnknownTargetError",
    "fabric_names",
    "load_fabric",
    "load_target",
    "target_names",
]
