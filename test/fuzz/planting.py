# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Bugs that are planted in passes and in circuits, to show that the fuzzers find them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from xdsl.dialects import hw
from xdsl.rewriter import Rewriter

from daqkf.formal.mutations import BUGS
from daqkf.hw_targets import numerics
from daqkf.lowering.conversions import dfke_to_rpea
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.rtl.array import build_array
from daqkf.passes import dfke_specialize_bitwidth, nn_merge, nn_outline, nn_raise
from daqkf.passes.quantize import integer_layers
from daqkf.runtime.simulator import Simulator
from fuzz.circuits import config_of

Change = Callable[[Callable[..., Any]], Callable[..., Any]]


def _offset(first: Callable[..., Any]) -> Callable[..., Any]:
    """An epsilon that is larger than the one in the network."""

    def planted(*args: Any) -> Any:
        found = first(*args)
        return None if found is None else found + 0.1

    return planted


def _negated_bias(first: Callable[..., Any]) -> Callable[..., Any]:
    def planted(*args: Any) -> Any:
        found = first(*args)
        return None if found is None else (found[0], -found[1])

    return planted


def _first_columns(first: Callable[..., Any]) -> Callable[..., Any]:
    return lambda rewriter, merged, layer, low: first(rewriter, merged, layer, 0)


def _halved(first: Callable[..., Any]) -> Callable[..., Any]:
    def planted(ratios: Any) -> Any:
        multipliers, shifts = first(ratios)
        return multipliers, np.minimum(shifts + 1, 47)

    return planted


def _narrower(first: Callable[..., Any]) -> Callable[..., Any]:
    return lambda value, width: first(value, max(width - 3, 8))


def _without_table(first: Callable[..., Any]) -> Callable[..., Any]:
    return lambda activation: numerics.IDENTITY


PASSES: Mapping[str, tuple[str, Any, str, Change]] = {
    "nn-raise": ("network", nn_raise, "_deviation", _offset),
    "nn-outline": ("network", nn_outline, "_bias", _negated_bias),
    "nn-merge": ("network", nn_merge, "_replace_by_slice", _first_columns),
    "spaq-quantize": ("kernel", integer_layers, "requantization", _halved),
    "dfke-specialize-bitwidth": ("integers", dfke_specialize_bitwidth, "_retype", _narrower),
    "lower-dfke-to-rpea": ("integers", dfke_to_rpea, "_table", _without_table),
}
"""Of each pass the kind of modules that show it, and the function that is changed, and how."""


def plant_in_pass(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Plant the bug of a pass; the kind of modules that are to show it."""
    kind, module, function, change = PASSES[name]
    monkeypatch.setattr(module, function, change(getattr(module, function)))
    return kind


UNITS: Mapping[str, tuple[str, str, int]] = {
    "daqkf_running_sum_lane": ("rows", "adds without carries", 0),
    "daqkf_post": ("rows", "the arms of a multiplexer swapped", 0),
    "daqkf_row_lane": ("rows", "the arms of a multiplexer swapped", 0),
    "daqkf_row_solver": ("rows", "adds without carries", 0),
    "daqkf_chain": ("rows", "the arms of a multiplexer swapped", 0),
    "daqkf_loader": ("rows", "the arms of a multiplexer swapped", 0),
}
"""Of each unit an array that has it, the kind of the bug, and at which of its places it is."""


def simulator_with(unit: str) -> tuple[str, Simulator]:
    """The simulator of an array with the bug of a unit, and the name of the array."""
    name, bug, place = UNITS[unit]
    config = config_of(name)
    circuit = circuit_module(build_array(config))
    rewrite, found = BUGS[bug], 0
    for module in circuit.ops:
        if not isinstance(module, hw.HWModuleOp) or module.sym_name.data != unit:
            continue
        for op in list(module.walk()):
            replacement = rewrite(op)
            if replacement is None:
                continue
            if found == place:
                Rewriter.replace_op(op, replacement)
                return name, Simulator.verilated(emit_verilog(circuit), config)
            found += 1
    raise ValueError(f"{unit} has no place {place} for '{bug}'")
