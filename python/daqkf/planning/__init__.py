# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Choose the engine that makes most of a device for a network."""

from daqkf.planning.plan import Plan
from daqkf.planning.search import OBJECTIVES, plan

__all__ = ["OBJECTIVES", "Plan", "plan"]
