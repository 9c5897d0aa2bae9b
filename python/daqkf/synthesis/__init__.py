# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Synthesis of generated circuits with yosys, placement with nextpnr, and counts of toggles."""

from daqkf.synthesis.placement import Placement
from daqkf.synthesis.resources import Resources, synthesize
from daqkf.synthesis.running import SynthesisError
from daqkf.synthesis.toggles import Toggles, toggles

__all__ = ["Placement", "Resources", "SynthesisError", "Toggles", "synthesize", "toggles"]
