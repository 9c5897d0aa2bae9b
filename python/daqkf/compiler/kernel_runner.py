# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How the kernels of a network run: on an accelerator, in the fast model, or on both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.func import FuncOp
from xdsl.irdl import IRDLOperation
from xdsl.utils.exceptions import DiagnosticException

from daqkf.compiler.lowered_network import LoweredNetwork
from daqkf.compiler.products import attention_image, product_image
from daqkf.compiler.queued_kernel import QueuedKernel
from daqkf.compiler.stages import Stage
from daqkf.dialects.interpreting import call, interpreter_of, require_arguments
from daqkf.dialects.nn import ProductOp
from daqkf.dialects.nn.attention import IntegerAttention, Operands
from daqkf.dialects.nn.base import node_name
from daqkf.dialects.nn.interpreter import integer_product
from daqkf.dialects.rpea import Runnable, RunOp
from daqkf.dialects.rpea.interpreter import RpeaFunctions
from daqkf.hw_targets import load_target
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.results import Results
from daqkf.lowering.conversions.separate_columns import SeparateColumns, separable
from daqkf.passes.progress import Progress
from daqkf.runtime.accelerators import Accelerator, QueueAccelerator
from daqkf.runtime.simulator import Job
from daqkf.support.errors import DaqkfError, describe


