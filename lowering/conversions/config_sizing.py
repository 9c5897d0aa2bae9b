# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The smallest array that scheduled kernels fit."""

from collections.abc import Sequence
from dataclasses import asdict, replace

from daqkf.dialects.dense import to_array
from daqkf.dialects.dfke import (
    ChainOp,
    DispatchOp,
    GatingOp,
    KernelOp,
    RowOperation,
    ScheduleAttr,
    TilesAttr,
)
from daqkf.dialects.dfke.chaining import Attention, program_count
from daqkf.dialects.spaq import AttendOp, NormalizeOp
from daqkf.dialects.spaq.checks import features, width
from daqkf.hw_targets import numerics
from daqkf.hw_targets.config import MAX_KERNELS, ArrayConfig, activation_rows, memory_depth
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.machine import ORGANISATION, Machine
from daqkf.hw_targets.multiplication import PRODUCT_BITS
from daqkf.hw_targets.numerics import NORMALIZED_BITS
from daqkf.hw_targets.results import result_rows, top_k_rows
from daqkf.hw_targets.semirings import Semiring
from daqkf.passes.encode.operands import Need, attention_need

Fused = KernelOp | DispatchOp | ChainOp
"""What a program is made of."""


def required_config(kernel: Fused) -> ArrayConfig:
    """The smallest array of the schedule's machine that runs this kernel, or all of them.

    Memories are rounded up to powers of two: they are made of blocks of such sizes anyway,
    and other kernels may then fit the same array.

    Raises:
        ValueError: a kernel has no schedule or no widths yet, or several do not fit the
            machine together.
    """
    if isinstance(kernel, DispatchOp):
        return _required_for_variants(kernel)
    if isinstance(kernel, ChainOp):
        return _required_for_chain(kernel)
    if kernel.tiles is not None:
        return _required_for_tiles(kernel, kernel.tiles)
    if kernel.schedule is None:
        raise ValueError("a kernel has no schedule; run dfke-schedule first")
    return _required_for(kernel, kernel.schedule, features(kernel.input))


def _required_for_chain(chain: ChainOp) -> ArrayConfig:
    """The smallest array for a chain of kernels, and for what the row unit does between them."""
    parts, kernels = chain.parts(), chain.kernels()
    count = program_count(parts)
    if count > MAX_KERNELS:
        raise ValueError(f"a chain of {count} kernels; arrays chain {MAX_KERNELS}")
    rows = [part for part in parts if isinstance(part, RowOperation)]
    outputs = [features(row.result) for row in rows]
    attention = Attention.of(parts)
    if attention is not None:
        config = attending_config(kernels, attention.attend, count, outputs)
    else:
        config = _chained(kernels, count, outputs)
    added = [features(part.result) for part in kernels if part.kept is not None]
    reaches = [row.parts().reach or 0 for row in rows]
    sums = [width(row.parts().requantize.input) for row in rows]
    sums = [bits + reach for bits, reach in zip(sums, reaches, strict=True)]
    norms = [first for row in rows if isinstance(first := row.parts().first, NormalizeOp)]
    return replace(
        config,
        result_depth=memory_depth(max([config.result_depth, *outputs])),
        sum_width=max([config.sum_width, *sums]),
        residual_depth=memory_depth(max(added)) if added else 0,
        normalizes=config.softmax or bool(norms),
        rms_norms=any(norm.rms is not None for norm in norms),
        epsilon_width=max((norm.added.bit_length() for norm in norms), default=0),
        gates=any(isinstance(row, GatingOp) for row in rows),
        row_exponents=max(reaches, default=0),
    )


