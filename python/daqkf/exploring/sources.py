# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What is explored: a layer or a network, how its weights become integers, and what that loses.

Making integers is what takes long. They depend on few parameters (`Point.quality`), and are made
once for each choice of these; on another array they stay as they are.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, override

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.exceptions import DiagnosticException, InterpretationError

from daqkf.compiler import language_models, models
from daqkf.compiler.accuracy import Measured
from daqkf.compiler.calibration import drawn_inputs, given
from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.design import Design
from daqkf.compiler.file_suffixes import LAYER_SUFFIXES, is_named, is_network
from daqkf.compiler.formats import load_array, load_network, load_weights
from daqkf.compiler.layer import compile_layer, relowered
from daqkf.compiler.named_models import named_model
from daqkf.compiler.network import quantize_network, retargeted
from daqkf.compiler.options import LayerOptions, NetworkOptions
from daqkf.compiler.rows import with_free_rows
from daqkf.dialects.interpreting import entry, run
from daqkf.exploring.space import Point
from daqkf.lowering.frontends.arrays import as_matrix, import_layer
from daqkf.passes.nn_product import Inputs
from daqkf.passes.quantize.accuracy import AllOutputs, Loss, Measure
from daqkf.passes.quantize.samples import load_inputs
from daqkf.passes.steps import NOTHING_KEPT, Steps
from daqkf.support.errors import EXPECTED, DaqkfError, describe

_DRAWN_TOKENS = 256

Samples = Mapping[str, Any] | Sequence[Mapping[str, Any]] | NDArray[Any]


@dataclass(frozen=True)
class Accuracy:
    """How far the outputs of integers are from those of the float layer or network."""

    loss: float
    """1 less the mean cosine of the outputs of each sample with the float ones."""
    sqnr: float
    """In dB: the energy of the float outputs over that of the difference."""

    @classmethod
    def of(cls, found: NDArray[Any], wanted: NDArray[Any]) -> "Accuracy":
        """Of outputs [B, F] and the float ones."""
        energy = Loss(energy=True).of(found, wanted)
        return cls(max(Loss().of(found, wanted), 0.0), -10 * float(np.log10(max(energy, 1e-30))))


@dataclass(frozen=True)
class Quantised:
    """Exact integers, and what they lose."""

    module: ModuleOp
    """The layer or network with integers."""
    accuracy: Accuracy


@dataclass(frozen=True)
class Refused:
    """Why there are no integers for some options."""

    reason: str


@dataclass(frozen=True)
class Quantisation:
    """What a worker is to quantise; it can be pickled."""

    source: "Source"
    point: Point
    steps: Steps = NOTHING_KEPT
    """Where finished steps are kept, and found, by the process that quantises."""


def quantised(step: Quantisation) -> Quantised | Refused:
    """The integers for the options of a design; see `Source.quantised`."""
    try:
        return step.source.quantised(step.point, step.steps)
    except EXPECTED as error:
        return Refused(describe(error))


class Source(ABC):
    """Something whose designs are explored."""

    name: str
    """A file, or what stands for one."""

    is_network = True

    @property
    def shape(self) -> tuple[int, int]:
        """K and N of a layer; (1, 1) of a network, whose kernels depend on the target."""
        return 1, 1

    @abstractmethod
    def quantised(self, point: Point, steps: Steps = NOTHING_KEPT) -> Quantised:
        """The integers for the options of a design, and what they lose.

        Args:
            point: the design.
            steps: where steps that take long are kept, as other options may share them.

        Raises:
            DaqkfError: as `daqkf.compile`.
        """

    @abstractmethod
    def on_array(self, integers: ModuleOp, point: Point) -> CompiledNetwork | Design:
        """Integers on the array of a design.

        Raises:
            DaqkfError: they do not fit the array.
        """


@dataclass(frozen=True)
class LayerSource(Source):
    """A layer `act(x·W + b)`."""

    name: str
    weights: NDArray[Any]
    """Float [K, N], or integers, which are levels already."""
    bias: NDArray[Any] | None
    activation: str | None
    calibration: NDArray[Any] | None
    """[T, K]"""
    samples: NDArray[Any] | None
    """[T, K] that losses are measured on; None for the calibration."""

    is_network = False

    @property
    @override
    def shape(self) -> tuple[int, int]:
        features, outputs = self.weights.shape
        return features, outputs

    @override
    def quantised(self, point: Point, steps: Steps = NOTHING_KEPT) -> Quantised:
        design = compile_layer(self.weights, self._options(point, **point.weights))
        x = self.samples if self.samples is not None else self.calibration
        if x is None:
            # Others than those that ranges are found on.
            rng = np.random.default_rng(1)
            x = rng.standard_normal((_DRAWN_TOKENS, len(self.weights)))
        try:
            wanted = run(
                import_layer(self.weights, self.bias, self.activation), x.astype(np.float32)
            )
        except (DiagnosticException, ValueError) as error:
            raise DaqkfError(describe(error)) from None
        return Quantised(design.golden, Accuracy.of(design.reference(x), wanted))

    @override
    def on_array(self, integers: ModuleOp, point: Point) -> Design:
        target = point.target_name
        # `relowered` takes the integers of a design alone.
        design = Design(integers, integers, None, target)  # pyright: ignore[reportArgumentType]
        return relowered(design, LayerOptions(target=target, **point.elements))

    def _options(self, point: Point, **named: Any) -> LayerOptions:
        return LayerOptions(
            bias=self.bias,
            activation=self.activation,
            calibration=self.calibration,
            target=point.target,
            **named,
        )


