# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What an array takes of a fabric, without synthesising it: one of elements with running sums, or
of elements that multiply in DSP blocks, two products in each.

Its memories are known to the bit, so their block RAM is computed, as is what those take that are
made of LUTs. The logic of each module is a sum
of terms, such as a number of bits that are added. What a bit takes is in a TOML file of `engines/`,
one for each fabric, which `benchmarks/engine_resources.py` fits to what yosys makes of circuits;
what only elements of another kind have (`KINDS`) is in a file of its own for each of these.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from daqkf.hw_targets.block_ram import mapped, ultra_rams
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.device import Needs
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.fan_out import BRANCHES, lane_groups, result_groups, tree_stages
from daqkf.hw_targets.fields import IMAGE_WORD_BITS
from daqkf.hw_targets.lut_ram import mapped_luts
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.hw_targets.streams import fifo_bits, gearbox_grains, is_coded, row_bits, slot_bits
from daqkf.hw_targets.words import (
    parameter_row,
    parameters_together,
    stream_word,
    table_row,
    table_rows,
    table_values,
)

_FOLDER = Path(__file__).parent / "engines"

_CHOSEN = 4
"""Signals of which a LUT of six inputs chooses one; multiplexers that come with the LUTs join some
of them. A LUT of four inputs chooses among half as many."""


_FIFO_LUTS = {"ecp5": 6 / 4, "xcup": 8 / 14}
"""LUTs that a bit of a FIFO takes, of 16 rows at least."""

DSP_BITS = 25
"""Bits of the wider factor of a DSP block: of a DSP48E1, as those of a DSP48E2 are more."""


class UnknownEngineError(ValueError):
    """Nothing says what such an array takes."""


@dataclass(frozen=True)
class Memory:
    """Memories of an array that are alike."""

    module: str
    """The module that has it; see `instances`."""
    number: int
    """In all modules together."""
    depth: int
    width: int
    ports: int = 1
    """That read."""
    style: str = "block"
    holds: str = ""
    """What is in them."""


KINDS = ("dsp", "ordered")
"""Elements other than those of running sums with whole addresses: such as multiply in DSP blocks,
and those of ordered sums, whatever their words have in place of addresses."""


def kind(config: ArrayConfig) -> str | None:
    """One of `KINDS`; None for running sums.

    Raises:
        UnknownEngineError: nothing says what such elements take.
    """
    families = set(config.families)
    if in_dsps(config) and not config.index_bits:
        return "dsp"
    if families == {"ordered_sum"}:
        return "ordered"
    if families != {"running_sum"} or config.index_bits:
        raise UnknownEngineError(
            "only arrays of ordered_sum elements, of running_sum elements with whole addresses, "
            "and of elements that multiply in DSP blocks are known"
        )
    # With `shared_words`, a lane of eight items takes a LUT more.
    return None


def in_dsps(config: ArrayConfig) -> bool:
    """Whether the elements multiply in DSP blocks, two products in each."""
    return config.families in (("dense",), ("multiply",)) and config.multiplier == "packed"


def _element(config: ArrayConfig) -> str:
    """The module of an element."""
    return f"{config.families[0]}_element" if in_dsps(config) else "element"


def _reads(config: ArrayConfig) -> int:
    """Rows of activations that an element reads in a cycle."""
    return len(FAMILIES[config.families[0]].word.addresses(config))


