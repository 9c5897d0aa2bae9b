# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the arrays run: MiniLM's integer layers, pruned, in 8 bits or with tuned levels."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler.network import prune_file, quantize_network
from daqkf.compiler.options import NetworkOptions
from daqkf.dialects.interpreting import entry
from daqkf.dialects.spaq import LevelSet
from daqkf.hw_targets.machine import Machine
from daqkf.passes.files import write_atomically
from daqkf.passes.quantize.accuracy import cosines
from daqkf.runtime.simulator import cache_folder
from daqkf.studies.minilm.model import MiniLM, load_calibration, load_evaluation
from daqkf.studies.minilm.network import SentenceEmbedding, embeddings, inputs_of, network_of
from daqkf.support.ir import make_context, module_text, parse_module

METHOD = 2
"""Counts changes of how workloads are made: what an older one left in the cache is not used."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Workload:
    """Integer layers of one pruned model, as functions of a module named like the layers."""

    sparsity: float
    """Of the float model."""
    accuracy: float | None
    """The cosine to the float pruned model that the levels were chosen for; None for W8A8 itself,
    and for levels that are the same everywhere."""
    cosine: float
    """Mean cosine of the embeddings to W8A8's, on the evaluation sentences."""
    text: str

    def module(self) -> ModuleOp:
        """The layers."""
        return parse_module(make_context(), self.text, f"workload at {self.sparsity:g}")


def load_workload(
    sparsity: float,
    accuracy: float | None,
    machine: Machine,
    progress: Progress = lambda stage: None,
    levels: LevelSet | None = None,
) -> Workload:
    """MiniLM pruned to a sparsity, with levels for an accuracy at the machine's fewest cycles.

    Without an accuracy it is W8A8, the same for all machines; or has these `levels` everywhere,
    whatever that does to it. Workloads take minutes to make and are kept in the cache.

    Raises:
        DaqkfError: an accuracy out of reach.
        ModelNotFoundError: the MiniLM package is not installed.
    """
    place = cache_folder() / "workloads" / _key(sparsity, accuracy, machine, levels)
    if (kept := _read(place)) is not None:
        return kept
    model, measure = MiniLM.load(), SentenceEmbedding()
    calibration = inputs_of(model, load_calibration())
    pruned = prune_file(network_of(model), calibration, sparsity, measure, progress)

    def quantized(**named: Any) -> ModuleOp:
        # Every layer by itself, as arrays are measured on.
        options = NetworkOptions(measure=measure, fuse=False, **named)
        return quantize_network(
            pruned, options, calibration=calibration, machine=machine, progress=progress
        )

    network, cosine = quantized(second_order=False), 1.0
    if accuracy is not None or levels is not None:
        inputs = inputs_of(model, load_evaluation())
        reference = embeddings(network, inputs, progress)
        network = quantized(accuracy=accuracy, levels=levels or "int8")
        cosine = float(cosines(embeddings(network, inputs, progress), reference).mean())
    workload = Workload(sparsity, accuracy, cosine, module_text(_kernels(network)))
    _write(place, workload)
    return workload


def _kernels(network: ModuleOp) -> ModuleOp:
    """The functions of a network's kernels alone."""
    main = entry(network)
    return ModuleOp([op.clone() for op in network.ops if op is not main])


def _key(sparsity: float, accuracy: float | None, machine: Machine, levels: LevelSet | None) -> str:
    cost = accuracy and (machine.max_shift, machine.items)
    sentences = hashlib.sha256("\n".join(load_calibration() + load_evaluation()).encode())
    recipe = [METHOD, sparsity, accuracy, cost, sentences.hexdigest()]
    if levels is not None:
        recipe.append(str(levels))
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]


def _read(place: Path) -> Workload | None:
    try:
        facts = json.loads(place.with_suffix(".json").read_text(encoding="utf-8"))
        text = place.with_suffix(".mlir").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return Workload(facts["sparsity"], facts["accuracy"], facts["cosine"], text)


def _write(place: Path, workload: Workload) -> None:
    facts = {
        "sparsity": workload.sparsity,
        "accuracy": workload.accuracy,
        "cosine": workload.cosine,
    }
    # The facts come last: without them a workload is not there.
    write_atomically(place.with_suffix(".mlir"), workload.text.encode())
    write_atomically(place.with_suffix(".json"), json.dumps(facts).encode())
