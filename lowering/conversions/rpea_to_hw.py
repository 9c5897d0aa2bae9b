# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`lower-rpea-to-hw`: an array → its circuit."""

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter
from xdsl.utils.exceptions import PassFailedException

from daqkf.dialects.rpea import ArrayOp
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.rtl.array import build_array
from daqkf.lowering.rtl.system import build_system


@dataclass(frozen=True)
class LowerRpeaToHwPass(ModulePass):
    """Replace the module by the circuit of its one `rpea.array`.

    What is left is hardware alone: `hw`, `comb`, `seq` and `sv`. Programs and functions are
    dropped, as they are data for the array and have their own way out
    (`daqkf-translate --to program`).

    - `system`: put the array into `daqkf_system`, which has AXI ports and registers.
    """

    name = "lower-rpea-to-hw"

    system: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        arrays = [array for array in op.ops if isinstance(array, ArrayOp)]
        if len(arrays) != 1:
            raise PassFailedException(
                f"{self.name}: expected one rpea.array in the module, not {len(arrays)}"
            )
        circuit = circuit_module(
            (build_system if self.system else build_array)(arrays[0].config.data)
        )
        for old in list(op.ops):
            Rewriter.erase_op(old, safe_erase=False)
        block = op.body.block
        for module in list(circuit.ops):
            module.detach()
            block.add_op(module)
