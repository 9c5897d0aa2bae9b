# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`rpea-validate`: check every word of the streams of programs."""

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from daqkf.dialects.rpea import ProgramOp
from daqkf.passes.diagnostics import failing_at


@dataclass(frozen=True)
class RpeaValidatePass(ModulePass):
    """Check that an array plays every `rpea.program` rightly, word by word; change nothing.

    No word reads a feature that is not there, or is gated where there are no operands; exactly the
    final word of each stream has its end, and each stream completes as many outputs as its element
    has. The verifier leaves this out, as it takes time in proportion to the weights;
    `daqkf-translate` does it of what it reads.
    """

    name = "rpea-validate"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for program in op.walk():
            if isinstance(program, ProgramOp):
                with failing_at(program, self.name):
                    program.verify_streams()
