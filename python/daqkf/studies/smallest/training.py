# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A decoder from nothing: random weights, trained on a text to the cross-entropy.

The network is that which the front end makes of a file, run by its interpreter and differentiated
by `daqkf.passes.quantize.gradients`, so that what is trained is what is compiled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import StringAttr

from daqkf.compiler.language_models import inputs_of
from daqkf.dialects.dense import from_array
from daqkf.dialects.interpreting import entry
from daqkf.dialects.nn import ConstantOp
from daqkf.dialects.nn.base import NODE
from daqkf.lowering.frontends.decoder import DecoderConfig, Tensors, import_decoder
from daqkf.passes.nn_product import in_order
from daqkf.passes.progress import Progress, Step, silent
from daqkf.passes.quantize.adam import Trained, cosine_rate
from daqkf.passes.quantize.tape import Tape
from daqkf.passes.steps import NOTHING_KEPT, Steps

Floats = NDArray[np.float32]
Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class Schedule:
    """How long a decoder is trained, and how fast."""

    passes: int = 2
    """Over the text."""
    window: int = 256
    """Tokens that are read one after another."""
    batch: int = 2
    """Windows of a step."""
    rate: float = 0.06
    """Of Adam, at its highest; see `daqkf.passes.quantize.adam.Trained.step`."""
    warm_up: int = 50
    """Steps in which the rate rises."""
    decay: float = 0.1
    """What weights of matrices lose in each step, as a share of how far the rate lets them move
    (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019)."""


def random_tensors(config: DecoderConfig, rng: np.random.Generator) -> dict[str, Floats]:
    """Random tensors by the names of `DecoderConfig.tensors`; gains of normalisations are 1.

    Matrices have a variance of 1 / K for K features, and those that add to a token's state less, as
    there are more of them (Radford et al., "Language Models are Unsupervised Multitask Learners",
    2019).
    """
    found: dict[str, Floats] = {}
    for name, shape in config.tensors():
        if len(shape) == 1:
            found[name] = np.full(shape, float("norm" in name), np.float32)
            continue
        size = 1 / np.sqrt(shape[-1])
        if name.endswith(("attention.output.weight", "ffn.down.weight")):
            size /= np.sqrt(2 * config.layers)
        found[name] = (size * rng.standard_normal(shape)).astype(np.float32)
    return found


class Decoder:
    """A decoder whose tensors can be changed."""

    def __init__(self, config: DecoderConfig, tensors: dict[str, Floats]):
        """Make the network.

        Args:
            config: the architecture.
            tensors: by the names of `DecoderConfig.tensors`; matrices are [N, K].
        """
        self.config = config
        shapes = {name: array.shape for name, array in tensors.items()}
        self.module = import_decoder(config, Tensors(shapes, tensors.__getitem__, str))
        self._constants: list[tuple[ConstantOp, str, bool]] = []
        for op in entry(self.module).body.block.ops:
            label = op.attributes.get(NODE)
            if not (isinstance(op, ConstantOp) and isinstance(label, StringAttr)):
                continue
            tied = config.tied and label.data == "output.weight"
            name = "embedding.weight" if tied else label.data
            if name in tensors:
                # Products have matrices as [K, N], and the embedding is no product.
                turned = tensors[name].ndim == 2 and label.data != "embedding.weight"
                self._constants.append((op, name, turned))

    def put(self, tensors: dict[str, Floats]) -> None:
        """Put other tensors into the network."""
        for op, name, turned in self._constants:
            array = tensors[name].T if turned else tensors[name]
            op.value = from_array(array, op.value.get_element_type())  # pyright: ignore

    def lesson(self, tokens: Tokens) -> tuple[float, dict[str, Floats]]:
        """The loss of a window, and its gradients.

        Args:
            tokens: [T + 1].

        Returns:
            the mean of -ln p of the last T tokens, and its gradient by each tensor.
        """
        function = entry(self.module)
        inputs = in_order(function, inputs_of(self.config, tokens[:-1]))
        tape = Tape.record(self.module, inputs)
        logits, *caches = tape.outputs
        loss, slope = cross_entropy(logits, tokens[1:])
        constants = [op.results[0] for op, _, _ in self._constants]
        gradients = tape.gradients([slope, *[None] * len(caches)], constants)
        found: dict[str, Floats] = {}
        for (_, name, turned), gradient in zip(self._constants, gradients, strict=True):
            assert gradient is not None
            gradient = gradient.T if turned else gradient
            found[name] = found[name] + gradient if name in found else gradient
        return loss, found


