# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Fit what engines take of a fabric to what yosys makes of them, and check the fit.

    python benchmarks/engine_resources.py [--fabric xcup] [--ordered] [--write]
    python benchmarks/engine_resources.py [--fabric xcup] --check [--modules]
    python benchmarks/engine_resources.py --memories

Arrays of several shapes are synthesised with their hierarchy, so that each module is counted by
itself; lanes of more kinds are synthesised alone. The counts of a module are fitted by the terms of
`hw_targets.engine.terms`, none of which takes less than nothing (Lawson and Hanson), with the
relative errors of all samples weighted alike. `--write` writes the table to `hw_targets/engines`.
Of ordered sums (`--ordered`), only the modules are synthesised that other arrays do not have.

`--check` synthesises engines as a whole, flattened, and compares them with what is predicted; with
`--modules` they keep their hierarchy, which is faster. The largest has 256 lanes. Runs are cached.

`--memories` compares memories of LUTs with what is predicted of them, and prints what an engine
takes for each block RAM that they spare.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from engine_clock import ENGINE
from scipy.optimize import nnls

from daqkf.hw_targets import load_fabric
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.device import Needs
from daqkf.hw_targets.engine import block_rams, chosen_bits, engine_needs, instances, terms
from daqkf.hw_targets.fabric import Fabric
from daqkf.hw_targets.lut_ram import mapped_luts
from daqkf.hw_targets.machine import RAM_CHOICES
from daqkf.lowering.hdl.circuit import Circuit, circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.lowering.rtl.element import build_element
from daqkf.lowering.rtl.families import ordered_sum, running_sum
from daqkf.lowering.rtl.stream_reader import build_stream_reader
from daqkf.planning.search import INTO_LUTS
from daqkf.synthesis.resources import netlist

CONFIG = ArrayConfig(
    pes=4,
    lanes=8,
    post_lanes=2,
    max_shift=0,
    activation_depth=2048,
    stream_depth=512,
    parameter_depth=512,
    result_depth=2048,
    items=8,
    partial_depth=2048,
    banks=2,
    residual_depth=512,
    normalizes=True,
    gates=True,
    softmax=True,
    memory_bits=256,
    running_sum_width=16,
    accumulator_width=22,
    sum_width=23,
    kernels=16,
)
PLAIN = replace(CONFIG.without_units(), partial_depth=0)
SAMPLES = {
    "4 x 8": CONFIG,
    "2 x 16": replace(CONFIG, pes=2, lanes=16, post_lanes=4, activation_depth=4096),
    "4 x 8 plain": PLAIN,
    "8 x 4": replace(CONFIG, pes=8, lanes=4, post_lanes=1, memory_ports=2),
    "4 x 8 on chip": replace(CONFIG, memory_bits=0, stream_depth=8192),
    "4 x 8 least": replace(PLAIN, memory_bits=0, stream_depth=8192, banks=1, kernels=1),
    "2 x 32": replace(CONFIG, pes=2, lanes=32, post_lanes=8, activation_depth=1024),
    "16 x 4": replace(CONFIG, pes=16, lanes=4, post_lanes=4, memory_bits=512, memory_ports=2),
    "2 x 16 shared": replace(PLAIN, pes=2, lanes=16, post_lanes=2, memory_bits=64),
    "4 x 8 wide": replace(CONFIG, program_bits=128, row_solvers=2),
    "4 x 8 widest": replace(CONFIG, program_bits=256),
    "4 x 8 DSPs": replace(CONFIG, post_multiplier="dsp"),
    "2 x 8 solvers": replace(CONFIG, pes=2, post_lanes=8, program_bits=64, row_solvers=8),
}
PACKED = replace(
    PLAIN,
    families=("dense",),
    multiplier="packed",
    accumulator_width=28,
    sum_width=28,
)
SKIPPING = replace(PACKED, families=("multiply",))
DSP_SAMPLES = {
    "dense 4 x 8": PACKED,
    "dense 2 x 16": replace(PACKED, pes=2, lanes=16, accumulator_width=24, sum_width=24),
    "multiply 4 x 8": SKIPPING,
    "multiply 2 x 16": replace(SKIPPING, pes=2, lanes=16, accumulator_width=24, sum_width=24),
}
"""Arrays that multiply in DSP blocks. What else they have is that of the others."""

