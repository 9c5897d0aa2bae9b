# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What a compiled network consists of: the host's part, the kernels, and their programs."""

from dataclasses import dataclass
from functools import cached_property
from threading import Lock

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from daqkf.compiler.compiled import Compiled
from daqkf.compiler.options import NetworkOptions
from daqkf.compiler.stages import Stage, brought
from daqkf.dialects.interpreting import Lifetimes, entry
from daqkf.dialects.nn import LinearOp
from daqkf.dialects.plans import Plan
from daqkf.dialects.rpea import ArrayOp, RunOp
from daqkf.dialects.spaq.prepared import Prepared
from daqkf.hw_targets.config import ArrayConfig
from daqkf.passes.nn_product import input_names, output_names

_PLANNING = Lock()
"""Parts of a text run side by side, and nothing is to be prepared twice."""


class Kernels(dict[str, FuncOp]):
    """The functions of kernels by name; on a prompt, names and types."""

    def __repr__(self) -> str:
        rows = (f"{name}: {function.function_type}" for name, function in self.items())
        return "\n".join(rows)


@dataclass(frozen=True, eq=False, repr=False)
class LoweredNetwork(Compiled):
    """A network at two levels: as exact integers that define its results, and as programs."""

    network: ModuleOp
    """`main` in `nn`, and each kernel as exact integers in `spaq`: what defines the results."""
    arrays: ModuleOp
    """The array, its programs, and each kernel as the host calls them."""
    options: NetworkOptions
    """What it was compiled with; a folder keeps the target, and what kernels are made of."""

    @property
    def target(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The name of the target, or its .toml file."""
        return self.options.target

    @property
    def modules(self) -> tuple[ModuleOp, ...]:
        """The IR that tells a network from another one."""
        return self.network, self.arrays

    @cached_property
    def config(self) -> ArrayConfig:
        """Everything that shapes the circuit."""
        return next(op for op in self.arrays.ops if isinstance(op, ArrayOp)).config.data

    @property
    def inputs(self) -> list[str]:
        """The names of the network's inputs."""
        return input_names(entry(self.network))

    @property
    def outputs(self) -> list[str]:
        """The names of its outputs."""
        return output_names(entry(self.network))

    @cached_property
    def kernels(self) -> Kernels:
        """The kernels by name, in the order in which they run."""
        functions = {op.sym_name.data: op for op in self.arrays.ops if isinstance(op, FuncOp)}
        calls = [op for op in self.network.walk() if isinstance(op, LinearOp)]
        names = dict.fromkeys(op.callee.root_reference.data for op in calls)
        return Kernels((name, functions[name]) for name in names)

    @cached_property
    def stages(self) -> list[Stage]:
        """Every program, in the order in which they run."""
        return [
            Stage(name, op.target(), brought(op))
            for name, function in self.kernels.items()
            for op in function.walk()
            if isinstance(op, RunOp)
        ]

    @cached_property
    def prepared(self) -> Prepared:
        """What runs of the fast model have in common, for instance weights in floating point."""
        return Prepared(fuses=True)

    def plan(self, kernel: FuncOp) -> Plan:
        """How the fast model runs a kernel of `network`, made when it is first asked for."""
        with _PLANNING:
            if kernel not in self._plans:
                self._plans[kernel] = Plan(self.network, kernel, prepared=self.prepared)
            return self._plans[kernel]

    @cached_property
    def _plans(self) -> dict[FuncOp, Plan]:
        return {}

    @cached_property
    def lifetimes(self) -> Lifetimes:
        """Where runs of the fast model read their values last."""
        return Lifetimes()