@dataclass(frozen=True)
class KernelRunner:
    """What stands in for `nn.linear`, `nn.product` and attention in int8 in a run."""

    compiled: LoweredNetwork
    device: Accelerator | None
    """What kernels run on; without one, all are computed by the fast model."""
    only: tuple[str, ...]
    """What the names of those begin with, one or the other, that run on the device."""
    check: bool
    """Whether their results are compared with those of the fast model."""
    progress: Progress
    ranked: str | None = None
    """A kernel whose largest results alone are wanted of the device, which finds them; all others
    are taken for -∞."""

    @cached_property
    def _columns(self) -> SeparateColumns | None:
        """What keeps the words of keys from one program to the next, where that can be."""
        config = self.compiled.config
        return SeparateColumns(config) if separable(config) else None

    def kernel(self, function: FuncOp, x: NDArray[Any], lengths: Sequence[int]) -> NDArray[Any]:
        """The results of a kernel for rows [T, K], of sequences of these lengths."""
        name = function.sym_name.data
        self.progress(name)
        on_device = self.device is not None and name.startswith(self.only)
        fast = None
        if not on_device or self.check:
            (fast,) = self._fast(function, x, lengths)
            if not on_device:
                return fast
        lowered = self.compiled.kernels[name]
        if name == self.ranked:
            y = self._largest(lowered, x)
            self._compare(name, y, None if fast is None else self._largest_of(fast))
            return y

        # All sequences at once: what is around the program does not know of them.
        if isinstance(self.device, QueueAccelerator):
            y = self._queued(lowered, x, lengths)
        else:
            (y,) = call(self.compiled.arrays, lowered, (x,), array=self._functions(lengths))
        self._compare(name, y, fast)
        return y

    def _fast(
        self, function: FuncOp, x: NDArray[Any], lengths: Sequence[int]
    ) -> tuple[NDArray[Any], ...]:
        """The results of the fast model."""
        if not lengths:
            return self.compiled.plan(function)(x)
        return call(
            self.compiled.network,
            function,
            (x,),
            sequences=lengths,
            prepared=self.compiled.prepared,
            lifetimes=self.compiled.lifetimes,
        )

    def _functions(self, lengths: Sequence[int]) -> RpeaFunctions:
        """How programs run on the device one by one."""

        def run(program: Runnable, x: NDArray[np.int8]) -> Results:
            assert self.device is not None
            return self._stage(program).run(self.device, x, lengths)

        return RpeaFunctions(run)

    def _queued(self, function: FuncOp, x: NDArray[Any], lengths: Sequence[int]) -> NDArray[Any]:
        """The results of a function whose programs run from a queue."""
        assert isinstance(self.device, QueueAccelerator)
        require_arguments(function, (x,))
        attends = any(
            self._stage(op.target()).attends for op in function.walk() if isinstance(op, RunOp)
        )
        kernel = QueuedKernel(
            interpreter_of(self.compiled.arrays),
            lambda op: self._stage(op.target()),
            self.device,
            self.compiled.config,
            lengths if attends else (),
        )
        return kernel.run(function, x)

    def _largest(self, function: FuncOp, x: NDArray[Any]) -> NDArray[Any]:
        """The results of a ranked kernel on the device, of which only the largest come."""
        found: list[NDArray[np.int64]] = []

        def run(program: Runnable, x: NDArray[np.int8]) -> Results:
            assert self.device is not None
            numbers, values = self._stage(program).largest(self.device, x)
            found.append(numbers)
            y = np.zeros((len(x), program.channels), np.int16)
            np.put_along_axis(y, numbers, values, axis=1)
            return y

        (y,) = call(self.compiled.arrays, function, (x,), array=RpeaFunctions(run))
        return _only(y, found[0])

    def _largest_of(self, y: NDArray[Any]) -> NDArray[Any]:
        """What the device would give of all results [T, N] of a ranked kernel."""
        most = self.compiled.config.top_k
        return _only(y, np.argsort(-y, axis=1, kind="stable")[:, :most])

    def _stage(self, program: Runnable) -> Stage:
        return next(stage for stage in self.compiled.stages if stage.program is program)

    def product(
        self, op: ProductOp, lhs: NDArray[np.int8], rhs: NDArray[np.int8]
    ) -> NDArray[np.int8]:
        """The product of two int8 matrices of the run."""
        return self._made(
            op,
            lhs,
            rhs.shape[1],
            lambda: integer_product(op, lhs, rhs),
            lambda machine: product_image(rhs, op.requantization(), self.compiled.config, machine),
        )

    def attention(
        self, op: IntegerAttention, queries: NDArray[np.int8], operands: Operands
    ) -> NDArray[np.int8]:
        """The attention of int8 queries to keys and values of the run."""
        return self._made(
            op,
            queries,
            queries.shape[1],
            lambda: op.integers(queries, operands),
            lambda machine: attention_image(
                op, operands, self.compiled.config, machine, self._columns
            ),
        )

    def _made(
        self,
        op: IRDLOperation,
        x: NDArray[np.int8],
        outputs: int,
        exact: Callable[[], NDArray[np.int8]],
        program: Callable[[Machine], bytes],
    ) -> NDArray[np.int8]:
        """The results of a program that is made at run time, for an operation of the network."""
        name = node_name(op).strip("'")
        self.progress(name)
        on_device = self.device is not None and name.startswith(self.only)
        fast = None
        if not on_device or self.check:
            fast = exact()
            if not on_device:
                return fast
        assert self.device is not None
        try:
            image = program(load_target(self.compiled.target).machine)
        except (DiagnosticException, ValueError) as error:
            raise DaqkfError(f"{name}: {describe(error)}") from None
        (y,) = self.device.run([Job(image, x, outputs)])
        self._compare(name, y, fast)
        return y.astype(np.int8, copy=False)

    def _compare(self, name: str, y: NDArray[Any], fast: NDArray[Any] | None) -> None:
        if fast is not None and not np.array_equal(y, fast):
            count = int((y != fast).sum())
            raise DaqkfError(f"{name}: {count} of {y.size} results differ from the fast model's")


def _only(y: NDArray[Any], numbers: NDArray[np.int64]) -> NDArray[Any]:
    """Some of the results [T, N], by their numbers [T, count]; the others are -∞."""
    found = np.full_like(y, -np.inf)
    np.put_along_axis(found, numbers, np.take_along_axis(y, numbers, axis=1), axis=1)
    return found