DSP_MODULES = ("packed_lanes", "lockstep", "dense_element", "multiply_element")
FEW = ("4 x 8", "2 x 16", "4 x 8 plain", "8 x 4", "2 x 16 shared", "4 x 8 wide")
"""The samples of ECP5, where engines are small."""

LANES = [
    replace(
        CONFIG,
        items=items,
        running_sum_width=running,
        accumulator_width=wide,
        sum_width=wide + 1,
        max_shift=shift,
    )
    for items, running, wide, shift in (
        (8, 14, 20, 0),
        (8, 18, 26, 0),
        (4, 16, 22, 0),
        (2, 16, 22, 0),
        (8, 16, 26, 0),
        (8, 16, 22, 1),
        (8, 16, 22, 3),
        (2, 13, 20, 3),
    )
]
CHECKS = {
    "4 x 8": CONFIG,
    "2 x 32": replace(
        CONFIG,
        pes=2,
        lanes=32,
        post_lanes=4,
        memory_bits=128,
        activation_memory="ultra",
        activation_depth=4096,
        running_sum_width=15,
        accumulator_width=21,
        sum_width=22,
    ),
    "8 x 32": replace(
        CONFIG,
        pes=8,
        lanes=32,
        post_lanes=16,
        activation_depth=1024,
        memory_bits=512,
        parameter_depth=256,
    ),
    "4 x 8 wide": replace(CONFIG, program_bits=256, row_solvers=2, post_multiplier="dsp"),
    "2 x 8 in LUTs": replace(
        PLAIN,
        pes=2,
        activation_depth=256,
        result_depth=256,
        partial_depth=256,
        **{**dict.fromkeys(RAM_CHOICES, "distributed"), "stream_memory": "block"},
    ),
}
ORDERED = replace(PLAIN, families=("ordered_sum",))
CODED = replace(ORDERED, stream_code="varint")
ORDERED_SAMPLES = {
    "4 x 8 coded": CODED,
    "2 x 16 coded": replace(CODED, pes=2, lanes=16, post_lanes=4, activation_depth=4096),
    "4 x 8 distances": replace(ORDERED, index_bits=8),
    "8 x 4 distances": replace(
        ORDERED, pes=8, lanes=4, post_lanes=1, activation_depth=1024, index_bits=7
    ),
    "2 x 16": replace(ORDERED, pes=2, lanes=16, post_lanes=4),
}
"""Arrays of ordered sums. What else they have is that of the others."""

ORDERED_MODULES = ("element", "lane", "stream_decoder", "stream_reader")
ORDERED_LANES = [replace(config, families=("ordered_sum",)) for config in LANES[:6]]
ONE_LANE = replace(CODED, lanes=1, post_lanes=1, kernels=1, post_multiplier="dsp")
"""An engine as those that are planned for one token at a time."""
CHECKS |= {
    "4 x 8 coded": replace(CODED, post_multiplier="dsp"),
    "4 x 8 distances": replace(ORDERED, index_bits=8),
    "4 x 1, 8 features": replace(ONE_LANE, features_together=8, activation_memory="distributed"),
    "4 x 1, UltraRAM": replace(
        ONE_LANE, features_together=4, stream_depth=4096, stream_memory="ultra", reads_ahead=True
    ),
}
ECP5_CHECKS = {
    "1 x 8": replace(ENGINE, lanes=8, post_lanes=2),
    "2 x 4": replace(ENGINE, pes=2, lanes=4, post_lanes=1, memory_bits=128),
    "1 x 16": replace(ENGINE, lanes=16, post_lanes=2),
    "1 x 64": ENGINE,
}
"""Engines of ECP5, of which the last one is the largest that fits an LFE5U-85F."""
LARGE = replace(
    PLAIN,
    pes=3,
    lanes=256,
    post_lanes=64,
    activation_depth=1024,
    result_depth=512,
    partial_depth=512,
    kernels=1,
    memory_bits=512,
    shared_words=True,
    max_shift=1,
)
"""An engine of which several fill a large device (docs/device.md)."""
RESOURCES = ("luts", "flip_flops")
FOLDER = Path(__file__).parents[1] / "hw_targets" / "engines"


def synthesized(circuit: Circuit, synthesis: str) -> Mapping[str, Mapping[str, int]]:
    """Cells by type of each module, those of its submodules left out."""
    files = emit_verilog(circuit_module(circuit))
    folder = netlist(files, circuit.name, synthesis)
    modules = json.loads((folder / "stat.json").read_text(encoding="utf-8"))["modules"]
    own = {name.removeprefix("\\"): facts["num_cells_by_type"] for name, facts in modules.items()}
    return {
        name: {kind: number for kind, number in cells.items() if kind not in own}
        for name, cells in own.items()
    }


