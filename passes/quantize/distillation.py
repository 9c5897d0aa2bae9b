# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Training what pruning has kept, so that the network's outputs come back to the dense network's.

The dense network is the teacher (Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural
Network", 2015); no labels are needed, only calibration data. Zeros stay zeros: the weights that
were kept and the biases follow the gradients of `daqkf.passes.quantize.gradients` by Adam
(`daqkf.passes.quantize.adam`).

What is minimised is the loss of what is measured plus, unless that is of all that outputs say, the
relative squared error of the outputs. The second term says more of each sample than its measured
vector does, so that fewer samples are enough: outputs are the states of all tokens, say, where the
measured vector is their mean. Only values on which what is measured depends count in it, so padding
does not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from daqkf.dialects.dense import from_array
from daqkf.dialects.interpreting import entry
from daqkf.dialects.spaq import ConstantOp, MatmulOp
from daqkf.passes.nn_product import in_order, output_names
from daqkf.passes.progress import Progress, Step, silent
from daqkf.passes.quantize.accuracy import (
    AllOutputs,
    Array,
    DifferentiableMeasure,
    Loss,
    Measure,
)
from daqkf.passes.quantize.adam import Trained, cosine_rate
from daqkf.passes.quantize.network_statistics import Batch, outputs_of
from daqkf.passes.quantize.tape import Tape
from daqkf.passes.quantize.weights import bias_of, float_products
from daqkf.passes.steps import NOTHING_KEPT, Steps

RATE = 3e-4
"""How far Adam moves a weight in a step at first, as a share of the root mean square of those of
its matrix that are not zero. Measured on MiniLM, where 2e-3 forgets more than it learns, and on
SmolLM2, where 1e-3 does so in the first half of a pass, and again at the beginning of a second."""

_WARM_UP = 10
"""Steps in which the rate rises, while Adam's moments are of few gradients."""

_KEPT_EVERY = 48
"""Batches after which what is trained so far is kept: minutes, for a model of 100 million weights,
beside which writing its moments takes seconds."""

_CHECKED = 7, 8
"""The loss before and after is that of every seventh batch at most, and of about eight."""


@dataclass(eq=False, kw_only=True)
class _Parameter(Trained):
    """A constant that is trained. Zeros of a pruned matrix are kept."""

    constant: ConstantOp

    @classmethod
    def of(cls, constant: ConstantOp, *, sparse: bool) -> "_Parameter":
        values = constant.array().astype(np.float32)
        kept = values != 0
        return cls(values, kept if sparse and not kept.all() else None, constant=constant)

    def move(self, number: int, rate: float) -> None:
        """Adam's step, from 1 on, by the gradient so far."""
        if self.step(number, rate):
            self.put(self.values)

    @property
    def state(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """The values, and Adam's moments."""
        return self.values, self.mean, self.square

    def take(
        self,
        values: NDArray[np.float32],
        mean: NDArray[np.float32],
        square: NDArray[np.float32],
    ) -> None:
        """Go on from a state."""
        self.values, self.mean, self.square = values, mean, square
        self.put(values)

    def put(self, values: NDArray[np.float32]) -> None:
        """Put values into the network."""
        kind = self.constant.value.get_element_type()
        self.constant.value = from_array(values, kind, self.constant.encoding)  # pyright: ignore


@dataclass(frozen=True)
class _Trained:
    """All that is trained of a network."""

    weights: dict[MatmulOp, _Parameter]
    biases: dict[MatmulOp, _Parameter]

    @classmethod
    def of(cls, module: ModuleOp) -> "_Trained":
        """Of all products; those of one constant share its parameter."""
        found: dict[ConstantOp, _Parameter] = {}
        weights: dict[MatmulOp, _Parameter] = {}
        biases: dict[MatmulOp, _Parameter] = {}
        for matmul, constant in float_products(module):
            if constant not in found:
                found[constant] = _Parameter.of(constant, sparse=True)
            weights[matmul] = found[constant]
            if (bias := bias_of(matmul)) is not None:
                if bias not in found:
                    found[bias] = _Parameter.of(bias, sparse=False)
                biases[matmul] = found[bias]
        return cls(weights, biases)

    @property
    def parameters(self) -> list[_Parameter]:
        return list(dict.fromkeys([*self.weights.values(), *self.biases.values()]))

    def visit(self, op: MatmulOp, x: Array, gradient: Array) -> None:
        """See a product, what it read [T, K], and the gradient [T, N] of what it gave."""
        if op in self.weights:
            self.weights[op].add(x.T @ gradient)
        if op in self.biases:
            self.biases[op].add(gradient.sum(axis=0))


def trainable(module: ModuleOp) -> list[ConstantOp]:
    """The constants that `distil` trains, each once: weights, and biases that products have."""
    found: dict[ConstantOp, None] = {}
    for matmul, constant in float_products(module):
        found[constant] = None
        if (bias := bias_of(matmul)) is not None:
            found[bias] = None
    return list(found)


def distil(
    module: ModuleOp,
    dense: ModuleOp,
    inputs: Sequence[Batch],
    measure: Measure,
    loss: Loss,
    passes: int,
    *,
    rate: float = RATE,
    seed: int = 0,
    progress: Progress = silent,
    steps: Steps = NOTHING_KEPT,
) -> None:
    """Train the weights of a pruned network that are not zero, and its biases, in place.

    It stays as it was if what is measured is no better afterwards. Nothing is held out to say
    when to stop, since pruning has seen all samples: few passes at a low rate keep the network
    from learning them by heart.

    Args:
        module: the network after `nn-outline`, pruned.
        dense: the same network before.
        inputs: batches, each of which is a step.
        measure: what counts of the outputs; one without a derivative counts as all outputs.
        loss: of what is measured.
        passes: over the batches.
        rate: see `RATE`.
        seed: of the order of the batches.
        progress: told of each step.
        steps: where what is trained so far is kept, and found; they are of nothing else.

    Raises:
        NoGradientError: an operation of the network has none.
        InterpretationError: inputs that do not fit.
    """
    function, trained = entry(module), _Trained.of(module)
    chosen = measure if isinstance(measure, DifferentiableMeasure) else AllOutputs()
    rng = np.random.default_rng(seed)
    lesson = _Lesson(dense, output_names(function), chosen, loss, rng)
    least, about = _CHECKED
    checked = inputs[:: max(least, len(inputs) // about)]
    start = [parameter.values.copy() for parameter in trained.parameters]
    order = [inputs[int(place)] for _ in range(passes) for place in rng.permutation(len(inputs))]
    so_far = _SoFar.find(steps, trained.parameters)
    if so_far is None:
        so_far = _SoFar(0, lesson.loss_of(module, checked), rng.bit_generator.state)
    rng.bit_generator.state = so_far.rng
    for number in range(so_far.batches, len(order)):
        batch = order[number]
        progress(Step("train what is left:", number + 1, len(order), "batches"))
        tape = Tape.record(module, in_order(function, batch))
        tape.backward(lesson.seeds(tape, batch), trained.visit)
        falling = cosine_rate(number, len(order), _WARM_UP)
        for parameter in trained.parameters:
            parameter.move(number + 1, rate * falling)
        if (number + 1) % _KEPT_EVERY == 0:
            state = rng.bit_generator.state
            _SoFar(number + 1, so_far.before, state).keep(steps, trained.parameters)
    if not lesson.loss_of(module, checked) < so_far.before:
        for parameter, values in zip(trained.parameters, start, strict=True):
            parameter.put(values)


@dataclass(frozen=True)
class _SoFar:
    """How far training has come."""

    batches: int
    before: float
    """The loss before."""
    rng: Mapping[str, Any]
    """The state of the random numbers."""

    @classmethod
    def find(cls, steps: Steps, parameters: Sequence[_Parameter]) -> "_SoFar | None":
        """What was kept, which goes into the parameters; None if something of it is missing."""
        found: _SoFar | None = steps.find(_REACHED)
        if found is None:
            return None
        kept = [steps.find(found._key(place)) for place in range(len(parameters))]
        states = [state for state in kept if state is not None]
        if len(states) < len(parameters):
            return None
        for parameter, state in zip(parameters, states, strict=True):
            parameter.take(*state)
        return found

    def keep(self, steps: Steps, parameters: Sequence[_Parameter]) -> None:
        """Keep this, and where the parameters are, in place of what was kept before."""
        for place, parameter in enumerate(parameters):
            steps.keep(self._key(place), parameter.state)
        steps.keep(_REACHED, self)

    def _key(self, place: int) -> list[object]:
        """Of a parameter: another one in turns, so that what was kept stays until all is again."""
        return ["trained", self.batches // _KEPT_EVERY % 2, place]


_REACHED = "reached"


@dataclass(frozen=True)
class _Lesson:
    """What the dense network teaches."""

    dense: ModuleOp
    names: Sequence[str]
    measure: DifferentiableMeasure
    loss: Loss
    rng: np.random.Generator

    def loss_of(self, module: ModuleOp, inputs: Sequence[Batch]) -> float:
        """The mean loss of what is measured of a network, of a batch at a time: it may be large."""
        lost = rows = 0.0
        for batch in inputs:
            found, reference = (
                self.measure(outputs_of(network, batch), batch) for network in (module, self.dense)
            )
            lost += self.loss.of(found, reference) * len(found)
            rows += len(found)
        return lost / rows

    def seeds(self, tape: Tape, batch: Batch) -> list[Array | None]:
        """The gradients of what is minimised, of each output of a run."""
        outputs = dict(zip(self.names, tape.outputs, strict=True))
        teacher = outputs_of(self.dense, batch)
        found, reference = (self.measure(each, batch) for each in (outputs, teacher))
        slope = self.loss.gradient(found, reference).astype(np.float32)
        seeds = self.measure.vjp(outputs, batch, slope)
        if self.loss.whole:
            return [seeds.get(name) for name in self.names]
        probe = self.measure.vjp(outputs, batch, self.loss.direction(found, self.rng))
        for name, seed in seeds.items():
            counted = probe[name] != 0
            aim = teacher[name] * counted
            energy = max(float(np.square(aim, dtype=np.float64).sum()), 1e-30)
            seeds[name] = seed + np.float32(2 / energy) * (outputs[name] * counted - aim)
        return [seeds.get(name) for name in self.names]
