# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""MiniLM as a network like any other: its file, its inputs, and what its accuracy is of."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.formats import load_network
from daqkf.compiler.named_models import NamedModel
from daqkf.compiler.network import prune_file
from daqkf.passes.progress import Progress, Step, silent
from daqkf.passes.quantize.accuracy import Array, Arrays
from daqkf.passes.quantize.network_statistics import outputs_of
from daqkf.passes.quantize.weights import bias_of, float_products
from daqkf.studies.minilm.export_onnx import export_minilm
from daqkf.studies.minilm.model import Floats, MiniLM, load_calibration, pool

IDS, MASK = "input_ids", "attention_mask"

BATCH = 16
"""Sentences of a batch, which are of about the same length."""


class SentenceEmbedding:
    """The measure of accuracy of sentence encoders: the mean of a sentence's token states.

    Padding is left out by `attention_mask`. Vectors have length one.
    """

    def __call__(self, outputs: Arrays, inputs: Arrays) -> Array:
        """[B, hidden], from the states [B, L, hidden]."""
        (states,) = outputs.values()
        return pool(states, inputs[MASK])

    def vjp(self, outputs: Arrays, inputs: Arrays, gradient: Array) -> dict[str, Array]:
        """The gradient of the states."""
        ((name, states),) = outputs.items()
        mask = inputs[MASK][:, :, np.newaxis].astype(np.float32)
        total = (states * mask).sum(axis=1)
        length = np.linalg.norm(total, axis=1, keepdims=True)
        unit = total / length
        across = (gradient - (gradient * unit).sum(axis=1, keepdims=True) * unit) / length
        return {name: (across[:, np.newaxis, :] * mask).astype(np.float32)}


def network_of(model: MiniLM, layers: int | None = None) -> ModuleOp:
    """The encoder as a module of `nn`, by way of its ONNX file; of its first layers, if given.

    Raises:
        DaqkfError: the package `onnx` is missing.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "minilm.onnx"
        path.write_bytes(export_minilm(model, layers).SerializeToString())
        return load_network(path)


def inputs_of(
    model: MiniLM, sentences: Sequence[str], size: int = BATCH
) -> list[dict[str, NDArray[np.int64]]]:
    """The network's inputs for sentences in order of their lengths, so with little padding."""
    ordered = sorted(sentences, key=lambda sentence: (len(sentence), sentence))
    return [{IDS: ids, MASK: mask} for ids, mask in model.batches(ordered, size)]


def noisy(
    model: MiniLM, inputs: Sequence[Arrays], share: float, seed: int = 0
) -> list[dict[str, Array]]:
    """Inputs in which a share of the tokens are others, drawn from the vocabulary.

    The first and the last token of a sentence, which mark its ends, stay, and so does padding.
    """
    rng = np.random.default_rng(seed)
    found: list[dict[str, Array]] = []
    for batch in inputs:
        ids, mask = batch[IDS], batch[MASK]
        place, last = np.arange(ids.shape[1]), mask.sum(axis=1, keepdims=True) - 1
        chosen = (place > 0) & (place < last) & (rng.random(ids.shape) < share)
        drawn = rng.integers(0, model.architecture.vocabulary, ids.shape, dtype=ids.dtype)
        found.append({**batch, IDS: np.where(chosen, drawn, ids)})
    return found


def named() -> NamedModel:
    """MiniLM with its calibration sentences, by its name."""
    model = MiniLM.load()
    data = inputs_of(model, load_calibration())
    return NamedModel(network_of(model), data, SentenceEmbedding())


def embeddings(
    network: ModuleOp | CompiledNetwork,
    inputs: Sequence[Arrays],
    progress: Progress = silent,
) -> Floats:
    """Embeddings [B, hidden] of a float network or a compiled one, in the order of the inputs."""
    measure, found = SentenceEmbedding(), list[Array]()
    for number, batch in enumerate(inputs):
        progress(Step("run", number + 1, len(inputs), "batches"))
        if isinstance(network, CompiledNetwork):
            outputs = network.run(batch)
        else:
            outputs = outputs_of(network, batch)
        found.append(measure(outputs, batch))
    return np.concatenate(found)


def pruned_model(
    model: MiniLM,
    sentences: Sequence[str],
    sparsity: float,
    progress: Progress = silent,
) -> MiniLM:
    """The model with a share of zeros in all linear layers together; see `prune_network`.

    Raises:
        DaqkfError: a sparsity outside 0 <= sparsity < 1.
    """
    network = prune_file(
        network_of(model), inputs_of(model, sentences), sparsity, SentenceEmbedding(), progress
    )
    layers: dict[str, tuple[Floats, Floats]] = {}
    for matmul, weights in float_products(network):
        function, bias = matmul.parent_op(), bias_of(matmul)
        assert isinstance(function, FuncOp) and bias is not None
        layers[function.sym_name.data] = weights.array(), bias.array()
    return model.with_linears(layers)