def needs_of(fabric: Fabric, cells: Mapping[str, int]) -> Needs:
    """What cells take."""
    return Needs.of(fabric.count(cells), fabric.family)


def with_dsps(fabric: Fabric, config: ArrayConfig) -> Fabric:
    """The fabric with its DSP blocks, if the post unit is to have some."""
    return load_fabric(f"{fabric.family}-dsp") if config.post_multiplier == "dsp" else fabric


def measured(fabric: Fabric, config: ArrayConfig) -> dict[str, Needs]:
    """What one instance of each module of an array takes."""
    fabric = with_dsps(fabric, config)
    return by_module(fabric, synthesized(build_array(config), fabric.hierarchical))


def by_module(fabric: Fabric, cells: Mapping[str, Mapping[str, int]]) -> dict[str, Needs]:
    """What modules take, by the names that `hw_targets.engine` has for them."""
    found: dict[str, Needs] = {}
    for name, own in cells.items():
        short = name.removeprefix("daqkf_").rstrip("0123456789")
        for family in ("running_sum_", "ordered_sum_"):
            short = short.removeprefix(family)
        found[short] = needs_of(fabric, own)
    return found


def samples(fabric: Fabric) -> Iterator[tuple[ArrayConfig, str, Needs]]:
    """Instances of modules, and what they take."""
    dsps = fabric.name.endswith("-dsp")
    known = DSP_SAMPLES if dsps else SAMPLES
    for config in (known[name] for name in (known if fabric.family == "xcup" else FEW)):
        for module, needs in measured(fabric, config).items():
            yield config, module, needs
    for config in () if dsps else LANES:
        cells = synthesized(running_sum.build_lane(config), fabric.flat)
        yield config, "lane", needs_of(fabric, cells["daqkf_running_sum_lane"])


def ordered_samples(fabric: Fabric) -> Iterator[tuple[ArrayConfig, str, Needs]]:
    """Instances of the modules that ordered sums have of their own, and what they take."""
    for config in ORDERED_SAMPLES.values():
        for circuit in (build_element(config, "ordered_sum"), build_stream_reader(config, 0)):
            cells = synthesized(circuit, fabric.hierarchical)
            for module, needs in by_module(fabric, cells).items():
                if module in ORDERED_MODULES:
                    yield config, module, needs
    for config in ORDERED_LANES:
        cells = synthesized(ordered_sum.build_lane(config), fabric.flat)
        yield config, "lane", needs_of(fabric, cells["daqkf_ordered_sum_lane"])


def fitted(fabric: Fabric, ordered: bool) -> dict[str, dict[str, dict[str, float]]]:
    """What each term takes of a resource, by module; or by those of ordered sums."""
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in RESOURCES}
    all_samples = list(ordered_samples(fabric) if ordered else samples(fabric))
    modules: Sequence[str] = sorted(name for name, number in instances(CONFIG).items() if number)
    if ordered or fabric.name.endswith("-dsp"):
        modules = ORDERED_MODULES if ordered else DSP_MODULES
    for module in modules:
        own = [(config, needs) for config, name, needs in all_samples if name == module]
        names = list(terms(own[0][0])[module])
        rows = np.array([[terms(config)[module][name] for name in names] for config, _ in own])
        for resource in RESOURCES:
            values = np.array([getattr(needs, resource) for _, needs in own], float)
            if resource == "luts":
                values -= [chosen_bits(config, fabric.family).get(module, 0) for config, _ in own]
            weights = 1 / np.maximum(values, 1)
            takes, _ = nnls(rows * weights[:, None], values * weights)
            found[resource][module] = {
                name: round(float(each), 3) for name, each in zip(names, takes, strict=True) if each
            }
            errors = rows @ takes / np.maximum(values, 1) - 1
            print(f"{fabric.name} {module:14}{resource:12}{np.abs(errors).max():7.1%}")
    return found