def attending_config(
    kernels: Sequence[KernelOp], attend: AttendOp, count: int, rows: Sequence[int]
) -> ArrayConfig:
    """The smallest array for a chain with an attention; see `_chained`.

    Raises:
        ValueError: the target does not hold it.
    """
    schedule = kernels[0].schedule
    if schedule is None:
        raise ValueError("a kernel has no schedule; run dfke-schedule first")
    machine = schedule.machine.data
    need = attention_need(attend, machine)
    for name, value in (
        ("operand_depth", need.operands),
        ("result_depth", need.scores),
        ("activation_depth", need.scores + 1),
    ):
        limit = getattr(machine, name)
        if value > limit:
            raise ValueError(
                f"attention of {attend.tokens.value.data} tokens takes {name} = {value}; the "
                f"target holds {limit}"
            )
    config = _chained(kernels, count, rows, need)
    return replace(
        config,
        operand_depth=memory_depth(need.operands),
        result_depth=max(config.result_depth, memory_depth(need.scores)),
        activation_depth=max(config.activation_depth, memory_depth(need.scores + 1)),
        running_sum_width=max(config.running_sum_width, need.width),
        accumulator_width=max(config.accumulator_width, need.width),
        sum_width=max(config.sum_width, need.width),
        normalizes=True,
        softmax=True,
    )


def softmax_chain_config(
    kernels: Sequence[KernelOp], scores: int, causal: bool = False
) -> ArrayConfig:
    """The smallest array for scheduled kernels with a softmax of so many scores between them.

    Raises:
        ValueError: they do not fit the machine together.
    """
    config = _chained(kernels, len(kernels) + 1, [2 * scores])
    return replace(config, normalizes=True, softmax=True, causal=causal)


def _chained(
    kernels: Sequence[KernelOp], count: int, rows: Sequence[int], more: Need | None = None
) -> ArrayConfig:
    """The smallest array for a chain of `count` kernels.

    Some are the row unit's: `rows` has their numbers of outputs.
    """
    config = _required_for_all(kernels, "kernels", rows, more)
    accumulator = max(config.accumulator_width, NORMALIZED_BITS if rows or more else 0)
    return replace(
        config,
        kernels=memory_depth(count),
        accumulator_width=accumulator,
        sum_width=max(config.sum_width, accumulator),
    )


def _required_for_tiles(kernel: KernelOp, tiles: TilesAttr) -> ArrayConfig:
    """The smallest array for the largest part of a kernel, with room for its partial sums."""
    largest = max(tiles.parts())
    config = shared_config(
        [_required_for(kernel, schedule, largest) for schedule in tiles.schedules]
    )
    partial = memory_depth(max(tiles.groups())) if len(tiles.parts()) > 1 else 0
    if partial:
        # As many tiles go through a program before the next one as there is room for.
        partial = max(partial, tiles.machine.data.partial_depth)
    return replace(config, partial_depth=partial)


def _required_for(kernel: KernelOp, schedule: ScheduleAttr, inputs: int) -> ArrayConfig:
    """The smallest array for one schedule of so many features."""
    if kernel.running_sum is None:
        raise ValueError("a kernel's sums have no widths; run dfke-specialize-bitwidth first")
    machine = schedule.machine.data
    body = kernel.parts()
    widths = width(body.matmul.result), width(body.requantize.input)
    if any(FAMILIES[name].modular for name in machine.families):
        # No sum is narrower than its terms.
        widths = (max(widths[1], PRODUCT_BITS),) * 2
    elif body.matmul.semiring.data is Semiring.PLUS_TIMES:
        # The bias takes away what streams have too much, from sums that must not have wrapped.
        accumulated = numerics.streamed_bound(body.weights.array()).max(initial=0)
        accumulator = max(widths[0], numerics.width_for(int(accumulated)))
        widths = accumulator, max(widths[1], accumulator)
    rows = result_rows(schedule.outputs.get_shape()[0], kernel.wide)
    top_k = machine.top_k if kernel.wide else 0
    # A memory for each row of a beat has two rows or more.
    rows = max(rows, top_k_rows(top_k), 2 * machine.features_together)
    return ArrayConfig(
        **{name: getattr(machine, name) for name in ORGANISATION},
        activation_depth=activation_rows(inputs, machine),
        stream_depth=_stream_depth(machine, int(to_array(schedule.words).max())),
        parameter_depth=memory_depth(int(to_array(schedule.counts).max())),
        result_depth=memory_depth(rows),
        running_sum_width=kernel.running_sum.width.data,
        accumulator_width=widths[0],
        sum_width=widths[1],
        banks=machine.banks,
        queue=machine.queue,
        wide_results=kernel.wide,
        top_k=top_k,
    )


