# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`dfke-dispatch`: quantise a layer in several ways, and let its inputs' zeros pick one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.utils.exceptions import InterpretationError

from daqkf.dialects.dfke import KernelOp, ScheduleAttr
from daqkf.dialects.dfke.ops import dispatch
from daqkf.dialects.interpreting import run
from daqkf.dialects.spaq import (
    DequantizeOp,
    GateOp,
    LevelSet,
    NormOperation,
    QuantizeOp,
    ResidualOp,
    SequenceOperation,
)
from daqkf.hw_targets import load_target, numerics
from daqkf.hw_targets.decision import MAX_VARIANTS, Decision
from daqkf.hw_targets.machine import Machine
from daqkf.passes.defaults import BUDGET, SPLIT
from daqkf.passes.dfke_fuse import DfkeFusePass
from daqkf.passes.dfke_schedule import schedule, schedule_cycles
from daqkf.passes.diagnostics import OperationError, about, failing, function_of
from daqkf.passes.encode.cost_model import DEFAULT_ELEMENTS, Elements
from daqkf.passes.quantize.dispatch import (
    BUCKETS,
    bucket_shift,
    decision_table,
    tile_errors,
)
from daqkf.passes.quantize.samples import load_samples
from daqkf.passes.quantize.weights import float_products
from daqkf.passes.spaq_prune import SpaqPrunePass
from daqkf.passes.spaq_quantize import SpaqQuantizePass


@dataclass(frozen=True)
class Variant:
    """One way to quantise a layer."""

    levels: LevelSet
    sparsity: float | None = None
    """Prune to this share of zeros first; what is sparser already stays as it is."""


@dataclass(frozen=True)
class Dispatcher:
    """Makes a dispatch of a calibrated float layer."""

    variants: Sequence[Variant]
    machine: Machine
    budget: float = BUDGET
    buckets: int = BUCKETS
    exact: bool = False
    """As in `spaq-quantize`: the weights are integer levels already."""
    split: float = 0.0
    """As in `spaq-quantize`: the budget of extra columns."""
    elements: Elements = DEFAULT_ELEMENTS
    """In place of the machine's."""

    def apply(self, module: ModuleOp, samples: NDArray[Any]) -> None:
        """Replace the module's layer, judging by the tiles of `samples` [T, K].

        The reference is the float layer as it stands, with the activations in int8: what it
        makes of them, and what a variant does, differ by the weights and by rounding.

        Raises:
            ValueError: a module that is not one layer, samples that do not fit it, variants
                that cannot share an array, or a budget that is no number.
            PassFailedException: a variant cannot be quantised.
        """
        if not 1 <= len(self.variants) <= MAX_VARIANTS:
            raise ValueError(f"{len(self.variants)} variants; a dispatch has 1..{MAX_VARIANTS}")
        layers = [matmul for matmul, _ in float_products(module)]
        if len(layers) != 1:
            text = f"expected one float layer in the module, not {len(layers)}"
            raise OperationError(layers[1] if layers else function_of(module), text)
        for op in module.walk():
            if isinstance(op, ResidualOp | NormOperation | GateOp | SequenceOperation):
                text = "runs in a chain, and an array picks among variants or chains kernels"
                raise OperationError(op, text)
        samples = np.asarray(samples)
        real_numbers = samples.dtype.kind in "fiu" and np.isfinite(samples).all()
        if samples.ndim != 2 or not samples.size or not real_numbers:
            raise ValueError("the samples of a dispatch must be finite numbers [T, K]")
        integer = [self._quantized(module, variant) for variant in self.variants]
        with about(layers[0]):
            before, after = _ends(integer)
        x = numerics.quantize(samples, before.scales(), before.columns())
        real = numerics.dequantize(x, before.scales(), before.columns())
        output_scale = after.scales()
        try:
            reference = run(module, real) / output_scale
            results = [np.rint(run(variant, real) / output_scale) for variant in integer]
        except InterpretationError as error:
            text = f"the samples of a dispatch: {error}"
            raise OperationError(function_of(module), text) from None

        for variant in integer:
            DfkeFusePass().apply(Context(), variant)
        kernels = [next(op for op in m.walk() if isinstance(op, KernelOp)) for m in integer]
        decision = self._decide(x, reference, results, kernels)
        _put(kernels, decision)
        for op in list(module.ops):
            Rewriter.erase_op(op, safe_erase=False)
        for op in list(integer[0].ops):
            op.detach()
            module.body.block.add_op(op)

    def _quantized(self, module: ModuleOp, variant: Variant) -> ModuleOp:
        copy, levels = module.clone(), variant.levels
        if variant.sparsity is not None:
            SpaqPrunePass(variant.sparsity).apply(Context(), copy)
        SpaqQuantizePass(
            levels.kind, levels.magnitudes, levels.maximum, exact=self.exact, split=self.split
        ).apply(Context(), copy)
        return copy

    def _decide(
        self,
        x: NDArray[np.int8],
        reference: NDArray[np.float64],
        results: list[NDArray[np.float64]],
        kernels: list[KernelOp],
    ) -> Decision:
        lanes, features = self.machine.lanes, x.shape[1]
        shift = bucket_shift(lanes * features, self.buckets)
        # Checks the count of buckets before anything is measured.
        decision = Decision(lanes, shift, (0,) * self.buckets)
        # A tile that is not full has other zeros; it only speaks where there is nothing else.
        tokens = len(x) // lanes * lanes or len(x)
        levels = [kernel.parts().weights.array() for kernel in kernels]
        machine = self.elements.on(self.machine, levels)
        schedules: list[ScheduleAttr] = []
        for kernel, entry in zip(kernels, levels, strict=True):
            with about(kernel):
                schedules.append(schedule(entry, machine))
        table = decision_table(
            decision.zeros(x[:tokens]),
            np.array([tile_errors(reference[:tokens], y[:tokens], lanes) for y in results]),
            np.array([schedule_cycles(entry) for entry in schedules]),
            lanes * features,
            shift,
            self.buckets,
            self.budget,
        )
        return Decision(lanes, shift, tuple(table.tolist()))