def text(name: str, found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """The file of a fabric, or of elements of a kind on it."""
    lines = [
        "# python benchmarks/engine_resources.py --write: what a term of `hw_targets.engine.terms`",
        f"# takes in a module, with the yosys of constraints.txt for {name}, by resource.",
    ]
    for resource, modules in found.items():
        for module, takes in modules.items():
            lines += ["", f"[{resource}.{module}]"]
            lines += [f"{name} = {each}" for name, each in takes.items()]
    return "\n".join(lines) + "\n"


def whole(fabric: Fabric, config: ArrayConfig, flat: bool) -> Needs:
    """What an engine takes, flattened or as the sum of its modules."""
    fabric = with_dsps(fabric, config)
    if flat:
        return needs_of(fabric, synthesized(build_array(config), fabric.flat)[TOP])
    modules, total = measured(fabric, config), Needs(0, 0, 0)
    for module, number in instances(config).items():
        if number:
            total += modules[module] * number
    return total


def check(fabric: Fabric, names: Sequence[str], flat: bool) -> None:
    """Print how far predictions are from whole engines; without names, from all of the fabric."""
    known = CHECKS if fabric.family == "xcup" else ECP5_CHECKS
    for name in names or known:
        if name not in known:
            raise SystemExit(f"{fabric.name} has no engine {name!r} (known: {', '.join(known)})")
        config = known[name]
        found, predicted = whole(fabric, config, flat), engine_needs(config, fabric.family)
        assert (found.block_rams_18k, found.ultra_rams) == block_rams(config, fabric.family)
        errors = ", ".join(
            f"{getattr(predicted, resource):,} {resource} of {getattr(found, resource):,} "
            f"({getattr(predicted, resource) / getattr(found, resource) - 1:+.1%})"
            for resource in RESOURCES
        )
        memories = f"{found.block_rams_18k} block RAMs, {found.ultra_rams} UltraRAMs"
        print(f"{fabric.name} {name}: {errors}, {memories}", flush=True)


def memory_of_luts(depth: int, width: int) -> Circuit:
    """A memory with a port that reads and one that writes."""
    c = Circuit("memory_of_luts")
    c.clock("clk")
    memory = c.memory("memory", depth, width, style="distributed")
    bits = memory.address_width
    memory.write(c.input("wa", bits), c.input("wd", width), c.input("we", 1))
    c.output("y", memory.read(c.input("ra", bits), c.input("re", 1), "q"))
    c.finish()
    return c


def check_memories(fabric: Fabric) -> None:
    """Print how far predictions are from memories of LUTs, and what these spare."""
    for depth, width in ((64, 56), (128, 56), (384, 56), (512, 56), (1024, 56), (512, 32)):
        circuit = memory_of_luts(depth, width)
        cells = synthesized(circuit, fabric.flat)[circuit.name]
        found, predicted = needs_of(fabric, cells), mapped_luts(depth, width)
        print(
            f"{depth} rows of {width} bits: {found.lut_rams} LUTs that store (predicted: "
            f"{predicted.storing}), {found.luts - found.lut_rams} others ({predicted.choosing})"
        )
    config = LARGE
    before = engine_needs(config, fabric.family)
    for name in INTO_LUTS:
        config = replace(config, **{name: "distributed"})
        after = engine_needs(config, fabric.family)
        spared = (before.block_rams_18k - after.block_rams_18k) / 2
        luts, storing = after.luts - before.luts, after.lut_rams - before.lut_rams
        print(
            f"{name}: {spared:g} RAMB36 less, {luts:,} LUTs, of which {storing:,} store: "
            f"{luts / spared:,.0f} for a RAMB36"
        )
        before = after


def main() -> None:
    """Fit, and check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fabric", default="xcup", help="xcup, xcup-dsp, ecp5 (default: xcup)")
    parser.add_argument("--ordered", action="store_true", help="fit elements of ordered sums")
    parser.add_argument("--write", action="store_true", help="write hw_targets/engines")
    parser.add_argument("--check", action="store_true", help="synthesise engines as a whole")
    parser.add_argument("--modules", action="store_true", help="count these module by module")
    parser.add_argument("--memories", action="store_true", help="synthesise memories of LUTs")
    parser.add_argument("--only", nargs="+", default=[], help="engines that are checked")
    options = parser.parse_args()
    fabric = load_fabric(options.fabric)
    if options.memories:
        check_memories(fabric)
        return
    if options.check:
        check(fabric, options.only, not options.modules)
        return
    found = fitted(fabric, options.ordered)
    if options.write:
        name = f"{fabric.name}-ordered" if options.ordered else fabric.name
        (FOLDER / f"{name}.toml").write_text(text(name, found), encoding="utf-8")


if __name__ == "__main__":
    main()
