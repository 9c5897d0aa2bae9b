# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the arrays run: MiniLM's integer layers, pruned, in 8 bits or with tuned levels."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler.network import prune_file, quantize_network
from daqkf.compiler.options import NetworkOptions
from daqkf.dialects.interpreting import entry
from daqkf.dialects.spaq import LevelSet
from daqkf.hw_targets.machine import Machine
from daqkf.passes.progress import Progress, silent
from daqkf.passes.quantize.accuracy import cosines
from daqkf.studies.minilm.model import Floats, MiniLM, load_calibration, load_evaluation
from daqkf.studies.minilm.network import (
    SentenceEmbedding,
    embeddings,
    inputs_of,
    network_of,
    noisy,
)
from daqkf.support.cache import cached
from daqkf.support.ir import make_context, module_text, parse_module

METHOD = 3
"""Counts changes of how workloads are made: what an older one left in the cache is not used."""
_NETWORK, _ACCURACY = "layers.mlir", "accuracy.json"
"""The files of a workload in the cache."""

NOISE = (0.0, 0.05, 0.1, 0.2)
"""Shares of the tokens of the evaluation sentences that are replaced, for `Workload.noisy`."""


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
    noisy: Mapping[float, float]
    """Mean cosine of the embeddings to those of the dense float model on the same sentences, by the
    share of their tokens that are replaced, of `NOISE`."""
    text: str

    def module(self) -> ModuleOp:
        """The layers."""
        return parse_module(make_context(), self.text, f"workload at {self.sparsity:g}")


def load_workload(
    sparsity: float,
    accuracy: float | None,
    machine: Machine,
    progress: Progress = silent,
    levels: LevelSet | None = None,
) -> Workload:
    """MiniLM pruned to a sparsity, with levels for an accuracy at the machine's fewest cycles.

    Without an accuracy it is W8A8, the same for all machines; or has these `levels` everywhere,
    whatever that does to it. Workloads take minutes to make and are kept in the cache.

    Raises:
        DaqkfError: an accuracy out of reach.
        ModelNotFoundError: the MiniLM package is not installed.
    """

    def make(folder: Path) -> None:
        _write(folder, _make(sparsity, accuracy, machine, progress, levels))

    place = cached("workloads", _recipe(sparsity, accuracy, machine, levels), make)
    found = json.loads((place / _ACCURACY).read_bytes())
    text = (place / _NETWORK).read_text(encoding="utf-8")
    return Workload(sparsity, accuracy, found["cosine"], dict(found["noisy"]), text)


def _write(folder: Path, workload: Workload) -> None:
    accuracies = {"cosine": workload.cosine, "noisy": list(workload.noisy.items())}
    (folder / _NETWORK).write_text(workload.text, encoding="utf-8")
    (folder / _ACCURACY).write_text(json.dumps(accuracies), encoding="utf-8")


def _make(
    sparsity: float,
    accuracy: float | None,
    machine: Machine,
    progress: Progress,
    levels: LevelSet | None,
) -> Workload:
    """The workload; W8A8, with which the others are compared, is kept on the way to them."""
    model, measure = MiniLM.load(), SentenceEmbedding()
    calibration = inputs_of(model, load_calibration())
    dense = network_of(model)
    pruned = prune_file(dense.clone(), calibration, sparsity, measure, progress)
    inputs = inputs_of(model, load_evaluation())

    def workload(reference: Floats | None, **named: Any) -> tuple[Workload, Floats]:
        # Every layer by itself, as arrays are measured on.
        options = NetworkOptions(measure=measure, fuse=False, **named)
        network = quantize_network(
            pruned, options, calibration=calibration, machine=machine, progress=progress
        )
        clean = embeddings(network, inputs, progress)
        cosine = 1.0 if reference is None else float(cosines(clean, reference).mean())
        noise: dict[float, float] = {}
        for share in NOISE:
            given = noisy(model, inputs, share)
            pair = (embeddings(each, given, progress) for each in (network, dense))
            noise[share] = float(cosines(*pair).mean())
        text = module_text(_kernels(network))
        return Workload(sparsity, named.get("accuracy"), cosine, noise, text), clean

    plain, reference = workload(None, second_order=False)
    if accuracy is None and levels is None:
        return plain
    cached("workloads", _recipe(sparsity, None, machine, None), lambda place: _write(place, plain))
    return workload(reference, accuracy=accuracy, levels=levels or "int8")[0]


def _kernels(network: ModuleOp) -> ModuleOp:
    """The functions of a network's kernels alone."""
    main = entry(network)
    return ModuleOp([op.clone() for op in network.ops if op is not main])


def _recipe(
    sparsity: float, accuracy: float | None, machine: Machine, levels: LevelSet | None
) -> list[Any]:
    """Everything on which a workload depends."""
    cost = accuracy and (machine.max_shift, machine.items)
    sentences = [*load_calibration(), *load_evaluation()]
    return [METHOD, sparsity, accuracy, cost, sentences, levels and str(levels)]
