# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`dfke-schedule`: share out a kernel's outputs over the elements of a target."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, DenseArrayBase, ModuleOp, i32, i64
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.utils.exceptions import PassFailedException

from daqkf.dialects.dense import from_array, to_array
from daqkf.dialects.dfke import KernelOp, MachineAttr, ScheduleAttr, TilesAttr
from daqkf.dialects.rpea import ArrayOp
from daqkf.hw_targets import UnknownTargetError, load_target
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.results import result_rows
from daqkf.hw_targets.semirings import Semiring
from daqkf.hw_targets.timing import tile_cycles
from daqkf.passes.diagnostics import fail
from daqkf.passes.encode.channels import share_out_channels
from daqkf.passes.encode.cost_model import Elements


def schedule(
    levels: NDArray[np.int8], machine: Machine, semiring: Semiring = Semiring.PLUS_TIMES
) -> ScheduleAttr:
    """Balance the output channels of levels [K, N] over the machine's PEs by their words.

    Raises:
        ValueError: the kernel does not fit the machine; the message names the limit.
    """
    found = _shared_out(levels, machine, semiring)
    if surplus := _beyond(levels, found):
        raise ValueError(surplus)
    return found


def too_large(shape: tuple[int, int], machine: Machine, wide: bool = False) -> str | None:
    """Which extent of weights [K, N] is too much for the machine, if they are not cut."""
    features, outputs = shape
    return _first_beyond(
        ("features", features, machine.most_features),
        (
            "rows of wide results" if wide else "outputs",
            result_rows(outputs, wide),
            machine.result_depth,
        ),
    )


def _beyond(levels: NDArray[np.int8], schedule: ScheduleAttr, wide: bool = False) -> str | None:
    """What of a kernel is too much for the machine."""
    machine, (features, channels) = schedule.machine.data, levels.shape
    return too_large((features, channels), machine, wide) or _first_beyond(
        ("outputs of a PE", int(to_array(schedule.counts).max()), machine.parameter_depth),
        ("stream words of a PE", int(to_array(schedule.words).max()), machine.stream_limit),
    )


def _first_beyond(*figures: tuple[str, int, int]) -> str | None:
    """The first figure (what it counts, its value, its limit) that is beyond its limit."""
    for what, value, limit in figures:
        if value > limit:
            return f"{value} {what}; the target holds at most {limit}"
    return None


