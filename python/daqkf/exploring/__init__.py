# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Explore the designs of a layer or a network: which of them are best at several aims."""

from daqkf.exploring.front import OBJECTIVES
from daqkf.exploring.results import Exploration
from daqkf.exploring.search import explore
from daqkf.exploring.space import Point, Space

__all__ = ["OBJECTIVES", "Exploration", "Point", "Space", "explore"]