def _ends(modules: list[ModuleOp]) -> tuple[QuantizeOp, DequantizeOp]:
    """Where activations become int8 and real again, which all variants share."""
    found = [[op for op in m.walk() if isinstance(op, QuantizeOp | DequantizeOp)] for m in modules]
    if len({tuple((op.scale, op.split) for op in ends) for ends in found}) == 1:
        match found[0]:
            case [QuantizeOp() as before, DequantizeOp() as after]:
                return before, after
            case _:
                pass
    raise ValueError("the variants of a layer differ in the scales of its activations")


def _put(kernels: list[KernelOp], decision: Decision) -> None:
    """Put a dispatch among the kernels in the place of the first."""
    first = kernels[0]
    value, point, hint = first.input, InsertPoint.before(first), first.result.name_hint
    stand_in = first.clone()
    Rewriter.insert_op(stand_in, point)
    first.result.replace_all_uses_with(stand_in.result)
    for kernel in kernels:
        kernel.detach()
    chosen = dispatch(value, kernels, decision)
    chosen.result.name_hint = hint
    Rewriter.replace_op(stand_in, chosen)


@dataclass(frozen=True)
class DfkeDispatchPass(ModulePass):
    """Make a `dfke.dispatch` of a calibrated float layer: variants, and a table that picks one.

    A variant for each entry of `kinds` and `magnitudes`, as `spaq-quantize` makes it, and
    fused. For each bucket of zero counts the table has the fastest variant whose RMS error,
    as measured on the samples' tiles, is within the budget.

    - `samples`: a `.npy` file with float activations [T, K].
    - `kinds`, `magnitudes`: the level set of each variant.
    - `maxima`: the largest levels; by default as in `spaq-quantize`.
    - `sparsities`: prune each variant to this share of zeros first.
    - `budget`: the RMS error, in int8 steps of the output, that weights and rounding may cause.
    - `buckets`: rows of the table, a power of two up to 64.
    - `split`: the budget of extra columns, as in `spaq-quantize`.
    - `target`: what says how many tokens a tile has, and what a variant takes.
    """

    name = "dfke-dispatch"

    samples: str
    kinds: tuple[str, ...]
    magnitudes: tuple[int, ...]
    maxima: tuple[int, ...] | None = None
    sparsities: tuple[float | int, ...] | None = None
    budget: float | int = BUDGET
    buckets: int = BUCKETS
    split: float | int = SPLIT
    target: str = "generic"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        with failing(self.name):
            machine = load_target(self.target).machine
            dispatcher = Dispatcher(
                self._variants(), machine, self.budget, self.buckets, split=self.split
            )
            dispatcher.apply(op, load_samples(self.samples))

    def _variants(self) -> list[Variant]:
        maxima = self.maxima or (None,) * len(self.kinds)
        sparsities = self.sparsities or (None,) * len(self.kinds)
        lists = self.kinds, self.magnitudes, maxima, sparsities
        if len({len(entries) for entries in lists}) != 1:
            raise ValueError("kinds, magnitudes, maxima and sparsities need as many entries")
        return [
            Variant(LevelSet.of(kind, magnitudes, maximum), sparsity)
            for kind, magnitudes, maximum, sparsity in zip(*lists, strict=True)
        ]
