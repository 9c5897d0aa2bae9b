# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The workload of the arrays: MiniLM's integer layers, pruned, in 8 bits or with tuned levels."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xdsl.dialects.builtin import ModuleOp

from daqkf.dialects.spaq import LevelSet
from daqkf.hw_targets.machine import Machine
from daqkf.passes.files import write_atomically
from daqkf.passes.quantize.allocation import MENU
from daqkf.runtime.simulator import cache_folder
from daqkf.studies.minilm.compilation import quantizer
from daqkf.studies.minilm.model import load_calibration, load_evaluation
from daqkf.studies.minilm.pruning import METHOD as PRUNING
from daqkf.studies.minilm.quantization import cosines
from daqkf.support.ir import make_context, module_text, parse_module

METHOD = 1
"""The version of the method that makes workloads. Those of another version are not taken from the
cache."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Workload:
    """The integer layers of a pruned model, as functions that are named like the layers."""

    sparsity: float
    """The share of zeros in the float model."""
    accuracy: float | None
    """The cosine to W8A8 for which the levels were tuned; None for W8A8 itself, and for levels that
    are the same in all layers."""
    cosine: float
    """The mean cosine of the embeddings to those of W8A8, on the evaluation sentences."""
    text: str

    def module(self) -> ModuleOp:
        """The module with the layers."""
        return parse_module(make_context(), self.text, f"workload at {self.sparsity:g}")


def load_workload(
    sparsity: float,
    accuracy: float | None,
    machine: Machine,
    progress: Progress = lambda stage: None,
    levels: LevelSet | None = None,
) -> Workload:
    """Prune MiniLM to a sparsity, and choose levels that reach an accuracy in the fewest cycles.

    Without an accuracy, the levels are the given ones in all layers, whatever accuracy they have;
    or those of W8A8, which is the same for all machines. A workload takes minutes to make, and is
    kept in the cache.

    Raises:
        DaqkfError: the accuracy cannot be reached.
        ModelNotFoundError: the MiniLM package is not installed.
    """
    place = cache_folder() / "workloads" / _key(sparsity, accuracy, machine, levels)
    if (kept := _read(place)) is not None:
        return kept
    menu = MENU if accuracy is not None else MENU[-1:] if levels is None else ((levels, 0.0),)
    loss = 0.01 if accuracy is None else 1 - accuracy
    found = quantizer(sparsity, machine, loss, progress, menu=menu)
    network, cosine = found.static(), 1.0
    if accuracy is not None or levels is not None:
        progress("choose levels")
        sentences = load_evaluation()
        reference = network.encode(found.model, sentences)
        network = found.uniform() if accuracy is None else found.tuned(accuracy)
        cosine = float(cosines(network.encode(found.model, sentences), reference).mean())
    workload = Workload(sparsity, accuracy, cosine, module_text(network.module()))
    _write(place, workload)
    return workload


def _key(sparsity: float, accuracy: float | None, machine: Machine, levels: LevelSet | None) -> str:
    cost = accuracy and (machine.max_shift, machine.items)
    sentences = hashlib.sha256("\n".join(load_calibration() + load_evaluation()).encode())
    recipe = [METHOD, PRUNING, sparsity, accuracy, cost, sentences.hexdigest()]
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
    # The facts are written last, because a workload without them does not count as there.
    write_atomically(place.with_suffix(".mlir"), workload.text.encode())
    write_atomically(place.with_suffix(".json"), json.dumps(facts).encode())
