# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What `dfke` operations compute: a kernel is its body, a dispatch one of its kernels,
a chain all of them in turn."""

from typing import Any

from xdsl.interpreter import (
    Interpreter,
    InterpreterFunctions,
    ReturnedValues,
    TerminatorValue,
    impl,
    impl_terminator,
    register_impls,
)

from daqkf.dialects.dfke.chaining import ChainOp, GatingOp, NormalizationOp
from daqkf.dialects.dfke.ops import DispatchOp, KernelOp
from daqkf.dialects.dfke.region import YieldOp

Values = tuple[Any, ...]


@register_impls
class DfkeFunctions(InterpreterFunctions):
    """Implementations of the `dfke` operations."""

    @impl(KernelOp)
    def kernel(self, interpreter: Interpreter, op: KernelOp, args: Values) -> Values:
        return interpreter.run_ssacfg_region(op.body, args, "kernel")

    @impl(NormalizationOp)
    def normalization(self, interpreter: Interpreter, op: NormalizationOp, args: Values) -> Values:
        return interpreter.run_ssacfg_region(op.body, args, "normalization")

    @impl(GatingOp)
    def gating(self, interpreter: Interpreter, op: GatingOp, args: Values) -> Values:
        return interpreter.run_ssacfg_region(op.body, args, "gating")

    @impl(ChainOp)
    def chain(self, interpreter: Interpreter, op: ChainOp, args: Values) -> Values:
        return interpreter.run_ssacfg_region(op.body, args, "chain")

    @impl(DispatchOp)
    def dispatch(self, interpreter: Interpreter, op: DispatchOp, args: Values) -> Values:
        results = interpreter.run_ssacfg_region(op.body, args, "dispatch")
        return (op.decision.data.select(args[0], results),)

    @impl_terminator(YieldOp)
    def run_yield(
        self, interpreter: Interpreter, op: YieldOp, args: Values
    ) -> tuple[TerminatorValue, Values]:
        return ReturnedValues(args), ()