def tiled_schedule(levels: NDArray[np.int8], machine: Machine, wide: bool = False) -> TilesAttr:
    """Cut levels [K, N] that are too large for the machine, and schedule the parts.

    As few parts of the features as there can be; then as few groups of outputs, all as large as
    one another but for a single one. Results that are `wide` take two rows each.

    Raises:
        ValueError: features that would need partial sums, of a machine without, or a single output
            that is too large.
    """
    features, channels = map(int, levels.shape)
    count = -(-features // machine.most_features)
    parts: list[NDArray[np.int64]] = np.array_split(np.arange(features), count)
    most = machine.result_depth // result_rows(1, wide)
    if len(parts) > 1:
        if not machine.partial_depth:
            raise ValueError(
                f"{features} features; the target holds at most {machine.most_features}, "
                "and no partial sums"
            )
        most = min(most, machine.partial_depth)
    groups = -(-channels // most)
    while True:
        split: list[NDArray[np.int64]] = np.array_split(np.arange(channels), groups)
        schedules: list[ScheduleAttr] = []
        problem = None
        for group in split:
            for part in parts:
                own = levels[np.ix_(part, group)]
                last = part is parts[-1]
                schedules.append(_shared_out(own, machine, Semiring.PLUS_TIMES, wide and last))
                problem = problem or _beyond(own, schedules[-1], wide)
        if problem is None:
            break
        if groups == channels:
            raise ValueError(problem)
        groups = min(2 * groups, channels)
    return TilesAttr(
        DenseArrayBase.from_list(i64, [len(part) for part in parts]),
        DenseArrayBase.from_list(i64, [len(group) for group in split]),
        ArrayAttr(schedules),
    )


def _shared_out(
    levels: NDArray[np.int8], machine: Machine, semiring: Semiring, wide: bool = False
) -> ScheduleAttr:
    shares, words = share_out_channels(levels, machine, semiring, wide)
    counts = np.array([len(share) for share in shares])
    return ScheduleAttr(
        MachineAttr(machine),
        from_array(np.concatenate(shares), i32),
        from_array(counts, i32),
        # A PE without outputs still plays one word, its end.
        from_array(np.maximum(words, 1), i32),
    )


def schedule_cycles(schedule: ScheduleAttr) -> int:
    """Cycles of a tile; see `timing.tile_cycles`."""
    outputs = schedule.outputs.get_shape()[0]
    return tile_cycles(to_array(schedule.words), outputs, schedule.machine.data)


@dataclass(frozen=True)
class DfkeSchedulePass(ModulePass):
    """Assign each kernel's output channels to the PEs of a target, in the order they run.

    - `target`: a target's name, or a .toml file.
    - `family`: of the elements, in place of the target's own; several take turns. `auto` picks
      one for all kernels by the cost model. If the module has an array already, elements are
      by default as its own.
    - `fabric`: at whose prices `auto` picks, by default xcup; and for which elements multiply,
      by default as the target says.
    - `index-bits`: of an item's row in a stream word, in place of the target's; 0 are whole
      addresses, and `auto` those that need the least block RAM at 5 % more cycles or less.

    The cost of a channel is the exact count of its stream words. Each PE gets as many, and
    runs long and short channels in turns, which the post unit keeps up with best. Fails where
    the kernel does not fit the target's memories, unless it may be cut.

    - `tile`: cut kernels that do not fit into parts, whose programs are loaded in turns. More
      features than the activation memories hold need a target that keeps partial sums.

    Wide results need a target with `wide_results`, and take two rows of results each.
    """

    name = "dfke-schedule"

    target: str = "generic"
    family: tuple[str, ...] | None = None
    fabric: str | None = None
    index_bits: int | str | None = None
    tile: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        try:
            machine = load_target(self.target).machine
            for array in (found for found in op.walk() if isinstance(found, ArrayOp)):
                machine = machine.with_elements_of(array.config.data)
            kernels = [found for found in op.walk() if isinstance(found, KernelOp)]
            every = [kernel.parts().weights.array() for kernel in kernels]
            elements = Elements(self.family, self.fabric, self.index_bits)
            machine = elements.on(machine, every)
        except UnknownTargetError as error:
            raise PassFailedException(f"{self.name}: {error}") from None
        except ValueError as error:
            raise PassFailedException(f"{self.name}: {error} ('{self.target}')") from None
        pattern = ScheduleKernel(machine, self.target, self.tile)
        PatternRewriteWalker(pattern, apply_recursively=False).rewrite_module(op)


@dataclass(frozen=True)
class ScheduleKernel(RewritePattern):
    """Give a kernel its schedule on a machine, or its tiles if it may be cut and has to be."""

    machine: Machine
    target: str
    tile: bool

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: KernelOp, rewriter: PatternRewriter) -> None:
        """Set `schedule` or `tiles`; a PassFailedException says why neither is possible."""
        body = op.parts()
        levels, semiring = body.weights.array(), body.matmul.semiring.data
        try:
            if op.wide and not self.machine.wide_results:
                raise ValueError("results of i16; the target gives i8 alone")
            found = _shared_out(levels, self.machine, semiring, op.wide)
            surplus = _beyond(levels, found, op.wide)
            plain = body.gather is None and body.residual is None
            if surplus and self.tile and plain and semiring is Semiring.PLUS_TIMES:
                op.tiles = tiled_schedule(levels, self.machine, op.wide)
            elif surplus:
                raise ValueError(surplus)
            else:
                op.schedule = found
        except ValueError as error:
            fail(op, DfkeSchedulePass.name, f"{error} ('{self.target}')")
        rewriter.notify_op_modified(op)
