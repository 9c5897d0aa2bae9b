# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Compile for the engine that a plan found, in place of the array that it was planned with."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.design import Design
from daqkf.compiler.network import retargeted
from daqkf.hw_targets import load_target
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.target import derived_name
from daqkf.passes.progress import Progress, silent
from daqkf.planning.plan import Plan
from daqkf.planning.search import CLOCK, THROUGHPUT, TOKENS, USE, checked, plan
from daqkf.support.errors import DaqkfError

TARGET = "wide-memory"
"""What is compiled first, for a plan that chooses the organisation itself."""

_ROOM = 2
"""Programs are compiled for this many times the stream memory that was planned, as the compiler
does not share outputs out as the plan does; an array gets what its programs need."""


@dataclass(frozen=True)
class Wish:
    """The device that something is compiled for, and what it should do there; see `plan`."""

    device: str
    memory: str | None = None
    tokens: int = TOKENS
    clock: float = CLOCK
    objective: str = THROUGHPUT
    use: float = USE

    def check(self) -> None:
        """Refuse what cannot be planned for before any work.

        Raises:
            DaqkfError: as `plan`.
        """
        checked(self.device, self.memory, self.tokens, self.clock, self.objective, self.use)

    def plan(self, compiled: CompiledNetwork | Design) -> Plan:
        """The best engines for what was compiled.

        Raises:
            DaqkfError: as `daqkf.planning.plan`.
        """
        return plan(
            compiled,
            self.device,
            self.memory,
            tokens=self.tokens,
            clock=self.clock,
            objective=self.objective,
            use=self.use,
        )


def wish(
    named: Mapping[str, Any],
    device: str | None,
    memory: str | None = None,
    tokens: int | None = None,
    objective: str | None = None,
    clock: float | None = None,
) -> Wish | None:
    """What the options of a compilation say of a device, checked; None if there is none.

    Args:
        named: the options of a layer or network by name.
        device: see `Wish`, as are the others; None for what it has by default.
        memory: only with a device, as are the others.
        tokens: in flight.
        objective: one of `OBJECTIVES`.
        clock: in Hz.

    Raises:
        DaqkfError: a memory or tokens without a device, what no engine has, or as `Wish.check`.
    """
    if device is None:
        for what, value in (("memory", memory), ("tokens", tokens)):
            if value is not None:
                raise DaqkfError(f"{what} is what a device is planned with: it needs a device")
        return None
    if isinstance(named.get("target"), Design):
        raise DaqkfError("a design has its array: give it as the target, or a device, not both")
    if named.get("index_bits"):
        raise DaqkfError("the engines of a device have whole addresses: no index_bits with it")
    if named.get("family") not in (None, "running_sum"):
        raise DaqkfError(
            f"the engines of a device have running_sum elements, not {named['family']}"
        )
    found = Wish(
        device,
        memory,
        TOKENS if tokens is None else tokens,
        CLOCK if clock is None else clock,
        objective or THROUGHPUT,
    )
    found.check()
    return found


def target_of(found: Plan, compiled: CompiledNetwork | Design) -> str:
    """The name of the target whose array is an engine of a plan.

    Args:
        found: the plan.
        compiled: what was planned for.
    """
    base = load_target(compiled.target).machine
    own, engine = compiled.config, found.config
    changed: dict[str, Any] = {
        entry.name: getattr(engine, entry.name)
        for entry in fields(Machine)
        # The depths of a target are limits, and those of a config what its programs need.
        if not entry.name.endswith("_depth")
        and getattr(engine, entry.name) != getattr(own, entry.name)
    }
    streams = engine.stream_depth
    if not engine.memory_bits:
        streams *= _ROOM
    machine = replace(base, **changed, stream_depth=streams, operand_depth=0)
    return derived_name(compiled.target, machine)


def fitted(found: Plan, compiled: CompiledNetwork, progress: Progress = silent) -> CompiledNetwork:
    """A compiled network on an engine of a plan: the same integers, other programs.

    Raises:
        DaqkfError: a program does not fit the engine.
    """
    return retargeted(compiled, target_of(found, compiled), progress)
