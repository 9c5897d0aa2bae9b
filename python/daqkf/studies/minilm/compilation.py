# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf compile minilm`: one array for all linear layers of a network, and a program for each."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler.design import run_passes
from daqkf.compiler.pipelines import CIRCUIT, KERNELS, LOWER
from daqkf.dialects.dense import to_array
from daqkf.dialects.rpea import ArrayOp, ProgramOp
from daqkf.dialects.spaq import LevelSet
from daqkf.hw_targets import load_target
from daqkf.hw_targets.image_format import fingerprint
from daqkf.hw_targets.machine import Machine
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.encode import encode
from daqkf.passes.dfke_schedule import DfkeSchedulePass
from daqkf.passes.encode.cost_model import DEFAULT_ELEMENTS, Elements
from daqkf.passes.encode.index_coding import storage_facts
from daqkf.passes.files import write_atomically
from daqkf.passes.quantize.allocation import MENU, pareto
from daqkf.runtime.simulator import cache_folder
from daqkf.studies.minilm.model import MiniLM, load_calibration
from daqkf.studies.minilm.pruning import Progress, prune_network
from daqkf.studies.minilm.quantization import IntegerNetwork, NetworkQuantizer
from daqkf.support.errors import DaqkfError
from daqkf.support.ir import module_text


def quantizer(
    sparsity: float,
    machine: Machine,
    loss: float,
    progress: Progress = lambda stage: None,
    elements: Elements = DEFAULT_ELEMENTS,
    menu: Sequence[tuple[LevelSet, float]] = MENU,
) -> NetworkQuantizer:
    """MiniLM pruned to a sparsity, with all options of a menu to quantise it.

    Raises:
        DaqkfError: a sparsity outside 0 <= sparsity < 1.
        ModelNotFoundError: the MiniLM package is not installed.
        ValueError: an unknown family or fabric.
    """
    if not 0 <= sparsity < 1:
        raise DaqkfError(f"sparsity must be 0 <= sparsity < 1, not {sparsity:g}")
    elements.on(machine)  # refuses unknown names before any work
    calibration = load_calibration()
    pruned = prune_network(
        MiniLM.load(),
        calibration,
        sparsity,
        cache=cache_folder(),
        progress=lambda name: progress(f"prune {name}"),
    )
    return NetworkQuantizer(
        pruned,
        calibration,
        machine,
        loss=loss,
        elements=elements,
        menu=menu,
        progress=lambda name: progress(f"quantise {name}"),
    )


def front(found: NetworkQuantizer, points: int = 9) -> list[tuple[float, int]]:
    """Predicted cosines to the float model, and cycles a tile, from the best to the quickest."""
    rows: list[tuple[float, int]] = []
    for choice in pareto(found.loss, found.words, points):
        index = range(len(choice)), choice
        words = float(found.words[index].sum())
        rows.append((1 - float(found.loss[index].sum()), round(words / found.machine.pes)))
    return rows


def write_network(
    network: IntegerNetwork, target: str, folder: Path, elements: Elements = DEFAULT_ELEMENTS
) -> dict[str, Any]:
    """Lower a network's layers to one array, and write its folder.

    `rtl/*.sv`, `programs/<layer>.bin`, `layers.mlir` (the integer layers) and `network.json`,
    each under a temporary name first. Returns the facts.

    Raises:
        DaqkfError: a layer does not fit the target.
    """
    module = network.module()
    write_atomically(folder / "layers.mlir", module_text(module).encode())
    scheduling = DfkeSchedulePass(target, elements.families, elements.fabric, elements.index_bits)
    passes = [scheduling if name == "dfke-schedule" else name for name in KERNELS]
    run_passes(module, [*passes, *LOWER])
    array = next(op for op in module.ops if isinstance(op, ArrayOp))
    programs = [op for op in module.ops if isinstance(op, ProgramOp)]
    images = {
        name: encode(program) for name, program in zip(network.modules, programs, strict=True)
    }
    circuit = ModuleOp([array.clone()])
    run_passes(circuit, CIRCUIT)
    files = emit_verilog(circuit)
    for name, text in files.items():
        write_atomically(folder / "rtl" / name, text.encode())
    write_atomically(folder / "rtl" / "filelist.f", "".join(f"{name}\n" for name in files).encode())
    for name, image in images.items():
        write_atomically(folder / "programs" / f"{name}.bin", image)
    magnitudes, bits = network.magnitudes()
    facts: dict[str, Any] = {
        "target": target,
        "array": asdict(array.config.data),
        "fingerprint": f"{fingerprint(array.config.data):#010x}",
        "predicted_cosine": 1 - network.predicted_loss,
        "cycles": network.cycles(load_target(target).machine, elements),
        "magnitudes": magnitudes,
        "bits": bits,
        "sparsity": network.sparsity(),
        **storage_facts(
            array.config.data,
            [to_array(program.rows) for program in programs],
            list(network.levels().values()),
        ),
        "program_bytes": {name: len(image) for name, image in images.items()},
    }
    write_atomically(folder / "network.json", (json.dumps(facts, indent=2) + "\n").encode())
    return facts