def cross_entropy(logits: NDArray[Any], tokens: Tokens) -> tuple[float, NDArray[Any]]:
    """The mean of -ln p of tokens [T] by logits [T, V], and its gradient by the logits."""
    moved = logits - logits.max(axis=1, keepdims=True)
    shares = np.exp(moved)
    total = shares.sum(axis=1, keepdims=True)
    rows = np.arange(len(tokens))
    loss = float((np.log(total[:, 0]) - moved[rows, tokens]).mean(dtype=np.float64))
    slope = shares / total
    slope[rows, tokens] -= 1
    return loss, slope / np.float32(len(tokens))


@dataclass
class _State:
    """A decoder under training, as it is between two passes."""

    trained: dict[str, Trained]
    rng: np.random.Generator
    loss: float = float("nan")


def train(
    config: DecoderConfig,
    texts: Sequence[Tokens],
    schedule: Schedule | None = None,
    *,
    seed: int = 0,
    progress: Progress = silent,
    steps: Steps = NOTHING_KEPT,
) -> dict[str, Floats]:
    """Train a decoder.

    Args:
        config: its architecture.
        texts: tokens [T] each, of documents.
        schedule: how long, and how fast.
        seed: of the weights and of the order of windows.
        progress: told of each step, with the loss of the pass so far.
        steps: where passes are kept, and found.

    Returns:
        tensors by the names of `DecoderConfig.tensors`.

    Raises:
        ValueError: the texts have fewer tokens than a window.
    """
    schedule = schedule or Schedule()
    tokens = np.concatenate(texts)
    if len(tokens) <= 2 * schedule.window:
        raise ValueError(f"{len(tokens)} tokens are too few for windows of {schedule.window}")
    rng = np.random.default_rng(seed)
    tensors = random_tensors(config, rng)
    decoder = Decoder(config, tensors)
    state = _State({name: Trained(array) for name, array in tensors.items()}, rng)
    for number in range(schedule.passes):

        def one(_: Steps, state: _State = state, number: int = number) -> _State:
            _pass(decoder, state, tokens, schedule, number, progress)
            return state

        state = steps.do([repr(config), schedule, seed, tokens, number], one)
    return {name: trained.values for name, trained in state.trained.items()}


def _pass(
    decoder: Decoder,
    state: _State,
    tokens: Tokens,
    schedule: Schedule,
    number: int,
    progress: Progress,
) -> None:
    """Train on all windows of a text, which begin elsewhere in each pass."""
    window, batch = schedule.window, schedule.batch
    # One step fewer than there may be, so that it is as many wherever windows begin.
    count = max(1, len(tokens) // window // batch - 1)
    first = int(state.rng.integers(window))
    places = first + window * np.arange((len(tokens) - first - 1) // window)
    places = state.rng.permutation(places)[: count * batch].reshape(-1, batch)
    total = schedule.passes * count
    losses: list[float] = []
    for place, starts in enumerate(places, number * count):
        said = f"loss {np.mean(losses):.3f}" if losses else ""
        progress(Step("train", place + 1, total, "steps", said))
        decoder.put({name: trained.values for name, trained in state.trained.items()})
        for start in starts:
            loss, gradients = decoder.lesson(tokens[start : start + window + 1])
            losses.append(loss)
            for name, gradient in gradients.items():
                state.trained[name].add(gradient / np.float32(batch))
        rate = schedule.rate * cosine_rate(place, total, schedule.warm_up)
        for trained in state.trained.values():
            if trained.values.ndim == 2:
                trained.values *= np.float32(1 - rate * schedule.decay)
            trained.step(place + 1, rate)
    state.loss = float(np.mean(losses))
