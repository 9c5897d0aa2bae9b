# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""From the weights of a layer to a `Design`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.utils.exceptions import DiagnosticException

from daqkf.compiler.design import Design, StageCallback, run_passes
from daqkf.compiler.options import LayerOptions, Levels, level_set
from daqkf.compiler.pipelines import KERNELS, LOWER
from daqkf.dialects.diagnostics import verify
from daqkf.dialects.spaq import LevelsAttr, LevelSet
from daqkf.hw_targets import load_target
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.timing import tile_cycles
from daqkf.lowering.frontends.arrays import as_matrix, import_layer
from daqkf.passes.dfke_dispatch import Dispatcher, Variant
from daqkf.passes.dfke_schedule import DfkeSchedulePass, too_large
from daqkf.passes.encode.channels import share_out_channels
from daqkf.passes.encode.cost_model import DEFAULT_ELEMENTS, Elements
from daqkf.passes.quantize.allocation import Choice, LevelChooser
from daqkf.passes.quantize.calibration import extra_columns
from daqkf.passes.quantize.samples import are_enough, input_statistics
from daqkf.passes.quantize.weights import products
from daqkf.passes.spaq_calibrate import calibrate
from daqkf.passes.spaq_prune import prune
from daqkf.passes.spaq_quantize import SpaqQuantizePass
from daqkf.passes.spaq_select_levels import SpaqSelectLevelsPass
from daqkf.support.errors import DaqkfError, describe, shortened, warn_of_drawn_calibration

_CALIBRATION_TOKENS = 256

_ATTEMPTS = 5
"""To meet a budget of cycles."""

_NOISE = 0.01
"""The share of noise around which a front lies: 20 dB."""

_SQNR = re.compile(r"auto-(\d+(?:\.\d+)?)dB", re.IGNORECASE)


def _affordable(split: float, shape: tuple[int, int], target: "str | Design") -> float:
    """The share of extra columns, at most `split`, that fits beside weights [K, N]."""
    extra_columns(1, split)  # refuses what is no share
    machine = target.config if isinstance(target, Design) else load_target(target).machine
    limits = machine.most_features, machine.result_depth
    spare = min(limit / extent - 1 for limit, extent in zip(limits, shape, strict=True))
    return min(split, max(spare, 0.0))


