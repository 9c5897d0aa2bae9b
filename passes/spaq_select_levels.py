# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`spaq-select-levels`: look up the level set of every weight matrix."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from daqkf.dialects.spaq import LevelsAttr
from daqkf.hw_targets import load_target
from daqkf.passes.diagnostics import about, failing
from daqkf.passes.quantize.level_table import Decision, Features, load_table
from daqkf.passes.quantize.weights import LEVELS, float_products


def select_levels(
    weights: NDArray[Any], sqnr: float, target: str = "generic", table: str | None = None
) -> Decision:
    """The level set with the fewest predicted cycles that reaches `sqnr` dB on weights [K, N].

    `target` and `table` are as in the pass `spaq-select-levels`.

    Raises:
        ValueError: weights that are no finite matrix, an SQNR that no level set reaches, an
            unknown target, or a file that is no table.
    """
    machine = load_target(target).machine
    return load_table(table).decide(Features.of(weights), sqnr, machine.max_shift)


@dataclass(frozen=True)
class SpaqSelectLevelsPass(ModulePass):
    """State for every float product the level set that its weights are to have.

    It is looked up in a table of profiled weights, by the sparsity and the shape of the weights:
    the one with the fewest predicted cycles that reaches the accuracy asked for. Nothing is
    fitted. `spaq-quantize` then follows the statement, the attribute `spaq.levels`.

    - `sqnr`: the accuracy to reach, Σw² / Σ(w - q)² over each matrix, in dB.
    - `target`: a target's name, or a .toml file; its largest step of gaps shapes the cycles.
    - `table`: a file that `daqkf spaq-profile` wrote; by default the one that comes with DAQKF.
    """

    name = "spaq-select-levels"

    sqnr: float | int
    target: str = "generic"
    table: str | None = None

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        with failing(self.name):
            machine, table = load_target(self.target).machine, load_table(self.table)
            for matmul, constant in float_products(op):
                with about(matmul):
                    features = Features.of(constant.array())
                    found = table.decide(features, self.sqnr, machine.max_shift)
                matmul.attributes[LEVELS] = LevelsAttr(found.levels)