def _activations(config: ArrayConfig) -> list[Memory]:
    """The activation memories: those of each element, or the one of elements in step."""
    style = config.activation_memory
    if config.lockstep:
        return [
            Memory(
                *("lockstep", 1, config.activation_depth, config.row_bits),
                style=style,
                holds="activations",
            )
        ]
    reads = _reads(config)
    return [
        Memory(
            _element(config),
            config.pes * -(-reads // config.reads_together),
            config.activation_depth // config.features_together,
            ACTIVATION_BITS * len(lanes) * config.features_together,
            min(reads, config.reads_together),
            style,
            "activations",
        )
        for lanes in lane_groups(config, config.family(0))
    ]


def memories(config: ArrayConfig) -> list[Memory]:
    """The memories of an array of which the machine says what they are made of, and others that
    are block RAM."""
    groups = config.post_cycles
    streams = config.stream_depth * (1 if config.memory_bits else config.banks)
    pairs = parameters_together(config)
    slots = config.banks * config.parameter_depth * config.parameter_stride
    together = config.features_together
    rows = 2 * config.result_depth // together
    found = [
        Memory(
            *(_element(config), config.pes, streams, fifo_bits(config, 0)),
            style=config.stream_memory,
            holds="streams",
        ),
        *_activations(config),
        Memory("post", 1, slots // pairs, pairs * parameter_row(config).width, holds="parameters"),
        Memory(
            "post",
            config.post_lanes,
            config.banks * table_rows(config),
            table_row(config).width,
            style=config.table_memory,
            holds="activation functions",
        ),
        *(
            Memory("array", together, rows, len(bits), style=config.result_memory, holds="results")
            for bits in result_groups(config)
        ),
    ]
    if config.partial_depth:
        depth = config.partial_depth << (groups - 1).bit_length()
        width = config.sum_width * config.post_lanes
        found.append(
            Memory("post", 1, depth, width, style=config.partial_memory, holds="partial sums")
        )
    if config.residual_depth:
        found.append(Memory("post", 1, config.residual_depth, config.row_bits, holds="residuals"))
    return found


def instances(config: ArrayConfig) -> dict[str, int]:
    """How many of each module there are in an array."""
    return {
        "array": 1,
        "loader": 1,
        "chain": int(config.chains),
        "post": 1,
        _element(config): config.pes,
        "lockstep": int(config.lockstep),
        "packed_lanes": config.pes * config.lanes // 2 if in_dsps(config) else 0,
        "lane": 0 if in_dsps(config) else config.pes * config.lanes,
        "stream_reader": config.memory_ports if config.memory_bits else 0,
        "stream_decoder": config.pes * is_coded(config),
        "rows": int(config.has_rows),
        "row_solver": config.row_solvers * config.normalizes,
        # A unit that only gates has smaller lanes, which have not been measured.
        "row_lane": config.post_lanes if config.has_rows else 0,
    }


def terms(config: ArrayConfig) -> dict[str, dict[str, float]]:
    """What the logic of one instance of each module grows with."""
    post = config.post_lanes
    accumulators = config.accumulator_width * post
    port = config.pes // config.memory_ports
    beat, row = config.memory_bits, row_bits(config)
    return {
        "array": {
            "base": 1,
            "row": config.row_bits,
            "pes": config.pes,
            "chains": config.chains,
        },
        "loader": {
            "base": 1,
            "pes": config.pes,
            "parameters": parameter_row(config).width * parameters_together(config),
            "banks": config.banks,
            "beat": config.program_bits - IMAGE_WORD_BITS,
        },
        "chain": {"base": 1, "operation": sum((config.normalizes, config.gates, config.softmax))},
        "post": {
            "base": 1,
            "pes": config.parameter_stride if config.has_rows else config.pes,
            "chosen": accumulators * _multiplexers(config.pes),
            "lane": post,
            "lane_sum": post * config.sum_width * (not post_dsps(config)),
            "lane_dsp": post * config.sum_width * bool(post_dsps(config)),
            "lane_partial": post * bool(config.partial_depth),
            "lane_residual": post * bool(config.residual_depth),
            "kept": config.row_bits * bool(config.residual_depth),
            "row": config.row_bits,
            "parameters": parameter_row(config).width,
            "lane_rows": post * config.has_rows,
            "pairs": parameter_row(config).width * (parameters_together(config) - 1),
            "lane_table": post * (table_values(config) > 1),
        },
        **_element_terms(config),
        "stream_reader": {
            "base": 1,
            "held": beat + row if beat else 0,
            "row": row,
            "shifted": (beat + row) * gearbox_grains(config)[2].bit_length() if beat else 0,
            "pes": port,
            "checked": beat * is_coded(config),
        },
        "stream_decoder": {
            "base": 1,
            "slot": slot_bits(config) if is_coded(config) else 0,
            "address": config.address_width * config.items,
            "fifo": config.stream_depth.bit_length(),
        },
        **_row_terms(config),
    }


def _element_terms(config: ArrayConfig) -> dict[str, dict[str, float]]:
    """The same of the modules of elements."""
    accumulators = config.accumulator_width * config.post_lanes
    return {
        "packed_lanes": {"base": 1, "accumulator": config.accumulator_width},
        "lockstep": {"base": 1, "row": config.row_bits},
        _element(config): {
            "base": 1,
            "word": stream_word(config, 0).width,
            "read": ACTIVATION_BITS * _reads(config) * config.lanes,
            "fifo": config.address_width if config.memory_bits and not is_coded(config) else 0,
            "held": accumulators * _multiplexers(config.post_cycles),
            "addresses": config.address_width * _reads(config),
            "distances": config.address_width * config.items * bool(config.index_bits),
        },
        "lane": {
            "base": 1,
            "tree": _tree_bits(config.items),
            "running": config.running_sum_width,
            "accumulator": config.accumulator_width,
            "shift": config.accumulator_width * (config.shift_width > 0) * config.max_shift,
        },
    }


def _row_terms(config: ArrayConfig) -> dict[str, dict[str, float]]:
    """The same of the modules of the row unit."""
    return {
        "rows": {
            "base": 1,
            "row": config.row_bits,
            "softmax": config.softmax,
            "solvers": config.row_solvers - 1,
        },
        "row_solver": {"base": 1, "softmax": config.softmax},
        "row_lane": {
            "base": 1,
            "groups": config.post_cycles,
            "softmax": config.softmax,
            "gates": config.gates,
        },
    }


def post_dsps(config: ArrayConfig) -> int:
    """DSP blocks of a lane of the post unit, whose factors have up to `DSP_BITS`."""
    if config.post_multiplier != "dsp":
        return 0
    return 1 if config.sum_width <= DSP_BITS else 2


def _multiplexers(inputs: int, chosen: int = _CHOSEN) -> int:
    """LUTs for a bit that is chosen among so many."""
    return -(-inputs // chosen) if inputs > 1 else 0


def _tree_bits(items: int) -> int:
    """Bits that the adders between a lane's items have."""
    total, width = 0, ACTIVATION_BITS + 1
    while items > 1:
        items //= 2
        total += items * width
        width += 1
    return total


@cache
def _prices(family: str) -> Mapping[str, Any]:
    path = _FOLDER / f"{family}.toml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in _FOLDER.glob("*.toml")))
        raise UnknownEngineError(f"nothing says what arrays take of '{family}' (known: {known})")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def block_rams(config: ArrayConfig, family: str) -> tuple[int, int]:
    """Block RAMs of 18 kbit, and UltraRAMs, of an array."""
    whole, halves, ultra = family != "ecp5", 0, 0
    for memory in memories(config):
        if memory.style == "ultra":
            ultra += memory.number * ultra_rams(memory.depth, memory.width)
        elif memory.style == "block":
            found = mapped(memory.depth, memory.width, ports=memory.ports, whole=whole)
            halves += memory.number * found.halves
    return halves, ultra


def memory_luts(config: ArrayConfig) -> dict[str, Needs]:
    """LUTs and flip-flops of the memories that are made of LUTs, in one instance of each module.

    What a block RAM reads stays in it; what LUTs read goes to flip-flops.
    """
    found: dict[str, Needs] = {}
    for memory in memories(config):
        if memory.style == "distributed":
            assert memory.ports == 1
            each = mapped_luts(memory.depth, memory.width)
            one = Needs(each.luts, memory.width, 0, lut_rams=each.storing)
            of_each = config.pes if memory.module == _element(config) else 1
            number = memory.number // of_each
            found[memory.module] = found.get(memory.module, Needs(0, 0, 0)) + one * number
    return found


def chosen_bits(config: ArrayConfig, family: str) -> dict[str, float]:
    """LUTs that choose among blocks of deep memories, in one instance of each module."""
    found: dict[str, float] = {}
    for memory in memories(config):
        if memory.style == "block":
            whole = family != "ecp5"
            deep = mapped(memory.depth, memory.width, ports=memory.ports, whole=whole).deep
            each = _multiplexers(deep, _CHOSEN if whole else _CHOSEN // 2)
            bits = memory.number * memory.ports * memory.width * each
            own = bits / (config.pes if memory.module == _element(config) else 1)
            found[memory.module] = found.get(memory.module, 0) + own
    return found


_ENTRY = {"luts": 91, "flip_flops": 37}
"""What an entry of the largest results takes for each post lane, as yosys makes it of UltraScale+
for numbers of 13 bits (docs/hardware-interface.md)."""

_CHOSEN_LUTS = {1: 0, 2: 1, 4: 1, 8: 3}
"""LUTs for a bit that is chosen from a row of so many features, as yosys makes them."""


def _chosen_features(config: ArrayConfig) -> dict[str, int]:
    """What an element takes to choose features from rows of several: the row behind the memory has
    a register, and the feature's place goes along."""
    together, bits = config.features_together, ACTIVATION_BITS * config.lanes
    place = config.place_width
    return {
        "luts": _reads(config) * bits * _CHOSEN_LUTS[together],
        "flip_flops": _reads(config) * (bits * together + place) if place else 0,
    }


def tree_bits(config: ArrayConfig) -> int:
    """Flip-flops of an element that are the tree to its lanes."""
    groups = lane_groups(config, config.family(0))
    if len(groups) == 1:
        return 0
    # Addresses of items and the write port; what a lane is told, and when the post unit takes it.
    addresses = (config.items + 1) * config.address_width + 1
    signs = config.items if kind(config) == "ordered" else config.items // 2
    control = 6 + signs + config.shift_width
    told = _copies(len(groups)) * (addresses + control) + len(groups) * config.post_cycles
    # The row that is written, those that are read; and what a group has chosen for the post unit.
    row = config.row_bits * (tree_stages(config) + _reads(config))
    chosen = sum(min(len(lanes), config.post_lanes) for lanes in groups)
    return told + row + chosen * config.accumulator_width


def _copies(leaves: int) -> int:
    """Registers of a tree of so many leaves, for each signal."""
    found = 0
    while leaves > 1:
        found, leaves = found + leaves, -(-leaves // BRANCHES)
    return found


def _result_tree(config: ArrayConfig, family: str) -> dict[str, float]:
    """What the tree to the result memory takes, with the FIFOs behind it."""
    if not tree_stages(config):
        return {"luts": 0, "flip_flops": 0}
    groups = result_groups(config)
    row = groups[-1].stop
    # Two addresses with their enables, and what goes to the FIFO; its pointers; three registers for
    # each bit of a row, and what chooses the row of activations.
    told = 2 * (2 * config.result_depth - 1).bit_length() + 3
    return {
        "luts": row * _FIFO_LUTS["ecp5" if family == "ecp5" else "xcup"] + 14 * len(groups),
        "flip_flops": row * (tree_stages(config) + 2)
        + _copies(len(groups)) * told
        + 11 * len(groups),
    }


def engine_needs(config: ArrayConfig, family: str) -> Needs:
    """What an array takes of a family of fabrics.

    Raises:
        UnknownEngineError: elements, a fabric, or units of which nothing says what they take.
    """
    return logic_needs(config, family) + memory_needs(config, family)


def memory_needs(config: ArrayConfig, family: str) -> Needs:
    """What the memories of an array take, with the LUTs that choose among blocks of deep ones.

    Raises:
        UnknownEngineError: memories of LUTs, of a family of which nothing says what they take.
    """
    numbers = instances(config)
    total = Needs(0, 0, 0)
    for module, needs in memory_luts(config).items():
        if family == "ecp5":
            raise UnknownEngineError(f"nothing says what memories take that are LUTs of '{family}'")
        total += needs * numbers[module]
    choosing = sum(
        bits * (config.pes if module == _element(config) else 1)
        for module, bits in chosen_bits(config, family).items()
    )
    halves, ultra = block_rams(config, family)
    return total + Needs(round(choosing), 0, halves, ultra)


def module_logic(config: ArrayConfig, family: str) -> dict[str, dict[str, float]]:
    """The `luts` and `flip_flops` of all instances of each module together, beside its memories.

    Trees that are shared out over modules, of results for instance, are in none of them.

    Raises:
        UnknownEngineError: elements or a fabric of which nothing says what they take.
    """
    elements = kind(config)
    common = _prices(family)
    prices = _prices(f"{family}-{elements}") if elements else common
    numbers = instances(config)
    found: dict[str, dict[str, float]] = {}
    for module, values in terms(config).items():
        found[module] = {}
        for resource in ("luts", "flip_flops"):
            known = (common[resource] | prices[resource]).get(module, {})
            one = sum(known.get(term, 0) * value for term, value in values.items())
            found[module][resource] = numbers[module] * one
    return found


@lru_cache(maxsize=1 << 14)
def logic_needs(config: ArrayConfig, family: str) -> Needs:
    """What an array takes beside its memories, whatever these are made of.

    Raises:
        UnknownEngineError: as `engine_needs`.
    """
    kind(config)
    if config.operand_depth or config.dispatches:
        raise UnknownEngineError("arrays with operand memories or variants are not known")
    if post_dsps(config) and "lane_dsp" not in _prices(family)["luts"]["post"]:
        raise UnknownEngineError(f"post units with DSP blocks are not known for '{family}'")
    totals = {"luts": 0.0, "flip_flops": 0.0}
    for takes in module_logic(config, family).values():
        for resource in totals:
            totals[resource] += takes[resource]
    totals["flip_flops"] += config.pes * tree_bits(config)
    for resource, takes in _result_tree(config, family).items():
        totals[resource] += takes
    for resource, takes in _chosen_features(config).items():
        totals[resource] += config.pes * takes
    for resource, takes in _ENTRY.items():
        totals[resource] += config.top_k * config.post_lanes * takes
    return Needs(
        luts=round(totals["luts"]),
        flip_flops=round(totals["flip_flops"]),
        block_rams_18k=0,
        dsps=instances(config)["packed_lanes"] + config.post_lanes * post_dsps(config),
    )