def _variants(
    levels: Levels | Sequence[Levels], sparsity: float | Sequence[float] | None
) -> list[Variant]:
    """The variants to compile, of one level set and one sparsity each."""
    sets = [levels] if isinstance(levels, LevelSet | str | int) else list(levels)
    shares = list(sparsity) if isinstance(sparsity, Sequence) else [sparsity]
    count = max(len(sets), len(shares))
    for what, entries in (("level sets", sets), ("sparsities", shares)):
        if len(entries) not in (1, count):
            raise DaqkfError(f"{len(entries)} {what} for {count} variants")
    sets, shares = sets * (count // len(sets)), shares * (count // len(shares))
    return [Variant(level_set(s), share) for s, share in zip(sets, shares, strict=True)]


def _stated(module: ModuleOp) -> LevelSet | None:
    """The level set of a quantised module's weights, if it has one for all of them."""
    encodings = [constant.encoding for _, constant in products(module)]
    stated = {found.levels for found in encodings if found is not None}
    (levels,) = stated if len(stated) == 1 else (None,)
    return levels.data if isinstance(levels, LevelsAttr) else None


def _within(
    cycles: int,
    quantize: SpaqQuantizePass,
    module: ModuleOp,
    samples: NDArray[Any] | None,
    machine: Machine,
    elements: Elements,
) -> ModuleOp:
    """The module quantised so that its kernel takes at most so many cycles a tile.

    What is chosen counts neither extra columns nor how well the outputs share out, so the
    budget is corrected by what comes out.

    Raises:
        ValueError: there are no such levels.
    """
    words, most = float(cycles * machine.pes), 0
    for _ in range(_ATTEMPTS):
        copy = module.clone()
        replace(quantize, words=int(words)).quantize(copy, samples)
        levels = next(constant.array() for _, constant in products(copy))
        own = elements.on(machine, [levels])
        most = tile_cycles(share_out_channels(levels, own)[1], levels.shape[1], own)
        if most <= cycles:
            return copy
        words *= cycles / most
    raise ValueError(f"no levels were found for {cycles} cycles; the nearest take {most}")


def compile_layer(weights: Any, options: LayerOptions | None = None, **named: Any) -> Design:
    """Compile one layer `act(x·W + b)` for an array.

    Args:
        weights: [K, N], a NumPy array or a SciPy sparse matrix. Floats are quantised;
            integers are taken as levels and must be of the level set.
        options: see `LayerOptions`.
        named: what it has, by name, in place of `options`.

    Raises:
        DaqkfError: bad weights, shapes, names, or a layer that does not fit the target.
    """
    options = options or LayerOptions.of(named, "layers")
    wanted = _Wanted.of(options)
    try:
        organisation = _organisation(options)
        options.elements.on(organisation)  # refuses unknown names before any work
        _require_extents(weights, organisation, wanted.machine)
        matrix, is_integer = as_matrix(weights)
        if options.calibration is not None:
            options = replace(options, calibration=_activations(options.calibration, matrix.shape))
            wanted = replace(wanted, options=options)
        module = import_layer(matrix, options.bias, options.activation)
        wanted.stage("import", module)
        samples, calibration = _pruned_and_calibrated(module, wanted, matrix, is_integer)
        split = _affordable(options.split, matrix.shape, options.target)
        run_passes(module, ["spaq-analyze"], wanted.stage)
        if wanted.sqnr is not None:
            select = SpaqSelectLevelsPass(wanted.sqnr, target=wanted.machine)
            run_passes(module, [select], wanted.stage)
        quantizing = _Quantizing(wanted, organisation, is_integer, split)
        if len(wanted.variants) > 1:
            quantizing.dispatch(module, calibration)
        else:
            module = quantizing.quantize(module, samples)
        golden = module.clone()
        _lower(module, wanted)
    except (DiagnosticException, ValueError, OSError) as error:
        raise DaqkfError(describe(error)) from None
    levels = _stated(golden) or wanted.variants[0].levels
    return Design(module, golden, levels, wanted.machine)


def relowered(design: Design, options: LayerOptions) -> Design:
    """A compiled layer with the same exact integers, on the array of another target.

    Args:
        design: of one variant.
        options: whose target and elements count.

    Raises:
        DaqkfError: an unknown target, or the layer does not fit it.
    """
    wanted = _Wanted.of(options)
    module = design.golden.clone()
    try:
        _lower(module, wanted)
    except (DiagnosticException, ValueError, OSError) as error:
        raise DaqkfError(describe(error)) from None
    return Design(module, design.golden, design.levels, wanted.machine)


def _require_extents(weights: Any, organisation: Machine, target: str) -> None:
    """Check a sparse matrix's extents before it becomes dense, which takes memory.

    Raises:
        ValueError: it has more rows or columns than a layer may have on the target.
    """
    if not hasattr(weights, "toarray") or len(weights.shape) != 2:
        return
    if surplus := too_large(weights.shape, organisation):
        raise ValueError(f"{surplus} ('{target}')")


def _activations(calibration: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Calibration data of a layer with weights [K, N] as an array [T, K].

    Raises:
        ValueError: no real numbers, or of another number of features.
    """
    features, outputs = shape
    try:
        array = np.asarray(calibration)
    except ValueError:
        raise ValueError("calibration must be an array [T, K], not rows of any length") from None
    if array.dtype.kind not in "fiub":
        raise ValueError(f"calibration must be real numbers [T, K], not {shortened(calibration)}")
    if array.ndim == 2 and array.shape[1] == outputs != features:
        raise ValueError(
            f"weights [K, N] are {list(shape)}, but calibration {list(array.shape)} has {outputs} "
            "features: the weights seem to be [N, K], so give their transpose"
        )
    return array


def _nothing(name: str, module: ModuleOp) -> None:
    """What happens after a stage that nobody watches."""


@dataclass(frozen=True)
class _Wanted:
    """What a layer is to become, by options that go together."""

    options: LayerOptions
    variants: list[Variant]
    sqnr: float | None
    """In dB, where the level set is looked up by it."""
    machine: str
    """The target's name."""
    stage: StageCallback

    @classmethod
    def of(cls, options: LayerOptions) -> Self:
        """Take options apart.

        Raises:
            DaqkfError: options that do not go together.
        """
        levels, target = options.levels, options.target
        if isinstance(levels, Sequence) and not isinstance(levels, str) and len(levels) == 1:
            levels = levels[0]
        lookup = _SQNR.fullmatch(levels) if isinstance(levels, str) else None
        variants = _variants("int8" if lookup else levels, options.sparsity)
        machine = target.target if isinstance(target, Design) else target
        sqnr = float(lookup[1]) if lookup else None
        wanted = cls(options, variants, sqnr, machine, options.on_stage or _nothing)
        calibrated = options.calibration is not None
        if wanted.choosing and (not calibrated or len(variants) > 1):
            raise DaqkfError("accuracy and cycles need calibration, and no variants")
        if options.second_order and not calibrated:
            raise DaqkfError("second_order needs calibration")
        return wanted

    @property
    def choosing(self) -> bool:
        """Whether levels are chosen for an accuracy or for cycles."""
        return self.options.accuracy is not None or self.options.cycles is not None


def _organisation(options: LayerOptions) -> Machine:
    """The array that a layer is for.

    Raises:
        ValueError: an unknown target, or elements besides those of a design.
    """
    target = options.target
    if not isinstance(target, Design):
        return load_target(target).machine
    if options.elements != DEFAULT_ELEMENTS:
        raise ValueError(
            "a design's array has its elements: no family, fabric or index_bits with it"
        )
    return load_target(target.target).machine.with_elements_of(target.config)


def _pruned_and_calibrated(
    module: ModuleOp, wanted: _Wanted, matrix: NDArray[Any], is_integer: bool
) -> tuple[Any, Any]:
    """The samples that weights are rounded by, if any, and the activations [T, K] of calibration.

    Without calibration these are of a normal distribution.

    Raises:
        ValueError: a share of zeros that cannot be, or samples that do not fit.
    """
    calibration, second_order = wanted.options.calibration, wanted.options.second_order
    if second_order is None:
        tokens = 0 if calibration is None or not np.ndim(calibration) else len(calibration)
        second_order = are_enough(tokens, len(matrix))
    samples = calibration if (second_order or wanted.choosing) and not is_integer else None
    shares = [variant.sparsity for variant in wanted.variants]
    if shares[0] is not None:
        prune(module, min(share or 0.0 for share in shares), samples)
        wanted.stage("spaq-prune", module)
    if calibration is None:
        warn_of_drawn_calibration()
        shape = _CALIBRATION_TOKENS, len(matrix)
        calibration = np.random.default_rng(0).standard_normal(shape)
    calibrate(module, calibration)
    wanted.stage("spaq-calibrate", module)
    return samples, calibration


@dataclass(frozen=True)
class _Quantizing:
    """How a calibrated float layer becomes an integer one."""

    wanted: _Wanted
    organisation: Machine
    exact: bool
    """Whether the weights are integer levels already."""
    split: float
    """The budget of extra columns."""

    def dispatch(self, module: ModuleOp, calibration: Any) -> None:
        """Put a dispatch of all variants in the layer's place.

        Raises:
            ValueError: variants that cannot share an array.
        """
        options = self.wanted.options
        dispatcher = Dispatcher(
            self.wanted.variants,
            self.organisation,
            options.error_budget,
            exact=self.exact,
            split=self.split,
            elements=options.elements,
        )
        dispatcher.apply(module, calibration)
        self.wanted.stage("dfke-dispatch", module)

    def quantize(self, module: ModuleOp, samples: Any) -> ModuleOp:
        """The module with integers, which need not be the one that was given.

        Raises:
            ValueError: no levels are accurate or quick enough.
        """
        options, levels = self.wanted.options, self.wanted.variants[0].levels
        quantize = SpaqQuantizePass(
            levels.kind,
            levels.magnitudes,
            levels.maximum,
            exact=self.exact,
            max_shift=self.organisation.max_shift,
            accuracy=options.accuracy,
            split=self.split,
        )
        if options.cycles is None:
            quantize.quantize(module, samples)
        else:
            module = _within(
                options.cycles, quantize, module, samples, self.organisation, options.elements
            )
        verify(module)
        self.wanted.stage("spaq-quantize", module)
        return module


def _lower(module: ModuleOp, wanted: _Wanted) -> None:
    """Make a program for the target's array of an integer layer.

    Raises:
        ValueError: the layer does not fit the target.
    """
    target, elements = wanted.options.target, wanted.options.elements
    if isinstance(target, Design):
        array = target.array.clone()
        Rewriter.insert_op(array, InsertPoint.at_start(module.body.block))
    scheduling = DfkeSchedulePass(
        wanted.machine, elements.families, elements.fabric, elements.index_bits
    )
    passes = [scheduling if name == "dfke-schedule" else name for name in KERNELS]
    run_passes(module, [*passes, *LOWER], wanted.stage)


def pareto(
    weights: Any,
    calibration: NDArray[Any],
    *,
    sparsity: float | None = None,
    target: str = "generic",
    points: int = 9,
) -> list[Choice]:
    """What accuracy costs: levels for a layer, from the best to the quickest.

    Args:
        weights: real [K, N].
        calibration: float activations [T, K] like those to come.
        sparsity: prune to this share of zeros first.
        target: whose cycles count; a tile takes about `words / pes` of them.
        points: accuracies to try, over which the front is spread.

    Raises:
        DaqkfError: bad weights, shapes or names.
    """
    try:
        machine = load_target(target).machine
        matrix, is_integer = as_matrix(weights)
        if is_integer:
            raise ValueError("integer weights have their levels already")
        module = import_layer(matrix)
        if sparsity is not None:
            prune(module, sparsity, calibration)
        ((matmul, constant),) = products(module)
        seen = input_statistics(module, calibration)[matmul]
        chooser = LevelChooser.of(
            constant.array().astype(np.float64), seen.hessian(), _NOISE, machine.max_shift
        )
        return chooser.front(points)
    except (DiagnosticException, ValueError, OSError) as error:
        raise DaqkfError(describe(error)) from None