@dataclass(frozen=True)
class NetworkSource(Source):
    """A network."""

    name: str
    module: ModuleOp
    """The float network, as a module of `nn`."""
    calibration: Any
    """Its inputs by name, or batches of them; None for drawn ones."""
    samples: Any
    """Those that losses are measured on; None for the calibration."""
    measure: Measure | None
    """What accuracy is of; None for all outputs."""

    @override
    def quantised(self, point: Point, steps: Steps = NOTHING_KEPT) -> Quantised:
        machine = point.machine
        options = NetworkOptions(target=point.target, measure=self.measure, **point.weights)
        network = quantize_network(
            self.module, options, calibration=self.calibration, machine=machine, steps=steps
        )
        compiled = CompiledNetwork(network, ModuleOp([]), options)
        try:
            accuracy = self._measured(compiled)
        except (DiagnosticException, InterpretationError, ValueError) as error:
            raise DaqkfError(describe(error)) from None
        return Quantised(network, accuracy)

    def _measured(self, compiled: CompiledNetwork) -> Accuracy:
        function = entry(self.module)
        data = self.calibration if self.samples is None else self.samples
        samples: list[Inputs] = (
            [drawn_inputs(function, 1)] if data is None else given(function, data)
        )
        kind = "of the calibration" if self.samples is None else "kept apart"
        measure = self.measure or AllOutputs()
        found = Measured.of(compiled.run, self.module, samples, kind, measure)
        return Accuracy(max(1 - found.cosine, 0.0), found.sqnr)

    @override
    def on_array(self, integers: ModuleOp, point: Point) -> CompiledNetwork:
        options = NetworkOptions(target=point.target, measure=self.measure, **point.elements)
        plain = CompiledNetwork(integers, ModuleOp([]), options)
        return retargeted(plain, point.target_name)


def data_of(given: Any, what: str) -> Any:
    """Activations [T, K], inputs by name or a bias, which may be named by a file.

    Raises:
        DaqkfError, ValueError, OSError: the file cannot be read.
    """
    if not isinstance(given, str | PathLike):
        return given
    path = Path(given)
    return load_inputs(str(path)) if path.suffix == ".npz" else load_array(path, what)


def source_of(
    source: Any,
    calibration: Any,
    samples: Any,
    bias: Any = None,
    activation: str | None = None,
) -> Source:
    """What is explored.

    Args:
        source: as the `weights` of `daqkf.compile`.
        calibration: as there.
        samples: of the same kind, to measure losses on.
        bias: of a layer.
        activation: of a layer.

    Raises:
        DaqkfError: a source that cannot be read, or one of another kind.
    """
    try:
        network = _network_of(source, calibration)
        if network is None:
            return _layer_of(source, calibration, samples, bias, activation)
        if bias is not None or activation is not None:
            raise DaqkfError("bias and activation are for single layers")
        name, module, calibration, measure = network
        for data in (calibration, samples):
            if data is not None:
                given(entry(module), data)
        return NetworkSource(name, module, calibration, samples, measure)
    except (DiagnosticException, ValueError) as error:
        raise DaqkfError(describe(error)) from None


def _network_of(source: Any, calibration: Any) -> tuple[str, ModuleOp, Any, Measure | None] | None:
    """A network's name, its module, calibration and measure; None if it is a layer."""
    measure, name = None, "NETWORK"
    if isinstance(source, str) and is_named(source):
        model, name = named_model(source), source
        source, measure = model.source, model.measure
        calibration = model.calibration if calibration is None else calibration
    if isinstance(source, ModuleOp):
        return name, source, calibration, measure
    if isinstance(source, str | PathLike):
        path = Path(source)
        if path.suffix in LAYER_SUFFIXES and not is_network(str(path)):
            return None
        if language_models.is_language_model(path):
            raise DaqkfError(
                f"{path}: language models are not explored; daqkf bench language plans for them"
            )
        return str(path), _read(path), calibration, measure
    for kind in type(source).__mro__:
        read = models.KINDS.get(f"{kind.__module__}.{kind.__qualname__}")
        if read is not None:
            return name, read(source, calibration), calibration, measure
    return None


def _read(path: Path) -> ModuleOp:
    """A network's file as the compiler reads it."""
    return with_free_rows(load_network(path), lambda: load_network(path, free=True))


def _layer_of(
    source: Any, calibration: Any, samples: Any, bias: Any, activation: str | None
) -> LayerSource:
    is_file = isinstance(source, str | PathLike)
    weights = load_weights(str(source)) if is_file else source
    matrix, is_integer = as_matrix(weights)
    if is_integer:
        raise DaqkfError("integer weights have their levels already: nothing of them is explored")
    found: list[NDArray[Any] | None] = []
    for what, data in (("calibration", calibration), ("samples", samples)):
        array = None if data is None else np.asarray(data)
        if array is not None and (array.ndim != 2 or array.shape[1] != len(matrix)):
            raise DaqkfError(f"{what} of a layer is [T, {len(matrix)}], not {list(array.shape)}")
        found.append(array)
    import_layer(matrix, bias, activation)  # refuses what does not fit before any work
    offset = None if bias is None else np.asarray(bias)
    name = str(source) if is_file else "WEIGHTS"
    return LayerSource(name, matrix, offset, activation, *found)