def _stream_depth(machine: Machine, words: int) -> int:
    """Rows of the stream memories for so many words, or of the FIFOs that the machine has."""
    return machine.stream_depth if machine.memory_bits else memory_depth(words)


def _required_for_variants(dispatch: DispatchOp) -> ArrayConfig:
    """The smallest array for the variants of a dispatch and its table."""
    decision = dispatch.decision.data
    config = _required_for_all(dispatch.variants(), "variants")
    if decision.lanes != config.lanes:
        raise ValueError(
            f"a dispatch over tiles of {decision.lanes} tokens is scheduled for "
            f"{config.lanes} lanes"
        )
    return replace(config, buckets=len(decision.table))


def _required_for_all(
    kernels: Sequence[KernelOp],
    plural: str,
    rows: Sequence[int] = (),
    more: Need | None = None,
) -> ArrayConfig:
    """The smallest array for kernels that stand one after another in its memories.

    `rows` has the numbers of outputs of the row unit's kernels among them, and `more` is what an
    attention needs.
    """
    config = shared_config([required_config(kernel) for kernel in kernels])
    schedules = [kernel.schedule for kernel in kernels if kernel.schedule is not None]
    machine = schedules[0].machine.data
    depths: dict[str, int] = {}
    words, slots = (more.words, more.slots) if more else (0, 0)
    slots += sum(config.slots(count) for count in rows)
    for name, what, limit, extra, parts in (
        ("stream_depth", "stream words", machine.stream_limit, words, [s.words for s in schedules]),
        (
            "parameter_depth",
            "outputs",
            machine.parameter_depth,
            slots,
            [s.counts for s in schedules],
        ),
    ):
        depth = extra + sum(int(to_array(part).max()) for part in parts)
        if depth > limit:
            raise ValueError(
                f"{depth} {what} of a PE in {len(kernels)} {plural}; the target holds at most "
                f"{limit}"
            )
        depths[name] = memory_depth(depth)
    return replace(
        config, **depths | {"stream_depth": _stream_depth(machine, depths["stream_depth"])}
    )


def shared_config(configs: Sequence[ArrayConfig]) -> ArrayConfig:
    """The smallest array that each of these configs' kernels fits.

    Raises:
        ValueError: the kernels are scheduled for machines of different organisation.
    """
    largest = {
        name: max(getattr(config, name) for config in configs) for name in asdict(configs[0])
    }
    config = ArrayConfig(**largest)
    for other in configs:
        _require_organisation(config, other)
        if other.row_exponents not in (0, config.row_exponents):
            raise ValueError(
                f"rows of kernels share exponents of {other.row_exponents} and of "
                f"{config.row_exponents} bits, and those of an array have one reach"
            )
    return config


def _require_organisation(array: ArrayConfig, kernel: ArrayConfig) -> None:
    for name in ORGANISATION:
        if getattr(array, name) != getattr(kernel, name):
            raise ValueError(
                f"a kernel scheduled for {name} = {getattr(kernel, name)} cannot run on an array "
                f"of {name} = {getattr(array, name)}"
            )


def require_fit(array: ArrayConfig, kernel: ArrayConfig) -> None:
    """Check that a kernel that needs `kernel` runs on `array`.

    Raises:
        ValueError: another organisation, a memory too small, or a sum too narrow.
    """
    _require_organisation(array, kernel)
    if kernel.row_exponents not in (0, array.row_exponents):
        raise ValueError(
            f"rows share exponents of a reach of {kernel.row_exponents} bits; those of the array "
            f"have {array.row_exponents}"
        )
    for name in (field for field in asdict(array) if field not in ORGANISATION):
        if getattr(kernel, name) > getattr(array, name):
            raise ValueError(
                f"a kernel needs {name} = {getattr(kernel, name)}, but the array has "
                f"{getattr(array, name)}"
            )
